// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

func Example() {
	var file bytes.Buffer
	w, err := capture.NewWriter(&file, capture.LinkEthernet)
	if err != nil {
		fmt.Println(err)
	}
	err = w.WriteFrame(&capture.Frame{Time: 1767225600_000000042, Link: capture.LinkEthernet, Data: make([]byte, 60)})
	if err != nil {
		fmt.Println(err)
	}
	cut := bytes.NewReader(append(file.Bytes(), file.Bytes()[24:60]...)) // a second packet, of which something is missing

	r, err := capture.NewReader(cut)
	if err != nil {
		fmt.Println(err)
		return
	}
	var f capture.Frame
	for err = r.ReadFrame(&f); err == nil; err = r.ReadFrame(&f) {
		fmt.Println(r.Kind(), f.Packet, f.Time, capture.LinkName(f.Link), len(f.Data))
	}
	fmt.Println(err)
	// Output:
	// pcap 1 1767225600000000042 Ethernet 60
	// capture: packet 2 at byte 100: truncated: 36 of 76 bytes are there
}

func ExampleReader_ReadBatch() {
	var file bytes.Buffer
	w, err := capture.NewNGWriter(&file, capture.LinkEthernet, capture.LinkRaw)
	if err != nil {
		fmt.Println(err)
	}
	for i := range 1000 {
		link := []capture.LinkType{capture.LinkEthernet, capture.LinkRaw}[i%2]
		if err := w.WriteFrame(&capture.Frame{Interface: i % 2, Link: link, Data: make([]byte, 100)}); err != nil {
			fmt.Println(err)
		}
	}
	r, err := capture.NewReader(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	var b capture.Batch // a batch may go to another goroutine while the reader fills the next
	packets := 0
	for err = r.ReadBatch(&b); err == nil; err = r.ReadBatch(&b) {
		packets += len(b.Frames)
	}
	fmt.Println(packets, err)
	// Output: 1000 EOF
}

// readAll returns copies of the frames of r, and the error that ended them.
func readAll(r io.Reader) ([]capture.Frame, error) {
	c, err := capture.NewReader(r)
	if err != nil {
		return nil, err
	}
	var frames []capture.Frame
	var f capture.Frame
	for {
		if err := c.ReadFrame(&f); err != nil {
			return frames, err
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func equal(a, b capture.Frame) bool {
	data := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	return data && reflect.DeepEqual(a, b)
}

// checkDamage checks that err is damage after n packets, within a file of size bytes.
func checkDamage(t *testing.T, err error, n, size int) *capture.DamageError {
	t.Helper()
	var d *capture.DamageError
	if !errors.As(err, &d) {
		t.Fatalf("error %v (%T), want a *DamageError", err, err)
	}
	if d.Packet != uint64(n) || d.Offset < 0 || d.Offset > int64(size) {
		t.Fatalf("%v: after packet %d; want packet %d and an offset up to %d", err, d.Packet, n, size)
	}
	return d
}

// le and be append numbers in the byte order of their name.
func le(v ...any) []byte { return number(binary.LittleEndian, v) }
func be(v ...any) []byte { return number(binary.BigEndian, v) }

func number(order binary.ByteOrder, values []any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			b.WriteString(s)
		} else if err := binary.Write(&b, order, v); err != nil {
			panic(err) // a value in a test without a size
		}
	}
	return b.Bytes()
}

type (
	u8  = uint8
	u16 = uint16
	u32 = uint32
	u64 = uint64
	i64 = int64
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// ng makes pcapng blocks in one byte order.
type ng func(v ...any) []byte

func (n ng) block(kind u32, body ...any) []byte {
	b := n(body...)
	b = append(b, make([]byte, -len(b)&3)...)
	length := u32(len(b) + 12)
	return join(n(kind, length), b, n(length))
}

func (n ng) section() []byte {
	return n.block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(1), u16(0), i64(-1))
}

func (n ng) iface(link u16, snap u32, options ...any) []byte {
	return n.block(1, append([]any{link, u16(0), snap}, options...)...)
}

func (n ng) packet(iface u32, time u64, data string, options ...any) []byte {
	pad := strings.Repeat("\x00", -len(data)&3)
	return n.block(6, append([]any{iface, u32(time >> 32), u32(time), u32(len(data)), u32(len(data) + 1), data, pad}, options...)...)
}

func (n ng) simple(origLen u32, data string) []byte { return n.block(3, origLen, data) }

func (n ng) obsolete(iface, drops u16, time u64, data string) []byte {
	return n.block(2, iface, drops, u32(time>>32), u32(time), u32(len(data)), u32(len(data)+1), data)
}

var (
	nl ng = le
	nb ng = be
)

const sec = 1_700_000_000 // 2023-11-14

// frame is a capture.Frame with its bytes as text.
func frame(packet u64, data string, time int64, origLen int, link capture.LinkType) capture.Frame {
	return capture.Frame{Packet: packet, Data: []byte(data), Time: time, OrigLen: origLen, Link: link}
}

func pcapFile(order func(...any) []byte, magic u32, link u32, records ...[]byte) []byte {
	return join(order(magic, u16(2), u16(4), u32(0), u32(0), u32(262144), link), join(records...))
}

func btsnoopFile(datalink u32, records ...[]byte) []byte {
	return join(be("btsnoop\x00", u32(1), datalink), join(records...))
}

// Why an input is no capture.
const (
	notByMagic = "capture: not a capture file: it begins with none of the magic numbers of pcap, pcapng, btsnoop, gzip and zstd"
	notByText  = "capture: not a capture file: text, which begins neither like pcap, pcapng, btsnoop, gzip or zstd nor like a frame log"
)

func TestRead(t *testing.T) {
	const at = sec*1_000_000_000 + 123_456_000
	tests := []struct {
		name string
		file []byte
		want []capture.Frame
		err  string // "" is io.EOF
	}{
		{
			"pcap, little-endian",
			pcapFile(le, 0xa1b2c3d4, 1, le(u32(sec), u32(123456), u32(3), u32(1514), "abc"), le(u32(sec), u32(123456), u32(0), u32(0))),
			[]capture.Frame{frame(1, "abc", at, 1514, 1), frame(2, "", at, 0, 1)},
			"",
		},
		{
			"pcap, big-endian",
			pcapFile(be, 0xa1b2c3d4, 101, be(u32(sec), u32(123456), u32(3), u32(3), "abc")),
			[]capture.Frame{frame(1, "abc", at, 3, 101)},
			"",
		},
		{
			"pcap, nanoseconds",
			pcapFile(le, 0xa1b23c4d, 276, le(u32(sec), u32(123456789), u32(1), u32(1), "a")),
			[]capture.Frame{frame(1, "a", at+789, 1, 276)},
			"",
		},
		{
			"pcap, nanoseconds, big-endian",
			pcapFile(be, 0xa1b23c4d, 228, be(u32(sec), u32(123456789), u32(1), u32(1), "a")),
			[]capture.Frame{frame(1, "a", at+789, 1, 228)},
			"",
		},
		{
			"pcap, Kuznetzov's",
			pcapFile(le, 0xa1b2cd34, 1, le(u32(sec), u32(123456), u32(1), u32(1), u32(7), u16(8), u8(0), u8(0), "a")),
			[]capture.Frame{frame(1, "a", at, 1, 1)},
			"",
		},
		{
			"pcap, Kuznetzov's, big-endian",
			pcapFile(be, 0xa1b2cd34, 1, be(u32(sec), u32(123456), u32(1), u32(1), u32(7), u16(8), u8(0), u8(0), "a")),
			[]capture.Frame{frame(1, "a", at, 1, 1)},
			"",
		},
		{
			"pcap, frame check sequence of four bytes in the link type",
			pcapFile(le, 0xa1b2c3d4, 0x24000001, le(u32(sec), u32(123456), u32(1), u32(1), "a")),
			[]capture.Frame{frame(1, "a", at, 1, 1)},
			"",
		},
		{
			"pcap, more captured than there was, after 2038",
			pcapFile(le, 0xa1b2c3d4, 1, le(u32(math.MaxUint32), u32(0), u32(2), u32(1), "ab")),
			[]capture.Frame{frame(1, "ab", math.MaxUint32*1e9, 2, 1)},
			"",
		},
		{"pcap, nothing in it", pcapFile(le, 0xa1b2c3d4, 1), nil, ""},
		{
			"pcap, the largest frame and one more byte",
			pcapFile(le, 0xa1b2c3d4, 1,
				le(u32(0), u32(0), u32(capture.MaxFrame), u32(capture.MaxFrame), strings.Repeat("x", capture.MaxFrame)),
				le(u32(0), u32(0), u32(capture.MaxFrame+1), u32(0), strings.Repeat("x", capture.MaxFrame+1))),
			[]capture.Frame{frame(1, strings.Repeat("x", capture.MaxFrame), 0, capture.MaxFrame, 1)},
			"capture: packet 2 at byte 1048616: longer than allowed: a frame of more than 1048576 bytes",
		},
		{
			"pcap, cut in a record header",
			pcapFile(le, 0xa1b2c3d4, 1, le(u32(0), u32(0), u32(0), u32(0)), le(u32(0), u32(0), u32(0), u16(0))),
			[]capture.Frame{frame(1, "", 0, 0, 1)},
			"capture: packet 2 at byte 40: truncated: 14 of 16 bytes are there",
		},
		{
			"pcap, header cut", pcapFile(le, 0xa1b2c3d4, 1)[:23], nil,
			"capture: pcap header at byte 0: truncated: 23 of 24 bytes are there",
		},
		{
			"pcap, magic only", le(u32(0xa1b2c3d4)), nil,
			"capture: pcap header at byte 0: truncated: 4 of 24 bytes are there",
		},
		{
			"pcap, version 3", le(u32(0xa1b2c3d4), u16(3), u16(0), u64(0), u64(0)), nil,
			"capture: pcap header at byte 0: invalid value: major version is not 2",
		},
		{
			"pcap, version 2 in the other byte order", be(u32(0xa1b2c3d4), le(u16(2)), u16(0), u64(0), u64(0)), nil,
			"capture: pcap header at byte 0: invalid value: major version is not 2",
		},

		{
			"pcapng, enhanced packets of two interfaces",
			join(nl.section(), nl.iface(1, 0), nl.iface(113, 0),
				nl.packet(0, sec*1e6+123456, "abcde"), nl.packet(1, sec*1e6+123456, "abcd")),
			[]capture.Frame{
				frame(1, "abcde", at, 6, 1),
				{Packet: 2, Data: []byte("abcd"), Time: at, OrigLen: 5, Link: 113, Interface: 1},
			},
			"",
		},
		{
			"pcapng, sections of both byte orders, whose interfaces count on",
			join(nb.section(), nb.iface(1, 0), nb.packet(0, sec*1e6+123456, "a"), nl.section(), nl.iface(101, 0), nl.packet(0, sec*1e6+123456, "b"), nb.section()),
			[]capture.Frame{
				frame(1, "a", at, 2, 1),
				{Packet: 2, Data: []byte("b"), Time: at, OrigLen: 2, Link: 101, Interface: 1},
			},
			"",
		},
		{
			"pcapng, simple packets: cut by the interface, whole, padded, with the time before",
			join(nl.section(), nl.iface(1, 4), nl.packet(0, sec*1e6+123456, "a"), nl.simple(9, "abcd"), nl.simple(3, "abc\x00")),
			[]capture.Frame{frame(1, "a", at, 2, 1), frame(2, "abcd", at, 9, 1), frame(3, "abc", at, 3, 1)},
			"",
		},
		{
			"pcapng, obsolete packets",
			join(nb.section(), nb.iface(1, 0), nb.obsolete(0, 0xffff, sec*1e6+123456, "abc"), nb.obsolete(0, 7, sec*1e6+123456, "abcd")),
			[]capture.Frame{frame(1, "abc", at, 4, 1), frame(2, "abcd", at, 5, 1)},
			"",
		},
		{
			"pcapng, options of packets",
			join(nl.section(), nl.iface(1, 0),
				nl.packet(0, sec*1e6+123456, "abc", u16(1), u16(5), "hello\x00\x00\x00", u16(2), u16(4), u32(2), u16(4), u16(8), u64(3), u16(0), u16(0))),
			[]capture.Frame{{Packet: 1, Data: []byte("abc"), Time: at, OrigLen: 4, Link: 1, Flags: 2}},
			"",
		},
		{
			"pcapng, blocks to skip, of which some have a number",
			join(nl.section(), nl.block(4, u32(0)), nl.block(10, u32(0x544c534b), u32(4), "abcd"), nl.iface(1, 0), nl.block(9, "MESSAGE=hi\n\n"),
				nl.block(0x77777), nl.block(0xbad, u32(32473)), nl.packet(0, sec*1e6+123456, "a"), nl.block(5, u32(0), u64(0))),
			[]capture.Frame{frame(3, "a", at, 2, 1)},
			"",
		},
		{
			"pcapng, a block to skip that is larger than anything kept",
			join(nl.section(), nl.iface(1, 0), nl.block(0x77777, strings.Repeat("z", 5<<20)), nl.packet(0, sec*1e6+123456, "a")),
			[]capture.Frame{frame(1, "a", at, 2, 1)},
			"",
		},
		{
			"pcapng, such a block cut",
			join(nl.section(), nl.iface(1, 0), nl.packet(0, sec*1e6+123456, "a"), nl.block(0x77777, strings.Repeat("z", 3<<20))[:2<<20]),
			[]capture.Frame{frame(1, "a", at, 2, 1)},
			"capture: block at byte 2097236: truncated: more bytes were to come",
		},
		{
			"pcapng, such a block with another length at its end",
			join(nl.section(), nl.block(0x77777, u32(0))[:12], nl(u32(20))), nil,
			"capture: block at byte 40: invalid value: block lengths before and after differ",
		},
		{
			"pcapng, packet with another length at its end",
			join(nl.section(), nl.iface(1, 0), nl.packet(0, 0, "a")[:32], nl(u32(40))), nil,
			"capture: packet 1 at byte 48: invalid value: block lengths before and after differ",
		},
		{
			"pcapng, interface that is not there",
			join(nl.section(), nl.iface(1, 0), nl.packet(1, 0, "a")), nil,
			"capture: packet 1 at byte 48: invalid value: none of 1 interfaces",
		},
		{
			"pcapng, interface of the section before",
			join(nl.section(), nl.iface(1, 0), nb.section(), nb.packet(0, 0, "a")), nil,
			"capture: packet 1 at byte 76: invalid value: none of 0 interfaces",
		},
		{
			"pcapng, simple packet before an interface",
			join(nl.section(), nl.simple(1, "a\x00\x00\x00")), nil,
			"capture: packet 1 at byte 28: invalid value: none of 0 interfaces",
		},
		{
			"pcapng, simple packet longer than its block",
			join(nl.section(), nl.iface(1, 0), nl.simple(5, "abcd")), nil,
			"capture: packet 1 at byte 48: truncated: 4 of 5 bytes are there",
		},
		{
			"pcapng, packet longer than its block",
			join(nl.section(), nl.iface(1, 0), nl.block(6, u32(0), u64(0), u32(5), u32(5), "abcd")), nil,
			"capture: packet 1 at byte 48: truncated: 4 of 5 bytes are there",
		},
		{
			"pcapng, packet longer than allowed",
			join(nl.section(), nl.iface(1, 0), nl.block(6, u32(0), u64(0), u32(capture.MaxFrame+1), u32(5), "abcd")), nil,
			"capture: packet 1 at byte 48: longer than allowed: a frame of more than 1048576 bytes",
		},
		{
			"pcapng, block longer than allowed",
			join(nl.section(), nl.iface(1, 0), nl(u32(6), u32(2*capture.MaxFrame+4), u32(0))), nil,
			"capture: packet 1 at byte 48: longer than allowed: a block of more than 2097152 bytes",
		},
		{
			"pcapng, block too short for its kind",
			join(nl.section(), nl.iface(1, 0), nl.block(6, u64(0))), nil,
			"capture: packet 1 at byte 48: truncated: a block of 20 bytes",
		},
		{
			"pcapng, block too short for any kind",
			join(nl.section(), nl(u32(77), u32(8), u32(8))), nil,
			"capture: block at byte 28: truncated: a block of 8 bytes",
		},
		{
			"pcapng, block of odd length",
			join(nl.section(), nl(u32(77), u32(13), u32(0), u32(0))), nil,
			"capture: block at byte 28: invalid value: block length is no multiple of four",
		},
		{
			"pcapng, option longer than its block",
			join(nl.section(), nl.iface(1, 0, u16(2), u16(5), "abcd")), nil,
			"capture: interface description at byte 28: truncated: option",
		},
		{
			"pcapng, option of a packet longer than its block",
			join(nl.section(), nl.iface(1, 0), nl.packet(0, 0, "a", u16(1), u16(1))), nil,
			"capture: packet 1 at byte 48: truncated: option",
		},
		{
			"pcapng, if_tsresol of two bytes",
			join(nl.section(), nl.iface(1, 0, u16(9), u16(2), u32(6))), nil,
			"capture: interface description at byte 28: invalid value: option 9 of 2 bytes",
		},
		{
			"pcapng, if_tsoffset of four bytes",
			join(nl.section(), nl.iface(1, 0, u16(14), u16(4), u32(6))), nil,
			"capture: interface description at byte 28: invalid value: option 14 of 4 bytes",
		},
		{
			"pcapng, version 2",
			nl.block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(2), u16(0), i64(-1)), nil,
			"capture: section header at byte 0: invalid value: major version is not 1",
		},
		{
			"pcapng, second section without its byte order",
			join(nl.section(), nl.block(0x0a0d0d0a, u32(0x1a2b3c4e), u16(1), u16(0), i64(-1))), nil,
			"capture: section header at byte 28: invalid value: byte-order magic",
		},
		{
			"pcapng, too many interfaces",
			join(nl.section(), bytes.Repeat(nl.iface(1, 0), 4097)), nil,
			"capture: interface description at byte 81948: longer than allowed: more than 4096 interfaces",
		},
		{
			"pcapng, cut in its first block",
			nl.section()[:16], nil,
			"capture: packet 1 at byte 0: truncated: 16 of 28 bytes are there",
		},

		{
			"btsnoop, UART",
			btsnoopFile(1002, be(u32(9), u32(3), u32(1), u32(0), i64(0x00dcddb30f2f8000+sec*1_000_000+123456), "abc")),
			[]capture.Frame{{Packet: 1, Data: []byte("abc"), Time: at, OrigLen: 9, Flags: 1, Link: 187}},
			"",
		},
		{
			"btsnoop, before 1970 and after 2262",
			btsnoopFile(1001, be(u32(0), u32(0), u32(0), u32(0), i64(math.MinInt64)), be(u32(0), u32(0), u32(0), u32(0), i64(math.MaxInt64))),
			[]capture.Frame{frame(1, "", 0, 0, capture.LinkBTSnoopH1), frame(2, "", math.MaxInt64/1000*1000, 0, capture.LinkBTSnoopH1)},
			"",
		},
		{
			"btsnoop, cut",
			btsnoopFile(2001, be(u32(9), u32(3), u32(1), u32(0), i64(0), "ab")), nil,
			"capture: packet 1 at byte 16: truncated: 26 of 27 bytes are there",
		},
		{
			"btsnoop, frame longer than allowed",
			btsnoopFile(1002, be(u32(9), u32(math.MaxUint32), u32(1), u32(0), i64(0), "ab")), nil,
			"capture: packet 1 at byte 16: longer than allowed: a frame of more than 1048576 bytes",
		},
		{"btsnoop, header cut", btsnoopFile(1002)[:15], nil, "capture: btsnoop header at byte 0: truncated: 15 of 16 bytes are there"},
		{"btsnoop, version 2", be("btsnoop\x00", u32(2), u32(1002)), nil, "capture: btsnoop header at byte 0: invalid value: version is not 1"},
		{"btsnoop, datalink 2002", btsnoopFile(2002), nil, "capture: btsnoop header at byte 0: invalid value: datalink is none of 1001 to 1004 and 2001"},

		{"nothing", nil, nil, "capture: not a capture file: empty"},
		{"three bytes", []byte{0xd4, 0xc3, 0xb2}, nil, notByMagic},
		{"text", []byte("MSH|^~\\&|MONITOR|ICU"), nil, notByText},
		{"text that is cut within a letter", []byte("Patientenname:\n\xc3\xb6"), nil, notByText},
		{"a magic number of text", []byte("\n#-----\tmagic"), nil, notByText},
		{"JSON", []byte(`{"resourceType":"Patient"}`), nil, `capture: not a capture file: JSON, and its first line is no frame, with its bytes as "hex", of a frame log`},
		{"a block type without byte order", nl.block(0x0a0d0d0a, u32(0), u32(0)), nil, "capture: not a capture file: a pcapng block without the magic number of its byte order"},
		{"half a magic", []byte("btsnoop!\x00\x00\x00\x01"), nil, notByMagic},
		{"zip", []byte("PK\x03\x04\x14\x00"), nil, "capture: not a capture file: zip, which has to be unpacked"},
		{"snoop", []byte("snoop\x00\x00\x00\x00\x00\x00\x02"), nil, "capture: not a capture file: snoop, which editcap makes a pcap of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == "" {
				tt.err = io.EOF.Error()
			}
			for _, way := range []struct {
				name string
				in   func(io.Reader) io.Reader
			}{
				{"whole", func(r io.Reader) io.Reader { return r }},
				{"error with the last bytes", iotest.DataErrReader},
				{"halves", iotest.HalfReader},
				{"single bytes", iotest.OneByteReader},
			} {
				if way.name == "single bytes" && len(tt.file) > 1<<20 {
					continue
				}
				frames, err := readAll(way.in(bytes.NewReader(tt.file)))
				if err == nil || err.Error() != tt.err {
					t.Errorf("%s: error %q, want %q", way.name, err, tt.err)
				}
				if !slices.EqualFunc(frames, tt.want, equal) {
					t.Errorf("%s: frames %v, want %v", way.name, frames, tt.want)
				}
				if err != io.EOF && !errors.Is(err, capture.ErrFormat) {
					checkDamage(t, err, packets(frames), len(tt.file))
				}
			}
		})
	}
}

