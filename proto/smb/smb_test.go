// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package smb_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unsafe"

	"github.com/myelin-health/myelin/proto/smb"
	"github.com/myelin-health/myelin/wire"
)

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// message2 makes a message of version 2: MS-SMB2 section 2.2.1.2.
func message2(command smb.Command, response bool, status uint32, mid uint64, tree uint32, body []byte) []byte {
	b := make([]byte, 64, 64+len(body))
	copy(b, "\xfeSMB")
	le := binary.LittleEndian
	le.PutUint16(b[4:], 64)
	le.PutUint32(b[8:], status)
	le.PutUint16(b[12:], uint16(command))
	if response {
		le.PutUint32(b[16:], 1)
	}
	le.PutUint64(b[24:], mid)
	le.PutUint32(b[36:], tree)
	return append(b, body...)
}

func frame(m []byte) []byte {
	return append([]byte{0, byte(len(m) >> 16), byte(len(m) >> 8), byte(len(m))}, m...)
}

// write2 is a WRITE request of n bytes.
func write2(n int) []byte {
	body := make([]byte, 48+n)
	le := binary.LittleEndian
	le.PutUint16(body, 49)
	le.PutUint16(body[2:], 112)
	le.PutUint32(body[4:], uint32(n))
	body[16] = 7 // FileId
	return message2(smb.Write, false, 0, 1, 1, body)
}

// negotiate2 is a NEGOTIATE request with these dialects and contexts.
func negotiate2(contexts []byte, n int, dialects ...smb.Dialect) []byte {
	body := make([]byte, 36)
	le := binary.LittleEndian
	le.PutUint16(body, 36)
	le.PutUint16(body[2:], uint16(len(dialects)))
	body[4] = 1
	for _, d := range dialects {
		body = le.AppendUint16(body, uint16(d))
	}
	for len(body)%8 != 0 {
		body = append(body, 0)
	}
	le.PutUint32(body[28:], uint32(64+len(body)))
	le.PutUint16(body[32:], uint16(n))
	return message2(smb.Negotiate, false, 0, 0, 0, append(body, contexts...))
}

// context is a negotiate context with n bytes of data: MS-SMB2 section 2.2.3.1.
func context(t smb.NegotiateContext, n int) []byte {
	b := make([]byte, (8+n+7)&^7)
	binary.LittleEndian.PutUint16(b, uint16(t))
	binary.LittleEndian.PutUint16(b[2:], uint16(n))
	return b
}

