// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

const egressHead = `guard: 1
name: pump-out
kind: egress
device: pump-3
protects: client
listen: 127.0.0.1:0
bypass: unplug the pump
`

// A way is an egress front with a name server of the test's.
type way struct {
	record
	t     testing.TB
	front *Egress
	addr  string
	stop  func()

	names map[string][]string // name to addresses; the lock is the record's
	asked []string
}

func newWay(t testing.TB, more string) *way {
	t.Helper()
	r, s := section(egressHead+more, EgressKeys)
	p := ReadEgress(r, s, t.TempDir())
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	w := &way{t: t, names: map[string][]string{}}
	w.front = NewEgress(w.env(t), p)
	w.front.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, host)
		var list []netip.Addr
		for _, a := range w.names[host] {
			list = append(list, netip.MustParseAddr(a))
		}
		if list == nil {
			return nil, errors.New("no such name")
		}
		return list, nil
	}
	w.addr, w.stop = serve(t, w.front)
	return w
}

func (w *way) name(host string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[host] = addrs
}

// connect asks for a target by HTTP CONNECT and returns the status.
func (w *way) connect(target string) (status string, c *net.TCPConn) {
	w.t.Helper()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	c = raw.(*net.TCPConn)
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	line, _ := readLine(c)
	for l := line; l != ""; {
		l, _ = readLine(c)
	}
	if len(line) < 12 {
		return "", c
	}
	return line[9:12], c
}

// readLine reads no byte behind the line.
func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
}

// socks asks for a target by SOCKS5 and returns the reply.
func (w *way) socks(host string, port uint16) (byte, *net.TCPConn) {
	w.t.Helper()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	c := raw.(*net.TCPConn)
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b := []byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}
	if a, err := netip.ParseAddr(host); err == nil {
		b = append([]byte{5, 1, 0, 5, 1, 0, 1}, a.AsSlice()...)
	} else {
		b = append(b, host...)
	}
	c.Write(append(b, byte(port>>8), byte(port)))
	var got [12]byte
	if _, err := io.ReadFull(c, got[:]); err != nil {
		w.t.Fatal(err)
	}
	return got[3], c
}

func portOf(t testing.TB, addr string) uint16 {
	return netip.MustParseAddrPort(addr).Port()
}

func TestEgress(t *testing.T) {
	addr, conns := device(t)
	port := portOf(t, addr)
	w := newWay(t, fmt.Sprintf("private: 127.0.0.1\nallow:\n  - {hosts: [updates.norra.example, '*.log.example'], ports: %d}\n  - {networks: 127.0.0.2, ports: [%d]}\n", port, port))
	w.name("updates.norra.example", "127.0.0.1")
	w.name("a.b.log.example", "127.0.0.1")

	status, c := w.connect(fmt.Sprintf("Updates.Norra.Example.:%d", port))
	if status != "200" {
		t.Fatalf("a name of the list: %s\n%s", status, w)
	}
	d := <-conns
	defer d.Close()
	io.WriteString(c, "out")
	c.CloseWrite()
	mustRead(t, d, "out")
	io.WriteString(d, "in")
	d.CloseWrite()
	mustRead(t, c, "in")

	reply, c := w.socks("a.b.log.example", port)
	if reply != 0 {
		t.Fatalf("socks: %d\n%s", reply, w)
	}
	d = <-conns
	defer d.Close()
	io.WriteString(d, "hello")
	d.CloseWrite()
	mustRead(t, c, "hello")
	c.Close()

	for _, tt := range []struct{ target, want string }{
		{"log.example:%d", "403"},
		{"xlog.example:%d", "403"},
		{"evil.example:%d", "403"},
		{"127.0.0.1:%d", "403"}, // a name leads there; the address itself is not listed
		{"[::1]:%d", "403"},
		{"[::ffff:127.0.0.1]:%d", "403"},
		{"10.20.8.20:%d", "403"},
		{"updates.norra.example:1", "403"},
		{"updates.norra.example.evil.example:%d", "403"},
		{"2130706433:%d", "502"}, // 127.0.0.1 in disguise
		{"127.1:%d", "502"},
		{"0x7f.1:%d", "502"},
		{"updates.norra.example", "502"},
		{"updates.norra.example:0", "502"},
		{"updates.norra.example:99999", "502"},
		{"up dates:%d", "502"},
	} {
		target := tt.target
		if strings.Contains(target, "%d") {
			target = fmt.Sprintf(target, port)
		}
		if got, _ := w.connect(target); got != tt.want {
			t.Errorf("%s: %s, want %s", target, got, tt.want)
		}
	}
	if got, _ := w.socks("10.20.8.20", 445); got != socksNotAllowed {
		t.Errorf("socks to the archive: %d", got)
	}
	w.stop()
	if len(conns) > 0 {
		t.Error("something not allowed was opened")
	}
	recorded := w.String()
	for _, want := range []string{
		"open [10.20.8.0/24 port 445]: it is on no list of what this device may open, 1\n",
		"open [a name that is not listed, port " + fmt.Sprint(port) + "]: it is on no list",
	} {
		if !strings.Contains(recorded, want) {
			t.Errorf("not recorded: %s\n%s", want, recorded)
		}
	}
	if strings.Contains(recorded, "evil") {
		t.Errorf("a name that is not listed was recorded:\n%s", recorded)
	}
	for _, asked := range w.asked {
		if asked != "updates.norra.example" && asked != "a.b.log.example" {
			t.Errorf("the name server was asked for %s", asked)
		}
	}
	rows, _ := w.front.env.Learned.Uses()
	if len(rows) < 4 {
		t.Errorf("learned %v", rows)
	}
}

