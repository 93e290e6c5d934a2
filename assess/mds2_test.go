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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
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
		return &watch.Session{Protocol: protocol, Client: ip(client), Server: ip(server), Count: 1, Encrypted: encrypted}
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
				{Edition: "2019", Manufacturer: "Norra Medical Inc.", Model: "FLOW-500", Released: "2025-01-01", Questions: []register.Question{{ID: info.IDs[0], Text: "Is it so: " + info.Words + "?", Answer: tt.answer}}},
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
				if x.Device != "p" || !strings.Contains(x.Why[0], info.IDs[0]) || tt.records != nil && (x.Count != 1 || x.Sightings[0].Packet != 7) {
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
	var got []string
	for _, f := range a.Findings {
		if f.Kind == finding.MDS2Contradicted || f.Kind == finding.MDS2CapabilityUnused {
			if f.Device != station(t, a, lab1).ID {
				t.Errorf("about another: %+v", f)
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
}
