// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// libcoap finds a program of libcoap that was built with OSCORE: in the folder that
// LIBCOAP names, or on the path.
func libcoap(t *testing.T, name string) string {
	t.Helper()
	var tried []string
	for _, try := range []string{filepath.Join(os.Getenv("LIBCOAP"), name), name, name + "-openssl"} {
		path, err := exec.LookPath(try)
		if err != nil {
			continue
		}
		usage, _ := exec.Command(path, "-h").CombinedOutput()
		if bytes.Contains(usage, []byte("oscore_conf")) || bytes.Contains(usage, []byte("Have OSCORE")) {
			return path
		}
		tried = append(tried, path+" was built without OSCORE")
	}
	t.Skipf("no %s with OSCORE (LIBCOAP names its folder); %s", name, strings.Join(tried, ", "))
	return ""
}

// Of RFC 8613 appendix C.1: what both stacks are given by hand.
var (
	peerSecret = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	peerSalt   = []byte{0x9e, 0x7c, 0xa9, 0x22, 0x23, 0x78, 0x63, 0x40}
)

func peerParams(sender, recipient byte) oscore.Params {
	return oscore.Params{MasterSecret: peerSecret, MasterSalt: peerSalt, SenderID: []byte{sender}, RecipientID: []byte{recipient}}
}

func peerConfig(t *testing.T, sender, recipient byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "oscore.conf")
	text := fmt.Sprintf("master_secret,hex,\"%x\"\nmaster_salt,hex,\"%x\"\nsender_id,hex,\"%02x\"\nrecipient_id,hex,\"%02x\"\nreplay_window,integer,32\naead_alg,integer,10\nhkdf_alg,integer,-10\n",
		peerSecret, peerSalt, sender, recipient)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveLoopback serves on a socket of the loopback interface.
func serveLoopback(t testing.TB, e *Endpoint) string {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.LocalAddr().String()
}

// TestLibcoapClient has libcoap ask us.
func TestLibcoapClient(t *testing.T) {
	program := libcoap(t, "coap-client")
	at := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	e := endpoint(t, Config{Handler: PeerHandler(func() time.Time { return at })})
	if _, err := e.Add(peerParams(1, 2)); err != nil {
		t.Fatal(err)
	}
	addr := serveLoopback(t, e)
	seq := filepath.Join(t.TempDir(), "seq") // the second run goes on where the first ended
	for path, want := range map[string]string{"time": "2026-11-27T08:00:00Z", ".well-known/core": "</time>;obs"} {
		out, err := exec.Command(program, "-B", "5", "-E", peerConfig(t, 2, 1)+","+seq, "coap://"+addr+"/"+path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}

// TestLibcoapServer has us ask libcoap, which asks for a proof first (Echo).
func TestLibcoapServer(t *testing.T) {
	program := libcoap(t, "coap-server")
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.LocalAddr().String())
	_ = free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-A", "127.0.0.1", "-p", port, "-E", peerConfig(t, 2, 1))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	e := endpoint(t, Config{AckTimeout: 200 * time.Millisecond})
	s, err := e.Add(peerParams(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Dial(ctx, "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	started := within(t, 10*time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for err = errors.New("never asked"); err != nil && started.Err() == nil; <-poll.C { // until it listens
		err = AskPeer(started, c, s, &out)
	}
	if err != nil || !strings.Contains(out.String(), "/time 2.05") || !strings.Contains(out.String(), "</time>") {
		t.Errorf("%v\n%s", err, out.String())
	}
	o, err := c.Observe(within(t, 10*time.Second), s, "/time")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // libcoap tells the time each second
		if m, err := o.Next(within(t, 10*time.Second)); err != nil || m.Code != coap.Content {
			t.Errorf("notification %d: %v %v", i, m.Code, err)
		}
	}
	if err := o.Close(within(t, 10*time.Second)); err != nil {
		t.Error(err)
	}
}
