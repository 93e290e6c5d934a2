// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/delta"
	"github.com/myelin-health/myelin/report"
)

func patchDiffVerb(c *console) *cobra.Command {
	var out string
	var o delta.Options
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "diff OLD NEW --out FILE [--in-place] [flags]",
		Short:                 "Make a delta from one firmware image to the next",
		Long: `Diff makes a delta: what a device that has OLD needs to make NEW, in less than
4 KiB of memory. It is for another slot, or with --in-place for a device with
room for one image only, which writes NEW over OLD. A delta that would be more
than half as long as NEW is the whole image instead. It overwrites nothing.`,
		Example: `  myelin patch diff 2.1.4.bin flow500.bin --out 2.1.4.delta
  myelin patch diff 2.1.4.bin flow500.bin --in-place --out 2.1.4.delta`,
		Args: exactly(2, "diff wants two images: the old one and the new one"),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("diff wants --out: the file for the delta")}
			}
			if o.Area != 0 && !o.InPlace {
				return usageError{errors.New("--area is for --in-place")}
			}
			var images [2][]byte
			for i, file := range args {
				var err error
				if images[i], err = readFile(file, delta.MaxImage/2); err != nil {
					return err
				}
			}
			b, err := delta.Diff(images[0], images[1], o)
			if err != nil {
				return err
			}
			h, err := delta.ParseHeader(b)
			if err != nil {
				return err
			}
			if err := create(out, 0o644, b); err != nil {
				return err
			}
			what := ""
			if h.Full() {
				what = ": the whole image, as a delta would save little"
			}
			c.hint("wrote %s: %d bytes, for an image of %d%s", out, len(b), h.New, what)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "", "`FILE` for the delta")
	v.Flags().BoolVar(&o.InPlace, "in-place", false, "the new image is written over the old one")
	v.Flags().IntVar(&o.Area, "area", 0, "`BYTES` of flash for it (as many pages as the longer image needs, and one)")
	v.Flags().IntVar(&o.Page, "page", 4096, "`BYTES` that the flash erases at a time, a power of two")
	return v
}

func patchApplyVerb(c *console) *cobra.Command {
	var out string
	var over bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "apply OLD DELTA (--out FILE | --in-place)",
		Short:                 "Make the next firmware image out of one and a delta",
		Long: `Apply makes an image as a device does: it checks the digest of OLD, writes the
new image to FILE, and checks its digest. With --in-place it writes over OLD,
by a delta that was made so, and keeps OLD.checkpoint until that is done:
after a loss of power the same call goes on where it was.`,
		Example: `  myelin patch apply 2.1.4.bin 2.1.4.delta --out flow500.bin`,
		Args:    exactly(2, "apply wants an image and a delta"),
		RunE: func(_ *cobra.Command, args []string) error {
			if over == (out != "") {
				return usageError{errors.New("apply wants --out, the file for the new image, or --in-place")}
			}
			b, err := readFile(args[1], delta.MaxImage)
			if err != nil {
				return err
			}
			h, err := delta.ParseHeader(b)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", args[1], err)
			case h.InPlace() != over && over:
				return fmt.Errorf("%s: a delta that is not for in place; want --out", args[1])
			case h.InPlace() != over:
				return fmt.Errorf("%s: a delta that writes over the old image; want --in-place, and a copy of it", args[1])
			case over:
				return applyOver(args[0], b, h)
			}
			return applyTo(args[0], b, out)
		},
	}
	v.Flags().StringVar(&out, "out", "", "`FILE` for the new image")
	v.Flags().BoolVar(&over, "in-place", false, "write over the old image")
	return v
}

// applyTo writes the new image to a file that is not there yet, and leaves none that is not whole.
func applyTo(from string, b []byte, out string) error {
	old, err := os.Open(from)
	if err != nil {
		return err
	}
	defer old.Close()
	f, err := os.OpenFile(out, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten; name another file", out)
	}
	if err != nil {
		return err
	}
	d := delta.NewDecoder()
	d.Reset(old, f)
	err = errors.Join(applied(d, b), f.Sync(), f.Close())
	if err != nil {
		os.Remove(out)
	}
	return err
}

