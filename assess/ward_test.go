// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/report"
	sample "github.com/myelin-health/myelin/sim/ward"
)

// wardDir has the sample ward: see its README.
const wardDir = "../testdata/ward"

// The stations of the ward that its tests speak of.
const (
	ehr    = "10.20.1.5"
	files1 = "10.20.1.9"
	gwICU  = "10.20.3.10"
	mon3   = "10.20.3.31"
	vent3  = "10.20.3.32"
	lab1   = "10.20.5.7"
	ct1    = "10.20.8.11"
	pacs   = "10.20.8.20"
	view1  = "10.20.8.30"
	laptop = "10.20.8.99"
	pump3  = "ACDE48FFFE000303"
	pump4  = "ACDE48FFFE000304"
)

func assessWard(t testing.TB, c Config, paths ...string) *report.Assessment {
	t.Helper()
	if len(paths) == 0 {
		paths = []string{wardDir}
	}
	a, err := Run(context.Background(), paths, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range a.Inputs {
		if in.Error != "" {
			t.Errorf("%s: %s", in.Path, in.Error)
		}
	}
	return a
}

// station returns the device at an address.
func station(t testing.TB, a *report.Assessment, address string) *device.Device {
	t.Helper()
	for i := range a.Devices {
		d := &a.Devices[i]
		if slices.ContainsFunc(d.Addresses, func(x device.Address) bool {
			return x.Value == address && (x.Kind == device.IP || x.Kind == device.EUI64)
		}) {
			return d
		}
	}
	t.Fatalf("no device at %s", address)
	return nil
}

// TestWardDevices looks for every device of the story that speaks on the
// network, and what it does to a body.
func TestWardDevices(t *testing.T) {
	a := assessWard(t, Config{})
	for _, tt := range []struct {
		at, manufacturer, model, version, class string
		therapy                                 device.Therapy
		harm                                    device.Harm
	}{
		{pump3, "Norra Medical", "Flow 500", "2.1.4", "infusion pump", device.DrugInfusion, device.Catastrophic},
		{pump4, "Norra Medical", "Flow 500", "2.2.0", "infusion pump", device.DrugInfusion, device.Critical},
		{gwICU, "Norra Medical", "FlowLink", "1.8", "infusion pump gateway", device.DrugInfusion, device.Catastrophic},
		{mon3, "Veltis", "M9", "5.0", "patient monitor", device.Monitoring, device.Serious},
		{vent3, "Aeris", "V2", "3.3", "ventilator", device.Ventilation, device.Catastrophic}, // TLS hides what the register knows
		{ct1, "Lumen Imaging", "Helia 64", "11.0", "CT scanner", device.Imaging, device.Minor},
		{pacs, "Orthanc", "Orthanc", "1.10.1", "archive", device.Records, device.Negligible},
		{lab1, "Corvus Dx", "BG200", "1.2", "laboratory analyser", device.Laboratory, device.Serious},
	} {
		d := station(t, a, tt.at)
		got := fmt.Sprint(d.Manufacturer, ", ", d.Model, ", ", d.Version, ", ", d.Class, ", ", d.Therapy, ", ", d.Harm)
		want := fmt.Sprint(tt.manufacturer, ", ", tt.model, ", ", tt.version, ", ", tt.class, ", ", tt.therapy, ", ", tt.harm)
		if got != want || !d.Medical {
			t.Errorf("%s: %s (medical: %v), want %s", tt.at, got, d.Medical, want)
		}
	}
	for _, at := range []string{ehr, laptop, view1, files1} {
		if d := station(t, a, at); d.Medical {
			t.Errorf("%s is no medical device: %+v", at, d)
		}
	}
	if d := station(t, a, ct1); !strings.HasPrefix(d.OS, "Windows 7") {
		t.Errorf("ct-1 runs %q", d.OS)
	}
	ids := map[string]string{}
	for i := range a.Devices {
		d := &a.Devices[i]
		if had, ok := ids[d.ID]; ok {
			t.Errorf("%s and %s have the id %s", had, report.Label(d), d.ID)
		}
		ids[d.ID] = report.Label(d)
	}
}

// at is a time of that morning.
func at(clock string) int64 {
	x, err := time.Parse(time.RFC3339, "2026-03-03T"+clock+"+01:00")
	if err != nil {
		panic(err)
	}
	return x.UnixNano()
}

// TestWardFindings follows the story: what each step must be seen by.
func TestWardFindings(t *testing.T) {
	a := assessWard(t, Config{})
	for _, tt := range []struct {
		step, from, to string // when its first sighting is
		kind           finding.Kind
		device, peer   string      // peer: "" is any
		harm           device.Harm // at least
		note           string      // in a sighting's note
		subjects       int         // at least
	}{
		{"1, orders in clear", "07:00:00", "07:04:00", finding.TherapyCommandUnauthenticated, gwICU, "", device.Catastrophic, "set infusion rate: Noradrenaline 0.2 mcg/kg/min (as now), ICU bed 3, pump ACDE48FFFE000303", 0},
		{"1, alarms in clear", "07:00:00", "07:04:00", finding.TherapyCommandUnauthenticated, mon3, "", device.Serious, "acknowledge alarm", 0},
		{"1, images in clear", "07:00:00", "07:04:00", finding.PHIInClear, ct1, "", device.Negligible, "images", 2},
		{"1, patients in clear", "07:00:00", "07:04:00", finding.PHIInClear, ehr, "", device.Negligible, "birth date", 2},
		{"1, results in clear", "07:00:00", "07:04:00", finding.PHIInClear, lab1, ehr, device.Negligible, "results", 1},
		{"1, an upload in clear", "07:00:00", "07:04:00", finding.CredentialsInClear, files1, lab1, device.Negligible, "ftp", 0},
		{"1, a console in clear", "07:00:00", "07:04:00", finding.CredentialsInClear, lab1, "", device.Minor, "telnet", 0},
		{"1, Telnet", "07:00:00", "07:04:00", finding.InsecureService, lab1, "", device.Minor, "Telnet", 0},
		{"1, FTP", "07:00:00", "07:04:00", finding.InsecureService, files1, "", device.Negligible, "FTP", 0},
		{"1, SMB 1", "07:00:00", "07:04:00", finding.InsecureService, ct1, "", device.Negligible, "SMB version 1", 0},
		{"1, Windows 7", "07:00:00", "07:04:00", finding.LegacyOS, ct1, "", device.Negligible, "Windows 7", 0},
		{"2, the scan", "07:04:00", "07:07:00", finding.ScanHorizontal, laptop, "", device.Critical, "tried port 445 at 10.20.3.", 0},
		{"2, passwords", "07:06:00", "07:07:00", finding.BruteForce, laptop, ct1, device.Negligible, "smb login refused", 0},
		{"2, the admin share", "07:06:00", "07:07:30", finding.LateralMovement, laptop, ct1, device.Catastrophic, "service control manager", 0},
		{"2, remote desktop", "07:07:00", "07:09:00", finding.LateralMovement, ct1, pacs, device.Catastrophic, "rdp session opened by a medical device", 0},
		{"2, its certificate", "07:07:00", "07:09:00", finding.CertificateInvalid, pacs, "", device.Negligible, "self-signed", 0},
		{"3, the forged order", "07:09:00", "07:10:00", finding.TherapyCommandUnexpectedSender, gwICU, ct1, device.Catastrophic, "Noradrenaline 0.2 → 4 mcg/kg/min (20 times as much), ICU bed 3, pump ACDE48FFFE000303, in the name of CastorEHR ACDE48FFFE000105", 0},
		{"4, C-MOVE", "07:12:00", "07:13:00", finding.RecordsToUnexpectedPeer, ct1, pacs, device.Negligible, "C-MOVE to a third station", 0},
		{"4, 400 studies", "07:12:00", "07:14:00", finding.BulkRecordAccess, laptop, pacs, device.Negligible, "record", 100},
		{"4, the tunnel", "07:12:00", "07:20:00", finding.DNSTunnel, laptop, "198.51.100.53", device.Negligible, "name", 0},
	} {
		t.Run(tt.step, func(t *testing.T) {
			id := station(t, a, tt.device).ID
			var f *finding.Finding
			for i := range a.Findings {
				x := &a.Findings[i]
				if x.Kind == tt.kind && x.Device == id && (tt.peer == "" || x.Peer == tt.peer) && noted(x, tt.note) {
					f = x
				}
			}
			if f == nil {
				t.Fatalf("no %s about %s with %q", tt.kind, tt.device, tt.note)
			}
			if f.First < at(tt.from) || f.First >= at(tt.to) {
				t.Errorf("first seen %s", time.Unix(0, f.First))
			}
			if f.Harm < tt.harm || f.Subjects < tt.subjects {
				t.Errorf("harm %s, %d subjects; want %s, %d", f.Harm, f.Subjects, tt.harm, tt.subjects)
			}
		})
	}
}

// TestWardRadio follows what was heard on the radio: breakfast as every day,
// then steps 5 and 6.
func TestWardRadio(t *testing.T) {
	a := assessWard(t, Config{})
	worn := func(model string) *device.Device {
		i := slices.IndexFunc(a.Devices, func(d device.Device) bool { return d.Model == model })
		if i < 0 {
			t.Fatalf("no %s", model)
		}
		return &a.Devices[i]
	}
	pump, icd := worn("Dose One"), worn("Rhythm S")
	for _, tt := range []struct {
		d                            *device.Device
		manufacturer, version, class string
		harm                         device.Harm
	}{
		{pump, "Okapi Health", "1.9", "insulin pump", device.Critical},
		{icd, "Halden Cardio", "4.2", "pacemaker and defibrillator", device.Catastrophic},
	} {
		d := tt.d
		if !d.Medical || d.Manufacturer != tt.manufacturer || d.Class != tt.class || d.Harm != tt.harm || len(d.Addresses) != 1 {
			t.Errorf("%+v", d)
		}
		if d.Version != tt.version {
			t.Errorf("%s: version %q, want %q", d.Model, d.Version, tt.version)
		}
	}
	for _, tt := range []struct {
		from, to string
		d        *device.Device
		kind     finding.Kind
		harm     device.Harm // at least
		note     string
	}{
		{"07:15:00", "07:15:30", pump, finding.BLEPairingJustWorks, device.Serious, "Just Works"},
		{"07:15:00", "07:15:30", pump, finding.BLEPairingLegacy, device.Serious, "legacy"},
		{"07:15:00", "07:15:30", pump, finding.BLEKeyStaticOrZero, device.Critical, "read"},
		{"07:15:00", "07:15:30", pump, finding.BLEBelowProfileLevel, device.Serious, "Insulin Delivery"},
		{"07:15:00", "07:15:30", pump, finding.TherapyCommandUnauthenticated, device.Critical, "deliver bolus 25 units"},
		{"07:15:00", "07:15:30", pump, finding.TherapyCommandUnexpectedSender, device.Critical, "deliver bolus 25 units"},
		{"07:15:00", "07:15:30", pump, finding.AlarmMasked, device.Critical, "hypo alert moved from 70 to 40 mg/dL"},
		{"07:17:00", "07:17:10", icd, finding.TherapyCommandReplayed, device.Catastrophic, "therapies"},
		{"07:17:00", "07:17:10", icd, finding.RadioWakeFlood, device.Catastrophic, "within a minute"},
	} {
		i := slices.IndexFunc(a.Findings, func(f finding.Finding) bool { return f.Kind == tt.kind && f.Device == tt.d.ID && noted(&f, tt.note) })
		if i < 0 {
			t.Errorf("no %s about %s with %q", tt.kind, tt.d.Model, tt.note)
			continue
		}
		if f := &a.Findings[i]; f.First < at(tt.from) || f.First >= at(tt.to) || f.Harm < tt.harm {
			t.Errorf("%s: %s, first at %s", f.Kind, f.Harm, time.Unix(0, f.First).UTC())
		}
	}
	// The bolus of every breakfast is nobody's finding.
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Harm >= device.Serious && f.Device == pump.ID && f.First < at("07:15:00") {
			t.Errorf("%s", report.FindingLine(a, f))
		}
	}
}

