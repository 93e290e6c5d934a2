// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/myelin-health/myelin/patch"
)

// A Layout is the flash of a device. Record has room for two boot records, of 2 kB, in
// blocks of their own; each slot for the longest image.
type Layout struct {
	Record Flash
	Slots  [2]Flash

	// Delta has room for two checkpoints of a delta, of 4.5 kB, in blocks of their own.
	// Nil begins a delta anew after a loss of power.
	Delta Flash
}

var (
	// ErrNoImage is of a device whose slots both hold something else than the boot
	// record says.
	ErrNoImage = errors.New("agent: neither slot holds an image that may run")

	// ErrBlank is of a device without a boot record: it was never provisioned.
	ErrBlank = errors.New("agent: there is no boot record")

	errDigest = errors.New("agent: the slot holds something else than what was verified")
	errRoom   = errors.New("agent: the image does not fit into its slot")
)

// boot is the boot record in flash.
type boot struct {
	layout *Layout
	log    *log
	record
}

func openBoot(l *Layout) (*boot, error) {
	g, newest, err := openLog(l.Record, maxRecord)
	if err != nil {
		return nil, err
	}
	b := &boot{layout: l, log: g}
	if newest == nil {
		return nil, ErrBlank
	}
	c, err := parseRecord(newest)
	if err != nil {
		return nil, err
	}
	b.record = *c
	return b, nil
}

// put makes a record the one that holds.
func (b *boot) put(c record) error {
	if err := b.log.put(c.append(nil)); err != nil {
		return err
	}
	b.record = c
	return nil
}

// other is the slot that is not confirmed.
func (b *boot) other() uint8 { return 1 - b.runs }

// watch is how long a version has to confirm itself: half of the time in which therapy
// is to be given again, so that a fall-back has the other half.
func (c *record) watch() time.Duration { return c.update.resume / 2 }

// holds is nil when a slot has an image, byte for byte.
func (b *boot) holds(slot uint8, i *image) error {
	if i.digest == (patch.Digest{}) {
		return errDigest
	}
	h := sha256.New()
	f := b.layout.Slots[slot]
	if i.size < 0 || i.size > f.Size() {
		return errRoom
	}
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, i.size)); err != nil {
		return err
	}
	if patch.Digest(h.Sum(nil)) != i.digest {
		return errDigest
	}
	return nil
}

// A Start is what a boot loader starts.
type Start struct {
	Slot  int
	Size  int64 // of the image, from the slot's first byte on
	Trial bool  // it has not been confirmed; Watch is how long it has for that
	Watch time.Duration
}

// Boot says what to start, as a boot loader does on each start of the device. What
// it names was hashed just before, and is what was verified when it was staged. A
// version on trial is started once: when it did not live to be confirmed, or has been
// changed meanwhile, the old one is, and stays; so it is when the start cannot be
// recorded.
//
// Should the confirmed slot be damaged, the other is started if it was confirmed in
// its day, though its version is older: therapy by an old version beats none. Nothing
// that was never confirmed is. With neither it is [ErrNoImage].
func Boot(l *Layout) (Start, error) {
	b, err := openBoot(l)
	if err != nil {
		return Start{}, err
	}
	if b.phase == trial {
		c := b.record
		if c.tries > 0 {
			c.tries--
			switch err := b.put(c); { // before it runs: what hangs does not run twice
			case err != nil:
				c.update.reason = unrecorded
			case b.holds(b.other(), &b.update.target) == nil:
				return Start{int(b.other()), b.update.target.size, true, b.watch()}, nil
			default:
				c.update.reason = "changed between the switch and the start"
			}
		} else {
			c.update.reason = "it did not confirm itself"
		}
		c.phase = fallen
		if err := b.put(c); errors.Is(err, ErrPower) {
			return Start{}, err
		}
	}
	for _, slot := range []uint8{b.runs, b.other()} {
		i := &b.slots[slot]
		if err := b.holds(slot, i); err == nil {
			return Start{Slot: int(slot), Size: i.size}, nil
		} else if errors.Is(err, ErrPower) {
			return Start{}, err
		}
	}
	return Start{}, ErrNoImage
}

// unrecorded is why what is on trial was not started, or not confirmed.
const unrecorded = "the boot record cannot be written"

// maxVersion is how many bytes a version has at most, as in a State.
const maxVersion = 256

// Provision writes a new device: an image in slot A, confirmed, and an empty slot B.
func Provision(l *Layout, img io.Reader, version string, sequence uint64) error {
	if version == "" || len(version) > maxVersion || !utf8.ValidString(version) {
		return fmt.Errorf("agent: a version of 1 to %d bytes is wanted", maxVersion)
	}
	g, _, err := openLog(l.Record, maxRecord)
	if err != nil {
		return err
	}
	w := slotWriter{f: l.Slots[0]}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, &w), io.LimitReader(img, l.Slots[0].Size()+1)); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	c := record{sequence: sequence}
	c.slots[0] = image{version, sequence, patch.Digest(h.Sum(nil)), w.n}
	return g.put(c.append(nil))
}
