// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	wire "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/implant"
)

// A usual is what a kind of implant is asked for in a drill.
type usual struct {
	legal  therapy.Request // within what it may be asked for
	absurd therapy.Request // authorised, and beyond what any patient survives
	rescue therapy.Request // what has to pass all the same
	verbs  []device.Verb   // what a clinician is granted
}

var usuals = map[implant.Kind]usual{
	implant.Pump: {
		legal:  therapy.Request{Verb: device.DeliverBolus, Value: quantity("1 [iU]")},
		absurd: therapy.Request{Verb: device.DeliverBolus, Value: quantity("400 [iU]")},
		rescue: therapy.Request{Verb: device.CancelBolus},
		verbs:  []device.Verb{device.DeliverBolus, device.CancelBolus, device.SetBasalRate},
	},
	implant.Defibrillator: {
		legal:  therapy.Request{Verb: device.SetPacingRate, Value: quantity("70 {pulses}/min")},
		absurd: therapy.Request{Verb: device.SetPacingRate, Value: quantity("400 {pulses}/min")},
		rescue: therapy.Request{Verb: device.EmergencyPreset},
		verbs:  []device.Verb{device.SetPacingRate, device.EmergencyPreset},
	},
	implant.Neurostimulator: {
		legal:  therapy.Request{Verb: device.SetAmplitude, Value: quantity("2.2 mA")},
		absurd: therapy.Request{Verb: device.SetAmplitude, Value: quantity("90 mA")},
		rescue: therapy.Request{Verb: device.StimulationOff},
		verbs:  []device.Verb{device.SetAmplitude, device.StimulationOff},
	},
}

// A secured is a device whose maker built the channel in, on a socket at which
// somebody listens.
type secured struct {
	*clinic
	kind   implant.Kind
	cfg    implant.Config
	store  string
	socket *tap
	addr   string

	*implant.Implant
	stop func()
}

// secured starts one.
func (w *world) secured(kind implant.Kind, name string) (*secured, error) {
	c, err := newClinic(usuals[kind].verbs...)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s := &secured{clinic: c, kind: kind, store: filepath.Join(w.dir, name+"-sessions")}
	s.cfg = implant.Config{
		Kind: kind, ID: audience, Journal: filepath.Join(w.dir, name+".journal"), Anchors: c.anchors,
		Clock: func() (time.Duration, int64) { return time.Since(began), time.Now().Unix() },
	}
	return s, s.start()
}

// start starts the device, or starts it again after a loss of power.
func (s *secured) start() error {
	i, err := implant.Open(s.cfg)
	if err != nil {
		return err
	}
	store, err := coap.OpenStore(s.store)
	if err != nil {
		return err
	}
	var peers []*edhoc.Authenticator
	for _, h := range s.people {
		peers = append(peers, h.own)
	}
	r, err := i.Radio(coap.Config{EDHOC: trusting(s.device, peers...), Keep: store, AckTimeout: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	if s.socket == nil {
		s.socket, err = listenTapped()
	} else {
		s.socket.PacketConn, err = net.ListenPacket("udp", s.addr)
	}
	if err != nil {
		return err
	}
	s.addr = s.socket.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Serve(ctx, s.socket) })
	s.Implant = i
	s.stop = func() {
		cancel()
		wg.Wait()
		r.Close()
		store.Close()
		i.Close()
	}
	return nil
}

// taken is how many commands the device has taken, by its own log.
func (s *secured) taken() (n int) {
	for _, l := range s.Log() {
		if strings.Contains(l, "event command") && strings.Contains(l, "verdict accepted") {
			n++
		}
	}
	return n
}

func (s *secured) clinician(ctx context.Context) (*programmer, error) {
	h := s.people[device.Clinician]
	return connect(ctx, s.addr, h.own, s.device, h.token)
}

// A channelCheck does something to a device behind the channel. How says what was
// held; an error that it was not.
type channelCheck func(ctx context.Context, w *world, row *Row, s *secured) (how string, err error)

