// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/coap"
)

// childEnv names the folder, the address and the keys of a process that
// TestKill starts to kill it.
const childEnv = "MYELIN_COAP_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(strings.Split(spec, ",")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	st, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// again is an endpoint after a restart: with the same keys and folder.
func again(t *testing.T, cfg *Config, dir string) *Endpoint {
	t.Helper()
	_ = cfg.Keep.Close()
	cfg.Keep = openStore(t, dir)
	return endpoint(t, *cfg)
}

// TestRestart starts the device again: the session goes on with its token, what was
// served before is not served again, and the client proves itself by itself.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var n counter
		var store *Store
		var server Config
		_, eb, ca, _, la, _, s := shaken(t, func(_, b *Config) {
			store = openStore(t, dir)
			b.Keep, b.Handler = store, n.handle
			server = *b
		})
		la.changed(nil)
		if _, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("before")); err != nil {
			t.Fatal(err)
		}
		if err := eb.Sessions()[0].SetToken([]byte("token")); err != nil {
			t.Fatal(err)
		}
		before := la.all()[0]
		_ = eb.Close()

		eb = again(t, &server, dir)
		all := eb.Sessions()
		if len(all) != 1 || !all[0].Restored || string(all[0].Token()) != "token" || all[0].Peer.Subject() != "programmer" {
			t.Fatalf("%+v", all)
		}
		x, y := onAir(2, 0, 0, 0)
		cb := eb.Attach(y)
		cb.process(before)
		synctest.Wait()
		if n.served["before"] != 1 || len(y.all()) != 1 {
			t.Error("served", n.served)
		}
		ca = ca.e.Attach(x)
		if _, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("after")); err != nil {
			t.Fatal(err)
		}
		cb.process(before)
		synctest.Wait()
		if n.served["before"] != 1 || n.served["after"] != 1 {
			t.Error("served", n.served)
		}
		// A session that is ended stays ended.
		if err := eb.Remove(eb.Sessions()[0]); err != nil {
			t.Fatal(err)
		}
		_ = eb.Close()
		eb = again(t, &server, dir)
		if len(eb.Sessions()) != 0 {
			t.Error("a session that was ended is back")
		}
		_ = eb.Close()
		_ = ca.e.Close()
	})
}

// TestTorn damages the files: the session is given up, and nothing else fails.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var server Config
		ea, eb, ca, _, _, _, s := shaken(t, func(_, b *Config) {
			b.Keep = openStore(t, dir)
			server = *b
		})
		mustGet(t, ca, s, "/therapy")
		_ = ea.Close()
		_ = eb.Close()
		if _, err := OpenStore(dir); err == nil {
			t.Error("opened twice")
		}
		_ = server.Keep.Close()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 {
			t.Fatal(entries, err)
		}
		kept := map[string][]byte{}
		for _, e := range entries {
			info, _ := e.Info()
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", filepath.Ext(e.Name()), info.Mode())
			}
			kept[e.Name()], _ = os.ReadFile(filepath.Join(dir, e.Name()))
		}
		try := func(change func(name string, b []byte) []byte) int {
			for name, b := range kept {
				path := filepath.Join(dir, name)
				if b = change(name, bytes.Clone(b)); b == nil {
					_ = os.Remove(path)
				} else if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg := server
			cfg.Keep = openStore(t, dir)
			defer cfg.Keep.Close()
			e := endpoint(t, cfg)
			defer e.Close()
			return len(e.Sessions())
		}
		if try(func(_ string, b []byte) []byte { return b }) != 1 {
			t.Fatal("the session is lost")
		}
		for name, whole := range kept {
			if name == "lock" {
				continue
			}
			for i := range whole {
				for what, change := range map[string]func([]byte) []byte{
					"torn":    func(b []byte) []byte { return b[:i] },
					"changed": func(b []byte) []byte { b[i] ^= 1; return b },
				} {
					if i%5 != 0 && len(whole) > 50 {
						continue
					}
					if try(func(n string, b []byte) []byte {
						if n == name {
							return change(b)
						}
						return b
					}) != 0 {
						t.Errorf("%s %s at %d is taken", filepath.Ext(name), what, i)
					}
				}
			}
			if try(func(n string, b []byte) []byte {
				if n == name {
					return nil
				}
				return b
			}) != 0 {
				t.Errorf("a session without its %s", filepath.Ext(name))
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.se*")); len(left) != 0 {
				t.Error("something is left of what was given up")
			}
		}
		// Its peer is trusted no more.
		server.EDHOC.Peers = func(*edhoc.ID, []edhoc.EAD) ([]*edhoc.Credential, error) { return nil, edhoc.ErrUnknownCredential }
		if try(func(_ string, b []byte) []byte { return b }) != 0 {
			t.Error("a session with somebody who is not trusted any more")
		}
	})
}

