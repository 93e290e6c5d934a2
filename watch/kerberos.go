// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/kerberos"
	"github.com/myelin-health/myelin/wire"
)

// A kerberosObserver follows the requests of one client to one key
// distribution centre, over UDP or TCP.
type kerberosObserver struct {
	synced [2]bool
	req    kerberos.Message // the last request, without what aliases its bytes
	asked  bool             // it is not answered yet
	named  bool             // the client's name was noted
	roast  bool             // noted
}

func newKerberosObserver() observer { return new(kerberosObserver) }

func (o *kerberosObserver) data(x *exchange, b []byte) int {
	if x.conv.Proto == wire.ProtoUDP {
		o.message(x, 0, b)
		return len(b)
	}
	n := 0
	for n < len(b) {
		if !o.synced[x.From] {
			switch kerberos.Recognise(b[n:]) {
			case wire.NeedMore:
				return n
			case wire.NoMatch:
				return len(b) // in the middle of a message: the next segment may begin one
			}
			o.synced[x.From] = true
		}
		size, err := kerberos.ParseRecord(b[n:])
		if errors.Is(err, wire.ErrTruncated) || err == nil && len(b)-n-4 < size {
			return n
		}
		if err != nil {
			x.malformed(n, err)
			return ignore
		}
		n += 4
		o.message(x, n, b[n:n+size])
		n += size
	}
	return n
}

func (o *kerberosObserver) message(x *exchange, off int, b []byte) {
	var m kerberos.Message
	if err := m.Parse(b); err != nil {
		x.malformed(off, err)
		return
	}
	switch m.Type {
	case kerberos.ASReq, kerberos.TGSReq:
		name := m.Computer
		if len(name) == 0 {
			name = m.HostName
		}
		if len(name) > 0 && !o.named {
			o.named = true
			x.note(event.NameSeen, off, x.From, event.Int(event.AddressKind, device.Host), event.Text(event.Name, x.text(name)), event.Text(event.Protocol, "kerberos"))
		}
		m.Computer, m.HostName, m.Service = nil, nil, nil
		o.req, o.asked = m, true
	case kerberos.ASRep:
		if o.asked && o.req.Type == kerberos.ASReq {
			o.login(x, off, event.Succeeded)
		}
		o.asked = false
	case kerberos.TGSRep:
		if o.asked && m.Roasts(&o.req) && !o.roast {
			o.roast = true
			x.note(event.ExploitSeen, off, x.From.Other(), event.Text(event.Protocol, "kerberos"),
				event.Text(event.Shape, "kerberoasting: service ticket with RC4 where AES is in use"))
		}
		o.asked = false
	case kerberos.Error:
		if o.asked && o.req.Type == kerberos.ASReq {
			switch m.ErrorCode {
			case kerberos.ErrClientUnknown, kerberos.ErrClientRevoked, kerberos.ErrPreauthFailed:
				o.login(x, off, event.Failed)
			}
		}
		o.asked = false
	}
}

// login notes how a login ended. The password does not leave the client.
func (o *kerberosObserver) login(x *exchange, off int, outcome event.Result) {
	x.noteAddr(event.LoginSeen, off, x.addr(x.From.Other()), x.addr(x.From), event.Text(event.Protocol, "kerberos"),
		event.Text(event.Scheme, "kerberos"), event.Int(event.Outcome, outcome), event.Int(event.Protection, device.Encrypted))
}

func (o *kerberosObserver) gap(x *exchange, n int) bool {
	o.synced[x.From] = false
	return true
}

func (o *kerberosObserver) close(x *exchange) {}
