// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
)

// Settings are what every front has in the configuration.
type Settings struct {
	Name     string
	Kind     string // dicom, hl7, coap, http, tcp, egress
	Device   string // the id of the device that it protects
	Server   bool   // it protects a server; else a client
	Mode     Mode
	Listen   Side
	Forward  Side
	From     []netip.Prefix // the device's own addresses, of a front that protects a client; see [Settings.Own]
	Limits   Limits
	Bypass   string // what people do when the guard is away: required, in words
	Position int    // line of the file
}

// Common returns the settings themselves: a Policy embeds them.
func (s *Settings) Common() *Settings { return s }

// Outside is the side away from the device.
func (s *Settings) Outside() *Side {
	if s.Server {
		return &s.Listen
	}
	return &s.Forward
}

// A Side is where a front listens, or what it forwards to.
type Side struct {
	Address string      // host:port
	TLS     *tls.Config // nil is in clear
	Clear   string      // why the outside is in clear, in words; else it has to have TLS
}

// Limits are a front's bounds. All have defaults; zero is not "none".
type Limits struct {
	Connections int           // at once, of all peers; as many again of the device's own addresses
	PerPeer     int           // at once, of one address that is not the device's
	Rate        float64       // new connections a second of one that is not, with a burst of ten times that
	Handshake   time.Duration // until the secure channel stands
	First       time.Duration // until the first message has begun; of the device itself as Idle
	Idle        time.Duration // between messages; of the device itself also within one
	Unfinished  time.Duration // a message that has begun may take; longer if it comes at Progress
	Progress    int           // bytes a second that an unfinished message has to make
	Drain       time.Duration // to end what was begun, when the front stops
}

// DefaultLimits are the bounds where the configuration has none.
var DefaultLimits = Limits{
	Connections: 256, PerPeer: 64, Rate: 50,
	Handshake: 5 * time.Second, First: 10 * time.Second, Idle: 10 * time.Minute,
	Unfinished: 15 * time.Second, Progress: 1024, Drain: 20 * time.Second,
}

// Keys are those of every front; a kind adds its own.
var Keys = []string{"name", "kind", "device", "protects", "mode", "listen", "forward", "from", "limits", "bypass"}

// ReadSettings reads them from a front's section. File names in it are relative
// to dir.
func ReadSettings(r *strictyaml.Reader, s *strictyaml.Section, dir string) Settings {
	set := Settings{Limits: DefaultLimits, Position: strictyaml.Line(s.Node)}
	set.Name = r.Text(s.Need("name", "a word for this front, such as archive"), "name")
	set.Kind = r.Text(s.Need("kind", "dicom, hl7, coap, http, tcp or egress"), "kind")
	set.Device = r.Text(s.Need("device", "the id of the device that it protects, from devices"), "device")
	set.Server = r.Word(s.Need("protects", "server or client"), "protects", []string{"client", "server"}) == 1
	set.Mode = Mode(r.Word(s.Get("mode"), "mode", []string{"enforce", "observe"}))
	set.Listen = ReadSide(r, s.Need("listen", "where the front listens"), "listen", dir, true)
	if set.Kind != "egress" && set.Kind != "coap" || s.Has("forward") { // an egress front is told each time, a coap front may have a serial line
		set.Forward = ReadSide(r, s.Need("forward", "where it forwards to"), "forward", dir, false)
	}
	set.From = ReadNetworks(r, s, "from")
	if set.Server && s.Has("from") {
		r.Fail(s.Get("from"), "from has the addresses of a device that calls, and is for fronts that protect a client; this one protects a server")
	}
	set.Bypass = r.Text(s.Need("bypass", "in words, what people do when the guard is away"), "bypass")
	set.Limits = readLimits(r, s.Get("limits"), set.Limits)
	if o := set.Outside(); o.TLS == nil && o.Clear == "" && set.Kind != "coap" && set.Kind != "egress" && r.Err() == nil {
		r.Fail(s.Node, "front %s has no tls on its outside; give it tls, or say clear: with the reason why it has to be without", strictyaml.Quoted(set.Name))
	}
	return set
}

// Own reports whether an address is the device's own, as far as is known: its
// connections are kept out by nobody else's.
func (s *Settings) Own(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && Within(s.From, a)
}

const maxNetworks = 256 // in one list

