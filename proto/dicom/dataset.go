// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/myelin-health/myelin/wire"
)

// A Tag is the group of a data element in its upper half, the element in its
// lower (PS3.5 section 7.1).
type Tag uint32

// The data elements that this package or its users look for (PS3.6).
const (
	SOPClassUID               Tag = 0x00080016
	SOPInstanceUID            Tag = 0x00080018
	AccessionNumber           Tag = 0x00080050
	Modality                  Tag = 0x00080060
	Manufacturer              Tag = 0x00080070
	ReferringPhysicianName    Tag = 0x00080090
	StationName               Tag = 0x00081010
	ManufacturerModelName     Tag = 0x00081090
	PatientName               Tag = 0x00100010
	PatientID                 Tag = 0x00100020
	DeviceSerialNumber        Tag = 0x00181000
	DeviceUID                 Tag = 0x00181002
	UniqueDeviceIdentifier    Tag = 0x00181009
	UDISequence               Tag = 0x0018100A
	SoftwareVersions          Tag = 0x00181020
	FloatPixelData            Tag = 0x7FE00008
	DoubleFloatPixelData      Tag = 0x7FE00009
	PixelData                 Tag = 0x7FE00010
	itemTag                   Tag = 0xFFFEE000
	itemDelimitation          Tag = 0xFFFEE00D
	sequenceDelimitation      Tag = 0xFFFEE0DD
	scheduledProcedureStepSeq Tag = 0x00400100
	requestAttributesSeq      Tag = 0x00400275
	otherPatientIDsSeq        Tag = 0x00101002
	referencedRequestSeq      Tag = 0x0040A370
	scheduledStepAttributes   Tag = 0x00400270
)

// sequences of defined length that are entered in implicit VR, where only a
// dictionary could tell a sequence from a value.
var sequences = [...]Tag{
	otherPatientIDsSeq, UDISequence, scheduledProcedureStepSeq, scheduledStepAttributes,
	requestAttributesSeq, referencedRequestSeq,
}

// A VR is a value representation: two letters, or zero in implicit VR.
type VR [2]byte

func (vr VR) String() string {
	if vr == (VR{}) {
		return ""
	}
	return string(vr[:])
}

// short has the VRs whose length takes two bytes (PS3.5 table 7.1-2). Those of
// the standard that are not here, and those to come, have four bytes.
const short = "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US "

func (vr VR) short() bool {
	for i := 0; i < len(short); i += 3 {
		if short[i] == vr[0] && short[i+1] == vr[1] {
			return true
		}
	}
	return false
}

func (vr VR) letters() bool {
	return 'A' <= vr[0] && vr[0] <= 'Z' && 'A' <= vr[1] && vr[1] <= 'Z'
}

const (
	// MaxValue is the longest value, in bytes, that is shown. Names, numbers and
	// identifiers have 64 characters at most (PS3.5 table 6.2-1).
	MaxValue = 256
	// Undefined is the Length of a value that ends with a delimiter.
	Undefined = 0xFFFFFFFF
	// maxElement is the longest header and value that are kept together.
	maxElement = 12 + MaxValue
	// maxLevels bounds nesting: sixteen sequences and their items.
	maxLevels = 2 * 16
	// maxDeflated bounds the compressed bytes that are collected of a data set,
	// maxInflated what they may become. CT and MR objects have 2 to 8 KB before
	// their pixel data; patient and equipment are in the first of them.
	maxDeflated = 16 << 10
	maxInflated = 1 << 20
	// endless skips what is left of a data set.
	endless = math.MaxUint64
)

// An Element is one data element.
type Element struct {
	Tag    Tag
	VR     VR     // zero in implicit VR
	Length uint32 // of the value, or Undefined
	Value  []byte // nil for sequences, pixel data and what is longer than MaxValue; valid until the visit is over
	Depth  int    // in how many sequences it stands
	Within Tag    // the innermost of them
	Off    int    // where it began in the piece that was fed; 0 when in an earlier one
}

// Text returns the value without what pads it.
func (e *Element) Text() []byte { return trim(e.Value) }

// A DataSet reads a data set that comes in pieces, element by element. The
// zero DataSet finds out how it is encoded from its first element, unless it
// is deflated; see [DataSet.Reset].
//
// Sequences are entered, items are read through. In implicit VR those of
// defined length are passed over like any other value, but for a few that hold
// names of patients or devices. A data set of undefined-length sequences nested
// deeper than sixteen is an error.
type DataSet struct {
	syntax   Syntax
	err      error
	skip     uint64 // bytes to pass over
	pos      uint64 // where the next element starts
	kept     int    // bytes of an element that has not all come
	depth    int    // of levels
	levels   [maxLevels]level
	carry    [maxElement]byte
	elem     Element
	deflated []byte
}

// A level is a sequence or an item that is being read.
type level struct {
	end  uint64 // where it ends; endless when a delimiter ends it
	tag  Tag    // of the sequence
	kind levelKind
}

