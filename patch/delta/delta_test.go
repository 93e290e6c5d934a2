// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"
)

// A flash is a memory of bytes, of which the power can fail.
type flash struct {
	b    []byte
	left int // bytes that can be written before the power fails; none fails below 0
}

var errPower = errors.New("the power failed")

func (f *flash) ReadAt(p []byte, i int64) (int, error) {
	if i > int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[i:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *flash) WriteAt(p []byte, i int64) (int, error) {
	if i < 0 || i+int64(len(p)) > int64(len(f.b)) {
		return 0, io.ErrShortWrite
	}
	if f.left >= 0 && f.left < len(p) {
		copy(f.b[i:], p[:f.left])
		for k := f.left; k < len(p); k++ {
			f.b[int(i)+k] ^= 0x5a // neither what it was nor what it should be
		}
		f.left = 0
		return 0, errPower
	}
	if f.left >= 0 {
		f.left -= len(p)
	}
	return copy(f.b[i:], p), nil
}

// firmware makes an image that looks like one, and its next version: code with
// addresses, some of it moved, some new.
func firmware(seed uint64, n int) (old, new []byte) {
	r := rand.New(rand.NewPCG(seed, 0))
	words := make([]uint32, n/4)
	for i := range words {
		switch r.IntN(4) {
		case 0:
			words[i] = 0x08000000 + uint32(r.IntN(n))
		case 1:
			words[i] = 0xf000f800 + uint32(r.IntN(64))
		default:
			words[i] = words[r.IntN(i+1)]
		}
	}
	add := func(b []byte, w uint32) []byte { return append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24)) }
	cut, grown := r.IntN(len(words)+1), 4*r.IntN(8)
	for i, w := range words {
		old = add(old, w)
		if i == cut {
			for range grown {
				new = append(new, byte(r.Uint32()))
			}
		}
		if w>>24 == 8 && int(w&0xffffff) > 4*cut {
			w += uint32(grown)
		}
		if r.IntN(400) != 0 {
			new = add(new, w)
		}
	}
	return old, new
}

