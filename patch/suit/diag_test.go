// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A node is an item of CBOR's diagnostic notation (RFC 8949 section 8), as the
// text beside each published envelope has it.
type node struct {
	kind     byte // i, b, t, a, m, g (tag), e (embedded), s (simple)
	n        int64
	b        []byte
	items    []node // of a map: key, value, key, value
	comments []string
}

// diagnose reads the diagnostic notation.
type diagnose struct {
	t        *testing.T
	s        string
	i        int
	comments []string // since the last item
}

func (d *diagnose) fatal(why string) {
	d.t.Helper()
	d.t.Fatalf("diagnostic notation: %s before %.40q", why, d.s[min(d.i, len(d.s)):])
}

// space skips white space, and keeps the comments that stand there.
func (d *diagnose) space() {
	for d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case unicode.IsSpace(rune(c)):
			d.i++
		case c == '/':
			n := strings.IndexByte(d.s[d.i+1:], '/')
			if n < 0 {
				d.fatal("comment without an end")
			}
			d.comments = append(d.comments, strings.Trim(d.s[d.i+1:d.i+1+n], " :"))
			d.i += n + 2
		default:
			return
		}
	}
}

func (d *diagnose) next(s string) bool {
	d.space()
	if strings.HasPrefix(d.s[d.i:], s) {
		d.i += len(s)
		return true
	}
	return false
}

// until reads items up to an end.
func (d *diagnose) until(end string) (items []node) {
	for !d.next(end) {
		items = append(items, d.item())
		if !d.next(",") && !d.next(":") && !strings.HasPrefix(d.s[d.i:], end) {
			d.fatal("no comma")
		}
	}
	return items
}

func (d *diagnose) item() node {
	d.space()
	n := node{comments: d.comments}
	d.comments = nil
	switch {
	case d.next("{"):
		n.kind, n.items = 'm', d.until("}")
	case d.next("["):
		n.kind, n.items = 'a', d.until("]")
	case d.next("<<"):
		n.kind, n.items = 'e', d.until(">>")
	case d.next("h'"):
		end := strings.IndexByte(d.s[d.i:], '\'')
		b, err := hex.DecodeString(strings.Join(strings.Fields(d.s[d.i:d.i+end]), ""))
		if err != nil {
			d.fatal(err.Error())
		}
		n.kind, n.b = 'b', b
		d.i += end + 1
	case d.next("'"):
		end := strings.IndexByte(d.s[d.i:], '\'')
		n.kind, n.b = 'b', []byte(d.s[d.i:d.i+end])
		d.i += end + 1
	case d.s[d.i] == '"':
		q, err := strconv.QuotedPrefix(d.s[d.i:])
		if err != nil {
			d.fatal(err.Error())
		}
		s, _ := strconv.Unquote(q)
		n.kind, n.b = 't', []byte(s)
		d.i += len(q)
	case d.next("true"):
		n.kind, n.n = 's', 21
	case d.next("null"):
		n.kind, n.n = 's', 22
	default:
		end := d.i
		for end < len(d.s) && strings.ContainsRune("-0123456789", rune(d.s[end])) {
			end++
		}
		v, err := strconv.ParseInt(d.s[d.i:end], 10, 64)
		if err != nil {
			d.fatal(err.Error())
		}
		d.i = end
		n.kind, n.n = 'i', v
		if d.next("(") {
			n.kind, n.items = 'g', d.until(")")
		}
	}
	return n
}

// encode is the item in CBOR.
func (n node) encode(dst []byte) []byte {
	switch n.kind {
	case 'i':
		return cbor.AppendInt(dst, n.n)
	case 'b':
		return cbor.AppendBytes(dst, n.b)
	case 't':
		return cbor.AppendText(dst, string(n.b))
	case 's':
		return append(dst, 0xe0|byte(n.n))
	case 'e':
		return cbor.AppendBytes(dst, n.content())
	case 'a':
		dst = cbor.AppendArray(dst, len(n.items))
	case 'm':
		dst = cbor.AppendMap(dst, len(n.items)/2)
	case 'g':
		dst = cbor.AppendTag(dst, uint64(n.n))
	}
	for _, x := range n.items {
		dst = x.encode(dst)
	}
	return dst
}

