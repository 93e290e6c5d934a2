// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// The ports and titles of radiology.
const (
	pacsPort    = 11112
	pacsTLSPort = 2762 // PS3.15 section B.1: dicom-tls
	pacsWebPort = 8042
	risPort     = 104
	viewPort    = 11112
	xferPort    = 11113

	pacsTitle = "ADAPACS"
	ctTitle   = "CT1"
	risTitle  = "CASTORWL"
	viewTitle = "VIEW1"
	xferTitle = "XFER1"
)

// uid makes a UID of what it names, under 2.25 (ITU-T X.667): nobody's root.
func uid(name string) string {
	sum := sha256.Sum256([]byte("st-ada 2026-03-03 " + name))
	return "2.25." + new(big.Int).SetBytes(sum[:15]).String()
}

const (
	ctImage    = "1.2.840.10008.5.1.4.1.1.2"
	secondaryC = "1.2.840.10008.5.1.4.1.1.7"
)

// image is the dump of an object that ct-1 made: image n of a study, size
// pixels wide and high.
func image(p *person, study string, n, size int) string {
	var b strings.Builder
	el := func(tag, vr, value string) { fmt.Fprintf(&b, "(%s) %s %s\n", tag, vr, value) }
	text := func(tag, vr, value string) { el(tag, vr, "["+value+"]") }
	series := study + " series"
	text("0008,0008", "CS", `ORIGINAL\PRIMARY\AXIAL`)
	text("0008,0016", "UI", ctImage)
	text("0008,0018", "UI", uid(fmt.Sprint(series, n)))
	text("0008,0020", "DA", "20260303")
	text("0008,0030", "TM", "065512")
	text("0008,0050", "SH", "A"+strings.TrimPrefix(p.record, "STA-"))
	text("0008,0060", "CS", "CT")
	text("0008,0070", "LO", "Lumen Imaging")
	text("0008,0080", "LO", "St. Ada Hospital")
	text("0008,0090", "PN", "Holm^Mira")
	text("0008,1010", "SH", ctTitle)
	text("0008,1030", "LO", "CT thorax")
	text("0008,1090", "LO", "Helia 64")
	text("0010,0010", "PN", p.dicom())
	text("0010,0020", "LO", p.record)
	text("0010,0030", "DA", p.birth)
	text("0010,0040", "CS", p.sex)
	text("0018,1000", "LO", "H64-00217")
	text("0018,1020", "LO", "11.0")
	text("0020,000d", "UI", uid(study))
	text("0020,000e", "UI", uid(series))
	text("0020,0010", "SH", "1")
	text("0020,0011", "IS", "1")
	text("0020,0013", "IS", strconv.Itoa(n))
	el("0028,0002", "US", "1")
	text("0028,0004", "CS", "MONOCHROME2")
	el("0028,0010", "US", strconv.Itoa(size))
	el("0028,0011", "US", strconv.Itoa(size))
	el("0028,0100", "US", "16")
	el("0028,0101", "US", "12")
	el("0028,0102", "US", "11")
	el("0028,0103", "US", "0")
	el("7fe0,0010", "OW", phantom(size, n))
	return b.String()
}

// phantom is a disc with two holes, as values of dump2dcm.
func phantom(size, n int) string {
	var b strings.Builder
	for y := range size {
		for x := range size {
			dx, dy := 2*x-size, 2*y-size
			v := 0
			switch r := dx*dx + dy*dy; {
			case r > size*size*4/5:
			case (dx-size/3)*(dx-size/3)+dy*dy < size*size/16, (dx+size/3)*(dx+size/3)+dy*dy < size*size/20:
				v = 120 + n
			default:
				v = 1000 + (x*7+y*3+n)%24
			}
			if x+y > 0 {
				b.WriteByte('\\')
			}
			fmt.Fprintf(&b, "%04x", v)
		}
	}
	return b.String()
}

