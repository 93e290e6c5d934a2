// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import "github.com/myelin-health/myelin/wire"

// A PDUType is the first byte of a PDU.
type PDUType uint8

// The types of PDU (PS3.8 section 9.3.1).
const (
	AssociateRQ PDUType = 1 + iota
	AssociateAC
	AssociateRJ
	PDataTF
	ReleaseRQ
	ReleaseRP
	Abort
)

var pduTypes = [...]string{
	"", "A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "A-ASSOCIATE-RJ", "P-DATA-TF",
	"A-RELEASE-RQ", "A-RELEASE-RP", "A-ABORT",
}

func (t PDUType) String() string {
	if int(t) < len(pduTypes) {
		return pduTypes[t]
	}
	return ""
}

const (
	// pduHeader is PDU-type, a reserved byte and PDU-length.
	pduHeader = 6
	// maxAssociate bounds an A-ASSOCIATE PDU, which is read whole. The 128
	// presentation contexts that there can be, with four transfer syntaxes of
	// 64 characters each, take 128 x (4+4 + 5x68) = 45 KB.
	maxAssociate = 64 << 10
)

// A PresentationContext is one presentation context item (PS3.8 sections
// 9.3.2.2 and 9.3.3.2). The slices alias the input.
type PresentationContext struct {
	ID               uint8  // odd
	Result           uint8  // in an A-ASSOCIATE-AC: 0 is acceptance
	AbstractSyntax   []byte // in an A-ASSOCIATE-RQ: the SOP class
	TransferSyntaxes [][]byte
}

// A Role is an SCP/SCU role selection sub-item (PS3.7 annex D.3.3.4).
type Role struct {
	SOPClass []byte
	SCU, SCP bool
}

// The types of user identity (PS3.7 annex D.3.3.7.1).
const (
	UserName = 1 + iota
	UserNamePasscode
	KerberosTicket
	SAMLAssertion
	JSONWebToken
)

// An Association is an A-ASSOCIATE-RQ or A-ASSOCIATE-AC PDU (PS3.8 sections
// 9.3.2 and 9.3.3). The slices alias the input.
type Association struct {
	Type               PDUType
	ProtocolVersion    uint16
	CalledAETitle      []byte // without padding; in an A-ASSOCIATE-AC an echo that nobody tests
	CallingAETitle     []byte
	ApplicationContext []byte
	Contexts           []PresentationContext

	// User information (PS3.8 annex D.1, PS3.7 annex D.3.3).
	MaximumLength             uint32 // of a P-DATA-TF PDU's variable field; 0 is no limit
	ImplementationClassUID    []byte
	ImplementationVersionName []byte
	OperationsInvoked         uint16 // asynchronous window; 0 is no limit, valid iff AsynchronousWindow
	OperationsPerformed       uint16
	AsynchronousWindow        bool
	Roles                     []Role
	UserIdentityType          uint8 // 0 is none; the identity itself is not kept
	Password                  bool  // a passcode that is not empty came with it
	PositiveResponse          bool  // an answer to the identity is asked for, or, in an A-ASSOCIATE-AC, given
}

// Parse reads one A-ASSOCIATE-RQ or A-ASSOCIATE-AC from the front of b and
// returns its length. The memory of a is used again. On error a holds what was
// read so far.
func (a *Association) Parse(b []byte) (int, error) {
	*a = Association{Contexts: a.Contexts[:0], Roles: a.Roles[:0]}
	c := wire.NewCursor("dicom", b)
	a.Type = PDUType(c.Uint8("PDU-type"))
	if c.Ok() && a.Type != AssociateRQ && a.Type != AssociateAC {
		c.FailAt("PDU-type", 0, wire.ErrInvalid)
	}
	c.Skip("Reserved", 1)
	n := c.Uint32("PDU-length")
	if n > maxAssociate {
		c.FailAt("PDU-length", 2, wire.ErrTooLong)
	}
	p := c.Sub("A-ASSOCIATE", int(n))
	a.ProtocolVersion = p.Uint16("Protocol-version")
	if p.Ok() && a.ProtocolVersion&1 == 0 { // PS3.8 section 9.3.2: only bit 0 is tested
		p.FailAt("Protocol-version", pduHeader, wire.ErrInvalid)
	}
	p.Skip("Reserved", 2)
	a.CalledAETitle = trim(p.Bytes("Called-AE-title", 16))
	a.CallingAETitle = trim(p.Bytes("Calling-AE-title", 16))
	p.Skip("Reserved", 32)
	for p.Len() > 0 { // each round reads at least the four bytes of an item's header
		typ, item := item(&p, "Variable items")
		switch typ {
		case 0x10:
			a.ApplicationContext = uid(item.Rest())
		case 0x20, 0x21:
			a.Contexts = append(a.Contexts, presentationContext(&item))
		case 0x50:
			a.userInformation(&item)
		}
		adopt(&p, &item)
	}
	if err := p.Err(); err != nil {
		return 0, err
	}
	return c.Off(), c.Err()
}

