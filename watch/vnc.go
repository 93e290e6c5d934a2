// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"strconv"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/vnc"
	"github.com/myelin-health/myelin/wire"
)

// A vncStage is what one side says next.
//
//	server: version -> types -> challenge -> result -> over
//	client: version -> choice -> over
type vncStage uint8

const (
	vncVersion vncStage = iota
	vncTypes
	vncChallenge
	vncResult
	vncOver
)

// A vncObserver follows the handshake of one VNC connection.
type vncObserver struct {
	stage   [2]vncStage // by side; the client's choice is at vncTypes
	version vnc.Version // the client's: what both then speak
	offered vnc.Version // the server's
	chosen  vnc.Security
	decided bool
}

func newVNCObserver() observer { return new(vncObserver) }

func (o *vncObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		size, err := o.step(x, n, b[n:])
		if errors.Is(err, wire.ErrTruncated) {
			return n
		}
		if err != nil {
			x.malformed(n, err)
			return ignore
		}
		if o.stage[x.From] == vncOver {
			return ignore
		}
		if size == 0 {
			return n
		}
		n += size
	}
	return n
}

// step reads one message. 0 bytes read means that the other side has to speak first.
func (o *vncObserver) step(x *exchange, off int, b []byte) (int, error) {
	client := x.From == flow.Client
	stage := &o.stage[x.From]
	switch *stage {
	case vncVersion:
		v, n, err := vnc.ParseVersion(b)
		if err == nil {
			*stage = vncTypes
			if client {
				o.version = v
			} else {
				o.offered = v
			}
		}
		return n, err
	case vncTypes:
		switch {
		case client && !o.version.Lists():
			*stage = vncOver // the server decides; what follows is an answer to its challenge
			return 0, nil
		case client:
			*stage = vncOver
			o.decide(x, off, vnc.Security(b[0]))
			return 1, nil
		case o.stage[flow.Client] == vncVersion:
			return 0, nil // how the types are sent hangs on the client's version
		}
		types, n, err := vnc.ParseSecurityTypes(o.version, b)
		if err != nil {
			return 0, err
		}
		*stage = vncChallenge
		if len(types) == 0 || types[0] == uint8(vnc.Invalid) {
			*stage = vncOver
		} else if !o.version.Lists() {
			o.decide(x, off, vnc.Security(types[0]))
		}
		return n, nil
	case vncChallenge:
		if !o.decided {
			return 0, nil
		}
		n, err := o.chosen.ServerChallenge(b)
		switch {
		case err != nil:
			return 0, err
		case n < 0, o.chosen == vnc.None && o.version.Minor < 8 && o.version.Major == 3: // RFC 6143 appendix A: no result then
			*stage = vncOver
			return 0, nil
		case len(b) < n:
			return 0, &wire.SyntaxError{Proto: "vnc", Field: "challenge", Off: len(b), Err: wire.ErrTruncated}
		}
		*stage = vncResult
		if n == 0 {
			return o.step(x, off, b)
		}
		return n, nil
	case vncResult:
		ok, n, err := vnc.ParseResult(b)
		if err != nil {
			return 0, err
		}
		*stage = vncOver
		if o.chosen != vnc.None {
			outcome := event.Failed
			if ok {
				outcome = event.Succeeded
			}
			x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "vnc"), event.Text(event.Scheme, "challenge"), event.Int(event.Outcome, outcome))
		}
		return n, nil
	}
	return 0, nil
}

// decide notes the version and what protects the session.
func (o *vncObserver) decide(x *exchange, off int, s vnc.Security) {
	o.chosen, o.decided = s, true
	text := strconv.Itoa(o.version.Major) + "." + strconv.Itoa(o.version.Minor)
	var p device.Protection
	switch {
	case s == vnc.None:
		text += ", no authentication"
	case s.Encrypts():
		p = device.Encrypted
	}
	x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "vnc"),
		event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
		event.Text(event.Version, text), event.Int(event.Protection, p))
	if o.offered == (vnc.Version{Major: 3, Minor: 889}) { // no other maker's server says so
		x.note(event.IdentitySeen, off, flow.Server, event.Text(event.Manufacturer, "Apple"), event.Text(event.OS, "macOS"))
	}
}

func (o *vncObserver) gap(x *exchange, n int) bool {
	o.stage[x.From] = vncOver
	return false
}

func (o *vncObserver) close(x *exchange) {}
