// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import "iter"

// A Designator is a hierarchic designator (HD, v2.7 section 2.A.33): the name
// of an application, facility or authority.
type Designator struct {
	Namespace       Value // HD-1
	UniversalID     Value // HD-2
	UniversalIDType Value // HD-3: "EUI-64", "ISO", "DNS" ...
}

// EUI64 returns the designator's EUI-64 as sixteen hexadecimal digits, or "".
func (d Designator) EUI64() string { return eui64(d.UniversalID, d.UniversalIDType) }

func designator(v Value) Designator {
	var c [3]Value
	split(v.Repetition(0).b, v.d.Component, v.d, c[:])
	return Designator{c[0], c[1], c[2]}
}

// An EntityID is an entity identifier (EI, v2.7 section 2.A.28).
type EntityID struct {
	ID              Value // EI-1
	Namespace       Value // EI-2
	UniversalID     Value // EI-3
	UniversalIDType Value // EI-4
}

func entityID(v Value) EntityID {
	var c [4]Value
	split(v.Repetition(0).b, v.d.Component, v.d, c[:])
	return EntityID{c[0], c[1], c[2], c[3]}
}

// IsEmpty reports whether nothing is identified.
func (e EntityID) IsEmpty() bool { return e.ID.IsEmpty() && e.UniversalID.IsEmpty() }

// EUI64 returns the entity's own EUI-64 as sixteen hexadecimal digits, or "".
// EI-3 is that of the authority that gave the id and names the entity itself
// only where EI-1 says nothing else (PCD TF-2 section B.8, OBX-18).
func (e EntityID) EUI64() string {
	if e.ID.IsEmpty() {
		return eui64(e.UniversalID, e.UniversalIDType)
	}
	if !isEUI64Type(e.UniversalIDType) {
		return ""
	}
	return eui64(e.ID, e.UniversalIDType)
}

// Name returns the entity's id as the sender gives it: its EUI-64, EI-1, or,
// in the deprecated form of PCD TF-2 section 3.3.4.4.9, EI-3. It is "" when
// there is none.
func (e EntityID) Name() string {
	if s := e.EUI64(); s != "" {
		return s
	}
	if !e.ID.IsEmpty() {
		return text(e.ID, maxID)
	}
	return text(e.UniversalID, maxID)
}

// Unique returns a name that no other entity has: the EUI-64, or EI-1 behind
// the authority that gave it ("0012210000000000/P7700"). It is "" when the
// sender names no authority: such an id is unique only to its sender.
func (e EntityID) Unique() string {
	if s := e.EUI64(); s != "" {
		return s
	}
	switch {
	case e.UniversalID.IsEmpty() || e.UniversalIDType.IsEmpty():
		return ""
	case e.ID.IsEmpty(): // deprecated: EI-3 is the id and EI-4 the manufacturer
		return text(e.UniversalIDType, maxID) + "/" + text(e.UniversalID, maxID)
	}
	authority := eui64(e.UniversalID, e.UniversalIDType)
	if authority == "" {
		authority = text(e.UniversalID, maxID)
	}
	return authority + "/" + text(e.ID, maxID)
}

// maxID bounds an id as text; EI-1 and EI-3 are 199 characters at most (v2.6
// section 2.A.28).
const maxID = 199

// text decodes v, without blanks around it and cut to n bytes.
func text(v Value, n int) string {
	if v.IsEmpty() {
		return ""
	}
	var buf [maxID]byte
	b := v.AppendText(buf[:0])
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	b = b[:min(n, len(b))]
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return string(b)
}

// eui64 returns id as sixteen upper-case hexadecimal digits, the form that PCD
// TF-2 section C.5 asks for, when typ says EUI-64; else "". Hyphens, colons
// and blanks between the digits are passed over.
func eui64(id, typ Value) string {
	if !isEUI64Type(typ) {
		return ""
	}
	var out [16]byte
	n := 0
	for _, c := range id.Raw() {
		switch _, hex := hexDigit(c); {
		case c == '-' || c == ':' || c == ' ':
			continue
		case !hex || n == len(out):
			return ""
		case c >= 'a':
			c -= 'a' - 'A'
		}
		out[n] = c
		n++
	}
	if n != len(out) {
		return ""
	}
	return string(out[:])
}

// isEUI64Type reports whether v is "EUI-64", of which real messages have a few spellings.
func isEUI64Type(v Value) bool {
	const want = "eui64"
	n := 0
	for _, c := range v.Raw() {
		if c == '-' || c == ' ' || c == '_' {
			continue
		}
		if n == len(want) || lower(c) != want[n] {
			return false
		}
		n++
	}
	return n == len(want)
}

