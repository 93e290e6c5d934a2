// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
)

// Read reads advisories: one document, an array of documents, documents one
// after another (JSON lines), or an answer of NVD. A document that breaks its
// schema is left out and the error names the place; the others are returned
// beside the error, which joins an [*Error] for each. What is no JSON ends the reading.
func Read(r io.Reader) ([]*Document, error) {
	b, err := readAll(r)
	if err != nil {
		return nil, err
	}
	var rd reading
	if err = rd.all(b); err != nil {
		rd.errs = append(rd.errs, err)
	}
	return rd.docs, errors.Join(rd.errs...)
}

// maxRun is how much of a document may go by without a quote: no name and no
// text of a real one is as long, nor is what stands between two.
const maxRun = 4 << 20

// readAll reads a document whole, within its bound and without a byte order
// mark. It takes no more memory than twice what it has read, and goes on only
// while that may be JSON: a few kilobytes unpack to as many blanks as one likes.
func readAll(r io.Reader) ([]byte, error) {
	const most = 1 << 20
	chunk := 32 << 10
	switch s := r.(type) {
	case interface{ Len() int }:
		chunk = min(s.Len(), maxDocument) + 1
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := s.Stat(); err == nil {
			chunk = int(min(max(info.Size(), 0), maxDocument)) + 1
		}
	}
	var chunks [][]byte
	for total, run := 0, 0; ; chunk = min(2*chunk, most) {
		b := make([]byte, chunk)
		n, err := io.ReadFull(r, b)
		b = b[:n]
		chunks = append(chunks, b)
		total += n
		if last := bytes.LastIndexByte(b, '"'); last < 0 {
			run += n
		} else {
			run = n - last
		}
		switch {
		case total > maxDocument, run > maxRun:
			return nil, &Error{"", ErrTooMany}
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if len(chunks) > 1 {
				b = slices.Concat(chunks...)
			}
			return bytes.TrimPrefix(b, byteOrderMark), nil
		case err != nil:
			return nil, err
		}
	}
}

// A reading is one Read at work.
type reading struct {
	t    tree
	docs []*Document
	errs []error
}

func (rd *reading) all(b []byte) error {
	off := space(b, 0)
	if off < len(b) && b[off] == '[' {
		end, err := rd.elements(b, off)
		if err == nil && space(b, end) < len(b) {
			err = &Error{"", ErrSyntax}
		}
		return err
	}
	for n := 0; n == 0 || off < len(b); n++ {
		rd.t.path = ""
		if n > 0 || more(b, off) {
			rd.t.path = "[" + strconv.Itoa(n) + "]"
		}
		var err error
		if Detect(b[off:]) == NVD {
			off, err = rd.answer(b, off)
		} else {
			off, err = rd.document(b, off)
		}
		if err != nil {
			return err
		}
		off = space(b, off)
	}
	return nil
}

// more reports whether a first line is a document and another follows.
func more(b []byte, off int) bool {
	line := bytes.IndexByte(b[off:], '\n')
	if line < 1 || b[off+line-1] != '}' && !bytes.HasSuffix(b[off:off+line], []byte("}\r")) {
		return false
	}
	next := space(b, off+line)
	return next < len(b) && b[next] == '{'
}

// elements reads an array of documents and returns where it ends.
func (rd *reading) elements(b []byte, off int) (int, error) {
	prefix := rd.t.path
	off = space(b, off+1)
	if off < len(b) && b[off] == ']' {
		return off + 1, nil
	}
	for n := 0; ; n++ {
		rd.t.path = prefix + "[" + strconv.Itoa(n) + "]"
		end, err := rd.document(b, off)
		if err != nil {
			return end, err
		}
		switch off = space(b, end); {
		case off < len(b) && b[off] == ']':
			return off + 1, nil
		case off >= len(b) || b[off] != ',':
			return off, &Error{rd.t.path, ErrSyntax}
		}
		off = space(b, off+1)
	}
}

// answer reads one object of NVD: a record, or the records of an answer, which
// may be large and are read one by one.
func (rd *reading) answer(b []byte, start int) (int, error) {
	var pass tree
	end, err := pass.parse(b, start, false)
	if err != nil {
		return rd.document(b, start) // which finds the place
	}
	for off := space(b, start+1); b[off] == '"'; {
		stop, _ := quoted(b, off+1)
		name := string(b[off+1 : stop])
		off = space(b, space(b, stop+1)+1)
		if name == "vulnerabilities" && b[off] == '[' {
			if rd.t.path != "" {
				rd.t.path += "."
			}
			rd.t.path += name
			_, err := rd.elements(b, off)
			return end, err
		}
		off, _ = pass.parse(b, off, false)
		if off = space(b, off); b[off] == ',' {
			off = space(b, off+1)
		}
	}
	return rd.document(b, start)
}