// patched applies a delta in pieces.
func patched(t testing.TB, d *Decoder, old, delta []byte, piece int) []byte {
	t.Helper()
	h, err := ParseHeader(delta)
	if err != nil {
		t.Fatal(err)
	}
	f := &flash{make([]byte, max(h.New, h.Area)), -1}
	if h.InPlace() {
		copy(f.b, old)
		d.Reset(nil, f)
	} else {
		d.Reset(bytes.NewReader(old), f)
	}
	for i := 0; i < len(delta); i += piece {
		if _, err := d.Write(delta[i:min(i+piece, len(delta))]); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Done() {
		t.Fatalf("not done at %d of %d", d.Offset(), len(delta))
	}
	return f.b[:h.New]
}

func TestDiff(t *testing.T) {
	old, new := firmware(1, 40000)
	noise := make([]byte, 3000)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	pairs := []struct{ old, new []byte }{
		{nil, nil},
		{nil, []byte("a")},
		{[]byte("a"), nil},
		{old, old},
		{old, new},
		{new, old},
		{old, noise},
		{nil, new},
		{old, append(bytes.Clone(new[20000:]), new[:20000]...)},
		{old[:9999], new[:19999]},
	}
	d := NewDecoder()
	for i, p := range pairs {
		for _, o := range []Options{{}, {Page: 256}, {InPlace: true}, {InPlace: true, Page: 256}, {InPlace: true, Area: 64 << 10, Page: 1024}} {
			b, err := Diff(p.old, p.new, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []int{1, 7, len(b)} {
				if got := patched(t, d, p.old, b, piece); !bytes.Equal(got, p.new) {
					t.Errorf("pair %d, %+v in pieces of %d: another image", i, o, piece)
				}
			}
			t.Log(i, fmt.Sprintf("%+v", o), len(p.old), len(p.new), len(b))
		}
	}
}

// TestFull sends the whole image where a delta is more than half as long, coded where that is shorter.
func TestFull(t *testing.T) {
	old, new := firmware(1, 20000)
	noise := make([]byte, 20000)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, c := range []struct {
		old, new []byte
		kind     uint8
	}{{old, new, kindDelta}, {nil, append(bytes.Clone(noise[:10000]), new[:8000]...), kindCoded}, {old, noise, kindRaw}} {
		b, err := Diff(c.old, c.new, Options{})
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHeader(b)
		if err != nil || h.kind() != c.kind || len(b) > len(c.new)+maxHeader || h.kind() == kindDelta && len(b) > len(c.new)/2 {
			t.Errorf("%v, kind %d for %d, %d bytes for %d", err, h.kind(), c.kind, len(b), len(c.new))
		}
		if got := patched(t, NewDecoder(), c.old, b, 100); !bytes.Equal(got, c.new) {
			t.Error("another image")
		}
	}
}

// TestAltered flips each bit of a delta: nothing but the new image is ever done.
func TestAltered(t *testing.T) {
	old, new := firmware(3, 600)
	b, err := Diff(old, new, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder()
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		f := &flash{make([]byte, 4096), -1}
		d.Reset(bytes.NewReader(old), f)
		d.Write(b)
		b[i/8] ^= 1 << (i % 8)
		if d.Done() && !bytes.Equal(f.b[:d.Header.New], new) {
			t.Fatalf("bit %d: another image", i)
		}
	}
}

// TestState measures the decoder.
func TestState(t *testing.T) {
	n := unsafe.Sizeof(Decoder{}) + reflect.TypeOf(NewDecoder().hash).Elem().Size()
	t.Logf("%d bytes, of which %d are learnt", n, unsafe.Sizeof(model{}))
	if n >= 4096 {
		t.Errorf("the state has %d bytes", n)
	}
	old, new := firmware(1, 20000)
	for _, o := range []Options{{}, {InPlace: true}} {
		b, err := Diff(old, new, o)
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder()
		var checkpoint [CheckpointBytes]byte
		saved := 0
		d.Save = func(d *Decoder) error {
			saved = len(d.Checkpoint(checkpoint[:0]))
			return nil
		}
		area := 40 << 10
		f := &flash{make([]byte, area), -1}
		r := bytes.NewReader(old)
		allocs := testing.AllocsPerRun(10, func() {
			if d.Reset(r, f); o.InPlace {
				copy(f.b, old)
				d.Reset(nil, f)
			}
			if d.Write(b); !d.Done() {
				t.Fatal(d.err)
			}
		})
		if allocs != 0 {
			t.Errorf("%+v: %v allocations", o, allocs)
		}
		if saved == 0 || saved > len(checkpoint) {
			t.Errorf("a checkpoint of %d bytes", saved)
		}
	}
}

// rig is a device: memories, a place for checkpoints, and a delta that can be sent again.
type rig struct {
	old   []byte
	delta []byte
	h     Header
	f     *flash
	saved [2][]byte // one after the other, so that one is whole
	n     int
}

// install runs until the delta is installed or the power fails: after stop bytes of
// the delta, or in a write.
func (r *rig) install(d *Decoder, stop int) error {
	d.Save = func(d *Decoder) error {
		r.n++
		r.saved[r.n%2] = d.Checkpoint(r.saved[r.n%2][:0])
		return nil
	}
	var old io.ReaderAt = bytes.NewReader(r.old)
	if r.h.InPlace() {
		old = nil
	}
	if r.n == 0 {
		d.Reset(old, r.f)
	} else if err := d.Resume(r.saved[r.n%2], old, r.f); err != nil {
		return err
	}
	for i := int(d.Offset()); i < len(r.delta) && !d.Done(); i += 16 {
		end := min(i+16, len(r.delta))
		if stop <= end {
			d.Write(r.delta[i:max(i, stop)])
			return errPower
		}
		if _, err := d.Write(r.delta[i:end]); err != nil {
			return err
		}
	}
	if !d.Done() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TestPower cuts the power at every byte of the delta and at every byte written, and goes on.
func TestPower(t *testing.T) {
	old, new := firmware(3, 1000)
	new = append(new[500:], new[:500]...)
	d := NewDecoder()
	for _, o := range []Options{{Page: 256}, {InPlace: true, Page: 256}, {InPlace: true, Page: 512, Area: 2000}} {
		delta, err := Diff(old, new, o)
		if err != nil {
			t.Fatal(err)
		}
		h, _ := ParseHeader(delta)
		if h.Full() {
			t.Fatal("a whole image")
		}
		fresh := func(power int) *rig {
			f := &flash{make([]byte, max(h.New, h.Area)), power}
			if o.InPlace {
				copy(f.b, old)
			}
			return &rig{old: old, delta: delta, h: h, f: f}
		}
		check := func(r *rig, where string, i int) {
			t.Helper()
			if err := r.install(d, len(delta)+1); err != nil || !bytes.Equal(r.f.b[:h.New], new) {
				t.Fatalf("%+v: after a cut at %s %d: %v", o, where, i, err)
			}
		}
		for i := range delta {
			r := fresh(-1)
			if err := r.install(d, i); err != errPower {
				t.Fatalf("%+v: %v", o, err)
			}
			check(r, "byte", i)
		}
		cuts := 0
		for ; ; cuts++ {
			r := fresh(cuts)
			if err := r.install(d, len(delta)+1); err == nil {
				break
			} else if err != errPower {
				t.Fatal(err)
			}
			r.f.left = cuts / 2 // and once more
			if err := r.install(d, len(delta)+1); err != nil && err != errPower {
				t.Fatal(err)
			}
			r.f.left = -1
			check(r, "write", cuts)
		}
		if cuts < len(new) {
			t.Errorf("%d cuts for %d bytes", cuts, len(new))
		}
	}
}

// FuzzDecoder feeds deltas that nobody made: the decoder ends, with an error or with the
// image that the header's digest says, and does the same whatever the pieces.
func FuzzDecoder(f *testing.F) {
	old, new := firmware(7, 3000)
	for _, o := range []Options{{Page: 256}, {InPlace: true, Page: 256}} {
		for _, n := range [][]byte{new, old, nil, []byte("short")} {
			b, err := Diff(old, n, o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ends []string
		for _, piece := range []int{1, 50, len(b) + 1} {
			m := &flash{make([]byte, 8192), -1}
			d := NewDecoder()
			if d.Reset(bytes.NewReader(old), m); len(b) > 4 && b[4]&inPlace != 0 {
				copy(m.b, old)
				d.Reset(nil, m)
			}
			var err error
			for i := 0; i < len(b) && err == nil; i += piece {
				_, err = d.Write(b[i:min(i+piece, len(b))])
			}
			if d.Done() && sha256.Sum256(m.b[:d.Header.New]) != d.Header.NewDigest {
				t.Fatal("done, and not the image")
			}
			ends = append(ends, fmt.Sprint(d.Done(), err))
		}
		if ends[0] != ends[1] || ends[1] != ends[2] {
			t.Fatalf("in pieces: %q", ends)
		}
	})
}

// FuzzResume goes on from checkpoints that nobody stored, as far as their checksum is right.
func FuzzResume(f *testing.F) {
	old, new := firmware(7, 3000)
	delta, err := Diff(old, new, Options{Page: 256})
	if err != nil {
		f.Fatal(err)
	}
	d := NewDecoder()
	d.Save = func(d *Decoder) error {
		c := d.Checkpoint(nil)
		f.Add(c[:len(c)-4])
		return nil
	}
	d.Reset(bytes.NewReader(old), &flash{make([]byte, 8192), -1})
	if d.Write(delta); !d.Done() {
		f.Fatal(d.err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDecoder()
		m := &flash{make([]byte, 8192), -1}
		b = binary.LittleEndian.AppendUint32(b[:len(b):len(b)], crc32.ChecksumIEEE(b))
		if d.Resume(b, bytes.NewReader(old), m) == nil {
			d.Write(delta[min(int(d.Offset()), len(delta)):])
		}
		if d.Done() && sha256.Sum256(m.b[:d.Header.New]) != d.Header.NewDigest {
			t.Fatal("done, and not the image")
		}
	})
}