type levelKind uint8

const (
	inItem         levelKind = iota // elements follow
	inImplicitItem                  // elements in implicit VR little endian follow
	inSequence                      // items follow
	inImplicitSequence
	inFragments // items that hold encapsulated bytes follow
)

// Reset makes d ready for a new data set.
func (d *DataSet) Reset(s Syntax) {
	d.syntax, d.err, d.skip, d.pos, d.kept, d.depth, d.deflated = s, nil, 0, 0, 0, 0, nil
}

// Idle returns how many of the bytes to come d would only pass over.
func (d *DataSet) Idle() uint64 { return d.skip }

// Pass tells d that n bytes, at most [DataSet.Idle], were passed over.
func (d *DataSet) Pass(n uint64) {
	if d.skip != endless {
		d.skip -= min(n, d.skip)
	}
}

// Feed reads the next bytes of the data set and calls visit for every element
// that is complete, including sequences (at their start) and the pixel data,
// where it stops: the rest is passed over. The same Element is used for all.
//
// After an error, a *[wire.SyntaxError] whose offset is in p, the rest of the
// data set is passed over without another.
func (d *DataSet) Feed(p []byte, visit func(*Element)) error {
	if d.syntax == DeflatedExplicitVRLittleEndian {
		if d.skip == endless {
			return nil
		}
		n := min(len(p), maxDeflated-len(d.deflated))
		d.deflated = append(d.deflated, p[:n]...)
		if len(d.deflated) < maxDeflated {
			return nil
		}
		return d.inflate(visit)
	}
	return d.feed(p, visit)
}

// Close says that the data set is over. It returns an error when an element
// or a sequence is not.
func (d *DataSet) Close(visit func(*Element)) error {
	if d.syntax == DeflatedExplicitVRLittleEndian && d.skip != endless {
		if err := d.inflate(visit); err != nil {
			return err
		}
	}
	if d.skip == endless {
		return nil
	}
	d.closeLevels()
	if d.kept > 0 || d.skip > 0 || d.depth > 0 {
		d.fail("Data Set", 0, wire.ErrTruncated)
	}
	return d.err
}

// inflate reads what was collected of a deflated data set (PS3.5 section A.5:
// RFC 1951, no header).
func (d *DataSet) inflate(visit func(*Element)) error {
	r := flate.NewReader(bytes.NewReader(d.deflated))
	cut := len(d.deflated) == maxDeflated
	d.deflated = nil
	var buf [4096]byte
	for total := 0; d.skip != endless; {
		n, err := r.Read(buf[:])
		if err := d.feed(buf[:n], visit); err != nil {
			err.(*wire.SyntaxError).Off = 0 // a place in what was inflated helps nobody
			return err
		}
		total += n
		switch {
		case d.skip == endless:
		case err == io.EOF:
			return nil
		case err != nil && cut && errors.Is(err, io.ErrUnexpectedEOF):
			d.skip = endless // the rest was not collected
		case err != nil:
			return d.fail("Deflated Data Set", 0, wire.ErrInvalid)
		case total >= maxInflated:
			return d.fail("Deflated Data Set", 0, wire.ErrTooLong)
		}
	}
	return nil
}

func (d *DataSet) feed(p []byte, visit func(*Element)) error {
	for off := 0; off < len(p); {
		if d.skip > 0 {
			n := min(d.skip, uint64(len(p)-off))
			d.Pass(n)
			off += int(n)
			continue
		}
		// An element that began in an earlier piece is put together in carry,
		// which has room for the longest: if it is not complete then, all of p
		// is in carry.
		w, before := p[off:], d.kept
		if before > 0 {
			w = d.carry[:before+copy(d.carry[before:], w)]
		}
		n, ok := d.element(w)
		if d.err != nil {
			d.err.(*wire.SyntaxError).Off += max(0, off-before)
			return d.err
		}
		if n == 0 {
			if before == 0 {
				copy(d.carry[:], w)
			}
			d.kept = len(w)
			return nil
		}
		d.elem.Off = max(0, off-before)
		off += n - before
		d.kept = 0
		if ok {
			visit(&d.elem)
		}
	}
	return nil
}

// fail ends the data set.
func (d *DataSet) fail(field string, off int, err error) error {
	d.skip = endless
	d.err = &wire.SyntaxError{Proto: "dicom", Field: field, Off: off, Err: err}
	return d.err
}

// closeLevels leaves the sequences and items that end here by their length.
func (d *DataSet) closeLevels() {
	for d.depth > 0 && d.levels[d.depth-1].end <= d.pos {
		d.depth--
	}
}

// open enters a sequence or item whose header takes n bytes.
func (d *DataSet) open(kind levelKind, tag Tag, n int, length uint32) {
	if d.depth == maxLevels {
		d.fail("Value Length", 0, wire.ErrTooDeep)
		return
	}
	l := level{kind: kind, tag: tag, end: endless}
	if length != Undefined {
		l.end = d.pos + uint64(n) + uint64(length)
	}
	d.levels[d.depth] = l
	d.depth++
}

