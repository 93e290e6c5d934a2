// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/report"
)

// samples are one document of each kind that is read here, and what it is told to be.
func samples(t *testing.T) map[string]struct{ text, is string } {
	t.Helper()
	form := filepath.Join(t.TempDir(), "form")
	writeForm(t, form, [][]string{
		{"DOC-1", "Manufacturer Name", "Corvus Dx"},
		{"DOC-3", "Device Model", "BG200"},
		{"CONN-1.1", "Does it support wireless connections?", "No"},
	})
	book, err := os.ReadFile(form)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]struct{ text, is string }{
		"link.cdx.json":  {fileOf(t, "flowlink-1.8.cdx.json"), "cyclonedx 4"},
		"link.cdx.xml":   {`<bom xmlns="http://cyclonedx.org/schema/bom/1.4" version="1"><components><component type="library"><name>tls</name><version>1</version></component></components></bom>`, "cyclonedx 1"},
		"spdx.json":      {`{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"x","documentNamespace":"https://norra.example/x","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: x"]},"packages":[{"SPDXID":"SPDXRef-a","name":"tls","versionInfo":"1","downloadLocation":"NOASSERTION"}],"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-a"}]}`, "spdx 1"},
		"x.spdx":         {"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: x\nDocumentNamespace: https://norra.example/y\nCreator: Tool: x\nCreated: 2026-01-01T00:00:00Z\nPackageName: tls\nSPDXID: SPDXRef-a\nPackageVersion: 1\nPackageDownloadLocation: NOASSERTION\n", "spdx 1"},
		"csaf.json":      {fileOf(t, "ada-2026-01.csaf.json"), "csaf 1"},
		"osv.json":       {`{"schema_version":"1.6.0","id":"OSV-2026-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Go","name":"norra.example/x"},"versions":["1"]}]}`, "osv 1"},
		"cve.json":       {`{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{"cveId":"CVE-2026-1001","state":"PUBLISHED"},"containers":{"cna":{"providerMetadata":{"orgId":"8254265b-2729-46b6-b9e3-3dfca2d5bfca"},"descriptions":[{"lang":"en","value":"x"}],"affected":[{"vendor":"Norra Medical","product":"Flow 500","versions":[{"version":"2.1.4","status":"affected"}]}],"references":[{"url":"https://norra.example"}]}}}`, "cve 1"},
		"nvd.json":       {`{"resultsPerPage":1,"startIndex":0,"totalResults":1,"format":"NVD_CVE","version":"2.0","timestamp":"2026-01-01T00:00:00","vulnerabilities":[{"cve":{"id":"CVE-2026-1001","published":"2026-01-01T00:00:00","lastModified":"2026-01-01T00:00:00","descriptions":[{"lang":"en","value":"x"}],"references":[]}}]}`, "nvd 1"},
		"kev.json":       {`{"title":"x","catalogVersion":"2026.01.01","dateReleased":"2026-01-01T00:00:00Z","count":1,"vulnerabilities":[{"cveID":"CVE-2026-1001","vendorProject":"Norra","product":"Flow","vulnerabilityName":"x","dateAdded":"2026-01-01","shortDescription":"x","requiredAction":"x","dueDate":"2026-02-01"}]}`, "kev 1"},
		"epss.csv":       {"#model_version:v2025.03.14,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1001,0.5,0.9\n", "epss 1"},
		"openvex.json":   {`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://norra.example/vex","author":"Norra Medical","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2026-1001"},"products":[{"@id":"pkg:generic/norra/flow@1"}],"status":"fixed"}]}`, "openvex 1"},
		"vex.cdx.json":   {`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"manufacturer":{"name":"Norra Medical"}},"vulnerabilities":[{"id":"CVE-2026-1001","analysis":{"state":"resolved"},"affects":[{"ref":"pkg:generic/norra/flow@1"}]}]}`, "vex 1"},
		"vex.cdx.xml":    {`<bom xmlns="http://cyclonedx.org/schema/bom/1.6" version="1"><metadata><manufacturer><name>Norra Medical</name></manufacturer></metadata><vulnerabilities><vulnerability><id>CVE-2026-1001</id><analysis><state>resolved</state></analysis><affects><target><ref>pkg:generic/norra/flow@1</ref></target></affects></vulnerability></vulnerabilities></bom>`, "vex 1"},
		"devices.csv":    {"Asset tag,Manufacturer,Model,Software version\npump-9,Norra Medical,Flow 500,2.1.4\n", "register 1"},
		"devices.yaml":   {"devices:\n  - id: pump-10\n    manufacturer: Norra Medical\n    model: Flow 500\n", "register 1"},
		"devices.json":   {`[{"id":"pump-11","manufacturer":"Norra Medical","model":"Flow 500"}]`, "register 1"},
		"device.txt":     {gudidNames, "gudid 2"},
		"classes.json":   {classification, "classification 1"},
		"recalls.json":   {recall, "recalls 1"},
		"form.mds2.xlsx": {string(book), "mds2 3"},
	}
}