// A Coded is a coded element (CWE, v2.7 section 2.A.13; CE before v2.6).
type Coded struct {
	Identifier    Value // CWE-1
	Text          Value // CWE-2
	System        Value // CWE-3: "MDC", "UCUM", "LN" ...
	AltIdentifier Value // CWE-4
	AltText       Value // CWE-5
	AltSystem     Value // CWE-6
}

func coded(v Value) Coded { return codedBy(v.Repetition(0), v.d.Component) }

// codedSub is [coded] where the element is a component (TQ1-13.2).
func codedSub(v Value) Coded { return codedBy(v, v.d.Subcomponent) }

func codedBy(v Value, sep byte) Coded {
	var c [6]Value
	split(v.b, sep, v.d, c[:])
	return Coded{c[0], c[1], c[2], c[3], c[4], c[5]}
}

// In returns the code and text of the element in a coding system, first or
// alternate, or empty values.
func (c Coded) In(system string) (identifier, text Value) {
	switch {
	case equalFold(c.System.b, system):
		return c.Identifier, c.Text
	case equalFold(c.AltSystem.b, system):
		return c.AltIdentifier, c.AltText
	}
	return Value{}, Value{}
}

// MDC returns the element's ISO/IEEE 11073-10101 code, context-free (block x
// 65536 + term, PCD TF-2 section A.1), and its reference id. A term without a
// code yet is sent with code 0 and told by its reference id.
func (c Coded) MDC() (code uint32, refID Value) {
	id, text := c.In("MDC")
	for i, d := range id.b {
		if d < '0' || d > '9' || i > 8 {
			return 0, text
		}
		code = code*10 + uint32(d-'0')
	}
	return code, text
}

// A Header is what MSH says (v2.7 section 2.14.9, PCD TF-2 section B.1).
type Header struct {
	SendingApplication   Designator // MSH-3
	SendingFacility      Designator // MSH-4
	ReceivingApplication Designator // MSH-5
	ReceivingFacility    Designator // MSH-6
	Time                 Value      // MSH-7
	Code                 Value      // MSH-9.1: "ORU"
	Trigger              Value      // MSH-9.2: "R01"
	Structure            Value      // MSH-9.3: "ORU_R01"
	ControlID            Value      // MSH-10
	ProcessingID         Value      // MSH-11.1: P production, T training, D debugging
	Version              Value      // MSH-12.1
	Continuation         Value      // MSH-14
	AcceptAck            Value      // MSH-15: AL, NE, ER, SU; empty in original mode
	ApplicationAck       Value      // MSH-16
	CharacterSet         Value      // MSH-18
	Profiles             Value      // MSH-21, every repetition
}

// Header reads MSH.
func (m *Message) Header() Header {
	var f [22]Value // by number, MSH-1 and MSH-2 aside
	if s := m.Segment("MSH"); len(s.b) > 4 {
		split(s.b[4:], s.d.Field, s.d, f[2:])
	}
	return Header{
		designator(f[3]), designator(f[4]), designator(f[5]), designator(f[6]),
		f[7], f[9].Component(1), f[9].Component(2), f[9].Component(3), f[10],
		f[11].Component(1), f[12].Component(1), f[14], f[15], f[16], f[18], f[21],
	}
}

// Enhanced reports whether the sender asks for the enhanced mode of
// acknowledgement (v2.7 section 2.9.3): MSH-15 or MSH-16 says something.
func (h Header) Enhanced() bool { return !h.AcceptAck.IsEmpty() || !h.ApplicationAck.IsEmpty() }

// A Kind is what a message is for, as far as it concerns us.
type Kind uint8

// The kinds of message.
const (
	OtherKind       Kind = iota
	Admission            // ADT: admission, transfer, demographics (chapter 3)
	Observations         // ORU, OUL: results that are not of an IHE PCD transaction (chapter 7)
	PCD01                // Communicate PCD Data (PCD TF-2 section 3.1)
	PCD04                // Report Alert (section 3.4)
	PCD09                // Communicate IDC Observations, of implants (section 3.9)
	PCD10                // Communicate Infusion Event Data (IPEC supplement)
	PCD03                // Communicate Infusion Order (section 3.3)
	Order                // ORM, OMG, OML, RDE ...: orders to people and departments (chapter 4)
	Query                // QBP, QRY, QVR: asks for records (chapter 5)
	Response             // RSP, ADR, ORF ...: the records asked for
	Acknowledgement      // ACK, and RRG^O16, the answer to PCD-03
	kindCount
)

