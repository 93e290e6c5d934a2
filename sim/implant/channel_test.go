// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// A channel is the device's end of OSCORE, as bytes: what link/coap does over a radio. It
// survives a restart as that does: with keys and sender sequence numbers, and without
// knowing which requests it has served.
type channel struct {
	w        *world
	echo     *oscore.Echo
	peers    oscore.Peers
	sessions map[*oscore.Context]*Session
	kept     []*keptSession
}

type keptSession struct {
	key    cose.Key
	params oscore.Params
}

// restart begins with new sessions of the device for the old keys, which it returns.
func (c *channel) restart() {
	var secret [32]byte
	rand.Read(secret[:])
	c.echo, c.peers, c.sessions = oscore.NewEcho(secret), oscore.Peers{}, map[*oscore.Context]*Session{}
	for _, k := range c.kept {
		p := k.params
		p.Sequence += oscore.ReserveStep
		var ctx *oscore.Context
		p.Recover = func(echo []byte) bool { return c.echo.Fresh(echo, ctx, c.now(), fresh) }
		ctx = c.add(k, p)
	}
}

func (c *channel) now() time.Duration { return c.w.now.Sub(c.w.boot) }

func (c *channel) open(key cose.Key, p oscore.Params) *Session {
	k := &keptSession{key, p}
	c.kept = append(c.kept, k)
	return c.sessions[c.add(k, p)]
}

func (c *channel) add(k *keptSession, p oscore.Params) *oscore.Context {
	p.Reserve = func(limit uint64) error { k.params.Sequence = limit; return nil }
	ctx, err := oscore.New(p)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if err := c.peers.Add(ctx); err != nil {
		c.w.t.Fatal(err)
	}
	c.sessions[ctx] = c.w.Session(&k.key)
	return ctx
}

// of is the session that the device has with a peer now.
func (c *channel) of(s *station) *Session {
	for ctx, session := range c.sessions {
		if string(ctx.RecipientID()) == string(s.ctx.SenderID()) {
			return session
		}
	}
	c.w.t.Fatal("no session")
	return nil
}

// receive answers a datagram.
func (c *channel) receive(datagram []byte) []byte {
	c.w.t.Helper()
	var m coap.Message
	if err := m.Parse(datagram); err != nil {
		c.w.t.Fatal(err)
	}
	bytes := func(m coap.Message) []byte {
		b, err := m.Append(nil)
		if err != nil {
			c.w.t.Fatal(err)
		}
		return b
	}
	if _, ok := m.Options.Get(coap.OSCOREOption); !ok {
		return bytes(c.w.Handle(nil, 0, &m))
	}
	var x oscore.Exchange
	plain, ctx, err := c.peers.UnprotectRequest(nil, datagram, &x)
	if errors.Is(err, oscore.ErrUnproven) {
		b, err := ctx.AppendChallenge(nil, datagram, c.echo.Append(nil, ctx, c.now()), &x)
		if err != nil {
			c.w.t.Fatal(err)
		}
		return b
	}
	if err != nil {
		c.w.Failed("message", err.Error())
		b, err := oscore.AppendError(nil, datagram, err)
		if err != nil {
			c.w.t.Fatal(err)
		}
		return b
	}
	var in coap.Message
	if err := in.Parse(plain); err != nil {
		c.w.t.Fatal(err)
	}
	protection := device.Encrypted | device.Authenticated
	if within := Fresh(&in); within > 0 {
		b, err := c.echo.Require(nil, plain, ctx, &x, c.now(), within)
		if err != nil {
			if _, old := in.Options.Get(coap.Echo); old {
				c.w.Failed("message", "held back")
			}
			return b
		}
		protection |= device.Fresh
	}
	b, err := ctx.ProtectResponse(nil, bytes(c.w.Handle(c.sessions[ctx], protection, &in)), &x)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return b
}
