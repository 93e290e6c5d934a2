// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package dns reads messages of the Domain Name System.
//
// It implements the message format of RFC 1035 section 4 over UDP and TCP, with
// name compression, and with it multicast DNS (RFC 6762) and LLMNR (RFC 4795),
// which use the same format; the records of RFC 1035, AAAA (RFC 3596), SRV (RFC
// 2782) and TXT; and what tells a name that carries data from one that people
// chose: [RegisteredDomain], [Entropy].
//
// It leaves out DNSSEC's records, updates (RFC 2136), EDNS options (RFC 6891)
// and NetBIOS names, whose packets look alike and are no match.
//
// Sections are stepped through, one record at a time, without allocation; the
// slices in a record alias the message.
//
// This API is stable.
package dns

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"

	"github.com/myelin-health/myelin/wire"
)

// A Type is the type of a record or question (IANA's registry of DNS RR types).
type Type uint16

// The types that are of interest.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeSOA   Type = 6
	TypeNULL  Type = 10
	TypePTR   Type = 12
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeKEY   Type = 25
	TypeAAAA  Type = 28
	TypeSRV   Type = 33
	TypeOPT   Type = 41 // RFC 6891
	TypeIXFR  Type = 251
	TypeAXFR  Type = 252 // RFC 5936
	TypeANY   Type = 255

	// TypePrivate to TypePrivateEnd are for private use (RFC 6895 section 3.1).
	TypePrivate    Type = 65280
	TypePrivateEnd Type = 65534
)

// A Section is a part of a message (RFC 1035 section 4.1).
type Section uint8

// The sections, in their order.
const (
	Question Section = iota
	Answer
	Authority
	Additional
	sectionCount
)

const headerBytes = 12

// A Message is a DNS message. Its records are read with [Message.Next].
type Message struct {
	ID       uint16
	Response bool
	Opcode   uint8
	Rcode    uint8
	Count    [sectionCount]uint16 // of records in each section

	c       wire.Cursor
	msg     []byte
	section Section
	left    uint16
}

// Parse reads the header of a message (RFC 1035 section 4.1.1).
func Parse(b []byte) (Message, error) {
	m := Message{msg: b, c: wire.NewCursor("dns", b)}
	m.ID = m.c.Uint16("ID")
	flags := m.c.Uint16("flags")
	m.Response = flags&0x8000 != 0
	m.Opcode = uint8(flags >> 11 & 15)
	m.Rcode = uint8(flags & 15)
	for s := range m.Count {
		m.Count[s] = m.c.Uint16(countNames[s])
	}
	m.left = m.Count[Question]
	return m, m.c.Err()
}

var countNames = [sectionCount]string{"QDCOUNT", "ANCOUNT", "NSCOUNT", "ARCOUNT"}

// ParseStream returns the message at the front of a TCP stream, where each has
// its length of two bytes before it (RFC 1035 section 4.2.2), and how many
// bytes it took.
func ParseStream(b []byte) (msg []byte, n int, err error) {
	c := wire.NewCursor("dns", b)
	msg = c.Bytes("message", int(c.Uint16("length")))
	return msg, c.Off(), c.Err()
}

// A Record is a question or a resource record (RFC 1035 sections 4.1.2, 4.1.3).
type Record struct {
	Section Section
	Name    Name
	Type    Type
	Class   uint16 // of multicast DNS the top bit means something else (RFC 6762 section 10.2)
	TTL     uint32 // 0 of a question
	Data    []byte // nil of a question
	Off     int    // of the record, from the start of the message

	msg  []byte
	data int // where Data begins in msg
}

// Next reads the next record into r. It returns false after the last, and when
// the message does not follow its format: see [Message.Err].
func (m *Message) Next(r *Record) bool {
	for m.left == 0 {
		if m.section++; m.section >= sectionCount {
			m.section = sectionCount
			return false
		}
		m.left = m.Count[m.section]
	}
	m.left--
	*r = Record{Section: m.section, Off: m.c.Off(), msg: m.msg}
	r.Name = readName(&m.c, "NAME", m.msg)
	r.Type = Type(m.c.Uint16("TYPE"))
	r.Class = m.c.Uint16("CLASS")
	if m.section != Question {
		r.TTL = m.c.Uint32("TTL")
		n := int(m.c.Uint16("RDLENGTH"))
		r.data = m.c.Off()
		r.Data = m.c.Bytes("RDATA", n)
	}
	if !m.c.Ok() {
		m.section, m.left = sectionCount, 0
		return false
	}
	return true
}

// Err returns why [Message.Next] ended before the last record, or nil.
func (m *Message) Err() error { return m.c.Err() }

// A Name is a domain name at its place in a message.
type Name struct {
	msg []byte
	off int
}

// maxName is the longest name in bytes, with the lengths of its labels (RFC
// 1035 section 3.1).
const maxName = 255

// A walk goes through the labels of a name, up to an empty one, and from a
// pointer on through those of a name before it (section 4.1.4). Each pointer has
// to point before the place that the last one pointed to, so that every walk ends.
type walk struct {
	msg    []byte
	at     int
	before int // where the part in hand begins
	end    int // of the name where it stands: behind the first pointer, or the empty label
	total  int // bytes of the name
}

