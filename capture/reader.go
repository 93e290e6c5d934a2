// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/wire"
)

// ErrFormat says that the input is no capture of a kind that is read here.
var ErrFormat = errors.New("capture: not a capture file")

const (
	// MaxFrame bounds the bytes of a frame. Capturing tools cut at 256 KiB; a
	// record that claims more than this is damage.
	MaxFrame = 1 << 20

	// maxRecord bounds what is looked at as a whole: the largest frame, and as
	// much again for a pcapng block's options.
	maxRecord = 2 * MaxFrame

	// maxCompression bounds how often an input is decompressed.
	maxCompression = 2

	// MaxWindow bounds the history a zstd stream may ask for, and with it the
	// memory. RFC 8878 section 3.1.1.1.2 asks for 8 MiB at least, which is what
	// `zstd -19` writes; --ultra and --long write more.
	MaxWindow = 8 << 20

	// leastWindow is what every zstd stream is granted, and `zstd` writes. More
	// has to be asked for by its first frame, so that it is known beforehand.
	leastWindow = 2 << 20

	// compressedBytes are read at once from an input that is compressed.
	compressedBytes = 64 << 10

	// maxEmptyReads bounds how often in a row an input may return nothing.
	maxEmptyReads = 100
)

// A DamageError says where a capture cannot be read on. All that stands before
// was returned.
type DamageError struct {
	Packet uint64 // how many packets were read before; of a frame log, how many lines
	Field  string // the record: "packet 17", "interface description", "line 17"
	Offset int64  // bytes after decompression: where the record begins; where the input ends when that was inside a block to be skipped
	Err    error
}

func (e *DamageError) Error() string {
	return "capture: " + e.Field + " at byte " + strconv.FormatInt(e.Offset, 10) + ": " + e.Err.Error()
}

func (e *DamageError) Unwrap() error { return e.Err }

// damage is what a format finds wrong with the record it was reading. An empty
// field means the next packet.
type damage struct {
	field string
	err   error
}

func (d *damage) Error() string { return d.err.Error() }

// errLongFrame is the damage where a length is. Which one it says stands in no
// error: where the file is damaged, these may be four bytes of what was sent.
var errLongFrame = fmt.Errorf("%w: a frame of more than %d bytes", wire.ErrTooLong, MaxFrame)

// truncated is the damage of a record that ends too early.
func truncated(have, want int) error {
	return fmt.Errorf("%w: %d of %d bytes are there", wire.ErrTruncated, have, want)
}

// A format knows the records of one kind of file.
type format interface {
	// parse appends the frames at the front of b to frames, up to its capacity,
	// and returns how many bytes they and the records between them took. That
	// may be more than there are: the rest is skipped. It stops where a record
	// is not whole, and returns how many bytes that one needs, as far as
	// known; or where one is damaged, and returns a *damage.
	parse(frames []Frame, b []byte) (_ []Frame, used, need int, err error)

	// count returns how many packets were counted, and how many the file says
	// were lost when it was made.
	count() (packets, dropped uint64)
}

// Recognise tells by its first bytes what an input is: "pcap", "pcapng",
// "btsnoop", "frame-log", or "gzip" and "zstd", which may hold anything. Sixteen
// bytes are enough but for a frame log, of which its first line is needed.
func Recognise(first []byte) (kind string, ok bool) {
	if len(first) < 4 {
		return "", false
	}
	magic := binary.LittleEndian.Uint32(first)
	switch {
	case magic == blockSection:
		if _, ok := sectionOrder(first); ok {
			return "pcapng", true
		}
	case magic == 0xfd2fb528, // RFC 8878 section 3.1.1
		magic&^0xf == 0x184d2a50: // section 3.1.2: a skippable frame, as pzstd writes first
		return "zstd", true
	case magic&0xffffff == 0x088b1f: // RFC 1952 section 2.3.1: deflate
		return "gzip", true
	case bytes.HasPrefix(first, []byte(btsnoopMagic)):
		return "btsnoop", true
	case isFrameLog(first):
		return "frame-log", true
	default:
		if _, ok := pcapMagic(first); ok {
			return "pcap", true
		}
	}
	return "", false
}

