// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"crypto/ecdh"
	"encoding/binary"
	"fmt"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// keysKept are the keys that both sides hand over: encryption and identity.
const keysKept = ble.DistributeEncryption | ble.DistributeIdentity

// featuresFor are what both sides have to say so that a pairing is by a method
// (Vol 3 Part H section 2.3.5.1, table 2.8).
func featuresFor(m ble.Method, sc bool) (request, response ble.PairingFeatures) {
	f := ble.PairingFeatures{AuthReq: ble.AuthBonding, MaxKeySize: 16, InitiatorKeys: keysKept, ResponderKeys: keysKept}
	if sc {
		f.AuthReq |= ble.AuthSecureConnections
	}
	request, response = f, f
	request.IOCapability = ble.KeyboardDisplay
	request.AuthReq |= ble.AuthMITM
	switch m {
	case ble.JustWorks:
		response.IOCapability = ble.NoInputNoOutput
	case ble.PasskeyEntry:
		response.IOCapability = ble.DisplayOnly
		response.AuthReq |= ble.AuthMITM
	case ble.NumericComparison:
		request.IOCapability, response.IOCapability = ble.DisplayYesNo, ble.DisplayYesNo
		response.AuthReq |= ble.AuthMITM
	case ble.OutOfBand:
		request.OOB, response.OOB = true, true
		response.IOCapability = ble.NoInputNoOutput
		response.AuthReq |= ble.AuthMITM
	}
	return request, response
}

// A pairing is one pairing while it goes on.
type pairing struct {
	l                 *link
	request, response ble.PairingFeatures
	method            ble.Method
	passkey           uint32
	oob               [3]key // out-of-band data, by the side that has made it
	sent              [3][]byte
	ltk               key  // of legacy pairing, when it is not to be a new one
	unchecked         bool // the DHKey checks are left out, as a broken chip lets one
}

// pair lets the two sides pair by what they say of themselves, and encrypts. The peripheral
// asks for it first when it is asked to.
func (l *link) pair(asks bool) *bond {
	p := &pairing{l: l, request: l.party[ble.Central].says, response: l.party[ble.Peripheral].says}
	if asks {
		l.smp(ble.Peripheral, ble.SMP{Code: ble.SecurityRequest, PairingFeatures: ble.PairingFeatures{AuthReq: p.response.AuthReq}})
	}
	return p.run()
}

func (p *pairing) run() *bond {
	l, s := p.l, p.l.s
	var sc bool
	if p.method, sc = ble.MethodOf(p.request, p.response); p.method == ble.NoMethod {
		s.note(fmt.Errorf("radio: no pairing method"))
	}
	p.sent[ble.Central] = l.smp(ble.Central, ble.SMP{Code: ble.PairingRequest, PairingFeatures: p.request})
	p.sent[ble.Peripheral] = l.smp(ble.Peripheral, ble.SMP{Code: ble.PairingResponse, PairingFeatures: p.response})
	how := security{encrypted: true, method: p.method, sc: sc, size: min(p.request.MaxKeySize, p.response.MaxKeySize)}
	p.passkey = s.rng.Uint32N(1e6)
	for side := range p.oob {
		p.oob[side] = s.key()
	}
	var b *bond
	if sc {
		b = p.secure(how)
	} else {
		b = p.legacy(how)
	}
	b.notified = l.notified
	l.party[ble.Central].keep(l.party[ble.Peripheral], b)
	l.party[ble.Peripheral].keep(l.party[ble.Central], b)
	return b
}

func (p *pairing) value(from ble.Side, code ble.SMPCode, v key) {
	p.l.smp(from, ble.SMP{Code: code, Value: v.Air()})
}

// legacy is LE legacy pairing (Vol 3 Part H section 2.3.5.5).
func (p *pairing) legacy(how security) *bond {
	l, s := p.l, p.l.s
	var tk key
	switch p.method {
	case ble.PasskeyEntry:
		binary.BigEndian.PutUint32(tk[12:], p.passkey)
	case ble.OutOfBand:
		tk = p.oob[ble.Peripheral]
	}
	mrand, srand := s.key(), s.key()
	confirm := func(r key) key {
		return toolbox.C1(tk, r, p.sent[ble.Central], p.sent[ble.Peripheral], l.address[ble.Central], l.address[ble.Peripheral])
	}
	p.value(ble.Central, ble.PairingConfirm, confirm(mrand))
	p.value(ble.Peripheral, ble.PairingConfirm, confirm(srand))
	p.value(ble.Central, ble.PairingRandom, mrand)
	p.value(ble.Peripheral, ble.PairingRandom, srand)
	l.encrypt(&bond{ltk: toolbox.S1(tk, srand, mrand).Short(how.size), security: how})

	b := &bond{ltk: p.ltk, rand: s.rng.Uint64(), ediv: uint16(s.rng.Uint32()), security: how}
	if b.ltk == (key{}) {
		b.ltk = s.key().Short(how.size)
	}
	p.distribute(ble.Peripheral, p.response.ResponderKeys, b)
	p.distribute(ble.Central, p.response.InitiatorKeys, &bond{ltk: s.key().Short(how.size), rand: s.rng.Uint64(), ediv: uint16(s.rng.Uint32())})
	return b
}

