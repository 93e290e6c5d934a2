// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// copyOf copies a ledger.
func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func journalFile(t testing.TB, dir string) string {
	t.Helper()
	all, err := folder(dir).segments()
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return filepath.Join(dir, segmentPath(all[len(all)-1]))
}

// TestTorn cuts the journal at every byte behind the checkpoint, and leaves zeros or
// something else where the group was to be: what was acknowledged before it is there.
func TestTorn(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "torn", false)
	l := open(t, dir, k)
	fill(t, l, 300)
	if _, err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	file := journalFile(t, dir)
	var ends []int64 // of each group behind the checkpoint
	for range 2 {
		ends = append(ends, l.journal.size)
		bulk(t, l, [][]byte{entryOf(3), entryOf(4)})
	}
	whole := l.journal.size
	l.crash()
	b, err := os.ReadFile(file)
	if err != nil || int64(len(b)) != whole {
		t.Fatal(len(b), whole, err)
	}
	for at := ends[0]; at <= whole; at++ {
		size := int64(300)
		for i, end := range append(ends[1:], whole) {
			if at >= end {
				size = 300 + 2*int64(i+1)
			}
		}
		for how, tail := range [][]byte{nil, make([]byte, 50), bytes.Repeat([]byte{0xa5}, 50)} {
			if at == whole && how > 0 {
				continue
			}
			if err := os.WriteFile(file, append(b[:at:at], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			r := wantOK(t, dir, k, 300, size-300)
			if cut := slices.Contains(ends, at) || at == whole; r.Torn == 0 != (cut && how == 0) {
				t.Fatalf("cut at %d, %d: %d bytes are said to be cut off", at, how, r.Torn)
			}
			if at%16 != 0 && how > 0 || at%8 != 0 && !slices.Contains(ends, at) { // opening takes a few fsyncs
				continue
			}
			to := dir
			if at < whole {
				to = copyOf(t, dir)
			}
			l := open(t, to, k)
			if l.next != size {
				t.Fatalf("cut at %d of %d, %d: %d entries, want %d", at, whole, how, l.next, size)
			}
			fill(t, l, 1)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			wantOK(t, to, k, size+1, 0)
			if at%50 == 0 {
				l := open(t, to, k)
				fill(t, l, 1)
				l.Close()
				wantOK(t, to, k, size+2, 0)
			}
		}
	}
}

// TestNoEntryLooksLikeAGroup: an entry may have any bytes, such as those of a journal.
func TestNoEntryLooksLikeAGroup(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "hostile", false)
	l := open(t, dir, k)
	fill(t, l, 3)
	seen, err := os.ReadFile(journalFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	l.crash()
	// Of another ledger, whose mark is another: as far as somebody can get who cannot read it.
	other := filepath.Join(t.TempDir(), "other")
	l = open(t, other, k)
	if _, err := l.Append(seen); err != nil {
		t.Fatal(err)
	}
	l.crash()
	file := journalFile(t, other)
	b, _ := os.ReadFile(file)
	if err := os.WriteFile(file, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, other, k)
	if l.next != 0 {
		t.Error(l.next)
	}
	l.Close()
}

// TestBits flips each bit of a ledger, in turn. Verification finds it in all files that
// say something, and names the file; and what was acknowledged is never lost silently.
func TestBits(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "bits", false)
	l := open(t, dir, k)
	fill(t, l, 255)
	l.Checkpoint()
	fill(t, l, 3)
	l.Checkpoint()
	bulk(t, l, [][]byte{[]byte("signed by nobody yet")})
	bulk(t, l, [][]byte{[]byte("the last")})
	begin := l.journal.size - int64(groupHeader+2+len("the last"))
	l.crash()
	wantOK(t, dir, k, 258, 2)
	last := journalFile(t, dir)
	files := 0
	filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		path, _ := filepath.Rel(dir, file)
		path = filepath.ToSlash(path)
		if err != nil || d.IsDir() || path == "lock" {
			return err
		}
		files++
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(b)/300)
		for at := 0; at < len(b); at += step {
			b[at] ^= 1 << (at % 8)
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			r := verify(t, dir, k)
			b[at] ^= 1 << (at % 8)
			switch {
			case file == last && int64(at) >= begin:
				// The last group was never signed, and nothing is behind it: this is
				// what a loss of power looks like, in which nobody had an answer yet.
				if r.Torn == 0 || r.Unsigned != 1 {
					t.Fatalf("%s, byte %d: %d bytes cut off, %d entries unsigned", path, at, r.Torn, r.Unsigned)
				}
			case r.OK():
				t.Fatalf("%s, byte %d: a bit is another, and nobody notices", path, at)
			case !strings.HasPrefix(r.Problems[0].File, strings.TrimSuffix(path, "/255")):
				if path != "checkpoint" || r.Problems[0].File != "checkpoint" {
					t.Fatalf("%s, byte %d: found in %v", path, at, r.Problems)
				}
			}
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".p/255") || strings.HasSuffix(path, "/lock") {
			return nil
		}
		for _, damage := range []func() error{
			func() error { return os.Remove(file) },
			func() error { return os.WriteFile(file, b[:len(b)-1], 0o600) },
			func() error { return os.WriteFile(file, append(bytes.Clone(b), 0), 0o600) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, dir, k); r.OK() && r.Torn == 0 {
				t.Fatalf("%s is removed, shorter or longer, and nobody notices", path)
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
	if files < 7 {
		t.Errorf("%d files", files)
	}
	wantOK(t, dir, k, 258, 2)
}

// TestPlace: what was changed is named, and not only that something was.
func TestPlace(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "place", false)
	l := open(t, dir, k)
	entries := make([][]byte, 1000)
	for i := range entries {
		entries[i] = entryOf(i)
	}
	bulk(t, l, entries)
	l.Close()
	at := func(n int) int64 { // of an entry in its bundle
		off := 0
		for i := n &^ 255; i < n; i++ {
			off += 2 + len(entries[i])
		}
		return int64(off)
	}
	for _, tt := range []struct {
		file   string
		offset int64
		want   DamageError
	}{
		{"tile/entries/001", at(300) + 4, DamageError{"tile/entries/001", 300, at(300), "this entry is not what was signed"}},
		{"tile/entries/003.p/232", at(999) + 2, DamageError{"tile/entries/003.p/232", 999, at(999), "this entry is not what was signed"}},
		{"tile/entries/002", at(520), DamageError{"tile/entries/002", 520, at(520), "ends within entry 9 of 256"}},
		{"tile/0/000", 77*32 + 5, DamageError{"tile/0/000", 77, 77 * 32, "this hash was changed; the entry is what was signed"}},
		{"tile/0/003.p/232", 31, DamageError{"tile/0/003.p/232", 768, 0, "this hash was changed; the entry is what was signed"}},
		{"tile/1/000.p/3", 40, DamageError{"tile/1/000.p/3", 256, 32, "this hash is not that of the tile below"}},
	} {
		file := filepath.Join(dir, tt.file)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[tt.offset] ^= 0x40
		os.WriteFile(file, b, 0o600)
		r := verify(t, dir, k)
		if len(r.Problems) != 1 || r.Problems[0] != tt.want {
			t.Errorf("%s, byte %d: %+v, want %+v", tt.file, tt.offset, r.Problems, tt.want)
		}
		b[tt.offset] ^= 0x40
		os.WriteFile(file, b, 0o600)
	}
	wantOK(t, dir, k, 1000, 0)

	// Somebody with the disk and without the key changes entry and hashes together.
	forged := copyOf(t, dir)
	other := open(t, filepath.Join(t.TempDir(), "other"), k)
	changed := bytes.Clone(entries[10])
	changed[0] = 'E'
	bulk(t, other, append(append(append([][]byte{}, entries[:10]...), changed), entries[11:]...))
	other.Close()
	os.RemoveAll(filepath.Join(forged, "tile"))
	if err := os.CopyFS(filepath.Join(forged, "tile"), os.DirFS(filepath.Join(other.dir, "tile"))); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, forged, k); r.OK() || r.Problems[0].File != "checkpoint" {
		t.Error(r.Problems)
	}
	if _, err := Open(forged, k.config()); err == nil {
		t.Error("it was opened")
	}
	// With the key too, only somebody who kept a checkpoint notices.
	mine, _ := Read(dir, k.Verifier)
	if r, err := Verify(other.dir, VerifyConfig{Ledger: k.Verifier}); err != nil || !r.OK() {
		t.Error(r, err)
	}
	if r, err := Verify(other.dir, VerifyConfig{Ledger: k.Verifier, Since: mine.Checkpoint}); err != nil || r.OK() {
		t.Error(r, err)
	}
}

