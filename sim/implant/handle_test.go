// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// TestUnfresh: the device itself refuses what its channel does not call fresh or proven,
// rescues too.
func TestUnfresh(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	for _, payload := range [][]byte{command(t, device.SetBasalRate, "1 [iU]/h", ""), command(t, device.CancelBolus, "", "")} {
		var m coap.Message
		if err := m.Parse(nurse.request(coap.POST, "therapy", payload)); err != nil {
			t.Fatal(err)
		}
		for _, channel := range []device.Protection{0, device.Fresh, device.Encrypted | device.Fresh, proven} {
			if a := w.Handle(w.of(nurse), channel, &m); a.Code != coap.Unauthorized {
				t.Errorf("%v with %d", a.Code, channel)
			}
		}
	}
	w.has("bolus: 1.000 [iU]", "basal-rate: 0.800 [iU]/h")
	w.logged("verb cancel-bolus", "verdict refused", "not known to be made now")
}

func TestResources(t *testing.T) {
	w := newWorld(t, Pump)
	nurse, maker := w.connect("nurse"), w.connect("maker")
	w.logged("verdict accepted", "role updater")
	for _, test := range []struct {
		s    *station
		code coap.Code
		path string
		want coap.Code
	}{
		{nurse, coap.GET, "therapy", coap.Content},
		{nurse, coap.GET, "telemetry", coap.Content},
		{nurse, coap.GET, "limits", coap.Content},
		{nurse, coap.GET, "log", coap.Content},
		{nurse, coap.GET, "log?from=x", coap.BadRequest},
		{nurse, coap.GET, "log?from=18446744073709551615", coap.Content},
		{nurse, coap.GET, ".well-known/core", coap.Content},
		{nurse, coap.GET, "nothing", coap.NotFound},
		{nurse, coap.PUT, "therapy", coap.MethodNotAllowed},
		{nurse, coap.POST, "update", coap.Forbidden},
		{maker, coap.POST, "update", coap.NotImplemented},
		{w.meet("nurse"), coap.POST, "update", coap.Unauthorized},
		{w.meet("nurse"), coap.GET, "therapy", coap.Unauthorized},
		{w.meet("nurse"), coap.DELETE, "authz-info", coap.NotFound},
	} {
		if m := test.s.ask(test.code, test.path, nil); m.Code != test.want {
			t.Errorf("%v %s: %v, want %v", test.code, test.path, m.Code, test.want)
		}
	}
	for _, payload := range [][]byte{nil, {0xa0}, {0xa1, 1, 0}, {0xa1, 1, 0x18, 99}, {0xa2, 1, 1, 0x18, 200, 0}, {0xa1, 1, 1, 0}} {
		if m := nurse.ask(coap.POST, "therapy", payload); m.Code != coap.BadRequest {
			t.Errorf("%x: %v", payload, m.Code)
		}
	}
	// Open to everybody: what there is, and nothing else.
	for path, want := range map[string]coap.Code{".well-known/core": coap.Content, "telemetry": coap.Unauthorized, "log": coap.Unauthorized} {
		if m := nurse.take(w.receive(nurse.request(coap.GET, path, nil))); m.Code != want {
			t.Errorf("%s: %v", path, m.Code)
		}
	}
	// All of the log, page by page.
	var lines []string
	for next := uint64(0); ; {
		m := nurse.ask(coap.GET, fmt.Sprintf("log?from=%d", next), nil)
		if len(m.Payload) > 1024 {
			t.Fatalf("a page of %d bytes", len(m.Payload))
		}
		text, err := therapy.Text(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		page := strings.Split(strings.TrimSpace(text), "\n")
		var after uint64
		fmt.Sscanf(page[len(page)-2], "next: %d", &after)
		lines = append(lines, page[:len(page)-2]...)
		if after == next {
			break
		}
		next = after
	}
	if !slices.Equal(lines, w.Log()) {
		t.Errorf("%q\n%q", lines, w.Log())
	}
}

// TestRefusalsAreCounted: a flood of them neither fills the journal nor the log.
func TestRefusalsAreCounted(t *testing.T) {
	w := newWorld(t, Pump)
	patient := w.connect("patient")
	before := w.journalSize()
	for n := range 1000 {
		w.Failed("handshake", "forged")
		w.Failed("message", fmt.Sprint(n))
	}
	for range 100 {
		patient.order(coap.Forbidden, device.DeliverBolus, "3.5 [iU]", "")
	}
	w.logged("event handshake", "why forged", "count 512")
	w.logged("verb deliver-bolus", "count 64")
	if grew := w.journalSize() - before; grew > 300_000 || len(w.Log()) > 400 { // of 2100
		t.Errorf("%d bytes, %d lines", grew, len(w.Log()))
	}
	if !strings.Contains(textOr(patient.ask(coap.GET, "telemetry", nil).Payload), "refused: 2100") {
		t.Error("the refusals are not in the telemetry")
	}
	// A journal that is full of them is written anew, and says the same.
	for !w.journal.Full() {
		if err := w.journal.Write(w.state(nil)); err != nil {
			t.Fatal(err)
		}
	}
	patient.order(coap.Forbidden, device.DeliverBolus, "3.2 [iU]", "")
	patient.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	if n := w.journalSize(); n > 1<<18 {
		t.Errorf("%d bytes", n)
	}
	log := w.Log()
	w.kill()
	if got := w.Log(); !slices.Equal(got[:len(log)], log) {
		t.Errorf("%q\n%q", log, got)
	}
	patient.post(w.token("patient", w.cfg.ID), coap.Created)
	patient.order(coap.Forbidden, device.DeliverBolus, "3.2 [iU]", "")
}

// TestBrokenJournal: nothing is done that cannot be recorded, but for rescues.
func TestBrokenJournal(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.DeliverBolus, "4 [iU]", "")
	w.journal.Break()
	nurse.order(coap.ServiceUnavailable, device.SetBasalRate, "1 [iU]/h", "")
	w.has("basal-rate: 0.800 [iU]/h")
	nurse.order(coap.Changed, device.CancelBolus, "", "")
	if s := w.State(); strings.Contains(s, "bolus-left") {
		t.Error(s)
	}
	nurse.order(coap.ServiceUnavailable, device.DeliverBolus, "1 [iU]", "")
}