// content is what a byte string has in it.
func (n node) content() []byte {
	if n.kind == 'b' {
		return n.b
	}
	var b []byte
	for _, x := range n.items {
		b = x.encode(b)
	}
	return b
}

// get is the value of a key of a map, which may be within a byte string or a tag.
func (n node) get(key int64) (node, bool) {
	for n.kind == 'e' || n.kind == 'g' {
		n = n.items[0]
	}
	for i := 0; i+1 < len(n.items); i += 2 {
		if n.items[i].kind == 'i' && n.items[i].n == key {
			return n.items[i+1], true
		}
	}
	return node{}, false
}

func parseDiag(t *testing.T, s string) node {
	t.Helper()
	d := &diagnose{t: t, s: s}
	n := d.item()
	d.space()
	if d.i != len(d.s) {
		d.fatal("something left")
	}
	return n
}

// A text is the text beside a published envelope.
type text struct {
	name  string // of the envelope, or of the text for one with several
	diag  string
	files []string // envelopes that are of it
}

// texts are the diagnostic notations beside the published envelopes.
func texts(t *testing.T) []text {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "vectors-suit")
	var all []text
	for name := range vectorFiles(t) {
		base := strings.TrimSuffix(name, ".suit")
		if b, err := os.ReadFile(filepath.Join(dir, base+".diag")); err == nil {
			all = append(all, text{base, string(b), []string{name}})
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "suit-manifest-spec", "*.txt"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, diag, _ := strings.Cut(string(b), "~~~ cbor-diag\n")
		diag, _, ok := strings.Cut(diag, "~~~")
		if !ok {
			t.Fatalf("%s: no diagnostic notation in it", file)
		}
		base := "suit-manifest-spec/" + strings.TrimSuffix(filepath.Base(file), ".txt")
		x := text{name: base, diag: diag}
		for name := range vectorFiles(t) {
			if strings.HasPrefix(name, base+".") {
				x.files = append(x.files, name)
			}
		}
		all = append(all, x)
	}
	if len(all) != 17 {
		t.Fatalf("%d texts", len(all))
	}
	return all
}

// TestTexts holds each published envelope to the text beside it, byte for byte, and
// our names of commands to those that stand there as comments.
func TestTexts(t *testing.T) {
	vectors := vectorFiles(t)
	named := 0
	for _, x := range texts(t) {
		n := parseDiag(t, x.diag)
		manifest, ok := n.get(envelopeManifest)
		if !ok {
			t.Fatalf("%s: no manifest", x.name)
		}
		for _, file := range x.files {
			e, err := Decode(vectors[file])
			if err != nil {
				t.Fatal(file, err)
			}
			if got := manifest.content(); string(got) != string(e.manifest) {
				t.Errorf("%s: the text is %x, and the manifest %x", file, got, e.manifest)
			}
			for _, m := range e.members {
				if in, ok := n.get(m.label); ok && string(in.content()) != string(m.b) {
					t.Errorf("%s: member %d differs from the text", file, m.label)
				}
			}
		}
		var names func(n node)
		names = func(n node) {
			for _, x := range n.items {
				names(x)
				for _, comment := range x.comments {
					if x.kind == 'i' && (strings.HasPrefix(comment, "condition-") || strings.HasPrefix(comment, "directive-")) {
						named++
						if got := Code(x.n).String(); got != comment {
							t.Errorf("%d is %s there, and here %s", x.n, comment, got)
						}
					}
				}
			}
		}
		names(n)
	}
	if named < 150 {
		t.Errorf("%d commands were named in the texts", named)
	}
}
