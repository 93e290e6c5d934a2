// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
)

// theEnd ends each alarm of the tests: where it is the hearer answers.
const theEnd = "<the end>"

const warm = "GET /fhir/Observation/1 HTTP/1.1\r\nHost: x\r\n\r\n"

// A hearer keeps the bytes of each connection and answers what it hears the end of.
type hearer struct {
	addr string

	mu   sync.Mutex
	told []string // by each connection that had more than a first request
}

func newHearer(t testing.TB) *hearer {
	t.Helper()
	h := &hearer{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { h.hear(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return h
}

func (h *hearer) hear(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	var told []byte
	b := make([]byte, 32<<10)
	for {
		n, err := c.Read(b)
		told = append(told, b[:n]...)
		if bytes.HasPrefix(told, []byte("GET /fhir/Observation/1 ")) && bytes.HasSuffix(told, []byte("\r\n\r\n")) {
			told = nil
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		if err != nil && len(bytes.Trim(told, "0\r\n")) == 0 {
			return // the last chunk, which came by itself
		}
		if bytes.Contains(told, []byte(theEnd)) || err != nil {
			h.mu.Lock()
			h.told = append(h.told, string(told))
			h.mu.Unlock()
			told = nil
			io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nsecret")
		}
		if err != nil {
			return
		}
	}
}

func (h *hearer) heard() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told
}

func (w *ward) from(host string) net.Conn {
	w.t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// half begins a message that takes as much of the memory as it can.
func (w *ward) half(host string) {
	w.t.Helper()
	fmt.Fprintf(w.from(host), "POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\r\n%s", strings.Repeat("x", 9000))
}

// TestAlarmsPass: what a device writes goes on in whatever state the guard is,
// whether it can be read or not, and however large it is; the device is told that it
// arrived; and what could not be judged is said.
func TestAlarmsPass(t *testing.T) {
	post := func(more, body string) string {
		return "POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n" + more + "\r\n" + body
	}
	length := func(body string) string {
		return post(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)
	}
	chunks := func(body ...string) string {
		var b strings.Builder
		for _, c := range body {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
		}
		return b.String()
	}
	const coded = "Transfer-Encoding: chunked\r\n"
	large := strings.Repeat("occlusion ", 20_000)
	middle := strings.Repeat("occlusion ", 1_500) // within the bound of a body, and beyond what is left in some states
	ends := func(s string) func(string) bool {
		return func(got string) bool {
			return strings.HasPrefix(got, "POST /fhir/Observation") && strings.HasSuffix(got, "\r\n\r\n"+s)
		}
	}
	alarms := map[string]struct {
		what    string
		arrived func(string) bool
		odd     bool // it could not be judged
		ends    bool // the device says no more afterwards
	}{
		"listed":             {length(`{"a":"` + theEnd + `"}`), ends(`{"a":"` + theEnd + `"}`), false, false},
		"middle":             {length(middle + theEnd), ends(middle + theEnd), false, false},
		"middle chunks":      {post(coded, chunks(middle, theEnd)+"0\r\n\r\n"), nil, false, false},
		"large":              {length(large + theEnd), ends(large + theEnd), true, false},
		"large chunks":       {post(coded, chunks(large, "occ", theEnd)+"0\r\n\r\n"), nil, true, false},
		"folded, large":      {post(fmt.Sprintf("A: b\r\n c\r\nContent-Length: %d\r\n", len(large+theEnd)), large+theEnd), nil, true, false},
		"two lengths, large": {post("Content-Length: 3\r\nContent-Length: 4\r\n", large+theEnd), nil, true, false},
		"no HTTP":            {"ALARM: OCCLUSION " + large + theEnd + "\n", nil, true, false},
		"a line without end": {"ALARM: OCCLUSION " + theEnd, nil, true, true},
		"no text":            {"\x0bMSH|^~\\&|" + theEnd, nil, true, false},
		"a long head":        {post(strings.Repeat("A: "+strings.Repeat("b", 900)+"\r\n", 99), theEnd), nil, true, false},
		"no chunk at all":    {post(coded, "occlusion "+theEnd), ends("occlusion " + theEnd), true, false},
		"extension":          {post(coded, "9;a=b\r\nocclusion\r\n"+theEnd), ends("9;a=b\r\nocclusion\r\n" + theEnd), true, false},
		"then no chunk": {post(coded, chunks("occ", "lusion")+"zz\r\n"+large+theEnd), func(got string) bool {
			return ends("9\r\nocclusion\r\nzz\r\n"+large+theEnd)(got) || ends(chunks("occ", "lusion")+"zz\r\n"+large+theEnd)(got) // the latter where there is no memory for it
		}, true, false},
		"a chunk too long": {post(coded, "3\r\nocclusion"+large+theEnd), ends("3\r\nocclusion" + large + theEnd), true, false},
		"large, then no chunk": {post(coded, chunks(large)+"zz\r\n"+theEnd), func(got string) bool {
			return strings.HasSuffix(got, "occlusion \r\nzz\r\n"+theEnd) && strings.Count(got, "occlusion ") == 20_000
		}, true, false},
	}
	type state struct {
		host          string // of the device, if not its own
		before, while func(*ward)
	}
	strangers := func(w *ward) {
		for i := 2; ; i++ {
			c := w.from(fmt.Sprintf("127.0.1.%d", i))
			fmt.Fprintf(c, "POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\r\n%s", strings.Repeat("x", 9000))
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				break // there was no place for it
			}
		}
		for range maxJudges {
			w.front.others.judges <- struct{}{}
		}
	}
	for at, is := range map[string]state{
		"quiet":                     {},
		"others took all":           {before: strangers},
		"new address":               {host: "127.0.0.7"},
		"new address, own all used": {host: "127.0.0.7", before: func(w *ward) { w.half("127.0.0.9"); w.half("127.0.0.9") }},
		"own memory used":           {before: func(w *ward) { w.half("127.0.0.9") }},
		"ledger fails":              {before: func(w *ward) { w.hold(func() error { return errors.New("no space left on device") }) }},
		"ledger hangs": {before: func(w *ward) {
			stuck := make(chan struct{})
			w.t.Cleanup(func() { close(stuck) })
			w.hold(func() error { <-stuck; return nil })
			strangers(w)
		}},
		"stops":  {while: func(w *ward) { w.stop() }},
		"reload": {while: func(w *ward) { p := *w.front.policy.Load(); p.From, p.Allow, p.Body = nil, nil, 1; w.front.Update(&p) }},
	} {
		for name, says := range alarms {
			t.Run(at+"/"+name, func(t *testing.T) {
				h := newHearer(t)
				w := &ward{t: t}
				w.start(t, strings.Replace(clientSide, "body: 4096", `body: 16384
buffer: 16384
from: 127.0.0.9
limits: {connections: 2, per-peer: 1, rate: 1, drain: 10s}`, 1), h.addr)
				if is.before != nil {
					is.before(w)
				}
				host := "127.0.0.9"
				if is.host != "" {
					host = is.host
				}
				c := w.from(host)
				io.WriteString(c, warm)
				if n, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))); err != nil {
					t.Fatal(n, err)
				}
				half := len(says.what) / 2
				io.WriteString(c, says.what[:half])
				if is.while != nil {
					is.while(w)
				}
				said := make(chan struct{})
				go func() { // it may be answered before it has said all
					defer close(said)
					io.WriteString(c, says.what[half:])
					if says.ends {
						c.(*net.TCPConn).CloseWrite()
					}
				}()
				got := make([]byte, len("HTTP/1.1 201"))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "HTTP/1.1 201" {
					t.Fatalf("the device is told %q, %v", got, err)
				}
				if at == "others took all" && name == "listed" { // nor do they keep its answer from it
					rest := make([]byte, len(" Created\r\nContent-Length: 6\r\n\r\nsecret"))
					if _, err := io.ReadFull(c, rest); err != nil || !strings.HasSuffix(string(rest), "secret") {
						t.Errorf("the device is told %q, %v", rest, err)
					}
				}
				<-said
				arrived, told := says.arrived, h.heard()
				switch {
				case arrived == nil && strings.Contains(name, "chunks"):
					arrived = func(got string) bool { return strings.Contains(got, "occlusion ") && strings.Contains(got, theEnd) }
				case arrived == nil:
					arrived = func(got string) bool {
						return strings.HasPrefix(says.what, got) && strings.Contains(got, theEnd)
					}
				}
				if len(told) != 1 || !arrived(told[0]) {
					t.Fatalf("of %d bytes came %d times: %.300q", len(says.what), len(told), told)
				}
				for said := !says.odd || w.held != nil; !said; time.Sleep(time.Millisecond) {
					w.mu.Lock()
					said = len(w.events) > 0 && w.events[0].Int(event.Enforced) == 0
					w.mu.Unlock()
				}
			})
		}
	}
}