// TestOpenDamaged: what cannot come from a crash is not put in order.
func TestOpenDamaged(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "damaged", false)
	l := open(t, dir, k)
	fill(t, l, 300)
	l.Checkpoint()
	fill(t, l, 2)
	l.crash()
	file := strings.TrimPrefix(journalFile(t, dir), dir)
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	for _, tt := range []struct {
		file string
		how  func([]byte) []byte
	}{
		{file, func(b []byte) []byte { return nil }},
		{file, func(b []byte) []byte { return b[:journalHeader] }},
		{file, func(b []byte) []byte { return b[:200] }},
		{file, flip(3)},
		{file, flip(30)},
		{file, flip(45)},
		{file, flip(journalHeader + 1)},
		{file, flip(journalHeader + markBytes + 1)},
		{file, flip(journalHeader + groupHeader + 5)},
		{"checkpoint", func(b []byte) []byte { return nil }},
		{"checkpoint", flip(5)},
		{"tile/1/000.p/1", flip(5)},
		{"tile/1/000.p/1", func(b []byte) []byte { return b[:31] }},
	} {
		to := copyOf(t, dir)
		b, err := os.ReadFile(filepath.Join(to, tt.file))
		if err != nil {
			t.Fatal(err)
		}
		if b = tt.how(b); b == nil {
			os.Remove(filepath.Join(to, tt.file))
		} else {
			os.WriteFile(filepath.Join(to, tt.file), b, 0o600)
		}
		l, err := Open(to, k.config())
		var d *DamageError
		if !errors.As(err, &d) {
			t.Errorf("%s: %v", tt.file, err)
			if l != nil {
				l.Close()
			}
			continue
		}
		if after, err := os.ReadFile(filepath.Join(to, tt.file)); b != nil && (err != nil || !bytes.Equal(after, b)) {
			t.Errorf("%s was changed", tt.file)
		}
	}
	if _, err := Open(dir, newKey(t, "damaged", false).config()); err == nil {
		t.Error("another key of that name opens it")
	}
	if _, err := Open(dir, newKey(t, "other", false).config()); err == nil {
		t.Error("another name opens it")
	}
}