// unread are formats that are taken for a capture, by how they begin, and what
// helps.
var unread = [...]struct{ magic, what string }{
	{"snoop\x00\x00\x00", "snoop, which editcap makes a pcap of"},
	{"GMBU", "Network Monitor, which editcap makes a pcap of"},
	{"PK\x03\x04", "zip, which has to be unpacked"},
	{"BZh", "bzip2, which has to be unpacked"},
	{"\xfd7zXZ\x00", "xz, which has to be unpacked"},
}

// insteadOf says what an input is that [Recognise] does not know by its first
// bytes, and tells none of them: they may be anybody's.
func insteadOf(first []byte) string {
	if len(first) == 0 {
		return "empty"
	}
	for _, x := range unread {
		if bytes.HasPrefix(first, []byte(x.magic)) {
			return x.what
		}
	}
	strange := func(r rune) bool { return r < ' ' && !unicode.IsSpace(r) || r == utf8.RuneError }
	words := bytes.TrimRightFunc(first, strange) // a letter may be cut
	switch {
	case looksLikeLine(first):
		return `JSON, and its first line is no frame, with its bytes as "hex", of a frame log`
	case len(first) >= 4 && binary.LittleEndian.Uint32(first) == blockSection:
		return "a pcapng block without the magic number of its byte order"
	case len(first)-len(words) < utf8.UTFMax && len(words) > 0 && bytes.IndexFunc(words, strange) < 0:
		return "text, which begins neither like pcap, pcapng, btsnoop, gzip or zstd nor like a frame log"
	}
	return "it begins with none of the magic numbers of pcap, pcapng, btsnoop, gzip and zstd"
}

// sniffBytes is what [Recognise] is shown of an input, unless it may be a frame log.
const sniffBytes = 16

// A Reader reads the frames of one capture. It is not safe for concurrent use,
// but the batches it has filled are nobody's but the caller's.
type Reader struct {
	src    io.Reader
	srcErr error // of src, due when all that was read has been parsed
	kind   string
	format format
	window int

	off  int64  // in the decompressed stream, of the next byte to parse
	tail []byte // read from src, not parsed yet
	skip int64  // bytes of src to pass over before the next record
	err  error  // returned from now on

	own  Batch // of ReadFrame
	next int   // index into own.Frames
}

// NewReader finds out what r holds and returns a reader of it. It reads no more
// than it needs to know that. The error is [ErrFormat] when r is not a capture,
// a *[DamageError] when it is one that ends within its header. A
// compressed input costs at most its window: 32 KiB for gzip, [MaxWindow] for zstd.
func NewReader(r io.Reader) (*Reader, error) {
	first, r, windows, err := unpack(r)
	if err != nil {
		return nil, err
	}
	if looksLikeLine(first) {
		if first, r, err = firstLine(first, r); err != nil {
			return nil, &DamageError{Field: "file", Offset: int64(len(first)), Err: err}
		}
	}
	kind, ok := Recognise(first)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrFormat, insteadOf(first))
	}
	c, err := newReader(kind, first, r)
	if err == nil {
		c.window = windows
	}
	return c, err
}

// Unpack returns what r holds when gzip and zstd are undone, whatever that is:
// captures and what lies beside them are packed alike. It costs what
// [NewReader] says; errors are as there.
func Unpack(r io.Reader) (io.Reader, error) {
	first, rest, _, err := unpack(r)
	if err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(first), rest), nil
}

