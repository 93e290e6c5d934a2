// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

// A sample is a guard of examples/guard in a folder of its own, its secrets made by its
// own script, on ports of its own: nothing else of its files is changed.
type sample struct {
	dir   string
	file  string      // its configuration
	ports map[int]int // by those of the file
}

// theSample copies the example's files; archive is the port of the archive.
func theSample(t *testing.T, archive int) *sample {
	t.Helper()
	return sampleOf(t, "guard.yaml", map[int]int{11112: archive})
}

// loopback is an address of the samples.
var loopback = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// sampleOf copies the example's files, and gives one of them ports; those that are given
// somebody listens on already.
func sampleOf(t *testing.T, file string, ports map[int]int) *sample {
	t.Helper()
	bash := testpeer.Tool(t, "bash", "bash")
	testpeer.Tool(t, "openssl", "openssl")
	s := &sample{dir: filepath.Join(t.TempDir(), "guard"), file: file, ports: ports}
	if err := os.CopyFS(s.dir, os.DirFS("../../examples/guard")); err != nil {
		t.Fatal(err)
	}
	testpeer.Run(t, s.dir, bash, "certificates.sh", "myelin")
	s.edit(t, file, func(text string) string {
		return loopback.ReplaceAllStringFunc(text, func(addr string) string {
			port, err := strconv.Atoi(loopback.FindStringSubmatch(addr)[1])
			if err != nil {
				t.Fatal(err)
			}
			if s.ports[port] == 0 {
				s.ports[port] = testpeer.Port(t)
			}
			return s.at(port)
		})
	})
	return s
}

// edit changes a file of the sample.
func (s *sample) edit(t *testing.T, file string, change func(string) string) {
	t.Helper()
	file = filepath.Join(s.dir, file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := change(string(b))
	if text == string(b) {
		t.Fatalf("%s has not changed", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *sample) at(port int) string { return fmt.Sprintf("127.0.0.1:%d", s.ports[port]) }

// as is what somebody with one of the sample's certificates has; none has no name.
func (s *sample) as(t *testing.T, name string) *tls.Config {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "tls/ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AppendCertsFromPEM(b)
	if name != "" {
		own, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "tls", name+".pem"), filepath.Join(s.dir, "tls", name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c
}

// A process is one of myelin's, that a test starts and interrupts.
type process struct {
	cmd       *exec.Cmd
	out, errs noise
	done      chan struct{}
}

// noise is what a running program writes, and a test reads.
type noise struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *noise) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *noise) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// process starts a process in the sample's folder, and returns when it has said something.
func (s *sample) process(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("myelin", args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout = s.dir, &p.out
	r, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make(chan struct{})
	go func() {
		defer close(p.done)
		from := bufio.NewReader(r)
		line, _ := from.ReadString('\n')
		io.WriteString(&p.errs, line)
		close(first)
		io.Copy(&p.errs, from)
		p.cmd.Wait()
	}()
	t.Cleanup(func() { p.interrupt() })
	<-first
	return p
}

// interrupt ends it, and returns what it printed.
func (p *process) interrupt() string {
	p.cmd.Process.Signal(os.Interrupt)
	<-p.done
	return p.out.String()
}

// last is the state that a simulated device prints when it is interrupted.
func last[S any](t *testing.T, p *process) (state S) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(p.interrupt()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &state); err != nil {
		t.Fatalf("%v: %q, %s", err, lines, &p.errs)
	}
	return state
}

// guard starts the guard and waits until it says that all its fronts serve.
func (s *sample) guard(t *testing.T) *process {
	t.Helper()
	p := s.process(t, "guard", "run", "--config", s.file)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: s.as(t, ""), DisableKeepAlives: true}}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for try := time.NewTicker(20 * time.Millisecond); ; <-try.C {
		q, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.at(8443)+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := c.Do(q); err == nil {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if bytes.Contains(b, []byte(`"ready":true`)) {
				return p
			}
		}
		select {
		case <-p.done:
			t.Fatalf("the guard ended: %s", &p.errs)
		case <-ctx.Done():
			t.Fatalf("the guard is not ready: %s", &p.errs)
		default:
		}
	}
}

