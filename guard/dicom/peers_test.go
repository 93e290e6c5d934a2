// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// object makes a small object of an invented patient.
func object(t testing.TB, class, instance string) string {
	t.Helper()
	return objectOf(t, class, instance, 200<<10)
}

func objectOf(t testing.TB, class, instance string, n int) string {
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
`, class, instance, pixels(t, n)), "+te")
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
associations: []`, workstation)))
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

// TestRefusedByFront has DCMTK's programs say how they were refused.
func TestRefusedByFront(t *testing.T) {
	testpeer.DCMTK(t, "dcmqrscp")
	o := newOutside(t)
	g := newGuard(t)
	port := testpeer.Dcmqrscp(t, "ADAPACS", nil)
	_, in := g.start(archive(t, &o, port, fmt.Sprintf(`associations:
  - {calling: CT1, called: ADAPACS, certificate: "sha256:%s", access: store-only, sop-classes: [storage, query-retrieve, verification]}
  - {calling: VIEW1, called: ADAPACS, certificate: "san:pacs.example", access: read-only, sop-classes: [query-retrieve, storage, verification], destinations: [WS1]}
  - {calling: MR1, called: ADAPACS, certificate: "subject:CN=pacs.example", access: store-only, sop-classes: ["%s"]}
  - {calling: US1, called: ADAPACS, certificate: any, access: store-only, sop-classes: any, transfer-syntaxes: "1.2.840.10008.1.2.1.99"}
  - {calling: STOLEN, called: ADAPACS, certificate: ["sha256:%064d", "san:other.example", "subject:CN=other"], access: store-only, sop-classes: any}
bounds: {object-bytes: 150000}`, o.peerSum, mrStorage, 0)))
	tunnel := o.tunnel(t, in)
	small := objectOf(t, ctStorage, "1.2.276.0.99999.2.1.2", 1000)
	keys := []string{"-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.276.0.99999.2"}
	// DCMTK 3.6.7 has no word for 0x0124.
	for _, tt := range []struct {
		program, calling, called string
		args                     []string
		says, why                string
	}{
		{"echoscu", "EVIL", "ADAPACS", nil, "Calling AE Title Not Recognized", "A-ASSOCIATE ADAPACS: no list has the calling AE title"},
		{"echoscu", "CT1", "NOBODY", nil, "Called AE Title Not Recognized", "A-ASSOCIATE NOBODY: no list has the called AE title"},
		{"echoscu", "STOLEN", "ADAPACS", nil, "Calling AE Title Not Recognized", "A-ASSOCIATE ADAPACS: the certificate is not that of the calling AE title"},
		{"storescu", "MR1", "ADAPACS", []string{small}, "No presentation context for: (CT)", "A-ASSOCIATE ADAPACS: no list has the SOP class"},
		{"storescu", "US1", "ADAPACS", []string{small}, "No Acceptable Presentation Contexts", "A-ASSOCIATE ADAPACS: no list has the transfer syntax"},
		{"storescu", "VIEW1", "ADAPACS", []string{"-v", small}, "Unknown Status: 0x124", "C-STORE: no list has the operation"},
		{"storescu", "CT1", "ADAPACS", []string{"-v", object(t, ctStorage, "1.2.276.0.99999.2.1.3")}, "Peer aborted Association", "C-STORE: the object is longer than its bound"},
		{"findscu", "CT1", "ADAPACS", append([]string{"-v", "-S"}, keys...), "Refused: SOPClassNotSupported", "C-FIND: no list has the operation"},
		{"movescu", "CT1", "ADAPACS", append([]string{"-v", "-S", "-aem", "WS1"}, keys...), "Unknown Status: 0x124", "C-MOVE WS1: no list has the operation"},
		{"movescu", "VIEW1", "ADAPACS", append([]string{"-v", "-S", "-aem", "XFER1"}, keys...), "Refused: MoveDestinationUnknown", "C-MOVE XFER1: no list has the destination"},
		{"getscu", "CT1", "ADAPACS", append([]string{"-v", "-S"}, keys...), "Unknown Status: 0x124", "C-GET: no list has the operation"},
	} {
		to, args := in, o.args("-aet", tt.calling, "-aec", tt.called)
		if tt.program == "movescu" || tt.program == "getscu" {
			to, args = tunnel, args[5:]
		}
		out, _ := program(t, tt.program, to, append(args, tt.args...)...)
		if !strings.Contains(out, tt.says) {
			t.Errorf("%s as %s does not say %q:\n%s", tt.program, tt.calling, tt.says, out)
		}
		if r := g.refusals(); !slices.Contains(r, tt.why) {
			t.Errorf("%s as %s: %q is not in %q", tt.program, tt.calling, tt.why, r)
		}
	}
	// What was refused is not in the archive, and what is allowed gets there.
	studies := func() int {
		out, err := program(t, "findscu", in, o.args(append([]string{"-aet", "VIEW1", "-aec", "ADAPACS", "-v", "-S"}, keys...)...)...)
		return strings.Count(must(t, out, err), "Find Response: ")
	}
	if n := studies(); n != 0 {
		t.Errorf("%d studies that were refused", n)
	}
	out, err := program(t, "storescu", in, o.args("-aet", "CT1", "-aec", "ADAPACS", small)...)
	must(t, out, err)
	if n := studies(); n != 1 {
		t.Errorf("%d studies, want 1", n)
	}
	if out, _ := program(t, "storescu", in, "-aet", "CT1", "-aec", "ADAPACS", small); !strings.Contains(out, "error") && !strings.Contains(out, "E:") && !strings.Contains(out, "F:") {
		t.Errorf("in clear:\n%s", out)
	}
	if !slices.Contains(g.refusals(), "connect: no secure channel: it does not speak TLS") {
		t.Errorf("%q", g.refusals())
	}
}

