// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/tls"
)

// Weak by design or age.

// insecureVersions cannot be made secure in these versions: the first word or
// words of what the observer calls them.
var insecureVersions = []struct{ protocol, version, note string }{
	{"smb", "1", "SMB version 1"},
	{"snmp", "1", "SNMP version 1 has no secret but a word in clear"},
	{"snmp", "2c", "SNMP version 2c has no secret but a word in clear"},
	{"rdp", "RDP security", "RDP without TLS"},
}

func (s *stage) insecure(e *event.Event, name string) {
	version := e.Text(event.Version)
	for _, v := range insecureVersions {
		if v.protocol == name && v.version == version {
			s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, v.note)
		}
	}
	switch {
	case name == "vnc" && strings.HasSuffix(version, "no authentication"):
		s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, "VNC without a password")
	case name == "ssh" && strings.HasPrefix(version, "1."): // 1.99 is 2.0 that speaks 1, too (RFC 4253 section 5.1)
		s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, "SSH version 1")
	case name == "telnet" && e.Int(event.Protection)&int64(device.Encrypted) == 0:
		s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, "Telnet sends everything in clear")
	}
}

// insecureService waits for the server to say something: to ask for a service
// does not make it one.
func (s *stage) insecureService(about device.Address, name string, at place, note string) {
	c := s.wait(claimKey{finding.InsecureService, about, name}, at.time)
	c.over(name).see(device.High, at, note)
	c.detail = name
}

// clearFTP looks at FTP when it is over: it may have gone on in TLS (RFC 4217).
func (s *stage) clearFTP(c *ended, server uint32) {
	if c.protocols.has(proto.FTP) && !c.protocols.has(proto.TLS) {
		s.insecureService(s.at(server).addr, "ftp", c.first(), "FTP sends passwords and files in clear")
	}
}

func (s *stage) tls(e *event.Event) {
	client, server, port := s.nodeOf(e.Device, e.Time), s.nodeOf(e.Peer, e.Time), uint16(e.Int(event.Port))
	if e.Text(event.Name) != "" {
		if k := s.calling(client, server, port, e.Time); k != nil {
			k.named = true
		}
	}
	reason := e.Text(event.Reason)
	if reason == "" || event.Result(e.Int(event.Outcome)) == event.Failed {
		return
	}
	s.find(finding.WeakTLS, e.Peer, "", device.High, e, reason).with(e.Device)
	if client != 0 && server != 0 && strings.Contains(reason, tls.WeakNull.String()) {
		x := s.session(proto.TLS, client, server, port, place{e.Time, e.Sighting}, e.Time)
		x.Encrypted, x.readable = false, true
	}
}

func (s *stage) certificate(e *event.Event) {
	problems := e.Int(event.Problems)
	if problems == 0 {
		return
	}
	if k := s.calling(s.nodeOf(e.Peer, e.Time), s.nodeOf(e.Device, e.Time), uint16(e.Int(event.Port)), e.Time); k != nil {
		k.flawed = true
	}
	var words []string
	for i, w := range [...]string{"expired", "not yet valid", "self-signed", "weak key", "weak hash", "malformed"} {
		if problems&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	what := strings.Join(words, ", ")
	s.find(finding.CertificateInvalid, e.Device, what, device.High, e, "certificate: "+what).detail = what
}

// legacySystems get no security updates any more. A prefix of the name decides.
var legacySystems = []string{
	"Windows NT", "Windows 95", "Windows 98", "Windows 2000", "Windows XP", "Windows Server 2003", "Windows Vista",
	"Windows Server 2008", "Windows 7", "Windows 8", "Windows Server 2012", "Windows CE", "Windows Embedded",
}

func (s *stage) legacy(e *event.Event, os string) {
	for _, old := range legacySystems {
		if strings.HasPrefix(os, old) {
			s.find(finding.LegacyOS, e.Device, "", device.High, e, os).detail = os
			return
		}
	}
	// Only what says that it is no newer one. An LTSC edition says the same.
	if os == "Windows 10" {
		s.find(finding.LegacyOS, e.Device, "", device.Medium, e, os+": no free updates since October 2025; an LTSC edition, or one with paid updates (ESU), may still have some").detail = os
	}
}

func (s *stage) malformed(e *event.Event) {
	protocol := e.Text(event.Protocol)
	s.find(finding.MalformedMessage, e.Device, protocol, device.Medium, e, e.Text(event.Field)+": "+e.Text(event.Reason)).detail = protocol
}