// next returns the next label, or nil after the last.
func (w *walk) next() ([]byte, error) {
	for w.at < len(w.msg) {
		n := int(w.msg[w.at])
		switch n >> 6 {
		case 0:
			from := w.at + 1
			w.total += 1 + n
			switch {
			case n == 0:
				w.ends(from)
				return nil, nil
			case w.total >= maxName: // the empty label is one more
				return nil, wire.ErrTooLong
			case from+n > len(w.msg):
				return nil, wire.ErrTruncated
			}
			w.at = from + n
			return w.msg[from:w.at:w.at], nil
		case 3:
			if w.at+2 > len(w.msg) {
				return nil, wire.ErrTruncated
			}
			w.ends(w.at + 2)
			to := n&0x3f<<8 | int(w.msg[w.at+1])
			if to >= w.before { // section 4.1.4: a prior occurrence
				return nil, wire.ErrInvalid
			}
			w.at, w.before = to, to
		default:
			return nil, wire.ErrReserved
		}
	}
	return nil, wire.ErrTruncated
}

// ends notes where the name ends, unless a pointer said so already.
func (w *walk) ends(at int) {
	if w.end == 0 {
		w.end = at
	}
}

// readName passes over a name and checks all of it.
func readName(c *wire.Cursor, field string, msg []byte) Name {
	start := c.Off()
	w := walk{msg: msg, at: start, before: start}
	for c.Ok() {
		label, err := w.next()
		if err != nil {
			c.FailAt(field, w.at, err)
		} else if label == nil {
			c.Skip(field, w.end-start)
			return Name{msg: msg, off: start}
		}
	}
	return Name{}
}

// Labels yields the labels of the name. The zero Name has none.
func (n Name) Labels() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		w := walk{msg: n.msg, at: n.off, before: n.off}
		for label, err := w.next(); label != nil && err == nil && yield(label); {
			label, err = w.next()
		}
	}
}