// item reads the header that every item and sub-item has (PS3.8 section
// 9.3.2.1): type, reserved byte, length.
func item(c *wire.Cursor, field string) (typ uint8, body wire.Cursor) {
	typ = c.Uint8(field)
	c.Skip("Reserved", 1)
	n := c.Uint16("Item-length")
	return typ, c.Sub(field, int(n))
}

// adopt makes a failure inside an item one of what holds the item.
func adopt(outer, inner *wire.Cursor) {
	if e, ok := inner.Err().(*wire.SyntaxError); ok {
		outer.FailAt(e.Field, e.Off, e.Err)
	}
}

func presentationContext(c *wire.Cursor) (pc PresentationContext) {
	pc.ID = c.Uint8("Presentation-context-ID")
	if c.Ok() && pc.ID&1 == 0 { // PS3.8 section 9.3.2.2
		c.FailAt("Presentation-context-ID", c.Off()-1, wire.ErrInvalid)
	}
	c.Skip("Reserved", 1)
	pc.Result = c.Uint8("Result/Reason")
	c.Skip("Reserved", 1)
	for c.Len() > 0 {
		typ, sub := item(c, "Abstract/Transfer Syntax Sub-Items")
		switch typ {
		case 0x30:
			pc.AbstractSyntax = uid(sub.Rest())
		case 0x40:
			pc.TransferSyntaxes = append(pc.TransferSyntaxes, uid(sub.Rest()))
		}
		adopt(c, &sub)
	}
	return pc
}

func (a *Association) userInformation(c *wire.Cursor) {
	for c.Len() > 0 {
		typ, sub := item(c, "User-data")
		switch typ {
		case 0x51: // PS3.8 annex D.1.1
			a.MaximumLength = sub.Uint32("Maximum-length-received")
		case 0x52: // PS3.7 annex D.3.3.2
			a.ImplementationClassUID = uid(sub.Rest())
		case 0x53: // PS3.7 annex D.3.3.3
			a.AsynchronousWindow = true
			a.OperationsInvoked = sub.Uint16("Maximum-number-operations-invoked")
			a.OperationsPerformed = sub.Uint16("Maximum-number-operations-performed")
		case 0x54: // PS3.7 annex D.3.3.4
			n := sub.Uint16("UID-length")
			r := Role{SOPClass: uid(sub.Bytes("SOP-class-uid", int(n)))}
			r.SCU = sub.Uint8("SCU-role") == 1
			r.SCP = sub.Uint8("SCP-role") == 1
			a.Roles = append(a.Roles, r)
		case 0x55: // PS3.7 annex D.3.3.2.3
			a.ImplementationVersionName = trim(sub.Rest())
		case 0x58: // PS3.7 annex D.3.3.7.1
			a.UserIdentityType = sub.Uint8("User-Identity-Type")
			a.PositiveResponse = sub.Uint8("Positive-response-requested") == 1
			n := sub.Uint16("Primary-field-length")
			sub.Skip("Primary-field", int(n))
			n = sub.Uint16("Secondary-field-length")
			sub.Skip("Secondary-field", int(n))
			a.Password = sub.Ok() && a.UserIdentityType == UserNamePasscode && n > 0
		case 0x59: // PS3.7 annex D.3.3.7.2
			a.PositiveResponse = true
		}
		adopt(c, &sub)
	}
}

// A Control is a PDU without data: A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP
// or A-ABORT (PS3.8 sections 9.3.4 and 9.3.6 to 9.3.8).
type Control struct {
	Type   PDUType
	Result uint8 // of A-ASSOCIATE-RJ: 1 permanent, 2 transient
	Source uint8 // of A-ASSOCIATE-RJ and A-ABORT
	Reason uint8 // of A-ASSOCIATE-RJ and A-ABORT
}

// controlLength is the length of each of them: ten bytes.
const controlLength = pduHeader + 4

// ParseControl reads one such PDU from the front of b and returns its length.
func ParseControl(b []byte) (p Control, n int, err error) {
	c := wire.NewCursor("dicom", b)
	p.Type = PDUType(c.Uint8("PDU-type"))
	if c.Ok() && p.Type != AssociateRJ && (p.Type < ReleaseRQ || p.Type > Abort) {
		c.FailAt("PDU-type", 0, wire.ErrInvalid)
	}
	c.Skip("Reserved", 1)
	if l := c.Uint32("PDU-length"); c.Ok() && l != controlLength-pduHeader {
		c.FailAt("PDU-length", 2, wire.ErrInvalid)
	}
	c.Skip("Reserved", 1)
	p.Result = c.Uint8("Result")
	p.Source = c.Uint8("Source")
	p.Reason = c.Uint8("Reason/Diag.")
	if p.Type != AssociateRJ { // reserved bytes, not tested
		p.Result = 0
	}
	if p.Type == ReleaseRQ || p.Type == ReleaseRP {
		p.Source, p.Reason = 0, 0
	}
	return p, c.Off(), c.Err()
}

// trim removes what pads a text value: spaces, and the NUL that some put there.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b[:len(b):len(b)]
}

// uid removes the NUL that pads a UID to an even length (PS3.5 section 9.1),
// and the space that some use.
func uid(b []byte) []byte { return trim(b) }
