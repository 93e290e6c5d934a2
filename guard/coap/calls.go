// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
)

// calls is what the policy of a front has whose device is a client.
type calls struct {
	from      []netip.Addr // that the device calls from
	peer      *edhoc.Credential
	server    [32]byte // thumbprint of its key
	role      device.Role
	resources []declared
}

// A declared resource of the server is one whose answers may have a payload.
type declared struct {
	path     string
	formats  []uint32 // content formats of what comes back; none: no payload does
	alarms   bool     // what is written there goes first, and is dropped last
	observe  bool     // the device may observe it
	commands bool     // what comes back asks the device for something: the gate decides
}

const (
	maxAddresses = 16
	maxResources = 64
	maxFormats   = 16
)

// at returns the declared resource of a path, or nil.
func (c *calls) at(path string) *declared {
	for i := range c.resources {
		if c.resources[i].path == path {
			return &c.resources[i]
		}
	}
	return nil
}

// readCalls reads what belongs to protects: client.
func (p *Policy) readCalls(r *strictyaml.Reader, s *strictyaml.Section, files *files) {
	c := &calls{}
	p.calls, p.address = c, p.Forward.Address
	if !s.Has("forward") {
		s.Need("forward", "the address of the server that the device calls")
	}
	if p.Forward.TLS != nil && r.Err() == nil {
		r.Fail(s.Get("forward"), "EDHOC and OSCORE protect this front, and no tls")
	}
	server := r.Section(s.Need("server", "whose key the server has to prove, and its role"), "server", "key", "role")
	files.one(server.Need("key", "the file of the server's public key"), "key", false, func(b []byte) error {
		k, err := cose.ParseKey(b)
		if err != nil {
			return err
		}
		k = k.Public()
		c.server = k.Thumbprint()
		kid := k.ID
		if k.ID = nil; kid == nil {
			kid = c.server[:8]
		}
		c.peer, err = edhoc.NewCCS(k, "", kid)
		return err
	})
	if server.Has("role") {
		role, ok := device.ParseRole(r.Text(server.Get("role"), "role"))
		if r.Err() == nil && (!ok || role == device.NoRole) {
			r.Fail(server.Get("role"), "role has to be one of patient, carer, clinician, technician, emergency, updater, controller")
		}
		c.role = role
	}
	for _, n := range r.List(s.Get("resources"), "resources", maxResources) {
		c.resources = append(c.resources, c.readResource(r, n))
		if last := &c.resources[len(c.resources)-1]; last.commands && !server.Has("role") {
			server.Need("role", "there are commands in what comes back, and they are judged as somebody's")
		}
	}
	p.readCaller(r, s)
}

func (c *calls) readResource(r *strictyaml.Reader, n ast.Node) declared {
	s := r.Section(n, "a resource", "path", "formats", "alarms", "observe", "commands")
	d := declared{
		path: r.Text(s.Need("path", "of the server, such as /telemetry"), "path"), alarms: r.Truth(s.Get("alarms"), "alarms", false),
		observe: r.Truth(s.Get("observe"), "observe", false), commands: r.Truth(s.Get("commands"), "commands", false),
	}
	for _, n := range r.List(s.Get("formats"), "formats", maxFormats) {
		d.formats = append(d.formats, uint32(r.Number(n, "formats", 0, 1<<16-1)))
	}
	switch {
	case r.Err() != nil:
	case !strings.HasPrefix(d.path, "/"):
		r.Fail(s.Get("path"), "path has to begin with a slash, such as /telemetry")
	case c.at(d.path) != nil:
		r.Fail(s.Get("path"), "there is a resource %s already", strictyaml.Quoted(d.path))
	case d.commands && d.observe:
		r.Fail(s.Get("observe"), "a notification may be kept back and come late, and a command must not: commands come in answers, not in what is observed")
	case d.commands && !slices.Equal(d.formats, []uint32{formatCBOR}):
		r.Fail(n, "commands are read in content format %d alone; say formats: [%d]", formatCBOR, formatCBOR)
	}
	return d
}

// readCaller reads what is known of the device.
func (p *Policy) readCaller(r *strictyaml.Reader, s *strictyaml.Section) {
	in := r.Section(s.Need("inside", "who the device is"), "inside", slices.Concat(insideKeys, insideServerKeys, insideClientKeys)...)
	if in.Has("dialect") && r.Err() == nil {
		r.Fail(in.Get("dialect"), "a dialect lays out what a radio tells its device and is answered; a device that calls its server says where in CoAP; use protects: server for a radio, and its alarms go to those who observe")
	}
	if n := in.Get("carrier"); n != nil && r.Word(n, "carrier", carriers) != int(udp) {
		r.Fail(n, "a device that calls does so over udp: a byte pipe says no address that could be the device's")
	}
	if in.Has("secret") && r.Err() == nil {
		r.Fail(in.Get("secret"), "a secret is of a device that listens to the guard alone; this one calls, and is known by from")
	}
	misplaced(r, in, slices.DeleteFunc(slices.Clone(insideServerKeys), func(k string) bool { return k == "carrier" }), "is of protects: server")
	for _, n := range r.List(in.Need("from", "the addresses that the device calls from: what others say is told apart"), "from", maxAddresses) {
		a, err := netip.ParseAddr(r.Text(n, "from"))
		if err != nil && r.Err() == nil {
			r.Fail(n, "from has to be an IP address, such as 10.20.9.41")
		}
		p.calls.from = append(p.calls.from, a.Unmap().WithZone(""))
	}
	p.readTherapies(r, in, "what the device does")
	p.readTopology(r, in, "sole-path when the device can reach nobody but the guard, else bypassable")
}
