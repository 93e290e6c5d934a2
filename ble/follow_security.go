// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// pair takes a PDU of the security manager protocol.
func (f *Follower) pair(c *Connection, from Side, b []byte) {
	s := &f.smp
	if err := s.Parse(b); err != nil {
		f.h.Malformed(c, from, err)
		return
	}
	p, st := &c.pairing, &c.steps
	running := Requested <= p.State && p.State < Encrypted
	switch s.Code {
	case SecurityRequest:
		if !running {
			*p = Pairing{State: Asked}
		}
		p.Asked, p.SecurityRequest = true, s.AuthReq
		f.h.Pairing(c, p)
	case PairingRequest:
		*p = Pairing{Asked: p.State == Asked, SecurityRequest: p.SecurityRequest, Request: s.PairingFeatures, State: Requested}
		f.pairings++
		*st = steps{number: f.pairings, gaps: c.Gaps}
		f.keySize(c, s.MaxKeySize)
		f.h.Pairing(c, p)
	case PairingResponse:
		if p.State != Requested {
			f.overheard(c, Answered)
			f.keySize(c, s.MaxKeySize)
			break
		}
		p.Response, p.State = s.PairingFeatures, Answered
		f.keySize(c, s.MaxKeySize)
		p.Method, p.SecureConnections = MethodOf(p.Request, p.Response)
		if p.KeySize = min(p.Request.MaxKeySize, p.Response.MaxKeySize); p.KeySize < minKeySize || p.KeySize > maxKeySize {
			p.KeySize = 0
		}
		f.h.Pairing(c, p)
	case PairingFailed:
		if running {
			p.State, p.Reason, p.FailedBy = Failed, s.Reason, from
			f.h.Pairing(c, p)
		}
	case PairingConfirm, PairingRandom, PairingPublicKey, PairingDHKeyCheck:
		if running || f.overheard(c, Confirming) {
			f.exchange(c, from)
		}
	case EncryptionInformation, CentralIdentification, IdentityInformation, IdentityAddressInformation, SigningInformation:
		f.distributed(c, from)
	}
}

// overheard begins a pairing whose features a sniffer did not hear, so that
// encryption is not taken for one with a key from before. It reports whether
// there is one.
func (f *Follower) overheard(c *Connection, state PairingState) bool {
	p := &c.pairing
	if !c.Sniffed || p.State >= Requested && p.State != Failed {
		return false
	}
	f.pairings++
	c.steps = steps{number: f.pairings, partial: true}
	*p = Pairing{Asked: p.State == Asked, SecurityRequest: p.SecurityRequest, State: state}
	f.h.Pairing(c, p)
	return true
}

// The sizes that an encryption key may have, in octets (Vol 3 Part H section 2.3.4).
const (
	minKeySize = 7
	maxKeySize = 16
)

func (f *Follower) keySize(c *Connection, n uint8) {
	if n < minKeySize || n > maxKeySize {
		f.h.Odd(c, KeySizeOutOfRange)
	}
}

// exchange takes, in f.smp, what both sides send to agree on a key.
func (f *Follower) exchange(c *Connection, from Side) {
	s, p, st := &f.smp, &c.pairing, &c.steps
	switch s.Code {
	case PairingConfirm:
		st.confirm[from] = true
	case PairingRandom:
		st.random[from] = true
		st.nonce = st.nonce*31 + f.digest(s.Value)*uint64(from)
	case PairingPublicKey:
		st.public[from] = true
		p.SecureConnections = true
		st.points[from] = f.digest(s.Value)
		if st.points[Central] == st.points[Peripheral] {
			f.h.Odd(c, ReflectedPublicKey)
		}
		if !onCurve(s.Value) {
			f.h.Odd(c, InvalidPublicKey)
		}
		if ofDebugMode(s.Value) {
			st.debug = true
			f.h.Odd(c, DebugKey)
		}
	case PairingDHKeyCheck:
		st.check[from] = true
	}
	state := Confirming
	last := &st.random
	if p.SecureConnections {
		last = &st.check
	}
	if last[Central] && last[Peripheral] {
		state = Agreed
	}
	if state != p.State {
		p.State = state
		f.h.Pairing(c, p)
	}
}