func noted(f *finding.Finding, text string) bool {
	return strings.Contains(f.Title, text) || slices.ContainsFunc(f.Sightings, func(s finding.Sighting) bool { return strings.Contains(s.Note, text) })
}

// designed is what is weak by design and may be serious even when all is well:
// orders and alarms without proof of who sends them.
var designed = []finding.Kind{finding.TherapyCommandUnauthenticated}

// TestWardQuiet holds that normal work, the maker's remote service included,
// alarms nobody: what is found is weak by design, and nothing unexpected.
func TestWardQuiet(t *testing.T) {
	a := assessWard(t, Config{})
	for i := range a.Findings {
		f := &a.Findings[i]
		if f.Peer == "203.0.113.20" || f.Kind == finding.UnexpectedExternalPeer || f.Kind == finding.Beaconing {
			t.Errorf("the maker's remote service: %s", report.FindingLine(a, f))
		}
		if f.Kind == finding.WeakTLS || f.Kind == finding.MalformedMessage || f.Kind == finding.SegmentOverlap || f.Kind == finding.RogueDHCP || f.Kind == finding.ARPSpoofing {
			t.Errorf("not in the story: %s", report.FindingLine(a, f))
		}
		if f.Kind == finding.CertificateInvalid && f.Device != station(t, a, pacs).ID {
			t.Errorf("a good certificate: %s", report.FindingLine(a, f))
		}
		if f.First >= at("07:04:00") || f.First == 0 { // what is only read of happened to nobody
			continue
		}
		group := finding.Kinds[f.Kind].Group
		if f.Harm >= device.Serious && !slices.Contains(designed, f.Kind) || group == finding.WayIn || finding.Kinds[f.Kind].Unexpected {
			t.Errorf("normal work: %s, first at %s", report.FindingLine(a, f), time.Unix(0, f.First))
		}
	}
}

