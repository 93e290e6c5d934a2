// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// The journal is files of groups of entries, each written at once, each durable
// before the next is begun. A file is named by its first entry, in 20 digits, and is
//
//	"myelin ledger journal 1\n", 24 bytes | mark, 16 random bytes | first entry, 8 bytes |
//	SHA-256 of these, cut to 16 bytes
//
// and then groups, numbers big-endian:
//
//	mark | length of the entries, 4 bytes | how many, 4 bytes | first entry, 8 bytes |
//	SHA-256 of these and the entries, cut to 16 bytes | the entries, each behind its
//	length in 2 bytes, as in a bundle
//
// A loss of power may leave anything of the group that was being written, but nothing
// behind it. So what cannot be read at the end of the last file was cut off, and never
// acknowledged; and where the mark stands once more behind it, it was not cut off, but
// damaged. Who writes entries does not know the mark, so that none looks like a group.
const (
	journalMagic  = "myelin ledger journal 1\n"
	markBytes     = 16
	journalHeader = len(journalMagic) + markBytes + 8 + sumBytes
	groupHeader   = markBytes + 4 + 4 + 8 + sumBytes
	sumBytes      = 16

	segmentBytes = 16 << 20 // after so many another file is begun
	// groupBytes is when a group takes no more. It has at most one entry more.
	groupBytes = 4 << 20
	maxSegment = segmentBytes + groupHeader + groupBytes + 2 + MaxEntry
)

// A group is entries that become durable together.
type group struct {
	first   int64
	count   int
	entries []byte // as in a bundle
	err     error  // valid when done is closed
	done    chan struct{}
}

// A segment is a file of the journal, read.
type segment struct {
	mark  [markBytes]byte
	first int64
	next  int64 // the entry after its last
	end   int   // bytes that hold; what is behind was cut off
}

func segmentPath(first int64) string { return fmt.Sprintf("journal/%020d", first) }

// parseSegment reads a file of the journal. The entries that are handed over alias b.
func parseSegment(b []byte, yield func(group)) (s segment, err error) {
	fail := func(at int, problem string) (segment, error) {
		return s, &DamageError{segmentPath(s.first), -1, int64(at), problem}
	}
	if len(b) < journalHeader || string(b[:len(journalMagic)]) != journalMagic {
		return fail(0, "does not begin as a journal")
	}
	sum := sha256.Sum256(b[:journalHeader-sumBytes])
	if !bytes.Equal(sum[:sumBytes], b[journalHeader-sumBytes:journalHeader]) {
		return fail(0, "its beginning was changed")
	}
	s.mark = [markBytes]byte(b[len(journalMagic):])
	s.first = int64(binary.BigEndian.Uint64(b[len(journalMagic)+markBytes:]))
	if s.first < 0 || s.first > maxSize {
		return fail(0, "its beginning was changed")
	}
	s.next, s.end = s.first, journalHeader
	for {
		g, n, problem := s.parseGroup(b[s.end:])
		if problem != "" {
			if behind := min(len(b), s.end+1); bytes.Contains(b[behind:], s.mark[:]) {
				return fail(s.end, problem+", and was whole once: others were written behind it")
			}
			return s, nil
		}
		if n == 0 {
			return s, nil
		}
		yield(g)
		s.next += int64(g.count)
		s.end += n
	}
}

// parseGroup reads the group that b begins with, of n bytes; 0 when b is empty.
func (s *segment) parseGroup(b []byte) (g group, n int, problem string) {
	switch {
	case len(b) == 0:
		return g, 0, ""
	case len(b) < groupHeader:
		return g, 0, "a group of entries is cut off"
	case [markBytes]byte(b) != s.mark:
		return g, 0, "a group of entries was changed"
	}
	length, count := binary.BigEndian.Uint32(b[markBytes:]), binary.BigEndian.Uint32(b[markBytes+4:])
	if uint64(length) > uint64(len(b)-groupHeader) {
		return g, 0, "a group of entries is cut off"
	}
	n = groupHeader + int(length)
	g.entries = b[groupHeader:n:n]
	g.first = int64(binary.BigEndian.Uint64(b[markBytes+8:]))
	g.count = int(count)
	if sum := groupSum(b[:groupHeader-sumBytes], g.entries); [sumBytes]byte(b[groupHeader-sumBytes:]) != sum || g.first != s.next || count == 0 {
		return g, 0, "a group of entries was changed"
	}
	if got, err := parseBundle(g.entries, g.count, func(int, []byte) error { return nil }); err != nil || got != len(g.entries) {
		return g, 0, "a group of entries was changed"
	}
	return g, n, ""
}

