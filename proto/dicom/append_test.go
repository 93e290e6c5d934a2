// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppendAssociation(t *testing.T) {
	var a Association
	if _, err := a.Parse(request()); err != nil {
		t.Fatal(err)
	}
	var again Association
	b := a.Append(nil)
	if n, err := again.Parse(b); err != nil || n != len(b) {
		t.Fatalf("%d of %d bytes, %v", n, len(b), err)
	}
	a.UserIdentityType, a.Password, a.PositiveResponse = 0, false, false // of which no more is known
	if d := cmp.Diff(a, again); d != "" {
		t.Error(d)
	}
}

// TestAppendRevised takes a context out of a request, and leaves what this
// package does not read as it is.
func TestAppendRevised(t *testing.T) {
	in := request()
	var a, revised Association
	a.Parse(in)
	if same := AppendRevised([]byte("x"), in, a.Contexts, 0); !bytes.Equal(same[1:], in) {
		t.Error("nothing was to change, and something did")
	}
	out := AppendRevised(nil, in, a.Contexts[1:], 65536)
	if n, err := revised.Parse(out); err != nil || n != len(out) {
		t.Fatalf("%d of %d bytes, %v", n, len(out), err)
	}
	if len(revised.Contexts) != 1 || revised.Contexts[0].ID != 3 || revised.MaximumLength != 65536 || revised.UserIdentityType != UserNamePasscode {
		t.Errorf("%+v", revised)
	}
	if !bytes.Contains(out, []byte("skipped")) || !bytes.Contains(out, []byte("unknown")) || !bytes.Contains(out, []byte("secret")) {
		t.Error("what is not read has gone")
	}
	bare := associate(AssociateRQ, "A", "B", proposed(1, ctStorage, implicitLE), subItem(0x50, subItem(0x55, []byte("X"))))
	out = AppendRevised(nil, bare, nil, 4096)
	if _, err := revised.Parse(out); err != nil || len(revised.Contexts) != 0 || revised.MaximumLength != 4096 || string(revised.ImplementationVersionName) != "X" {
		t.Errorf("%v: %+v", err, revised)
	}
}

func TestAppendControl(t *testing.T) {
	for _, p := range []Control{{AssociateRJ, 1, 1, 7}, {ReleaseRQ, 0, 0, 0}, {ReleaseRP, 0, 0, 0}, {Abort, 0, 2, 6}} {
		b := p.Append(nil)
		if again, n, err := ParseControl(b); again != p || n != len(b) || err != nil {
			t.Errorf("%+v: %+v, %d bytes, %v", p, again, n, err)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	for _, c := range []Command{
		{Field: CStoreRQ, MessageID: 7, SOPClass: MakeShort(ctStorage), SOPInstance: MakeShort("1.2.3"), Priority: 2, DataSet: true, MoveOriginator: MakeShort("VIEW1"), MoveOriginatorMessageID: 3},
		{Field: CMoveRQ, MessageID: 1, SOPClass: MakeShort(studyFind), MoveDestination: MakeShort("XFER1"), DataSet: true},
		{Field: CMoveRQ | response, MessageIDBeingRespondedTo: 1, SOPClass: MakeShort(studyFind), Status: 0xA801, Completed: 2, Failed: 1},
		{Field: NActionRQ, MessageID: 1, SOPClass: MakeShort("1.2.840.10008.1.20.1"), SOPInstance: MakeShort("1.2.840.10008.1.20.1.1"), ActionTypeID: 1, DataSet: true},
		{Field: NEventReportRQ, MessageID: 1, SOPClass: MakeShort("1.2.840.10008.1.20.1"), SOPInstance: MakeShort("1.2.840.10008.1.20.1.1"), EventTypeID: 2, DataSet: true},
		{Field: CCancelRQ, MessageIDBeingRespondedTo: 4},
	} {
		c.complete = true
		b := c.Append(nil)
		for name, parse := range map[string]func([]byte) (Command, error){"ParseCommand": ParseCommand, "ParseStrictly": ParseStrictly} {
			if again, err := parse(b); again != c || err != nil {
				t.Errorf("%s of %v: %+v, %v", name, c.Field.Operation(), again, err)
			}
		}
	}
}

// TestParseStrictly has commands that two readers may understand in two ways.
func TestParseStrictly(t *testing.T) {
	c := Command{Field: CMoveRQ, MessageID: 1, SOPClass: MakeShort(studyFind), MoveDestination: MakeShort("WS1"), DataSet: true}
	good := c.Append(nil)
	element := func(tag Tag, v string) []byte {
		b := binary.LittleEndian.AppendUint16(nil, uint16(tag>>16))
		b = binary.LittleEndian.AppendUint16(b, uint16(tag))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		return append(b, v...)
	}
	length := func(b []byte) []byte { // a right group length
		binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-12))
		return b
	}
	destination := bytes.Index(good, element(0x00000600, "WS1 "))
	replace := func(v string) []byte {
		b := slices.Clone(good[:destination])
		return length(append(append(b, element(0x00000600, v)...), good[destination+12:]...))
	}
	if _, err := ParseStrictly(replace("WS2 ")); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing":                  nil,
		"a second destination":     length(append(slices.Clone(good), element(0x00000600, "XFER1 ")...)),
		"of a data set":            length(append(slices.Clone(good), element(0x00100010, "X^")...)),
		"a NUL in the destination": replace("WS1\x00XFER1 "),
		"two destinations":         replace("WS1\\WS2 "),
		"a long destination":       replace("WS1               "),
		"no group length":          good[12:],
		"a wrong group length":     append(slices.Clone(good), element(0x00001031, "\x01\x00")...),
		"a letter in a UID":        bytes.Replace(good, []byte(studyFind[:8]), []byte("1.2.84O."), 1),
		"cut":                      good[:len(good)-1],
		"both classes":             length(slices.Concat(good[:12], element(2, "1.2\x00"), element(3, "1.3\x00"), good[12+8+len(studyFind)+len(studyFind)&1:])),
	} {
		if _, err := ParseStrictly(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzAppend: what was parsed is the same when it is appended and parsed again.
func FuzzAppend(f *testing.F) {
	f.Add(request())
	f.Add(associate(AssociateAC, "A", "B", accepted(1, 0, explicitLE)))
	f.Add(storeRQ(1, ctStorage, "1.2.3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again Association
		if n, err := a.Parse(b); err == nil {
			if out := a.Append(nil); len(out) <= maxAssociate {
				a.UserIdentityType, a.Password, a.PositiveResponse = 0, false, false
				if m, err := again.Parse(out); err != nil || m != len(out) || !cmp.Equal(a, again) {
					t.Fatal(err, cmp.Diff(a, again))
				}
			}
			out := AppendRevised(nil, b[:n], a.Contexts, 16384)
			if m, err := again.Parse(out); len(out) <= maxAssociate && (err != nil || m != len(out)) {
				t.Fatal(err)
			}
		}
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		if again, err := ParseCommand(c.Append(nil)); err != nil || c != again {
			t.Fatal(err, cmp.Diff(c, again, cmp.AllowUnexported(Command{}, Short{})))
		}
		if strict, err := ParseStrictly(b); err == nil && strict != c {
			t.Fatal("the strict reader understood something else")
		}
	})
}