// TestSegments: the journal goes on in another file, older ones go when they are in
// bundles, and one that a loss of power brings back is in nobody's way.
func TestSegments(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "segments", false)
	l := open(t, dir, k)
	big := bytes.Repeat([]byte("0123456789abcdef"), MaxEntry/16)
	many := make([][]byte, 600) // 39 MB, more than the backlog may have
	for i := range many {
		many[i] = binary.BigEndian.AppendUint64(big[:len(big):len(big)], uint64(i))
	}
	bulk(t, l, many[:300])
	if len(l.files) < 2 {
		t.Fatalf("files %v", l.files)
	}
	first := filepath.Join(dir, segmentPath(0))
	old, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	bulk(t, l, many[300:])
	fill(t, l, 1) // waits until there are tiles
	wantOK(t, dir, k, 600, 1)
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	l.crash()
	wantOK(t, dir, k, 600, 1)
	os.WriteFile(first, old, 0o600)
	wantOK(t, dir, k, 600, 1)
	l = open(t, dir, k)
	if l.next != 601 {
		t.Error(l.next)
	}
	l.Close()
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(dir, Config{}); err == nil {
		t.Error("opened without a key")
	}
}

// TestCrashBetween ends it between each two files that a checkpoint writes, and opens
// it again.
func TestCrashBetween(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "between", false)
	l := open(t, dir, k)
	fill(t, l, 250)
	l.Checkpoint()
	fill(t, l, 10)
	after := copyOf(t, dir)
	open(t, after, k).Close()
	fill(t, l, 3) // while that checkpoint is being written
	l.crash()
	before := copyOf(t, dir)
	// What the checkpoint of 260 entries adds, file by file, each cut anywhere.
	steps := []string{"tile/entries/000", "tile/0/000", "tile/entries/001.p/4.new", "tile/0/001.p/4.new", "tile/1/000.p/1.new", "checkpoint.new"}
	for n := range steps {
		for _, cut := range []int{0, 1, 100} {
			to := copyOf(t, before)
			for i, path := range steps[:n+1] {
				b, err := os.ReadFile(filepath.Join(after, strings.TrimSuffix(path, ".new")))
				if err != nil {
					t.Fatal(err)
				}
				if i == n {
					b = b[:min(cut, len(b))]
				} else if path != "checkpoint.new" {
					path = strings.TrimSuffix(path, ".new")
				}
				os.MkdirAll(filepath.Dir(filepath.Join(to, path)), 0o700)
				if err := os.WriteFile(filepath.Join(to, path), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wantOK(t, to, k, 250, 13)
			l := open(t, to, k)
			if l.next != 263 {
				t.Fatalf("crash at %s: %d entries", steps[n], l.next)
			}
			wantOK(t, to, k, 263, 0)
			l.Close()
			wantOK(t, to, k, 263, 0)
		}
	}
	// The checkpoint is there, and the partial tiles of before are not gone yet.
	wantOK(t, after, k, 260, 0)
	if _, err := os.Stat(filepath.Join(after, "tile/0/000.p")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("partial tiles stay when the tile is whole")
	}
	os.CopyFS(filepath.Join(after, "tile/0/000.p"), os.DirFS(filepath.Join(before, "tile/0/000.p")))
	wantOK(t, after, k, 260, 0)
	open(t, after, k).Close()
}

// TestProperty: whatever is appended, and whenever it crashes, with or without the rest
// of a group that was being written, is there in its place.
func TestProperty(t *testing.T) {
	k := newKey(t, "property", false)
	base := t.TempDir()
	round := 0
	// Each of its steps waits for the disk: a hundred rounds are for who asks for them.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		defer checks.Value.Set(checks.DefValue)
		checks.Value.Set("10")
	}
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		defer os.RemoveAll(dir)
		c := k.config()
		l, err := Open(dir, c)
		if err != nil {
			t.Fatal(err)
		}
		var model [][]byte
		var seen []Checkpoint
		reopen := func(t *rapid.T) {
			if l, err = Open(dir, c); err != nil {
				t.Fatal(err)
			}
			if l.next != int64(len(model)) {
				t.Fatalf("%d entries, want %d", l.next, len(model))
			}
			if v, err := Verify(dir, VerifyConfig{Ledger: k.Verifier}); err != nil || !v.OK() || v.Checkpoint.Size != l.next {
				t.Fatal(v, err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				e := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "entry")
				if i, err := l.Append(e); err != nil || i != int64(len(model)) {
					t.Fatal(i, err)
				}
				model = append(model, e)
			},
			"many": func(t *rapid.T) {
				n := rapid.IntRange(1, 400).Draw(t, "entries")
				var more [][]byte
				for range n {
					more = append(more, entryOf(len(model)+len(more)))
				}
				g := &group{done: make(chan struct{})}
				for _, e := range more {
					g.entries = appendEntry(g.entries, e)
					g.count++
				}
				l.mu.Lock()
				l.open = g
				l.mu.Unlock()
				if l.write(g); g.err != nil {
					t.Fatal(g.err)
				}
				model = append(model, more...)
			},
			"checkpoint": func(t *rapid.T) {
				c, err := l.Checkpoint()
				if err != nil || c.Size != int64(len(model)) || !bytes.Equal(c.Hash[:], mth(model)) {
					t.Fatal(c, err)
				}
				seen = append(seen, c)
			},
			"kill": func(t *rapid.T) {
				l.crash()
				b, err := os.ReadFile(filepath.Join(dir, segmentPath(l.files[len(l.files)-1])))
				if err != nil {
					t.Fatal(err)
				}
				// Some of the next group, or of anything, may be behind.
				rest := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "rest")
				if rapid.Bool().Draw(t, "begins as a group") {
					rest = append(bytes.Clone(l.journal.mark[:]), rest...)
				}
				os.WriteFile(filepath.Join(dir, segmentPath(l.files[len(l.files)-1])), append(b, rest...), 0o600)
				reopen(t)
			},
			"close": func(t *rapid.T) {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				reopen(t)
			},
		})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Read(dir, k.Verifier)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := r.Entries(0, int64(len(model)), func(i int64, e []byte) error {
			if !bytes.Equal(e, model[i]) {
				return fmt.Errorf("entry %d is another", i)
			}
			n++
			return nil
		}); err != nil || n != len(model) {
			t.Fatal(n, err)
		}
		for _, old := range seen {
			g, err := r.ProveGrowth(old.Size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Verify(old, k.Verifier); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestDisk: a file that cannot be written ends it, and nobody is told otherwise.
func TestDisk(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "disk", false)
	l := open(t, dir, k)
	fill(t, l, 3)
	l.journal.file.Close()
	for range 2 {
		if _, err := l.Append(nil); !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	}
	if c, err := l.Checkpoint(); err != nil || c.Size != 3 {
		t.Error(c.Size, err) // what was durable before gets its checkpoint
	}
	l.Close()
	l = open(t, dir, k)
	fill(t, l, 1)
	// Tiles that cannot be written are tried again.
	os.RemoveAll(filepath.Join(dir, "tile", "0"))
	l.out.known = map[string]bool{dir: true}
	os.WriteFile(filepath.Join(dir, "tile", "0"), nil, 0o600)
	if _, err := l.Checkpoint(); err == nil {
		t.Error("a checkpoint without tiles")
	}
	fill(t, l, 1)
	os.Remove(filepath.Join(dir, "tile", "0"))
	if c, err := l.Checkpoint(); err != nil || c.Size != 5 {
		t.Error(c.Size, err)
	}
	if _, err := l.Append(make([]byte, MaxEntry+1)); !errors.Is(err, ErrLength) {
		t.Error(err)
	}
	l.Close()
	wantOK(t, dir, k, 5, 0)
}

// TestHostileFolder: who signs that there is more than there is keeps nobody busy.
func TestHostileFolder(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "hostile", false)
	c, err := sign(1<<47+300, (&tree{}).root(), k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "checkpoint"), c.Note, 0o600)
	os.MkdirAll(filepath.Join(dir, "journal"), 0o700)
	if r := verify(t, dir, k); r.OK() || len(r.Problems) != maxProblems || r.More < maxMore {
		t.Error(len(r.Problems), r.More)
	}
	if _, err := Open(dir, k.config()); err == nil {
		t.Error("it is opened")
	}
	r, err := Read(dir, k.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int64{0, 1 << 47} {
		if _, err := r.Prove(i); err == nil {
			t.Error("a proof of what is not there")
		}
	}
	if _, err := r.ProveGrowth(1 << 46); err == nil {
		t.Error("a proof of what is not there")
	}
	os.Remove(filepath.Join(dir, "checkpoint"))
	os.Mkdir(filepath.Join(dir, "checkpoint"), 0o700)
	if r := verify(t, dir, k); r.OK() {
		t.Error("a folder is a checkpoint")
	}
}