// unpack undoes gzip and zstd, and returns the first bytes of what was packed,
// what comes after them, and how much history that takes.
func unpack(r io.Reader) (first []byte, rest io.Reader, windows int, err error) {
	for range maxCompression + 1 {
		first = make([]byte, sniffBytes)
		n, err := io.ReadFull(r, first)
		first = first[:n]
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, nil, 0, &DamageError{Field: "file", Offset: int64(n), Err: err}
		}
		kind, _ := Recognise(first)
		if kind != "gzip" && kind != "zstd" {
			return first, r, windows, nil
		}
		// gzip and zstd ask for a few bytes at a time.
		in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(first), r), compressedBytes)
		if kind == "gzip" {
			r, err = gzip.NewReader(in)
		} else {
			window := windowOf(in)
			windows += window
			// Concurrency 1 starts no goroutine, so that nothing has to be closed.
			r, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(uint64(window)), zstd.WithDecoderMaxWindow(uint64(window)))
		}
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			err = errCut
		}
		if err != nil {
			return nil, nil, 0, &DamageError{Field: kind + " header", Err: err}
		}
		r = decompressor{r}
	}
	return nil, nil, 0, fmt.Errorf("%w: compressed more than %d times", ErrFormat, maxCompression)
}

// firstLine reads the first line of r, which begins with the bytes given, and
// returns it, or as much of it as there is room for, and what comes after.
func firstLine(begin []byte, r io.Reader) ([]byte, io.Reader, error) {
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(begin), r), maxLogLine+2)
	line, err := in.ReadSlice('\n')
	if err == io.EOF || err == bufio.ErrBufferFull {
		err = nil
	}
	return bytes.Clone(line), in, err
}

// windowOf returns the history that a zstd stream is granted: as much as its
// first frame asks for, and the most where a skippable frame comes first.
func windowOf(in *bufio.Reader) int {
	first, _ := in.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if err := h.Decode(first); err != nil || h.Skippable {
		return MaxWindow
	}
	n := h.WindowSize
	if h.SingleSegment {
		n = h.FrameContentSize
	}
	return int(min(max(n, leastWindow), MaxWindow))
}

func newReader(kind string, first []byte, src io.Reader) (*Reader, error) {
	r := &Reader{src: src, kind: kind}
	var size int
	switch kind {
	case "pcap":
		size = pcapHeader
	case "btsnoop":
		size = btsnoopHeader
	}
	header := make([]byte, max(size, len(first)))
	n := copy(header, first)
	m, err := io.ReadFull(src, header[n:])
	n += m
	if n < size {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = truncated(n, size)
		}
		return nil, &DamageError{Field: kind + " header", Err: err}
	}
	switch kind {
	case "pcap":
		r.format, err = newPcap(header)
	case "btsnoop":
		r.format, err = newBTSnoop(header)
	case "frame-log":
		r.format, err = &frameLog{}, nil
		r.src = io.MultiReader(src, strings.NewReader("\n")) // the last line may have no end
	default:
		r.format, err = &pcapng{}, nil
	}
	if err != nil {
		return nil, &DamageError{Field: kind + " header", Err: err}
	}
	r.off, r.tail = int64(size), header[size:]
	return r, nil
}

// Kind returns "pcap", "pcapng", "btsnoop" or "frame-log", whatever that was compressed with.
func (r *Reader) Kind() string { return r.kind }

// Window returns the most bytes of history that decompression keeps; 0 when
// there is no zstd.
func (r *Reader) Window() int { return r.window }

// Offset returns how many bytes of the capture, decompressed, have been parsed.
func (r *Reader) Offset() int64 { return r.off }

// InterfaceName returns the name that the file gives to an interface
// ([Frame.Interface]) of the frames read so far, or "": if_name of pcapng, the
// dialect of a frame log. The name may be anybody's choice, and anything.
func (r *Reader) InterfaceName(i int) string {
	if f, ok := r.format.(interface{ interfaceName(i int) string }); ok {
		return f.interfaceName(i)
	}
	return ""
}

// Dropped returns how many packets were lost in the making, as far as the
// records read so far say.
func (r *Reader) Dropped() uint64 {
	_, n := r.format.count()
	return n
}