// TestRebinding: a name that is allowed may not lead into the house, and leads
// where it led when it was looked at.
func TestRebinding(t *testing.T) {
	addr, conns := device(t)
	port := portOf(t, addr)
	w := newWay(t, fmt.Sprintf("allow: [{hosts: updates.norra.example, ports: %d}]\n", port))
	target := fmt.Sprintf("updates.norra.example:%d", port)
	for _, a := range []string{"127.0.0.1", "::1", "10.20.8.20", "169.254.1.1", "100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fd00::1", "fe80::1", "0.0.0.0", "224.0.0.1"} {
		w.name("updates.norra.example", a)
		w.front.Update(w.front.policy.Load()) // forgets what it led to
		if got, _ := w.connect(target); got != "403" {
			t.Errorf("to %s: %s", a, got)
		}
	}
	if len(conns) > 0 {
		t.Error("it was opened")
	}
	if !strings.Contains(w.String(), fmt.Sprintf("open [updates.norra.example port %d]: its name leads to a network of the house that is not listed, 1", port)) {
		t.Errorf("recorded:\n%s", w)
	}

	// What it led to when it was asked first stays; the name server is asked once.
	w = newWay(t, fmt.Sprintf("private: 127.0.0.0/8\nallow: [{hosts: updates.norra.example, ports: %d}]\n", port))
	w.name("updates.norra.example", "127.0.0.1")
	for range 2 {
		if got, _ := w.connect(target); got != "200" {
			t.Fatal(got)
		}
		(<-conns).Close()
		w.name("updates.norra.example", "127.0.0.9")
	}
	if len(w.asked) != 1 {
		t.Errorf("asked %d times", len(w.asked))
	}
}

// TestVolume holds the bound of a day at its edge.
func TestVolume(t *testing.T) {
	addr, conns := device(t)
	port := portOf(t, addr)
	w := newWay(t, fmt.Sprintf("zone: UTC\nallow: [{networks: 127.0.0.1, ports: %d, bytes-per-day: 1000}]\n", port))
	send := func(n int) (arrived int, ended error) {
		t.Helper()
		status, c := w.connect(addr)
		if status != "200" {
			return 0, errors.New(status)
		}
		d := <-conns
		defer d.Close()
		c.Write(bytes.Repeat([]byte{'x'}, n))
		c.CloseWrite()
		b, err := io.ReadAll(d)
		return len(b), err
	}
	if n, err := send(999); n != 999 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := send(1); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := send(1); err == nil || err.Error() != "403" {
		t.Errorf("beyond: %v", err)
	}
	w.front.Update(w.front.policy.Load())
	if _, err := send(1); err == nil || err.Error() != "403" {
		t.Errorf("beyond, after an update: %v", err)
	}
	w.set(time.Now().Add(24 * time.Hour))
	if n, err := send(1001); n > 1000 || err == nil {
		t.Errorf("the next day: %d, %v", n, err)
	}
	if !strings.Contains(w.String(), fmt.Sprintf("volume [127.0.0.0/24 port %d]: the device has sent there what it may in a day, 1", port)) {
		t.Errorf("recorded:\n%s", w)
	}
}

func TestTransparent(t *testing.T) {
	addr, conns := device(t)
	w := newWay(t, "forward: "+addr+"\nbytes-per-day: 5\n")
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := <-conns
	defer d.Close()
	io.WriteString(d, "220 ready\r\n") // the server speaks first
	if line, err := readLine(c); line != "220 ready" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	io.WriteString(c, "HELO\n")
	c.(*net.TCPConn).CloseWrite()
	mustRead(t, d, "HELO\n")
}

