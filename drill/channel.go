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
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/implant"
)

var usuals = map[implant.Kind]usual{
	implant.Pump: {
		ask(device.DeliverBolus, "1 [iU]"), ask(device.DeliverBolus, "400 [iU]"), ask(device.CancelBolus, ""), ask(device.DeliverBolus, "1 [iU]"),
	},
	implant.Defibrillator: {
		legal: ask(device.SetPacingRate, "70 {pulses}/min"), absurd: ask(device.SetPacingRate, "400 {pulses}/min"), rescue: ask(device.EmergencyPreset, ""),
	},
	implant.Neurostimulator: {
		legal: ask(device.SetAmplitude, "2.2 mA"), absurd: ask(device.SetAmplitude, "90 mA"), rescue: ask(device.StimulationOff, ""),
	},
}

// secured starts a device whose maker built the channel in.
func (w *world) secured(row *Row, name string) (*subject, error) {
	kind := row.Channel.Kind
	u := usuals[kind]
	c, err := newClinic(u.verbs()...)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	cfg := implant.Config{
		Kind: kind, ID: audience, Journal: filepath.Join(w.dir, name+".journal"), Anchors: c.anchors,
		Clock: func() (time.Duration, int64) { return time.Since(began), time.Now().Unix() },
	}
	var it *implant.Implant
	s := &subject{clinic: c, usual: u, attacks: row.Attack, network: "udp", addr: "127.0.0.1:0"}
	s.did = func() (n int) { // it has taken commands, by its own log
		for _, l := range it.Log() {
			if strings.Contains(l, "event command") && strings.Contains(l, "verdict accepted") {
				n++
			}
		}
		return n
	}
	s.state = func() any { return s.did() }
	start := func() (err error) {
		it, s.stop, err = s.serve(cfg, filepath.Join(w.dir, name+"-sessions"))
		return err
	}
	s.restart = func() error {
		s.stop()
		return start()
	}
	return s, start()
}

// serve starts the device, or starts it again after a loss of power.
func (s *subject) serve(cfg implant.Config, sessions string) (*implant.Implant, func(), error) {
	i, err := implant.Open(cfg)
	if err != nil {
		return nil, nil, err
	}
	store, err := coap.OpenStore(sessions)
	if err != nil {
		return nil, nil, err
	}
	var peers []*edhoc.Authenticator
	for _, h := range s.people {
		peers = append(peers, h.own)
	}
	r, err := i.Radio(coap.Config{EDHOC: trusting(s.device, peers...), Keep: store, AckTimeout: 500 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	socket, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		return nil, nil, err
	}
	s.addr = socket.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Serve(ctx, socket) })
	return i, func() {
		cancel()
		wg.Wait()
		r.Close()
		store.Close()
		i.Close()
	}, nil
}

// secure runs a row's checks against a device that has the channel.
func secure(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	if len(row.Channel.Checks) == 0 {
		return cell(report.DrillFailed, "%v", errNoWay), nil
	}
	var how []string
	for _, name := range row.Channel.Checks {
		s, err := w.secured(row, row.ID+"-"+name)
		if err != nil {
			return report.DrillCell{}, err
		}
		held, err := channelChecks[name](ctx, s)
		s.stop()
		if err != nil {
			return cell(report.DrillFailed, "%s: %v", name, err), nil
		}
		how = append(how, held)
	}
	return cell(report.DrillStopped, "if the maker builds it in: %s", strings.Join(how, "; ")), nil
}

const tell = 6 // bytes that are a text rather than chance

// eavesdrop looks in all that went over the air for what was said.
func eavesdrop(ctx context.Context, s *subject) (string, error) {
	path, err := newRelay(s.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	p, err := s.come(ctx, device.Clinician, path.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	legal := s.legal.Append(nil)
	said := [][]byte{legal, s.people[device.Clinician].token, []byte("/therapy"), []byte("telemetry")}
	if err := p.passes(ctx, &s.legal); err != nil {
		return "", err
	}
	for _, resource := range []string{"/therapy", "/telemetry", "/limits", "/log"} {
		m, err := p.conn.Get(ctx, p.session, resource)
		if err != nil {
			return "", err
		}
		said = append(said, m.Payload)
	}
	heard := path.heardBoth()
	for _, datagram := range heard {
		for _, text := range said {
			for i := 0; i+tell <= len(text); i++ {
				if bytes.Contains(datagram, text[i:i+tell]) {
					return "", errors.New("what was said is in what was heard")
				}
			}
		}
	}
	return fmt.Sprintf("of settings, telemetry, log and token nothing is in the %d datagrams that were heard", len(heard)), nil
}

// impostor stands where the device should be, with a key of its own.
func impostor(ctx context.Context, s *subject) (string, error) {
	thief, err := newHolder("!")
	if err != nil {
		return "", err
	}
	honest := s.device
	s.device = thief.own // what listens answers as somebody else
	if err := s.restart(); err != nil {
		return "", err
	}
	path, err := newRelay(s.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	h := s.people[device.Clinician]
	if p, err := connect(ctx, path.addr, h.own, honest, h.token); err == nil {
		p.Close()
		return "", errors.New("an impostor was believed")
	}
	for _, d := range path.heard() {
		if bytes.Contains(d, h.token[:tell]) {
			return "", errors.New("an impostor was given the token")
		}
	}
	return "who stands in the device's place with another key is not believed, and told nothing", nil
}

// wakeChannel begins handshakes that nobody ends, and then comes as a clinician.
func wakeChannel(ctx context.Context, s *subject) (string, error) {
	thief, err := newHolder("x")
	if err != nil {
		return "", err
	}
	path, err := newRelay(s.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	if p, err := connect(ctx, path.addr, thief.own, s.device, nil); err == nil {
		p.Close()
		return "", errors.New("a key that is not enrolled has a session")
	}
	if err := flood(s.addr, path.heard()[0], wakeUps); err != nil {
		return "", err
	}
	p, err := s.come(ctx, device.Clinician, s.addr)
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