// packets returns how many packets were counted up to the last of frames.
func packets(frames []capture.Frame) int {
	if len(frames) == 0 {
		return 0
	}
	return int(frames[len(frames)-1].Packet)
}

func TestTimeResolution(t *testing.T) {
	tsresol := func(n u8) []any { return []any{u16(9), u16(1), n, u8(0), u16(0)} }
	tsoffset := func(s i64) []any { return []any{u16(14), u16(8), s} }
	tests := []struct {
		name    string
		options []any
		units   u64
		want    int64
	}{
		{"microseconds unless told", nil, sec * 1e6, sec * 1e9},
		{"seconds", tsresol(0), sec, sec * 1e9},
		{"milliseconds", tsresol(3), sec*1e3 + 1, sec*1e9 + 1e6},
		{"nanoseconds", tsresol(9), sec*1e9 + 1, sec*1e9 + 1},
		{"picoseconds", tsresol(12), 1_234_567, 1234},
		{"the finest decimal unit of which there are enough", tsresol(28), math.MaxUint64, 1},
		{"a finer one", tsresol(29), math.MaxUint64, 0},
		{"the finest decimal unit", tsresol(127), math.MaxUint64, 0},
		{"seconds, as a power of two", tsresol(0x80), sec, sec * 1e9},
		{"1/1024 s", tsresol(0x80 | 10), sec<<10 | 512, sec*1e9 + 5e8},
		{"2^-32 s", tsresol(0x80 | 32), sec<<32 | 1<<31, sec*1e9 + 5e8},
		{"2^-63 s", tsresol(0x80 | 63), math.MaxUint64, 1_999_999_999},
		{"2^-64 s", tsresol(0x80 | 64), math.MaxUint64, 999_999_999},
		{"2^-93 s", tsresol(0x80 | 93), math.MaxUint64, 1},
		{"2^-127 s", tsresol(0xff), math.MaxUint64, 0},
		{"after 2262", nil, math.MaxUint64, math.MaxInt64},
		{"after 2262 in nanoseconds", tsresol(9), math.MaxInt64 + 1, math.MaxInt64},
		{"after 2262 as a power of two", tsresol(0x81), math.MaxUint64, math.MaxInt64},
		{"offset", tsoffset(sec), 5e6, (sec + 5) * 1e9},
		{"offset back", tsoffset(-5), 4e6, -1e9},
		{"offset after 2262", tsoffset(math.MaxInt64), 1e6, math.MaxInt64},
		{"offset before 1677", tsoffset(math.MinInt64), 1e6, -9223372035e9},
		{"both", append(tsresol(3), tsoffset(sec)...), 5, sec*1e9 + 5e6},
		{"both, the other way round", append(tsoffset(sec), tsresol(3)...), 5, sec*1e9 + 5e6},
	}
	for _, tt := range tests {
		for name, n := range map[string]ng{"little-endian": nl, "big-endian": nb} {
			frames, err := readAll(bytes.NewReader(join(n.section(), n.iface(1, 0, tt.options...), n.packet(0, tt.units, "a"))))
			if err != io.EOF || len(frames) != 1 || frames[0].Time != tt.want {
				t.Errorf("%s, %s: %v, %v; want time %d", tt.name, name, frames, err, tt.want)
			}
		}
	}
}

