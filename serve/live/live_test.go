// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBounds(t *testing.T) {
	var h Hub
	var all []*Reader
	for i := range MaxReaders {
		r, err := h.Join(int64(i / MaxOfOne))
		if err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
		all = append(all, r)
	}
	if _, err := h.Join(-1); !errors.Is(err, ErrFull) {
		t.Errorf("one reader more than %d: %v", MaxReaders, err)
	}
	all[0].Close()
	all[0].Close()
	if _, err := h.Join(1); !errors.Is(err, ErrFull) {
		t.Errorf("one reader of a person more than %d: %v", MaxOfOne, err)
	}
	if _, err := h.Join(0); err != nil {
		t.Errorf("after one left: %v", err)
	}
	for _, r := range all {
		r.Close()
	}
	if n, _ := h.Readers(); n != 1 {
		t.Errorf("%d readers are left, want 1", n)
	}
}

// TestSlow shows that who does not read is let go, and nobody waits for that.
func TestSlow(t *testing.T) {
	var h Hub
	slow, _ := h.Join(1)
	quick, _ := h.Join(2)
	for i := range queue + 1 {
		h.Tell(Event{Verdict, int64(i)})
		if e := <-quick.C; e.ID != int64(i) {
			t.Fatalf("got %d, want %d", e.ID, i)
		}
	}
	n := 0
	for range slow.C {
		n++
	}
	now, counted := h.Readers()
	if n != queue || now != 1 || counted != 1 {
		t.Errorf("the slow reader had %d events, %d readers are left, %d were slow; want %d, 1, 1", n, now, counted, queue)
	}
	slow.Close()
}

// TestServe reads with many over real connections, some of which never read, and ends
// with nobody left.
func TestServe(t *testing.T) {
	var h Hub
	var handlers sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		if err := h.Serve(w, r, int64(len(r.URL.Query().Get("who"))), always); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	s.Config.ReadTimeout = 200 * time.Millisecond // a stream outlives it
	s.Start()
	ctx, leave := context.WithCancel(t.Context())
	const many, stuck, events = 30, 3, 3
	var reading, had sync.WaitGroup
	had.Add(many)
	for i := range many {
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/?who="+strings.Repeat("x", i), nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() && lines.Text() != "" { // the greeting
		}
		reading.Go(func() {
			defer resp.Body.Close()
			var got []string
			for lines.Scan() {
				if l, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
					if got = append(got, l); len(got) == events {
						had.Done()
					}
				}
			}
			if strings.Join(got, " ") != "0 1 2" {
				t.Errorf("got events %q", got)
			}
		})
	}
	var conns []net.Conn
	for range stuck {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("GET /?who=" + strings.Repeat("s", 99) + " HTTP/1.1\r\nHost: x\r\n\r\n"))
		b := make([]byte, 12)
		if _, err := c.Read(b); err != nil { // it is in
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for i := range events {
		h.Tell(Event{Verdict, int64(i)})
	}
	had.Wait()
	s.Config.SetKeepAlivesEnabled(false)
	for _, c := range conns {
		c.Close()
	}
	s.Config.RegisterOnShutdown(leave)
	down, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.Config.Shutdown(down)
	reading.Wait()
	handlers.Wait()
	if n, _ := h.Readers(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
}

// TestLife shows the beat and the end of a stream.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub
		w := &recorder{ResponseRecorder: httptest.NewRecorder()}
		begin := time.Now()
		if err := h.Serve(w, httptest.NewRequest("GET", "/live", nil), 1, always); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != streamLife {
			t.Errorf("a stream lasted %v, want %v", d, streamLife)
		}
		if n := strings.Count(w.Body.String(), ": here\n"); n < int(streamLife/beatEvery)-1 {
			t.Errorf("%d beats", n)
		}
	})
}

func always() (bool, error) { return true, nil }

// TestStill shows that who was signed out hears nothing more, and how often that is asked.
func TestStill(t *testing.T) {
	for name, c := range map[string]struct {
		answer bool
		err    error
		ends   string
	}{
		"signed out":        {false, nil, "event: out\ndata: {}\n\n"},
		"nobody knows":      {true, errors.New("no disk"), ""},
		"still signed in":   {true, nil, "id: 9\ndata: {\"id\":9}\n\n"},
		"out, nobody knows": {false, errors.New("no disk"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h Hub
				w := &recorder{ResponseRecorder: httptest.NewRecorder()}
				ctx, leave := context.WithCancel(t.Context())
				asked, in := 0, true
				var err error
				still := func() (bool, error) { asked++; return in, err }
				over := make(chan error)
				go func() { over <- h.Serve(w, httptest.NewRequest("GET", "/live", nil).WithContext(ctx), 1, still) }()
				synctest.Wait()
				tell := func(id int64) {
					h.Tell(Event{Verdict, id})
					synctest.Wait()
				}
				for i := range 10 { // within the second in which it was identified
					tell(int64(i))
					time.Sleep(askEvery / 20)
				}
				if asked != 0 {
					t.Errorf("asked %d times within a second", asked)
				}
				time.Sleep(askEvery)
				tell(7)
				tell(8)
				if asked != 1 {
					t.Errorf("asked %d times, want 1", asked)
				}
				before := w.Body.Len()
				in, err = c.answer, c.err
				time.Sleep(askEvery)
				tell(9)
				if got := w.Body.String()[before:]; !strings.HasSuffix(got, c.ends) || c.ends == "" && got != "" || !c.answer && strings.Contains(got, "verdict") {
					t.Errorf("it said %q", got)
				}
				leave()
				if err := <-over; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetReadDeadline(time.Time) error  { return nil }
func (recorder) SetWriteDeadline(time.Time) error { return nil }