// TestWardSightings holds that every finding shows a place to look at: a packet
// of a capture, or what a document says.
func TestWardSightings(t *testing.T) {
	a := assessWard(t, Config{})
	read := map[string]bool{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if len(f.Sightings) == 0 {
			t.Errorf("%s has no sighting", report.FindingLine(a, f))
		}
		for _, s := range f.Sightings {
			if s.Input < 0 || s.Input >= len(a.Inputs) || s.Note == "" || s.Time < f.First || s.Time > f.Last {
				t.Errorf("%s: sighting %+v", report.FindingLine(a, f), s)
				continue
			}
			in := &a.Inputs[s.Input]
			paper := finding.Kinds[f.Kind].Group == finding.KnownWeakness
			if paper != (in.Packets == 0) || (s.Packet == 0) != paper || s.Packet > in.Packets || paper && s.Time != 0 {
				t.Errorf("%s: sighting %+v in %s", report.FindingLine(a, f), s, in.Path)
			}
			if paper {
				read[fmt.Sprint(f.Kind, " ", filepath.Base(in.Path), ": ", s.Note)] = true
			}
		}
	}
	for _, want := range []string{
		"vulnerable-product ada-2026-01.csaf.json: vulnerability 1 of 2, ADA-2026-01-A",
		"vulnerable-component ada-2026-01.csaf.json: vulnerability 2 of 2, ADA-2026-01-B",
		"vulnerable-component flowlink-1.8.cdx.json: component 3 of 4: northtls 1.4.1",
		"sbom-missing register.csv: line 6: vent-3",
		"sbom-missing register.csv: line 12: ipump-1", // which was heard, too, but did not say its name
		"sbom-incomplete flowlink-1.8.cdx.json: the whole bill of materials",
	} {
		if !read[want] {
			t.Errorf("nobody read %q, but %q", want, slices.Sorted(maps.Keys(read)))
		}
	}
	if a.Stats.Packets == 0 || len(a.Stats.Lost) > 0 {
		t.Errorf("%d packets; lost: %v", a.Stats.Packets, a.Stats.Lost)
	}
}

