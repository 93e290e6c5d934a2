// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package radio reads the frames of proprietary radios: programmers' wands,
// the MICS band, remote controls of pumps. What a frame looks like stands in a
// dialect, a YAML file that lays out its fields and maps its opcodes to
// [device.Command]s, so that a device that nobody standardised needs a file
// and no code. docs/dialects.md describes the language.
//
// [Load] checks a dialect and compiles it; [Dialect.Parse] reads a frame of any
// of them; [Dialect.Append] writes one; [Set.Identify] finds the dialect
// that a frame is of. [Samples] are the dialects of invented devices.
//
// It leaves out modulation, line codes, hopping and encryption: a frame begins
// where a receiver hands it over, in clear. An authentication tag
// is seen and not verified, as nobody but the device has its key.
//
// What is in a frame may be about a patient, and the address of a worn device
// always is: both are for telling frames apart, and are never printed by this
// package.
//
// This API is stable.
package radio

import (
	"math/bits"
	"time"

	"github.com/myelin-health/myelin/device"
)

const name = "radio"

// The bounds of a dialect and of its frames.
const (
	// MaxFrame bounds the bytes of a frame. Radios of implants and pumps send
	// some hundred at most.
	MaxFrame = 2048

	maxFields  = 40  // of the frame, and of the data behind an opcode
	maxOpcodes = 512 // a table of one byte, twice
	maxValues  = 256 // of an enumeration
	maxSync    = 16  // bytes of preamble and of sync
	maxName    = 32
	maxText    = 64 // manufacturer, model, class, band

	// maxPreamble bounds how much of a preamble is passed over.
	maxPreamble = 64

	// maxScaled bounds the bits of a number with a scale: 2^32 times a scale of
	// nine digits fits an int64.
	maxScaled = 32
	maxScale  = 1e9
)

// A Dialect is how one make of device speaks on its own radio. It is read-only
// and safe for concurrent use.
type Dialect struct {
	Name         string // lower-case letters, digits and hyphens
	Manufacturer string
	Model        string
	Class        string // what a nurse would call the device
	Therapies    device.Therapies
	Worn         bool // implanted or worn on the body: its address is patient data
	Radio        Radio

	// Repeats is for how long a sender repeats a frame that was not answered.
	// The same bytes later are a replay, if they had to be fresh.
	Repeats time.Duration

	Opcodes []Opcode // in the order of the file

	preamble, sync []byte
	frame          layout
	byValue        map[uint32]int // index into Opcodes
	opcodeBits     int
	maxData        int // bytes
	proof          int // bits of a frame that are checked, but for sync and opcode
}

// A Radio is where the device transmits. It is information for people.
type Radio struct {
	Band          string
	CarrierHz     int64
	BitsPerSecond int64
}

// A Kind is what a message is.
type Kind uint8

// The kinds of message.
const (
	Unknown   Kind = iota // its opcode is not in the table
	Command               // asks the device for something: see Message.Command
	Delivered             // the device did what Message.Command says
	Answer                // the device answered a command: see Message.Outcome
	Report                // measurements or settings of the patient
	Status                // of the device: battery, signal
	Alarm
	Wake
	Pair
	Identity
	Link // keeps the link going, and means nothing
	kindCount
)

var kinds = [kindCount]string{"", "command", "delivered", "answer", "report", "status", "alarm", "wake", "pair", "identity", "link"}

// String returns the word of the language, or "".
func (k Kind) String() string {
	if k < kindCount {
		return kinds[k]
	}
	return ""
}

// A Direction is who sent a message.
type Direction uint8

// The directions.
const (
	UnknownDirection Direction = iota
	ToDevice
	FromDevice
)

var directions = []string{"", "to-device", "from-device"}

// An Outcome is what an answer says of the command before.
type Outcome uint8

// The outcomes.
const (
	UnknownOutcome Outcome = iota
	Succeeded
	Failed
)

// PatientData is which kinds of patient data a message has in clear.
type PatientData uint16

// The kinds of patient data.
const (
	PatientName PatientData = 1 << iota
	BirthDate
	Sex
	RecordNumber
	PostalAddress
	Telephone
	Visit
	NationalID
	Result         // measurements, settings, diagnoses
	Order          // what is to be done or given
	StaffName      // personal data, not the patient's
	DeviceIdentity // serial number or address of a device that is worn
)

var patientWords = []string{
	"none", "name", "birth-date", "sex", "record-number", "address", "telephone", "visit", "national-id", "result", "order",
	"staff-name", "device-identity",
}

// An Opcode is a row of a dialect's table.
type Opcode struct {
	Name      string
	Value     uint32
	Kind      Kind
	Direction Direction
	Verb      device.Verb    // of a command; NoVerb where a field decides
	Therapy   device.Therapy // that it changes

	data              layout
	verb              int // field that decides the verb, or -1
	value, now, limit reference
	answers           int // index into Opcodes, or -1
	result            int // field that says what came of it, or -1
	outcome           Outcome
	succeeded         []uint64 // values of result
	identity          [4]int   // fields, or -1: as identityKeys
}

