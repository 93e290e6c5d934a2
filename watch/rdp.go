// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/rdp"
	"github.com/myelin-health/myelin/proto/smb"
	"github.com/myelin-health/myelin/wire"
)

// A rdpObserver follows the beginning of one RDP connection, up to TLS or to
// the server's settings.
type rdpObserver struct {
	confirmed bool
}

func newRDPObserver() observer { return new(rdpObserver) }

func (o *rdpObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		p, size, err := rdp.Parse(b[n:])
		if errors.Is(err, wire.ErrTruncated) {
			return n
		}
		if err != nil {
			if !o.confirmed { // afterwards fast-path PDUs come (MS-RDPBCGR section 2.2.8.1.2)
				x.malformed(n, err)
			}
			return ignore
		}
		done, err := o.pdu(x, n, &p)
		if err != nil {
			x.malformed(n, err)
		}
		n += size
		if done == doneTLS {
			x.become(proto.TLS)
			return n
		}
		if done == doneAll {
			return ignore
		}
	}
	return n
}

// What is left to see after a PDU.
const (
	doneNot = iota
	doneTLS // TLS comes next
	doneAll // nothing
)

func (o *rdpObserver) pdu(x *exchange, off int, p *rdp.PDU) (done int, err error) {
	switch {
	case p.IsRequest():
		_, err = p.Negotiation()
		return doneNot, err
	case p.IsConfirm():
		g, err := p.Negotiation()
		if err != nil || g.Failure != 0 {
			return doneAll, err
		}
		o.confirmed = true
		var protection device.Protection
		if g.Protocols != 0 {
			protection = device.Encrypted
		}
		x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "rdp"),
			event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
			event.Text(event.Version, g.Protocols.String()), event.Int(event.Protection, protection))
		// Who connects logs in, or tries: with CredSSP before the desktop is
		// shown, without it on the desktop. The password is never in clear.
		x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "rdp"), event.Text(event.Scheme, "rdp"),
			event.Int(event.Protection, device.Encrypted))
		if g.Protocols != 0 {
			return doneTLS, nil
		}
		return doneNot, nil
	case p.IsData():
		f, ok, err := p.Conference()
		if err != nil || !ok {
			return doneAll, err
		}
		if f.Server {
			return doneAll, nil
		}
		var buf [64]byte
		if name := (smb.String{Bytes: f.ClientName, Unicode: true}).AppendUTF8(buf[:0]); len(name) > 0 {
			x.note(event.NameSeen, off, flow.Client, event.Int(event.AddressKind, device.Host), event.Text(event.Name, x.text(name)), event.Text(event.Protocol, "rdp"))
		}
		if f.BindsInternal() {
			x.note(event.ExploitSeen, off, flow.Client, event.Text(event.Protocol, "rdp"),
				event.Text(event.Shape, "BlueKeep: asks for the server's internal channel MS_T120"), event.Text(event.CVE, "CVE-2019-0708"))
		}
		return doneAll, nil
	}
	return doneAll, nil
}

func (o *rdpObserver) gap(x *exchange, n int) bool { return false }
func (o *rdpObserver) close(x *exchange)           {}
