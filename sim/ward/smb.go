// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf16"
)

// A le is bytes being written, numbers with the least byte first.
type le []byte

func (b le) u8(v ...byte) le    { return append(b, v...) }
func (b le) u16(v ...uint16) le { return each(b, v, binary.LittleEndian.AppendUint16) }
func (b le) u32(v ...uint32) le { return each(b, v, binary.LittleEndian.AppendUint32) }
func (b le) u64(v ...uint64) le { return each(b, v, binary.LittleEndian.AppendUint64) }
func (b le) bytes(v ...[]byte) le {
	return each(b, v, func(b, v []byte) []byte { return append(b, v...) })
}
func (b le) zero(n int) le       { return append(b, make([]byte, n)...) }
func (b le) text(s string) le    { return b.bytes(wide(s)) }
func (b le) pad(multiple int) le { return b.zero((multiple - len(b)%multiple) % multiple) }

func each[T any](b le, values []T, appendOne func([]byte, T) []byte) le {
	for _, v := range values {
		b = appendOne(b, v)
	}
	return b
}

// wide is UTF-16, least byte first.
func wide(s string) []byte { return le(nil).u16(utf16.Encode([]rune(s))...) }

// direct puts a message into direct TCP (MS-SMB2 section 2.1).
func direct(m []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
}

// windowsTime is a FILETIME of that morning (MS-DTYP section 2.3.3).
func windowsTime(at time.Duration) uint64 {
	return uint64(morning.Add(at).Unix()+11644473600) * 1e7
}

// der writes one element of ASN.1.
func der(tag byte, parts ...[]byte) []byte {
	content := le(nil).bytes(parts...)
	switch n := len(content); {
	case n < 128:
		return append([]byte{tag, byte(n)}, content...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	}
}

var (
	oidSPNEGO = der(0x06, []byte{0x2b, 6, 1, 5, 5, 2})
	oidNTLM   = der(0x06, []byte{0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10})
)

// negTokenInit and negTokenResp are the two forms of SPNEGO (RFC 4178 section 4.2).
func negTokenInit(token []byte) []byte {
	parts := [][]byte{der(0xa0, der(0x30, oidNTLM))}
	if token != nil {
		parts = append(parts, der(0xa2, der(0x04, token)))
	}
	return der(0x60, oidSPNEGO, der(0xa0, der(0x30, parts...)))
}

func negTokenResp(state byte, token []byte) []byte {
	parts := [][]byte{der(0xa0, der(0x0a, []byte{state}))}
	if token != nil {
		parts = append(parts, der(0xa1, oidNTLM), der(0xa2, der(0x04, token)))
	}
	return der(0xa1, der(0x30, parts...))
}

// ntlmFlags are those of NTLMv2 with a version (MS-NLMP section 2.2.2.5).
const ntlmFlags = 0xe2898235

// version is that of a Windows (MS-NLMP section 2.2.2.10).
func version(major, minor byte, build uint16) []byte {
	return le(nil).u8(major, minor).u16(build).u8(0, 0, 0, 15)
}

var (
	windows7  = version(6, 1, 7601)
	windows10 = version(10, 0, 19041)
)

func ntlmNegotiate() []byte {
	return le("NTLMSSP\x00").u32(1, 0xe2088297).zero(16).bytes(windows10)
}

// targetInfo is what ct-1 says of itself (MS-NLMP section 2.2.2.1).
func targetInfo(at time.Duration) []byte {
	name := wide("CT-1")
	av := func(id uint16, v []byte) []byte { return le(nil).u16(id, uint16(len(v))).bytes(v) }
	return le(nil).bytes(av(2, name), av(1, name), av(4, wide("ct-1")), av(3, wide("ct-1")), av(7, le(nil).u64(windowsTime(at)))).u32(0)
}

// ntlmChallenge is ct-1's (MS-NLMP section 2.2.1.2).
func (s *span) ntlmChallenge(at time.Duration) []byte {
	name, info := wide("CT-1"), targetInfo(at)
	n, m := uint16(len(name)), uint16(len(info))
	return le("NTLMSSP\x00").u32(2).u16(n, n).u32(56, ntlmFlags).u64(s.rng.Uint64(), 0).u16(m, m).u32(56+uint32(n)).
		bytes(windows7, name, info)
}

// ntlmAuthenticate answers a challenge (MS-NLMP section 2.2.1.3). Its proof is
// random: nobody here checks it.
func (s *span) ntlmAuthenticate(at time.Duration, user, station string) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(s.rng.UintN(256))
		}
		return b
	}
	// The response of version 2 is a proof and what it proves (section 2.2.2.7).
	proof := le(random(16)).u8(1, 1).zero(6).u64(windowsTime(at)).bytes(random(8)).u32(0).bytes(targetInfo(at)).u32(0)
	const fixed = 88
	parts := [][]byte{make([]byte, 24), proof, wide("CT-1"), wide(user), wide(station), random(16)}
	b := le("NTLMSSP\x00").u32(3)
	off := fixed
	for _, p := range parts {
		b = b.u16(uint16(len(p)), uint16(len(p))).u32(uint32(off))
		off += len(p)
	}
	return b.u32(ntlmFlags).bytes(windows10, random(16)).bytes(parts...)
}

