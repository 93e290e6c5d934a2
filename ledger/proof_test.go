// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TestPeer: what is written here is read by others' code, and the other way round.
func TestPeer(t *testing.T) {
	k, w := newKey(t, "ada.example/ledger", false), newKey(t, "witness.example/ines", true)
	if _, err := note.NewSigner(k.private); err != nil {
		t.Error(err)
	}
	theirLog, err := note.NewVerifier(k.public)
	if err != nil {
		t.Fatal(err)
	}
	theirWitness, err := fnote.NewVerifierForCosignatureV1(w.public)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger"), k)
	fill(t, l, 700)
	l.Close()
	signed, _, err := Witness(l.dir, WitnessConfig{Ledger: k.Verifier, Signer: w.Signer, Verifier: w.Verifier, State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	c, _, n, err := log.ParseCheckpoint(signed.Note, "ada.example/ledger", theirLog, theirWitness)
	if err != nil || c.Size != 700 || !bytes.Equal(c.Hash, signed.Hash[:]) || len(n.Sigs) != 2 {
		t.Fatal(c, n, err)
	}
	if at, err := fnote.CoSigV1Timestamp(n.Sigs[1]); err != nil || !at.Equal(signed.Witnessed["witness.example/ines"]) || time.Since(at) > time.Hour {
		t.Error(at, signed.Witnessed, err)
	}

	r := readAt(l.dir, signed)
	p, err := r.Prove(300)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := p.AppendText(nil)
	var theirs proof.TLogProof
	if err := theirs.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	if theirs.Index != 300 || !bytes.Equal(theirs.ExtraData, entryOf(300)) || !bytes.Equal(theirs.Checkpoint, signed.Note) || len(theirs.Hashes) != len(p.Hashes) || !bytes.Equal(theirs.Marshal(), text) {
		t.Errorf("%+v", theirs)
	}

	// And their witness on our checkpoint, with a key in their form.
	private, public, err := note.GenerateKey(nil, "other.example/w")
	if err != nil {
		t.Fatal(err)
	}
	other, err := fnote.NewSignerForCosignatureV1(private)
	if err != nil {
		t.Fatal(err)
	}
	if public, err = fnote.VKeyToCosignatureV1(public); err != nil {
		t.Fatal(err)
	}
	v, err := ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	m, err := note.Open(signed.Note, note.VerifierList(theirLog, theirWitness))
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(m, other)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ParseCheckpoint(both, k.Verifier, w.Verifier, v); err != nil || len(c.Witnessed) != 2 {
		t.Error(c, err)
	}
	if _, err := ParseCheckpoint(signed.Note, k.Verifier, v); err == nil || !strings.Contains(err.Error(), "other.example/w") {
		t.Error(err)
	}
	if _, err := ParseCheckpoint(signed.Note, w.Verifier); !errors.Is(err, ErrSignature) {
		t.Error("a witness's signature was taken for the ledger's:", err)
	}
}

// The numbers are those of the example in c2sp.org/tlog-cosignature, "Format".
func TestCosignatureForm(t *testing.T) {
	b, _ := base64.StdEncoding.DecodeString("jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==")
	if len(b) != 4+cosignatureBytes || binary.BigEndian.Uint64(b[4:]) != 1679315147 {
		t.Errorf("%d bytes, time %d", len(b), binary.BigEndian.Uint64(b[4:]))
	}
	text := "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
	if c, err := parseTree(text); err != nil || c.Size != 20852163 || c.Origin != "example.com/behind-the-sofa" {
		t.Error(c, err)
	}
	if got, want := string(cosigned(1679315147, []byte(text))), "cosignature/v1\ntime 1679315147\n"+text; got != want {
		t.Errorf("%q", got)
	}
	w := newKey(t, "w", true)
	s, v, err := ParseSigner(w.private, func() time.Time { return time.Unix(1679315147, 5) })
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign([]byte(text))
	if err != nil || !v.Verify([]byte(text), sig) || binary.BigEndian.Uint64(sig) != 1679315147 {
		t.Error(sig, err)
	}
	for at := range len(sig) * 8 {
		sig[at/8] ^= 1 << (at % 8)
		if v.Verify([]byte(text), sig) {
			t.Errorf("bit %d", at)
		}
		sig[at/8] ^= 1 << (at % 8)
	}
	if v.Verify([]byte(text), sig[1:]) || v.Verify([]byte(text), nil) || v.Verify([]byte(text+"x"), sig) {
		t.Error("another text or form")
	}
}

func TestWrongKeys(t *testing.T) {
	k, w := newKey(t, "a", false), newKey(t, "a", true)
	for _, s := range []string{
		"", "a", "a+b+c", k.private, k.public[1:], strings.Replace(k.public, "a+", "b+", 1), k.public + "AA",
		strings.Replace(k.public, "a+", "a b+", 1), "+" + k.public, k.public[:len(k.public)-4], "a+00000000+" + strings.Split(k.public, "+")[2],
	} {
		if _, err := ParseVerifier(s); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", k.public, "PRIVATE+KEY+" + k.public, k.private[8:], strings.Replace(k.private, "+a+", "+b+", 1)} {
		if _, _, err := ParseSigner(s, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\n", "\xff", strings.Repeat("a", 256)} {
		if _, _, err := GenerateKey(nil, name, false); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if k.Verifier.KeyHash() == w.Verifier.KeyHash() {
		t.Error("one id")
	}
	if _, err := Open(t.TempDir(), Config{Signer: w.Signer, Verifier: w.Verifier}); err == nil {
		t.Error("a witness's key signs a ledger")
	}
	if _, err := Open(t.TempDir(), Config{Signer: k.Signer, Verifier: newKey(t, "a", false).Verifier}); err == nil {
		t.Error("two keys")
	}
}

func TestWrongCheckpoints(t *testing.T) {
	k := newKey(t, "a", false)
	hash := (&tree{}).root().String()
	parse := func(text string) error {
		b, err := note.Sign(&note.Note{Text: text}, k.Signer)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseCheckpoint(b, k.Verifier)
		return err
	}
	for _, text := range []string{"a\n0\n" + hash + "\n", "a\n7\n" + hash + "\nan extension\n"} {
		if err := parse(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"a\n0\n", "a\n\n" + hash + "\n", "a\n00\n" + hash + "\n", "a\n-1\n" + hash + "\n", "a\n+1\n" + hash + "\n", "a\n1 \n" + hash + "\n",
		"a\n9223372036854775807\n" + hash + "\n", "a\n0\n" + hash[1:] + "\n", "a\n0\n" + hash + "\n\nx\n", "a\n0\n" + hash[:42] + "V=\n", "\n0\n" + hash + "\n",
	} {
		if err := parse(text); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := parse("b\n0\n" + hash + "\n"); !errors.Is(err, ErrSignature) {
		t.Error("another ledger's name:", err)
	}
	if _, err := ParseCheckpoint(make([]byte, maxNote+1), k.Verifier); !errors.Is(err, ErrCheckpoint) {
		t.Error(err)
	}
}

// TestProofBits: a proof with any bit flipped proves nothing else.
func TestProofBits(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "a", false)
	l := open(t, dir, k)
	fill(t, l, 5)
	old, _ := l.Checkpoint()
	fill(t, l, 8)
	l.Close()
	r, err := Read(dir, k.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Prove(9)
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.ProveGrowth(5)
	if err != nil {
		t.Fatal(err)
	}
	inclusion, _ := p.AppendText(nil)
	growth, _ := g.AppendText(nil)
	for _, text := range [][]byte{inclusion, growth} {
		for at := range len(text) * 8 {
			b := bytes.Clone(text)
			b[at/8] ^= 1 << (at % 8)
			p, g, err := ParseProof(b)
			if err != nil {
				continue
			}
			var c Checkpoint
			if p != nil {
				c, err = p.Verify(k.Verifier)
			} else {
				c, err = g.Verify(old, k.Verifier)
			}
			if err == nil {
				t.Errorf("bit %d of %q: %v", at, text, c)
			}
		}
	}
	if _, err := p.Verify(newKey(t, "a", false).Verifier); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	for _, bad := range []Proof{
		{Index: 8, Entry: p.Entry, Hashes: p.Hashes, Checkpoint: p.Checkpoint},
		{Index: 13, Entry: p.Entry, Hashes: p.Hashes, Checkpoint: p.Checkpoint},
		{Index: 9, Entry: []byte("another"), Hashes: p.Hashes, Checkpoint: p.Checkpoint},
		{Index: 9, Entry: p.Entry, Hashes: p.Hashes[1:], Checkpoint: p.Checkpoint},
		{Index: 9, Entry: p.Entry, Hashes: append(p.Hashes[:4:4], tlog.Hash{}), Checkpoint: p.Checkpoint},
	} {
		if _, err := bad.Verify(k.Verifier); !errors.Is(err, ErrProof) {
			t.Errorf("%d: %v", bad.Index, err)
		}
	}
	for _, bad := range []Growth{
		{4, g.Hashes, g.Checkpoint},
		{5, g.Hashes[1:], g.Checkpoint},
		{0, nil, g.Checkpoint},
		{13, nil, g.Checkpoint},
		{5, g.Hashes, old.Note},
	} {
		if _, err := bad.Verify(old, k.Verifier); !errors.Is(err, ErrProof) {
			t.Errorf("%d: %v", bad.Old, err)
		}
	}
	for _, text := range []string{"", "\n\n", "old 5", "old 05\n\n", "index 5\n\n", proofHeader + "\nindex 5\n\n", proofHeader + "\nextra !\nindex 5\n\n", "old 5\nAA==\n\n", "old 5\n" + strings.Repeat(tlog.Hash{}.String()+"\n", 200) + "\n"} {
		if _, _, err := ParseProof([]byte(text)); !errors.Is(err, ErrProofForm) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestWitness: it signs what grows, and nothing that forgets, whoever holds the key.
func TestWitness(t *testing.T) {
	dir, k, w := t.TempDir(), newKey(t, "ada.example/ledger", false), newKey(t, "witness.example/ines", true)
	cfg := WitnessConfig{Ledger: k.Verifier, Signer: w.Signer, Verifier: w.Verifier, State: filepath.Join(dir, "state")}
	l := open(t, filepath.Join(dir, "ledger"), k)
	empty, seen, err := Witness(l.dir, cfg)
	if err != nil || seen.Origin != "" || empty.Size != 0 {
		t.Fatal(empty, seen, err)
	}
	fill(t, l, 260)
	l.Checkpoint()
	early := copyOf(t, l.dir)
	fill(t, l, 5)
	l.Close()
	for range 2 { // the same twice is no conflict
		if c, _, err := Witness(l.dir, cfg); err != nil || c.Size != 265 {
			t.Fatal(c, err)
		}
	}
	state, _ := os.ReadFile(cfg.State)
	if st, err := os.Stat(cfg.State); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	var conflict *ConflictError
	_, seen, err = Witness(early, cfg)
	if !errors.As(err, &conflict) || seen.Size != 265 || conflict.Shown.Size != 260 || !strings.Contains(err.Error(), "taken away") {
		t.Error(seen, err)
	}
	// Another history of the same key, shorter, as long, and longer.
	for _, n := range []int{300, 5} {
		fork := open(t, copyOf(t, early), k)
		bulk(t, fork, [][]byte{[]byte("another")})
		fill(t, fork, n-1)
		fork.Close()
		if _, _, err := Witness(fork.dir, cfg); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "not those") {
			t.Error(n, err)
		}
	}
	if now, _ := os.ReadFile(cfg.State); !bytes.Equal(now, state) {
		t.Error("the state changed")
	}
	// What is no state of its own is none.
	other := newKey(t, "witness.example/other", true)
	if _, _, err := Witness(l.dir, WitnessConfig{Ledger: k.Verifier, Signer: other.Signer, Verifier: other.Verifier, State: cfg.State}); err == nil {
		t.Error("the state of another witness")
	}
	if _, _, err := Witness(l.dir, WitnessConfig{Ledger: k.Verifier, Signer: k.Signer, Verifier: k.Verifier, State: cfg.State}); err == nil {
		t.Error("the ledger is its own witness")
	}
	held, err := lock(cfg.State + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Witness(l.dir, cfg); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	held.Close()
	// With tiles that do not lead to the root there is no proof, and no signature.
	os.WriteFile(filepath.Join(l.dir, "tile/1/000.p/1"), make([]byte, tlog.HashSize), 0o600)
	cfg.State = filepath.Join(dir, "state 2")
	if _, _, err := Witness(early, cfg); err != nil {
		t.Error(err)
	}
	if _, _, err := Witness(filepath.Join(dir, "ledger"), cfg); err == nil {
		t.Error("signed without a proof")
	}
}

func Example() {
	dir, _ := os.MkdirTemp("", "ledger")
	defer os.RemoveAll(dir)
	private, public, err := GenerateKey(nil, "ada.example/ledger", false)
	if err != nil {
		panic(err)
	}
	signer, verifier, _ := ParseSigner(private, nil)
	l, err := Open(filepath.Join(dir, "ledger"), Config{Signer: signer, Verifier: verifier})
	if err != nil {
		panic(err)
	}
	at, err := l.Append([]byte("pump-3: 4 ug/kg/min refused")) // durable when it returns
	if err != nil {
		panic(err)
	}
	if err := l.Close(); err != nil {
		panic(err)
	}

	// Somebody else, who has the public key.
	theirs, _ := ParseVerifier(public)
	r, err := Read(filepath.Join(dir, "ledger"), theirs)
	if err != nil {
		panic(err)
	}
	proof, _ := r.Prove(at)
	c, err := proof.Verify(theirs)
	fmt.Printf("%q is entry %d of %d: %v\n", proof.Entry, proof.Index, c.Size, err)
	// Output: "pump-3: 4 ug/kg/min refused" is entry 0 of 1: <nil>
}