// packings are how documents are packed.
var packings = map[string]func([]byte) []byte{
	"": func(b []byte) []byte { return b },
	".gz": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	},
	".zst": func(b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err)
		}
		return w.EncodeAll(b, nil)
	},
}

func run(t *testing.T, c Config, paths ...string) map[string]report.Input {
	t.Helper()
	a, err := Run(context.Background(), paths, c)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]report.Input{}
	for _, in := range a.Inputs {
		in.Path = filepath.Base(in.Path)
		out[in.Path] = in
	}
	return out
}

// Every kind of document is the same whether it is packed or not, and a file or
// on standard input.
func TestPacked(t *testing.T) {
	for name, sample := range samples(t) {
		for ext, pack := range packings {
			b := pack([]byte(sample.text))
			file := filepath.Join(t.TempDir(), name+ext)
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			in := run(t, Config{}, file)[name+ext]
			piped := run(t, Config{Stdin: bytes.NewReader(b)}, "-")["-"]
			is := fmt.Sprintf("%s %d", in.Kind, in.Items)
			if in.Error != "" || is != sample.is || in.Bytes != int64(len(b)) {
				t.Errorf("%s%s: %+v, want %s", name, ext, in, sample.is)
			}
			if in.Path = "-"; in != piped {
				t.Errorf("%s%s on standard input: %+v, want %+v", name, ext, piped, in)
			}
		}
	}
}

