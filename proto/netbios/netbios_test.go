// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package netbios_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/netbios"
	"github.com/myelin-health/myelin/wire"
)

// encode is the first-level encoding of RFC 1001 section 14.1.
func encode(name string, suffix byte) []byte {
	b := []byte{32}
	full := append(bytes.Repeat([]byte{' '}, 15), suffix)
	copy(full[:15], name)
	for _, c := range full {
		b = append(b, 'A'+c>>4, 'A'+c&15)
	}
	return append(b, 0)
}

// registration is a name registration request (RFC 1002 section 4.2.2).
func registration(name string, suffix byte) []byte {
	b := []byte{0, 1, 0x29, 0x10, 0, 1, 0, 0, 0, 0, 0, 1}
	b = append(b, encode(name, suffix)...)
	b = append(b, 0, 0x20, 0, 1)
	return append(b, 0xc0, 12, 0, 0x20, 0, 1, 0, 4, 0x93, 0xe0, 0, 6, 0, 0, 10, 20, 8, 11)
}

// status is a node status response (RFC 1002 section 4.2.18) with n names.
func status(n int) []byte {
	b := []byte{0, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}
	b = append(b, encode("*", 0)...)
	b = append(b, 0, 0x21, 0, 1, 0, 0, 0, 0)
	data := []byte{byte(n)}
	for i := range n {
		name := append(bytes.Repeat([]byte{' '}, 15), 0x20, 4, 0)
		copy(name, "CT-1")
		if i%2 == 1 {
			copy(name, "RADIOLOGY")
			name[16] |= 0x80
		}
		data = append(data, name...)
	}
	data = append(data, 0x02, 0, 0x5e, 0, 0x53, 1)
	b = append(b, byte(len(data)>>8), byte(len(data)))
	return append(b, data...)
}

func ExampleNameMessage_Parse() {
	var m netbios.NameMessage
	err := m.Parse(registration("CT-1", netbios.FileServer))
	fmt.Printf("%s %#x %v\n", m.Name.Text(), m.Name.Suffix(), err)
	// Output: CT-1 0x20 <nil>
}

// The encoding, written out by hand: F is 0x46, so "EG", and so on; a scope follows.
func TestScope(t *testing.T) {
	b := append([]byte{0, 1, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 32}, "EGFCEFEECACACACACACACACACACACACA"...)
	b = append(b, 7, 'N', 'E', 'T', 'B', 'I', 'O', 'S', 3, 'C', 'O', 'M', 0, 0, 0x20, 0, 1)
	var m netbios.NameMessage
	if err := m.Parse(b); err != nil || string(m.Name[:]) != "FRED            " || m.Name.Suffix() != ' ' {
		t.Errorf("%q, %v", m.Name[:], err)
	}
}

func TestStatus(t *testing.T) {
	var m netbios.NameMessage
	if err := m.Parse(status(3)); err != nil || len(m.Status) != 3 || !m.Status[1].Group || m.Status[0].Group ||
		string(m.Status[2].Name.Text()) != "CT-1" || m.MAC != [6]byte{2, 0, 0x5e, 0, 0x53, 1} {
		t.Errorf("%+v, %v", m, err)
	}
	if err := m.Parse(status(200)); err != nil || len(m.Status) != 32 || m.MAC[5] != 1 {
		t.Errorf("%d names, %v", len(m.Status), err)
	}
}