// element reads the data element, or the delimiter, at the front of w. It
// returns how many bytes that are looked at it takes, 0 when there are too few,
// and whether d.elem is to be visited.
func (d *DataSet) element(w []byte) (n int, ok bool) {
	if len(w) < 8 {
		return 0, false
	}
	d.closeLevels()
	in := level{end: endless}
	if d.depth > 0 {
		in = d.levels[d.depth-1]
	}
	if d.syntax == UnknownSyntax {
		d.syntax = detect(w)
	}
	implicit := d.syntax == ImplicitVRLittleEndian || in.kind == inImplicitItem || in.kind == inImplicitSequence
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	if d.syntax == ExplicitVRBigEndian && !implicit {
		u16, u32 = binary.BigEndian.Uint16, binary.BigEndian.Uint32
	}
	e := Element{Tag: Tag(u16(w))<<16 | Tag(u16(w[2:])), Within: in.tag, Depth: (d.depth + 1) / 2}

	if in.kind >= inSequence || e.Tag>>16 == itemTag>>16 {
		d.delimiter(e.Tag, in, u32(w[4:]))
		d.pos += 8
		return 8, false
	}

	n = 8
	switch {
	case implicit: // PS3.5 section 7.1.3
		e.Length = u32(w[4:])
	default: // PS3.5 section 7.1.2
		e.VR = VR{w[4], w[5]}
		switch {
		case !e.VR.letters():
			d.fail("VR", 4, wire.ErrInvalid)
			return 0, false
		case e.VR.short():
			e.Length = uint32(u16(w[6:]))
		case len(w) < 12:
			return 0, false
		default:
			n, e.Length = 12, u32(w[8:])
		}
	}
	if e.Length != Undefined && d.pos+uint64(n)+uint64(e.Length) > in.end {
		d.fail("Value Length", n-4, wire.ErrTooLong)
		return 0, false
	}

	switch {
	case d.depth == 0 && (e.Tag == PixelData || e.Tag == FloatPixelData || e.Tag == DoubleFloatPixelData):
		d.skip = endless
	case e.Length == Undefined && (e.VR == VR{'O', 'B'} || e.VR == VR{'O', 'W'}): // PS3.5 section A.4
		d.open(inFragments, e.Tag, n, e.Length)
	case e.Length == Undefined && (implicit || e.VR == VR{'U', 'N'}): // PS3.5 section 6.2.2, note 4
		d.open(inImplicitSequence, e.Tag, n, e.Length)
	case e.VR == VR{'S', 'Q'}:
		d.open(inSequence, e.Tag, n, e.Length)
	case e.Length == Undefined:
		d.fail("Value Length", n-4, wire.ErrInvalid) // PS3.5 section 7.1.1
	case implicit && e.isSequence():
		d.open(inImplicitSequence, e.Tag, n, e.Length)
	case e.Length > MaxValue:
		d.skip = uint64(e.Length)
	case len(w) < n+int(e.Length):
		return 0, false
	default:
		e.Value = w[n : n+int(e.Length) : n+int(e.Length)]
		n += int(e.Length)
	}
	if d.err != nil {
		return 0, false
	}
	d.pos += uint64(n)
	if d.skip != endless {
		d.pos += d.skip
	}
	d.elem = e
	return n, true
}

func (e *Element) isSequence() bool {
	for _, t := range sequences {
		if t == e.Tag {
			return true
		}
	}
	return false
}

// delimiter reads what may stand between items (PS3.5 section 7.5).
func (d *DataSet) delimiter(tag Tag, in level, length uint32) {
	switch {
	case tag == itemTag && in.kind == inFragments && length != Undefined:
		d.skip = uint64(length)
		d.pos += d.skip
	case tag == itemTag && in.kind != inFragments && length != Undefined && d.pos+8+uint64(length) > in.end:
		d.fail("Item Length", 4, wire.ErrTooLong)
	case tag == itemTag && in.kind == inSequence:
		d.open(inItem, in.tag, 8, length)
	case tag == itemTag && in.kind == inImplicitSequence:
		d.open(inImplicitItem, in.tag, 8, length)
	case tag == sequenceDelimitation && in.kind >= inSequence && in.end == endless,
		tag == itemDelimitation && in.kind < inSequence && in.end == endless && d.depth > 0:
		d.depth--
	default:
		d.fail("Item", 0, wire.ErrInvalid)
	}
}

// detect tells from an element's first eight bytes how it is encoded: two
// letters where a VR would be, and a group that is small in one byte order only.
func detect(w []byte) Syntax {
	switch {
	case !(VR{w[4], w[5]}).letters():
		return ImplicitVRLittleEndian
	case w[0] == 0 && w[1] != 0:
		return ExplicitVRBigEndian
	}
	return ExplicitVRLittleEndian
}