// TestUnlistedCertificate: a device with another certificate than the listed one is
// told the status of what it writes, and reads nothing.
func TestUnlistedCertificate(t *testing.T) {
	w := &ward{t: t}
	w.start(t, strings.NewReplacer("listen: 127.0.0.1:0", "listen: {address: 127.0.0.1:0, tls: {certificate: guard.example.pem, key: guard.example.key, authorities: ca.pem}}",
		"allow:", "clients:\n  mon: {certificate: mon-3.example}\nallow:").Replace(clientSide),
		answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\nsecret", false))
	post := "POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nalarm!"
	get := "GET /fhir/Observation/1 HTTP/1.1\r\nHost: x\r\n\r\n"
	if got := w.raw("mon-3.example", post, get); strings.Count(got, "200 OK") != 2 || !strings.HasSuffix(got, "secret") {
		t.Errorf("with its certificate: %q", got)
	}
	if got := w.raw("renewed.example", post, get); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 403") || strings.Contains(got, "secret") {
		t.Errorf("with another: %q", got)
	}
}

// TestCutReport: what of a device is cut while it streams through is not ended as if it
// were all.
func TestCutReport(t *testing.T) {
	for _, head := range []string{"ALARM: " + strings.Repeat("x", maxTarget+maxHead), "POST /alarm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w := &ward{t: t}
		w.start(t, clientSide, ln.Addr().String())
		c := w.from("127.0.0.1")
		io.WriteString(c, head+"occlusion")
		in, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in.SetDeadline(time.Now().Add(20 * time.Second))
		var got []byte
		for b := make([]byte, 4096); !bytes.HasSuffix(got, []byte("occlusion")); {
			n, err := in.Read(b)
			if got = append(got, b[:n]...); err != nil {
				t.Fatal(err)
			}
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		if n, err := in.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("after a cut %d bytes came, %v", n, err)
		}
		in.Close()
		ln.Close()
	}
}