var kinds = [kindCount]string{
	"", "ADT", "ORU", "PCD-01", "PCD-04", "PCD-09", "PCD-10", "PCD-03", "order", "query", "response", "ACK",
}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// codes gives a kind to message codes (table 0076).
var codes = map[string]Kind{
	"ADT": Admission,
	"ORU": Observations, "OUL": Observations, "OPU": Observations,
	"ORM": Order, "OMG": Order, "OML": Order, "OMP": Order, "OMI": Order, "OMN": Order, "OMS": Order, "OMD": Order,
	"RDE": Order, "RDS": Order, "RGV": Order, "RAS": Order, "OPL": Order,
	"QBP": Query, "QRY": Query, "QVR": Query, "QSB": Query,
	"RSP": Response, "RTB": Response, "RDY": Response, "ADR": Response, "ORF": Response,
	"ACK": Acknowledgement, "MCF": Acknowledgement, "RRG": Acknowledgement, "ORR": Acknowledgement, "ORA": Acknowledgement,
}

// profiles are the object identifiers of IHE PCD's messages (PCD TF-2 section
// B.1, MSH-21), of which the transaction is the last number but one.
const profiles = "1.3.6.1.4.1.19376.1.6.1."

// Kind says what the message is for. Alerts, events and infusion orders have a
// trigger of their own; PCD-01 and PCD-09 are told from other ORU^R01 by the
// profile in MSH-21, and, where a sender leaves that out, PCD-01 by a first
// observation that has an MDC code and its place in a device (OBX-4).
func (m *Message) Kind() Kind {
	h := m.Header()
	kind := codes[string(h.Code.b)]
	switch {
	case h.Code.Is("RGV") && (h.Trigger.Is("O15") || h.Trigger.IsEmpty()): // section 3.3.4.2
		return PCD03
	case !h.Code.Is("ORU"):
		return kind
	case h.Trigger.Is("R40"): // section 3.4.4.1
		return PCD04
	case h.Trigger.Is("R42"):
		return PCD10
	}
	for p := range h.Profiles.Repetitions() {
		switch name, oid := p.Component(1), p.Component(3); {
		case oid.Is(profiles + "9.1"):
			return PCD09
		case oid.Is(profiles + "1.1"), name.Is("IHE_PCD_001"), name.Is("PCD_DEC_001"), name.Is("IHE_PCD_ORU_R01"):
			return PCD01
		}
	}
	for s := range m.Segments() {
		if string(s.ID()) != "OBX" {
			continue
		}
		o := ReadObservation(s)
		code, _ := o.ID.MDC()
		switch _, depth := o.Containment(); {
		case code>>16 == idcBlock:
			return PCD09
		case code != 0 && depth >= 4:
			return PCD01
		}
		break
	}
	return kind
}

// idcBlock is the code block of implanted cardiac devices (IEEE 11073-10103):
// MDC_IDC_DEV_TYPE is 720897.
const idcBlock = 720897 >> 16

// An Answer is what MSA says of a message received (v2.7 section 2.14.8).
type Answer struct {
	Code      Value // MSA-1, table 0008: AA, AE, AR; CA, CE, CR
	ControlID Value // MSA-2: MSH-10 of the message answered
}

// Accepted reports whether the message was accepted or is refused. Neither
// for a code that is not of the standard.
func (a Answer) Accepted() (accepted, refused bool) {
	switch string(a.Code.b) {
	case "AA", "CA":
		return true, false
	case "AE", "AR", "CE", "CR":
		return false, true
	}
	return false, false
}

// Answer reads MSA; ok is false when the message answers none.
func (m *Message) Answer() (a Answer, ok bool) {
	s := m.Segment("MSA")
	return Answer{s.Field(1), s.Field(2)}, len(s.b) > 0
}

// A Failure is what ERR says is wrong (v2.7 section 2.14.5, PCD TF-2 section
// B.3).
type Failure struct {
	Location Value // ERR-2: segment, sequence, field, repetition, component
	Code     Coded // ERR-3, table 0357
	Severity Value // ERR-4: E error, F fatal, I information, W warning
	Reason   Coded // ERR-5, the application's own
}

// Failures yields what every ERR segment says.
func (m *Message) Failures() iter.Seq[Failure] {
	return func(yield func(Failure) bool) {
		for s := range m.Segments() {
			if string(s.ID()) == "ERR" && !yield(Failure{s.Field(2), coded(s.Field(3)), s.Field(4), coded(s.Field(5))}) {
				return
			}
		}
	}
}

// Software is what SFT says of a program that had part in the message (v2.7
// section 2.14.12): the sender first.
type Software struct {
	Vendor  Value // SFT-1.1
	Version Value // SFT-2
	Product Value // SFT-3
}

// Software reads the first SFT segment; its values are empty when there is none.
func (m *Message) Software() Software {
	s := m.Segment("SFT")
	return Software{s.Field(1).Component(1), s.Field(2), s.Field(3)}
}
