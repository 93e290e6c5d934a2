// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// MaxMessage is how many bytes a signed message has at most.
const MaxMessage = 4096

// Bounds of a message's parts.
const (
	maxText = 256 // bytes of a text
	maxList = 32  // entries of a list
)

// What can be wrong with a message, beside what link/cose and internal/cbor say.
var (
	ErrMessage = errors.New("patch: not a message of this kind")
	ErrSigner  = errors.New("patch: nobody who may sign this")
)

// A Message is a State, an Offer or an Answer.
type Message interface {
	context() []byte // signed with it, and sent with none
	append(dst []byte) []byte
	read(r *cbor.Reader)
}

func (*State) context() []byte  { return []byte("myelin patch state 1") }
func (*Offer) context() []byte  { return []byte("myelin patch offer 1") }
func (*Answer) context() []byte { return []byte("myelin patch answer 1") }

// KeyID is how a message names the key that signed it: the first eight bytes of
// its thumbprint (RFC 9679).
func KeyID(k *cose.Key) []byte {
	t := k.Thumbprint()
	return t[:8]
}

// Sign signs a message: a COSE_Sign1 with the key's id protected.
func Sign(m Message, signer cose.Signer, kid []byte) ([]byte, error) {
	s := cose.Sign1{Protected: cose.Headers{KID: kid}, Payload: m.append(nil)}
	if err := s.Sign(signer, m.context()); err != nil {
		return nil, err
	}
	b, err := s.Append(nil)
	if err == nil && len(b) > MaxMessage {
		return nil, fmt.Errorf("patch: a message of %d bytes; %d are the most", len(b), MaxMessage)
	}
	return b, err
}

// Open verifies a message and reads it into m, which owns what it then has. Key
// finds the public key by its id: nil is nobody who may sign such a message. An
// error leaves m as it was.
func Open(b []byte, m Message, key func(kid []byte) *cose.Key) error {
	if len(b) > MaxMessage {
		return ErrMessage
	}
	s, err := cose.ParseSign1(b)
	if err != nil {
		return err
	}
	if s.Detached || len(s.Protected.KID) == 0 {
		return ErrMessage
	}
	k := key(s.Protected.KID)
	if k == nil {
		return ErrSigner
	}
	if err := s.Verify(k, m.context()); err != nil {
		return err
	}
	return Parse(s.Payload, m)
}

// Parse reads a message that nobody signed, or whose signature was looked at: an
// Answer to a State without a Nonce comes so, over a channel that proves the
// server. An error leaves m as it was.
func Parse(b []byte, m Message) error {
	if len(b) > MaxMessage {
		return ErrMessage
	}
	r, err := cbor.Parse(b)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *State:
		return into(m, &r)
	case *Offer:
		return into(m, &r)
	case *Answer:
		return into(m, &r)
	}
	return ErrMessage
}

// Append appends a message that nobody signs.
func Append(dst []byte, m Message) []byte { return m.append(dst) }

func into[T any, P interface {
	*T
	Message
}](m P, r *cbor.Reader) error {
	var v T
	P(&v).read(r)
	if err := r.Done(); err != nil {
		return err
	}
	*m = v
	return nil
}

// A field is one pair of a message's map: its label, and how it is written. What
// has its zero value is left out, so that one message has one form.
type field struct {
	label uint64
	value []byte
}

// fields is a map as it is being written. Its labels rise.
type fields []field

func (f *fields) put(label uint64, zero bool, value []byte) {
	if !zero {
		*f = append(*f, field{label, value})
	}
}

func (f *fields) text(label uint64, s string) { f.put(label, s == "", cbor.AppendText(nil, s)) }
func (f *fields) uint(label, n uint64)        { f.put(label, n == 0, cbor.AppendUint(nil, n)) }
func (f *fields) int(label uint64, n int64)   { f.put(label, n == 0, cbor.AppendInt(nil, n)) }
func (f *fields) bool(label uint64, v bool)   { f.put(label, !v, cbor.AppendBool(nil, v)) }

func (f *fields) bytes(label uint64, b []byte) { f.put(label, len(b) == 0, cbor.AppendBytes(nil, b)) }

func (f *fields) digest(label uint64, d Digest) {
	f.put(label, d == Digest{}, cbor.AppendBytes(nil, d[:]))
}

func (f *fields) time(label uint64, t time.Time) {
	f.put(label, t.IsZero(), cbor.AppendInt(nil, t.UnixMilli()))
}

func (f *fields) span(label uint64, d time.Duration) { f.int(label, d.Milliseconds()) }

func (f *fields) list(label uint64, l []string) {
	b := cbor.AppendArray(nil, len(l))
	for _, s := range l {
		b = cbor.AppendText(b, s)
	}
	f.put(label, len(l) == 0, b)
}