// small is the dump of an object of the archive, of a few hundred bytes.
func small(i int) string {
	p := archived(i)
	name := fmt.Sprint("archive ", i)
	var b strings.Builder
	for _, e := range [][3]string{
		{"0008,0016", "UI", secondaryC},
		{"0008,0018", "UI", uid(name + " object")},
		{"0008,0020", "DA", fmt.Sprintf("2025%02d%02d", 1+i%12, 1+i%28)},
		{"0008,0060", "CS", "OT"},
		{"0008,0064", "CS", "WSD"},
		{"0010,0010", "PN", p.dicom()},
		{"0010,0020", "LO", p.record},
		{"0010,0030", "DA", p.birth},
		{"0010,0040", "CS", p.sex},
		{"0020,000d", "UI", uid(name)},
		{"0020,000e", "UI", uid(name + " series")},
		{"0020,0013", "IS", "1"},
	} {
		fmt.Fprintf(&b, "(%s) %s [%s]\n", e[0], e[1], e[2])
	}
	return b.String() + "(0028,0002) US 1\n(0028,0004) CS [MONOCHROME2]\n(0028,0010) US 4\n(0028,0011) US 4\n(0028,0100) US 8\n(0028,0101) US 8\n(0028,0102) US 7\n(0028,0103) US 0\n" +
		"(7fe0,0010) OB 00\\10\\20\\30\\40\\50\\60\\70\\70\\60\\50\\40\\30\\20\\10\\00\n"
}

// worklist is the dump of one entry of the day's list of examinations.
func worklist(p *person, n int) string {
	var b strings.Builder
	for _, e := range [][3]string{
		{"0008,0050", "SH", "A" + strings.TrimPrefix(p.record, "STA-")},
		{"0008,0090", "PN", "Holm^Mira"},
		{"0010,0010", "PN", p.dicom()},
		{"0010,0020", "LO", p.record},
		{"0010,0030", "DA", p.birth},
		{"0010,0040", "CS", p.sex},
		{"0020,000d", "UI", uid(fmt.Sprint("worklist ", n))},
		{"0032,1032", "PN", "Holm^Mira"},
		{"0032,1060", "LO", "CT thorax"},
	} {
		fmt.Fprintf(&b, "(%s) %s [%s]\n", e[0], e[1], e[2])
	}
	return b.String() + "(0040,0100) SQ\n(fffe,e000) na\n(0008,0060) CS [CT]\n(0040,0001) AE [" + ctTitle + "]\n(0040,0002) DA [20260303]\n" +
		fmt.Sprintf("(0040,0003) TM [%02d0000]\n(0040,0006) PN [Reyes^Jon]\n(0040,0007) LO [CT thorax]\n(0040,0009) SH [SPS%d]\n(0040,0010) SH [CT1]\n(fffe,e00d) na\n(fffe,e0dd) na\n(0040,1001) SH [RP%d]\n", 8+n, n, n)
}

