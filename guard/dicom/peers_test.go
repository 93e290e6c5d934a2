// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// object makes a small object of an invented patient.
func object(t testing.TB, class, instance string, args ...string) string {
	t.Helper()
	return testpeer.DICOMObject(t, fmt.Sprintf(`(0008,0016) UI [%s]
(0008,0018) UI [%s]
(0008,0060) CS [CT]
(0010,0010) PN [Lindqvist^Anna]
(0010,0020) LO [ADA-0001]
(0020,000d) UI [1.2.276.0.99999.2]
(0020,000e) UI [1.2.276.0.99999.2.1]
(0028,0010) US 64
(7fe0,0010) OB =%s
`, class, instance, pixels(t, 200<<10)), append([]string{"+te"}, args...)...)
}

// pixels makes a file of so many bytes.
func pixels(t testing.TB, n int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pixels.raw")
	if err := os.WriteFile(file, make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An outside is a key and certificate of the front's, which the peers trust, and
// of theirs, which the front trusts.
type outside struct {
	frontCert, frontKey, peerCert, peerKey string
	peerSum                                string // SHA-256
}

func newOutside(t testing.TB) (o outside) {
	o.frontCert, o.frontKey = testpeer.Certificate(t)
	o.peerCert, o.peerKey = testpeer.Certificate(t)
	b, err := os.ReadFile(o.peerCert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	sum := sha256.Sum256(block.Bytes)
	o.peerSum = hex.EncodeToString(sum[:])
	return o
}

// listen is the front's side in guard.yaml, args what a program of DCMTK's has to be told.
func (o *outside) listen() string {
	return fmt.Sprintf("listen: {address: \"127.0.0.1:0\", tls: {certificate: %q, key: %q, authorities: %q}}", o.frontCert, o.frontKey, o.peerCert)
}

func (o *outside) args(more ...string) []string {
	return append([]string{"+tls", o.peerKey, o.peerCert, "+cf", o.frontCert}, more...)
}

// archive is a front before an archive on a loopback port.
func archive(t testing.TB, o *outside, port int, rules string) *Policy {
	t.Helper()
	return policy(t, fmt.Sprintf(`name: archive
kind: dicom
device: pacs
protects: server
%s
forward: "127.0.0.1:%d"
bypass: point the modalities at the archive itself
%s`, o.listen(), port, rules))
}

func program(t testing.TB, name string, port int, args ...string) (string, error) {
	t.Helper()
	at := []string{"127.0.0.1", strconv.Itoa(port)}
	var files []string
	for len(args) > 0 && strings.HasSuffix(args[len(args)-1], ".dcm") {
		files = append(files, args[len(args)-1])
		args = args[:len(args)-1]
	}
	return testpeer.Try(t, t.TempDir(), testpeer.DCMTK(t, name), append(append(args, at...), files...)...)
}

func must(t testing.TB, out string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// TestArchive has the unchanged programs of DCMTK use an archive through the
// front, with TLS outside: what is asked for on one association and what the
// archive sends on another.
func TestArchive(t *testing.T) {
	testpeer.DCMTK(t, "dcmqrscp")
	o := newOutside(t)
	g := newGuard(t)
	dir := t.TempDir()
	workstation := testpeer.Port(t)
	testpeer.Start(t, dir, workstation, testpeer.DCMTK(t, "storescp"), "-aet", "WS1", "-od", dir, strconv.Itoa(workstation))
	// The archive calls WS1 at the port of a front before itself.
	_, out := g.start(policy(t, fmt.Sprintf(`name: archive-out
kind: dicom
device: pacs
protects: client
listen: "127.0.0.1:0"
forward: {address: "127.0.0.1:%d", clear: a test}
bypass: none
access: store-only
sop-classes: any
associations: [{calling: NOBODY, called: NOBODY}]`, workstation)))
	port := testpeer.Dcmqrscp(t, "ADAPACS", map[string]int{"WS1": out, "CT1": out})
	_, in := g.start(archive(t, &o, port, fmt.Sprintf(`associations:
  - {calling: CT1, called: ADAPACS, certificate: "sha256:%s", access: store-only, sop-classes: [storage, verification]}
  - {calling: VIEW1, called: ADAPACS, certificate: any, access: read-only, sop-classes: [query-retrieve, storage, verification], destinations: [WS1]}`, o.peerSum)))

	ct := o.args("-aet", "CT1", "-aec", "ADAPACS")
	view := []string{"-aet", "VIEW1", "-aec", "ADAPACS"}
	query := slices.Concat(view, []string{"-S", "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.276.0.99999.2"})
	run := func(name string, port int, args ...string) string {
		t.Helper()
		out, err := program(t, name, port, args...)
		return must(t, out, err)
	}
	run("echoscu", in, ct...)
	run("storescu", in, append(ct, object(t, ctStorage, "1.2.276.0.99999.2.1.1"))...)
	if out := run("findscu", in, o.args(append(query, "-v")...)...); !strings.Contains(out, "Success") {
		t.Error(out)
	}
	tunnel := o.tunnel(t, in) // movescu and getscu have no TLS
	run("movescu", tunnel, append(query, "-aem", "WS1")...)
	if files, _ := filepath.Glob(filepath.Join(dir, "CT*")); len(files) != 1 {
		t.Errorf("%d files were moved", len(files))
	}
	if out := run("getscu", tunnel, append(query, "-v")...); !strings.Contains(out, "Success") {
		t.Error(out)
	}
	// getscu proposes to be sent whatever can be stored, hanging protocols too.
	if r := g.refusals(); len(r) != 1 || r[0] != "A-ASSOCIATE ADAPACS: no list has the SOP class" {
		t.Errorf("refused: %q", r)
	}
}

// tunnel is what a program without TLS needs to reach the front.
func (o *outside) tunnel(t testing.TB, to int) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				s, err := tls.Dial("tcp", address(to), o.client(t))
				if err != nil {
					return
				}
				defer s.Close()
				wg.Go(func() { io.Copy(s, c); s.CloseWrite() })
				io.Copy(c, s)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().(*net.TCPAddr).Port
}

// client is the configuration of a client that shows the peer's certificate.
func (o *outside) client(t testing.TB) *tls.Config {
	pair, err := tls.LoadX509KeyPair(o.peerCert, o.peerKey)
	if err != nil {
		t.Error(err)
	}
	pem, err := os.ReadFile(o.frontCert)
	if err != nil {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "pacs.example"}
}
