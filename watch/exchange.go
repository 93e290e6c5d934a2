// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"reflect"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// ignore as the result of observer.data skips everything that side still sends.
const ignore = flow.Ignore

// maxMalformed is how many malformed messages one conversation may report.
const maxMalformed = 4

// maxTries is how many first segments or datagrams of a side are looked at to
// recognise the protocol.
const maxTries = 4

// maxFirst is how many bytes of one side are kept to recognise its protocol.
const maxFirst = 256

// maxText is the longest text that an attribute may have, in bytes.
const maxText = 64

// An exchange is what an observer sees of its conversation, and where it says
// what it saw.
type exchange struct {
	conv *flow.Conversation
	From flow.Side // who sent the bytes in hand
	now  int64     // time of the packet in hand, nanoseconds since 1970

	sh         *shard
	obs        observer // nil until the protocol is recognised, and after it was given up
	id         proto.ID
	protocols  protocols // noted so far
	tries      [2]uint8
	last       flow.Place // where the observer was last handed bytes
	closing    bool
	malformeds uint8
	holder     holder // obs, if it is one
	charged    int    // bytes, to the conversation
}

// addr returns the IP address of a side.
func (x *exchange) addr(side flow.Side) device.Address {
	if side == flow.Client {
		return x.sh.address(x.conv.Client.Addr)
	}
	return x.sh.address(x.conv.Server.Addr)
}

// note emits an event about one side, whose peer is the other. off is where in
// the bytes in hand it was seen.
func (x *exchange) note(kind event.Kind, off int, about flow.Side, attrs ...event.Attr) {
	x.noteAddr(kind, off, x.addr(about), x.addr(about.Other()), attrs...)
}

// noteAddr emits an event about somebody else than the two sides: a device
// behind a gateway, or one that a message names.
func (x *exchange) noteAddr(kind event.Kind, off int, about, peer device.Address, attrs ...event.Attr) {
	at := x.last
	if !x.closing {
		at = x.sh.table.Place(off)
	}
	e := x.sh.emit(kind, at)
	e.Device, e.Peer = about, peer
	e.Add(attrs...)
	if kind == event.ProtocolSeen {
		x.protocols.add(proto.ByName(e.Text(event.Protocol)))
	}
}

// malformed notes that the sender's bytes do not follow their format. off is
// where the parsed bytes begin in those in hand.
func (x *exchange) malformed(off int, err error) {
	if x.malformeds >= maxMalformed {
		return
	}
	var s *wire.SyntaxError
	if !errors.As(err, &s) {
		return
	}
	x.malformeds++
	x.note(event.MalformedSeen, off+s.Off, x.From, event.Text(event.Protocol, s.Proto),
		event.Text(event.Field, s.Field), event.Text(event.Reason, s.Err.Error()))
}

// subject returns the pseudonym of a patient identifier, as 64 bits of
// HMAC-SHA-256 under the key of this run. Empty identifiers give 0.
func (x *exchange) subject(id ...[]byte) int64 {
	n := 0
	for _, part := range id {
		n += len(part)
	}
	if n == 0 {
		return 0
	}
	return x.sh.pseudonym("subject", id...)
}

// hash returns a number for bytes that are compared and never shown.
func (x *exchange) hash(b ...[]byte) int64 { return x.sh.pseudonym("hash", b...) }

// text returns b as a text for an attribute: printable UTF-8, without space
// around it, at most 64 bytes. It is a copy, shared with equal ones.
func (x *exchange) text(b []byte) string { return x.sh.text(b) }

// protected returns what protects the channel below the bytes in hand. An
// observer is handed plaintext only, so on a wire that is nothing.
func (x *exchange) protected() device.Protection { return 0 }

// become hands the conversation to another protocol's observer: what the
// current call of data does not consume, and all that follows of both sides.
func (x *exchange) become(id proto.ID) int {
	x.observe(id, 0)
	return 0
}

// observe starts the observer of id and says that the protocol was seen.
func (x *exchange) observe(id proto.ID, off int) {
	if x.obs != nil {
		closing := x.closing
		x.last, x.closing = x.sh.table.Place(off), true
		x.obs.close(x)
		x.closing = closing
	}
	x.id, x.obs, x.holder = id, nil, nil
	if f := observers[id]; f != nil {
		x.obs = f()
		x.holder, _ = x.obs.(holder)
	}
	x.protocols.add(id)
	if !x.sh.verbose && !remembered[id] {
		return // the end of the conversation says it once more
	}
	var protection device.Protection
	if id == proto.TLS || id == proto.SSH {
		protection = device.Encrypted
	}
	x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, id.String()),
		event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
		event.Int(event.Protection, protection))
}

// charge counts the memory of the exchange and of its observer.
func (x *exchange) charge() {
	n := exchangeSize
	if x.obs != nil {
		n += weights[x.id]
	}
	if x.holder != nil {
		n += x.holder.held()
	}
	if n != x.charged {
		x.sh.table.Charge(x.conv, n-x.charged)
		x.charged = n
	}
}

var exchangeSize = sizeOf[exchange]()

// weights is the memory that each observer takes: its own, and half as much
// again for texts. What a [holder] holds besides is counted as it grows.
var weights = func() (w [proto.Count]int) {
	for id, f := range observers {
		if f != nil {
			w[id] = int(reflect.TypeOf(f()).Elem().Size()) * 3 / 2
		}
	}
	return w
}()

// remembered are the protocols whose first packet the stage wants to know, for
// a finding: the others it learns at the end of the conversation, unless
// somebody records events.
var remembered = [proto.Count]bool{proto.RDP: true, proto.VNC: true, proto.SSH: true, proto.Telnet: true, proto.FTP: true}

// clean is text without its copy: it returns a printable sub-slice or a
// cleaned copy of b.
func clean(b []byte) []byte {
	for len(b) > 0 && (b[0] <= ' ' || b[0] == 0x7f) {
		b = b[1:]
	}
	b = b[:min(len(b), 4*maxText)]
	for len(b) > 0 && (b[len(b)-1] <= ' ' || b[len(b)-1] == 0x7f) {
		b = b[:len(b)-1]
	}
	plain := len(b) <= maxText
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return b
	}
	out := make([]byte, 0, maxText)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			r = '?'
		}
		if len(out)+utf8.RuneLen(r) > maxText {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