// recorded ends the guard and returns its ledger's entries, as lines of JSON.
func (s *sample) recorded(t *testing.T, guard *process) string {
	t.Helper()
	guard.interrupt()
	if code := guard.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("the guard ends with %d: %s", code, &guard.errs)
	}
	var out, errs strings.Builder
	key := filepath.Join(s.dir, "ledger.key.pub")
	if code := run(t.Context(), []string{"ledger", "export", s.ledger(), "--key", key}, strings.NewReader(""), &out, &errs); code != exitDone {
		t.Fatalf("exit %d, %s", code, &errs)
	}
	return out.String()
}

// ledger is the folder of the ledger of the sample's configuration.
func (s *sample) ledger() string {
	return filepath.Join(s.dir, strings.TrimSuffix("ledger-"+strings.TrimSuffix(s.file, ".yaml"), "-guard"))
}

// has wants an entry that says all of it.
func has(t *testing.T, ledger string, want ...string) {
	t.Helper()
	for line := range strings.Lines(ledger) {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	t.Errorf("no entry says %q:\n%s", want, ledger)
}

func attackOf(t *testing.T, row, name string) *legacy.Attack {
	t.Helper()
	i := slices.IndexFunc(legacy.Attacks, func(a legacy.Attack) bool { return a.Row == row && a.Name == name })
	if i < 0 {
		t.Fatalf("no attack %s/%s", row, name)
	}
	return &legacy.Attacks[i]
}

// order sends an order with a certificate of the sample's, and returns MSA-1 of the answer.
func (s *sample) order(t *testing.T, as, id, rate string) (answer string) {
	t.Helper()
	c, err := legacyTarget{s.at(24001), s.as(t, as)}.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pump, _ := ward.Pumps()
	o := ward.Order{ID: id, Pump: pump, Rate: rate, Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
	err = legacy.ExchangeHL7(t.Context(), c, [][]byte{o.Message(time.Now())}, func(_, b []byte) {
		m, err := hl7.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := m.Answer()
		answer = a.Code.Text()
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestWardOrder is step 3 of the ward's morning: noradrenaline at twenty times the rate, in the
// name of the hospital information system. The gateway takes it; the guard that
// examples/guard puts before the gateway does not, whoever sends it.
func TestWardOrder(t *testing.T) {
	s := theSample(t, testpeer.Port(t))
	forged := attackOf(t, "step 3", "forged-order")

	bare := s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", s.at(24000), "--confirm")
	target, err := legacy.At("tcp", s.at(24000))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := forged.Run(t.Context(), &legacy.Env{Target: target}); err != nil || !r.Succeeded {
		t.Fatalf("unprotected: %+v %v", r, err)
	}
	before := last[legacy.FlowLinkState](t, bare)
	if before.Pump3.Dose != "4 ug/kg/min" || before.Orders != 1 {
		t.Fatalf("unprotected: %+v", before)
	}

	castor := s.process(t, "sim", "legacy", "--device", "castor", "--listen", s.at(24002))
	gateway := s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", s.at(24000), "--confirm", "--upstream", s.at(24003))
	guard := s.guard(t)
	for who, target := range map[string]legacy.Target{
		"in clear": mustAt(t, s.at(24001)), "without a certificate": legacyTarget{s.at(24001), s.as(t, "")},
	} {
		if r, err := forged.Run(t.Context(), &legacy.Env{Target: target, Patience: time.Minute}); err != nil || r.Succeeded {
			t.Errorf("%s: %+v %v", who, r, err)
		}
	}
	if got := s.order(t, "ct-1", "RGV-1", "4"); got != "AE" && got != "CE" {
		t.Errorf("with the scanner's certificate: %q", got)
	}
	// The information system itself is told CA, and AE on the connection for its answers.
	if got := s.order(t, "ehr", "RGV-2", "4"); got != "CA" {
		t.Errorf("from the information system: %q", got)
	}
	// What runs is known when the gateway has reported it. It does so each minute; nobody waits here.
	three, _ := ward.Pumps()
	if err := legacy.SendHL7(t.Context(), s.at(24003), [][]byte{ward.Report(time.Now(), "REPORT-1", three)}, nil); err != nil {
		t.Fatal(err)
	}
	// What is ordered every day passes, or the guard would only be a wall.
	if got := s.order(t, "ehr", "RGV-3", "0.25"); got != "CA" {
		t.Errorf("an order within the limits: %q", got)
	}
	late := time.After(15 * time.Second)
	for try := time.NewTicker(10 * time.Millisecond); !strings.Contains(gateway.out.String(), "0.25 ug/kg/min") || strings.Count(castor.out.String(), "an order is answered") < 2; <-try.C {
		select {
		case <-guard.done:
			t.Fatal(&guard.errs)
		case <-late:
			t.Fatalf("no answers: %s%s\n%s", &gateway.out, &castor.out, s.recorded(t, guard))
		default:
		}
	}
	entries := s.recorded(t, guard)
	if after := last[legacy.FlowLinkState](t, gateway); after.Orders != 1 || after.Pump3.Dose != "0.25 ug/kg/min" {
		t.Errorf("the gateway took %+v", after)
	}
	if got := last[legacy.CastorState](t, castor).Answers; !slices.Contains(got, "AE RGV-2") || !slices.Contains(got, "AA RGV-3") {
		t.Errorf("the information system was answered %q", got)
	}
	has(t, entries, "access-refused", "gw-icu", "it does not speak TLS")
	has(t, entries, "verdict-given", "pump-3", `"deny"`, "it asks for more than the most of 1.0 ug/kg/min", `"ehr"`)
}

func mustAt(t *testing.T, addr string) legacy.Target {
	t.Helper()
	target, err := legacy.At("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// relay is what a program without TLS needs to reach a front: it connects to it with one of the
// sample's certificates.
func (s *sample) relay(t *testing.T, as string, port int) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := legacyTarget{s.at(port), s.as(t, as)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				o, err := to.Dial(context.Background())
				if err != nil {
					return
				}
				defer o.Close()
				wg.Go(func() { io.Copy(o, c); o.(*tls.Conn).CloseWrite() })
				io.Copy(c, o)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// TestWardRecords is step 4: the records of the archive are moved to XFER1, which nobody knows.
// DCMTK's programs do it at the archive, and not through its front.
func TestWardRecords(t *testing.T) {
	for _, name := range []string{"dcmqrscp", "storescp", "storescu", "movescu", "dump2dcm"} {
		testpeer.DCMTK(t, name)
	}
	thief, room := t.TempDir(), t.TempDir()
	ports := map[string]int{"XFER1": testpeer.Port(t), "VIEW1": testpeer.Port(t)}
	for name, dir := range map[string]string{"XFER1": thief, "VIEW1": room} {
		testpeer.Start(t, dir, ports[name], testpeer.DCMTK(t, "storescp"), "-aet", name, "-od", dir, fmt.Sprint(ports[name]))
	}
	s := theSample(t, testpeer.Dcmqrscp(t, "ADAPACS", ports))
	guard := s.guard(t)
	program := func(name string, args ...string) (string, error) {
		t.Helper()
		return testpeer.Try(t, s.dir, testpeer.DCMTK(t, name), args...)
	}
	object := testpeer.DICOMObject(t, `(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]
(0008,0018) UI [1.2.276.0.99999.2.1.1]
(0008,0060) CS [CT]
(0010,0010) PN [Lindqvist^Anna]
(0010,0020) LO [ADA-0001]
(0020,000d) UI [1.2.276.0.99999.2]
(0020,000e) UI [1.2.276.0.99999.2.1]
`, "+te")
	if out, err := program("storescu", "+tls", "tls/ct-1.key", "tls/ct-1.pem", "+cf", "tls/ca.pem", "-aet", "CT1", "-aec", "ADAPACS",
		"127.0.0.1", fmt.Sprint(s.ports[11113]), object); err != nil {
		t.Fatalf("the scanner stores: %v\n%s", err, out)
	}
	move := func(port int, to string) (string, error) {
		t.Helper()
		return program("movescu", "-v", "-S", "-aet", "VIEW1", "-aec", "ADAPACS", "-aem", to, "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.276.0.99999.2", "127.0.0.1", fmt.Sprint(port))
	}
	files := func(dir string) int {
		t.Helper()
		f, err := filepath.Glob(filepath.Join(dir, "CT*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(f)
	}

	through := s.relay(t, "view-1", 11113) // movescu has no TLS
	if out, err := move(through, "XFER1"); err == nil && !strings.Contains(out, "Refused") || files(thief) != 0 {
		t.Errorf("through the guard: %v, %d files\n%s", err, files(thief), out)
	}
	if out, err := move(s.relay(t, "ct-1", 11113), "XFER1"); err == nil || files(thief) != 0 {
		t.Errorf("with the scanner's certificate: %d files\n%s", files(thief), out)
	}
	if out, err := move(s.ports[11113], "XFER1"); err == nil || files(thief) != 0 {
		t.Errorf("in clear: %d files\n%s", files(thief), out)
	}
	if out, err := move(through, "VIEW1"); err != nil || files(room) != 1 {
		t.Errorf("to the reading room: %v, %d files\n%s", err, files(room), out)
	}
	if out, err := move(s.ports[11112], "XFER1"); err != nil || files(thief) != 1 {
		t.Errorf("unprotected: %v, %d files\n%s", err, files(thief), out)
	}
	entries := s.recorded(t, guard)
	has(t, entries, "access-refused", "archive", "C-MOVE", "XFER1")
	if strings.Contains(entries, "Lindqvist") || strings.Contains(entries, "ADA-0001") {
		t.Error("the ledger names the patient")
	}
}

// TestWardReplay is step 6: yesterday's "therapies off" again on the radio of Anna's implant,
// and wake-ups at a thousand a minute. The implant that believes anybody does it; behind the
// guard it hears nobody else, and the guard nobody who proves nothing.
func TestWardReplay(t *testing.T) {
	s := theSample(t, testpeer.Port(t))
	replay := attackOf(t, "A04", "replay")

	bare := s.process(t, "sim", "legacy", "--device", "rhythm-s", "--listen", s.at(5674))
	at := func(port int) legacy.Target {
		t.Helper()
		target, err := legacy.At("udp", s.at(port))
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	env := &legacy.Env{Target: at(5674)}
	if err := replay.Record(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if r, err := replay.Run(t.Context(), env); err != nil || !r.Succeeded {
		t.Fatalf("unprotected: %+v %v", r, err)
	}
	before := last[legacy.DefibrillatorState](t, bare)
	if before.Therapies || before.WakeUps < 1000 {
		t.Fatalf("unprotected: %+v", before)
	}

	implant := s.process(t, "sim", "legacy", "--device", "rhythm-s", "--listen", s.at(5674), "--secret", "icd.secret")
	guard := s.guard(t)
	for _, where := range []int{5684, 5674} { // at the guard, and straight at the implant
		r, err := replay.Run(t.Context(), &legacy.Env{Target: at(where), Overheard: env.Overheard, Patience: 200 * time.Millisecond})
		if err != nil || r.Succeeded {
			t.Errorf("port %d: %+v %v", where, r, err)
		}
	}
	// The clinic's programmer still reaches it.
	link := func(args ...string) (string, int) {
		t.Helper()
		var out, errs strings.Builder
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "@", s.dir+string(filepath.Separator))
		}
		code := run(t.Context(), append([]string{"link"}, args...), strings.NewReader(""), &out, &errs)
		return out.String() + errs.String(), code
	}
	for _, args := range [][]string{
		{"keygen", "--out", "@studio.key"},
		{"enrol", "--authority", "@clinic", "--subject", "prog-1", "--role", "clinician", "@studio.key.pub"},
		{"issue", "--authority", "@clinic", "--subject", "prog-1", "--device", "icd-anna", "--allow", "set-pacing-rate", "--out", "@studio.cwt"},
		{"get", "coap://" + s.at(5684) + "/therapy", "--key", "@studio.key", "--token", "@studio.cwt", "--device", "@icd-front.key.pub"},
	} {
		if out, code := link(args...); code != exitDone {
			t.Fatalf("%q: %s", args, out)
		}
	}
	entries := s.recorded(t, guard)
	if after := last[legacy.DefibrillatorState](t, implant); !after.Therapies || after.WakeUps > 10 {
		t.Errorf("the implant is %+v", after)
	}
	has(t, entries, "access-refused", "icd-anna")
}