// ReadFrame reads the next frame into f. f.Data is valid until the next call.
// At the end of an undamaged capture the error is [io.EOF], else a
// *[DamageError]. A frame log is read to its end, whatever its lines are. A reader is read with ReadFrame or with [Reader.ReadBatch],
// not with both.
func (r *Reader) ReadFrame(f *Frame) error {
	if r.next == len(r.own.Frames) {
		r.next = 0
		if err := r.ReadBatch(&r.own); err != nil {
			return err
		}
	}
	*f = r.own.Frames[r.next]
	r.next++
	return nil
}

// ReadBatch fills b with at least one frame, and with as many more as one read
// of the input brings; it does not wait for more. Without a frame it
// returns an error as [Reader.ReadFrame] does. It allocates memory only for a
// new batch and for a record larger than any before, and copies only what the
// last read has cut.
func (r *Reader) ReadBatch(b *Batch) error {
	b.reset(len(r.tail))
	if r.err != nil {
		return r.err
	}
	begin, end := 0, copy(b.buf, r.tail) // what is not parsed yet
	r.tail = r.tail[:0]
	for {
		frames, used, need, err := r.format.parse(b.Frames, b.buf[begin:end])
		b.Frames = frames
		r.off += int64(used)
		r.skip += int64(max(used-(end-begin), 0))
		begin += min(used, end-begin)
		if err != nil {
			r.fail(err)
		}
		if len(frames) > 0 {
			r.tail = append(r.tail, b.buf[begin:end]...)
			return nil
		}
		if r.err == nil && r.srcErr != nil {
			r.end(end-begin, need)
		}
		if r.err != nil {
			return r.err
		}
		if begin > 0 {
			end = copy(b.buf, b.buf[begin:end])
			begin = 0
		}
		if end == len(b.buf) { // all of it seen, and one record needs more
			b.buf = append(b.buf, make([]byte, end)...)
		}
		end += r.read(b.buf[end:])
	}
}

// read reads into b what comes after the bytes to be skipped.
func (r *Reader) read(b []byte) int {
	for empty := 0; empty < maxEmptyReads; {
		n, err := r.src.Read(b)
		if n == 0 {
			empty++
		}
		skip := int(min(r.skip, int64(n)))
		r.skip -= int64(skip)
		n = copy(b, b[skip:n])
		r.srcErr = err
		if n > 0 || err != nil {
			return n
		}
	}
	r.srcErr = io.ErrNoProgress
	return 0
}

// end sets the error with which the input ends after rest bytes of a record
// that needs more.
func (r *Reader) end(rest, need int) {
	switch {
	case r.srcErr != io.EOF:
		r.fail(&damage{err: r.srcErr})
	case r.skip > 0:
		r.off -= r.skip
		r.fail(&damage{"block", fmt.Errorf("%w: more bytes were to come", wire.ErrTruncated)})
	case rest > 0:
		r.fail(&damage{err: truncated(rest, need)})
	default:
		r.err = io.EOF
		if l, ok := r.format.(*frameLog); ok {
			r.err = l.end()
		}
	}
}

func (r *Reader) fail(err error) {
	packets, _ := r.format.count()
	e := &DamageError{Packet: packets, Offset: r.off, Err: err}
	var d *damage
	if errors.As(err, &d) {
		e.Field, e.Err = d.field, d.err
	}
	if e.Field == "" {
		e.Field = "packet " + strconv.FormatUint(packets+1, 10)
	}
	r.err = e
}

// errWindow is for who packed it with --ultra or --long.
var errWindow = fmt.Errorf("%w: zstd keeps more than %d MiB of history, or more than it said first; unpack it with 'zstd -d --long=31'", wire.ErrTooLong, MaxWindow>>20)

var errCut = fmt.Errorf("%w: the compressed data ends early", wire.ErrTruncated)

// A decompressor tells compressed data that ends early from data that is
// complete and short: io.ReadFull has one error for both.
type decompressor struct{ io.Reader }

func (d decompressor) Read(b []byte) (int, error) {
	n, err := d.Reader.Read(b)
	switch {
	case err == io.ErrUnexpectedEOF:
		err = errCut
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = errWindow
	}
	return n, err
}
