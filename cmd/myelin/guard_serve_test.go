// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

// serving is "myelin serve" with the first administrator, whose browser it returns.
func serving(t *testing.T) (admin *browser, address string) {
	t.Helper()
	dir := t.TempDir()
	address = "https://127.0.0.1:" + strconv.Itoa(testpeer.Port(t))
	ctx, stop := context.WithCancel(context.Background())
	var out, errs noise
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--data", dir, "--listen", strings.TrimPrefix(address, "https://"), "--tls", "--site", "St. Ada Hospital"}, strings.NewReader(""), &out, &errs)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitDone {
			t.Errorf("the server ends with %d: %s", code, &errs)
		}
	})
	setUp := regexp.MustCompile(`/set-up/\S+`)
	eventually(t, "the server serves", func() bool { return setUp.MatchString(out.String()) })
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	admin = caller(t, address, roots)
	if code, text := admin.post(t, setUp.FindString(out.String()), url.Values{"login": {"ada"}, "name": {"Ada Admin"}, "password": {aPassword}}); code != http.StatusOK {
		t.Fatalf("set up: %d %s", code, text)
	}
	return admin, address
}

const aPassword = "a password for a test 4711"

func caller(t *testing.T, address string, roots *x509.CertPool) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{&http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, address}
	t.Cleanup(b.CloseIdleConnections)
	return b
}

// joins makes a clinician, who signs in by a link.
func (b *browser) joins(t *testing.T, login, name, clinical string) *browser {
	t.Helper()
	code, text := b.post(t, "/settings/people", url.Values{"login": {login}, "name": {name}, "role": {"clinician"}, "clinical": {clinical}})
	link := regexp.MustCompile(`/password/\d+/[^<"\s]+`).FindString(text)
	if code != http.StatusOK || link == "" {
		t.Fatalf("a clinician: %d %s", code, text)
	}
	of := caller(t, b.base, b.Transport.(*http.Transport).TLSClientConfig.RootCAs)
	if code, text := of.post(t, link, url.Values{"password": {aPassword}}); code != http.StatusOK {
		t.Fatalf("%s has no password: %d %s", login, code, text)
	}
	return of
}

// A tap is between the guard and what is behind it. While it is shut, what the guard says
// arrives here and goes no further.
type tap struct {
	shut atomic.Bool
	had  chan struct{} // something arrived while it was shut
}

func newTap(t *testing.T, listen, forward string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{had: make(chan struct{}, 1)}
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", forward)
			if err != nil {
				in.Close()
				continue
			}
			over := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			all.Go(func() {
				defer over()
				defer out.Close()
				b := make([]byte, 4096)
				for {
					n, err := in.Read(b)
					if err != nil {
						return
					}
					if p.shut.Load() {
						select {
						case p.had <- struct{}{}:
						default:
						}
					} else if _, err := out.Write(b[:n]); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				defer in.Close()
				io.Copy(in, out)
			})
		}
	})
	return p
}

type envelopeJSON struct {
	Guard, Device, Name, Author, Approver, Risk, Digest, Path string
	Version                                                   int
	Enforcing                                                 bool
	Limits                                                    []string
	Sums                                                      []struct{ Hour []struct{ P float64 } }
	Approvals                                                 []struct{ Person, Role string }
}

type verdictJSON struct{ Verdict, Device, What, Value, Actor, Reason string }

// A guardJSON is the page Guard for programs.
type guardJSON struct {
	Held []struct {
		Guard, ID, Device, Actor, Verb, Drug, Now, Value, Reason, Harm, Path string
		Expires                                                              time.Time
	}
	Doubts    []struct{ Guard, ID, Device, Verb, Value, Reason, Path string }
	Envelopes []envelopeJSON
	Verdicts  []verdictJSON
}