// TestEgressObserves: what would be refused is recorded, and passes.
func TestEgressObserves(t *testing.T) {
	addr, conns := device(t)
	w := newWay(t, "mode: observe\nallow: []\n")
	status, _ := w.connect(addr)
	if status != "200" {
		t.Fatal(status)
	}
	(<-conns).Close()
	if !settled(func() bool { return strings.Contains(w.String(), "it is on no list of what this device may open, 0\n") }) {
		t.Errorf("recorded:\n%s", w)
	}
}

// TestCurl lets a real client use both forms of the proxy.
func TestCurl(t *testing.T) {
	curl := testpeer.Tool(t, "curl", "curl")
	addr, conns := device(t)
	w := newWay(t, fmt.Sprintf("private: 127.0.0.0/8\nallow: [{hosts: updates.norra.example, ports: %d}]\n", portOf(t, addr)))
	w.name("updates.norra.example", "127.0.0.1")
	var servers sync.WaitGroup
	defer servers.Wait()
	for _, proxy := range []string{"http://", "socks5h://"} {
		servers.Go(func() {
			c := <-conns
			defer c.Close()
			br := bufio.NewReader(c)
			for line, err := br.ReadString('\n'); err == nil && line != "\r\n"; {
				line, err = br.ReadString('\n')
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n2.2.0\n")
		})
		url := fmt.Sprintf("http://updates.norra.example:%d/flow", portOf(t, addr))
		out, err := exec.Command(curl, "-sS", "--max-time", "20", "-p", "-x", proxy+w.addr, url).CombinedOutput()
		if string(out) != "2.2.0\n" || err != nil {
			t.Errorf("%s: %s, %v\n%s", proxy, out, err, w)
		}
		out, err = exec.Command(curl, "-sS", "--max-time", "20", "-p", "-x", proxy+w.addr, "http://evil.example/").CombinedOutput()
		if err == nil {
			t.Errorf("%s: an unlisted name answered: %s", proxy, out)
		}
	}
}

func TestEgressRead(t *testing.T) {
	for more, want := range map[string]string{
		"":                                          "lacks the key allow",
		"allow: [{hosts: a.example}]\n":             "lacks the key ports",
		"allow: [{ports: 1}]\n":                     "8:9: a row of allow has hosts or networks",
		"allow: [{hosts: 10.0.0.1, ports: 1}]":      "8:17: hosts has to have names",
		"allow: [{hosts: '*', ports: 1}]":           "8:17: hosts has to have names",
		"allow: [{hosts: 'a.*.b', ports: 1}]":       "8:17: hosts has to have names",
		"allow: [{networks: 10.0.0.1/8, ports: 1}]": "8:20: networks has to have",
		"allow: [{hosts: a.example, ports: 0}]":     "ports has to be a whole number",
		"allow: []\nresolver: ns.example\n":         "9:11: resolver has to be an address and a port",
		"allow: []\nbytes-per-day: 5\n":             "9:16: bytes-per-day stands in the rows",
		"forward: 10.0.0.1:443\nallow: []\n":        "9:8: a front with forward has that one target",
		"forward: 10.0.0.1:0\n":                     "8:10: forward has to be a name or an address",
		"allow: []\npin: 0s\n":                      "9:6: pin has to be a time",
	} {
		r, s := section(egressHead+more, EgressKeys)
		ReadEgress(r, s, t.TempDir())
		if r.Err() == nil || !strings.Contains(r.Err().Error(), want) {
			t.Errorf("%q: %v; want %s", more, r.Err(), want)
		}
	}
	r, s := section(strings.Replace(egressHead, "client", "server", 1)+"allow: []\n", EgressKeys)
	ReadEgress(r, s, t.TempDir())
	if r.Err() == nil {
		t.Error("an egress front that protects a server was taken")
	}
}

// FuzzRequests: whatever a device asks a proxy for, the target that comes out is
// an address or a name of the plain kind, and has a port.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("CONNECT updates.norra.example:443 HTTP/1.1\r\nHost: x\r\n\r\nrest"))
	f.Add([]byte("CONNECT [::1]:443 HTTP/1.1\r\n\r\n"))
	f.Add([]byte("GET http://a/ HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x01\xbb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := connect
		if len(b) > 0 && b[0] == 5 {
			read = socks
		}
		got, tell, err := read(io.Discard, bufio.NewReaderSize(bytes.NewReader(b), maxConnectHead))
		again, _, twice := read(io.Discard, bufio.NewReaderSize(bytes.NewReader(b), maxConnectHead))
		if (err == nil) != (twice == nil) || err == nil && got != again {
			t.Fatal("the same bytes read twice differ")
		}
		if tell(reply{}) != nil {
			t.Fatal("no reply")
		}
		if err == nil && (got.port == 0 || got.addr.IsValid() == (got.host != "") || got.host != "" && !isHost(got.host)) {
			t.Fatalf("%+v", got)
		}
	})
}