// distribute hands the keys of one side over (section 3.6.1): of Secure
// Connections the long-term key is not among them, and b is nil.
func (p *pairing) distribute(from ble.Side, keys uint8, b *bond) {
	l, me := p.l, p.l.party[from]
	if b != nil && keys&ble.DistributeEncryption != 0 {
		p.value(from, ble.EncryptionInformation, b.ltk)
		l.smp(from, ble.SMP{Code: ble.CentralIdentification, EDIV: b.ediv, Rand: b.rand})
	}
	if keys&ble.DistributeIdentity != 0 {
		p.value(from, ble.IdentityInformation, me.irk)
		l.smp(from, ble.SMP{Code: ble.IdentityAddressInformation, Address: me.identity})
	}
}

// secure is LE Secure Connections pairing (sections 2.3.5.6 and 2.3.5.7).
func (p *pairing) secure(how security) *bond {
	l, s := p.l, p.l.s
	var private [3]*ecdh.PrivateKey
	var x [3][32]byte // of the public keys
	for _, side := range [...]ble.Side{ble.Central, ble.Peripheral} {
		private[side] = s.private()
		point := private[side].PublicKey().Bytes()
		x[side] = [32]byte(point[1:33])
		l.smp(side, ble.SMP{Code: ble.PairingPublicKey, Value: append(toolbox.Reversed(point[1:33]), toolbox.Reversed(point[33:])...)})
	}
	dhKey, err := private[ble.Central].ECDH(private[ble.Peripheral].PublicKey())
	s.note(err)

	const c, d = ble.Central, ble.Peripheral
	na, nb := s.key(), s.key()
	var ra, rb key // what the checks have of the method
	switch p.method {
	case ble.PasskeyEntry:
		binary.BigEndian.PutUint32(ra[12:], p.passkey)
		rb = ra
		for bit := range 20 { // a bit at a time, so that who guesses learns one
			na, nb = s.key(), s.key()
			r := byte(0x80 | p.passkey>>bit&1)
			p.value(c, ble.PairingConfirm, toolbox.F4(x[c], x[d], na, r))
			p.value(d, ble.PairingConfirm, toolbox.F4(x[d], x[c], nb, r))
			p.value(c, ble.PairingRandom, na)
			p.value(d, ble.PairingRandom, nb)
		}
	case ble.OutOfBand: // the commitments came the other way
		ra, rb = p.oob[c], p.oob[d]
		p.value(c, ble.PairingRandom, na)
		p.value(d, ble.PairingRandom, nb)
	default: // in Numeric Comparison people now compare six digits of both (section 2.2.9)
		p.value(d, ble.PairingConfirm, toolbox.F4(x[d], x[c], nb, 0))
		p.value(c, ble.PairingRandom, na)
		p.value(d, ble.PairingRandom, nb)
	}
	mac, ltk := toolbox.F5([32]byte(dhKey), na, nb, l.address[c], l.address[d])
	if !p.unchecked {
		p.value(c, ble.PairingDHKeyCheck, toolbox.F6(mac, na, nb, rb, p.request, l.address[c], l.address[d]))
		p.value(d, ble.PairingDHKeyCheck, toolbox.F6(mac, nb, na, ra, p.response, l.address[d], l.address[c]))
	}
	b := &bond{ltk: ltk.Short(how.size), security: how}
	l.encrypt(b)
	p.distribute(d, p.response.ResponderKeys, nil)
	p.distribute(c, p.response.InitiatorKeys, nil)
	return b
}

// private makes a key pair of the scene's own chance.
func (s *scene) private() *ecdh.PrivateKey {
	for {
		if k, err := ecdh.P256().NewPrivateKey(s.random(32)); err == nil {
			return k
		}
	}
}