// formats are all forms of an answer.
var formats = map[string]func(io.Writer, *report.Assessment) error{
	"text": report.Text, "json": report.JSON, "csv": report.CSV, "sarif": report.SARIF, "html": report.HTML,
}

// TestWardKnown joins the ward's papers with what was seen: the pump that said
// on the wire that it has software 2.1.4 is the register's pump-3, and ADA-2026-01
// is about it and the gateway's TLS library, but not about pump-4.
func TestWardKnown(t *testing.T) {
	a := assessWard(t, Config{})
	for at, name := range map[string]string{pump3: "pump-3", pump4: "pump-4", gwICU: "gw-icu", ct1: "ct-1", pacs: "pacs"} {
		if d := station(t, a, at); d.Name != name || d.Unseen {
			t.Errorf("%s is %q of the register (not seen: %v), want %q", at, d.Name, d.Unseen, name)
		}
	}
	var got []string
	for i := range a.Findings {
		f := &a.Findings[i]
		if !slices.Contains(f.Advisories, "ADA-2026-01") {
			continue
		}
		j := slices.IndexFunc(a.Devices, func(d device.Device) bool { return d.ID == f.Device })
		if j < 0 {
			t.Fatalf("%s is about no device", report.FindingLine(a, f))
		}
		got = append(got, fmt.Sprint(a.Devices[j].Name, ": ", f.Kind, ", ", f.Certainty, ", ", f.Component, ", ", f.Harm, ", ", f.Exposed))
	}
	slices.Sort(got)
	if d := cmp.Diff([]string{
		"gw-icu: vulnerable-component, exact, pkg:generic/northtls 1.4.1, catastrophic, seen talking in clear (hl7)",
		"pump-3: vulnerable-product, exact, , catastrophic, seen talking in clear (hl7), through a gateway",
	}, got); d != "" {
		t.Error(d)
	}
	// Without the captures the register alone says so, and that nothing was seen.
	a = assessWard(t, Config{}, filepath.Join(wardDir, "register.csv"), filepath.Join(wardDir, "ada-2026-01.csaf.json"))
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Kind != finding.VulnerableProduct || f.Exposed != "not seen on the network" {
			t.Errorf("from papers alone: %+v", f)
		}
	}
	if len(a.Findings) != 2 {
		t.Errorf("%d findings from papers alone, want one of pump-3 and one of gw-icu", len(a.Findings))
	}
}

