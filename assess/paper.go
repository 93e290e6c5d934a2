// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
)

// The bounds of all documents of one answer together. CVE's own repository, the
// largest that somebody may have at hand, has 300,000 records with 3 GiB by this
// count. Of what is sifted while it is read (AccessGUDID, EPSS) little is kept,
// and nothing counted: it has bounds of its own.
const (
	maxPapers = 1_000_000 // documents
	maxKept   = 4 << 30   // bytes: their text, unpacked, and itemBytes for each thing that they list
	itemBytes = 512       // a component takes 300 and more, however little is said of it, a product of an advisory 700

	// maxPiped bounds a document that comes as a stream, which is kept as it
	// comes, packed or not: it may have to be read twice.
	maxPiped = 64 << 20

	// headBytes is how much of a document says what it is.
	headBytes = 64 << 10

	// maxBeside bounds a signature or a hash beside an advisory.
	maxBeside = 64 << 10
)

var (
	errPapers  = fmt.Errorf("there is no room for it: more than %d documents", maxPapers)
	errKept    = fmt.Errorf("there is no room for it: the documents of one answer have at most %d GiB, unpacked, with %d bytes for each thing that they list", maxKept>>30, itemBytes)
	errPiped   = fmt.Errorf("more than %d MiB from a stream; put it into a file", maxPiped>>20)
	errFolder  = errors.New("is a folder")
	errTwice   = errors.New("standard input can be read once")
	errDamaged = errors.New("a hash beside it is of another document; it is not used")
	errForged  = errors.New("bad signature: what lies beside it signs another document, or is no signature; it is not used")
)

// Papers opens the documents of one answer, one after the other, and holds them
// within the bounds of all together. They may be packed with gzip or zstd as
// captures are, and come on standard input. The zero value is ready for use.
type Papers struct {
	Stdin io.Reader         // what "-" is
	Keys  *advisory.Keyring // of publishers that are believed; nil: nobody's is known

	most    int   // maxPapers, unless a test wants less
	room    int64 // maxKept, likewise
	count   int
	kept    int64
	drained bool                         // standard input
	first   map[int64]*Paper             // of those kept, by the size of their files
	sums    map[[sha256.Size]byte]string // paths of those kept, where another has the size
}

// A Paper is one document, and can be read as often as is needed.
type Paper struct {
	Path  string
	Name  string // Path without ".gz" and ".zst"
	Bytes int64  // as it is stored
	Head  []byte // its beginning, unpacked: 64 KiB, or all where it is shorter
	Same  string // the path of a document that was kept and has the same bytes, or ""

	papers *Papers
	piped  []byte
	stream bool
	sifted bool  // little of it is kept
	text   int64 // bytes, unpacked, of its longest reading
	sum    *[sha256.Size]byte
}

// Open opens a document to see what it is; "-" is standard input. A file's size
// is the one that it has now: what is written to it later is not read.
func (s *Papers) Open(path string) (*Paper, error) {
	if path == "-" {
		if s.drained || s.Stdin == nil {
			return nil, errTwice
		}
		s.drained = true
		return s.pipe(path, s.Stdin)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		return nil, errFolder
	case !mode.IsRegular(): // a pipe can be read once
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return s.pipe(path, f)
	}
	return s.begin(&Paper{Path: path, Bytes: st.Size()})
}

// pipe opens a document that comes as a stream.
func (s *Papers) pipe(path string, r io.Reader) (*Paper, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPiped+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxPiped:
		return nil, errPiped
	}
	return s.begin(&Paper{Path: path, Bytes: int64(len(b)), piped: b, stream: true})
}

func (s *Papers) begin(p *Paper) (*Paper, error) {
	if s.most == 0 {
		s.most, s.room = maxPapers, maxKept
	}
	p.papers, p.Name = s, p.Path
	for p.Name != "" {
		ext := strings.ToLower(filepath.Ext(p.Name))
		if ext != ".gz" && ext != ".zst" {
			break
		}
		p.Name = p.Name[:len(p.Name)-len(ext)]
	}
	p.sifted = true // what it is may be seen even where there is no room for it
	defer func() { p.sifted, p.text = false, 0 }()
	r, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p.Head = make([]byte, headBytes)
	n, err := io.ReadFull(r, p.Head)
	p.Head = bytes.Clone(p.Head[:n]) // most are shorter
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if first := s.first[p.Bytes]; first != nil {
		s.sums[first.digest()] = first.Path
		if path := s.sums[p.digest()]; path != p.Path {
			p.Same = path
		}
	}
	return p, nil
}

// Open reads the document from its beginning, unpacked. Where all together would
// be too large with it, the reading ends with an error.
func (p *Paper) Open() (io.ReadCloser, error) {
	stored, err := p.stored()
	if err != nil {
		return nil, err
	}
	text, err := capture.Unpack(stored)
	if err != nil {
		stored.Close()
		return nil, err
	}
	return &reading{Reader: text, Closer: stored, p: p}, nil
}

// stored reads the bytes as they are.
func (p *Paper) stored() (io.ReadCloser, error) {
	if p.stream {
		return io.NopCloser(bytes.NewReader(p.piped)), nil
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, p.Bytes), f}, nil
}

// A reading counts the text that is read.
type reading struct {
	io.Reader
	io.Closer
	p    *Paper
	text int64
}

