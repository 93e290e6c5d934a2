// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/ssh"
	"github.com/myelin-health/myelin/wire"
)

// compatible is the version of a server that speaks 2.0, and 1 to who cannot
// (RFC 4253 section 5.1).
const compatible = "1.99"

// A sshObserver follows one SSH connection up to the algorithms. It keeps the
// packet of the side that offered first, at most 8 KiB, until the other has.
type sshObserver struct {
	ident [2]bool
	first []byte    // KEXINIT packet of side
	side  flow.Side // of first
}

func (o *sshObserver) held() int { return cap(o.first) }

func newSSHObserver() observer { return new(sshObserver) }

// sshSystems are words of comments and software names that tell of the operating system.
var sshSystems = [...]struct{ word, os string }{
	{"for_Windows", "Windows"},
	{"Ubuntu", "Ubuntu Linux"},
	{"Raspbian", "Raspbian Linux"},
	{"Debian", "Debian Linux"},
	{"FreeBSD", "FreeBSD"},
	{"NetBSD", "NetBSD"},
	{"Cisco", "Cisco IOS"},
	{"ROSSSH", "RouterOS"},
}

func (o *sshObserver) data(x *exchange, b []byte) int {
	n := 0
	if !o.ident[x.From] {
		id, size, err := ssh.ParseIdent(b)
		if errors.Is(err, wire.ErrTruncated) {
			return 0
		}
		if err != nil {
			if x.tries[x.From] == 0 { // else its identification went by behind lines of greeting (RFC 4253 section 4.2)
				x.malformed(0, err)
			}
			return ignore
		}
		o.ident[x.From], n = true, size
		o.identified(x, &id)
		if id.Legacy() && string(id.Version) != compatible {
			return ignore
		}
	}
	if n == len(b) {
		return n
	}
	k, size, ok, err := ssh.ParseKexInit(b[n:])
	if errors.Is(err, wire.ErrTruncated) {
		return n
	}
	if err != nil {
		x.malformed(n, err)
	}
	if err != nil || !ok {
		return ignore
	}
	switch {
	case o.first == nil:
		o.first, o.side = bytes.Clone(b[n:n+size]), x.From
	case o.side != x.From:
		other, _, ok, _ := ssh.ParseKexInit(o.first)
		o.first = nil
		if !ok {
			break
		}
		client, server := &k, &other
		if x.From == flow.Server {
			client, server = server, client
		}
		o.agreed(x, n, client, server)
	}
	return ignore
}

// identified notes the version, and the system that the server tells of.
func (o *sshObserver) identified(x *exchange, id *ssh.Ident) {
	if x.From != flow.Server {
		return
	}
	protection := device.Encrypted
	if id.Legacy() && string(id.Version) != compatible {
		protection = 0
	}
	x.note(event.ProtocolSeen, 0, flow.Client, event.Text(event.Protocol, "ssh"),
		event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
		event.Text(event.Version, x.text(sshVersion(id.Version))), event.Int(event.Protection, protection))
	for _, s := range &sshSystems {
		if bytes.Contains(id.Comment, []byte(s.word)) || bytes.Contains(id.Software, []byte(s.word)) {
			x.note(event.IdentitySeen, 0, flow.Server, event.Text(event.OS, s.os))
			return
		}
	}
}

// sshVersion returns the numbers that a version is (RFC 4253 section 4.2),
// without what else a server may have put there.
func sshVersion(version []byte) []byte {
	n := 0
	for n < min(len(version), 8) && (version[n] == '.' || version[n] >= '0' && version[n] <= '9') {
		n++
	}
	return version[:n]
}

// agreed notes the first weak algorithm that both will use.
func (o *sshObserver) agreed(x *exchange, off int, client, server *ssh.KexInit) {
	for _, list := range [...]int{ssh.Kex, ssh.CipherToServer, ssh.CipherToClient, ssh.MACToServer, ssh.MACToClient} {
		if name := ssh.Agreed(client, server, list); ssh.Weak(name) {
			x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "ssh"),
				event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
				event.Text(event.Version, "2.0, weak "+string(name)), event.Int(event.Protection, device.Encrypted))
			return
		}
	}
}

func (o *sshObserver) gap(x *exchange, n int) bool { return false }
func (o *sshObserver) close(x *exchange)           {}