func (f fields) append(dst []byte) []byte {
	dst = cbor.AppendMap(dst, len(f))
	for _, p := range f {
		dst = append(cbor.AppendUint(dst, p.label), p.value...)
	}
	return dst
}

// each reads a map, label by label. A label that get does not know is a failure.
func each(r *cbor.Reader, get func(label uint64) bool) {
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		if !get(r.Uint()) {
			r.Fail(ErrMessage)
		}
	}
}

// What follows reads values within their bounds, and refuses a zero value, which
// has no form.

func text(r *cbor.Reader, s *string) bool {
	*s = r.Text()
	return *s != "" && len(*s) <= maxText
}

func number(r *cbor.Reader, n *uint64) bool {
	*n = r.Uint()
	return *n != 0
}

func signed[T ~int | ~int64](r *cbor.Reader, n *T) bool {
	v := r.Int()
	*n = T(v)
	return v != 0 && int64(*n) == v
}

func small[T ~uint8 | ~uint16](r *cbor.Reader, n *T, most T) bool {
	v := r.Uint()
	*n = T(v)
	return v != 0 && v <= uint64(most)
}

func truth(r *cbor.Reader, v *bool) bool {
	*v = r.Bool()
	return *v
}

func octets(r *cbor.Reader, b *[]byte) bool {
	*b = append([]byte(nil), r.Bytes()...)
	return len(*b) > 0
}

func digest(r *cbor.Reader, d *Digest) bool {
	b := r.Bytes()
	copy(d[:], b)
	return len(b) == len(d) && *d != Digest{}
}

// maxMillis keeps times and spans within what both have room for.
const maxMillis = 1 << 42

func moment(r *cbor.Reader, t *time.Time) bool {
	v := r.Int()
	*t = time.UnixMilli(v).UTC()
	return v >= 0 && v <= maxMillis
}

func span(r *cbor.Reader, d *time.Duration) bool {
	v := r.Int()
	*d = time.Duration(v) * time.Millisecond
	return v > 0 && v <= maxMillis
}

func list(r *cbor.Reader, l *[]string) bool {
	n := r.Array()
	if n == 0 || n > maxList {
		return false
	}
	for range n {
		var s string
		if !text(r, &s) {
			return false
		}
		*l = append(*l, s)
	}
	return true
}

func (s *State) append(dst []byte) []byte {
	var f fields
	f.text(1, s.Device)
	f.text(2, s.Hardware)
	f.text(3, s.Version)
	f.uint(4, s.Sequence)
	f.uint(5, s.Count)
	f.bytes(6, s.Echo)
	f.bytes(7, s.Nonce)
	f.uint(8, uint64(s.Doing))
	f.uint(9, uint64(s.Known))
	f.int(10, int64(s.Battery))
	f.bool(11, s.Mains)
	f.int(12, int64(s.Longevity))
	f.int(13, int64(s.Link))
	f.bool(14, s.Near)
	f.int(15, s.Free)
	f.digest(16, s.Settings)
	f.digest(17, s.Saved)
	f.text(18, s.Slot)
	f.bool(19, s.Trial)
	f.digest(20, s.Staged)
	f.int(21, s.Bytes)
	if s.Result != nil {
		f.put(22, false, s.Result.append(nil))
	}
	return f.append(dst)
}

func (s *State) read(r *cbor.Reader) {
	each(r, func(label uint64) bool {
		switch label {
		case 1:
			return text(r, &s.Device)
		case 2:
			return text(r, &s.Hardware)
		case 3:
			return text(r, &s.Version)
		case 4:
			return number(r, &s.Sequence)
		case 5:
			return number(r, &s.Count)
		case 6:
			return octets(r, &s.Echo)
		case 7:
			return octets(r, &s.Nonce)
		case 8:
			return small(r, &s.Doing, All)
		case 9:
			return small(r, &s.Known, All)
		case 10:
			return signed(r, &s.Battery)
		case 11:
			return truth(r, &s.Mains)
		case 12:
			return signed(r, &s.Longevity)
		case 13:
			return signed(r, &s.Link)
		case 14:
			return truth(r, &s.Near)
		case 15:
			return signed(r, &s.Free)
		case 16:
			return digest(r, &s.Settings)
		case 17:
			return digest(r, &s.Saved)
		case 18:
			return text(r, &s.Slot)
		case 19:
			return truth(r, &s.Trial)
		case 20:
			return digest(r, &s.Staged)
		case 21:
			return signed(r, &s.Bytes)
		case 22:
			s.Result = &Result{}
			s.Result.read(r)
			return true
		}
		return false
	})
}