func (b *browser) guardPage(t *testing.T) (g guardJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(b.get(t, "/guard.json")), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGuardAtTheServer is a clinician's evening at the server's page, with a real guard
// before a simulated gateway: a held order is shown with what it changes, confirmed, and
// the pump changes; another is confirmed and the guard is killed while it sends, so that
// nobody knows whether it was given, and she says so; and she approves the limits.
func TestGuardAtTheServer(t *testing.T) {
	admin, address := serving(t)
	holm := admin.joins(t, "holm", "Dr. Mira Holm", "prescriber")
	_, text := admin.post(t, "/settings/sensors", url.Values{"name": {"gw-icu-guard"}, "kind": {"guard"}})
	token := regexp.MustCompile(`data-test="secret">([^<]+)<`).FindStringSubmatch(text)
	if token == nil || !strings.Contains(text, "confirms: true") {
		t.Fatal(text)
	}

	s := theSample(t, testpeer.Port(t))
	if err := os.WriteFile(filepath.Join(s.dir, "server.token"), []byte(token[1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.edit(t, s.file, func(text string) string {
		return text + "\nserver: {url: \"" + address + "\", enrolment: server.token, confirms: true}\n"
	})
	s.edit(t, "envelopes/pump-3.yaml", func(text string) string {
		return strings.Replace(text, "above: 0.5 ug/kg/min", "above: 0.2 ug/kg/min", 1)
	})
	gatewayAt := testpeer.Port(t)
	s.process(t, "sim", "legacy", "--device", "castor", "--listen", s.at(24002))
	gateway := s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", "127.0.0.1:"+strconv.Itoa(gatewayAt), "--confirm", "--upstream", s.at(24003))
	way := newTap(t, s.at(24000), "127.0.0.1:"+strconv.Itoa(gatewayAt))
	g := s.guard(t)
	three, _ := ward.Pumps()
	if err := legacy.SendHL7(t.Context(), s.at(24003), [][]byte{ward.Report(time.Now(), "REPORT-1", three)}, nil); err != nil {
		t.Fatal(err)
	}

	// A held order, confirmed.
	if got := s.order(t, "ehr", "RGV-1", "0.25"); got != "CA" {
		t.Fatalf("%q, %s", got, &g.errs)
	}
	var page guardJSON
	held := func() {
		t.Helper()
		eventually(t, "the page shows what waits", func() bool { page = holm.guardPage(t); return len(page.Held) == 1 })
	}
	what := regexp.MustCompile(`name="what" value="([0-9a-f]+)"`)
	form := func(path, do, reason string) url.Values {
		t.Helper()
		m := what.FindStringSubmatch(holm.get(t, path))
		if m == nil {
			t.Fatalf("%s has no form", path)
		}
		return url.Values{"what": {m[1]}, "do": {do}, "reason": {reason}}
	}
	held()
	h := page.Held[0]
	if h.Device != "pump-3" || h.Verb != "set-infusion-rate" || h.Drug == "" || h.Now != "0.2 ug/kg/min" || h.Value != "0.25 ug/kg/min" || h.Harm == "" || h.Actor == "" ||
		!strings.Contains(h.Reason, "second person") || time.Until(h.Expires) > 10*time.Minute || time.Until(h.Expires) < 8*time.Minute {
		t.Errorf("%+v", h)
	}
	if code, _ := admin.post(t, h.Path, form(h.Path, "confirm", "x")); code != http.StatusForbidden {
		t.Errorf("an administrator confirms: %d", code)
	}
	if code, text := holm.post(t, h.Path, form(h.Path, "confirm", "seen at the bed")); code != http.StatusOK || !strings.Contains(text, "You confirmed set-infusion-rate") {
		t.Fatalf("confirmed: %d %s\n%s", code, text, &g.errs)
	}
	eventually(t, "the pump has it", func() bool { return strings.Contains(gateway.out.String(), "0.25 ug/kg/min") })
	eventually(t, "the verdict is on the page", func() bool {
		page = holm.guardPage(t)
		return slices.ContainsFunc(page.Verdicts, func(v verdictJSON) bool {
			return v.Verdict == "allow" && strings.Contains(v.Reason, "confirmed by holm at the server (prescriber)")
		}) && len(page.Held) == 0
	})

	// The limits, and their approval.
	eventually(t, "what was given is drawn", func() bool {
		page = holm.guardPage(t)
		return slices.ContainsFunc(page.Envelopes, func(e envelopeJSON) bool { return e.Device == "pump-3" && len(e.Sums) > 0 && len(e.Sums[0].Hour) > 0 })
	})
	i := slices.IndexFunc(page.Envelopes, func(e envelopeJSON) bool {
		return e.Device == "pump-3"
	})
	if i < 0 {
		t.Fatalf("%+v", page.Envelopes)
	}
	e := page.Envelopes[i]
	if !e.Enforcing || e.Version != 3 || e.Author != "mh (prescriber)" || e.Approver != "kp (pharmacist)" || e.Risk != "RM-2026-014" || len(e.Limits) == 0 {
		t.Errorf("%+v", e)
	}
	if code, text := holm.post(t, e.Path, form(e.Path, "", "read with kp")); code != http.StatusOK || !strings.Contains(text, "You approved noradrenaline at ICU bed 3 version 3 for pump-3.") {
		t.Errorf("approved: %d %s", code, text)
	}

	// Another, and the guard is killed while it sends.
	if got := s.order(t, "ehr", "RGV-2", "0.3"); got != "CA" {
		t.Fatalf("%q, %s", got, &g.errs)
	}
	held()
	h = page.Held[0]
	way.shut.Store(true)
	said := make(chan string, 1)
	confirm := form(h.Path, "confirm", "seen at the bed")
	go func() {
		_, text := holm.post(t, h.Path, confirm)
		said <- text
	}()
	<-way.had // the gateway may have it
	g.cmd.Process.Kill()
	<-g.done
	if text := <-said; !strings.Contains(text, "has not answered yet") {
		t.Errorf("of a guard that was killed she is told %s", text)
	}
	way.shut.Store(false)
	g = s.guard(t)
	eventually(t, "the page asks what became of it", func() bool { page = holm.guardPage(t); return len(page.Doubts) == 1 })
	d := page.Doubts[0]
	if d.Device != "pump-3" || d.Verb != "set-infusion-rate" || d.Value != "0.3 ug/kg/min" {
		t.Errorf("%+v", d)
	}
	jr := s.browser(t, "jr")
	if got := jr.get(t, "/doubts.json"); !strings.Contains(got, "0.3 ug/kg/min") {
		t.Errorf("at the guard %s is in doubt", got)
	}
	if code, text := holm.post(t, d.Path, url.Values{"do": {"not-given"}, "reason": {"the pump runs at 0.25"}}); code != http.StatusOK || !strings.Contains(text, "You said that it was not given") || !strings.Contains(text, "Nothing is waiting.") {
		t.Fatalf("settled: %d %s\n%s", code, text, &g.errs)
	}
	if got := strings.TrimSpace(jr.get(t, "/doubts.json")); got != "[]" {
		t.Errorf("at the guard %s is in doubt yet", got)
	}
	eventually(t, "nothing is in doubt at the server", func() bool { return len(holm.guardPage(t).Doubts) == 0 })
	if got := gateway.out.String(); strings.Contains(got, "0.3 ug/kg/min") {
		t.Errorf("what nobody knows was sent again: %s", got)
	}
	ledger := s.recorded(t, g)
	has(t, ledger, "dose-doubted", "the pump runs at 0.25", "holm at the server", "failed")
	has(t, ledger, "verdict-given", "confirmed by holm at the server (prescriber)", "0.25 ug/kg/min")
}
