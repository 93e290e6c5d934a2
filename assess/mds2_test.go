// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

func ip(s string) device.Address { return device.Address{Kind: device.IP, Value: s} }

// What a form denies, or promises, against what was seen; each row alone, on a
// device that otherwise did nothing.
func TestMDS2(t *testing.T) {
	const (
		pump    = "10.20.3.9"
		doctor  = "10.20.3.40"
		foreign = "203.0.113.20"
	)
	to := func(protocol, client, server string, encrypted bool) *watch.Session {
		return &watch.Session{Protocol: protocol, Client: ip(client), Server: ip(server), Count: 1, Encrypted: encrypted, First: finding.Sighting{Time: 1, Packet: 7}}
	}
	for _, tt := range []struct {
		name    string
		ask     register.Capability
		answer  register.Answer
		session *watch.Session
		records *finding.Finding
		address device.Address
		seen    string // "" is no finding
	}{
		{"Bluetooth", register.Bluetooth, register.No, nil, nil, device.Address{Kind: device.BLE, Value: "ble-1"}, "contradicted: it is on Bluetooth LE"},
		{"wireless", register.Wireless, register.No, nil, nil, device.Address{Kind: device.Radio, Value: "radio-1"}, "contradicted: it is on a radio"},
		{"another radio", register.OtherRadio, register.No, nil, nil, device.Address{Kind: device.BLE, Value: "ble-1"}, ""},
		{"Bluetooth that is not denied", register.Bluetooth, register.Yes, nil, nil, device.Address{Kind: device.BLE, Value: "ble-1"}, ""},
		{"Bluetooth that does not apply", register.Bluetooth, register.NotApplicable, nil, nil, device.Address{Kind: device.BLE, Value: "ble-1"}, ""},
		{"outside", register.TalksOutside, register.No, to("tls", pump, foreign, true), nil, ip(pump), "contradicted: tls to 203.0.113.20"},
		{"names outside", register.TalksOutside, register.No, to("dns", pump, foreign, false), nil, ip(pump), "contradicted: dns to 203.0.113.20"},
		{"inside", register.TalksOutside, register.No, to("hl7", pump, doctor, false), nil, ip(pump), ""},
		{"asked from outside, without an answer that was seen", register.TalksOutside, register.No, to("snmp", foreign, pump, false), nil, ip(pump), ""},
		{"others inside", register.TalksInside, register.No, to("hl7", pump, doctor, false), nil, ip(pump), "contradicted: hl7 to 10.20.3.40"},
		{"names inside", register.TalksInside, register.No, to("dns", pump, doctor, false), nil, ip(pump), ""},
		{"of another device", register.TalksInside, register.No, to("hl7", doctor, "10.20.3.41", false), nil, ip(pump), ""},
		{"remote service", register.RemoteService, register.No, to("rdp", doctor, pump, true), nil, ip(pump), "contradicted: rdp from 10.20.3.40"},
		{"the other way round", register.RemoteService, register.No, to("rdp", pump, doctor, true), nil, ip(pump), ""},
		{"a guess by the port", register.RemoteService, register.No, &watch.Session{Protocol: "rdp", Client: ip(doctor), Server: ip(pump), Inferred: true}, nil, ip(pump), ""},
		{"time", register.SynchronisesTime, register.No, to("ntp", pump, doctor, false), nil, ip(pump), "contradicted: ntp to 10.20.3.40"},
		{"TLS that is denied", register.TLS, register.No, to("tls", pump, doctor, true), nil, ip(pump), "contradicted: tls to 10.20.3.40"},
		{"secure DICOM that is denied", register.SecuresTransmission, register.No, to("dicom", pump, doctor, true), nil, ip(pump), "contradicted: dicom to 10.20.3.40"},
		{"any TLS is not secure DICOM", register.SecuresTransmission, register.No, to("tls", pump, doctor, true), nil, ip(pump), ""},
		{"TLS not used", register.TLS, register.Yes, to("hl7", pump, doctor, false), nil, ip(pump), "unused: hl7 to 10.20.3.40"},
		{"TLS used", register.TLS, register.Yes, to("hl7", pump, doctor, true), nil, ip(pump), ""},
		{"what has no TLS", register.TLS, register.Yes, to("dns", pump, doctor, false), nil, ip(pump), ""},
		{"TLS with a note", register.TLS, register.SeeNote, to("hl7", pump, doctor, false), nil, ip(pump), ""},
		{"DICOM in clear", register.SecuresTransmission, register.Yes, to("dicom", doctor, pump, false), nil, ip(pump), "unused: dicom from 10.20.3.40"},
		{"a page in clear", register.SecuresTransmission, register.Yes, to("http", doctor, pump, false), nil, ip(pump), ""},
		{"records", register.SendsPersonalData, register.No, nil, &finding.Finding{Peer: doctor, Protocol: "hl7"}, ip(pump), "contradicted: patient data in clear, over hl7"},
		{"records not encrypted", register.EncryptsPersonalData, register.Yes, nil, &finding.Finding{Peer: doctor, Protocol: "hl7"}, ip(pump), "unused: patient data in clear, over hl7"},
		{"records outside", register.SendsPersonalDataOutside, register.No, nil, &finding.Finding{Peer: foreign, Protocol: "hl7"}, ip(pump), "contradicted: patient data in clear to an address outside, over hl7"},
		{"records inside", register.SendsPersonalDataOutside, register.No, nil, &finding.Finding{Peer: doctor, Protocol: "hl7"}, ip(pump), ""},
		{"records by air", register.SendsPersonalDataByAir, register.No, nil, &finding.Finding{Peer: doctor, Protocol: "hl7"}, ip(pump), ""},
		{"what nothing shows", register.ServicesOff, register.No, to("telnet", doctor, pump, false), nil, ip(pump), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info := tt.ask.Info()
			// The second is of another product, and says the opposite.
			d := documents{statements: []*register.MDS2{
				{Edition: "2019", Manufacturer: "Norra Medical Inc.", Model: "FLOW-500", Released: "2025-01-01", Questions: []register.Question{{ID: info.IDs[0], Text: "Is it so: " + info.Words + "?", Answer: tt.answer, Row: 31}}},
				{Edition: "2019", Manufacturer: "Norra Medical", Model: "FlowLink", Released: "2025-01-01", Questions: []register.Question{{ID: info.IDs[0], Text: info.Words, Answer: register.Answer(3 - min(tt.answer, 2))}}},
			}}
			r := watch.Result{Devices: []device.Device{
				{ID: "p", Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500"}, Addresses: []device.Address{tt.address}},
				{ID: "d", Addresses: []device.Address{ip(doctor)}},
				{ID: "f", Role: device.Outside, Addresses: []device.Address{ip(foreign)}},
			}}
			if tt.session != nil {
				r.Sessions = []watch.Session{*tt.session}
			}
			if tt.records != nil {
				tt.records.Kind, tt.records.Device = finding.PHIInClear, "p"
				tt.records.Add(finding.Sighting{Time: 1, Packet: 7})
				r.Findings = []finding.Finding{*tt.records}
			}
			var got []string
			for _, x := range d.know(&r, time.Unix(0, 0)) {
				// The form's line, and the packet if there is one.
				if x.Device != "p" || !strings.Contains(x.Why[0], info.IDs[0]) || x.Sightings[0] != (finding.Sighting{Note: fmt.Sprintf("row 31 of the form: %s, answered %s", info.IDs[0], tt.answer)}) {
					t.Errorf("%+v", x)
				}
				if wired := tt.address.Kind == device.IP; len(x.Sightings) != int(x.Count) || wired && (x.Count != 2 || x.Sightings[1].Packet != 7 || x.First != 1) || !wired && x.Count != 1 {
					t.Errorf("%+v", x)
				}
				for _, why := range x.Why {
					if seen, ok := strings.CutPrefix(why, "seen: "); ok {
						got = append(got, map[finding.Kind]string{finding.MDS2Contradicted: "contradicted: ", finding.MDS2CapabilityUnused: "unused: "}[x.Kind]+seen)
					}
				}
			}
			if got := strings.Join(got, "; "); got != tt.seen {
				t.Errorf("%q, want %q", got, tt.seen)
			}
		})
	}
}

