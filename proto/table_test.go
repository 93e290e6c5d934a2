// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package proto

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

func ExampleStream() {
	id, match := Stream([]byte("\x0bMSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M1|P|2.6\r"), 40001, 24000)
	fmt.Println(id, match == wire.SureMatch)
	// Output: hl7 true
}

// TestTable holds the table to the packages beside it.
func TestTable(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var packages, rows []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			packages = append(packages, e.Name())
		}
	}
	for id := None + 1; id < Count; id++ {
		p := &Table[id]
		rows = append(rows, p.Name)
		if id.String() != p.Name || ByName(p.Name) != id {
			t.Errorf("row %d: %q", id, p.Name)
		}
		recognised := p.Stream != nil || p.Datagram != nil
		if inner := id == FHIR || id == GATT || id == Radio; recognised == inner || recognised != (len(p.Ports) > 0) {
			t.Errorf("%s: recognised is %v, with ports %v", id, recognised, p.Ports)
		}
	}
	slices.Sort(rows)
	if !slices.Equal(packages, rows) {
		t.Errorf("the packages %v have the rows %v", packages, rows)
	}
	if None.String() != "" || ByName("") != None || ByName("gopher") != None || ByName("HL7") != None {
		t.Error("a protocol that is none has a name")
	}
}

// openings are how conversations begin, and who says so.
var openings = []struct {
	id       ID
	datagram bool
	server   uint16
	b        string
}{
	{DICOM, false, 50104, "\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00ADAPACS         CT1             " + strings.Repeat("\x00", 32) +
		"\x10\x00\x00\x151.2.840.10008.3.1.1.1"},
	{HL7, false, 24000, "\x0bMSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M1|P|2.6\r"},
	{HTTP, false, 6464, "POST /mon-3 HTTP/1.1\r\nHost: 10.20.3.31:6464\r\n\r\n"},
	{HTTP, false, 6464, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{SDC, true, 3702, `<?xml version="1.0"?><s12:Envelope xmlns:s12="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://www.w3.org/2005/08/addressing"><s12:Header><wsa:Action>http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01/Probe</wsa:Action>`},
	{TLS, false, 6465, "\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\x13\x01\x01\x00\x00\x00"},
	{DNS, true, 53, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04pacs\x05stada\x07example\x00\x00\x01\x00\x01"},
	{DHCP, true, 67, "\x01\x01\x06\x00\x12\x34\x56\x78" + strings.Repeat("\x00", 20) + "\x00\x00\x5e\x00\x53\x31" + strings.Repeat("\x00", 202) + "\x63\x82\x53\x63\x35\x01\x01\xff"},
	{NTP, true, 123, "\x23\x00\x06\xec" + strings.Repeat("\x00", 36) + "\xed\x50\x00\x00\x00\x00\x00\x01"},
	{SNMP, true, 161, "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00"},
	{SSDP, true, 1900, "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n\r\n"},
	{SMB, false, 445, "\x00\x00\x00\x2f\xffSMB\x72\x00\x00\x00\x00\x18\x53\xc8" + strings.Repeat("\x00", 16) + "\x00\x0c\x00\x02NT LM 0.12\x00"},
	{DCERPC, false, 49152, "\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00\x01\x00\x00\x00\xb8\x10\xb8\x10\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00" + strings.Repeat("\x00", 40)},
	{NetBIOS, true, 137, "\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01"},
	{RDP, false, 3390, "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"},
	{VNC, false, 5999, "RFB 003.008\n"},
	{SSH, false, 2222, "SSH-2.0-OpenSSH_9.6\r\n"},
	{Telnet, false, 23, "\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27"},
	{FTP, false, 21, "220 bg200 FTP server ready.\r\n"},
	{MQTT, false, 18883, "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev"},
	{CoAP, true, 5683, "\x42\x01\x12\x34ab\xbb.well-known\x04core"},
	{Modbus, false, 502, "\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a"},
	{BACnet, true, 47808, "\x81\x0b\x00\x0c\x01\x20\xff\xff\x00\xff\x10\x08"},
	{LDAP, false, 389, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"},
	{Kerberos, true, 88, "\x6a\x81\x9b\x30\x81\x98\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a" + strings.Repeat("\x00", 142)},
	{Syslog, true, 514, "<34>1 2026-03-03T07:00:00.000Z ct-1 imaging - - - started"},
}

// Every protocol is known by how it begins, on the port where it was spoken,
// and nothing else claims its bytes.
func TestOpenings(t *testing.T) {
	seen := map[ID]bool{FHIR: true, GATT: true, Radio: true}
	for _, o := range openings {
		seen[o.id] = true
		recognise := Stream
		if o.datagram {
			recognise = Datagram
		}
		id, match := recognise([]byte(o.b), 50001, o.server)
		if id != o.id || match < wire.WeakMatch {
			t.Errorf("%s is taken for %q (%d)", o.id, id, match)
		}
		if id, match := recognise([]byte(o.b), o.server, 50001); id != o.id || match < wire.WeakMatch {
			t.Errorf("%s from its port is taken for %q (%d)", o.id, id, match)
		}
		for other := range Table {
			f := Table[other].Stream
			if o.datagram {
				f = Table[other].Datagram
			}
			if ID(other) != o.id && f != nil && f([]byte(o.b)) == wire.SureMatch {
				t.Errorf("%s is sure that it is %s", Table[other].Name, o.id)
			}
		}
	}
	for id := None + 1; id < Count; id++ {
		if !seen[id] {
			t.Errorf("%s has no opening here", id)
		}
	}
}

// A weak match is believed on the registered port alone; of a weak match and
// one that needs more bytes the weak one counts.
func TestWeakMatch(t *testing.T) {
	for _, o := range openings {
		form := func(p *Protocol) func([]byte) wire.Match { return p.Stream }
		if o.datagram {
			form = func(p *Protocol) func([]byte) wire.Match { return p.Datagram }
		}
		if form(&Table[o.id])([]byte(o.b)) != wire.WeakMatch {
			continue
		}
		if id, _ := recognise([]byte(o.b), 50001, 50002, form); id == o.id {
			t.Errorf("%s is believed on a port that is not its own", o.id)
		}
	}
	if id, match := Stream(nil, 50001, 50002); id != None && match != wire.NeedMore {
		t.Errorf("nothing at all is %s", id)
	}
}

// recognisers are all there are, with their names.
func recognisers(f func(name string, recognise func([]byte) wire.Match)) {
	for i := range Table {
		if Table[i].Stream != nil {
			f(Table[i].Name+" stream", Table[i].Stream)
		}
		if Table[i].Datagram != nil {
			f(Table[i].Name+" datagram", Table[i].Datagram)
		}
	}
}

func TestRecogniseAllocatesNothing(t *testing.T) {
	recognisers(func(name string, recognise func([]byte) wire.Match) {
		for _, o := range openings {
			b := []byte(o.b)
			if n := testing.AllocsPerRun(10, func() { recognise(b) }); n != 0 {
				t.Errorf("%s of an opening of %s: %v allocations", name, o.id, n)
			}
		}
	})
}

func FuzzRecognise(f *testing.F) {
	for _, o := range openings {
		f.Add([]byte(o.b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		recognisers(func(name string, recognise func([]byte) wire.Match) {
			match := recognise(b)
			if match > wire.SureMatch || recognise(b) != match {
				t.Fatalf("%s: %d, then %d", name, match, recognise(b))
			}
		})
		if !slices.Equal(b, before) {
			t.Fatal("the input is another")
		}
	})
}

func BenchmarkRecognise(b *testing.B) {
	for _, o := range openings {
		if o.id != HL7 && o.id != DICOM && o.id != DNS && o.id != Syslog {
			continue
		}
		b.Run(o.id.String(), func(b *testing.B) {
			data := []byte(o.b)
			b.ReportAllocs()
			for b.Loop() {
				if o.datagram {
					Datagram(data, 50001, o.server)
				} else {
					Stream(data, 50001, o.server)
				}
			}
		})
	}
}
