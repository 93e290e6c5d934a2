// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/myelin-health/myelin/internal/flock"
)

// A journal is a file of frames. Each is
//
//	length, 4 bytes | CRC-32C of these | text | CRC-32C of the text
//
// with big-endian numbers, written and made durable at once. So a loss of power can
// cut off the last frame only, which nobody was told of, and that is dropped. A
// length that is wrong is told from one that is cut off by its CRC.
type journal struct {
	path  string
	file  *os.File
	bytes int64
	quick bool          // tests: the disk is not waited for
	hold  chan struct{} // tests: the disk takes as long as this is open
}

const (
	frameHeader  = 8
	frameTrailer = 4
	maxFrame     = 8 << 20   // bytes of one text
	maxJournal   = 512 << 20 // bytes that are read
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens or makes a journal and returns its texts.
func openJournal(path string, quick bool) (*journal, [][]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	j := &journal{path: path, file: f, quick: quick}
	texts, err := j.load()
	if err == nil {
		err = errors.Join(f.Chmod(0o600), syncFolder(path))
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, texts, nil
}

func (j *journal) load() ([][]byte, error) {
	b, err := io.ReadAll(io.LimitReader(j.file, maxJournal+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJournal {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrDamaged, maxJournal)
	}
	texts, n, err := parseJournal(b)
	if err != nil {
		return nil, err
	}
	j.bytes = int64(n)
	if n < len(b) {
		return texts, errors.Join(j.file.Truncate(int64(n)), j.file.Sync())
	}
	return texts, nil
}

// parseJournal returns the texts, and how many bytes their frames have: what is
// behind was cut off.
func parseJournal(b []byte) (texts [][]byte, n int, err error) {
	for {
		rest := b[n:]
		// A file that grew without its data has zeros there.
		if len(rest) < frameHeader || !slices.ContainsFunc(rest, func(c byte) bool { return c != 0 }) {
			return texts, n, nil
		}
		size := binary.BigEndian.Uint32(rest)
		if crc32.Checksum(rest[:4], castagnoli) != binary.BigEndian.Uint32(rest[4:]) || size > maxFrame {
			return nil, n, fmt.Errorf("%w at byte %d", ErrDamaged, n)
		}
		whole := frameHeader + int(size) + frameTrailer
		if len(rest) < whole {
			return texts, n, nil
		}
		text := rest[frameHeader : frameHeader+size : frameHeader+size]
		if crc32.Checksum(text, castagnoli) != binary.BigEndian.Uint32(rest[whole-frameTrailer:]) {
			if len(rest) == whole {
				return texts, n, nil // its data did not reach the disk
			}
			return nil, n, fmt.Errorf("%w at byte %d", ErrDamaged, n)
		}
		texts = append(texts, text)
		n += whole
	}
}

func appendFrame(dst, text []byte) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
	dst = append(dst, text...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(text, castagnoli))
}

// write makes one frame durable. After an error nobody knows whether it is.
func (j *journal) write(text []byte) error {
	if len(text) > maxFrame {
		return ErrFull
	}
	b := appendFrame(nil, text)
	if j.hold != nil {
		<-j.hold
	}
	if _, err := j.file.Write(b); err != nil {
		return err
	}
	j.bytes += int64(len(b))
	if j.quick {
		return nil
	}
	return j.file.Sync()
}

// replace writes the journal anew with other texts. It is the old one or the new
// one, whenever it is killed.
func (j *journal) replace(texts [][]byte) error {
	var b []byte
	for _, t := range texts {
		if len(t) > maxFrame {
			return ErrFull
		}
		b = appendFrame(b, t)
	}
	name := j.path + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(name, j.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	j.file.Close()
	j.file, j.bytes = f, int64(len(b))
	return syncFolder(j.path)
}

func (j *journal) close() error { return j.file.Close() }

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock takes a file for this process alone.
func lock(path string) (*os.File, error) {
	f, err := flock.Take(path)
	if errors.Is(err, flock.ErrHeld) {
		err = ErrLocked
	}
	return f, err
}