// A reference is where a command's quantity comes from. A field counts from
// the first of the frame on, then through those of the data; -1 is the literal.
type reference struct {
	field   int
	literal device.Quantity
}

// A fieldKind is what a field is.
type fieldKind uint8

const (
	noField fieldKind = iota
	constant
	reserved
	opcode
	data
	length
	address
	counter
	nonce
	tag
	checksum
	unsigned
	signed
	bcd
	enumeration
	octets
	text
	ciphertext
	fieldKindCount
)

// fieldKinds is the table of kinds of field.
var fieldKinds = [fieldKindCount]struct {
	name    string
	keys    []string // beside name, kind, at
	most    int      // bits
	octets  bool     // the value is bytes, not a number
	rest    bool     // may take what is left
	inFrame bool     // only in the frame
	content bool     // counts as what a message says
}{
	constant:    {"constant", []string{"hex", "bits", "value"}, 64, false, false, false, false},
	reserved:    {"reserved", []string{"bits", "bytes"}, 64, false, false, false, false},
	opcode:      {"opcode", []string{"bits", "bytes", "order"}, 32, false, false, true, false},
	data:        {"data", nil, 0, true, true, true, false},
	length:      {"length", []string{"bits", "bytes", "order", "counts", "add"}, 32, false, false, false, false},
	address:     {"address", []string{"bits", "bytes", "order", "of", "worn", "temporary", "broadcast"}, 64, false, false, false, true},
	counter:     {"counter", []string{"bits", "bytes", "order", "wraps"}, 64, false, false, false, false},
	nonce:       {"nonce", []string{"bytes"}, 64 * 8, true, false, false, false},
	tag:         {"tag", []string{"bytes"}, 64 * 8, true, false, false, false},
	checksum:    {"checksum", []string{"bits", "bytes", "order", "algorithm", "polynomial", "seed", "reflect_in", "reflect_out", "xor_out", "over"}, 32, false, false, true, false},
	unsigned:    {"unsigned", []string{"bits", "bytes", "order", "scale", "offset", "unit", "none", "patient"}, 64, false, false, false, true},
	signed:      {"signed", []string{"bits", "bytes", "order", "scale", "offset", "unit", "none", "patient"}, 64, false, false, false, true},
	bcd:         {"bcd", []string{"bits", "bytes", "order", "scale", "offset", "unit", "none", "patient"}, 64, false, false, false, true},
	enumeration: {"enumeration", []string{"bits", "bytes", "order", "values", "patient"}, 32, false, false, false, true},
	octets:      {"bytes", []string{"bytes", "patient"}, MaxFrame * 8, true, true, false, true},
	text:        {"text", []string{"bytes", "patient"}, MaxFrame * 8, true, true, false, true},
	ciphertext:  {"ciphertext", []string{"bytes"}, MaxFrame * 8, true, true, false, true},
}

// A field is where some bits stand and what they are. Those of its parts that
// its kind has no key for are zero.
type field struct {
	name   string
	kind   fieldKind
	at     int  // bits from the front; negative: from the end
	bits   int  // 0: what is left
	little bool // the first bit, or of whole bytes the first byte, counts least

	fixed []byte // constant, as it is sent
	value uint64 // constant

	first, last int      // length, checksum: the fields that it is over
	add         int64    // length
	sum         *summing // checksum

	wraps     bool   // counter
	peer      bool   // address: not the device's
	worn      bool   // address: of a peer that is worn
	temporary bool   // address: says nothing in another session
	anycast   bool   // address: broadcast counts
	broadcast uint64 // address

	scale, offset int64 // of numbers: (raw x scale + offset) x 10^exponent
	exponent      int8
	unit          device.Unit
	hasNone       bool
	none          uint64
	values        []enumerated
	patient       PatientData
}

// An enumerated value of an enumeration.
type enumerated struct {
	raw      uint64
	name     string
	quantity device.Quantity
	verb     device.Verb
}

// A layout is fields one behind the other. All have a width but at most one,
// which takes what is left between those before and those behind it.
type layout struct {
	fields []field
	rest   int   // index, or -1
	bytes  int   // of the fields that have a width
	checks []int // the order in which they are read: lengths, checksums, others
}

// start returns where field i begins in n bytes, in bits.
func (l *layout) start(i, n int) int {
	if at := l.fields[i].at; at < 0 {
		return n*8 + at
	}
	return l.fields[i].at
}

// end returns where field i ends in n bytes, in bits.
func (l *layout) end(i, n int) int {
	if i == l.rest {
		return l.start(i, n) + (n-l.bytes)*8
	}
	return l.start(i, n) + l.fields[i].bits
}

// knownBits is how much an opcode being in the table says.
func (d *Dialect) knownBits() int {
	return max(d.opcodeBits-bits.Len(uint(len(d.Opcodes)-1)), 0)
}