// encrypted takes the end of encryption, or its start with the key of a pairing
// of this connection, or with one from before. size is 0 when it is not told.
func (f *Follower) encrypted(c *Connection, on bool, size uint8) {
	s := Security{}
	finished := false
	if on {
		switch p := &c.pairing; {
		// The key of a pairing has no name (Vol 3 Part H section 2.4.4.1): one that has,
		// before the two agreed, was there from an earlier one.
		case Requested <= p.State && p.State < Encrypted && (p.State == Agreed || c.handle == keyHandle{}):
			finished = f.fits(c)
			if finished {
				s = Security{
					Method: p.Method, SecureConnections: p.SecureConnections, KeySize: p.KeySize,
					Bonded: p.Request.AuthReq&p.Response.AuthReq&AuthBonding != 0, DebugKey: c.steps.debug,
				}
			}
			s.Encrypted = true
			c.derived = s
		case c.derived.Encrypted:
			s = c.derived
		default:
			s = Security{Encrypted: true, Stored: true, Bonded: true}
			if b := f.bonds.find(c.party, c.keyID, c.handle); b != nil {
				s = b.security
				c.known(b)
			} else if c.keyID != 0 && !c.party[c.local.Other()].Trackable() { // the next time its key tells who it is
				f.remember(&bond{party: c.party, security: s, keys: [3]uint64{Central: c.keyID, Peripheral: c.keyID}})
			}
			c.derived = s
		}
		if size != 0 {
			s.KeySize = size
		}
		if c.zero && f.isZero(c, commandKeys) {
			s.ZeroKey = true
		}
		zero := s.ZeroKey && !c.derived.ZeroKey
		c.derived = s
		if zero {
			f.h.Odd(c, ZeroKey)
		}
	}
	if c.Security != s {
		c.Security = s
		f.h.Secured(c)
	}
	if finished {
		p := &c.pairing
		p.State = Encrypted
		if p.SecureConnections && c.keyID != 0 {
			f.longTermKey(c, Central, c.keyID)
			c.steps.ltk[Peripheral] = c.keyID
		}
		f.h.Pairing(c, p)
		f.finish(c)
	}
	c.keyID, c.zero, c.handle = 0, false, keyHandle{}
}

// fits reports whether the pairing that runs got to where both sides can have
// its key. If it did not, encryption should not have started; but a sniffer
// that missed packets may have missed just these.
func (f *Follower) fits(c *Connection) bool {
	p := &c.pairing
	if p.State == Agreed || c.steps.partial || c.Gaps != c.steps.gaps {
		return true
	}
	st := &c.steps
	if st.random[Central] && st.random[Peripheral] {
		f.h.Odd(c, EncryptionBeforeCheck)
	} else {
		f.h.Odd(c, EncryptionWithoutKey)
	}
	return false
}

// zeroKey takes note that the key in use is all zero.
func (f *Follower) zeroKey(c *Connection) {
	if c.Security.ZeroKey {
		return
	}
	c.Security.ZeroKey, c.derived.ZeroKey = true, true
	f.h.Odd(c, ZeroKey)
	f.h.Secured(c)
}

// isZero reports whether a key that is all zero in c's capture is so in truth: on
// the air, and in a log that shows keys in such a place. Else it is remembered,
// in case that the log does so later.
func (f *Follower) isZero(c *Connection, place keyPlace) bool {
	if t := f.controllers.get(c.key.controller()); c.Sniffed || t != nil && (*t).shows&place != 0 {
		return true
	}
	c.blank |= place
	return false
}

// shown takes note that the log of a controller has a key in some place. Then
// the keys of zeros that it had there are zero, on the connections that last.
func (f *Follower) shown(k linkKey, t *controller, place keyPlace) {
	if t.shows&place != 0 {
		return
	}
	t.shows |= place
	f.hci.each(func(of linkKey, p **Connection) bool {
		c := *p
		if of.controller() != k || c.blank&place == 0 {
			return true
		}
		c.blank &^= place
		if place == commandKeys {
			f.zeroKey(c)
			return true
		}
		f.h.Odd(c, ZeroKey)
		if b := c.steps.bond; b != nil {
			b.security.ZeroKey = b.security.ZeroKey || c.steps.zero
		}
		return true
	})
}