var channelChecks = map[string]channelCheck{
	"replay":    channelReplay,
	"stranger":  channelStranger,
	"absurd":    channelAbsurd,
	"eavesdrop": channelEavesdrop,
	"impostor":  channelImpostor,
	"wake":      channelWake,
	"attack":    channelAttack,
}

// secure runs a row's checks against a device that has the channel.
func secure(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	if len(row.Channel.Checks) == 0 {
		return cell(report.DrillFailed, "%v", errNoWay), nil
	}
	var how []string
	for _, name := range row.Channel.Checks {
		s, err := w.secured(row.Channel.Kind, row.ID+"-"+name)
		if err != nil {
			return report.DrillCell{}, err
		}
		held, err := channelChecks[name](ctx, w, row, s)
		s.stop()
		if err != nil {
			return cell(report.DrillFailed, "%s: %v", name, err), nil
		}
		how = append(how, held)
	}
	return cell(report.DrillStopped, "if the maker builds it in: %s", strings.Join(how, "; ")), nil
}

// channelReplay records a legal command and sends it again: in the session, in a new
// one, and after a restart.
func channelReplay(ctx context.Context, _ *world, _ *Row, s *secured) (string, error) {
	p, err := s.clinician(ctx)
	if err != nil {
		return "", err
	}
	defer p.Close()
	legal := usuals[s.kind].legal
	if code, err := p.order(ctx, &legal); err != nil || code != wire.Changed {
		return "", unwanted("the legal command itself", code, err)
	}
	recorded, _ := s.socket.heard()
	taken := s.taken()
	try := func(when string) error {
		n, err := again(s.addr, recorded)
		if err != nil {
			return err
		}
		if n < 2 {
			return errors.New("nothing was recorded")
		}
		if s.taken() != taken {
			return fmt.Errorf("a recorded command was taken %s", when)
		}
		return nil
	}
	if err := try("in the same session"); err != nil {
		return "", err
	}
	q, err := s.clinician(ctx)
	if err != nil {
		return "", err
	}
	defer q.Close()
	if err := try("in a new session"); err != nil {
		return "", err
	}
	s.stop()
	if err := s.start(); err != nil {
		return "", err
	}
	taken = s.taken()
	if err := try("after a restart"); err != nil {
		return "", err
	}
	return "recorded commands are refused in the session, in a new one and after a restart", nil
}

// channelStranger asks without protection, with a key that is not enrolled, and in a
// role without the right.
func channelStranger(ctx context.Context, _ *world, _ *Row, s *secured) (string, error) {
	legal := usuals[s.kind].legal
	if err := strange(ctx, s.addr, s.device, &legal); err != nil {
		return "", err
	}
	technician := s.people[device.Technician]
	p, err := connect(ctx, s.addr, technician.own, s.device, technician.token)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if code, err := p.order(ctx, &legal); err != nil || code != wire.Forbidden {
		return "", unwanted("a role without the right", code, err)
	}
	if s.taken() != 0 {
		return "", errors.New("the device took a command")
	}
	return "without protection, with a key that is not enrolled and in a role without the right: refused", nil
}

// channelAbsurd asks for a dose that is authorised and absurd, and for a rescue.
func channelAbsurd(ctx context.Context, _ *world, _ *Row, s *secured) (string, error) {
	u := usuals[s.kind]
	p, err := s.clinician(ctx)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if code, err := p.order(ctx, &u.legal); err != nil || code != wire.Changed {
		return "", unwanted("the legal command itself", code, err)
	}
	if code, err := p.order(ctx, &u.absurd); err != nil || code.Class() != 4 {
		return "", unwanted(u.absurd.Verb.String()+" "+u.absurd.Value.String(), code, err)
	}
	if code, err := p.order(ctx, &u.rescue); err != nil || code != wire.Changed {
		return "", unwanted("the rescue "+u.rescue.Verb.String(), code, err)
	}
	return fmt.Sprintf("%s %s is refused even to whom it is granted, %s passes", u.absurd.Verb, u.absurd.Value, u.rescue.Verb), nil
}

// unwanted is the error of an answer that should have been another.
func unwanted(what string, code wire.Code, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s was answered %v", what, code)
}

const tell = 6 // bytes that are a text rather than chance

