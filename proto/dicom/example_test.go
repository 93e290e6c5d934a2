// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/dicom"
)

// The bytes of a C-ECHO-RQ (PS3.7 table 9.3-12) in its P-DATA-TF PDU.
var echo = []byte("\x04\x00\x00\x00\x00\x4a\x00\x00\x00\x46\x01\x03" + command)

const command = "\x00\x00\x00\x00\x04\x00\x00\x00\x38\x00\x00\x00" +
	"\x00\x00\x02\x00\x12\x00\x00\x001.2.840.10008.1.1\x00" +
	"\x00\x00\x00\x01\x02\x00\x00\x00\x30\x00" +
	"\x00\x00\x10\x01\x02\x00\x00\x00\x07\x00" +
	"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x01"

type printer struct{}

func (printer) Associate(off int, a *dicom.Association) {}
func (printer) Control(off int, p dicom.Control)        { fmt.Println(p.Type) }
func (printer) Command(off int, c *dicom.Command) {
	fmt.Println(c.Field.Operation(), c.MessageID, c.SOPClass.String())
}
func (printer) Element(off int, c *dicom.Command, e *dicom.Element) {}
func (printer) EndOfData(off int, c *dicom.Command, n uint64)       {}
func (printer) Malformed(err error)                                 { fmt.Println(err) }

func ExampleStream() {
	var s dicom.Stream
	n := s.Feed(echo[:20], printer{}) // as many as came in the first segment
	n += s.Feed(echo[n:], printer{})
	n += s.Feed([]byte("\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"), printer{})
	fmt.Println(n, "bytes")
	// Output:
	// C-ECHO 7 1.2.840.10008.1.1
	// A-RELEASE-RQ
	// 90 bytes
}

func ExampleParseCommand() {
	c, err := dicom.ParseCommand([]byte(command))
	fmt.Println(c.Field.Operation(), c.MessageID, c.DataSet, err)
	_, err = dicom.ParseCommand([]byte(command[:30]))
	fmt.Println(err)
	// Output:
	// C-ECHO 7 false <nil>
	// dicom: Data Set at byte 0: truncated
}

func ExampleDataSet() {
	var d dicom.DataSet
	visit := func(e *dicom.Element) { fmt.Printf("%08x %s %s\n", uint32(e.Tag), e.VR, e.Text()) }
	d.Feed([]byte("\x08\x00\x60\x00CS\x02\x00CT\x08\x00\x70\x00LO"), visit)
	d.Feed([]byte("\x0e\x00Lumen Imaging "), visit)
	fmt.Println(d.Close(visit))
	// Output:
	// 00080060 CS CT
	// 00080070 LO Lumen Imaging
	// <nil>
}

func ExampleAssociation() {
	b := make([]byte, 74)
	copy(b, "\x01\x00\x00\x00\x00\x44\x00\x01\x00\x00ADAPACS         CT1             ")
	var a dicom.Association
	n, err := a.Parse(b)
	fmt.Printf("%s from %s to %s, %d bytes, %v\n", a.Type, a.CallingAETitle, a.CalledAETitle, n, err)
	// Output:
	// A-ASSOCIATE-RQ from CT1 to ADAPACS, 74 bytes, <nil>
}

func ExampleParseControl() {
	p, _, _ := dicom.ParseControl([]byte{3, 0, 0, 0, 0, 4, 0, 1, 1, 7})
	fmt.Println(p.Type, p.Result, p.Source, p.Reason)
	// Output:
	// A-ASSOCIATE-RJ 1 1 7
}

func ExampleRecognise() {
	fmt.Println(dicom.Recognise(echo), dicom.Recognise([]byte("GET /")))
	// Output:
	// 3 0
}