func (r *reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.text += int64(n)
	if r.p.text = max(r.p.text, r.text); !r.p.sifted && r.p.papers.kept+r.text > r.p.papers.room {
		return 0, errKept // and Keep will say so, too
	}
	return n, err
}

// Len returns how much text there is, as a reader that needs all of it at once
// asks; of what is packed at least so much.
func (r *reading) Len() int {
	if n := len(r.p.Head); n > 0 && n < headBytes {
		return n
	}
	return int(r.p.Bytes)
}

// Keep accepts the document, which lists so many things, if there is room for it
// among the others. What has no room must not be kept.
func (p *Paper) Keep(items int) error {
	s := p.papers
	size := p.text + int64(items)*itemBytes
	if p.sifted {
		size = 0
	}
	switch {
	case s.count >= s.most:
		return errPapers
	case s.kept+size > s.room:
		return errKept
	}
	s.count++
	s.kept += size
	p.Head = nil
	switch {
	case s.first == nil:
		s.first, s.sums = map[int64]*Paper{p.Bytes: p}, map[[sha256.Size]byte]string{}
	case s.first[p.Bytes] == nil:
		s.first[p.Bytes] = p
	default:
		s.sums[p.digest()] = p.Path
	}
	return nil
}

// Charge counts a document that was put off until all others are read, and lists
// so many things.
func (p *Paper) Charge(items int) error {
	size := p.text + int64(items)*itemBytes
	if p.papers.kept+size > p.papers.room {
		return errKept
	}
	p.papers.kept += size
	return nil
}

// digest returns the SHA-256 of the bytes as they are stored.
func (p *Paper) digest() [sha256.Size]byte {
	if p.sum == nil {
		p.sum = new([sha256.Size]byte)
		if r, err := p.stored(); err == nil {
			h := sha256.New()
			if _, err := io.Copy(h, r); err == nil {
				h.Sum(p.sum[:0])
			} else { // it is like no other
				copy(p.sum[:], p.Path)
			}
			r.Close()
		}
	}
	return *p.sum
}

// maxAliases bounds a file of them.
const maxAliases = 4 << 20

// ReadAliases reads how makers and products are spelled, beside what Myelin
// knows; "" is no file.
func ReadAliases(file string) (*match.Names, error) {
	if file == "" {
		return match.Shipped(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAliases+1))
	if err != nil {
		return nil, err
	}
	return match.Shipped().Extend(file, b)
}

// ReadKeys reads files of publishers' OpenPGP keys, armored or not. No names are
// no keyring.
func ReadKeys(names []string) (*advisory.Keyring, error) {
	if len(names) == 0 {
		return nil, nil
	}
	keys := &advisory.Keyring{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = keys.Add(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return keys, nil
}

// Beside holds an advisory against the signature and the hashes beside it: those
// of the file, and where that is packed also those of the document in it, under
// the name that it has unpacked. It says what came of the signature, in words
// where there is something to say. A key that lies beside a document is nobody's:
// only [Papers.Keys] count. The error is of what speaks against the document.
func (p *Paper) Beside() (trust advisory.Trust, note string, err error) {
	trust, err = p.beside(p.Path, p.stored)
	if err == nil && p.Name != p.Path {
		var inner advisory.Trust
		if inner, err = p.beside(p.Name, p.Open); inner != (advisory.Trust{}) && (inner.Signature != advisory.Unchecked || trust.Signature == advisory.Unchecked) {
			trust = inner
		}
	}
	if err == nil {
		note = p.signed(trust)
	}
	return trust, note, err
}

// signed says what came of the signature beside a document.
func (p *Paper) signed(t advisory.Trust) string {
	switch known := p.papers.Keys != nil; {
	case t.Signature == advisory.Good:
		return "signature good, by key " + t.Signer
	case t.Signature == advisory.Expired:
		return "signature of a key that has expired, or expired itself: key " + t.Signer
	case t.Signature == advisory.UnknownKey && known:
		return "signed by a key that is not in the files of --keys"
	case t.Signature == advisory.UnknownKey:
		return "signature not checked: give --keys"
	case known:
		return "no signature"
	}
	return ""
}

func (p *Paper) beside(path string, open func() (io.ReadCloser, error)) (t advisory.Trust, err error) {
	if p.stream {
		return t, nil
	}
	var around [3][]byte
	for i, ext := range [...]string{".asc", ".sha256", ".sha512"} {
		st, err := os.Stat(path + ext) // mostly there is none
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(path + ext)
		if err != nil {
			return t, err
		}
		around[i], err = io.ReadAll(io.LimitReader(f, maxBeside+1))
		f.Close()
		if err != nil {
			return t, err
		}
	}
	if around[0] == nil && around[1] == nil && around[2] == nil {
		return t, nil
	}
	r, err := open()
	if err != nil {
		return t, err
	}
	defer r.Close()
	doc, err := io.ReadAll(r)
	if err != nil {
		return t, err
	}
	t = advisory.Verify(doc, around[0], around[1], around[2], cmp.Or(p.papers.Keys, &advisory.Keyring{}))
	switch {
	case t.Signature == advisory.Bad:
		return t, errForged
	case t.Damaged():
		return t, errDamaged
	}
	return t, nil
}