// document reads the value at off.
func (rd *reading) document(b []byte, off int) (int, error) {
	end, err := rd.t.parse(b, off, true)
	if err != nil {
		return end, err
	}
	root := rd.t.root()
	var doc *Document
	switch Detect(b[off:end]) {
	case CSAF:
		doc = readCSAF(root)
	case OSV:
		doc = readOSV(root)
	case CVE5:
		doc = readCVE(root)
	case NVD:
		doc = readNVD(root)
	case GitHub:
		doc = readGitHub(root)
	default:
		rd.t.err = &Error{rd.t.path, ErrKind}
	}
	switch {
	case rd.t.err == nil:
		rd.docs = append(rd.docs, doc)
	case len(rd.errs) == maxErrors:
		return end, &Error{rd.t.path, ErrTooMany}
	default:
		rd.errs = append(rd.errs, rd.t.err)
	}
	return end, nil
}

// Detect tells what a file is by its beginning, which should be some thousand
// bytes: an OSV record may open with a long text.
func Detect(head []byte) Kind {
	head = bytes.TrimPrefix(head, byteOrderMark)
	if bytes.HasPrefix(head, gzipMagic) {
		z, err := gzip.NewReader(bytes.NewReader(head))
		if err != nil {
			return NoKind
		}
		line, _ := bufio.NewReaderSize(io.LimitReader(z, 1024), 1024).Peek(64)
		if isEPSS(line) {
			return EPSSScores
		}
		return NoKind
	}
	if isEPSS(head) {
		return EPSSScores
	}
	off := space(head, 0)
	if off < len(head) && head[off] == '[' {
		off = space(head, off+1)
	}
	if off >= len(head) || head[off] != '{' {
		return NoKind
	}
	return detectObject(head[off:])
}

func isEPSS(head []byte) bool {
	return bytes.HasPrefix(head, []byte("#model_version:")) || bytes.HasPrefix(head, []byte("cve,epss,percentile"))
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	gzipMagic     = []byte{0x1f, 0x8b}
	cveRecord     = []byte(`"CVE_RECORD"`)
)

// detectObject looks at the names of the two outer levels, until they decide.
func detectObject(b []byte) Kind {
	var id, record, other bool
	var outer string // the name whose value we are in
	depth := 0
	for off := 0; off < len(b); off++ {
		switch b[off] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				off = len(b)
			}
		case '"':
			end, _ := quoted(b, off+1)
			if end < 0 {
				off = len(b)
				break
			}
			name := b[off+1 : end]
			off = end
			if depth > 2 {
				break
			}
			if colon := space(b, end+1); colon >= len(b) || b[colon] != ':' {
				break
			} else {
				off = colon
			}
			next := byte(0)
			if at := space(b, off+1); at < len(b) {
				next = b[at]
			}
			if depth == 1 && next == '{' {
				outer = string(name)
			}
			switch {
			case depth == 2 && outer == "document" && (string(name) == "csaf_version" || string(name) == "tracking"):
				return CSAF
			case depth == 2 && outer == "Advisory" && string(name) == "ghsaId":
				return GitHub
			case depth == 2:
				continue
			case string(name) == "ghsaId" || string(name) == "ghsa_id":
				return GitHub
			case string(name) == "cveMetadata", string(name) == "containers" && next == '{', string(name) == "dataType" && bytes.HasPrefix(b[space(b, off+1):], cveRecord):
				return CVE5
			case string(name) == "catalogVersion":
				return KEVCatalog
			case string(name) == "cve" && next == '{', string(name) == "totalResults" && next != '"':
				return NVD
			case string(name) == "id":
				id = next == '"'
			case slices.Contains(osvNames, string(name)):
				record = true
			case slices.Contains(otherNames, string(name)):
				other = true
			}
			if id && record && !other && slices.Contains(osvOnly, string(name)) {
				return OSV
			}
		}
	}
	if id && record && !other {
		return OSV
	}
	return NoKind
}

// Names at the top of an OSV record. The first two are in nothing else that is
// read here; the others stand in documents of other kinds, which have names of
// their own.
var (
	osvOnly    = []string{"schema_version", "affected"}
	osvNames   = append(slices.Clone(osvOnly), "modified", "published", "aliases", "details", "withdrawn")
	otherNames = []string{"resourceType", "bomFormat", "spdxVersion", "@context", "vulnerabilities"}
)