// FuzzUnreadable: whatever a device says that is no head of a request arrives byte for
// byte, and the device is told so.
func FuzzUnreadable(f *testing.F) {
	for _, s := range []string{"ALARM", "POST /a HTTP/1.1\n\n", "POST /a HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\nalarm", "\x00", "GET / HTTP/1.0\r\n\r\n", "POST /a HTTP/1.1\r\nContent-Le"} {
		f.Add([]byte(s))
	}
	h := newHearer(f)
	w := &ward{t: f}
	w.start(f, strings.Replace(clientSide, "base:", "limits: {rate: 1000000}\nbase:", 1), h.addr)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := readRequest(&source{br: bufio.NewReader(bytes.NewReader(b)), text: true})
		if err == nil || len(b) == 0 || bytes.Contains(b, []byte(theEnd)) || bytes.HasPrefix(b, []byte("GET /fhir/Observation/1 ")) {
			return
		}
		before := len(h.heard())
		w.t = t
		got := w.plain(string(b))
		if told := h.heard(); len(told) != before+1 || told[before] != string(b) {
			t.Fatalf("%q arrived as %q", b, told[before:])
		}
		if !strings.HasPrefix(got, "HTTP/1.1 201") || strings.Contains(got, "secret") {
			t.Fatalf("the device is told %q", got)
		}
	})
}

// settled waits for what is recorded behind what passed, for a while.
func settled(is func() bool) bool {
	for ends := time.Now().Add(10 * time.Second); time.Now().Before(ends); time.Sleep(time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}
