// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// guardVariable names the folder of a guard that the test's own process is to be.
const guardVariable = "MYELIN_TEST_GUARD"

// runGuard is a guard of its own process, until its standard input ends or it is killed.
func runGuard(dir string) {
	env := &front.Env{
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Record: func(e *event.Event) error {
			fmt.Println(e.Kind, e.Text(event.Reason))
			return nil
		},
	}
	f, g, b, err := guard(dir, device.NoTherapy, env)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	go func() {
		for !f.Ready() {
			time.Sleep(time.Millisecond)
		}
		for _, d := range b.Doubts() {
			fmt.Println("doubt", d.Verb, d.Value)
		}
		for _, e := range f.Emergencies() {
			fmt.Println("emergency", e.Device)
		}
		fmt.Println("ready")
	}()
	if err := f.Run(ctx); err != nil {
		fmt.Println("error", err)
	}
	g.Close()
	_ = b.Close()
}

// spawn starts a guard in a process of its own, and returns what it said until it was
// ready.
func (w *world) spawn() (*exec.Cmd, io.Closer, []string) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), guardVariable+"="+w.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var said []string
	r := bufio.NewScanner(out)
	for r.Scan() {
		if r.Text() == "ready" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return cmd, in, said
		}
		said = append(said, r.Text())
	}
	w.t.Fatalf("the guard ended: %q", said)
	return nil, nil, nil
}

// TestKill kills a guard without warning while a command is in flight, and while an
// emergency is open: what may have been given is in doubt, nothing is sent again, and the
// emergency is the same one.
func TestKill(t *testing.T) {
	w, p := withPuppet(t, true)
	w.stop()
	cmd, _, _ := w.spawn()
	kill := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	defer func() { kill() }()
	nurse := w.connect("nurse")
	rescuer, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	token := w.token("ambulance")
	rescuer.post(token, protocol.Created)
	r := therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "3 [iU]")}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = nurse.c.Do(ctx, nurse.s, coap.Request(protocol.POST, "/therapy", 60, r.Append(nil)))
	}()
	if s := p.asks(); s != "bolus" {
		t.Fatal(s)
	}
	kill()
	cancel()
	<-done
	cmd, in, said := w.spawn()
	all := strings.Join(said, "\n")
	for _, words := range []string{"doubt deliver-bolus 3 [iU]", "emergency device-7", "still open after a restart"} {
		if !strings.Contains(all, words) {
			t.Errorf("no %q in %q", words, all)
		}
	}
	if len(p.asked) != 0 {
		t.Errorf("the device was asked for %s", <-p.asked)
	}
	rescuer, err = w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	rescuer.post(token, protocol.Created)
	second, err := w.through(w.address, w.holders["second"])
	if err != nil {
		t.Fatal(err)
	}
	second.post(token, protocol.Unauthorized)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestCommandLine: whoever commands a simulated implant with 'myelin link' commands a
// device behind the front in the same way.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the whole program")
	}
	w := newWorld(t, classic)
	bin := filepath.Join(w.dir, "myelin")
	if out, err := exec.Command("go", "build", "-ldflags=-w", "-o", bin, "../../cmd/myelin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	guard := w.guardKey.Public()
	w.write("guard.key.pub", guard.AppendPublic(nil))
	nurse := w.holders["nurse"]
	w.write("nurse.key", nurse.AppendSecret(nil))
	w.write("nurse.cwt", w.token("nurse"))
	for _, test := range []struct {
		want string
		args []string
	}{
		{"stage: accepted", []string{"command", "/therapy", "deliver-bolus", "2U"}},
		{"refused: 4.03, it asks for more than", []string{"command", "/therapy", "deliver-bolus", "20U"}},
		{"stage: accepted", []string{"command", "/therapy", "cancel-bolus"}},
		{"reservoir: 15", []string{"get", "/therapy"}},
		{"reservoir: 15", []string{"get", "/telemetry"}},
		{"event answer done", []string{"get", "/raw"}},
		{"verb deliver-bolus", []string{"get", "/log"}},
	} {
		args := append([]string{"link", test.args[0], "coap://" + w.address + test.args[1]}, test.args[2:]...)
		args = append(args, "--key", w.dir+"/nurse.key", "--token", w.dir+"/nurse.cwt", "--device", w.dir+"/guard.key.pub")
		out, _ := exec.Command(bin, args...).CombinedOutput()
		if !strings.Contains(string(out), test.want) {
			t.Errorf("%v: %s", test.args, out)
		}
	}
	if s := w.pump(); s.Boluses != 1 || s.BolusLeft != 0 {
		t.Errorf("%+v", s)
	}
}