// ReadNetworks reads a list of addresses and networks.
func ReadNetworks(r *strictyaml.Reader, s *strictyaml.Section, key string) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range r.List(s.Get(key), key, maxNetworks) {
		text := r.Text(n, key)
		if r.Err() != nil {
			return nil
		}
		p, err := parseNetwork(text)
		if err != nil {
			r.Fail(n, "%s has to have addresses or networks, such as 10.20.8.0/24, without bits behind the length", key)
			return nil
		}
		list = append(list, p)
	}
	return list
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Masked() != p {
		return p, net.InvalidAddrError(text)
	}
	return p, err
}

// Within reports whether an address is in one of the networks.
func Within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func readLimits(r *strictyaml.Reader, n ast.Node, l Limits) Limits {
	if n == nil {
		return l
	}
	s := r.Section(n, "limits", "connections", "per-peer", "rate", "handshake", "first", "idle", "unfinished", "progress", "drain")
	number := func(key string, v *int, most int64) {
		if s.Has(key) {
			*v = int(r.Number(s.Get(key), key, 1, most))
		}
	}
	duration := func(key string, v *time.Duration, most time.Duration) {
		if s.Has(key) {
			*v = r.Duration(s.Get(key), key, 10*time.Millisecond, most)
		}
	}
	number("connections", &l.Connections, 65536)
	number("per-peer", &l.PerPeer, 65536)
	number("progress", &l.Progress, 1<<30)
	if s.Has("rate") {
		l.Rate = float64(r.Number(s.Get("rate"), "rate", 1, 1e6))
	}
	duration("handshake", &l.Handshake, time.Minute)
	duration("first", &l.First, time.Hour)
	duration("idle", &l.Idle, 24*time.Hour)
	duration("unfinished", &l.Unfinished, time.Hour)
	duration("drain", &l.Drain, time.Hour)
	return l
}

// ReadSide reads an address with its TLS, or an address alone.
func ReadSide(r *strictyaml.Reader, n ast.Node, what, dir string, listens bool) Side {
	if n == nil || r.Err() != nil {
		return Side{}
	}
	if _, ok := strictyaml.Scalar(n); ok {
		return Side{Address: readAddress(r, n, what)}
	}
	s := r.Section(n, what, "address", "tls", "clear")
	side := Side{Address: readAddress(r, s.Need("address", "host:port"), "address"), Clear: r.Text(s.Get("clear"), "clear")}
	if t := s.Get("tls"); t != nil {
		side.TLS = readTLS(r, t, dir, listens)
	}
	return side
}

func readAddress(r *strictyaml.Reader, n ast.Node, what string) string {
	a := r.Text(n, what)
	if r.Err() == nil {
		_, port, err := net.SplitHostPort(a)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			r.Fail(n, "%s has to be host:port, such as 10.20.8.20:11112", what)
		}
	}
	return a
}

// readTLS reads certificate, key, and the authorities that the other side's
// certificate has to come from. One who listens asks for a certificate; one who
// calls holds the other side to its name.
func readTLS(r *strictyaml.Reader, n ast.Node, dir string, listens bool) *tls.Config {
	s := r.Section(n, "tls", "certificate", "key", "authorities", "name", "client-certificates")
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.Text(s.Get("name"), "name")}
	at := func(file string) string {
		if filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(dir, file)
	}
	if s.Has("certificate") || listens {
		certificate := r.Text(s.Need("certificate", "the file of the front's own certificate"), "certificate")
		key := r.Text(s.Need("key", "the file of its private key"), "key")
		if r.Err() != nil {
			return nil
		}
		pair, err := tls.LoadX509KeyPair(at(certificate), at(key))
		if err != nil {
			r.Fail(s.Get("certificate"), "certificate and key cannot be used: %s", plainly(err))
			return nil
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if s.Has("authorities") {
		b, err := os.ReadFile(at(r.Text(s.Get("authorities"), "authorities")))
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(b) {
			err = errors.New("it has no PEM certificate")
		}
		if err != nil {
			r.Fail(s.Get("authorities"), "the authorities cannot be used: %s", plainly(err))
			return nil
		}
		c.RootCAs, c.ClientCAs = pool, pool
	}
	switch asked := r.Truth(s.Get("client-certificates"), "client-certificates", true); {
	case !listens:
	case asked && c.ClientCAs == nil:
		r.Fail(n, "client certificates are asked for, and no authorities say which; give authorities, or client-certificates: false")
	case asked:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c
}

// plainly is an error without the names of paths twice.
func plainly(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Dial connects to where the front forwards to.
func (s *Settings) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.Handshake)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Forward.Address)
	if err != nil {
		return nil, err
	}
	below := newSocket(c)
	if s.Forward.TLS == nil {
		return below, nil
	}
	config := s.Forward.TLS
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(s.Forward.Address)
	}
	t := tls.Client(below, config)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return t, nil
}