// Commands of SMB 2 (MS-SMB2 section 2.2.1.2).
const (
	smbNegotiate = iota
	smbSessionSetup
	smbLogoff
	smbTreeConnect
	smbTreeDisconnect
	smbCreate
	smbClose
	_
	smbRead
	smbWrite
	_
	smbIOCTL
)

const (
	moreProcessing = 0xc0000016
	logonFailure   = 0xc000006d
)

// A smb2 is a client's session with ct-1, of SMB 2.1.
type smb2 struct {
	s       *span
	at      time.Duration
	lines   []line
	id      uint64 // of the next message
	session uint64
	tree    uint32
	files   uint64
}

// call adds a request and its response.
func (c *smb2) call(command uint16, status uint32, request, response []byte) {
	head := func(flags, status uint32) le {
		return le("\xfeSMB").u16(64, 1).u32(status).u16(command, 31).u32(flags, 0).u64(c.id).u32(0xfeff, c.tree).u64(c.session).zero(16)
	}
	c.lines = append(c.lines, says(direct(head(0, 0).bytes(request))), answers(direct(head(1, status).bytes(response))))
	c.id++
}

func (c *smb2) negotiate() {
	guid := le(nil).u64(c.s.rng.Uint64(), c.s.rng.Uint64())
	token := negTokenInit(nil)
	c.call(smbNegotiate, 0,
		le(nil).u16(36, 2, 1, 0).u32(0).bytes(guid).u64(0).u16(0x0202, 0x0210),
		le(nil).u16(65, 1, 0x0210, 0).u64(0x1122334455667788, 0x99aabbccddeeff00).u32(7, 1<<20, 1<<20, 1<<20).
			u64(windowsTime(c.at), windowsTime(c.at-61*time.Hour)).u16(128, uint16(len(token))).u32(0).bytes(token))
}

// login tries one password; user is whose.
func (c *smb2) login(user string, accepted bool) {
	setup := func(token []byte) []byte {
		return le(nil).u16(25).u8(0, 1).u32(1, 0).u16(88, uint16(len(token))).u64(0).bytes(token)
	}
	reply := func(token []byte) []byte { return le(nil).u16(9, 0, 72, uint16(len(token))).bytes(token) }
	c.session = 0
	first := negTokenInit(ntlmNegotiate())
	id := c.s.rng.Uint64()&0xffffff | 0x40000000
	// The response names the session that is set up.
	c.call(smbSessionSetup, moreProcessing, setup(first), reply(negTokenResp(1, c.s.ntlmChallenge(c.at))))
	last := len(c.lines) - 1
	binary.LittleEndian.PutUint64(c.lines[last].bytes[4+40:], id)
	c.session = id
	second := setup(negTokenResp(1, c.s.ntlmAuthenticate(c.at, user, laptopName)))
	if accepted {
		c.call(smbSessionSetup, 0, second, reply(negTokenResp(0, nil)))
	} else {
		c.call(smbSessionSetup, logonFailure, second, le(nil).u16(9, 0).u32(0).u8(0))
	}
}

