// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// maxBonds bounds the bonds that are remembered; each is some 150 bytes.
const maxBonds = 1024

// A bond is what a pairing left behind: by it the level of a connection is
// known whose pairing is in another file. No key is kept, but a number that
// tells keys apart for the life of the follower.
type bond struct {
	party    [3]Address // identities, by Side
	security Security
	keys     [3]uint64 // of the long-term keys, by the Side that distributed it; both ends of Secure Connections have the same
	handles  [3]keyHandle
}

// An origin is the pairing that a long-term key was first seen in.
type origin struct {
	stream  uint64
	nonce   uint64 // of its random numbers
	pairing uint64 // its number
}

// A keyHandle names a legacy long-term key when encryption is asked for.
type keyHandle struct {
	rand uint64
	ediv uint16
}

// bonds are the last maxBonds of them, in the order in which they were made.
type bonds struct {
	list []*bond
	next int // the one to give up next, once the list is full
}

// add remembers b, which may be in the list already, instead of an earlier one
// of the same two devices.
func (l *bonds) add(b *bond) (evicted bool) {
	for i, old := range l.list {
		if old == b || old.party == b.party {
			l.list[i] = b
			return false
		}
	}
	if len(l.list) < maxBonds {
		l.list = append(l.list, b)
		return false
	}
	l.list[l.next] = b
	l.next = (l.next + 1) % maxBonds
	return true
}

// find returns the bond whose key encrypts a connection: the one with this key,
// or named by this handle, as far as these are known; else that of these two
// devices; else, where a central cannot be told, the one of this peripheral.
// Of several that would do it is none, unless they say the same.
func (l *bonds) find(party [3]Address, key uint64, handle keyHandle) *bond {
	var same, maybe *bond
	clash := false
	for _, b := range l.list {
		if key != 0 && (b.keys[Central] == key || b.keys[Peripheral] == key) ||
			handle != (keyHandle{}) && (b.handles[Central] == handle || b.handles[Peripheral] == handle) {
			return b
		}
		switch {
		case key != 0 && b.keys != [3]uint64{}, // another key
			handle != (keyHandle{}) && (b.security.SecureConnections || b.handles != [3]keyHandle{}),
			!party[Peripheral].Trackable() || b.party[Peripheral] != party[Peripheral]:
		case !party[Central].Trackable() || !b.party[Central].Trackable():
			clash = clash || maybe != nil && maybe.security != b.security
			maybe = b
		case b.party[Central] == party[Central]:
			same = b
		}
	}
	if same != nil || clash {
		return same
	}
	return maybe
}