// channelEavesdrop looks in all that went over the air for what was said.
func channelEavesdrop(ctx context.Context, _ *world, _ *Row, s *secured) (string, error) {
	h := s.people[device.Clinician]
	p, err := s.clinician(ctx)
	if err != nil {
		return "", err
	}
	defer p.Close()
	legal := usuals[s.kind].legal
	said := [][]byte{legal.Append(nil), h.token, []byte("/therapy"), []byte("telemetry")}
	if _, err := p.order(ctx, &legal); err != nil {
		return "", err
	}
	for _, path := range []string{"/therapy", "/telemetry", "/limits", "/log"} {
		m, err := p.conn.Get(ctx, p.session, path)
		if err != nil {
			return "", err
		}
		said = append(said, m.Payload)
	}
	came, went := s.socket.heard()
	for _, datagram := range append(came, went...) {
		for _, text := range said {
			for i := 0; i+tell <= len(text); i++ {
				if bytes.Contains(datagram, text[i:i+tell]) {
					return "", errors.New("what was said is in what was heard")
				}
			}
		}
	}
	return fmt.Sprintf("of settings, telemetry, log and token nothing is in the %d datagrams that were heard", len(came)+len(went)), nil
}

// channelImpostor stands where the device should be, with a key of its own.
func channelImpostor(ctx context.Context, w *world, _ *Row, s *secured) (string, error) {
	thief, err := newHolder("!")
	if err != nil {
		return "", err
	}
	s.stop()
	real := s.device
	s.device = thief.own // the socket answers as somebody else
	if err := s.start(); err != nil {
		return "", err
	}
	h := s.people[device.Clinician]
	if p, err := connect(ctx, s.addr, h.own, real, h.token); err == nil {
		p.Close()
		return "", errors.New("an impostor was believed")
	}
	came, _ := s.socket.heard()
	for _, d := range came {
		if bytes.Contains(d, h.token[:tell]) {
			return "", errors.New("an impostor was given the token")
		}
	}
	return "who stands in the device's place with another key is not believed, and told nothing", nil
}

// channelWake begins handshakes that nobody ends, and then comes as a clinician.
func channelWake(ctx context.Context, _ *world, _ *Row, s *secured) (string, error) {
	thief, err := newHolder("x")
	if err != nil {
		return "", err
	}
	if p, err := connect(ctx, s.addr, thief.own, s.device, nil); err == nil {
		p.Close()
		return "", errors.New("a key that is not enrolled has a session")
	}
	recorded, _ := s.socket.heard()
	if err := flood(s.addr, recorded[0], wakeUps); err != nil {
		return "", err
	}
	p, err := s.clinician(ctx)
	if err != nil {
		return "", fmt.Errorf("a clinician is locked out: %w", err)
	}
	p.Close()
	return "handshakes of strangers are budgeted, and a clinician still comes in; the radio wakes for each", nil
}

const wakeUps = 1000 // in a minute, by the catalogue; here as fast as they go

// flood sends a datagram so many times, each as another message of CoAP.
func flood(addr string, datagram []byte, times int) error {
	b := bytes.Clone(datagram)
	return send(addr, times, func(i int) []byte {
		binary.BigEndian.PutUint16(b[2:], uint16(i)) // the Message ID, RFC 7252 section 3
		return b
	})
}

// repeat sends a datagram so many times, as it is.
func repeat(addr string, datagram []byte, times int) error {
	return send(addr, times, func(int) []byte { return datagram })
}

// send sends datagrams from somewhere else, not faster than a socket is read.
func send(addr string, times int, datagram func(i int) []byte) error {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, to)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range times {
		if _, err := c.Write(datagram(i)); err != nil {
			return err
		}
		if i%50 == 49 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// channelAttack runs the row's own attacks against the device that has the channel.
func channelAttack(ctx context.Context, w *world, row *Row, s *secured) (string, error) {
	before := s.taken()
	if err := w.attackAt(ctx, row, s.addr); err != nil {
		return "", err
	}
	if s.taken() != before {
		return "", errors.New("the device took a command")
	}
	return "the attack itself changes nothing", nil
}
