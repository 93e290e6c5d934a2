// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A log keeps the newest of a few records in two areas of flash. Each has the same
// room, so that no byte within one is ever taken for the beginning of another:
//
//	magic, 4 bytes | number, 8 | length, 4 | record | CRC-32 of all before, 4
//
// big-endian. Records go behind one another; when an area is full the other is
// erased, and is the newer one as soon as a record in it is whole. A record that a loss
// of power cut off is none, and its place is not used again before it is erased.
// So of a record that is put there is always the one before or that one, whole.
type log struct {
	f      Flash
	room   int   // of a record
	area   int64 // bytes of each
	newest int64 // where the newest is; -1 there is none
	next   int64 // where the next record goes
	number uint64
	buf    []byte // of room bytes
}

const (
	logMagic = 0x4d79426f // "MyBo"
	logHead  = 4 + 8 + 4
	logTail  = 4
)

var errLog = errors.New("agent: the flash has no room for two areas of records")

// openLog returns the newest record too, nil for none; it is the caller's.
func openLog(f Flash, room int) (*log, []byte, error) {
	block := int64(f.Block())
	l := &log{f: f, room: room, area: f.Size() / 2 / block * block, buf: make([]byte, room)}
	if room%f.Page() != 0 || l.area < int64(room) {
		return nil, nil, errLog
	}
	var newest []byte
	at := int64(-1)
	for off := int64(0); off < 2*l.area; off = l.behind(off) {
		if err := readFull(f, l.buf, off); err != nil {
			return nil, nil, err
		}
		if n, b := parseLog(l.buf); b != nil && (at < 0 || n > l.number) {
			at, l.number, newest = off, n, append([]byte(nil), b...)
		}
	}
	if l.newest = at; at < 0 {
		l.next = 2 * l.area // the first put erases
		return l, nil, nil
	}
	for l.next = l.behind(at); l.next%l.area != 0; l.next = l.behind(l.next) {
		if err := readFull(f, l.buf, l.next); err != nil {
			return nil, nil, err
		}
		if erased(l.buf) {
			break
		}
	}
	return l, newest, nil
}

// behind is the place behind one: where the next area begins when this one has no
// room for another.
func (l *log) behind(off int64) int64 {
	off += int64(l.room)
	if off%l.area+int64(l.room) > l.area {
		off = (off + l.area - 1) / l.area * l.area
	}
	return off
}

// parseLog reads one record, and nil where there is none.
func parseLog(b []byte) (number uint64, record []byte) {
	if binary.BigEndian.Uint32(b) != logMagic {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint32(b[12:]))
	if n < 0 || n > len(b)-logHead-logTail {
		return 0, nil
	}
	if crc32.ChecksumIEEE(b[:logHead+n]) != binary.BigEndian.Uint32(b[logHead+n:]) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b[4:]), b[logHead : logHead+n]
}

// put makes a record the newest. After an error nobody knows whether it is: the next
// goes elsewhere, and counts.
func (l *log) put(record []byte) error {
	if len(record) > l.room-logHead-logTail {
		return errors.New("agent: a record that its place has no room for")
	}
	if l.next%l.area == 0 { // this area is full
		l.next = l.next % (2 * l.area)
		for off := l.next; off < l.next+l.area; off += int64(l.f.Block()) {
			if err := l.f.Erase(off); err != nil {
				return err
			}
		}
	}
	erase(l.buf)
	l.number++
	binary.BigEndian.PutUint32(l.buf, logMagic)
	binary.BigEndian.PutUint64(l.buf[4:], l.number)
	binary.BigEndian.PutUint32(l.buf[12:], uint32(len(record)))
	n := logHead + copy(l.buf[logHead:], record)
	binary.BigEndian.PutUint32(l.buf[n:], crc32.ChecksumIEEE(l.buf[:n]))
	n += logTail
	page := l.f.Page()
	n = (n + page - 1) / page * page
	block := int64(l.f.Block())
	for b, off := l.buf[:n], l.next; len(b) > 0; {
		k := min(int64(len(b)), block-off%block)
		if err := l.f.Write(off, b[:k]); err != nil {
			area := l.next / l.area * l.area
			if l.next = l.behind(l.next); l.next%l.area == 0 && (l.newest < area || l.newest >= area+l.area) {
				l.next = area // of the other area the newest is not erased
			}
			return err
		}
		b, off = b[k:], off+k
	}
	l.newest, l.next = l.next, l.behind(l.next)
	return nil
}

// readFull fills p.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
