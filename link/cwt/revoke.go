// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"

	"github.com/myelin-health/myelin/internal/cbor"
)

const (
	// MaxRevoked is how many serials, and how many keys, one list may have. What has
	// expired needs no revocation.
	MaxRevoked = 1024

	maxList  = 128 << 10 // bytes of a list: MaxRevoked serials and thumbprints with their heads fit
	maxLists = 16        // authorities whose lists are kept
)

// ErrStale is returned for a list that is not newer than the one that is kept, and
// for a token whose sequence number is not newer than one that has expired.
var ErrStale = errors.New("not newer than what was seen")

func (c *Claims) readRevoked(r *cbor.Reader) error {
	if r.Array() != 3 && r.Err() == nil {
		return ErrForm
	}
	v := &Revoked{Number: r.Uint()}
	if v.Number == 0 && r.Err() == nil {
		return cbor.ErrRange
	}
	v.Serials = readSorted(r, 1, MaxSerial)
	v.Thumbprints = readSorted(r, 32, 32)
	c.Revoked = v
	return r.Err()
}

// readSorted reads byte strings in bytewise order, each once.
func readSorted(r *cbor.Reader, least, most int) (list [][]byte) {
	n := r.Array()
	if n > MaxRevoked {
		r.Fail(cbor.ErrTooMany)
	}
	var last []byte
	for ; n > 0 && r.Err() == nil; n-- {
		b := r.Bytes()
		if r.Err() == nil && (len(b) < least || len(b) > most) {
			r.Fail(cbor.ErrRange)
		}
		if r.Err() == nil && bytes.Compare(last, b) >= 0 {
			r.Fail(cbor.ErrOrder)
		}
		list, last = append(list, b), b
	}
	return list
}

// Revocations are the newest lists, one by each authority. The zero value has none,
// and so has nil. It is not safe for use by goroutines while one updates it.
type Revocations struct{ lists []revocationList }

type revocationList struct {
	issuer string
	Revoked
	document []byte
}

// update puts a verified list in the place of its issuer's older one.
func (r *Revocations) update(issuer string, list *Revoked, document []byte) error {
	n := revocationList{issuer, *list, document}
	for i := range r.lists {
		if old := &r.lists[i]; old.issuer == issuer {
			if old.Number >= n.Number {
				return bad("revocations", ErrStale)
			}
			*old = n
			return nil
		}
	}
	if len(r.lists) == maxLists {
		return bad("revocations", cbor.ErrTooMany)
	}
	r.lists = append(r.lists, n)
	return nil
}

// Update reads a signed list, which replaces an older one by the same authority. It
// keeps a copy. It is [ErrStale] when the list is not newer.
func (v *Verifier) Update(list []byte) error {
	a, c, err := v.list(list)
	if err != nil {
		return err
	}
	if v.Revoked == nil {
		v.Revoked = new(Revocations)
	}
	return v.Revoked.update(a.Name, c.Revoked, list)
}

// list verifies a signed list, of which it returns a copy.
func (v *Verifier) list(b []byte) (*Anchor, *Claims, error) {
	b = bytes.Clone(b)
	a, _, c, err := v.signed(b, Revokes, maxList)
	switch {
	case err != nil:
		return nil, nil, err
	case c.Revoked == nil:
		return nil, nil, bad("revocations", ErrMissing)
	case c.Scope != nil || c.Key != nil || c.KID != nil || c.Nonce != nil:
		return nil, nil, bad("revocations", ErrForm)
	}
	return a, c, nil
}

// Documents are the signed lists, to be kept and given to [Verifier.Update] again
// after a restart.
func (r *Revocations) Documents() (docs [][]byte) {
	if r == nil {
		return nil
	}
	for i := range r.lists {
		docs = append(docs, r.lists[i].document)
	}
	return docs
}

func (r *Revocations) serial(issuer string, serial []byte) bool {
	if r == nil {
		return false
	}
	for i := range r.lists {
		if l := &r.lists[i]; l.issuer == issuer {
			return has(l.Serials, serial)
		}
	}
	return false
}

// key reports whether any list has a key. Who may revoke is trusted to say of any
// key that it is stolen.
func (r *Revocations) key(thumbprint [32]byte) bool {
	if r == nil {
		return false
	}
	for i := range r.lists {
		if has(r.lists[i].Thumbprints, thumbprint[:]) {
			return true
		}
	}
	return false
}

// has reports whether b is in a sorted list. A session asks before each command: unlike
// slices.BinarySearchFunc it lets nothing escape to the heap.
func has(list [][]byte, b []byte) bool {
	for len(list) > 0 {
		i := len(list) / 2
		switch c := bytes.Compare(list[i], b); {
		case c == 0:
			return true
		case c < 0:
			list = list[i+1:]
		default:
			list = list[:i]
		}
	}
	return false
}