// TestOrthanc has two Orthancs, with TLS outside of the fronts: a scanner that
// sends an image and has it committed, which the archive answers on an association
// of its own, and a viewer that has it moved, on another one.
func TestOrthanc(t *testing.T) {
	testpeer.Tool(t, "Orthanc", "orthanc")
	o := newOutside(t)
	g := newGuard(t)
	dir := t.TempDir()
	workstation := testpeer.Port(t)
	testpeer.Start(t, dir, workstation, testpeer.DCMTK(t, "storescp"), append(o.args("-aet", "WS1", "-od", dir), strconv.Itoa(workstation))...)
	scanner, http := testpeer.Orthanc(t, "CT1", nil, map[string]any{
		"DicomTlsEnabled": true, "DicomTlsCertificate": o.peerCert, "DicomTlsPrivateKey": o.peerKey, "DicomTlsTrustedCertificates": o.frontCert,
	})
	_, out := g.start(policy(t, fmt.Sprintf(`name: archive-out
kind: dicom
device: pacs
protects: client
listen: "127.0.0.1:0"
forward: {address: "127.0.0.1:1", tls: {certificate: %q, key: %q, authorities: %q, name: pacs.example}}
routes: {CT1: "127.0.0.1:%d", WS1: "127.0.0.1:%d"}
bypass: none
associations: []`, o.frontCert, o.frontKey, o.peerCert, scanner, workstation)))
	port, _ := testpeer.Orthanc(t, "ADAPACS", map[string]int{"CT1": out, "WS1": out, "XFER1": out})
	_, in := g.start(archive(t, &o, port, fmt.Sprintf(`associations:
  - {calling: CT1, called: ADAPACS, certificate: "sha256:%s", access: store-only, sop-classes: [storage, storage-commitment, verification]}
  - {calling: VIEW1, called: ADAPACS, certificate: any, access: read-only, sop-classes: query-retrieve, destinations: WS1}`, o.peerSum)))

	rest(t, "PUT", http, "/modalities/archive", map[string]any{"AET": "ADAPACS", "Host": "127.0.0.1", "Port": in, "UseDicomTls": true}, nil)
	file, err := os.ReadFile(object(t, ctStorage, "1.2.276.0.99999.2.1.1"))
	if err != nil {
		t.Fatal(err)
	}
	var instance struct{ ID string }
	rest(t, "POST", http, "/instances", file, &instance)
	var stored struct{ StorageCommitmentTransactionUID string }
	rest(t, "POST", http, "/modalities/archive/store", map[string]any{"Resources": []string{instance.ID}, "StorageCommitment": true}, &stored)
	var report struct{ Status string }
	for try := time.Tick(50 * time.Millisecond); ; <-try {
		if rest(t, "GET", http, "/storage-commitment/"+stored.StorageCommitmentTransactionUID, nil, &report); report.Status != "Pending" {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
	if report.Status != "Success" {
		t.Errorf("storage commitment: %s", report.Status)
	}

	query := []string{"-aet", "VIEW1", "-aec", "ADAPACS", "-v", "-S", "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.276.0.99999.2"}
	tunnel := o.tunnel(t, in)
	said, err := program(t, "movescu", tunnel, append(query, "-aem", "WS1")...)
	must(t, said, err)
	if files, _ := filepath.Glob(filepath.Join(dir, "CT*")); len(files) != 1 {
		t.Errorf("%d files were moved:\n%s", len(files), said)
	}
	if said, _ = program(t, "movescu", tunnel, append(query, "-aem", "XFER1")...); !strings.Contains(said, "MoveDestinationUnknown") {
		t.Error(said)
	}
	if r := g.refusals(); !slices.Equal(r, []string{"C-MOVE XFER1: no list has the destination"}) {
		t.Errorf("refused: %q", r)
	}
}

// rest asks an Orthanc's HTTP server.
func rest(t testing.TB, method string, port int, path string, body, answer any) {
	t.Helper()
	b, ok := body.([]byte)
	if !ok {
		b, _ = json.Marshal(body)
	}
	q, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v\n%s", method, path, r.Status, err, said)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(said, answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}
