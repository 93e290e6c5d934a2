// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/wire"
)

// request is an A-ASSOCIATE-RQ with every sub-item of PS3.7 annex D.3.3.
func request() []byte {
	return associate(AssociateRQ, "ADAPACS", "CT1",
		proposed(1, ctStorage, implicitLE, explicitLE),
		proposed(3, studyFind, implicitLE),
		subItem(0x50,
			subItem(0x51, u32(16384)),
			subItem(0x52, []byte("1.2.276.0.7230010.3.0.3.6.7\x00")),
			subItem(0x53, u16(2), u16(3)),
			subItem(0x54, u16(len(ctStorage)), []byte(ctStorage), []byte{0, 1}),
			subItem(0x55, []byte("HELIA_11 ")),
			subItem(0x56, []byte("skipped")),
			subItem(0x58, []byte{UserNamePasscode, 1}, u16(5), []byte("svc01"), u16(6), []byte("secret")),
			subItem(0x77, []byte("unknown"))))
}

func TestParseAssociation(t *testing.T) {
	b := append(request(), "next"...)
	var a Association
	n, err := a.Parse(b)
	if err != nil || n != len(b)-4 {
		t.Fatalf("%d of %d bytes, %v", n, len(b), err)
	}
	want := Association{
		Type: AssociateRQ, ProtocolVersion: 1,
		CalledAETitle: []byte("ADAPACS"), CallingAETitle: []byte("CT1"), ApplicationContext: []byte(appContext),
		Contexts: []PresentationContext{
			{ID: 1, AbstractSyntax: []byte(ctStorage), TransferSyntaxes: [][]byte{[]byte(implicitLE), []byte(explicitLE)}},
			{ID: 3, AbstractSyntax: []byte(studyFind), TransferSyntaxes: [][]byte{[]byte(implicitLE)}},
		},
		MaximumLength:          16384,
		ImplementationClassUID: []byte("1.2.276.0.7230010.3.0.3.6.7"), ImplementationVersionName: []byte("HELIA_11"),
		OperationsInvoked: 2, OperationsPerformed: 3, AsynchronousWindow: true,
		Roles:            []Role{{SOPClass: []byte(ctStorage), SCP: true}},
		UserIdentityType: UserNamePasscode, Password: true, PositiveResponse: true,
	}
	if d := cmp.Diff(want, a); d != "" {
		t.Error(d)
	}

	ac := associate(AssociateAC, "ADAPACS", "CT1", accepted(1, 0, explicitLE), accepted(3, 4, implicitLE))
	if n, err = a.Parse(ac); err != nil || n != len(ac) {
		t.Fatalf("%d of %d bytes, %v", n, len(ac), err)
	}
	if a.UserIdentityType != 0 || a.Password || len(a.Roles) != 0 || a.ImplementationClassUID != nil {
		t.Errorf("left over from the one before: %+v", a)
	}
	var c Contexts
	c.learn(&a)
	if c.Syntax(1) != ExplicitVRLittleEndian || c.Syntax(3) != UnknownSyntax || c.Syntax(255) != UnknownSyntax {
		t.Errorf("syntaxes %d, %d, %d", c.Syntax(1), c.Syntax(3), c.Syntax(255))
	}
}