// recorder is a socket that keeps what came.
type recorder struct {
	net.PacketConn
	mu   sync.Mutex
	came [][]byte
	at   func(n int) // told how many came
}

func (r *recorder) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := r.PacketConn.ReadFrom(b)
	if err == nil {
		r.mu.Lock()
		r.came = append(r.came, bytes.Clone(b[:n]))
		r.mu.Unlock()
		r.at(len(r.came))
	}
	return n, addr, err
}

// fixedParty is a party whose key is known before it starts.
func fixedParty(key []byte, kid byte) (*edhoc.Authenticator, error) {
	k, err := ecdh.X25519().NewPrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := cose.NewECDHKey(k.PublicKey())
	if err != nil {
		return nil, err
	}
	cred, err := edhoc.NewCCS(public, "", []byte{kid})
	if err != nil {
		return nil, err
	}
	return edhoc.NewStaticDH(k, cred)
}

// child keeps sending under a session that it keeps, until it is killed.
func child(spec []string) error {
	own, err := hex.DecodeString(spec[2])
	if err != nil {
		return err
	}
	other, err := hex.DecodeString(spec[3])
	if err != nil {
		return err
	}
	a, err := fixedParty(own, 1)
	if err != nil {
		return err
	}
	b, err := fixedParty(other, 2)
	if err != nil {
		return err
	}
	st, err := OpenStore(spec[0])
	if err != nil {
		return err
	}
	e, err := New(Config{EDHOC: party(a, b, 0), Keep: st, AckTimeout: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := e.Dial(ctx, spec[1])
	if err != nil {
		return err
	}
	var s *Session
	if all := e.Sessions(); len(all) > 0 {
		s = all[0]
	} else if s, err = c.Handshake(ctx); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if _, err := c.Post(ctx, s, "/log", 0, fmt.Appendf(nil, "%d of %d", i, os.Getpid())); err != nil {
			return err
		}
	}
}

// TestKill kills a process while it sends, and starts it again: the session goes on,
// and of all that was on the wire no two messages have one nonce.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	a, err := fixedParty(key, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fixedParty(other, 2)
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint(t, Config{EDHOC: party(b, a, 0), Handler: echoes, Limits: many})
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	enough := func(int) {}
	r := &recorder{PacketConn: s, at: func(n int) {
		mu.Lock()
		defer mu.Unlock()
		enough(n)
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, r) }()
	defer func() { cancel(); <-done }()

	dir := t.TempDir()
	came := 0
	for _, n := range []int{200, 300, 1, 700} { // most of one reservation, more than one, hardly any
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{dir, s.LocalAddr().String(), hex.EncodeToString(key), hex.EncodeToString(other)}, ","))
		var said bytes.Buffer
		cmd.Stderr = &said
		killed := make(chan struct{})
		mu.Lock()
		start, once := came, new(sync.Once)
		enough = func(now int) {
			if came = now; now >= start+n {
				once.Do(func() { close(killed) })
			}
		}
		mu.Unlock()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-killed:
		case <-time.After(30 * time.Second):
			t.Error("it does not send")
		}
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || said.Len() > 0 {
			t.Fatalf("%v: %s", err, said.String())
		}
	}
	cancel()
	<-done
	done <- nil

	seen, kids := map[string]string{}, map[string]bool{}
	for _, b := range r.came {
		m, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		o, ok := m.Options.Get(coap.OSCOREOption)
		if !ok {
			continue
		}
		var value coap.OSCORE
		if err := value.Parse(o.Value); err != nil {
			t.Fatal(err)
		}
		kids[string(value.KID)] = true
		nonce := fmt.Sprintf("%x/%x", value.KID, value.PartialIV)
		if before, ok := seen[nonce]; ok && before != string(m.Payload) {
			t.Errorf("nonce %s protects two messages", nonce)
		}
		seen[nonce] = string(m.Payload)
	}
	if len(kids) != 1 || len(seen) < 1000 {
		t.Errorf("%d sessions, %d nonces: the session did not go on", len(kids), len(seen))
	}
	names, err := fs.Glob(os.DirFS(dir), "*"+extSession)
	if err != nil || len(names) != 1 {
		t.Error(names, err)
	}
}
