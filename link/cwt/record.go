// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// ErrRecord is returned when the record was not made durable, and what was to be
// recorded therefore did not happen; and for records that do not follow each other.
var ErrRecord = errors.New("not recorded")

// A RecordKind is what a [Record] is about. Its number is a part of the encoding.
type RecordKind uint8

// The kinds.
const (
	Opened      RecordKind = 1 + iota // a break-glass token opened a window
	Reconnected                       // its holder came back
	Closed                            // the window is over, and why
	Refused                           // a token, and why not
	Admitted                          // another token with exi
	Commanded                         // a command in a break-glass session, and what was said to it
	TimeSet
	Listed     // a newer list of revocations
	Checkpoint // the state; what was before it may be dropped
)

var recordKinds = [...]string{
	"", "opened", "reconnected", "closed", "refused", "admitted", "commanded", "time-set", "listed", "checkpoint",
}

func (k RecordKind) String() string {
	if int(k) < len(recordKinds) {
		return recordKinds[k]
	}
	return ""
}

// A Record is one entry of what a [Door] writes. Entries are chained: each has the
// SHA-256 of the one before, so that none can be changed or taken out unseen, and
// [Door.SignHead] says where the chain ends. The encoding is
//
//	[previous, number, kind, [unix, boot, uptime], issuer, serial, holder, device, why, count, [state, ...]]
//
// Serial and device tell of a patient: records are for the device's own log.
type Record struct {
	Previous [32]byte
	Number   uint64
	Kind     RecordKind
	At       Instant
	Issuer   string
	Serial   []byte
	Holder   [32]byte // thumbprint of the peer's key
	Device   string
	Why      string // of Refused, the error; of the others, words of this package
	Count    uint64 // of Refused, how many refusals it stands for

	rows [][]byte // what it changes of the door's state
}

// maxRows bounds what a checkpoint has.
const maxRows = maxWindows + maxBudgets + maxSequences + maxLists + 1

func (e *Record) append(dst []byte) []byte {
	dst = cbor.AppendBytes(cbor.AppendArray(dst, 11), e.Previous[:])
	dst = cbor.AppendUint(cbor.AppendUint(dst, e.Number), uint64(e.Kind))
	dst = e.At.append(dst)
	dst = cbor.AppendBytes(cbor.AppendText(dst, e.Issuer), e.Serial)
	dst = cbor.AppendBytes(dst, e.Holder[:])
	dst = cbor.AppendText(cbor.AppendText(dst, e.Device), e.Why)
	return appendList(cbor.AppendUint(dst, e.Count), e.rows)
}

// ParseRecord reads one record, which it aliases.
func ParseRecord(b []byte) (*Record, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, bad("record", err)
	}
	if r.Array() != 11 {
		r.Fail(ErrForm)
	}
	e := new(Record)
	readHash(&r, &e.Previous)
	e.Number = r.Uint()
	kind := r.Uint()
	if kind == 0 || kind >= uint64(len(recordKinds)) {
		r.Fail(cbor.ErrRange)
	}
	e.Kind = RecordKind(kind)
	e.At = readInstant(&r)
	e.Issuer, e.Serial = r.Text(), r.Bytes()
	readHash(&r, &e.Holder)
	e.Device, e.Why, e.Count = r.Text(), r.Text(), r.Uint()
	n := r.Array()
	if n > maxRows {
		r.Fail(cbor.ErrTooMany)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		e.rows = append(e.rows, r.Bytes())
	}
	if err := r.Done(); err != nil {
		return nil, bad("record", err)
	}
	return e, nil
}

func readHash(r *cbor.Reader, h *[32]byte) {
	b := r.Bytes()
	if len(b) != len(h) {
		r.Fail(cbor.ErrRange)
	}
	copy(h[:], b)
}

// headContext is the external data of a signed head.
var headContext = []byte("myelin door record")

// SignHead signs the number and the hash of the last record, with the device's key,
// tagged.
func (d *Door) SignHead(s cose.Signer, kid []byte) ([]byte, error) {
	return cose.AppendSign1(nil, &cose.Headers{KID: kid}, nil, appendHead(d.number, d.head), headContext, s)
}

func appendHead(number uint64, head [32]byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), number), head[:])
}

// VerifyRecords checks that records are all of a chain from its first one, or from a
// checkpoint on, to a head that the device signed.
func VerifyRecords(records [][]byte, head []byte, k *cose.Key) error {
	m, err := cose.ParseSign1(head)
	if err != nil {
		return bad("record", err)
	}
	if err := m.Verify(k, headContext); err != nil {
		return bad("record", err)
	}
	var last Record
	var hash [32]byte
	for i, b := range records {
		e, err := ParseRecord(b)
		if err != nil {
			return err
		}
		if i > 0 && (e.Previous != hash || e.Number != last.Number+1) || i == 0 && e.Kind != Checkpoint && e.Number != 1 {
			return bad("record", ErrRecord)
		}
		last, hash = *e, sha256.Sum256(b)
	}
	if !bytes.Equal(m.Payload, appendHead(last.Number, hash)) {
		return bad("record", ErrRecord)
	}
	return nil
}