func TestRevocation(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	key := w.holders["nurse"]
	if err := w.authority.RevokeKey(key.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	list, err := w.authority.List(noon.Unix())
	if err != nil {
		t.Fatal(err)
	}
	token := w.token("patient", w.cfg.ID)
	if err := w.Revoke(list); err != nil {
		t.Fatal(err)
	}
	nurse.order(coap.Forbidden, device.SetBasalRate, "1 [iU]/h", "")
	w.kill()
	w.meet("patient").post(token, coap.Created)
	terms := &cwt.Terms{Audience: w.cfg.ID, IssuedAt: noon.Unix(), Expires: noon.Unix() + 3600}
	if _, err := w.authority.Issue("nurse", terms); err == nil {
		t.Error("a token for a key that was revoked")
	}
	if err := w.Revoke(list[:len(list)-1]); err == nil {
		t.Error("half a list")
	}
}

// TestBlind is a device that does not know the time: what its tokens allow is narrowed, and
// rescues pass.
func TestBlind(t *testing.T) {
	w := newWorld(t, Pump)
	w.blind = true
	w.kill()
	nurse := w.connect("nurse")
	nurse.order(coap.Forbidden, device.DeliverBolus, "1 [iU]", "")
	nurse.order(coap.Changed, device.Suspend, "", "30 min")
	w.wait(time.Hour)
	w.has("basal-rate: 0.800 [iU]/h")
	if err := w.Tick(); err != nil {
		t.Fatal(err)
	}
	w.has("delivered: 0.600 [iU]", "in-doubt: 0.200 [iU]") // a quarter of an hour at the restart
	w.kill()
	w.has("delivered: 0.800 [iU]", "in-doubt: 0.400 [iU]")
}

// TestResourcesDocumented holds the documentation to what there is.
func TestResourcesDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(resources)) {
		for code := range resources[path].methods {
			method := map[coap.Code]string{coap.GET: "GET", coap.POST: "POST", coap.DELETE: "DELETE"}[code]
			if !strings.Contains(string(doc), fmt.Sprintf("%-6s %s ", method, path)) {
				t.Errorf("%s %s is not in doc.go", method, path)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add((&therapy.Request{Verb: device.DeliverBolus, Value: q(f, "2.5 [iU]"), Limit: q(f, "30 min"), Confirm: true}).Append(nil))
	f.Add((&therapy.Request{Verb: device.CancelBolus}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := therapy.ParseRequest(b)
		if err != nil {
			return
		}
		again, err := therapy.ParseRequest(r.Append(nil))
		if err != nil || *again != *r {
			t.Fatalf("%+v, then %+v, %v", r, again, err)
		}
		for _, k := range []Kind{Pump, Defibrillator, Neurostimulator} {
			m, err := newModel(k, 0)
			if err != nil {
				t.Fatal(err)
			}
			c := device.Command{Verb: r.Verb, Value: r.Value, Limit: r.Limit}
			if m.complete(&c) != nil || m.check(&c, r.Confirm) != nil {
				continue
			}
			m.apply(&c)
			m.advance(2*hour, 1)
			m.restart(3 * hour)
			m.therapy().Append(m.telemetry().Append(nil))
		}
	})
}

func FuzzText(f *testing.F) {
	for _, k := range []Kind{Pump, Defibrillator, Neurostimulator} {
		m, err := newModel(k, 0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.therapy().Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := therapy.Text(b); err == nil {
			if _, err := cbor.Parse(b); err != nil {
				t.Fatal(err)
			}
		}
	})
}