// A hash beside a packed advisory is of the file as it lies there, or of the
// document in it under its own name.
func TestHashBesidePacked(t *testing.T) {
	doc := []byte(fileOf(t, "ada-2026-01.csaf.json"))
	sum := func(b []byte) []byte { return fmt.Appendf(nil, "%x  a.json\n", sha256.Sum256(b)) }
	packed := packings[".gz"](doc)
	for _, tt := range []struct {
		what   string
		beside map[string][]byte
		bad    bool
	}{
		{"none", nil, false},
		{"of the file", map[string][]byte{"a.json.gz.sha256": sum(packed)}, false},
		{"of the document", map[string][]byte{"a.json.sha256": sum(doc)}, false},
		{"both", map[string][]byte{"a.json.gz.sha256": sum(packed), "a.json.sha256": sum(doc)}, false},
		{"of the document, under the file's name", map[string][]byte{"a.json.gz.sha256": sum(doc)}, true},
		{"of another document", map[string][]byte{"a.json.sha256": sum([]byte("x"))}, true},
		{"one good and one bad", map[string][]byte{"a.json.gz.sha256": sum(packed), "a.json.sha256": sum(packed)}, true},
		{"one bad and one good", map[string][]byte{"a.json.gz.sha256": sum(doc), "a.json.sha256": sum(doc)}, true},
		{"no signature", map[string][]byte{"a.json.asc": []byte("-----BEGIN PGP SIGNATURE-----")}, true},
		{"a signature without an end", map[string][]byte{"a.json.gz.asc": make([]byte, 1<<20)}, true},
	} {
		dir := t.TempDir()
		files := map[string][]byte{"a.json.gz": packed}
		for name, b := range tt.beside {
			files[name] = b
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		in := run(t, Config{}, filepath.Join(dir, "a.json.gz"))["a.json.gz"]
		if bad := in.Error == errDamaged.Error() || in.Error == errForged.Error(); bad != tt.bad || !bad && in.Error != "" {
			t.Errorf("%s: %+v", tt.what, in)
		}
	}
}

// What is one document or one byte too many is refused by its name, and the
// others stand, also those behind it that are small enough.
func TestPaperBounds(t *testing.T) {
	dir := t.TempDir()
	advisory := func(n, pad int) string {
		return fmt.Sprintf(`{"schema_version":"1.6.0","id":"OSV-2026-%d","modified":"2026-01-01T00:00:00Z","affected":[]}`, n) + strings.Repeat(" ", pad)
	}
	one := len(advisory(1, 0)) + 2*itemBytes // an advisory with one vulnerability
	for n, pad := range []int{0, 7, 50, 0} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", n)), []byte(advisory(n, pad)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("these do not count"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		most    int
		room    int
		refused map[string]error
	}{
		{4, 4*one + 57, nil},
		{3, 4*one + 57, map[string]error{"3.json": errPapers}},
		{4, 4*one + 56, map[string]error{"3.json": errKept}},
		{4, 3*one + 7, map[string]error{"2.json": errKept}},
		{4, 3*one + 6, map[string]error{"2.json": errKept, "3.json": errKept}},
		{4, one, map[string]error{"1.json": errKept, "2.json": errKept, "3.json": errKept}},
		{4, one - 1, map[string]error{"0.json": errKept, "1.json": errKept, "2.json": errKept, "3.json": errKept}},
		{4, len(advisory(1, 0)) - 1, map[string]error{"0.json": errKept, "1.json": errKept, "2.json": errKept, "3.json": errKept}},
	} {
		inputs := run(t, Config{papers: Papers{most: tt.most, room: int64(tt.room)}}, dir)
		for name, in := range inputs {
			want := ""
			if err := tt.refused[name]; err != nil {
				want = err.Error()
			}
			if in.Error != want || want != "" && in.Items != 0 {
				t.Errorf("room for %d and %d bytes: %+v, want %q", tt.most, tt.room, in, want)
			}
		}
		if len(inputs) != 5 {
			t.Errorf("%d inputs", len(inputs))
		}
	}
}

// The same bytes count once, whatever they are called.
func TestPaperCopies(t *testing.T) {
	a := assessFiles(t, Config{papers: Papers{most: 3, room: 1 << 20}}, map[string]string{
		"a.csv": gatewayRegister, "b.csv": gatewayRegister, "c.txt": gatewayRegister,
		"d.json": fileOf(t, "ada-2026-01.csaf.json"), "e.json": fileOf(t, "ada-2026-01.csaf.json"),
		"f.txt": "no document", "g.txt": "no document",
	})
	for i, in := range a.Inputs {
		copied := strings.HasPrefix(in.Kind, "copy of ")
		if want := slices.Contains([]int{1, 2, 4}, i); copied != want || copied && in.Items > 0 {
			t.Errorf("%+v", in)
		}
	}
	single := assessFiles(t, Config{}, map[string]string{"a.csv": gatewayRegister, "d.json": fileOf(t, "ada-2026-01.csaf.json")})
	if len(a.Devices) != len(single.Devices) || len(a.Findings) != len(single.Findings) {
		t.Errorf("%d devices and %d findings, alone %d and %d", len(a.Devices), len(a.Findings), len(single.Devices), len(single.Findings))
	}
}

// What is written to a file while it is read is not read.
func TestPaperGrows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "devices.csv")
	if err := os.WriteFile(file, []byte(gatewayRegister), 0o600); err != nil {
		t.Fatal(err)
	}
	var s Papers
	p, err := s.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		if _, err := f.WriteString("late,late,late,late\n"); err != nil {
			t.Fatal(err)
		}
		r, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(b) != gatewayRegister {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := os.Truncate(file, 10); err != nil { // and one that shrinks is what is left
		t.Fatal(err)
	}
	var d documents
	if err := d.read(&report.Input{Path: file}, p); err == nil || len(d.entries) > 0 {
		t.Errorf("what was cut was read: %v", err)
	}
}