func TestParseNegative(t *testing.T) {
	var m netbios.NameMessage
	for _, whole := range [][]byte{registration("CT-1", 0), status(2)} {
		for n := range whole {
			if err := m.Parse(whole[:n]); !errors.Is(err, wire.ErrTruncated) && n < len(whole)-4 {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
	for name, change := range map[string]func(b []byte){
		"letter below A": func(b []byte) { b[13] = '@' },
		"letter above P": func(b []byte) { b[14] = 'Q' },
		"label of 31":    func(b []byte) { b[12] = 31 },
		"two questions":  func(b []byte) { b[5] = 2 },
		"scope pointer":  func(b []byte) { b[45] = 0xc0 },
	} {
		b := registration("CT-1", 0)
		change(b)
		if err := m.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := append([]byte{0, 1, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 0}, encode("X", 0)[:33]...)
	for range 40 {
		b = append(b, 1, 'a')
	}
	if err := m.Parse(append(b, 0, 0, 0x20, 0, 1)); !errors.Is(err, wire.ErrTooDeep) {
		t.Error("scope of 40 labels:", err)
	}
}

// announcement is a datagram with a browser's announcement (RFC 1002 section
// 4.4.2, MS-BRWS section 2.2.1).
func announcement(command, major, minor byte, serverType uint32) []byte {
	b := append([]byte{netbios.DirectGroup, 2, 0, 1, 10, 20, 8, 11, 0, 138, 0, 0, 0, 0}, encode("CT-1", 0x20)...)
	b = append(b, encode("RADIOLOGY", netbios.MasterName)...)
	smb := make([]byte, 32)
	copy(smb, "\xffSMB\x25")
	words := make([]byte, 34)
	name := "\\MAILSLOT\\BROWSE\x00"
	words[24] = byte(32 + 1 + 34 + 2 + len(name))
	smb = append(append(append(smb, 17), words...), 0, 0)
	smb = append(smb, name...)
	smb = append(smb, command, 0, 0x80, 0xfc, 0x0a, 0)
	smb = append(smb, append([]byte("CT-1"), make([]byte, 12)...)...)
	smb = append(smb, major, minor, byte(serverType), byte(serverType>>8), 0, 0, 15, 1, 0x55, 0xaa)
	return append(b, smb...)
}

func TestAnnouncement(t *testing.T) {
	for _, tt := range []struct {
		major, minor byte
		serverType   uint32
		want         string
	}{
		{5, 1, 3, "Windows XP"}, {6, 1, 3, "Windows 7 or Server 2008 R2"}, {6, 1, 0x800, "Unix (Samba)"}, {10, 0, 3, "Windows 10 or newer"}, {9, 9, 3, ""},
	} {
		d, err := netbios.ParseDatagram(announcement(netbios.HostAnnouncement, tt.major, tt.minor, tt.serverType))
		if err != nil || string(d.Source.Text()) != "CT-1" || d.Destination.Suffix() != netbios.MasterName {
			t.Fatalf("%+v, %v", d, err)
		}
		a, ok, err := netbios.ParseAnnouncement(d.Data)
		if err != nil || !ok || string(a.ServerName) != "CT-1" || a.OS() != tt.want {
			t.Errorf("%+v is %q, %v, %v", a, a.OS(), ok, err)
		}
	}
	d, _ := netbios.ParseDatagram(announcement(0x08, 6, 1, 3)) // an election
	if _, ok, err := netbios.ParseAnnouncement(d.Data); ok || err != nil {
		t.Error("an election is no announcement", err)
	}
	d, _ = netbios.ParseDatagram(announcement(netbios.HostAnnouncement, 6, 1, 3))
	for n := range d.Data {
		if _, ok, _ := netbios.ParseAnnouncement(d.Data[:n]); ok && n < len(d.Data)-4 {
			t.Fatalf("%d bytes are an announcement", n)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, b := range [][]byte{registration("A", 0), status(1), announcement(1, 6, 1, 3)} {
		if m := netbios.RecogniseDatagram(b); m != wire.SureMatch {
			t.Errorf("%x: %v", b, m)
		}
	}
	bad := registration("A", 0)
	bad[20] = 'z'
	for _, b := range [][]byte{nil, bad, registration("A", 0)[:40], make([]byte, 100), bytes.Repeat([]byte("A"), 100)} {
		if m := netbios.RecogniseDatagram(b); m != wire.NoMatch {
			t.Errorf("%x: %v", b, m)
		}
	}
	if netbios.IsDatagram(status(1)) || !netbios.IsDatagram(announcement(1, 6, 1, 3)) {
		t.Error("IsDatagram")
	}
}

func TestSessionRequest(t *testing.T) {
	called, calling, err := netbios.ParseSessionRequest(append(encode("*SMBSERVER", 0x20), encode("PROG-1", 0)...))
	if err != nil || string(called.Text()) != "*SMBSERVER" || string(calling.Text()) != "PROG-1" {
		t.Errorf("%s %s %v", called.Text(), calling.Text(), err)
	}
	if _, _, err := netbios.ParseSessionRequest(encode("PROG-1", 0)); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(registration("CT-1", 0))
	f.Add(status(2))
	f.Add(announcement(1, 6, 1, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		netbios.RecogniseDatagram(b)
		var m, n netbios.NameMessage
		err := m.Parse(b)
		if again := n.Parse(b); (err == nil) != (again == nil) || m.Name != n.Name || len(m.Status) != len(n.Status) {
			t.Fatal("same input, other result")
		}
		if d, err := netbios.ParseDatagram(b); err == nil {
			if a, ok, _ := netbios.ParseAnnouncement(d.Data); ok && len(a.ServerName) > 16 {
				t.Fatal("a name of more than 16 bytes")
			}
		}
		netbios.ParseSessionRequest(b)
	})
}
