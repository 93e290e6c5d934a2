// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A hub is a server as far as sensors and guards see it.
type hub struct {
	url   string
	store *store.Store
	bus   *bus.Bus
	up    *uplink.Server
}

func newHub(t *testing.T) *hub {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{}
	var err error
	h.store, err = sqlite.Open(t.Context(), filepath.Join(dir, "myelin.db"), nil)
	check(err)
	ca, err := uplink.OpenAuthority(dir, nil)
	check(err)
	h.bus, err = bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "bus"), Store: h.store})
	check(err)
	h.up = uplink.NewServer(uplink.ServerConfig{Store: h.store, Bus: h.bus, Authority: ca})
	cert, key, err := ca.Server("127.0.0.1")
	check(err)
	pair, err := tls.X509KeyPair(cert, key)
	check(err)
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	ca.Ask(conf)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	h.url = "https://" + ln.Addr().String()
	web := &http.Server{Handler: h.up.Handler(), TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { h.bus.Run(ctx) })
	all.Go(func() { web.ServeTLS(ln, "", "") })
	t.Cleanup(func() {
		web.Close()
		h.up.Close()
		stop()
		all.Wait()
		h.bus.Close()
		h.store.Close()
	})
	return h
}

// token is a file with the token of an enrolment.
func (h *hub) token(t *testing.T, kind string) string {
	t.Helper()
	token, err := h.up.Enrolment(t.Context(), "ward 3", "north", kind, "le", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// settled waits until the store has what is on the bus.
func (h *hub) settled(t *testing.T) {
	t.Helper()
	eventually(t, "the store has all", func() bool {
		n, err := h.bus.Waiting(t.Context())
		return err == nil && n == 0
	})
}

// everything is what the store tells, as JSON.
func (h *hub) everything(t *testing.T) (devices *store.List[store.Device], findings *store.List[store.Finding], links []store.Link, all string) {
	t.Helper()
	devices, err := h.store.Devices(t.Context(), store.DeviceQuery{Page: store.Page{Limit: 1000}})
	if err == nil {
		findings, err = h.store.Findings(t.Context(), store.FindingQuery{Page: store.Page{Limit: 1000}})
	}
	if err == nil {
		links, err = h.store.Links(t.Context(), "", 0, 1000)
	}
	var doc []byte
	if err == nil {
		doc, err = json.Marshal([]any{devices, findings, links})
	}
	if err != nil {
		t.Fatal(err)
	}
	return devices, findings, links, string(doc)
}

// TestAssessServer: what was found in a capture is at the server, once, and no patient is;
// the second time no token is needed.
func TestAssessServer(t *testing.T) {
	h := newHub(t)
	const icu = "../../testdata/ward/icu.pcapng"
	args := []string{"assess", "--format", "json", "--server", h.url, "--state", t.TempDir()}
	assessed := func(more ...string) (string, string, int) {
		var out, errs strings.Builder
		code := run(t.Context(), append(args, more...), strings.NewReader(""), &out, &errs)
		return out.String(), errs.String(), code
	}
	if _, errs, code := assessed(icu); code != exitUsage || !strings.Contains(errs, "is not enrolled at") {
		t.Errorf("without a token: exit %d, %s", code, errs)
	}
	out, said, code := assessed("--token-file", h.token(t, "sensor"), icu)
	if code != exitDone || !strings.Contains(said, "enrolled at "+h.url+" as ward 3") {
		t.Fatalf("exit %d, %s", code, said)
	}
	h.settled(t)
	var answer struct {
		Devices  []struct{ ID string }
		Findings []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	devices, findings, links, all := h.everything(t)
	if len(findings.Rows) != len(answer.Findings) || len(devices.Rows) < len(answer.Devices)/2 || len(links) == 0 {
		t.Errorf("%d of %d findings, %d devices of %d, %d links", len(findings.Rows), len(answer.Findings), len(devices.Rows), len(answer.Devices), len(links))
	}
	for i := range findings.Rows {
		for _, s := range findings.Rows[i].Sightings {
			if s.Capture != "icu.pcapng" {
				t.Errorf("a sighting in %q", s.Capture)
			}
		}
	}
	for _, secret := range ward.Secrets() {
		if strings.Contains(all, secret) {
			t.Errorf("%q is at the server", secret)
		}
	}
	// Again: known already, and counted again because it was asked for.
	if _, said, code := assessed(icu); code != exitDone || !strings.Contains(said, "as ward 3") {
		t.Errorf("exit %d, %s", code, said)
	}
	h.settled(t)
	again, _, _, _ := h.everything(t)
	if len(again.Rows) != len(devices.Rows) {
		t.Errorf("%d devices, then %d", len(devices.Rows), len(again.Rows))
	}
}

// TestSenseServer: what a sensor sees is at the server while it goes on.
func TestSenseServer(t *testing.T) {
	h := newHub(t)
	port := gateway(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var errs noise
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"sense", "-i", "lo", "--ports", strconv.Itoa(port), "--server", h.url, "--enrol", "@" + h.token(t, "sensor"), "--state", t.TempDir()}, strings.NewReader(""), &strings.Builder{}, &errs)
	}()
	eventually(t, "it listens", func() bool { return strings.Contains(errs.String(), "listening on lo") || len(ended) > 0 })
	if text := errs.String(); strings.Contains(text, "not permitted") || strings.Contains(text, "not supported") {
		t.Skip("this needs the right to capture from lo: ", text)
	}
	eventually(t, "it has enrolled", func() bool { return strings.Contains(errs.String(), "enrolled at") || len(ended) > 0 })
	admit(t, port, "4711")
	admit(t, port, "4712")
	var links []store.Link
	var all string
	eventually(t, "the server knows who talks, and what is wrong", func() bool {
		var findings *store.List[store.Finding]
		_, findings, links, all = h.everything(t)
		return len(links) > 0 && links[0].Protocol == "hl7" && links[0].Count == 2 && len(findings.Rows) > 0
	})
	if strings.Contains(all, "4711") || strings.Contains(all, "Lindqvist") {
		t.Error("a patient is at the server")
	}
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	list, err := h.store.Sensors(t.Context())
	if err != nil || len(list) != 1 || list[0].Version != version() || list[0].Problem != "" {
		t.Errorf("%+v, %v", list, err)
	}
	if links[0].Count != 2 {
		t.Errorf("%+v", links)
	}
}

// TestGuardServer: a guard tells the server what it decides and holds, and does what a
// clinician decides there; without the server it guards all the same.
func TestGuardServer(t *testing.T) {
	h := newHub(t)
	s := theSample(t, testpeer.Port(t))
	token := h.token(t, "guard")
	s.edit(t, s.file, func(text string) string {
		return text + "\nserver: {url: \"" + h.url + "\", enrolment: " + token + ", confirms: true}\n"
	})
	s.edit(t, "envelopes/pump-3.yaml", func(text string) string {
		return strings.Replace(text, "above: 0.5 ug/kg/min", "above: 0.2 ug/kg/min", 1)
	})
	s.process(t, "sim", "legacy", "--device", "castor", "--listen", s.at(24002))
	gateway := s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", s.at(24000), "--confirm", "--upstream", s.at(24003))
	g := s.guard(t)
	three, _ := ward.Pumps()
	if err := legacy.SendHL7(t.Context(), s.at(24003), [][]byte{ward.Report(time.Now(), "REPORT-1", three)}, nil); err != nil {
		t.Fatal(err)
	}
	hold := func() store.Held {
		t.Helper()
		var held []store.Held
		eventually(t, "the server knows what waits", func() bool {
			var err error
			held, err = h.store.HeldCommands(t.Context())
			return err == nil && len(held) == 1
		})
		return held[0]
	}
	if got := s.order(t, "ehr", "RGV-1", "0.25"); got != "CA" {
		t.Fatalf("%q, %s", got, &g.errs)
	}
	held := hold()
	d := &bus.Decision{ID: held.ID, Asked: held.Asked, What: "confirm", By: "nn", Role: "engineer"}
	if err := h.bus.Decide(t.Context(), held.Guard, d); err == nil {
		t.Error("an engineer confirms")
	}
	d.Role = "nurse"
	if err := h.bus.Decide(t.Context(), held.Guard, d); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the verdict is at the server", func() bool {
		list, err := h.store.Verdicts(t.Context(), store.VerdictQuery{Verdict: device.Allow.String()})
		return err == nil && len(list.Rows) > 0 && strings.Contains(list.Rows[0].Text(event.Reason), "confirmed by nn at the server (nurse)")
	})
	eventually(t, "the pump has it", func() bool { return strings.Contains(gateway.out.String(), "0.25 ug/kg/min") })
}