// distributed takes, in f.smp, a key that one side gives the other to keep (Vol
// 3 Part H section 3.6).
func (f *Follower) distributed(c *Connection, from Side) {
	s, p, st := &f.smp, &c.pairing, &c.steps
	if p.State != Encrypted && p.State != Done {
		return
	}
	if c.Sniffed && !p.KeysReadable {
		p.KeysReadable = true
		f.h.Pairing(c, p)
	}
	if t := f.controllers.get(c.key.controller()); t != nil && !c.Sniffed && !allZero(s.Value) {
		f.shown(c.key.controller(), *t, handedKeys)
	}
	switch s.Code {
	case EncryptionInformation:
		if !allZero(s.Value) {
			f.longTermKey(c, from, f.keyID(s.Value))
			break
		}
		if f.isZero(c, handedKeys) {
			f.h.Odd(c, ZeroKey)
		}
		st.zero = st.zero || from == Peripheral // the central's is for when they change roles
	case CentralIdentification:
		st.handles[from] = keyHandle{s.Rand, s.EDIV}
		st.keys[from] |= DistributeEncryption
	case IdentityInformation:
		if !allZero(s.Value) { // which has no addresses to resolve
			irk := [16]byte(s.Value)
			st.irk[from] = &irk
		}
	case IdentityAddressInformation:
		st.keys[from] |= DistributeIdentity
		c.party[from] = s.Address
		if irk := st.irk[from]; irk != nil {
			f.resolver(irk, s.Address)
		}
	case SigningInformation:
		st.keys[from] |= DistributeSigning
	}
	f.finish(c)
}

// longTermKey takes note of a key. A key that is not random is the same in
// another pairing; but the same pairing may be in two captures.
func (f *Follower) longTermKey(c *Connection, from Side, key uint64) {
	c.steps.ltk[from] = key
	o := origin{c.key.stream, c.steps.nonce, c.steps.number}
	first := f.keys.get(key)
	switch {
	case first == nil:
		*f.keys.put(key, func(origin) { f.stats.Evicted++ }) = o
	case first.pairing != o.pairing && (first.nonce != o.nonce || first.stream == o.stream):
		f.h.Odd(c, StaticKey)
	}
}

// finish remembers the bond as far as it is known, and ends the pairing when
// all keys were seen that are to be distributed.
func (f *Follower) finish(c *Connection) {
	p, st := &c.pairing, &c.steps
	if c.derived.Bonded {
		if st.bond == nil {
			st.bond = new(bond)
		}
		*st.bond = bond{party: c.party, security: c.derived, keys: st.ltk, handles: st.handles}
		st.bond.security.ZeroKey = c.derived.ZeroKey || st.zero && c.blank&handedKeys == 0
		f.remember(st.bond)
	}
	const pdus = DistributeEncryption | DistributeIdentity | DistributeSigning
	due := [3]uint8{Central: p.Response.InitiatorKeys & pdus, Peripheral: p.Response.ResponderKeys & pdus}
	for side, keys := range due {
		if p.SecureConnections {
			keys &^= DistributeEncryption
		}
		if st.keys[side]&keys != keys {
			return
		}
	}
	if p.State == Encrypted {
		p.State = Done
		f.h.Pairing(c, p)
	}
}

func (f *Follower) remember(b *bond) {
	if f.bonds.add(b) {
		f.stats.Evicted++
	}
}

// known takes note that a side whose address tells nothing is the one that has
// the bond.
func (c *Connection) known(b *bond) {
	for s := range c.party {
		if !c.party[s].Trackable() && b.party[s].Kind != NoAddress {
			c.party[s] = b.party[s]
		}
	}
}

// resolver remembers an identity resolving key.
func (f *Follower) resolver(irk *[16]byte, identity Address) {
	r := newResolver(irk[:], identity)
	f.resolved = newCache[Address, Address](maxResolved) // what was not resolvable may be now
	for i, old := range f.resolvers {
		if old.identity == identity {
			f.resolvers[i] = r
			return
		}
	}
	if len(f.resolvers) < maxResolvers {
		f.resolvers = append(f.resolvers, r)
		return
	}
	f.stats.Evicted++
	f.resolvers[f.nextResolver] = r
	f.nextResolver = (f.nextResolver + 1) % maxResolvers
}

// identify returns the identity behind an address, as far as it is known; else
// the address.
func (f *Follower) identify(a Address) Address {
	if a.Kind != Resolvable || len(f.resolvers) == 0 {
		return a
	}
	if known := f.resolved.get(a); known != nil {
		return *known
	}
	identity := a
	for _, r := range f.resolvers {
		if r.made(a) {
			identity = r.identity
			break
		}
	}
	*f.resolved.put(a, func(Address) {}) = identity
	return identity
}
