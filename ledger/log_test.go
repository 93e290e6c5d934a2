// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A key is both halves.
type key struct {
	note.Signer
	note.Verifier
	private, public string
}

func newKey(t testing.TB, name string, witness bool) (k key) {
	t.Helper()
	var err error
	if k.private, k.public, err = GenerateKey(rand.Reader, name, witness); err != nil {
		t.Fatal(err)
	}
	if k.Signer, _, err = ParseSigner(k.private, nil); err != nil {
		t.Fatal(err)
	}
	if k.Verifier, err = ParseVerifier(k.public); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k key) config() Config {
	return Config{Signer: k.Signer, Verifier: k.Verifier, Every: -1}
}

func open(t testing.TB, dir string, k key) *Log {
	t.Helper()
	l, err := Open(dir, k.config())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// crash ends a log as kill -9 does: nothing is written any more.
func (l *Log) crash() {
	l.mu.Lock()
	l.err = ErrClosed
	l.mu.Unlock()
	close(l.stop)
	<-l.stopped
	l.release()
}

func entryOf(i int) []byte { return fmt.Appendf(nil, "entry %d of %s", i, strings.Repeat("x", i%40)) }

// fill appends entries from many goroutines, and says what has which index.
func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		at, err := l.Append(entryOf(int(l.next)))
		if err != nil || at != l.next-1 {
			t.Fatalf("entry %d: index %d, %v", i, at, err)
		}
	}
}

func verify(t testing.TB, dir string, k key) *Report {
	t.Helper()
	r, err := Verify(dir, VerifyConfig{Ledger: k.Verifier})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantOK(t testing.TB, dir string, k key, size, unsigned int64) *Report {
	t.Helper()
	r := verify(t, dir, k)
	if !r.OK() || r.Checkpoint.Size != size || r.Entries != size || r.Unsigned != unsigned {
		t.Fatalf("%d of %d entries, want %d; %d unsigned, want %d; %v", r.Entries, r.Checkpoint.Size, size, r.Unsigned, unsigned, r.Problems)
	}
	return r
}

// mth is RFC 6962 section 2.1, as it is written there: nothing of x/mod.
func mth(d [][]byte) []byte {
	h := sha256.New()
	if len(d) == 1 {
		h.Write([]byte{0})
		h.Write(d[0])
	} else if len(d) > 1 {
		k := 1
		for 2*k < len(d) {
			k *= 2
		}
		h.Write([]byte{1})
		h.Write(mth(d[:k]))
		h.Write(mth(d[k:]))
	}
	return h.Sum(nil)
}

// The leaves and roots are those that certificate-transparency's own tests of RFC 6962
// have for its trees of one to eight leaves.
func TestVectors(t *testing.T) {
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	dir, k := t.TempDir(), newKey(t, "vectors", false)
	l := open(t, dir, k)
	defer l.Close()
	for n, want := range roots {
		if n > 0 {
			b, _ := hex.DecodeString(leaves[n-1])
			if _, err := l.Append(b); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := l.Checkpoint(); err != nil || hex.EncodeToString(c.Hash[:]) != want || c.Size != int64(n) {
			t.Errorf("%d leaves: root %x, %v; want %s", n, c.Hash, err, want)
		}
	}
}

// TestOracle holds trees of many sizes against RFC 6962 as written, and proofs and
// tiles against x/mod, which has its own way to store hashes.
func TestOracle(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "oracle", false)
	l := open(t, dir, k)
	defer l.Close()
	var entries [][]byte
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var all []tlog.Hash
		for _, i := range indexes {
			all = append(all, stored[i])
		}
		return all, nil
	})
	var older []Checkpoint
	for _, size := range []int{0, 1, 2, 3, 255, 256, 257, 300, 310, 511, 512, 513, 1023, 1300, 66000} {
		for len(entries) < size {
			e := entryOf(len(entries))
			if len(entries) < 2000 { // the rest as fast as the disk lets it
				if _, err := l.Append(e); err != nil {
					t.Fatal(err)
				}
			}
			hashes, err := tlog.StoredHashes(int64(len(entries)), e, reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hashes...)
			entries = append(entries, e)
		}
		if size > 2000 {
			bulk(t, l, entries[l.next:])
		}
		c, err := l.Checkpoint()
		if err != nil || c.Size != int64(size) {
			t.Fatal(size, c.Size, err)
		}
		if want, err := tlog.TreeHash(c.Size, reader); err != nil || c.Hash != want || !bytes.Equal(want[:], mth(entries)) {
			t.Fatalf("%d entries: root %v, want %v and %x (%v)", size, c.Hash, want, mth(entries), err)
		}
		r, err := Read(dir, k.Verifier)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 1, size / 3, size / 2, size - 2, size - 1} {
			if i < 0 || i >= size {
				continue
			}
			p, err := r.Prove(int64(i))
			if err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			want, err := tlog.ProveRecord(c.Size, int64(i), reader)
			if err != nil || fmt.Sprint(p.Hashes) != fmt.Sprint([]tlog.Hash(want)) || !bytes.Equal(p.Entry, entries[i]) {
				t.Errorf("entry %d of %d: %v, want %v (%v)", i, size, p.Hashes, want, err)
			}
			if _, err := p.Verify(k.Verifier); err != nil {
				t.Error(err)
			}
		}
		for _, old := range older {
			if size > 2000 && old.Size%300 != 0 {
				continue
			}
			g, err := r.ProveGrowth(old.Size)
			if err != nil {
				t.Fatalf("from %d to %d: %v", old.Size, size, err)
			}
			if want, err := tlog.ProveTree(c.Size, max(old.Size, 1), reader); old.Size > 0 && (err != nil || fmt.Sprint(g.Hashes) != fmt.Sprint([]tlog.Hash(want))) {
				t.Errorf("from %d to %d: %v, want %v (%v)", old.Size, size, g.Hashes, want, err)
			}
			if _, err := g.Verify(old, k.Verifier); err != nil {
				t.Errorf("from %d to %d: %v", old.Size, size, err)
			}
			for _, quick := range []bool{false, true} {
				v, err := Verify(dir, VerifyConfig{Ledger: k.Verifier, Since: old, Quick: quick})
				if err != nil || !v.OK() || v.Checkpoint.Size != c.Size {
					t.Errorf("from %d to %d: %v, %v", old.Size, size, v.Problems, err)
				}
				other := old
				if other.Hash[7] ^= 1; old.Size > 0 {
					if v, err := Verify(dir, VerifyConfig{Ledger: k.Verifier, Since: other, Quick: quick}); err != nil || v.OK() {
						t.Errorf("from another %d to %d, quick %v: %v", old.Size, size, quick, err)
					}
				}
			}
		}
		older = append(older, c)
		wantOK(t, dir, k, int64(size), 0)
		// Tiles are where others look for them, with what they expect there.
		for _, tile := range tlog.NewTiles(tileHeight, 0, c.Size) {
			want, err := tlog.ReadTileData(tile, reader)
			if err != nil {
				t.Fatal(err)
			}
			path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of a tree of %d: %d bytes, %v", path, size, len(got), err)
			}
		}
	}
	r, _ := Read(dir, k.Verifier)
	next := int64(500)
	if err := r.Entries(500, 66000, func(i int64, e []byte) error {
		if i != next || !bytes.Equal(e, entries[i]) {
			t.Fatalf("entry %d is %q", i, e)
		}
		next++
		return nil
	}); err != nil || next != 66000 {
		t.Error(next, err)
	}
	for _, i := range []int64{-1, 66000} {
		if _, err := r.Entry(i); !errors.Is(err, ErrNoEntry) {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}

// bulk appends entries in order, by the one group after another that many callers make.
func bulk(t testing.TB, l *Log, entries [][]byte) {
	t.Helper()
	for len(entries) > 0 {
		g := &group{done: make(chan struct{})}
		for len(entries) > 0 && len(g.entries) < groupBytes {
			g.entries = appendEntry(g.entries, entries[0])
			g.count++
			entries = entries[1:]
		}
		l.mu.Lock()
		l.open = g
		l.mu.Unlock()
		if l.write(g); g.err != nil {
			t.Fatal(g.err)
		}
	}
}

func TestReopen(t *testing.T) {
	dir, k := filepath.Join(t.TempDir(), "a", "b"), newKey(t, "reopen", false)
	size := 0
	for round, n := range []int{0, 1, 0, 254, 1, 1, 300, 0, 512} {
		l := open(t, dir, k)
		fill(t, l, n)
		size += n
		if round%2 == 0 {
			l.crash()
		} else if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, k)
	if l.next != int64(size) {
		t.Errorf("%d entries, want %d", l.next, size)
	}
	wantOK(t, dir, k, int64(size), 0)
	fill(t, l, 5)
	wantOK(t, dir, k, int64(size), 5)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := l.Checkpoint(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	wantOK(t, dir, k, int64(size)+5, 0)
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if st, err := d.Info(); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", p, st.Mode())
		}
		return err
	})
}