// message1 makes a message of version 1: MS-CIFS section 2.2.3.1.
func message1(command byte, flags2, mid uint16, words, data []byte) []byte {
	b := make([]byte, 32, 64+len(words)+len(data))
	copy(b, "\xffSMB")
	b[4] = command
	binary.LittleEndian.PutUint16(b[10:], flags2)
	binary.LittleEndian.PutUint16(b[30:], mid)
	b = append(append(b, byte(len(words)/2)), words...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func words(w ...uint16) (b []byte) {
	for _, v := range w {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func ExampleMessage2_TreeConnect() {
	path := utf16le(`\\ct-1\ADMIN$`)
	body := append(words(9, 0, 72, uint16(len(path))), path...)
	var m smb.Message2
	if err := m.Parse(message2(smb.TreeConnect, false, 0, 4, 0, body)); err != nil {
		fmt.Println(err)
		return
	}
	share, err := m.TreeConnect()
	fmt.Println(smb.ClassifyShare(share) == smb.AdminShare, err)
	// Output: true <nil>
}

func ExampleParseFrame() {
	f, err := smb.ParseFrame([]byte{0x00, 0x00, 0x00, 0x55, 0xff, 'S', 'M', 'B'})
	fmt.Println(f.Type == smb.SessionMessage, f.Length, err)
	// Output: true 85 <nil>
}

// challenge is MS-NLMP section 4.2.4.3, "CHALLENGE_MESSAGE" of NTLM version 2.
const challenge = "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef" +
	"0000000000000000240024004400000006007017" + "0000000f" + "530065007200760065007200" +
	"02000c0044006f006d00610069006e00" + "01000c005300650072007600650072000000" + "0000"

func ExampleParseNTLM() {
	b, _ := hex.DecodeString(challenge)
	n, err := smb.ParseNTLM(smb.FindNTLM(append([]byte("SPNEGO in front"), b...)))
	fmt.Printf("%s %s %v %v\n", n.Computer.AppendUTF8(nil), n.Domain.AppendUTF8(nil), n.Version.Windows(), err)
	// Output: Server Domain Windows Vista or Server 2008 <nil>
}

func TestNTLMAuthenticate(t *testing.T) {
	make := func(user string, ntLen uint16, flags uint32) []byte {
		b := append([]byte("NTLMSSP\x00"), 3, 0, 0, 0)
		payload := 72
		field := func(n int) {
			b = append(b, words(uint16(n), uint16(n))...)
			b = binary.LittleEndian.AppendUint32(b, uint32(payload))
			payload += n
		}
		domain, name, station := utf16le("STADA"), utf16le(user), utf16le("CT-1")
		field(0)
		b = append(b, words(ntLen, ntLen, 0, 0)...)
		field(len(domain))
		field(len(name))
		field(len(station))
		field(0)
		b = binary.LittleEndian.AppendUint32(b, flags)
		b = append(b, 6, 1, 0xb1, 0x1d, 0, 0, 0, 15)
		return append(append(append(b, domain...), name...), station...)
	}
	n, err := smb.ParseNTLM(make("lea", 24, 0x02000001))
	if err != nil || !n.HasUser || !n.V1 || !n.Computer.Is("ct-1") || !n.Domain.Is("stada") || n.Version.Windows() != "Windows 7 or Server 2008 R2" {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := smb.ParseNTLM(make("", 0, 1)); err != nil || n.HasUser || n.V1 || n.Version != (smb.OSVersion{}) {
		t.Errorf("anonymous: %+v, %v", n, err)
	}
	for _, bad := range []string{"", "NTLMSSP", "NTLMSSP\x00\x04\x00\x00\x00", "NTLMSSX\x00\x01\x00\x00\x00", "NTLMSSP\x00\x03\x00\x00\x00\x00"} {
		if _, err := smb.ParseNTLM([]byte(bad)); err == nil {
			t.Errorf("%q is no message", bad)
		}
	}
	// A field that points outside the message is as if it were not there.
	b := make("lea", 24, 1)
	b[44+4] = 0xff
	if n, err := smb.ParseNTLM(b); err != nil || n.Computer.Len() != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestWindows(t *testing.T) {
	for v, want := range map[smb.OSVersion]string{
		{5, 1, 2600}: "Windows XP", {6, 1, 0}: "", {6, 1, 7601}: "Windows 7 or Server 2008 R2",
		{10, 0, 19045}: "Windows 10", {10, 0, 20348}: "Windows Server 2022", {10, 0, 22631}: "Windows 11", {4, 9, 1}: "", {}: "",
	} {
		if got := v.Windows(); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestString(t *testing.T) {
	s := smb.String{Bytes: utf16le(`\\host\C$`), Unicode: true}
	if smb.ClassifyShare(s) != smb.AdminShare || !s.Base().Is("c$") || string(s.AppendUTF8(nil)) != `\\host\C$` {
		t.Error("C$ is not told")
	}
	for path, want := range map[string]smb.ShareClass{
		`\\h\IPC$`: smb.PipeShare, `\\h\ipc$`: smb.PipeShare, `\\h\admin$`: smb.AdminShare, `\\h\D$`: smb.AdminShare,
		`\\h\data$`: smb.OtherShare, `\\h\scans`: smb.OtherShare, ``: smb.OtherShare, `$`: smb.OtherShare,
	} {
		if got := smb.ClassifyShare(smb.String{Bytes: []byte(path)}); got != want {
			t.Errorf("%q is of class %v", path, got)
		}
		if got := smb.ClassifyShare(smb.String{Bytes: utf16le(path), Unicode: true}); got != want {
			t.Errorf("%q in UTF-16 is of class %v", path, got)
		}
	}
	if got := (smb.String{Bytes: []byte{0x3d, 0xd8, 0x00, 0xde, 0x3d, 0xd8, 'x'}, Unicode: true}).AppendUTF8(nil); string(got) != "\U0001f600\ufffd" {
		t.Errorf("surrogates: %q", got)
	}
	if !smb.Executable(smb.String{Bytes: []byte("a.ExE")}) || smb.Executable(smb.String{Bytes: []byte("exe")}) {
		t.Error("Executable")
	}
}

func TestRecognise(t *testing.T) {
	request := "\x81\x00\x00\x44 CKFDENECFDEFFCFGEFFCCACACACACACA\x00"
	for _, sure := range []string{string(frame(write2(10))), request, "\x00\x00\x00\x10\xfcSMB0123456789ab", "\x00\x00\x00\x10\xffSMB"} {
		for n := range len(sure) {
			if m := smb.Recognise([]byte(sure[:n])); m != wire.NeedMore && m != wire.SureMatch {
				t.Errorf("%d bytes of %q: %v", n, sure, m)
			}
		}
		if m := smb.Recognise([]byte(sure)); m != wire.SureMatch {
			t.Errorf("%q: %v", sure, m)
		}
	}
	for _, no := range []string{"GET / HT", "\x00\x00\x00\x10\xfbSMB", "\x00\x00\x00\x10\xfeSMA", "\x81\x00\x00\x45 C", "\x81\x00\x00\x44 c", "\x82\x00\x00\x01", "\x83\x00\x00\x00", "\x86\x00\x00\x00"} {
		if m := smb.Recognise([]byte(no)); m != wire.NoMatch {
			t.Errorf("%q: %v", no, m)
		}
	}
}

func TestFrame(t *testing.T) {
	if _, err := smb.ParseFrame([]byte{0x84, 0, 0}); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
	for _, typ := range []byte{0x01, 0x80, 0x86, 0xff} {
		if _, err := smb.ParseFrame([]byte{typ, 0, 0, 0}); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("type %#x: %v", typ, err)
		}
	}
	big := write2(64 << 10)
	f, err := smb.ParseFrame(frame(big))
	if err != nil || f.Length != len(big) {
		t.Fatal(f, err)
	}
	if n := f.Head(big); n >= 1000 {
		t.Errorf("%d bytes of a WRITE are wanted", n)
	}
	var m smb.Message2
	if err := m.Parse(big[:f.Head(big)]); err != nil {
		t.Fatal(err)
	}
	if id, data, err := m.Write(); err != nil || id[0] != 7 || len(data) == 0 {
		t.Errorf("the head of a WRITE: %v, %d bytes, %v", id, len(data), err)
	}
}

func TestMessage2(t *testing.T) {
	good := write2(0)
	for name, change := range map[string]func([]byte){
		"protocol":       func(b []byte) { b[0] = 0xfd },
		"StructureSize":  func(b []byte) { b[4] = 63 },
		"next unaligned": func(b []byte) { b[20] = 65 },
		"next inside":    func(b []byte) { b[20] = 8 },
	} {
		b := bytes.Clone(good)
		change(b)
		var m smb.Message2
		if err := m.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range 112 {
		var m smb.Message2
		err := m.Parse(good[:n])
		if err == nil {
			_, _, err = m.Write()
		}
		if !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	// The structure of one command is not read as that of another.
	var m smb.Message2
	if err := m.Parse(good); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Closed(); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
	if _, err := m.Negotiate(); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
	// A name that would lie in the header, or behind the end.
	path := append(words(9, 0, 16, 4), "abcd"...)
	m.Parse(message2(smb.TreeConnect, false, 0, 0, 0, path))
	if _, err := m.TreeConnect(); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
	path = append(words(9, 0, 72, 6), "abcd"...)
	m.Parse(message2(smb.TreeConnect, false, 0, 0, 0, path))
	if _, err := m.TreeConnect(); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
}

func TestNegotiate(t *testing.T) {
	all := append(context(smb.PreauthIntegrity, 38), context(smb.Compression, 10)...)
	preview := []smb.Dialect{0x202, 0x210, 0x222, 0x224, 0x300, 0x302, 0x310, 0x311}
	tests := []struct {
		name string
		b    []byte
		want smb.Shape
	}{
		{"scanner", negotiate2(all, 2, preview...), smb.PreviewDialects},
		{"compression alone", negotiate2(all, 2, smb.SMB300, smb.SMB302, smb.SMB311), smb.NoShape},
		{"with encryption", negotiate2(append(all, context(smb.Encryption, 4)...), 3, preview...), smb.NoShape},
		{"no compression", negotiate2(context(smb.PreauthIntegrity, 38), 1, preview...), smb.NoShape},
	}
	for _, tt := range tests {
		var m smb.Message2
		if err := m.Parse(tt.b); err != nil {
			t.Fatal(tt.name, err)
		}
		n, err := m.Negotiate()
		if err != nil || n.Shape() != tt.want {
			t.Errorf("%s: shape %v, %v", tt.name, n.Shape(), err)
		}
	}
	var m smb.Message2
	b := negotiate2(all, 3, smb.SMB311) // one context more than there are
	m.Parse(b)
	if _, err := m.Negotiate(); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
}

// transaction is a TRANSACTION or TRANSACTION2 request with these setup words.
func transaction(command byte, mid uint16, setup ...uint16) []byte {
	w := append(words(0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 66, uint16(len(setup))), words(setup...)...)
	return message1(command, 0, mid, w, make([]byte, 12))
}

// secondary is a TRANSACTION2_SECONDARY.
func secondary(mid, total, count, displacement uint16) []byte {
	return message1(smb.ComTransaction2Secondary, 0, mid, words(0, total, 0, 0, 0, count, 53, displacement, 0), make([]byte, 8))
}

func ntTransact(command byte, mid uint16) []byte {
	return message1(command, 0, mid, make([]byte, 38), nil)
}

func TestShapes(t *testing.T) {
	session := func(flags2 uint16, capabilities uint32) []byte {
		w := words(0xff, 0, 0xffff, 2, 1, 0, 0, 4, 0, 0, uint16(capabilities), uint16(capabilities>>16))
		return message1(smb.ComSessionSetupAndX, flags2, 1, w, make([]byte, 8))
	}
	tests := []struct {
		name string
		in   [][]byte
		want smb.Shape // of the last
	}{
		{"implant's call", [][]byte{transaction(smb.ComTransaction2, 65, smb.Trans2SessionSetup)}, smb.ReservedSubcommand},
		{"find first", [][]byte{transaction(smb.ComTransaction2, 65, 1)}, smb.NoShape},
		{"peek into 0", [][]byte{transaction(smb.ComTransaction, 65, smb.TransPeekNmpipe, 0)}, smb.PeekFIDZero},
		{"peek into a pipe", [][]byte{transaction(smb.ComTransaction, 65, smb.TransPeekNmpipe, 0x4000)}, smb.NoShape},
		{"transact with 0", [][]byte{transaction(smb.ComTransaction, 65, smb.TransTransactNmpipe, 0)}, smb.NoShape},
		{"mixed", [][]byte{ntTransact(smb.ComNTTransact, 64), secondary(64, 4096, 8, 0)}, smb.MixedTransaction},
		{"another's", [][]byte{ntTransact(smb.ComNTTransact, 64), secondary(65, 4096, 8, 0)}, smb.NoShape},
		{"used again", [][]byte{ntTransact(smb.ComNTTransact, 64), transaction(smb.ComTransaction2, 64, 1), secondary(64, 4096, 8, 0)}, smb.NoShape},
		{"its own secondary", [][]byte{ntTransact(smb.ComNTTransact, 64), ntTransact(smb.ComNTTransactSecondary, 64)}, smb.NoShape},
		{"up to the total", [][]byte{secondary(64, 4096, 8, 4088)}, smb.NoShape},
		{"beyond the total", [][]byte{secondary(64, 4096, 8, 4089)}, smb.DataBeyondTotal},
		{"nothing beyond", [][]byte{secondary(64, 4096, 0, 5000)}, smb.NoShape},
		{"misread", [][]byte{session(0, 0x80000000)}, smb.SessionMisread},
		{"extended", [][]byte{session(0x0800, 0x80000000)}, smb.NoShape},
		{"not extended", [][]byte{session(0, 0)}, smb.NoShape},
	}
	for _, tt := range tests {
		var ts smb.Transactions
		var got smb.Shape
		for _, b := range tt.in {
			var m smb.Message1
			if err := m.Parse(b); err != nil {
				t.Fatal(tt.name, err)
			}
			got = ts.Shape(&m)
			m.Response = true
			if s := ts.Shape(&m); s != smb.NoShape {
				t.Errorf("%s: a response has shape %v", tt.name, s)
			}
		}
		if got != tt.want {
			t.Errorf("%s: shape %v, want %v", tt.name, got, tt.want)
		}
	}
	for s := smb.PeekFIDZero; s <= smb.PreviewDialects; s++ {
		if smb.Shapes[s].Says == "" || !strings.HasPrefix(smb.Shapes[s].CVE, "CVE-") {
			t.Errorf("shape %d has no words", s)
		}
	}
}

func TestCompressedShape(t *testing.T) {
	header := func(size uint32, flags uint16, offset uint32) []byte {
		b := append([]byte("\xfcSMB"), words(uint16(size), uint16(size>>16), 1, flags)...)
		return binary.LittleEndian.AppendUint32(b, offset)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		n    int
		want smb.Shape
	}{
		{"whole", header(4096, 0, 0), 1000, smb.NoShape},
		{"offset at the end", header(4096, 0, 984), 1000, smb.NoShape},
		{"offset behind it", header(4096, 0, 985), 1000, smb.CompressedBeyond},
		{"offset -1", header(4096, 0, 0xffffffff), 1000, smb.CompressedBeyond},
		{"size and offset pass 32 bits", header(0xffffffff, 0, 16), 1000, smb.CompressedBeyond},
		{"chained", header(4096, 1, 0xffffffff), 1000, smb.NoShape},
		{"cut", header(4096, 0, 985)[:15], 1000, smb.NoShape},
		{"another version", append([]byte("\xfeSMB"), header(0, 0, 0xffffffff)[4:]...), 1000, smb.NoShape},
	} {
		if got := smb.CompressedShape(tt.b, tt.n); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMessage1(t *testing.T) {
	offer := message1(smb.ComNegotiate, 0, 0, nil, []byte("\x02PC NETWORK PROGRAM 1.0\x00\x02NT LM 0.12\x00\x02SMB 2.???\x00"))
	var m smb.Message1
	if err := m.Parse(offer); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"PC NETWORK PROGRAM 1.0", "NT LM 0.12", "SMB 2.???", ""} {
		if got := string(m.Dialect(i)); got != want {
			t.Errorf("dialect %d is %q", i, got)
		}
	}
	// A session set-up with a tree connect chained to it (MS-CIFS section 2.2.3.4).
	data := append([]byte{0, 0, 0}, utf16le("lea\x00STADA\x00Windows 5.1\x00Windows 2000 LAN Manager\x00")...)
	w := words(smb.ComTreeConnectAndX, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0)
	b := message1(smb.ComSessionSetupAndX, 0x8000, 1, w, data)
	off := len(b)
	binary.LittleEndian.PutUint16(b[32+1+2:], uint16(off))
	path := append([]byte{0}, utf16le(`\\ct-1\C$`+"\x00")...)
	b = append(b, 4)
	b = append(b, words(0xff, 0, 0, 1, uint16(len(path)))...)
	if (off+1+8+2+1)&1 != 0 {
		t.Fatal("the test's own alignment is wrong")
	}
	b = append(b, path...)
	if err := m.Parse(b); err != nil {
		t.Fatal(err)
	}
	s := m.Session()
	if !s.NativeOS.Is("Windows 5.1") || !s.NativeLanMan.HasPrefix("Windows 2000") || s.Anonymous || s.Misread {
		t.Errorf("%+v", s)
	}
	if !m.Next() || m.Command != smb.ComTreeConnectAndX || smb.ClassifyShare(m.TreeConnect()) != smb.AdminShare {
		t.Errorf("chained: %#x, %q", m.Command, m.TreeConnect().AppendUTF8(nil))
	}
	if m.Next() {
		t.Error("the chain has ended")
	}
	// A chain that goes back to itself.
	binary.LittleEndian.PutUint16(b[32+1+2:], 32)
	m.Parse(b)
	if m.Next() {
		t.Error("a chain goes forward only")
	}
	for _, bad := range [][]byte{nil, []byte("\xffSMB"), offer[:33], append(bytes.Clone(offer[:32]), 200, 0, 0)} {
		if err := m.Parse(bad); !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	if err := m.Parse(write2(1)); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
}

func inside(t *testing.T, b, sub []byte) {
	t.Helper()
	if len(sub) == 0 {
		return
	}
	first, at := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&sub[0]))
	if at < first || at+uintptr(len(sub)) > first+uintptr(len(b)) || cap(sub) != len(sub) {
		t.Fatal("a slice leaves the input, or can be appended to")
	}
}

func FuzzParse(f *testing.F) {
	c, _ := hex.DecodeString(challenge)
	for _, b := range [][]byte{
		frame(write2(30)), frame(negotiate2(context(smb.Compression, 10), 1, smb.SMB311)), frame(c), frame(secondary(1, 2, 3, 4)),
		frame(transaction(smb.ComTransaction2, 1, 14)), frame(ntTransact(smb.ComNTTransact, 1)), frame([]byte("\xfcSMB0123456789ab")),
		frame(message1(smb.ComNegotiate, 0, 0, nil, []byte("\x02NT LM 0.12\x00"))),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := smb.ParseFrame(b)
		if err != nil {
			return
		}
		m := b[smb.FrameHeader:]
		if n := fr.Head(m); n < 0 || n > smb.MaxHead || n > fr.Length {
			t.Fatal("head", n)
		}
		smb.CompressedShape(m, fr.Length)
		var m2 smb.Message2
		if m2.Parse(m) == nil {
			n, _ := m2.Negotiate()
			inside(t, m, n.Dialects)
			inside(t, m, n.SecurityToken)
			token, _ := m2.SessionSetup()
			inside(t, m, token)
			path, _ := m2.TreeConnect()
			inside(t, m, path.Bytes)
			inside(t, m, path.Base().Bytes)
			name, _, _ := m2.Create()
			inside(t, m, name.Bytes)
			_, data, _ := m2.Write()
			inside(t, m, data)
			data, _ = m2.ReadData()
			inside(t, m, data)
			_, _, data, _ = m2.IOCTL()
			inside(t, m, data)
		}
		var m1 smb.Message1
		var ts smb.Transactions
		if m1.Parse(m) == nil {
			for more := true; more; more = m1.Next() {
				if a, b := m1.Session(), m1.Session(); !bytes.Equal(a.Token, b.Token) {
					t.Fatal("same input, other result")
				}
				s := m1.Session()
				inside(t, m, s.Token)
				inside(t, m, s.NativeOS.Bytes)
				inside(t, m, s.NativeLanMan.Bytes)
				inside(t, m, m1.TreeConnect().Bytes)
				inside(t, m, m1.Create().Bytes)
				inside(t, m, m1.Transaction().Data)
				inside(t, m, m1.TransactionData())
				inside(t, m, m1.ReadData())
				_, data := m1.Write()
				inside(t, m, data)
				inside(t, m, m1.Dialect(3))
				ts.Shape(&m1)
			}
		}
		if token := smb.FindNTLM(m); token != nil {
			n, _ := smb.ParseNTLM(token)
			inside(t, m, n.Computer.Bytes)
			inside(t, m, n.DNSName.Bytes)
			inside(t, m, n.Domain.Bytes)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	b := frame(write2(100))
	if n := testing.AllocsPerRun(100, func() {
		f, _ := smb.ParseFrame(b)
		var m smb.Message2
		if m.Parse(b[smb.FrameHeader:][:f.Head(b[smb.FrameHeader:])]) != nil {
			t.Fatal("no message")
		}
		m.Write()
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func BenchmarkMessage2(b *testing.B) {
	in := frame(write2(64 << 10))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		f, _ := smb.ParseFrame(in)
		var m smb.Message2
		if m.Parse(in[smb.FrameHeader:][:f.Head(in[smb.FrameHeader:])]) != nil {
			b.Fatal("no message")
		}
		if _, _, err := m.Write(); err != nil {
			b.Fatal(err)
		}
	}
}