func TestDropped(t *testing.T) {
	for _, tt := range []struct {
		file []byte
		want u64
	}{
		{join(nl.section(), nl.iface(1, 0), nl.packet(0, 0, "a", u16(4), u16(8), u64(3)), nl.packet(0, 0, "a", u16(4), u16(8), u64(4)),
			nl.obsolete(0, 5, 0, ""), nl.obsolete(0, 0xffff, 0, "")), 12},
		{btsnoopFile(1002, be(u32(0), u32(0), u32(0), u32(2), i64(0)), be(u32(0), u32(0), u32(0), u32(6), i64(0))), 6},
		{pcapFile(le, 0xa1b2c3d4, 1, le(u32(0), u32(0), u32(0), u32(0))), 0},
	} {
		r, err := capture.NewReader(bytes.NewReader(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		var f capture.Frame
		for err == nil {
			err = r.ReadFrame(&f)
		}
		if err != io.EOF || r.Dropped() != tt.want || r.Offset() != int64(len(tt.file)) {
			t.Errorf("%s: %v, %d dropped, %d bytes; want %d of %d", r.Kind(), err, r.Dropped(), r.Offset(), tt.want, len(tt.file))
		}
	}
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBTSnoopWriter(t *testing.T) {
	var out bytes.Buffer
	w, err := capture.NewBTSnoopWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	frames := []capture.Frame{
		{Data: []byte{1, 3, 12, 0}, Time: sec * 1e9, Packet: 1, OrigLen: 4, Flags: 2, Link: capture.LinkBluetoothHCIH4},
		{Data: []byte{2, 64, 0, 9, 0}, Time: sec*1e9 + 1000, Packet: 2, OrigLen: 14, Flags: 1, Link: capture.LinkBluetoothHCIH4},
	}
	for i := range frames {
		if err := w.WriteFrame(&frames[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteFrame(&capture.Frame{Link: capture.LinkEthernet}); err == nil {
		t.Error("a frame of Ethernet was written")
	}
	r, err := capture.NewReader(&out)
	if err != nil || r.Kind() != "btsnoop" {
		t.Fatal(r.Kind(), err)
	}
	var f capture.Frame
	for _, want := range frames {
		if err := r.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f); diff != "" {
			t.Error(diff)
		}
	}
	if err := r.ReadFrame(&f); err != io.EOF {
		t.Error(err)
	}
}

// sample is a capture of n frames with lengths of all kinds, and the frames.
func sample(t testing.TB, n int, ng bool) ([]byte, []capture.Frame) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, uint64(n)))
	var out bytes.Buffer
	var w *capture.Writer
	var err error
	if ng {
		w, err = capture.NewNGWriter(&out, capture.LinkEthernet, capture.LinkNordicBLE)
	} else {
		w, err = capture.NewWriter(&out, capture.LinkEthernet)
	}
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]capture.Frame, n)
	for i := range frames {
		f := &frames[i]
		*f = capture.Frame{Time: sec*1e9 + int64(i)*977, Packet: u64(i + 1), Link: capture.LinkEthernet, Data: make([]byte, rnd.IntN(1515))}
		if i%1000 == 999 {
			f.Data = make([]byte, rnd.IntN(capture.MaxFrame))
		}
		for j := range f.Data {
			f.Data[j] = byte(i + j)
		}
		f.OrigLen = len(f.Data) + rnd.IntN(2)
		if ng && i%3 == 0 {
			f.Interface, f.Link, f.Flags = 1, capture.LinkNordicBLE, 1
		}
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes(), frames
}

// leastWindow is what frames behind the first may ask for in any case.
const leastWindow = 2 << 20

func TestCompressed(t *testing.T) {
	for _, ng := range []bool{false, true} {
		file, want := sample(t, 3000, ng)
		for name, in := range map[string][]byte{
			"plain":                  file,
			"gzip":                   gz(t, file),
			"zstd":                   zst(t, file),
			"gzip in zstd":           zst(t, gz(t, file)),
			"zstd in gzip":           gz(t, zst(t, file)),
			"two members":            append(gz(t, file[:1000]), gz(t, file[1000:])...),
			"two frames":             append(zst(t, file[:1000]), zst(t, file[1000:], zstd.WithWindowSize(leastWindow))...),
			"skippable frame before": append(le(u32(0x184d2a53), u32(5), "pzstd"), zst(t, file)...),
			"the largest window":     zst(t, file, zstd.WithWindowSize(capture.MaxWindow)),
		} {
			got, err := readAll(bytes.NewReader(in))
			if err != io.EOF || !slices.EqualFunc(got, want, equal) {
				t.Errorf("%s (pcapng %v): %d frames of %d, %v", name, ng, len(got), len(want), err)
			}
		}
	}
}

func TestCompressedNegative(t *testing.T) {
	file, want := sample(t, 300, false)
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0x55
		return b
	}
	gzipped, zstdded := gz(t, file), zst(t, file, zstd.WithEncoderCRC(true))
	big := make([]byte, 40<<20)
	copy(big, file)
	for name, tt := range map[string]struct {
		in     []byte
		err    error // nil: any damage
		frames int   // -1: any
	}{
		"three times":            {gz(t, gz(t, gz(t, file))), capture.ErrFormat, 0},
		"text in gzip":           {gz(t, []byte("a software bill of materials")), capture.ErrFormat, 0},
		"nothing in gzip":        {gz(t, nil), capture.ErrFormat, 0},
		"gzip header cut":        {gzipped[:8], wire.ErrTruncated, 0},
		"gzip cut at once":       {gzipped[:10], wire.ErrTruncated, 0},
		"gzip cut":               {gzipped[:len(gzipped)/2], wire.ErrTruncated, -1},
		"gzip trailer cut":       {gzipped[:len(gzipped)-1], wire.ErrTruncated, 300},
		"gzip checksum":          {flip(gzipped, len(gzipped)-6), gzip.ErrChecksum, 300},
		"gzip method":            {flip(gzipped, 2), capture.ErrFormat, 0},
		"more after gzip":        {append(bytes.Clone(gzipped), "more"...), nil, 300},
		"zstd cut":               {zstdded[:len(zstdded)/2], wire.ErrTruncated, -1},
		"zstd magic only":        {zstdded[:4], wire.ErrTruncated, 0},
		"zstd checksum":          {flip(zstdded, len(zstdded)-1), zstd.ErrCRCMismatch, -1},
		"zstd window of 16 MiB":  {zst(t, big, zstd.WithWindowSize(2*capture.MaxWindow)), wire.ErrTooLong, 0},
		"zstd more later":        {append(zst(t, file[:1000]), zst(t, big, zstd.WithWindowSize(2*leastWindow))...), wire.ErrTooLong, -1},
		"capture cut, then gzip": {gz(t, file[:len(file)-1]), wire.ErrTruncated, 299},
	} {
		got, err := readAll(bytes.NewReader(tt.in))
		if tt.err != capture.ErrFormat {
			checkDamage(t, err, len(got), len(file))
		}
		if tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		if tt.frames >= 0 && len(got) != tt.frames || !slices.EqualFunc(got, want[:len(got)], equal) {
			t.Errorf("%s: %d frames, want %d", name, len(got), tt.frames)
		}
	}
}

