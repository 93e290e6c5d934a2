// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"strings"
)

// What tests send: PDUs, command sets and data sets, byte by byte as PS3.8
// section 9.3, PS3.7 section 6.3 and PS3.5 section 7.1 lay them out.

func pdu(typ PDUType, body ...[]byte) []byte {
	p := bytes.Join(body, nil)
	return append(binary.BigEndian.AppendUint32([]byte{byte(typ), 0}, uint32(len(p))), p...)
}

func pdv(id, mch byte, p []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(p)+2)), id, mch), p...)
}

func subItem(typ byte, body ...[]byte) []byte {
	p := bytes.Join(body, nil)
	return append(binary.BigEndian.AppendUint16([]byte{typ, 0}, uint16(len(p))), p...)
}

func title16(s string) []byte { return []byte(fmt.Sprintf("%-16s", s)) }

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

const (
	appContext = "1.2.840.10008.3.1.1.1"
	ctStorage  = "1.2.840.10008.5.1.4.1.1.2"
	studyFind  = "1.2.840.10008.5.1.4.1.2.2.1"
	studyMove  = "1.2.840.10008.5.1.4.1.2.2.2"
	implicitLE = "1.2.840.10008.1.2"
	explicitLE = "1.2.840.10008.1.2.1"
	deflatedLE = "1.2.840.10008.1.2.1.99"
	explicitBE = "1.2.840.10008.1.2.2"
)

func associate(typ PDUType, called, calling string, items ...[]byte) []byte {
	return pdu(typ, u16(1), u16(0), title16(called), title16(calling), make([]byte, 32),
		subItem(0x10, []byte(appContext)), bytes.Join(items, nil))
}

func proposed(id byte, abstract string, transfer ...string) []byte {
	body := [][]byte{{id, 0, 0, 0}, subItem(0x30, []byte(abstract))}
	for _, t := range transfer {
		body = append(body, subItem(0x40, []byte(t)))
	}
	return subItem(0x20, body...)
}

func accepted(id, result byte, transfer string) []byte {
	return subItem(0x21, []byte{id, 0, result, 0}, subItem(0x40, []byte(transfer)))
}

// A sample is one data element of a test; value is text, or what it nests.
type sample struct {
	tag       Tag
	vr        string
	value     string
	items     [][]sample // of a sequence
	undefined bool       // sequence and items end with delimiters
	length    int        // claimed instead of the true one, when not 0
}

func text(tag Tag, vr, value string) sample { return sample{tag: tag, vr: vr, value: value} }

// encode writes elements in a transfer syntax.
func encode(s Syntax, elements ...sample) []byte {
	if s == DeflatedExplicitVRLittleEndian {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.DefaultCompression)
		w.Write(encode(ExplicitVRLittleEndian, elements...))
		w.Close()
		return b.Bytes()
	}
	var order binary.AppendByteOrder = binary.LittleEndian
	if s == ExplicitVRBigEndian {
		order = binary.BigEndian
	}
	tag := func(b []byte, t Tag) []byte {
		return order.AppendUint16(order.AppendUint16(b, uint16(t>>16)), uint16(t))
	}
	var out []byte
	for _, e := range elements {
		value := []byte(e.value)
		for _, item := range e.items {
			inner := encode(s, item...)
			n := uint32(len(inner))
			if e.undefined {
				inner = order.AppendUint32(tag(inner, itemDelimitation), 0)
				n = Undefined
			}
			value = append(order.AppendUint32(tag(value, itemTag), n), inner...)
		}
		n := uint32(len(value))
		if e.length != 0 {
			n = uint32(e.length)
		}
		if e.undefined {
			value = order.AppendUint32(tag(value, sequenceDelimitation), 0)
			n = Undefined
		}
		out = tag(out, e.tag)
		switch {
		case s == ImplicitVRLittleEndian:
			out = order.AppendUint32(out, n)
		case strings.Contains(short, e.vr+" "):
			out = order.AppendUint16(append(out, e.vr...), uint16(n))
		default:
			out = order.AppendUint32(append(append(out, e.vr...), 0, 0), n)
		}
		out = append(out, value...)
	}
	return out
}

// number is the value of a US element in a command set.
func number(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }

func even(s string) string {
	if len(s)%2 == 1 {
		return s + "\x00"
	}
	return s
}

// commandSet writes a command set with its group length.
func commandSet(elements ...sample) []byte {
	body := encode(ImplicitVRLittleEndian, elements...)
	n := string(binary.LittleEndian.AppendUint32(nil, uint32(len(body))))
	return append(encode(ImplicitVRLittleEndian, text(0x00000000, "UL", n)), body...)
}

func storeRQ(id int, class, instance string) []byte {
	return commandSet(
		text(0x00000002, "UI", even(class)),
		text(0x00000100, "US", number(int(CStoreRQ))),
		text(0x00000110, "US", number(id)),
		text(0x00000700, "US", number(0)),
		text(0x00000800, "US", number(1)),
		text(0x00001000, "UI", even(instance)))
}

// object is a CT image of the sample ward, up to and with its pixel data.
func object(s Syntax, pixels int) []byte {
	return encode(s,
		text(SOPClassUID, "UI", even(ctStorage)),
		text(SOPInstanceUID, "UI", "1.2.3.4 "),
		text(Modality, "CS", "CT"),
		text(Manufacturer, "LO", "Lumen Imaging "),
		text(ReferringPhysicianName, "PN", "Holm^Mira "),
		text(StationName, "SH", "CT1 "),
		text(ManufacturerModelName, "LO", "Helia 64"),
		text(PatientName, "PN", "Lindqvist^Anna"),
		text(PatientID, "LO", "ADA-0001"),
		sample{tag: otherPatientIDsSeq, vr: "SQ", items: [][]sample{{text(PatientID, "LO", "ADA-0001B ")}}},
		text(DeviceSerialNumber, "LO", "LH-0042 "),
		sample{tag: UDISequence, vr: "SQ", undefined: true, items: [][]sample{{text(UniqueDeviceIdentifier, "UT", "(01)00844588003288")}}},
		text(SoftwareVersions, "LO", "11.0"),
		text(0x00200010, "SH", strings.Repeat("x", 300)),
		sample{tag: 0x00880200, vr: "SQ", undefined: true, items: [][]sample{{text(PixelData, "OW", strings.Repeat("i", 64))}}},
		text(PixelData, "OW", strings.Repeat("p", pixels)),
		text(0xFFFCFFFC, "OB", "pad "))
}
