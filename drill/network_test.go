// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
)

// captured is a row whose sensor hears what goes over IP.
const captured = `catalogue: 1
rows:
  - id: A45
    title: "a home monitor that sends its password in clear"
    device: home monitor
    stake: "credentials"
    promises: {sensor: "Y", channel: "-", guard: "-", update: "-", sbom: "-"}
    attack: [A26/credentials]
    sensor:
      - {capture: A26/credentials, finds: [credentials-in-clear]}
`

// TestCaptured holds that a capture of an attack shows what it shows, and that a row which wants more fails,
// with a reason.
func TestCaptured(t *testing.T) {
	for _, test := range []struct{ was, is, result, how string }{
		{"", "", report.DrillDetected, "credentials-in-clear (packet "},
		{"finds: [credentials-in-clear]", "finds: [credentials-in-clear, dns-tunnel]", report.DrillFailed, "not found: dns-tunnel"},
		{"finds: [credentials-in-clear]", "finds: [dns-tunnel]", report.DrillFailed, "not found: dns-tunnel: heard was http"},
		{"{capture: A26/credentials", "{capture: A31/overflow", report.DrillFailed, "no protocol or dialect is of them"},
		{"{capture: A26/credentials", "{capture: A27/at-rest", report.DrillFailed, "no protocol or dialect is of them"},
	} {
		d := drilled(t, strings.Replace(captured, test.was, test.is, 1), "sensor")
		got := d.Rows[0].Parts["sensor"]
		if got.Result != test.result || !strings.Contains(got.How, test.how) {
			t.Errorf("%s: %+v", test.is, got)
		}
		if broken, _ := d.Broken(); (len(broken) > 0) != (test.result == report.DrillFailed) {
			t.Errorf("%s: broken %v", test.is, broken)
		}
	}
}

// TestCalm holds that what a row finds in the attack is not found where there is none: in what a device
// that is built as it should be says, or what goes where it should.
func TestCalm(t *testing.T) {
	w := &world{dir: t.TempDir()}
	for _, test := range []struct {
		name, attack   string
		mended, proper bool
		kind           finding.Kind
		found          bool
	}{
		{"in clear", "A26/credentials", false, false, finding.CredentialsInClear, true},
		{"encrypted at once", "A26/credentials", true, false, finding.CredentialsInClear, false},
		{"a default password", "A37/default-password", false, false, finding.DefaultCredentialSeen, true},
		{"a default password that is refused", "A37/default-password", true, false, finding.DefaultCredentialSeen, false},
		{"an impostor", "A25/impostor", false, false, finding.UnexpectedExternalPeer, true},
		{"the cloud", "A25/impostor", false, true, finding.UnexpectedExternalPeer, false},
		{"a stranger's update", "A33/update", false, false, finding.UnexpectedExternalPeer, true},
		{"the maker's update", "A33/update", false, true, finding.UnexpectedExternalPeer, false},
	} {
		a, _ := legacy.Find(test.attack)
		heard, err := recorded(context.Background(), a, legacy.Config{Mended: test.mended})
		if err != nil {
			t.Fatal(err)
		}
		if test.proper {
			for i := range heard {
				if c := &heard[i]; c.Server.Addr() == outsider {
					c.Server = netip.AddrPortFrom(places[a.Device].upstream.Addr(), c.Server.Port())
				}
			}
		}
		got, err := w.watched(context.Background(), strings.ReplaceAll(test.name, " ", "-"), a, heard)
		if err != nil {
			t.Fatal(err)
		}
		if _, found := sighted(got, []finding.Kind{test.kind})[test.kind]; found != test.found {
			t.Errorf("%s: %v found: %v", test.name, test.kind, found)
		}
	}
}

func TestPlaces(t *testing.T) {
	for model, p := range places {
		if p.air && legacy.NetworkOf(model) == "udp" {
			continue
		}
		if legacy.NetworkOf(model) == "" || !p.at.Addr().Is4() || !p.from.Is4() || strings.Count(p.register, ",") != 4 {
			t.Errorf("%s: %+v", model, p)
		}
	}
	for was, test := range map[string]struct{ is, want string }{
		"{capture: A26/credentials,": {"{capture: A02/replay,", "is in no network"},
		"{capture: A26":              {"{capture: A99", "there is no attack"},
		"{capture:":                  {"{layer: hci, capture:", "layer belongs to play"},
	} {
		if _, err := Load("rows.yaml", []byte(strings.Replace(captured, was, test.is, 1))); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.is, err)
		}
	}
}

// TestStill holds that insulin which goes on being given is no change by somebody, and a bolus that was ordered is.
func TestStill(t *testing.T) {
	before := legacy.PumpState{Ordered: 1000, Boluses: 1, BolusLeft: 900, BolusGiven: 100, Delivered: 100, Reservoir: 5000}
	later := before
	later.BolusLeft, later.BolusGiven, later.Delivered, later.Reservoir = 800, 200, 210, 4890
	again := later
	again.Ordered, again.Boluses = 2000, 2
	if still(before) != still(later) || still(before) == still(again) {
		t.Errorf("%+v\n%+v", still(before), still(again))
	}
}