func TestLock(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "lock", false)
	l := open(t, dir, k)
	if _, err := Open(dir, k.config()); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	l.Close()
	open(t, dir, k).Close()
}

func TestConcurrent(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "concurrent", false)
	c := k.config()
	c.Every = 1
	l, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	const callers, each = 32, 100
	var at [callers * each]string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprintf("caller %d, entry %d", n, i)
				index, err := l.Append([]byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				at[index] += text
				mu.Unlock()
			}
		})
	}
	reading := make(chan struct{})
	wg.Go(func() { // as somebody does who verifies while it is written
		defer close(reading)
		for range 20 {
			if r, err := Verify(dir, VerifyConfig{Ledger: k.Verifier}); err != nil || !r.OK() {
				t.Error(err, r)
				return
			}
		}
	})
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Read(dir, k.Verifier)
	if err != nil || r.Checkpoint.Size != callers*each {
		t.Fatal(r.Checkpoint.Size, err)
	}
	if err := r.Entries(0, callers*each, func(i int64, e []byte) error {
		if string(e) != at[i] {
			t.Errorf("entry %d is %q, and was acknowledged as %q", i, e, at[i])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestFull: what could not be written is not there, and when the disk takes writes again the ledger goes
// on where it was.
func TestFull(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "full", false)
	l := open(t, dir, k)
	if _, err := l.Append([]byte("before")); err != nil {
		t.Fatal(err)
	}
	good := l.journal.file
	bad, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	l.journal.file = bad
	for range 3 {
		if i, err := l.Append([]byte("meanwhile")); err == nil {
			t.Fatal(i)
		}
	}
	if _, err := good.WriteString("the beginning of a group"); err != nil {
		t.Fatal(err)
	}
	l.journal.file = good
	for want := int64(1); want < 3; want++ {
		if i, err := l.Append([]byte("after")); err != nil || i != want {
			t.Fatal(i, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Verify(dir, VerifyConfig{Ledger: k.Verifier})
	if err != nil || !v.OK() || v.Checkpoint.Size != 3 || v.Torn != 0 {
		t.Fatal(v, err)
	}
}