// A bomb unpacks to a thousand times its size.
func TestPaperBomb(t *testing.T) {
	dir := t.TempDir()
	for name, head := range map[string]string{"spaces.json.gz": "", "csaf.json.gz": `{"document":{"csaf_version":"2.0"},`, "register.csv.gz": "Asset tag,Manufacturer,Model\n"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
		io.WriteString(w, head)
		spaces := bytes.Repeat([]byte(" "), 1<<20)
		for range 1 << 10 {
			w.Write(spaces)
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	inputs := run(t, Config{papers: Papers{most: 10, room: 32 << 20}}, dir)
	for name, want := range map[string]string{"spaces.json.gz": "", "csaf.json.gz": "advisory: more than is read", "register.csv.gz": errKept.Error()} {
		if in := inputs[name]; in.Error != want || in.Items > 0 {
			t.Errorf("%s: %+v, want %q", name, in, want)
		}
	}
}

// What is no file is passed over in a folder, and read once when it was named.
func TestPaperNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "devices.csv")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := errors.Join(os.Symlink(loop, loop), os.Symlink(dir, filepath.Join(dir, "again"))); err != nil {
		t.Fatal(err)
	}
	if inputs := run(t, Config{}, dir); len(inputs) != 0 {
		t.Errorf("%v", inputs)
	}
	if _, err := Run(context.Background(), []string{loop}, Config{}); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
	done := make(chan error)
	go func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(gatewayRegister)
			err = errors.Join(err, f.Close())
		}
		done <- err
	}()
	in := run(t, Config{}, fifo)["devices.csv"]
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if in.Error != "" || in.Kind != "register" || in.Bytes != int64(len(gatewayRegister)) {
		t.Errorf("%+v", in)
	}
	if in := run(t, Config{}, "/dev/zero")["zero"]; in.Error != errPiped.Error() {
		t.Errorf("a device that does not end: %+v", in)
	}
}

// What may not be read is named, and so is what has bytes that no text has.
func TestPaperUnreadable(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret.csv": gatewayRegister, "devices.csv": gatewayRegister,
		"nul.json": strings.Replace(fileOf(t, "ada-2026-01.csaf.json"), "Norra", "No\x00rra", 1),
		"nul.csv":  strings.Replace(gatewayRegister, "FlowLink", "Flow\x00Link", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "secret.csv"), 0)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may read anything
		if err := syscall.Seteuid(65534); err != nil {
			t.Skip(err)
		}
		defer syscall.Seteuid(0)
		if _, err := os.ReadDir(dir); err != nil {
			t.Skip("the folder of tests is root's alone")
		}
	}
	inputs := run(t, Config{}, dir)
	if in := inputs["secret.csv"]; !strings.Contains(in.Error, "permission denied") {
		t.Errorf("%+v", in)
	}
	if in := inputs["nul.json"]; in.Error == "" || in.Items > 0 {
		t.Errorf("%+v", in)
	}
	if in := inputs["nul.csv"]; in.Items > 0 || in.Kind != "other" {
		t.Errorf("%+v", in)
	}
	if in := inputs["devices.csv"]; in.Error != "" || in.Kind != "register" {
		t.Errorf("%+v", in)
	}
}

// A register that there is no room for leaves none of its devices behind.
func TestPaperNoRoomForRegister(t *testing.T) {
	dir := t.TempDir()
	var many strings.Builder
	many.WriteString("Asset tag,Manufacturer,Model\n")
	for i := range 100 {
		fmt.Fprintf(&many, "b%d,Norra,Flow\n", i)
	}
	for name, content := range map[string]string{"a.csv": "Asset tag,Manufacturer,Model\na1,Norra,Flow\n", "b.csv": many.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Run(context.Background(), []string{dir}, Config{Now: time.Unix(0, 0), papers: Papers{most: 10, room: 20 * itemBytes}})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Devices) != 1 || a.Inputs[1].Error != errKept.Error() {
		t.Errorf("%d devices, %+v", len(a.Devices), a.Inputs)
	}
}
