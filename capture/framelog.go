// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/myelin-health/myelin/wire"
)

// A frame log is what receivers for radios without a link type of their own
// write: JSON lines,
//
//	{"time":"2026-03-03T07:17:00.25+01:00","channel":3,"rssi":-61,"dialect":"halden-mics","hex":"2dd448..."}
//
// time (RFC 3339) and hex have to be there; channel, rssi in dBm, receiver, which is the
// name of the receiver where there are several, and dialect, which says
// whose frames these are, may be left out; other keys are passed over. Frame.Packet is the
// number of the line, and each dialect is an interface ([Reader.InterfaceName]).

// LinkFrameLog is the link type of what stands in a frame log, at a place where
// the registry has no number. Frame.Flags then holds channel and RSSI, see [Frame.Radio], and the receiver, see
// [Frame.Receiver].
const LinkFrameLog LinkType = 0xc000

const (
	// maxLogLine bounds a line, without its end: 7 KiB of frame, in hexadecimal.
	maxLogLine = 16 << 10

	// The bounds of dialects and of receivers in a log: each line is held against
	// all names.
	maxDialectName  = 32
	maxDialects     = 64
	maxReceiverName = 32
	maxReceivers    = 64

	// maxDamagedLines bounds how many damaged lines are named; all are counted.
	maxDamagedLines = 10
)

// Radio returns the channel and the RSSI in dBm with which a frame of a frame log
// was received, each 0 if not told.
func (f *Frame) Radio() (channel uint16, rssi int8) {
	if f.Link != LinkFrameLog {
		return 0, 0
	}
	return uint16(f.Flags >> 8), int8(f.Flags)
}

// Receiver returns the number of the receiver of a frame of a frame log, in the
// order in which the log names them, or 0 if it is not told.
func (f *Frame) Receiver() uint8 {
	if f.Link != LinkFrameLog {
		return 0
	}
	return uint8(f.Flags >> 24)
}

// A frameLog reads the lines of a frame log. A damaged line does not stop it.
type frameLog struct {
	line      uint64 // of the last that was read
	off       int64  // of the next
	skip      bool   // the rest of a line that is too long
	dialects  []string
	receivers []string

	damaged uint64 // lines
	lines   []uint64
	first   DamageError
}

// A logLine is what a line says.
type logLine struct {
	Time     string  `json:"time"`
	Channel  uint16  `json:"channel"`
	RSSI     float64 `json:"rssi"`
	Receiver string  `json:"receiver"`
	Dialect  string  `json:"dialect"`
	Hex      string  `json:"hex"`
}