func groupSum(header, entries []byte) [sumBytes]byte {
	h := sha256.New()
	h.Write(header)
	h.Write(entries)
	var sum [sha256.Size]byte
	return [sumBytes]byte(h.Sum(sum[:0]))
}

// segments returns the first entries of the files of the journal, in order.
func (d folder) segments() ([]int64, error) {
	files, err := os.ReadDir(filepath.Join(string(d), "journal"))
	if err != nil {
		return nil, err
	}
	var all []int64
	for _, f := range files {
		n, err := strconv.ParseInt(f.Name(), 10, 64)
		if err == nil && segmentPath(n) == "journal/"+f.Name() {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// journal reads all files of the journal. It returns the last of them, and how many
// bytes are cut off behind it.
func (d folder) journal(segments []int64, yield func(group)) (last segment, torn int, err error) {
	for i, first := range segments {
		path := segmentPath(first)
		b, err := d.read(path, maxSegment)
		if err != nil {
			return last, 0, err
		}
		s, err := parseSegment(b, yield)
		var damage *DamageError
		switch {
		case errors.As(err, &damage):
			damage.File = path
			return last, 0, damage
		case s.first != first:
			return last, 0, &DamageError{path, -1, 0, fmt.Sprintf("has another name: its first entry is %d", s.first)}
		case i > 0 && s.first != last.next:
			return last, 0, &DamageError{path, last.next, -1, fmt.Sprintf("entries are missing between %s and this", segmentPath(last.first))}
		}
		last, torn = s, len(b)-s.end
		if torn > 0 && i < len(segments)-1 {
			return last, 0, &DamageError{path, s.next, int64(s.end), "entries are missing or changed; a later file of the journal is there, so they were whole once"}
		}
	}
	return last, torn, nil
}

// A journal is the file that groups are added to.
type journal struct {
	dir  string
	file *os.File
	mark [markBytes]byte
	size int64
	torn bool // behind size there may be something that nobody was told of
	buf  []byte
}

// begin makes another file. It has its name only when its beginning is durable.
func (j *journal) begin(first int64) error {
	b := append(make([]byte, 0, journalHeader), journalMagic...)
	rand.Read(j.mark[:])
	b = append(b, j.mark[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(first))
	sum := sha256.Sum256(b)
	b = append(b, sum[:sumBytes]...)
	name := filepath.Join(j.dir, filepath.FromSlash(segmentPath(first)))
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		if err = os.Rename(name+".new", name); err == nil {
			err = syncFolder(filepath.Dir(name))
		}
	}
	if err != nil {
		f.Close()
		return err
	}
	if j.file != nil {
		j.file.Close() // all of it is durable
	}
	j.file, j.size = f, int64(len(b))
	return nil
}

// resume goes on behind the last group of a file, and cuts off what is no group.
func (j *journal) resume(s segment) error {
	f, err := os.OpenFile(filepath.Join(j.dir, filepath.FromSlash(segmentPath(s.first))), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	j.file, j.mark, j.size = f, s.mark, int64(s.end)
	// What a killed process wrote may not be durable yet, although it is read.
	if err := errors.Join(f.Truncate(j.size), f.Sync()); err != nil {
		return err
	}
	_, err = f.Seek(j.size, 0)
	return err
}

// write makes a group durable.
func (j *journal) write(g *group) error {
	b := append(j.buf[:0], j.mark[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(g.entries)))
	b = binary.BigEndian.AppendUint32(b, uint32(g.count))
	b = binary.BigEndian.AppendUint64(b, uint64(g.first))
	sum := groupSum(b, g.entries)
	b = append(append(b, sum[:]...), g.entries...)
	j.buf = b
	_, err := j.file.Write(b)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.torn = true
		return errors.Join(err, j.mend())
	}
	j.size += int64(len(b))
	return nil
}

// mend cuts off a group that could not be written: its callers are told that it failed. A page
// whose fsync failed is read as if it were on the disk, so that nothing is written behind
// it before the file is durable without it.
func (j *journal) mend() error {
	if !j.torn {
		return nil
	}
	err := j.file.Truncate(j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err == nil {
		_, err = j.file.Seek(j.size, 0)
	}
	j.torn = err != nil
	return err
}