func (c *smb2) connect(share string, pipe bool) {
	path := wide(`\\10.20.8.11\` + share)
	kind := byte(1)
	if pipe {
		kind = 2
	}
	c.tree = 0
	c.call(smbTreeConnect, 0, le(nil).u16(9, 0, 72, uint16(len(path))).bytes(path), le(nil).u16(16).u8(kind, 0).u32(0x30, 0, 0x1f01ff))
	c.tree = uint32(len(c.lines))
	last := len(c.lines) - 1
	binary.LittleEndian.PutUint32(c.lines[last].bytes[4+36:], c.tree)
}

// open returns the FileId.
func (c *smb2) open(name string, access, disposition uint32) []byte {
	c.files++
	id := le(nil).u64(c.files, 0xffffffff00000000|c.files)
	n := wide(name)
	t := windowsTime(c.at)
	c.call(smbCreate, 0,
		le(nil).u16(57).u8(0, 0).u32(2).zero(16).u32(access, 0x80, 7, disposition, 0x40).u16(120, uint16(len(n))).u32(0, 0).bytes(n),
		le(nil).u16(89).u8(0, 0).u32(2).u64(t, t, t, t, 0, 0).u32(0x80, 0).bytes(id).u32(0, 0))
	return id
}

func (c *smb2) write(id, data []byte, off int) {
	c.call(smbWrite, 0, le(nil).u16(49, 112).u32(uint32(len(data))).u64(uint64(off)).bytes(id).u32(0, 0).u16(0, 0).u32(0).bytes(data),
		le(nil).u16(17, 0).u32(uint32(len(data)), 0).u16(0, 0))
}

func (c *smb2) close(id []byte) {
	c.call(smbClose, 0, le(nil).u16(24, 0).u32(0).bytes(id), le(nil).u16(60, 0).u32(0).zero(52))
}

// transceive writes to a pipe and reads its answer (FSCTL_PIPE_TRANSCEIVE).
func (c *smb2) transceive(id, request, response []byte) {
	const code = 0x0011c017
	c.call(smbIOCTL, 0, le(nil).u16(57, 0).u32(code).bytes(id).u32(120, uint32(len(request)), 0, 0, 0, 1024, 1, 0).bytes(request),
		le(nil).u16(49, 0).u32(code).bytes(id).u32(112, 0, 112, uint32(len(response)), 0, 0).bytes(response))
}

// pdu is one of DCE/RPC (C706 section 12.6.3).
func pdu(kind byte, call uint32, body []byte) []byte {
	return le(nil).u8(5, 0, kind, 3, 0x10, 0, 0, 0).u16(uint16(16+len(body)), 0).u32(call).bytes(body)
}

var (
	svcctl = []byte{0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03, 2, 0, 0, 0}
	ndr    = []byte{0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0}
)

// ndrString is a string with its lengths, aligned (C706 section 14.3.4.2).
func ndrString(s string) []byte {
	n := uint32(len(s) + 1)
	return le(nil).u32(n, 0, n).text(s + "\x00").pad(4)
}

// services speaks the service control protocol in a pipe (MS-SCMR section 3.1.4).
func (c *smb2) services(pipe []byte, program string) {
	bind := le(nil).u16(4280, 4280).u32(0).u8(1, 0, 0, 0).u16(0).u8(1, 0).bytes(svcctl, ndr)
	ack := le(nil).u16(4280, 4280).u32(0x53f0).u16(13).bytes([]byte("\\PIPE\\ntsvcs\x00")).u8(0).u8(1, 0, 0, 0).u16(0, 0).bytes(ndr)
	c.transceive(pipe, pdu(11, 1, bind), pdu(12, 1, ack))
	call := uint32(1)
	ask := func(opnum uint16, stub, answer []byte) {
		call++
		c.transceive(pipe, pdu(0, call, le(nil).u32(uint32(len(stub))).u16(0, opnum).bytes(stub)),
			pdu(2, call, le(nil).u32(uint32(len(answer))).u16(0).u8(0, 0).bytes(answer)))
	}
	handle := func(n byte) []byte { return append(append(make([]byte, 4), n), make([]byte, 15)...) }
	manager, svc := handle(1), handle(2)
	const full = 0xf003f
	ask(15, le(nil).u32(0x20000).bytes(ndrString(`\\10.20.8.11`)).u32(0, full), le(nil).bytes(manager).u32(0)) // ROpenSCManagerW
	ask(12, le(nil).bytes(manager, ndrString("PSEXESVC")).u32(0x20004).bytes(ndrString("PSEXESVC")).u32(0xf01ff, 0x10, 3, 0).
		bytes(ndrString(`%SystemRoot%\`+program)).u32(0, 0, 0, 0, 0, 0, 0), le(nil).u32(0).bytes(svc).u32(0)) // RCreateServiceW
	ask(19, le(nil).bytes(svc).u32(0, 0), le(nil).u32(0)) // RStartServiceW
	ask(0, svc, le(nil).zero(20).u32(0))                  // RCloseServiceHandle
	ask(0, manager, le(nil).zero(20).u32(0))
}

// program looks like one, and is none: behind the head of a program comes
// what a random number generator said.
func (s *span) program(size int) []byte {
	b := le("MZ").u16(0x90, 3, 0, 4, 0, 0xffff).zero(44).u32(0x80).zero(2)
	b = append(b, "This is no program. It was made for the sample ward of Myelin."...)
	for len(b) < size {
		b = append(b, byte(s.rng.UintN(256)))
	}
	return b
}

// breakIn is the laptop trying passwords on ct-1, and getting in over its
// administrator's share.
func (s *span) breakIn() {
	c := &smb2{s: s, at: clock("07:06:20")}
	c.negotiate()
	for i := range 13 {
		n := len(c.lines)
		c.login([]string{"administrator", "service", smbUser}[i%3], false)
		c.lines[n].wait = 1100 * time.Millisecond
	}
	s.tcp(talk{at: "07:06:20", client: laptop, server: ct1, port: 445, end: reset}, c.lines)

	c = &smb2{s: s, at: clock("07:06:52")}
	c.negotiate()
	c.login(smbUser, true)
	c.connect("ADMIN$", false)
	const name = "PSEXESVC.exe"
	file := c.open(name, 0x40000000, 5)
	exe := s.program(48 << 10)
	for off := 0; off < len(exe); off += 16 << 10 {
		c.write(file, exe[off:off+16<<10], off)
	}
	c.close(file)
	c.connect("IPC$", true)
	c.services(c.open("svcctl", 0x2019f, 1), name)
	pipe := c.open("PSEXESVC", 0x2019f, 1)
	c.write(pipe, s.program(256)[64:], 0)
	s.tcp(talk{at: "07:06:52", client: laptop, server: ct1, port: 445, end: left}, c.lines)
}

// Commands of SMB 1 (MS-CIFS section 2.2.2.1).
const (
	smb1Close          = 0x04
	smb1Read           = 0x2e
	smb1TreeDisconnect = 0x71
	smb1Negotiate      = 0x72
	smb1SessionSetup   = 0x73
	smb1Logoff         = 0x74
	smb1TreeConnect    = 0x75
	smb1Create         = 0xa2
)

// A smb1 is a client's session with ct-1, of SMB 1.
type smb1 struct {
	lines    []line
	uid, tid uint16
	mid      uint16
}

// message writes a header, parameters and data (MS-CIFS section 2.2.3).
func (c *smb1) message(command byte, response bool, words, data []byte) []byte {
	flags, flags2 := byte(0x18), uint16(0xc001) // unicode, status of 32 bits, long names
	if response {
		flags |= 0x80
	}
	b := le("\xffSMB").u8(command).u32(0).u8(flags).u16(flags2).zero(12).u16(c.tid, 0x0a14, c.uid, c.mid)
	return direct(b.u8(byte(len(words) / 2)).bytes(words).u16(uint16(len(data))).bytes(data))
}

func (c *smb1) call(command byte, words, data, answerWords, answerData []byte) {
	c.lines = append(c.lines, says(c.message(command, false, words, data)), answers(c.message(command, true, answerWords, answerData)))
	c.mid++
}

// none ends a chain of commands (AndX).
var none = []byte{0xff, 0, 0, 0}

// exportShare is the workstation fetching the scanner's dose report, as it does
// every morning, over what Windows 7 spoke before anything else.
func (s *span) exportShare() {
	c := &smb1{mid: 1}
	// Texts begin at an even offset from the header (MS-CIFS section 2.2.1.1.1).
	texts := func(pad int, list ...string) le {
		b := le(nil).zero(pad)
		for _, t := range list {
			b = b.text(t + "\x00")
		}
		return b
	}
	c.call(smb1Negotiate, nil, []byte("\x02PC NETWORK PROGRAM 1.0\x00\x02LANMAN1.0\x00\x02NT LM 0.12\x00"),
		le(nil).u16(2).u8(3).u16(50, 1).u32(16644, 65536, 0).u32(0x0000e3fd).u64(windowsTime(clock("07:03:10"))).u16(0xffc4).u8(8),
		le(nil).u64(s.rng.Uint64()).bytes(texts(0, "RADIOLOGY", "CT-1")))
	proof := func() []byte { return le(nil).u64(s.rng.Uint64(), s.rng.Uint64(), s.rng.Uint64()) }
	c.uid = 2048
	c.call(smb1SessionSetup, le(nil).bytes(none).u16(16644, 50, 0).u32(0).u16(24, 24).u32(0, 0xd4),
		le(nil).bytes(proof(), proof()).bytes(texts(1, shareUser, "RADIOLOGY", "Windows 10 Pro 19045", "Windows 10 Pro 6.3")),
		le(nil).bytes(none).u16(0), texts(1, "Windows 7 Professional 7601 Service Pack 1", "Windows 7 Professional 6.1", "RADIOLOGY"))
	c.tid = 4097
	c.call(smb1TreeConnect, le(nil).bytes(none).u16(8, 1), le(nil).u8(0).bytes(texts(0, `\\CT-1\EXPORT`)).bytes([]byte("?????\x00")),
		le(nil).bytes(none).u16(1, 0x1ff, 0, 0x1ff, 0), le("A:\x00").bytes(texts(0, "NTFS")))
	report := "patient;id;born;exam;CTDIvol mGy;DLP mGy*cm\r\n"
	for _, p := range []person{anna, cleo} {
		report += fmt.Sprintf("%s, %s;%s;%s;CT thorax;7.1;248\r\n", p.family, p.given, p.record, p.birth)
	}
	name := "\\DOSE_20260303.csv"
	size := uint64(len(report))
	t := windowsTime(clock("07:02:58"))
	const fid = 0x4001
	c.call(smb1Create, le(nil).bytes(none).u8(0).u16(uint16(2*len(name))).u32(0, 0, 0x80000000).u64(0).u32(0, 7, 1, 0, 2).u8(0), texts(1, name),
		le(nil).bytes(none).u8(0).u16(fid).u32(1).u64(t, t, t, t).u32(0x80).u64(size, size).u16(0, 7).u8(0), nil)
	c.call(smb1Read, le(nil).bytes(none).u16(fid).u32(0).u16(uint16(size), uint16(size)).u32(0).u16(0).u32(0), nil,
		le(nil).bytes(none).u16(0xffff, 0, 0, uint16(size), 60).u32(0).zero(6), le(nil).u8(0).bytes([]byte(report)))
	c.call(smb1Close, le(nil).u16(fid).u32(0), nil, nil, nil)
	c.call(smb1TreeDisconnect, nil, nil, nil, nil)
	c.call(smb1Logoff, none, nil, none, nil)
	s.tcp(talk{at: "07:03:10", client: view1, server: ct1, port: 445}, c.lines)
}