// TestWardPrivacy searches everything that leaves for everything that nobody
// may tell.
func TestWardPrivacy(t *testing.T) {
	// What tells one patient's device from another stands in the register, and is
	// searched for.
	f, err := os.Open(filepath.Join(wardDir, "register.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := register.Read(f, "register.csv")
	if err != nil {
		t.Fatal(err)
	}
	worn := 0
	for i := range r.Entries {
		e := &r.Entries[i]
		if !e.Worn {
			continue
		}
		worn++
		for _, s := range []string{e.Serial, e.UDI.Serial} {
			if s == "" || !slices.Contains(sample.Secrets(), s) {
				t.Errorf("%s: the serial number is not among the secrets", e.ID)
			}
		}
	}
	if worn != 3 {
		t.Errorf("%d worn devices in the register, want 3", worn)
	}
	var events bytes.Buffer
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		a := assessWard(t, Config{Key: key, Record: func(e *event.Event) error {
			fmt.Fprintln(&events, e.Kind, e.Device, e.Peer, e.Attrs())
			return nil
		}})
		for name, write := range formats {
			var b bytes.Buffer
			if err := write(&b, a); err != nil {
				t.Fatal(err)
			}
			silent(t, name, b.Bytes())
		}
	}
	silent(t, "events", events.Bytes())
}

func silent(t *testing.T, what string, b []byte) {
	t.Helper()
	if len(b) == 0 {
		t.Errorf("%s: nothing was said at all", what)
	}
	b = bytes.ToLower(b)
	for _, s := range sample.Secrets() {
		if i := bytes.Index(b, bytes.ToLower([]byte(s))); i >= 0 {
			t.Errorf("%s: %q in %q", what, s, b[max(i-60, 0):min(i+60, len(b))])
		}
	}
}

// TestWardSame holds that the answer depends on neither workers nor the order
// of the arguments.
func TestWardSame(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(wardDir, "*.[bcjp]*"))
	if err != nil || len(paths) != 11 {
		t.Fatalf("%q: %v", paths, err)
	}
	said := func(jobs int, paths ...string) map[string]string {
		a := assessWard(t, Config{Jobs: jobs}, paths...)
		a.Stats.Seconds = 0
		out := map[string]string{}
		for name, write := range formats {
			var b bytes.Buffer
			if err := write(&b, a); err != nil {
				t.Fatal(err)
			}
			out[name] = b.String()
		}
		return out
	}
	want := said(1, paths...)
	for _, jobs := range []int{1, 2, 4} {
		for range 4 {
			paths = append(paths[1:], paths[0])
			paths[0], paths[2] = paths[2], paths[0]
			if d := cmp.Diff(want, said(jobs, paths...)); d != "" {
				t.Fatalf("%d workers, order %v:\n%s", jobs, paths, d)
			}
		}
	}
}