// Every row of what is looked for is one that the table of capabilities has for that.
func TestMDS2Table(t *testing.T) {
	for c := range denials {
		if !c.Info().Denied {
			t.Errorf("%s: seeing it contradicts nothing", c)
		}
	}
	for c := range unused {
		if !c.Info().Unused {
			t.Errorf("%s: doing without it shows nothing", c)
		}
	}
}

// writeForm writes a form as a workbook.
func writeForm(t *testing.T, path string, rows [][]string) {
	t.Helper()
	var sheet strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&sheet, `<row r="%d">`, i+1)
		for j, s := range row {
			fmt.Fprintf(&sheet, `<c r="%c%d" t="inlineStr"><is><t>`, 'A'+j, i+1)
			if err := xml.EscapeText(&sheet, []byte(s)); err != nil {
				t.Fatal(err)
			}
			sheet.WriteString(`</t></is></c>`)
		}
		sheet.WriteString(`</row>`)
	}
	const (
		head     = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`
		main     = `"http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
		document = `"http://schemas.openxmlformats.org/officeDocument/2006/relationships`
		packages = `"http://schemas.openxmlformats.org/package/2006/`
	)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for _, part := range [][2]string{
		{"[Content_Types].xml", `<Types xmlns=` + packages + `content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`},
		{"_rels/.rels", `<Relationships xmlns=` + packages + `relationships"><Relationship Id="rId1" Type=` + document + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"xl/workbook.xml", `<workbook xmlns=` + main + ` xmlns:r=` + document + `"><sheets><sheet name="Form" sheetId="1" r:id="rId1"/></sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships xmlns=` + packages + `relationships"><Relationship Id="rId1" Type=` + document + `/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`},
		{"xl/worksheets/sheet1.xml", `<worksheet xmlns=` + main + `><sheetData>` + sheet.String() + `</sheetData></worksheet>`},
	} {
		w, err := z.Create(part[0])
		if err == nil {
			_, err = w.Write([]byte(head + part[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// The analyser of the ward has a console and sends results in clear; its form
// says otherwise.
func TestMDS2Ward(t *testing.T) {
	form := filepath.Join(t.TempDir(), "bg200.xlsx")
	writeForm(t, form, [][]string{
		{"DOC-1", "Manufacturer Name", "Corvus Dx"},
		{"DOC-3", "Device Model", "BG200"},
		{"CONN-1.1", "Does it support wireless connections?", "No"},
		{"CONN-4", "Can it communicate with systems external to the customer environment?", "No"},
		{"CONN-7", "Does it support Transport Layer Security (TLS)?", "Yes"},
		{"MPII-3.7", "Does it transmit personal data over an external network?", "No"},
		{"TXCF-2", "Is personal data encrypted prior to transmission?", "Yes"},
		{"RMOT-1", "Does it permit remote service connections for device analysis?", "No"},
	})
	a, err := Run(context.Background(), []string{wardDir, form}, Config{Now: time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(a.Inputs, func(in report.Input) bool { return in.Kind == "mds2" && in.Items == 8 && in.Error == "" }) {
		t.Fatalf("the form was not read: %+v", a.Inputs)
	}
	rows := map[string]bool{}
	var got []string
	for _, f := range a.Findings {
		if f.Kind == finding.MDS2Contradicted || f.Kind == finding.MDS2CapabilityUnused {
			if f.Device != station(t, a, lab1).ID {
				t.Errorf("about another: %+v", f)
			}
			packets := 0
			for _, s := range f.Sightings {
				in := a.Inputs[s.Input]
				switch {
				case s.Packet == 0 && in.Kind == "mds2":
					rows[s.Note] = true
				case s.Packet > 0 && in.Packets >= s.Packet && s.Time >= f.First && f.First > 0:
					packets++
				default:
					t.Errorf("%+v is not in %s", s, in.Path)
				}
			}
			if packets == 0 {
				t.Errorf("no packet: %+v", f.Sightings)
			}
			got = append(got, f.Kind.String()+": "+strings.Join(f.Why, "; "))
		}
	}
	slices.Sort(got)
	want := []string{
		`mds2-capability-unused: its MDS2 answers yes to "encrypts personal data before transmission" (TXCF-2); seen: patient data in clear, over hl7; its MDS2 answers yes to "supports TLS" (CONN-7); seen: hl7 from 10.20.1.5`,
		`mds2-contradicted: its MDS2 answers no to "permits remote service" (RMOT-1); seen: telnet from 10.20.1.40`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"row 5 of the form: CONN-7, answered yes": true, "row 7 of the form: TXCF-2, answered yes": true, "row 8 of the form: RMOT-1, answered no": true}, rows); diff != "" {
		t.Error(diff)
	}
}

// Which form is a device's, and how sure that is.
func TestMDS2Form(t *testing.T) {
	pump := func(model, version, released string) *register.MDS2 {
		return &register.MDS2{Edition: "2019", Manufacturer: "Norra Medical", Model: model, Version: version, Released: released}
	}
	none, old, next := pump("Flow 500", "", "2024"), pump("Flow 500", "2.1", "2025"), pump("Flow 500", "2.2", "2026")
	for _, tt := range []struct {
		version string
		forms   []*register.MDS2
		want    *register.MDS2
		sure    match.Certainty
		but     string
	}{
		{"2.1.4", []*register.MDS2{none, old, next}, old, match.Exact, ""},
		{"2.1.4", []*register.MDS2{none, next}, none, match.Exact, ""},
		{"2.1.4", []*register.MDS2{next}, next, match.Review, "its MDS2 is of version 2.2, and this device has 2.1.4"},
		{"", []*register.MDS2{none, old, next}, none, match.Exact, ""},
		{"", []*register.MDS2{old}, old, match.Likely, "its MDS2 is of version 2.1, and this device's is unknown"},
		{"", []*register.MDS2{old, next}, next, match.Review, "there are forms of several versions, and this device's is unknown"},
		{"2.2.0", []*register.MDS2{pump("Flow 500", "2.2", "2027"), next}, nil, match.Exact, ""}, // the later one
		{"2.2.0", []*register.MDS2{pump("FlowLink", "2.2", "2026"), pump("Flow 5000", "", "2026")}, nil, "", ""},
	} {
		for range 2 {
			f := fleet{documents: &documents{statements: tt.forms}}
			form, sure, but := f.form(&device.Device{Product: device.Product{Manufacturer: "Norra Medical Inc.", Model: "FLOW-500", Version: tt.version}})
			if want := tt.want; sure != tt.sure || but != tt.but || want != nil && form != want || want == nil && tt.sure == match.Exact && form.Released != "2027" {
				t.Errorf("%q of %d forms: %+v %s %q", tt.version, len(tt.forms), form, sure, but)
			}
			slices.Reverse(tt.forms) // whatever the files are called
		}
	}
}

// A scanner of DCMTK's sends images in clear, and the same within TLS, of which
// nothing may be said. Its forms are of several versions.
func TestMDS2DICOM(t *testing.T) {
	notShort(t)
	captured := func(t *testing.T, tls ...string) string {
		p := testpeer.NewProxy(t, testpeer.Storescp(t, tls...))
		args := append(append([]string{"-aet", ctTitle, "-aec", pacsTitle}, tls...), "127.0.0.1", strconv.Itoa(p.Port), ctImage(t, patients[0], 1))
		testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, "storescu"), args...)
		tap := newWiretap(t)
		for _, c := range p.Conversations() {
			tap.conversation(ct1, pacs, 104, c)
		}
		return tap.save()
	}
	cert, key := ecdsaCertificate(t)
	clear, within := captured(t), captured(t, "+tls", key, cert, "+cf", cert)
	form := func(model, released, tls, secure, encrypts, sends string) [][]string {
		return [][]string{
			{"DOC-1", "Manufacturer Name", "Lumen Imaging"},
			{"DOC-3", "Device Model", model},
			{"DOC-7", "Document Release Date", released},
			{"MPII-3", "Does it have mechanisms used for the transmitting, importing/exporting of personal data?", sends},
			{"CONN-7", "Does it support Transport Layer Security (TLS)?", tls},
			{"TXCF-2", "Is personal data encrypted prior to transmission via a network or removable media?", encrypts},
			{"TXCF-5", "Are secure transmission methods supported/implemented (DICOM, HL7, IEEE 11073)?", secure},
		}
	}
	promises := form("Helia 64", "2025-03-01", "Yes", "Yes", "Yes", "Yes")
	const (
		unused  = "mds2-capability-unused exact TXCF-2 TXCF-5 CONN-7"
		denied  = "mds2-contradicted exact MPII-3"
		another = "its MDS2 is of version 11.1, and this device has 11.0"
	)
	for _, tt := range []struct {
		name    string
		version string // of the device, as the register has it
		capture string
		forms   [][][]string
		want    []string
		but     string
	}{
		{"promised", "11.0", clear, [][][]string{promises}, []string{unused}, ""},
		{"promised and kept", "11.0", within, [][][]string{promises}, nil, ""},
		{"denied", "11.0", clear, [][][]string{form("Helia 64", "2025-03-01", "No", "No", "No", "No")}, []string{denied}, ""},
		{"denied and seen", "11.0", within, [][][]string{form("Helia 64", "2025-03-01", "No", "No", "No", "No")}, []string{"mds2-contradicted exact CONN-7"}, ""},
		{"not said", "11.0", clear, [][][]string{form("Helia 64", "2025-03-01", "See Note", "N/A", "", "See Note 3")}, nil, ""},
		{"not said, of what is encrypted", "11.0", within, [][][]string{form("Helia 64", "2025-03-01", "See Note", "N/A", "", "n/a")}, nil, ""},
		{"another product", "11.0", clear, [][][]string{form("Helia 128", "2025-03-01", "Yes", "Yes", "Yes", "No")}, nil, ""},
		{"a product that is nowhere", "11.0", clear, [][][]string{form("BG200", "2025-03-01", "Yes", "Yes", "Yes", "No"), promises}, []string{unused}, ""},
		{"the later one", "11.0", clear, [][][]string{form("Helia 64", "2026-03-01", "See Note", "", "", ""), promises}, nil, ""},
		{"of its version", "11.0", clear, [][][]string{form("Helia 64 11.1", "2026-01-01", "", "", "", "No"), form("Helia 64, software version 11.0", "2025-03-01", "Yes", "Yes", "Yes", "Yes")}, []string{unused}, ""},
		{"of its line", "11.0", clear, [][][]string{form("Helia 64 v11.x", "2026-01-01", "", "", "", "No"), promises}, []string{denied}, ""},
		{"of another version", "11.0", clear, [][][]string{form("Helia 64 (SW 11.1)", "2026-01-01", "", "", "", "No")}, []string{"mds2-contradicted review MPII-3"}, another},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, rows := range tt.forms {
				writeForm(t, filepath.Join(dir, fmt.Sprintf("form-%d.xlsx", i)), rows)
			}
			list := filepath.Join(dir, "devices.csv")
			if err := os.WriteFile(list, []byte("Asset tag,Manufacturer,Model,Software version,IP address\nct-1,Lumen Imaging,Helia 64,"+tt.version+","+ct1+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := Run(context.Background(), []string{dir, tt.capture}, Config{Now: time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC)})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range a.Findings {
				if f.Kind != finding.MDS2Contradicted && f.Kind != finding.MDS2CapabilityUnused {
					continue
				}
				ids, packets := []string{f.Kind.String(), f.Certainty}, 0
				for _, why := range f.Why {
					if i := strings.LastIndexByte(why, '('); i >= 0 && strings.HasPrefix(why, "its MDS2 answers") {
						ids = append(ids, strings.Trim(why[i:], "()"))
					}
				}
				for _, s := range f.Sightings {
					if s.Packet > 0 {
						packets++
						if a.Inputs[s.Input].Path != tt.capture || s.Packet > a.Inputs[s.Input].Packets {
							t.Errorf("%+v is not in the capture", s)
						}
					} else if a.Inputs[s.Input].Kind != "mds2" {
						t.Errorf("%+v is not in a form", s)
					}
				}
				if packets == 0 || f.Device != station(t, a, ct1).ID || (tt.but != "") != (f.Why[0] == tt.but) || (f.Certainty == finding.Review) != strings.HasPrefix(f.Title, "To review: ") {
					t.Errorf("%q %q: %+v", f.Title, f.Why, f.Sightings)
				}
				got = append(got, strings.Join(ids, " "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