// Append appends the name to dst with dots between its labels, in lower case
// (RFC 4343), without the last dot; the root is nothing. A dot, a backslash and
// what is not printable are escaped (RFC 4343 section 2.1), so that the result
// is ASCII, and at most four times as long as the name.
func (n Name) Append(dst []byte) []byte {
	start := len(dst)
	w := walk{msg: n.msg, at: n.off, before: n.off}
	for label, err := w.next(); label != nil && err == nil; label, err = w.next() {
		if len(dst) > start {
			dst = append(dst, '.')
		}
		for _, b := range label {
			switch {
			case b == '.' || b == '\\':
				dst = append(dst, '\\', b)
			case b <= ' ' || b >= 0x7f:
				dst = append(dst, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
			case b >= 'A' && b <= 'Z':
				dst = append(dst, b|0x20)
			default:
				dst = append(dst, b)
			}
		}
	}
	return dst
}

// Target returns the name in the data of a record of a type that has one: the
// host of PTR, CNAME, NS, MX and SRV.
func (r *Record) Target() (Name, bool) {
	skip := 0
	switch r.Type {
	case TypePTR, TypeCNAME, TypeNS:
	case TypeMX:
		skip = 2 // RFC 1035 section 3.3.9: PREFERENCE
	case TypeSRV:
		skip = 6 // RFC 2782: Priority, Weight, Port
	default:
		return Name{}, false
	}
	c := wire.NewCursor("dns", r.msg)
	c.Skip("RDATA", r.data+skip)
	name := readName(&c, "RDATA", r.msg)
	return name, c.Ok() && c.Off() <= r.data+len(r.Data)
}

// Port returns the port of a SRV record (RFC 2782), or 0.
func (r *Record) Port() uint16 {
	if r.Type != TypeSRV || len(r.Data) < 6 {
		return 0
	}
	return binary.BigEndian.Uint16(r.Data[4:])
}

// Strings yields the character-strings of a TXT record (RFC 1035 section 3.3.14).
func (r *Record) Strings() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if r.Type != TypeTXT {
			return
		}
		for b := r.Data; len(b) > 0 && int(b[0]) < len(b); {
			n := 1 + int(b[0])
			if !yield(b[1:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// maxCount is how many records of a section Recognise believes in. The answers
// of a zone transfer have a few hundred.
const maxCount = 2048

// RecogniseDatagram tells whether b is a message over UDP.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) < headerBytes {
		return wire.NoMatch
	}
	m, err := Parse(b[:min(len(b), 256)])
	if err != nil {
		return wire.NoMatch
	}
	flags := binary.BigEndian.Uint16(b[2:])
	total := 0
	for _, n := range m.Count {
		if n > maxCount {
			return wire.NoMatch
		}
		total += int(n)
	}
	switch {
	case m.Opcode == 1 || m.Opcode == 3 || m.Opcode > 6 || flags&0x0040 != 0: // section 4.1.1: Z is zero
		return wire.NoMatch
	case total == 0 || !m.Response && m.Rcode != 0:
		return wire.NoMatch
	case total*5 > len(b)-headerBytes: // a record has five bytes at least
		return wire.NoMatch
	}
	var r Record
	if !m.Next(&r) {
		return wire.WeakMatch
	}
	if netbios(r.Name) {
		return wire.NoMatch
	}
	if !known(r.Type) || !knownClass(r.Class) || m.Count[Question] > 1 && m.ID != 0 {
		return wire.WeakMatch
	}
	return wire.SureMatch
}

// Recognise tells whether b starts with a message over TCP, behind its length.
func Recognise(b []byte) wire.Match {
	if len(b) < 2+headerBytes {
		if len(b) >= 6 && !known(Type(b[4])<<8|Type(b[5])) { // a count of questions of 0 or 1
			return wire.NoMatch
		}
		return wire.NeedMore
	}
	if n := int(binary.BigEndian.Uint16(b)); n < headerBytes+5 {
		return wire.NoMatch
	}
	n := int(binary.BigEndian.Uint16(b))
	if q := binary.BigEndian.Uint16(b[6:]); q > 1 {
		return wire.NoMatch
	}
	// The datagram's test counts the records against the length: here against
	// the length to come.
	msg := b[2:min(len(b), 2+n)]
	m, err := Parse(msg)
	if err != nil || m.Opcode == 1 || m.Opcode == 3 || m.Opcode > 6 || msg[3]&0x40 != 0 || !m.Response && m.Rcode != 0 {
		return wire.NoMatch
	}
	total := 0
	for _, count := range m.Count {
		total += int(count)
	}
	var r Record
	switch {
	case total == 0 || total > maxCount || total*5 > n-headerBytes:
		return wire.NoMatch
	case !m.Next(&r):
		if len(msg) < n && len(msg) < maxName+headerBytes {
			return wire.NeedMore
		}
		return wire.NoMatch
	case netbios(r.Name) || !known(r.Type) || !knownClass(r.Class):
		return wire.NoMatch
	}
	return wire.SureMatch
}

func known(t Type) bool {
	return t > 0 && t <= 67 || t >= 99 && t <= 109 || t >= 249 && t <= 262 || t == 32768 || t == 32769 || t >= TypePrivate && t <= TypePrivateEnd
}

// knownClass knows IN, CH, HS, NONE and ANY, and the first and last with the
// top bit of multicast DNS (RFC 6762 sections 5.4 and 10.2); of OPT the class
// is a size (RFC 6891 section 6.1.2), but that is never the first record.
func knownClass(class uint16) bool {
	switch class &^ 0x8000 {
	case 1, 3, 4, 254, 255:
		return true
	}
	return false
}

// netbios reports whether a name is one of RFC 1002 section 4.1: 32 letters
// from A to P in its first label.
func netbios(n Name) bool {
	for label := range n.Labels() {
		if len(label) != 32 {
			return false
		}
		for _, b := range label {
			if b < 'A' || b > 'P' {
				return false
			}
		}
		return true
	}
	return false
}

// suffixes are names of two labels under which anybody can register a third.
// The public list has thousands; these are those of large countries.
var suffixes = [...]string{
	"ac.jp", "ac.nz", "ac.uk", "co.id", "co.il", "co.in", "co.jp", "co.ke", "co.kr", "co.nz", "co.th", "co.uk", "co.za",
	"com.ar", "com.au", "com.bd", "com.br", "com.cn", "com.co", "com.eg", "com.hk", "com.mx", "com.my", "com.ng", "com.pe",
	"com.ph", "com.pk", "com.pl", "com.sa", "com.sg", "com.tr", "com.tw", "com.ua", "com.vn", "edu.au", "edu.cn", "go.jp",
	"go.kr", "gov.au", "gov.br", "gov.cn", "gov.in", "gov.uk", "ne.jp", "net.au", "net.br", "net.cn", "net.in", "nhs.uk",
	"or.jp", "or.kr", "org.au", "org.br", "org.cn", "org.nz", "org.uk", "sch.uk",
}

// RegisteredDomain splits a name in the form of [Name.Append] into what
// somebody probably registered (the last two labels, or three below a suffix
// like "co.uk") and what stands before that, without the dot between.
func RegisteredDomain(name []byte) (domain, rest []byte) {
	cut := lastDot(name, len(name))
	cut = lastDot(name, cut)
	for _, s := range suffixes {
		if cut >= 0 && string(name[cut+1:]) == s {
			cut = lastDot(name, cut)
			break
		}
	}
	if cut < 0 {
		return name, nil
	}
	return name[cut+1:], name[:cut:cut]
}

// lastDot is the place of the last dot before end that no backslash escapes, or -1.
func lastDot(name []byte, end int) int {
	for end > 0 {
		end = bytes.LastIndexByte(name[:end], '.')
		if end > 0 && name[end-1] == '\\' {
			continue
		}
		return end
	}
	return -1
}

// Entropy is Shannon's, in bits per byte: words have about 3, data in base 32 close to 5.
func Entropy(b []byte) float64 {
	if len(b) == 0 {
		return 0
	}
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	sum, n := 0.0, float64(len(b))
	for _, k := range count {
		if k > 0 {
			p := float64(k) / n
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