// isFrameLog reports whether b, the first line of an input, is one of a frame
// log, or was meant to be: then it is told what is wrong with it.
func isFrameLog(b []byte) bool {
	b, _, _ = bytes.Cut(b, []byte("\n"))
	return looksLikeLine(b) && bytes.Contains(b, []byte(`"hex"`)) && bytes.HasSuffix(bytes.TrimRight(b, " \t\r"), []byte("}"))
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// looksLikeLine reports whether b may be the beginning of a frame log.
func looksLikeLine(b []byte) bool {
	b = bytes.TrimPrefix(b, byteOrderMark)
	return len(b) > 0 && b[0] == '{'
}

// parse reads a line. Its error says nothing of what stands in it.
func (l *logLine) parse(b []byte) error {
	switch {
	case json.Unmarshal(bytes.TrimPrefix(b, byteOrderMark), l) != nil:
		return fmt.Errorf("%w: not a JSON object with a frame", wire.ErrInvalid)
	case l.Time == "" || l.Hex == "":
		return fmt.Errorf("%w: no time, or no hex", wire.ErrInvalid)
	case len(l.Hex)%2 != 0:
		return fmt.Errorf("%w: half a byte of hex", wire.ErrInvalid)
	case len(l.Dialect) > maxDialectName:
		return fmt.Errorf("%w: name of the dialect", wire.ErrTooLong)
	case len(l.Receiver) > maxReceiverName:
		return fmt.Errorf("%w: name of the receiver", wire.ErrTooLong)
	case l.RSSI < math.MinInt8 || l.RSSI > math.MaxInt8:
		return fmt.Errorf("%w: rssi", wire.ErrInvalid)
	}
	return nil
}

func (l *frameLog) parse(frames []Frame, b []byte) (_ []Frame, off, need int, err error) {
	for len(frames) < cap(frames) {
		h := b[off:]
		n := bytes.IndexByte(h, '\n')
		if n < 0 && len(h) <= maxLogLine && !l.skip {
			return frames, off, len(h) + 1, nil
		}
		size := n + 1
		if n < 0 {
			n, size = len(h), len(h)
		}
		long := l.skip
		if !l.skip {
			l.line++
			if n > maxLogLine {
				l.damage(fmt.Errorf("%w: a line of more than %d bytes", wire.ErrTooLong, maxLogLine))
				long = true
			}
		}
		l.skip = size == n // its end is still to come
		if line := bytes.TrimSuffix(h[:n], []byte("\r")); !long && len(line) > 0 {
			if f, err := l.frame(line); err != nil {
				l.damage(err)
			} else {
				frames = append(frames, f)
			}
		}
		off += size
		l.off += int64(size)
		if l.skip {
			break
		}
	}
	return frames, off, 0, nil
}

// frame reads a line. The bytes of the frame take the place of the line's.
func (l *frameLog) frame(line []byte) (f Frame, err error) {
	var said logLine
	if err := said.parse(line); err != nil {
		return f, err
	}
	at, err := time.Parse(time.RFC3339Nano, said.Time)
	if err != nil || at.Before(time.Unix(0, 0)) || at.After(time.Unix(0, math.MaxInt64)) {
		return f, fmt.Errorf("%w: time", wire.ErrInvalid)
	}
	data, err := hex.AppendDecode(line[:0], []byte(said.Hex))
	if err != nil {
		return f, fmt.Errorf("%w: hex", wire.ErrInvalid)
	}
	i := slices.Index(l.dialects, said.Dialect)
	if i < 0 {
		if len(l.dialects) == maxDialects {
			return f, fmt.Errorf("%w: more than %d dialects", wire.ErrTooLong, maxDialects)
		}
		i = len(l.dialects)
		l.dialects = append(l.dialects, said.Dialect)
	}
	receiver := 0 // counted from 1
	if said.Receiver != "" {
		if receiver = slices.Index(l.receivers, said.Receiver) + 1; receiver == 0 {
			if len(l.receivers) == maxReceivers {
				return f, fmt.Errorf("%w: more than %d receivers", wire.ErrTooLong, maxReceivers)
			}
			l.receivers = append(l.receivers, said.Receiver)
			receiver = len(l.receivers)
		}
	}
	return Frame{
		Data:      data[:len(data):len(data)],
		Time:      at.UnixNano(),
		Packet:    l.line,
		OrigLen:   len(data),
		Interface: i,
		Flags:     RadioFlags(said.Channel, int8(math.Round(said.RSSI))) | uint32(receiver)<<24,
		Link:      LinkFrameLog,
	}, nil
}

// damage notes that the line was not read.
func (l *frameLog) damage(err error) {
	if l.damaged == 0 {
		l.first = DamageError{Field: "line " + strconv.FormatUint(l.line, 10), Offset: l.off, Err: err}
	}
	if l.damaged++; len(l.lines) < maxDamagedLines {
		l.lines = append(l.lines, l.line)
	}
}

// end returns the error with which the log ends: [io.EOF], or the first line
// that was not read, and which there are beside it.
func (l *frameLog) end() error {
	if l.damaged == 0 {
		return io.EOF
	}
	e := l.first
	e.Packet = l.line
	if l.damaged > 1 {
		more := ""
		if l.damaged > uint64(len(l.lines)) {
			more = " ..."
		}
		e.Err = fmt.Errorf("%w; %d lines were not read: %d%s", e.Err, l.damaged, l.lines, more)
	}
	return &e
}

func (l *frameLog) count() (packets, dropped uint64) { return l.line, 0 }

func (l *frameLog) interfaceName(i int) string {
	if i < 0 || i >= len(l.dialects) {
		return ""
	}
	return l.dialects[i]
}

// AppendLogLine appends f as a line of a frame log. dialect may be "". Channel, RSSI and receiver, whose name
// is its number, are taken from Flags as [Frame.Radio] and [Frame.Receiver] do.
func AppendLogLine(dst []byte, f *Frame, dialect string) []byte {
	channel, rssi := f.Radio()
	dst = append(dst, `{"time":"`...)
	dst = time.Unix(0, f.Time).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","channel":`...)
	dst = strconv.AppendUint(dst, uint64(channel), 10)
	dst = append(dst, `,"rssi":`...)
	dst = strconv.AppendInt(dst, int64(rssi), 10)
	if n := f.Receiver(); n != 0 {
		dst = append(strconv.AppendUint(append(dst, `,"receiver":"`...), uint64(n), 10), '"')
	}
	if dialect != "" {
		name, _ := json.Marshal(dialect) // a string has no error
		dst = append(append(dst, `,"dialect":`...), name...)
	}
	dst = append(dst, `,"hex":"`...)
	dst = hex.AppendEncode(dst, f.Data)
	return append(dst, "\"}\n"...)
}

// RadioFlags is the inverse of [Frame.Radio]: the Flags of a frame with
// this channel and RSSI.
func RadioFlags(channel uint16, rssi int8) uint32 { return uint32(channel)<<8 | uint32(uint8(rssi)) }