// A bomb costs its window, not what it swells to.
func TestBomb(t *testing.T) {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(join(nl.section(), nl.iface(1, 0), nl(u32(0x77777), u32(256<<20)))); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 255 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	frames, err := readAll(&out)
	runtime.ReadMemStats(&after)
	if len(frames) != 0 || !errors.Is(err, wire.ErrTruncated) {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 48<<20 {
		t.Errorf("%d bytes allocated for 255 MiB of zeros", got)
	}
}

func TestErrorOfInput(t *testing.T) {
	file, want := sample(t, 10, false)
	broken := errors.New("the disk is on fire")
	for _, n := range []int{0, 10, 30, len(file) - 1, len(file)} {
		got, err := readAll(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || len(got) > len(want) {
			t.Errorf("after %d bytes: %d frames, %v", n, len(got), err)
		}
		checkDamage(t, err, len(got), len(file))
	}
	if _, err := readAll(io.MultiReader(bytes.NewReader(file), nothing{})); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an input that returns nothing: %v", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestErrorStays: after the end a reader does not begin again.
func TestErrorStays(t *testing.T) {
	file, _ := sample(t, 3, false)
	r, err := capture.NewReader(bytes.NewReader(file[:len(file)-1]))
	if err != nil {
		t.Fatal(err)
	}
	var b capture.Batch
	var first error
	for range 5 {
		if err := r.ReadBatch(&b); err != nil && first == nil {
			first = err
		} else if first != nil && (err != first || len(b.Frames) != 0) {
			t.Fatalf("%v and %d frames after %v", err, len(b.Frames), first)
		}
	}
	if first == nil {
		t.Error("no error")
	}
}

// TestBatchOwnsItsBytes keeps batches while the reader goes on.
func TestBatchOwnsItsBytes(t *testing.T) {
	for _, ng := range []bool{false, true} {
		file, want := sample(t, 5000, ng)
		r, err := capture.NewReader(iotest.HalfReader(bytes.NewReader(file)))
		if err != nil {
			t.Fatal(err)
		}
		var batches []*capture.Batch
		for {
			b := new(capture.Batch)
			if err := r.ReadBatch(b); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if len(b.Frames) == 0 {
				t.Fatal("a batch without a frame")
			}
			batches = append(batches, b)
		}
		var got []capture.Frame
		for _, b := range batches {
			for _, f := range b.Frames {
				if cap(f.Data) != len(f.Data) {
					t.Fatal("the frame can be appended into its neighbour")
				}
			}
			got = append(got, b.Frames...)
		}
		if !slices.EqualFunc(got, want, equal) {
			t.Errorf("%d frames of %d, or others", len(got), len(want))
		}
	}
}

// TestCut cuts files of all formats at every place: what comes before the cut
// is read, and the cut is told.
func TestCut(t *testing.T) {
	files := map[string][]byte{
		"btsnoop": btsnoopFile(1002, be(u32(9), u32(3), u32(1), u32(0), i64(0), "abc"), be(u32(9), u32(3), u32(1), u32(0), i64(0), "def")),
		"pcap":    pcapFile(be, 0xa1b2c3d4, 1, be(u32(0), u32(0), u32(3), u32(3), "abc"), be(u32(0), u32(0), u32(3), u32(3), "def")),
		"pcapng": join(nl.section(), nl.iface(1, 0, u16(9), u16(1), u32(9)), nl.packet(0, 5, "abc"), nl.block(0x77777, "abcd"),
			nl.simple(2, "ab"), nb.section(), nb.iface(1, 0), nb.obsolete(0, 0, 5, "abc"), nb.packet(0, 5, "abcd", u16(2), u16(4), u32(1))),
	}
	for name, file := range files {
		want, err := readAll(bytes.NewReader(file))
		if err != io.EOF {
			t.Fatalf("%s: %v", name, err)
		}
		for cut := range len(file) {
			got, err := readAll(bytes.NewReader(file[:cut]))
			if len(got) > len(want) || !slices.EqualFunc(got, want[:len(got)], equal) {
				t.Fatalf("%s cut at %d: other frames", name, cut)
			}
			switch {
			case err == io.EOF: // between two records
			case errors.Is(err, capture.ErrFormat):
				if cut >= 12 {
					t.Errorf("%s cut at %d: %v", name, cut, err)
				}
			case !errors.Is(checkDamage(t, err, len(got), cut), wire.ErrTruncated):
				t.Errorf("%s cut at %d: %v", name, cut, err)
			}
		}
	}
}

func TestRecognise(t *testing.T) {
	for name, b := range map[string][]byte{
		"pcap":    pcapFile(be, 0xa1b23c4d, 1)[:4],
		"pcapng":  nb.section()[:12],
		"btsnoop": btsnoopFile(1002)[:8],
		"gzip":    {0x1f, 0x8b, 8, 0},
		"zstd":    {0x28, 0xb5, 0x2f, 0xfd},
	} {
		if kind, ok := capture.Recognise(b); kind != name || !ok {
			t.Errorf("%s: %q, %v", name, kind, ok)
		}
		if kind, ok := capture.Recognise(b[:len(b)-1]); kind != "" || ok {
			t.Errorf("%s less one byte: %q, %v", name, kind, ok)
		}
	}
}

func TestLinkName(t *testing.T) {
	for l, want := range map[capture.LinkType]string{1: "Ethernet", 272: "Nordic BLE sniffer", 147: "user 0", 162: "user 15", 163: "link type 163"} {
		if got := capture.LinkName(l); got != want {
			t.Errorf("LinkName(%d) = %q, want %q", l, got, want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	pcap, err := capture.NewWriter(io.Discard, capture.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	ng, err := capture.NewNGWriter(io.Discard, capture.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	good := capture.Frame{Link: capture.LinkEthernet, Data: []byte("abc")}
	for _, tt := range []struct {
		name  string
		frame func(*capture.Frame)
		pcap  bool // is it refused?
		ng    bool
	}{
		{"nothing wrong", func(*capture.Frame) {}, false, false},
		{"too long", func(f *capture.Frame) { f.Data = make([]byte, capture.MaxFrame+1) }, true, true},
		{"the longest", func(f *capture.Frame) { f.Data = make([]byte, capture.MaxFrame) }, false, false},
		{"longer on the wire than can be told", func(f *capture.Frame) { f.OrigLen = math.MaxUint32 + 1 }, true, true},
		{"before 1970", func(f *capture.Frame) { f.Time = -1 }, true, true},
		{"after 2106", func(f *capture.Frame) { f.Time = (math.MaxUint32 + 1) * 1e9 }, true, false},
		{"another link type", func(f *capture.Frame) { f.Link = capture.LinkRaw }, true, true},
		{"another interface", func(f *capture.Frame) { f.Interface = 1 }, false, true},
		{"no interface", func(f *capture.Frame) { f.Interface = -1 }, false, true},
	} {
		f := good
		tt.frame(&f)
		if err := pcap.WriteFrame(&f); (err != nil) != tt.pcap {
			t.Errorf("pcap, %s: %v", tt.name, err)
		}
		if err := ng.WriteFrame(&f); (err != nil) != tt.ng {
			t.Errorf("pcapng, %s: %v", tt.name, err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, ng := range []bool{false, true} {
		file, frames := sample(t, 900, ng) // no frame of more than a batch
		file = bytes.Repeat(file, 20)
		if !ng {
			file = append(file[:24:24], bytes.Repeat(file[24:len(file)/20], 20)...)
		}
		r, err := capture.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		var b capture.Batch
		if err := r.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(20, func() {
			if err := r.ReadBatch(&b); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("pcapng %v: %v allocations per batch", ng, n)
		}
		w, err := capture.NewWriter(io.Discard, capture.LinkEthernet)
		if ng {
			w, err = capture.NewNGWriter(io.Discard, capture.LinkEthernet, capture.LinkNordicBLE)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(5, func() {
			for i := range frames {
				if err := w.WriteFrame(&frames[i]); err != nil {
					t.Fatal(err)
				}
			}
		}); n > 0 {
			t.Errorf("pcapng %v: %v allocations per %d frames written", ng, n, len(frames))
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(pcapFile(le, 0xa1b2c3d4, 1, le(u32(sec), u32(123456), u32(3), u32(1514), "abc")))
	f.Add(pcapFile(be, 0xa1b2cd34, 1, be(u32(sec), u32(123456), u32(1), u32(1), u32(7), u32(8), "a")))
	f.Add(join(nl.section(), nl.iface(1, 4, u16(9), u16(1), u32(0x8a)), nl.packet(0, 5, "abcde", u16(2), u16(4), u32(1)), nl.simple(5, "abcd"),
		nl.block(0x77777, "abcd"), nb.section(), nb.iface(1, 0, u16(14), u16(8), i64(-5)), nb.obsolete(0, 3, 9, "abc")))
	f.Add(btsnoopFile(1002, be(u32(9), u32(3), u32(1), u32(0), i64(0), "abc")))
	f.Add([]byte(frameLog))
	f.Add(gz(f, btsnoopFile(1002)))
	f.Add(zst(f, btsnoopFile(1002)))
	f.Fuzz(func(t *testing.T, in []byte) {
		frames, err := readAll(bytes.NewReader(in))
		again, errAgain := readAll(iotest.HalfReader(bytes.NewReader(in)))
		if !slices.EqualFunc(frames, again, equal) || err.Error() != errAgain.Error() {
			t.Fatalf("%d frames, %v; in smaller reads %d, %v", len(frames), err, len(again), errAgain)
		}
		var last u64
		for _, f := range frames {
			if f.Packet <= last || f.OrigLen < len(f.Data) || len(f.Data) > capture.MaxFrame {
				t.Fatalf("packet %d after %d, %d bytes of %d", f.Packet, last, len(f.Data), f.OrigLen)
			}
			last = f.Packet
		}
		var d *capture.DamageError
		if err != io.EOF && !errors.Is(err, capture.ErrFormat) && !errors.As(err, &d) {
			t.Fatalf("error %v (%T)", err, err)
		}
		if d != nil && (d.Packet < last || d.Offset < 0) {
			t.Fatalf("%v: after packet %d, frames up to %d", err, d.Packet, last)
		}
	})
}

// BenchmarkReadBatch reads 64 MiB of packets of 312 bytes, the mean of a hospital's
// network; copy reads as much without parsing it.
func BenchmarkReadBatch(b *testing.B) {
	const size, frameBytes = 64 << 20, 312
	for _, kind := range []string{"copy", "pcap", "pcapng"} {
		b.Run(kind, func(b *testing.B) {
			var file bytes.Buffer
			var w *capture.Writer
			var err error
			if kind == "pcapng" {
				w, err = capture.NewNGWriter(&file, capture.LinkEthernet)
			} else {
				w, err = capture.NewWriter(&file, capture.LinkEthernet)
			}
			if err != nil {
				b.Fatal(err)
			}
			packets := 0
			for f := (capture.Frame{Link: capture.LinkEthernet, Data: make([]byte, frameBytes)}); file.Len() < size; packets++ {
				if err := w.WriteFrame(&f); err != nil {
					b.Fatal(err)
				}
			}
			in := bytes.NewReader(file.Bytes())
			var batch capture.Batch
			buf := make([]byte, 256<<10)
			b.SetBytes(int64(file.Len()))
			b.ReportAllocs()
			for b.Loop() {
				in.Reset(file.Bytes())
				if kind == "copy" {
					for n, err := in.Read(buf); n > 0 && err == nil; n, err = in.Read(buf) {
					}
					continue
				}
				r, err := capture.NewReader(in)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for err = r.ReadBatch(&batch); err == nil; err = r.ReadBatch(&batch) {
					n += len(batch.Frames)
				}
				if err != io.EOF || n != packets {
					b.Fatalf("%d packets of %d, %v", n, packets, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
		})
	}
}