// applied gives all of a delta to a decoder.
func applied(d *delta.Decoder, b []byte) error {
	if _, err := d.Write(b[d.Offset():]); err != nil {
		return err
	}
	if !d.Done() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// applyOver writes the new image over the old one.
func applyOver(file string, b []byte, h delta.Header) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	kept := file + ".checkpoint"
	d := delta.NewDecoder()
	var checkpoint [delta.CheckpointBytes]byte
	d.Save = func(d *delta.Decoder) error {
		if err := f.Sync(); err != nil {
			return err
		}
		return replace(kept, d.Checkpoint(checkpoint[:0]))
	}
	switch at, err := readFile(kept, delta.CheckpointBytes); {
	case errors.Is(err, fs.ErrNotExist):
		d.Reset(nil, f)
	case err != nil:
		return err
	default:
		if err := d.Resume(at, nil, f); err != nil {
			return fmt.Errorf("%s: %w", kept, err)
		}
		if d.Header != h {
			return fmt.Errorf("%s is of another delta, which is to be applied first", kept)
		}
	}
	if err := applied(d, b); err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(int64(h.New)), f.Sync()); err != nil {
		return err
	}
	return os.Remove(kept)
}

// A shownDelta is what a delta's header says.
type shownDelta struct {
	File    string `json:"file"`
	Bytes   int    `json:"bytes"`
	Full    bool   `json:"full,omitempty"` // the whole image, which needs no other
	InPlace bool   `json:"in_place,omitempty"`
	Area    uint32 `json:"area,omitempty"` // bytes of flash in place
	Page    uint32 `json:"page"`
	Code    string `json:"code"`
	Old     string `json:"old,omitempty"` // digest
	OldSize uint32 `json:"old_bytes,omitempty"`
	New     string `json:"new"`
	NewSize uint32 `json:"new_bytes"`
}

func patchShowVerb(c *console) *cobra.Command {
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "show DELTA...",
		Short:                 "Tell from which image to which a delta is",
		Long:                  `Show says which image a delta wants, which one it makes, and how.`,
		Example:               `  myelin patch show 2.1.4.delta`,
		Args:                  atLeast(1, "show what? name a delta"),
		RunE: func(_ *cobra.Command, args []string) error {
			return showEach(c, &format, args, showDelta, (*shownDelta).text)
		},
	}
	format.register(v, "text", "json")
	return v
}

func showDelta(file string) (*shownDelta, error) {
	b, err := readFile(file, delta.MaxImage)
	if err != nil {
		return nil, err
	}
	h, err := delta.ParseHeader(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s := &shownDelta{
		File: file, Bytes: len(b), Full: h.Full(), InPlace: h.InPlace(), Area: h.Area, Page: h.Page(),
		Code: h.CodeName(), New: "SHA-256:" + hex.EncodeToString(h.NewDigest[:]), NewSize: h.New,
	}
	if !h.Full() {
		s.Old, s.OldSize = "SHA-256:"+hex.EncodeToString(h.OldDigest[:]), h.Old
	}
	return s, nil
}

func (s *shownDelta) text(w io.Writer) error {
	kind := "delta"
	if s.Full {
		kind = "whole image"
	}
	if s.InPlace {
		kind += fmt.Sprintf(", in place in %d bytes", s.Area)
	}
	t := fmt.Sprintf("%s: %s, %d bytes, pages of %d, code %s\n", report.Plain(s.File), kind, s.Bytes, s.Page, s.Code)
	if !s.Full {
		t += fmt.Sprintf("  from %9d bytes, %s\n", s.OldSize, s.Old)
	}
	_, err := fmt.Fprintf(w, "%s  to   %9d bytes, %s\n", t, s.NewSize, s.New)
	return err
}