// Worklist files need a key that image dumps lack; see wlmscpfs(1).
func (s *span) ris(t testpeer.TB) {
	dir := t.TempDir()
	at := filepath.Join(dir, risTitle)
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "lockfile"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n, p := range []person{anna, cleo} {
		b, err := os.ReadFile(testpeer.DICOMObject(t, worklist(&p, n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%d.wl", n)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := testpeer.Port(t)
	testpeer.Start(t, dir, port, testpeer.Tool(t, "wlmscpfs", "dcmtk"), "-dfp", dir, strconv.Itoa(port))
	p := testpeer.NewProxy(t, port)
	testpeer.Run(t, dir, testpeer.DCMTK(t, "findscu"), "-W", "-aet", ctTitle, "-aec", risTitle, "127.0.0.1", strconv.Itoa(p.Port),
		"-k", "0008,0050", "-k", "0010,0010", "-k", "0010,0020", "-k", "0010,0030", "-k", "0010,0040", "-k", "0020,000d", "-k", "0032,1060",
		"-k", "(0040,0100)[0].ScheduledStationAETitle="+ctTitle, "-k", "(0040,0100)[0].Modality=CT",
		"-k", "(0040,0100)[0].ScheduledProcedureStepStartDate=20260303", "-k", "(0040,0100)[0].ScheduledProcedureStepStartTime", "-k", "0040,1001")
	s.tcp(talk{at: "07:00:52", client: ct1, server: ehr, port: risPort}, only(t, p))
}

// only returns what passed over the one connection of a proxy.
func only(t testpeer.TB, p *testpeer.Proxy) []line {
	t.Helper()
	c := p.Conversations()
	if len(c) != 1 {
		t.Fatalf("%d connections, want 1", len(c))
	}
	return recorded(c[0])
}

// images is radiology's day: DCMTK's programs as scanner, workstation and
// thief, an Orthanc as archive.
func (s *span) images(t testpeer.TB) {
	s.ris(t)
	tool := func(name string) string { return testpeer.DCMTK(t, name) }
	view := testpeer.NewProxy(t, testpeer.Storescp(t))
	xfer := testpeer.NewProxy(t, testpeer.Storescp(t))
	direct, web := testpeer.Orthanc(t, pacsTitle, map[string]int{viewTitle: view.Port, xferTitle: xfer.Port}, map[string]any{"LimitFindResults": 0})

	// What already lies there, a part at a time: each is written to the disk at once.
	const batch = 50
	dir := t.TempDir()
	for i := 0; i < studies; i += batch {
		store := []string{"-aet", "IMPORT", "-aec", pacsTitle, "127.0.0.1", strconv.Itoa(direct)}
		for j := i; j < i+batch; j++ {
			name := fmt.Sprintf("%03d.dcm", j)
			write(t, filepath.Join(dir, "dump"), small(j))
			testpeer.Run(t, dir, tool("dump2dcm"), "dump", name)
			store = append(store, name)
		}
		testpeer.Run(t, dir, tool("storescu"), store...)
	}

	proxy := testpeer.NewProxy(t, direct)
	stolen, takes := clock("07:12:20"), 2450*time.Millisecond // each part
	call := func(name, title string, args ...string) {
		testpeer.Run(t, dir, tool(name), append([]string{"-aet", title, "-aec", pacsTitle, "127.0.0.1", strconv.Itoa(proxy.Port)}, args...)...)
	}
	slices := func(p *person, study string, n int) (files []string) {
		for i := range n {
			files = append(files, object(t, image(p, study, 1+i, 64)))
		}
		return files
	}
	call("echoscu", ctTitle)
	call("storescu", ctTitle, slices(&anna, "anna thorax", 6)...)
	call("storescu", ctTitle, slices(&cleo, "cleo thorax", 4)...)
	call("findscu", viewTitle, "-S", "-k", "0008,0052=STUDY", "-k", "0010,0020="+anna.record, "-k", "0010,0010", "-k", "0010,0030", "-k", "0020,000d", "-k", "0008,1030")
	call("movescu", viewTitle, "-S", "-aem", viewTitle, "-k", "0008,0052=STUDY", "-k", "0020,000d="+uid("anna thorax"))
	call("findscu", ctTitle, "-S", "-k", "0008,0052=STUDY", "-k", "0008,0060", "-k", "0010,0010=*", "-k", "0010,0020", "-k", "0020,000d")
	// A C-MOVE names as many studies as it likes (PS3.4 section C.2.2.2.2).
	for i := 0; i < studies; i += batch {
		var ids []string
		for j := range batch {
			ids = append(ids, uid(fmt.Sprint("archive ", i+j)))
		}
		file := fmt.Sprintf("move%d.dump", i)
		write(t, filepath.Join(dir, file), "(0008,0052) CS [STUDY]\n(0020,000d) UI ["+strings.Join(ids, `\`)+"]\n")
		testpeer.Run(t, dir, tool("dump2dcm"), file, file+".dcm")
		call("movescu", ctTitle, "-S", "-aem", xferTitle, file+".dcm")
	}

	plan := []struct {
		at     string
		client *host
	}{
		{"07:00:40", ct1}, {"07:01:30", ct1}, {"07:02:12", ct1}, {"07:02:40", view1}, {"07:02:44", view1}, {"07:12:02", ct1},
	}
	said := proxy.Conversations()
	if len(said) != len(plan)+studies/batch {
		t.Fatalf("%d associations with the archive, want %d", len(said), len(plan)+studies/batch)
	}
	for i, c := range said {
		lines := recorded(c)
		if i < len(plan) {
			s.tcp(talk{at: plan[i].at, client: plan[i].client, server: pacs, port: pacsPort}, lines)
			continue
		}
		for j := range lines { // the archive answers when all has been sent on
			if j > 2 && lines[j].server {
				lines[j].wait = 1900 * time.Millisecond
				break
			}
		}
		s.tcp(talk{at: day(stolen + time.Duration(i-len(plan))*takes), client: ct1, server: pacs, port: pacsPort}, lines)
	}
	for i, c := range view.Conversations() {
		s.tcp(talk{at: day(clock("07:02:44.06") + time.Duration(i)*300*time.Millisecond), client: pacs, server: view1, port: viewPort}, recorded(c))
	}
	for i, c := range xfer.Conversations() {
		s.tcp(talk{at: day(stolen + time.Duration(i)*takes + 60*time.Millisecond), client: pacs, server: laptop, port: xferPort}, recorded(c))
	}
	s.browse(t, web)
	s.imagesTLS(t)
}

// browse is the workstation looking at the archive's pages (Orthanc's REST).
func (s *span) browse(t testpeer.TB, port int) {
	p := testpeer.NewProxy(t, port)
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)))
	}}}
	base := fmt.Sprintf("http://%s:%d", pacs.fqdn(), pacsWebPort)
	send(t, c, "GET", base+"/system", "application/json", "")
	send(t, c, "POST", base+"/tools/find", "application/json", `{"Level":"Study","Query":{"PatientID":"`+anna.record+`"},"Expand":true}`)
	c.CloseIdleConnections()
	s.tcp(talk{at: "07:03:30", client: view1, server: pacs, port: pacsWebPort}, only(t, p))
}

// imagesTLS is the workstation storing to the archive inside TLS, both shown by certificates.
func (s *span) imagesTLS(t testpeer.TB) {
	dir := t.TempDir()
	ca := root(t, "St. Ada Hospital Radiology")
	write(t, filepath.Join(dir, "ca.pem"), certPEM(ca.cert.Raw))
	file := func(h *host) (key, cert string) {
		c, a := ca.certificate(t, "St. Ada Hospital", h.fqdn(), false)
		der, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			t.Fatal(err)
		}
		key, cert = filepath.Join(dir, h.name+".key"), filepath.Join(dir, h.name+".pem")
		write(t, cert, certPEM(c.Certificate[0]))
		write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		return key, cert
	}
	key, cert := file(pacs)
	port, _ := testpeer.Orthanc(t, pacsTitle, nil, map[string]any{
		"DicomTlsEnabled": true, "DicomTlsCertificate": cert, "DicomTlsPrivateKey": key, "DicomTlsTrustedCertificates": filepath.Join(dir, "ca.pem"),
	})
	p := testpeer.NewProxy(t, port)
	key, cert = file(view1)
	testpeer.Run(t, dir, testpeer.DCMTK(t, "storescu"), "+tls", key, cert, "+cf", filepath.Join(dir, "ca.pem"), "-aet", viewTitle, "-aec", pacsTitle,
		"127.0.0.1", strconv.Itoa(p.Port), object(t, image(&anna, "anna key image", 1, 32)))
	s.tcp(talk{at: "07:03:02", client: view1, server: pacs, port: pacsTLSPort}, only(t, p))
}

func certPEM(der []byte) string {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	return b.String()
}

func write(t testpeer.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// object makes an image of its dump, whose last line is long.
func object(t testpeer.TB, dump string) string {
	t.Helper()
	return testpeer.DICOMObject(t, dump, "+l", strconv.Itoa(len(dump)))
}