func (e *Result) append(dst []byte) []byte {
	var f fields
	f.digest(1, e.Envelope)
	f.uint(2, e.Offer)
	f.text(3, e.Version)
	f.uint(4, uint64(e.Outcome))
	f.bool(5, e.Resumed)
	f.bool(6, e.SelfTest)
	f.digest(7, e.Before)
	f.digest(8, e.After)
	f.span(9, e.Took)
	f.text(10, e.Reason)
	return f.append(dst)
}

func (e *Result) read(r *cbor.Reader) {
	each(r, func(label uint64) bool {
		switch label {
		case 1:
			return digest(r, &e.Envelope)
		case 2:
			return number(r, &e.Offer)
		case 3:
			return text(r, &e.Version)
		case 4:
			return small(r, &e.Outcome, outcomeCount-1)
		case 5:
			return truth(r, &e.Resumed)
		case 6:
			return truth(r, &e.SelfTest)
		case 7:
			return digest(r, &e.Before)
		case 8:
			return digest(r, &e.After)
		case 9:
			return span(r, &e.Took)
		case 10:
			return text(r, &e.Reason)
		}
		return false
	})
}

func (d *Demands) append(dst []byte) []byte {
	var f fields
	f.list(1, d.Hardware)
	f.list(2, d.From)
	f.span(3, d.Backup)
	f.uint(4, uint64(d.Keeps))
	f.span(5, d.Longest)
	f.span(6, d.Resume)
	f.int(7, d.Free)
	f.int(8, int64(d.Battery))
	f.int(9, int64(d.Longevity))
	f.bool(10, d.Near)
	f.bool(11, d.Spare)
	f.uint(12, uint64(d.Supervision))
	return f.append(dst)
}

func (d *Demands) read(r *cbor.Reader) {
	each(r, func(label uint64) bool {
		switch label {
		case 1:
			return list(r, &d.Hardware)
		case 2:
			return list(r, &d.From)
		case 3:
			return span(r, &d.Backup)
		case 4:
			return small(r, &d.Keeps, All)
		case 5:
			return span(r, &d.Longest)
		case 6:
			return span(r, &d.Resume)
		case 7:
			return signed(r, &d.Free)
		case 8:
			return signed(r, &d.Battery)
		case 9:
			return signed(r, &d.Longevity)
		case 10:
			return truth(r, &d.Near)
		case 11:
			return truth(r, &d.Spare)
		case 12:
			return small(r, &d.Supervision, supervisionCount-1)
		}
		return false
	})
}

func (o *Offer) append(dst []byte) []byte {
	var f fields
	f.text(1, o.Device)
	f.uint(2, o.Number)
	f.digest(3, o.Envelope)
	f.int(4, o.Size)
	f.text(5, o.Path)
	f.text(6, o.Version)
	f.uint(7, o.Sequence)
	f.bool(8, o.Install)
	f.time(9, o.Issued)
	f.time(10, o.Expires)
	f.put(11, false, o.Demands.append(nil))
	return f.append(dst)
}

func (o *Offer) read(r *cbor.Reader) {
	each(r, func(label uint64) bool {
		switch label {
		case 1:
			return text(r, &o.Device)
		case 2:
			return number(r, &o.Number)
		case 3:
			return digest(r, &o.Envelope)
		case 4:
			return signed(r, &o.Size)
		case 5:
			return text(r, &o.Path)
		case 6:
			return text(r, &o.Version)
		case 7:
			return number(r, &o.Sequence)
		case 8:
			return truth(r, &o.Install)
		case 9:
			return moment(r, &o.Issued)
		case 10:
			return moment(r, &o.Expires)
		case 11:
			o.Demands.read(r)
			return true
		}
		return false
	})
	if r.Err() == nil && (o.Device == "" || o.Number == 0 || o.Envelope == Digest{} || o.Sequence == 0 || o.Expires.IsZero()) {
		r.Fail(ErrMessage)
	}
}

func (a *Answer) append(dst []byte) []byte {
	var f fields
	f.text(1, a.Device)
	f.bytes(2, a.Nonce)
	f.time(3, a.Time)
	f.bytes(4, a.Challenge)
	f.span(5, a.Next)
	f.bytes(6, a.Offer)
	f.uint(7, a.Void)
	f.uint(8, a.Heard)
	return f.append(dst)
}

func (a *Answer) read(r *cbor.Reader) {
	each(r, func(label uint64) bool {
		switch label {
		case 1:
			return text(r, &a.Device)
		case 2:
			return octets(r, &a.Nonce)
		case 3:
			return moment(r, &a.Time)
		case 4:
			return octets(r, &a.Challenge)
		case 5:
			return span(r, &a.Next)
		case 6:
			return octets(r, &a.Offer)
		case 7:
			return number(r, &a.Void)
		case 8:
			return number(r, &a.Heard)
		}
		return false
	})
}
