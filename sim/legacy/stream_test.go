// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/sim/ward"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A script is a connection on which everything was said already.
type script struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *script) Close() error                { return nil }
func (s *script) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// FuzzServeConn gives each device a stream that nobody would send, some of them sealed.
func FuzzServeConn(f *testing.F) {
	for i := range Models {
		for _, b := range seeds(f, Models[i].Name) {
			f.Add(uint8(i), append(appendMessage(nil, counted, b), 0, 0, 0xff, 0xff))
			f.Add(uint8(i), append(b, '\n'))
			f.Add(uint8(i), hl7.AppendBlock(nil, b))
		}
	}
	f.Fuzz(func(t *testing.T, model uint8, b []byte) {
		m := Models[int(model)%len(Models)]
		cfg := Config{Now: NewClock(morning).Now, Rand: newChance()}
		if model >= 128 {
			cfg.Secret = make([]byte, SecretSize)
		}
		d, err := m.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := &script{in: bytes.NewReader(b)}
		_ = d.ServeConn(t.Context(), s)
		_ = d.State()
		if n := len(d.Journal()); n > maxJournal {
			t.Errorf("%d entries", n)
		}
	})
}

// TestPrivate holds that no journal, state or result of any attack names a patient, a serial number or a
// password.
func TestPrivate(t *testing.T) {
	secrets := append(radio.Secrets(), ward.Secrets()...)
	secrets = append(secrets, monitorPassword, monitorRoot, monitorUser, benLogin, physicianPIN+" ")
	for i := range Attacks {
		a := &Attacks[i]
		o, err := a.Try(t.Context(), Config{Rand: newChance()}, &Env{Clock: NewClock(morning), Patience: 10 * time.Second, Rand: newChance()})
		if err != nil {
			t.Fatal(err)
		}
		state, err := json.Marshal(o.Device.State())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ToLower(fmt.Sprint(o.Device.Journal(), string(state), o.How, o.Result.How))
		for _, s := range secrets {
			if s = strings.ToLower(s); len(s) > 3 && strings.Contains(text, s) {
				t.Errorf("%s/%s: a text that nobody may tell, of %d characters", a.Row, a.Name, len(s))
			}
		}
	}
}

// TestTold holds that what a radio is told by a stranger through a pipe of its own, too, is done, and that an attack
// works through whatever a target is.
func TestTold(t *testing.T) {
	var a *Attack
	for i := range Attacks {
		if Attacks[i].Row == "A09" {
			a = &Attacks[i]
		}
	}
	d, err := NewClassic(Config{Now: NewClock(morning).Now})
	if err != nil {
		t.Fatal(err)
	}
	before := d.State()
	target := piped{d: d, done: make(chan error, 1)}
	r, err := a.Run(t.Context(), &Env{Target: target, Patience: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-target.done; err != nil {
		t.Error(err)
	}
	if how, ok := a.Hurt(before, d.State(), &r); !ok || !r.Succeeded {
		t.Errorf("%q %q", r.How, how)
	}
	if how, ok := a.Hurt(before, before, &r); ok {
		t.Errorf("nothing has happened, and %q", how)
	}
	if how, ok := a.Hurt(1, 2, &r); ok {
		t.Errorf("of another device %q", how)
	}
}

// A piped target is a device at the other end of a pipe.
type piped struct {
	d    Device
	done chan error
}

func (p piped) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { p.done <- p.d.ServeConn(ctx, far) }()
	return near, nil
}

// far is a target on another machine, as it says itself.
type far struct{}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (far) Dial(context.Context) (net.Conn, error) {
	near, _ := net.Pipe()
	return farConn{near}, nil
}

// TestFar holds that no attack is run against another machine, whatever the target is.
func TestFar(t *testing.T) {
	for i := range Attacks {
		if _, err := Attacks[i].Run(t.Context(), &Env{Target: far{}}); !errors.Is(err, ErrElsewhere) {
			t.Errorf("%s/%s: %v", Attacks[i].Row, Attacks[i].Name, err)
		}
	}
}
