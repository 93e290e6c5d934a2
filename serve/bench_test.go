// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
	"github.com/myelin-health/myelin/store/storetest"
)

// BenchmarkServer measures the whole server, with its ledger, its bus and its sessions,
// as a browser and a sensor have it: HTTP on loopback, batches that are durable on the
// bus and in the store. It fills a store, or takes a copy of the file that MYELIN_DATA
// names (see store/sqlite). Beside each figure stands what the project aims at. Client
// and server are one process on the same cores, and its memory is both's.
func BenchmarkServer(b *testing.B) {
	data := filepath.Join(b.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(data, "myelin.db")
	if from := os.Getenv("MYELIN_DATA"); from != "" {
		if err := copyFile(from, file); err != nil {
			b.Fatal(err)
		}
	} else {
		s, err := sqlite.Open(b.Context(), file, nil)
		if err != nil {
			b.Fatal(err)
		}
		storetest.Fill(b, s, storetest.Size())
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // what it took at most is counted from here on

	begin := time.Now()
	s, err := Open(b.Context(), Config{Data: data, Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, ln); err != nil {
			b.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	jar, _ := cookiejar.New(nil)
	v := &reader{c: &http.Client{Jar: jar}, at: "http://" + ln.Addr().String()}
	if _, err := v.get("/sign-in"); err != nil {
		b.Fatal(err)
	}
	target(b, "start to the first page", ms(time.Since(begin)), 1000, "ms")
	hash, err := access.HashPassword("a heron stands in the reeds")
	if err == nil {
		err = s.store.SavePerson(b.Context(), &store.Person{Login: "te", Roles: uint32(access.Analyst | access.Administrator), Hash: hash})
	}
	if err == nil {
		_, err = v.post("/sign-in", url.Values{"login": {"te"}, "password": {"a heron stands in the reeds"}})
	}
	if err != nil {
		b.Fatal(err)
	}
	for s.fleet.View().At.IsZero() { // else it is found out meanwhile
		time.Sleep(100 * time.Millisecond)
	}
	sensors, err := s.store.Sensors(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	sequence := sensors[0].Sequence
	put := func(n int) error {
		sequence++
		return s.bus.Put(b.Context(), &store.Batch{Sensor: sensors[0].ID, Sequence: sequence, Observations: storetest.Talk(storetest.Size(), n, time.Now().UnixNano())})
	}
	b.Run("pages", func(b *testing.B) { benchmarkPages(b, v, put) })
	b.Run("triage", func(b *testing.B) { benchmarkTriage(b, s, v) })
	b.Run("ingest", func(b *testing.B) { benchmarkIngest(b, s, put) })
	status, _ := os.ReadFile("/proc/self/status")
	var kb float64
	if _, line, ok := strings.Cut(string(status), "VmHWM:"); ok {
		fmt.Sscan(line, &kb)
	}
	target(b, "memory at most", kb/1024, 300, "MB")
}

// target says what was measured, and what it should at most be.
func target(b *testing.B, what string, got, most float64, unit string) {
	b.Helper()
	word := "reached"
	if got > most {
		word = "MISSED"
	}
	b.Logf("%-40s %8.1f %s, at most %.0f: %s", what, got, unit, most, word)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(list []time.Duration, percent int) float64 {
	list = slices.Sorted(slices.Values(list))
	return ms(list[min(len(list)*percent/100, len(list)-1)])
}

// load is what the machine does beside, and what this process used of the processor.
func load() (string, time.Duration) {
	b, _ := os.ReadFile("/proc/loadavg")
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return strings.Join(strings.Fields(string(b))[:min(2, len(strings.Fields(string(b))))], " "), time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A reader is a browser that is signed in.
type reader struct {
	c  *http.Client
	at string
}

func (v *reader) get(path string) (string, error) { return v.answer(v.c.Get(v.at + path)) }

func (v *reader) post(path string, form url.Values) (string, error) {
	return v.answer(v.c.PostForm(v.at+path, form))
}

func (v *reader) answer(res *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Request.URL.Path + ": " + res.Status)
	}
	return string(body), err
}

func benchmarkPages(b *testing.B, v *reader, put func(int) error) {
	const open = "/findings?state=open&state=acknowledged"
	list, err := v.get(open)
	if err != nil {
		b.Fatal(err)
	}
	_, id, _ := strings.Cut(list, `href="/findings/`)
	id, _, _ = strings.Cut(id, `"`)
	all := map[string]string{
		"findings": open, "findings, act": open + "&decision=act", "findings, ward and harm": open + "&ward=ward+7&harm=critical", "findings, kind, by time": open + "&kind=weak-tls&sort=last",
		"findings, rare": open + "&ward=ward+7&kind=weak-tls&decision=act", "findings, two harms, by device": open + "&harm=minor&harm=serious&sort=device", "findings, since a day": open + "&since=24h",
		"findings, of a device": open + "&device=" + device.IDOf("bench", "1"), "findings, a page far behind": open + "&after=20000000~x", "finding": "/findings/" + id,
		"devices": "/devices", "devices, ward": "/devices?ward=ward+7", "devices, by name": "/devices?sort=name", "devices, therapy and harm": "/devices?therapy=monitoring&harm=serious&sort=last",
		"device": "/devices/" + device.IDOf("bench", "50"), "today": "/",
		"search, a serial number": "/search?q=sn0000012", "search, two words": "/search?q=norra+7", "search, a word of all": "/search?q=norra", "search, findings": open + "&q=norra+7", "search, devices": "/devices?q=sn0000012",
	}
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names { // once before: a server has run for a while
		if _, err := v.get(all[name]); err != nil {
			b.Fatal(err)
		}
	}
	const rate, size = 2000, 200
	ctx, stop := context.WithCancel(b.Context())
	var writer sync.WaitGroup
	var late []time.Duration
	writer.Go(func() {
		tick := time.NewTicker(time.Second * size / rate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			begin := time.Now()
			if err := put(size); err != nil {
				b.Error(err)
				return
			}
			late = append(late, time.Since(begin))
		}
	})
	took := map[string][]time.Duration{}
	_, cpu := load()
	begin := time.Now()
	for b.Loop() {
		for _, name := range names {
			begin := time.Now()
			if _, err := v.get(all[name]); err != nil {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(begin))
		}
	}
	passed := time.Since(begin)
	said, used := load()
	stop()
	writer.Wait()
	var lists, searches []time.Duration
	for _, name := range names {
		b.Logf("%-32s p50 %6.1f ms, p99 %6.1f ms", name, quantile(took[name], 50), quantile(took[name], 99))
		if strings.HasPrefix(name, "search") {
			searches = append(searches, took[name]...)
		} else {
			lists = append(lists, took[name]...)
		}
	}
	b.Logf("%d pages, %.0f observations/s, %.1f ms of the processor for a page and what came meanwhile, load %s", len(lists)+len(searches), float64(size*len(late))/passed.Seconds(), ms(used-cpu)/float64(len(lists)+len(searches)), said)
	target(b, "lists and filters, p99", quantile(lists, 99), 60, "ms")
	target(b, "search, p99", quantile(searches, 99), 30, "ms")
	b.Logf("a batch was acknowledged after %.1f ms (p50), %.1f ms (p99)", quantile(late, 50), quantile(late, 99))
	b.ReportMetric(quantile(lists, 99), "list-p99-ms")
	b.ReportMetric(quantile(searches, 99), "search-p99-ms")
}

// benchmarkTriage is the form of a list with 500 findings that are chosen.
func benchmarkTriage(b *testing.B, s *Server, v *reader) {
	l, err := s.store.Findings(b.Context(), store.FindingQuery{State: []string{store.Open, store.Acknowledged}, Page: store.Page{Limit: 500}})
	if err != nil {
		b.Fatal(err)
	}
	form := url.Values{"reason": {"known"}}
	for _, f := range l.Rows {
		form.Add("id", f.ID)
	}
	v.c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { v.c.CheckRedirect = nil }()
	var took []time.Duration
	_, cpu := load()
	for i := 0; b.Loop(); i++ {
		form.Set("state", [...]string{store.Fixed, store.Open}[i%2])
		begin := time.Now()
		res, err := v.c.PostForm(v.at+"/findings/triage", form)
		if err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusSeeOther {
			b.Fatal(res.Status)
		}
		took = append(took, time.Since(begin))
	}
	said, used := load()
	b.Logf("%d times, %.1f ms of the processor each, p99 %.1f ms, load %s", len(took), ms(used-cpu)/float64(len(took)), quantile(took, 99), said)
	target(b, "a triage of 500, p50", quantile(took, 50), 100, "ms")
}

// benchmarkIngest puts batches of 1,000 on the bus, which are in the store when it ends,
// on one core.
func benchmarkIngest(b *testing.B, s *Server, put func(int) error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	count := 0
	_, cpu := load()
	for b.Loop() {
		if err := put(1000); err != nil {
			b.Fatal(err)
		}
		count += 1000
		for count/1000%64 == 0 { // a sensor waits while the bus is full; here it is never
			if n, err := s.bus.Waiting(b.Context()); err != nil {
				b.Fatal(err)
			} else if n < 64 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	begin := time.Now()
	for {
		if n, err := s.bus.Waiting(b.Context()); err != nil {
			b.Fatal(err)
		} else if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	said, used := load()
	rate := float64(count) / (b.Elapsed() + time.Since(begin)).Seconds()
	word := "reached"
	if rate < 25_000 {
		word = "MISSED"
	}
	b.Logf("%-40s %8.0f observations/s, at least 25000: %s; %.0f a second of the processor, making them included, load %s", "ingest through bus and store, one core", rate, word, float64(count)/(used-cpu).Seconds(), said)
	b.ReportMetric(rate, "observations/s")
}
