// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package myelin

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mvdan.cc/gofumpt/format"
)

const module = "github.com/myelin-health/myelin/"

// A room is a folder with its sub-folders. It may import its own sub-folders,
// the rooms and modules named here, and the standard library; the most
// specific room's row counts. Test files are free.
type room struct {
	name    string
	rooms   []string // a name stands for the folder and everything below it, and with "/." behind it for the folder alone
	modules []string
}

// rooms is the table of the house, in the order of the data flow. Arrows point
// upwards only.
var rooms = []room{
	{".", nil, nil},
	{"device", nil, nil},
	{"event", []string{"device"}, nil},
	{"finding", []string{"device"}, nil},

	{"wire", nil, nil},
	{"capture", []string{"wire"}, []string{"github.com/klauspost/compress", "github.com/gopacket/gopacket", "golang.org/x/net", "golang.org/x/sys"}},
	{"flow", []string{"wire"}, nil},
	{"ble", []string{"wire"}, nil},
	{"proto/fhir", []string{"wire", "device", "proto/http"}, nil},
	{"proto/sdc", []string{"wire", "device", "proto/http"}, nil},
	{"proto/gatt", []string{"wire", "device", "ble"}, nil},
	{"proto/radio", []string{"wire", "device", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml"}},
	{"proto/", []string{"wire", "device"}, nil},
	{"proto", []string{"proto", "wire", "flow"}, nil},
	{"inventory", []string{"device", "event", "finding"}, nil},
	{"watch", []string{"proto", "ble", "flow", "capture", "wire", "device", "event", "finding", "inventory"}, nil},

	{"match/version", []string{"internal/lazyregexp"}, nil},
	{"match/cpe", nil, nil},
	{"match/purl", nil, nil},
	{"match/sbom", []string{"match/purl"}, []string{"github.com/github/go-spdx/v2"}},
	{"match/advisory", []string{"internal/lazyregexp", "match/version", "match/purl", "match/cpe"}, []string{"github.com/ProtonMail/go-crypto"}},
	{"match/vex", []string{"internal/lazyregexp", "match/advisory", "match/purl", "match/version"}, []string{"github.com/goccy/go-yaml"}},
	{"match/register", []string{"internal/lazyregexp", "device", "match/advisory", "match/version"}, []string{"github.com/goccy/go-yaml"}},
	{"match", []string{"internal/lazyregexp", "match", "device", "finding"}, []string{"github.com/RoaringBitmap/roaring", "github.com/goccy/go-yaml"}},
	{"risk", []string{"device", "finding"}, []string{"github.com/pandatix/go-cvss"}},
	{"report", []string{"device", "event", "finding"}, []string{"github.com/jedib0t/go-pretty"}},
	{"assess", []string{"capture", "wire", "flow", "proto", "device", "event", "finding", "inventory", "watch", "match", "risk", "report"}, []string{"github.com/goccy/go-yaml"}},

	{"link/cose", []string{"internal/cbor"}, []string{"golang.org/x/crypto"}},
	{"link/edhoc", []string{"link/cose", "internal/cbor"}, []string{"github.com/cloudflare/circl"}},
	{"link/oscore", []string{"link/cose", "internal/cbor", "proto/coap", "wire"}, nil},
	{"link/cwt", []string{"link/cose", "internal/cbor", "device"}, nil},
	{"link/therapy", []string{"link/cwt", "internal/cbor", "device"}, nil},
	{"link/coap", []string{"link", "internal/cbor", "proto/coap", "wire", "device"}, []string{"github.com/plgd-dev/go-coap"}},

	{"guard/envelope", []string{"device", "internal/flock", "internal/journal", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml"}},
	{"guard/gate", []string{"device", "event", "guard/envelope", "link/cwt"}, nil},
	{"guard/front", []string{"device", "event", "guard/envelope", "guard/gate", "internal/journal", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml", "github.com/prometheus/client_golang", "golang.org/x/time"}},
	{"guard/hl7", []string{"device", "event", "wire", "guard/envelope", "guard/front", "guard/gate", "proto/hl7", "internal/lazyregexp", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml", "golang.org/x/time"}},
	{"guard/http", []string{"device", "event", "guard/envelope", "guard/front", "guard/gate", "internal/lazyregexp", "internal/strictyaml", "proto/fhir"}, []string{"github.com/goccy/go-yaml", "golang.org/x/time"}},
	{"guard/tcp", []string{"device", "event", "guard/front", "internal/lazyregexp", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml", "golang.org/x/time"}},
	{"guard/dicom", []string{"device", "guard/front", "internal/lazyregexp", "internal/strictyaml", "proto/dicom", "wire"}, []string{"github.com/goccy/go-yaml", "golang.org/x/time"}},
	{"guard", []string{"ble", "device", "event", "internal/cbor", "internal/journal", "internal/lazyregexp", "internal/strictyaml", "link", "proto", "wire"}, []string{"github.com/goccy/go-yaml", "github.com/prometheus/client_golang", "golang.org/x/crypto"}},
	{"guard/coap", []string{"guard/envelope", "guard/gate", "guard/front", "device", "event", "link", "proto/coap", "proto/radio", "internal/cbor", "internal/journal", "internal/lazyregexp", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml"}},
	{"patch/repo", []string{"patch", "link/cose", "device", "internal/flock", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml", "github.com/theupdateframework/go-tuf", "github.com/sigstore/sigstore", "github.com/secure-systems-lab/go-securesystemslib"}},
	{"patch/rollout", []string{"patch", "link", "device", "event", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml"}},
	{"patch/agent/linux", []string{"patch", "link/cose", "internal/flock", "internal/strictyaml"}, []string{"github.com/goccy/go-yaml"}},
	{"patch/agent", []string{"patch", "link", "internal/cbor", "proto/coap"}, nil},
	{"patch", []string{"patch", "link", "device", "event", "internal/cbor"}, nil},
	{"patch/suit", []string{"link/cose", "internal/cbor"}, nil},
	{"patch/delta", []string{"wire"}, nil},
	{"ledger", []string{"device", "event", "internal/flock"}, []string{"golang.org/x/mod"}},

	{"store", []string{"device", "event", "finding"}, []string{"github.com/pressly/goose"}},
	{"store/sqlite", []string{"store"}, []string{"modernc.org/sqlite"}},
	{"store/postgres", []string{"store"}, []string{"github.com/jackc/pgx"}},
	{"store/storetest", []string{"store", "device", "event", "finding"}, []string{"github.com/google/go-cmp", "pgregory.net/rapid"}},

	{"serve/access", []string{"store", "device", "event", "internal/strictyaml"}, []string{"github.com/alexedwards/scs", "github.com/coreos/go-oidc", "github.com/go-webauthn/webauthn", "golang.org/x/crypto", "golang.org/x/oauth2", "golang.org/x/time"}},
	{"serve/update", []string{"device", "event", "link/cose", "patch", "serve/access", "store"}, nil},
	{"serve/demo", []string{".", "capture", "internal/loopback", "internal/testpki", "link/cose", "patch/.", "patch/agent", "patch/suit", "sim"}, nil},
	{
		"serve",
		[]string{"assess", "capture", "device", "event", "finding", "guard", "internal", "inventory", "ledger", "link", "match", "patch", "proto", "report", "risk", "sim", "store", "watch", "wire"},
		[]string{"github.com/danielgtaylor/huma", "github.com/goccy/go-graphviz", "github.com/goccy/go-yaml", "github.com/nats-io", "github.com/prometheus/client_golang", "golang.org/x/time"},
	},
	{"sim", []string{"link", "internal/cbor", "internal/journal", "assess", "ble", "capture", "wire", "flow", "proto", "device", "event", "finding", "inventory", "watch", "match", "risk", "report", "internal/testpeer", "internal/testpki", "patch/.", "patch/agent", "patch/delta", "patch/suit"}, nil},
	{"drill", []string{"sim", "guard", "patch", "assess", "ble", "capture", "watch", "match", "link", "ledger", "report", "device", "event", "finding", "wire", "proto", "internal/cbor", "internal/lazyregexp", "internal/loopback", "internal/strictyaml", "internal/testpki"}, []string{"github.com/goccy/go-yaml"}},
	{"internal/loopback", nil, nil},
	{"internal/testpeer", []string{"internal/loopback", "internal/testpki"}, nil},
	{"internal/testpeer/chromium", []string{"internal/testpeer"}, []string{"github.com/chromedp"}},
	{"internal/testpeer/jetstream", []string{"internal/loopback"}, []string{"github.com/nats-io"}},
	{"internal/testpki", nil, nil},
	{"internal/cbor", nil, nil},
	{"internal/journal", nil, nil},
	{"internal/strictyaml", []string{"device"}, []string{"github.com/goccy/go-yaml"}},
	{"internal/flock", nil, nil},
	{"internal/lazyregexp", nil, nil},
	{"internal/vector", nil, nil},
	{"trial", []string{"internal/loopback", "device", "event", "finding", "guard", "internal/testpeer", "internal/testpki", "ledger", "link", "proto", "serve", "sim", "store"}, nil},
	{"bench", []string{"capture", "ble", "proto"}, nil},
	{
		"cmd",
		[]string{"assess", "capture", "device", "drill", "event", "finding", "flow", "guard", "internal/cbor", "internal/strictyaml", "inventory", "ledger", "link", "match", "patch", "proto", "report", "risk", "serve", "sim", "store", "watch", "wire"},
		[]string{"github.com/goccy/go-yaml", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/jedib0t/go-pretty", "golang.org/x/mod", "golang.org/x/sys"},
	},
}

// roomOf returns the row of a folder: "proto/" is every folder below proto.
func roomOf(dir string) *room {
	var best *room
	for i := range rooms {
		r := &rooms[i]
		name := strings.TrimSuffix(r.name, "/")
		fits := dir == r.name || strings.HasPrefix(dir, name+"/") && !(r.name == "proto")
		if fits && (best == nil || len(r.name) > len(best.name)) {
			best = r
		}
	}
	return best
}

// TestImports holds the table against the code.
func TestImports(t *testing.T) {
	goFiles(t, func(file string, src []byte) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		dir := path.Dir(file)
		r := roomOf(dir)
		if r == nil {
			t.Errorf("%s: the folder %s has no row in the table of rooms", file, dir)
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, spec := range f.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if !allowed(r, p) {
				t.Errorf("%s: room %s may not import %s", file, r.name, p)
			}
		}
	})
}

func allowed(r *room, p string) bool {
	under := func(name, p string) bool { return p == name || strings.HasPrefix(p, name+"/") }
	if p == "C" {
		return false // no cgo
	}
	if own, ok := strings.CutPrefix(p+"/", module); ok {
		own = path.Clean(own)
		return under(strings.TrimSuffix(r.name, "/"), own) && r.name != "proto/" ||
			slices.ContainsFunc(r.rooms, func(name string) bool {
				alone, ok := strings.CutSuffix(name, "/.")
				return ok && own == alone || under(name, own)
			})
	}
	if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(r.modules, func(m string) bool { return under(m, p) })
}

// TestFormat holds every file to gofumpt, to the two lines at its head, and
// every package to a comment that says what it is.
func TestFormat(t *testing.T) {
	rules := format.Options{LangVersion: "go1.26", ModulePath: strings.TrimSuffix(module, "/")}
	documented := map[string]bool{}
	goFiles(t, func(file string, src []byte) {
		want := "// SPDX-FileCopyrightText: 2026 The Myelin authors\n// SPDX-License-Identifier: Apache-2.0\n\n"
		if !bytes.HasPrefix(src, []byte(want)) {
			t.Errorf("%s: does not begin with the two SPDX lines", file)
		}
		if formatted, err := format.Source(src, rules); err != nil {
			t.Error(err)
		} else if !bytes.Equal(formatted, src) {
			t.Errorf("%s: not formatted; run go tool gofumpt -w %s", file, file)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		dir := path.Dir(file)
		documented[dir] = documented[dir] || f.Doc != nil && !generic(f.Doc)
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment", dir)
		}
	}
}

// generic reports whether a comment before the package clause is the licence alone.
func generic(c *ast.CommentGroup) bool { return strings.HasPrefix(c.Text(), "SPDX") }

func goFiles(t *testing.T, f func(file string, src []byte)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(p, ".go") {
			src, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			f(p, src)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