func TestParseAssociationErrors(t *testing.T) {
	change := func(b []byte, at int, to ...byte) []byte { copy(b[at:], to); return b }
	user := func(b ...[]byte) []byte { return associate(AssociateRQ, "A", "B", subItem(0x50, b...)) }
	const items = applicationContextOff + 4 + len(appContext) // where the items begin
	tests := []struct {
		name  string
		in    []byte
		field string
		off   int
		want  error
	}{
		{"nothing", nil, "PDU-type", 0, wire.ErrTruncated},
		{"another PDU", pdu(ReleaseRQ, u32(0)), "PDU-type", 0, wire.ErrInvalid},
		{"one byte", []byte{1}, "Reserved", 1, wire.ErrTruncated},
		{"cut in the length", request()[:5], "PDU-length", 2, wire.ErrTruncated},
		{"cut in the titles", request()[:30], "A-ASSOCIATE", 6, wire.ErrTruncated},
		{"too long", change(request(), 2, 0, 1, 0, 1), "PDU-length", 2, wire.ErrTooLong},
		{"4 GiB", change(request(), 2, 255, 255, 255, 255), "PDU-length", 2, wire.ErrTooLong},
		{"no titles", pdu(AssociateRQ, u16(1), u16(0)), "Called-AE-title", 10, wire.ErrTruncated},
		{"protocol version 2 only", change(request(), 6, 0, 2), "Protocol-version", 6, wire.ErrInvalid},
		{"item longer than the PDU", associate(AssociateRQ, "A", "B", []byte{0x20, 0, 0, 5, 1, 0, 0, 0}), "Variable items", items + 4, wire.ErrTruncated},
		{"half an item", associate(AssociateRQ, "A", "B", []byte{0x20, 0, 0}), "Item-length", items + 2, wire.ErrTruncated},
		{"even context", associate(AssociateRQ, "A", "B", proposed(2, ctStorage, implicitLE)), "Presentation-context-ID", items + 4, wire.ErrInvalid},
		{"empty context", associate(AssociateRQ, "A", "B", subItem(0x20)), "Presentation-context-ID", items + 4, wire.ErrTruncated},
		{"sub-item longer than its context", associate(AssociateRQ, "A", "B", subItem(0x20, []byte{1, 0, 0, 0, 0x30, 0, 0, 9, 'x'})), "Abstract/Transfer Syntax Sub-Items", items + 12, wire.ErrTruncated},
		{"short maximum length", user(subItem(0x51, []byte{1})), "Maximum-length-received", items + 8, wire.ErrTruncated},
		{"short window", user(subItem(0x53, []byte{1})), "Maximum-number-operations-invoked", items + 8, wire.ErrTruncated},
		{"role's UID longer than the role", user(subItem(0x54, u16(9), []byte("1.2"))), "SOP-class-uid", items + 10, wire.ErrTruncated},
		{"identity longer than its item", user(subItem(0x58, []byte{2, 0}, u16(9), []byte("svc01"))), "Primary-field", items + 12, wire.ErrTruncated},
		{"no passcode", user(subItem(0x58, []byte{2, 0}, u16(1), []byte("s"))), "Secondary-field-length", items + 13, wire.ErrTruncated},
	}
	for _, tt := range tests {
		var a Association
		n, err := a.Parse(tt.in)
		var s *wire.SyntaxError
		if !errors.As(err, &s) || s.Field != tt.field || s.Off != tt.off || !errors.Is(err, tt.want) || n != 0 {
			t.Errorf("%s: %v, want %s at byte %d: %v", tt.name, err, tt.field, tt.off, tt.want)
		}
	}
	for n := range request() {
		var a Association
		if _, err := a.Parse(request()[:n]); !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
}

func TestPassword(t *testing.T) {
	for _, tt := range []struct {
		typ      byte
		passcode string
		want     bool
	}{{UserName, "", false}, {UserName, "x", false}, {UserNamePasscode, "", false}, {UserNamePasscode, "x", true}, {JSONWebToken, "x", false}} {
		var a Association
		if _, err := a.Parse(associate(AssociateRQ, "A", "B", subItem(0x50,
			subItem(0x58, []byte{tt.typ, 0}, u16(1), []byte("u"), u16(len(tt.passcode)), []byte(tt.passcode))))); err != nil || a.Password != tt.want {
			t.Errorf("type %d, passcode of %d bytes: %t, %v", tt.typ, len(tt.passcode), a.Password, err)
		}
	}
}

// PS3.8 tables 9-21, 9-24, 9-25 and 9-26.
func TestParseControl(t *testing.T) {
	for _, tt := range []struct {
		in   []byte
		want Control
		err  error
	}{
		{[]byte{3, 0, 0, 0, 0, 4, 0, 1, 1, 7}, Control{AssociateRJ, 1, 1, 7}, nil},
		{[]byte{5, 0, 0, 0, 0, 4, 0, 0, 0, 0}, Control{Type: ReleaseRQ}, nil},
		{[]byte{6, 0, 0, 0, 0, 4, 9, 9, 9, 9, 9}, Control{Type: ReleaseRP}, nil},
		{[]byte{7, 0, 0, 0, 0, 4, 0, 9, 2, 1}, Control{Type: Abort, Source: 2, Reason: 1}, nil},
		{[]byte{4, 0, 0, 0, 0, 4, 0, 0, 0, 0}, Control{Type: PDataTF}, wire.ErrInvalid},
		{[]byte{8, 0, 0, 0, 0, 4, 0, 0, 0, 0}, Control{Type: 8}, wire.ErrInvalid},
		{[]byte{7, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, Control{Type: Abort}, wire.ErrInvalid},
		{[]byte{7, 0, 0, 0, 0, 4, 0, 0, 2}, Control{Type: Abort, Source: 2}, wire.ErrTruncated},
		{nil, Control{}, wire.ErrTruncated},
	} {
		got, n, err := ParseControl(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) || err == nil && n != 10 {
			t.Errorf("% x: %+v, %d, %v", tt.in, got, n, err)
		}
	}
}

func TestRecognise(t *testing.T) {
	command := pdu(PDataTF, pdv(1, isCommand|isLast, storeRQ(1, ctStorage, "1.2.3")))
	for _, tt := range []struct {
		name string
		in   []byte
		want wire.Match
	}{
		{"request", request(), wire.SureMatch},
		{"accept", associate(AssociateAC, "A", "B"), wire.SureMatch},
		{"accept with zero titles", pdu(AssociateAC, u16(1), make([]byte, 66), subItem(0x10, []byte(appContext))), wire.SureMatch},
		{"first bytes of a request", request()[:80], wire.NeedMore},
		{"items in another order", pdu(AssociateRQ, u16(1), u16(0), title16("A"), title16("B"), make([]byte, 32), proposed(1, ctStorage, implicitLE)), wire.WeakMatch},
		{"request with wrong titles", pdu(AssociateRQ, u16(1), u16(0), make([]byte, 64), proposed(1, ctStorage, implicitLE)), wire.NoMatch},
		{"version 2", pdu(AssociateRQ, u16(2), make([]byte, 90)), wire.NoMatch},
		{"too short", pdu(AssociateRQ, u16(1), make([]byte, 10)), wire.NoMatch},
		{"too long", pdu(AssociateRQ, make([]byte, maxAssociate+1)), wire.NoMatch},
		{"reject", []byte{3, 0, 0, 0, 0, 4, 0, 1, 1, 7}, wire.WeakMatch},
		{"release", []byte{5, 0, 0, 0, 0, 4, 0, 0, 0, 0}, wire.WeakMatch},
		{"abort of five bytes", []byte{7, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, wire.NoMatch},
		{"command", command, wire.SureMatch},
		{"data", pdu(PDataTF, pdv(1, isLast, object(ImplicitVRLittleEndian, 0))), wire.WeakMatch},
		{"data in an even context", pdu(PDataTF, pdv(2, isLast, object(ImplicitVRLittleEndian, 0))), wire.NoMatch},
		{"control header 4", pdu(PDataTF, pdv(1, 4, object(ImplicitVRLittleEndian, 0))), wire.NoMatch},
		{"lengths that differ", pdu(PDataTF, pdv(1, 0, make([]byte, 50)), make([]byte, 9)), wire.NoMatch},
		{"command without group length", pdu(PDataTF, pdv(1, isCommand, make([]byte, 50))), wire.NoMatch},
		{"P-DATA without data", pdu(PDataTF), wire.NoMatch},
		{"TPKT", []byte{3, 0, 0, 0x13, 0x0e, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8}, wire.NoMatch},
		{"TLS", []byte{0x16, 3, 1, 0, 0x60, 1}, wire.NoMatch},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), wire.NoMatch},
		{"nothing", nil, wire.NeedMore},
		{"one byte", []byte{4}, wire.NeedMore},
	} {
		if got := Recognise(tt.in); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for n := range command[:20] {
		if got := Recognise(command[:n]); got != wire.NeedMore {
			t.Errorf("first %d bytes of a command: %d", n, got)
		}
	}
	b := request()
	if n := testing.AllocsPerRun(100, func() { Recognise(b); Recognise(command) }); n != 0 {
		t.Errorf("Recognise allocates %v times", n)
	}
}

func TestNames(t *testing.T) {
	for uid, want := range map[string]Syntax{
		"": UnknownSyntax, implicitLE: ImplicitVRLittleEndian, explicitLE: ExplicitVRLittleEndian, explicitBE: ExplicitVRBigEndian,
		deflatedLE: DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.50": ExplicitVRLittleEndian,
		"1.2.840.113619.5.2": ImplicitVRLittleEndian, "1.2.840.10008.1.2.4.95": DeflatedExplicitVRLittleEndian,
	} {
		if got := SyntaxOf([]byte(uid)); got != want {
			t.Errorf("%s: %d, want %d", uid, got, want)
		}
	}
	for uid, want := range map[string]Service{
		"": OtherService, "1.2.840.10008.1.1": Verification, "1.2.840.10008.1.1.1": OtherService, ctStorage: Storage,
		"1.2.840.10008.5.1.4.1.1.88.22": ResultStorage, "1.2.840.10008.5.1.4.1.1.9.1.1": ResultStorage, studyFind: QueryRetrieve, studyMove: QueryRetrieve,
		"1.2.840.10008.5.1.4.31": Worklist, "1.2.840.10008.3.1.2.3.3": ProcedureStep, "1.2.840.10008.5.1.4.1.1.": OtherService,
	} {
		if got := ServiceOf([]byte(uid)); got != want {
			t.Errorf("%s: %d, want %d", uid, got, want)
		}
	}
	if AssociateRQ.String() != "A-ASSOCIATE-RQ" || Abort.String() != "A-ABORT" || PDUType(99).String() != "" {
		t.Error("names of PDUs")
	}
}

func FuzzParseAssociation(f *testing.F) {
	f.Add(request())
	f.Add(associate(AssociateAC, "A", "B", accepted(1, 0, explicitLE)))
	f.Add([]byte{3, 0, 0, 0, 0, 4, 0, 1, 1, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again Association
		n, err := a.Parse(b)
		m, err2 := again.Parse(b)
		if n != m || (err == nil) != (err2 == nil) || !cmp.Equal(a, again) {
			t.Fatal("not the same again")
		}
		if n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		for _, pc := range a.Contexts {
			if !bytes.Contains(b, pc.AbstractSyntax) {
				t.Fatal("a slice outside the input")
			}
		}
		_, _, _ = ParseControl(b)
		Recognise(b)
	})
}
