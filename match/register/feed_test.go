// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/version"
)

// The products of these files are the sample ward's; the names of the fields
// are the authorities'.
const (
	gudidDevices = "PrimaryDI|publicDeviceRecordKey|publicVersionStatus|deviceRecordStatus|publicVersionNumber|publicVersionDate|devicePublishDate|deviceCommDistributionEndDate|deviceCommDistributionStatus|brandName|versionModelNumber|catalogNumber|companyName|deviceDescription\n" +
		"09521000000506|k1|Update|Published|3|2024-01-02|2021-01-02||In Commercial Distribution|Flow 500|F500-2|NM-500|Norra Medical|A pump, \"large volume\"\r\n" +
		"09521000005105|k2|Update|Published|1|2024-01-02|2024-01-02||In Commercial Distribution|Rhythm S|RS-4|HC-RS4|Halden Cardio|An ICD\n" +
		"a line that is cut\n" +
		"09521000000605|k3|Update|Published|1|2024-01-02|2024-01-02||In Commercial Distribution|FlowLink|1|NM-L|Norra Medical|A gateway\n"
	gudidCodes = "PrimaryDI|productCode|productCodeName\n" +
		"09521000000506|FRN|Pump, Infusion\n09521000000506|LZH|Pump, Infusion, Enteral\n09521000005105|NIK|Defibrillator\n09521000000605|PHC|Infusion Safety Management Software\n09521000009999|CBK|Ventilator\n"
	gudidTerms = "PrimaryDI|gmdnPTName|gmdnPTDefinition|implantable\n09521000005105|Cardioverter-defibrillator|x|true\n"
	gudidOther = "PrimaryDI|deviceId|deviceIdType|deviceIdIssuingAgency\n09521000000506|19521000000503|Package|GS1\n"
)

func TestGUDID(t *testing.T) {
	var g GUDID
	for _, file := range []string{gudidDevices, "\ufeff" + gudidCodes, gudidTerms, gudidOther} {
		err := g.Read(strings.NewReader(file))
		var bad *RecordsError
		if file == gudidDevices && (!errors.As(err, &bad) || bad.Count != 1 || bad.First != 4) || file != gudidDevices && err != nil {
			t.Error(err)
		}
	}
	pump := &Product{DI: "09521000000506", Company: "Norra Medical", Brand: "Flow 500", Model: "F500-2", Catalogue: "NM-500", Codes: []string{"FRN", "LZH"}}
	if diff := cmp.Diff(pump, g.Products["09521000000506"]); diff != "" {
		t.Error(diff)
	}
	if g.Products["19521000000503"] != g.Products["09521000000506"] || !g.Products["09521000005105"].Implanted {
		t.Error("a package's identifier, or an implant's term, is lost")
	}
	var c device.Catalogue
	g.Learn(&c)
	for _, tt := range []struct{ di, maker, model, code string }{
		{"09521000000506", "", "", "FRN"},
		{"19521000000503", "", "", "FRN"},
		{"", "norra medical", "Flow 500", "FRN"},
		{"", "Norra Medical", "NM-500", "FRN"},
		{"", "Halden Cardio", "Rhythm S", "NIK"},
		{"09521000000605", "", "", "PHC"},
		{"", "Norra Medical", "Flow", ""},
		{"x", "", "", ""},
		{"09521000009999", "", "", "CBK"},
	} {
		if code := c.CodeOf(tt.di, tt.maker, tt.model); code != tt.code {
			t.Errorf("%+v: %q", tt, code)
		}
	}
	if p, _ := c.Lookup(c.CodeOf("09521000005105", "", "")); p.Therapies.First() != device.Pacing || !p.Worn {
		t.Errorf("%+v", p)
	}

	// One name for two kinds of device says nothing.
	two := GUDID{Want: func(di, company, _, _ string) bool { return company == "Norra Medical" }}
	if err := two.Read(strings.NewReader("PrimaryDI|brandName|companyName|productCode\n1|Flow|Norra Medical|FRN\n2|Flow|Norra Medical|PHC\n3|Flow|Halden|NIK\n")); err != nil {
		t.Error(err)
	}
	var d device.Catalogue
	two.Learn(&d)
	if len(two.Products) != 2 || d.CodeOf("", "Norra Medical", "Flow") != "" || d.CodeOf("2", "", "") != "PHC" {
		t.Errorf("%+v", two.Products)
	}
}

func TestGUDIDJSON(t *testing.T) {
	want := &Product{DI: "09521000005105", Company: "Halden Cardio", Brand: "Rhythm S", Model: "RS-4", Catalogue: "HC-RS4", Codes: []string{"NIK"}, Implanted: true}
	for name, in := range map[string]string{
		"AccessGUDID": `{"gudid":{"device":{"publicDeviceRecordKey":"k2","identifiers":{"identifier":[{"deviceId":"19521000005102","deviceIdType":"Package"},{"deviceId":"09521000005105","deviceIdType":"Primary","deviceIdIssuingAgency":"GS1"}]},
			"brandName":"Rhythm S","versionModelNumber":"RS-4","catalogNumber":"HC-RS4","companyName":"Halden Cardio","deviceCount":1,
			"gmdnTerms":{"gmdn":[{"gmdnPTName":"x","implantable":true}]},"productCodes":{"fdaProductCode":[{"productCode":"NIK","productCodeName":"x"}]}}},"productCodes":[{"productCode":"NIK"}]}`,
		"openFDA": `{"meta":{"results":{"total":1}},"results":[{"identifiers":[{"id":"09521000005105","type":"Primary","issuing_agency":"GS1"},{"id":"19521000005102","type":"Package"}],
			"brand_name":"Rhythm S","version_or_model_number":"RS-4","catalog_number":"HC-RS4","company_name":"Halden Cardio","gmdn_terms":[{"name":"x","implantable":"true"}],"product_codes":[{"code":"NIK","name":"x"}]}]}`,
	} {
		var g GUDID
		if err := g.Read(strings.NewReader(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, g.Products["09521000005105"]); diff != "" || len(g.Products) != 2 {
			t.Errorf("%s: %d %s", name, len(g.Products), diff)
		}
	}
	for _, in := range []string{"", "x", "a|b\n1|2\n", "PrimaryDI\n1\n", "[", "{", `{"results":3}`, `{"results":[{]}`, "3", `{"gudid":{"device":3}}`, `{"results":[3]}`, strings.Repeat(" ", 10)} {
		var g GUDID
		if err := g.Read(strings.NewReader(in)); err == nil || len(g.Products) > 0 {
			t.Errorf("%q: %v", in, err)
		}
	}
	var g GUDID
	if err := g.Read(strings.NewReader(`{"results":[{"brand_name":"` + strings.Repeat("x", 2*maxRecordBytes) + `"}]}`)); !errors.Is(err, errRecord) {
		t.Error(err)
	}
}

// The field names of the record are those of api.fda.gov.
const classification = `{"meta":{"disclaimer":"x"},"results":[
	{"third_party_flag":"N","life_sustain_support_flag":"N","product_code":"FRN","openfda":{"k_number":["K1"]},"device_name":"Pump, Infusion","device_class":"2","regulation_number":"880.5725","implant_flag":"N"},
	{"life_sustain_support_flag":"Y","product_code":"NVZ","device_name":"Pulse Generator, Permanent, Implantable","device_class":"3","regulation_number":"870.3610","implant_flag":"Y"},
	{"life_sustain_support_flag":"N","product_code":"MRZ","device_name":"Accessories, Pump, Infusion","device_class":"2","regulation_number":"880.5725","implant_flag":"N"},
	{"product_code":3}]}`

func TestClassification(t *testing.T) {
	list, err := ReadClassification(strings.NewReader(classification))
	var bad *RecordsError
	if len(list) != 3 || !errors.As(err, &bad) || bad.First != 4 {
		t.Fatal(list, err)
	}
	var c device.Catalogue
	for _, l := range list {
		c.Learn(l.ProductCode())
	}
	for _, tt := range []struct {
		code  string
		worn  bool
		harm  device.Harm
		class string
		from  device.Source
	}{
		{"FRN", false, device.Critical, "infusion pump", device.Seen}, // Myelin's own table wins
		{"NVZ", true, device.Catastrophic, "pulse generator, permanent, implantable", device.Listed},
		{"MRZ", false, device.Critical, "accessories, pump, infusion", device.Listed},
	} {
		if p, ok := c.Lookup(tt.code); !ok || p.Worn != tt.worn || p.Harm != tt.harm || p.Class != tt.class || p.Source != tt.from {
			t.Errorf("%+v", p)
		}
	}
	for _, in := range []string{"", "x", "{}", `{"results":[]}`, `{"results":[{"product_code":"FR","device_name":"x"}]}`, "cve,epss"} {
		if list, err := ReadClassification(strings.NewReader(in)); err == nil || len(list) > 0 {
			t.Errorf("%q: %v %v", in, list, err)
		}
	}
}

// What a register's rows were taken for without the authorities' files is no more
// than a guess when these come; what a row says itself stays.
func TestClassifyAgain(t *testing.T) {
	var g GUDID
	if err := g.Read(strings.NewReader("PrimaryDI|brandName|versionModelNumber|companyName\n04012345000016|Ember|E1|Tessel Neuro\n")); err != nil {
		t.Fatal(err)
	}
	if err := g.Read(strings.NewReader("PrimaryDI|productCode\n04012345000016|QZZ\n")); err != nil {
		t.Fatal(err)
	}
	list, err := ReadClassification(strings.NewReader(`{"results":[{"product_code":"QZZ","device_name":"Ventilator, Worn","device_class":"3","implant_flag":"Y","life_sustain_support_flag":"N","regulation_number":"868.5895"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	feeds := &device.Catalogue{}
	for _, row := range list {
		feeds.Learn(row.ProductCode())
	}
	g.Learn(feeds)
	own, err := device.ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model\nFRN,,,,,Tessel Neuro,Ember\n"))
	if err != nil {
		t.Fatal(err)
	}
	const head = "id,manufacturer,model,udi,product code,class,therapy\n"
	said := func(e *Entry) string {
		return fmt.Sprintf("%s|%s|%s|%v", e.ProductCode, e.Class, e.Therapy, e.Worn)
	}
	for _, tt := range []struct{ row, alone, fed, owned string }{
		{"a,Tessel Neuro,Ember,,,,", "|||false", "QZZ|ventilator, worn|ventilation|true", "FRN|infusion pump|drug infusion|false"},
		{"b,T,Other,04012345000016,,,", "|||false", "QZZ|ventilator, worn|ventilation|true", "|||false"},
		{"c,Tessel Neuro,Ember,,,infusion pump,", "|infusion pump|drug infusion|false", "QZZ|infusion pump|ventilation|true", "FRN|infusion pump|drug infusion|false"},
		{"d,T,Other,,QZZ,neurostimulator,", "QZZ|neurostimulator|neurostimulation|true", "QZZ|neurostimulator|ventilation|true", "QZZ|neurostimulator|neurostimulation|true"},
		{"e,Tessel Neuro,Ember,,,,drug infusion", "||drug infusion|false", "QZZ|ventilator, worn|drug infusion|true", "FRN|infusion pump|drug infusion|false"},
		{"f,Tessel Neuro,Ember,,CBK,,", "", "", ""}, // its own code, in all of them
	} {
		r := read(t, head+tt.row+"\n")
		e := &r.Entries[0]
		first := said(e)
		for range 2 { // in any order, and again
			for _, step := range []struct {
				c    *device.Catalogue
				want string
			}{{feeds, tt.fed}, {own, tt.owned}, {nil, tt.alone}} {
				r.Classify(step.c)
				if step.want == "" {
					step.want = first
				}
				if got := said(e); got != step.want {
					t.Errorf("%s: %s, want %s", tt.row, got, step.want)
				}
			}
		}
	}
}

const recalls = `{"meta":{},"results":[
	{"cfres_id":"900101","product_res_number":"Z-0101-2026","event_date_initiated":"2026-01-12","event_date_posted":"2026-02-03","recall_status":"Open, Classified","res_event_number":"90001","product_code":"FRN","k_numbers":["K990001"],
	 "product_description":"Flow 500 infusion pump, Model Numbers: F500-1, F500-2 and F500-3. For hospitals.","code_info":"UDI-DI: 09521000000506; all serial numbers with software version 2.1.4 and prior","recalling_firm":"Norra Medical","reason_for_recall":"Accepts orders without authentication.","root_cause_description":"Software design","action":"Update to 2.2.0."},
	{"cfres_id":"x","product_res_number":"Z-0102-2026","product_description":"Syringe stack, REF NM-70","code_info":"Lot numbers: 4711A, 4712A; Serial No. 100-17 or 100-18. Expires 2027","recalling_firm":"Norra Medical"},
	{"product_description":"no number"}]}`

const enforcement = `{"results":[
	{"status":"Ongoing","classification":"Class I","product_type":"Devices","event_id":"90001","recalling_firm":"Norra Medical","recall_number":"Z-0101-2026","product_description":"Flow 500","code_info":"All units distributed before 2026","reason_for_recall":"x","recall_initiation_date":"20260112","report_date":"20260203","openfda":{}},
	{"status":"Ongoing","product_type":"Drugs","recall_number":"D-1","product_description":"a drug"}]}`

func TestRecalls(t *testing.T) {
	list, err := ReadRecalls(strings.NewReader(recalls))
	var bad *RecordsError
	if len(list) != 2 || !errors.As(err, &bad) || bad.Count != 1 || bad.First != 3 {
		t.Fatalf("%d %v", len(list), err)
	}
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	want := &advisory.Document{
		Kind: advisory.Recall, ID: "Z-0101-2026", Title: "recall: Accepts orders without authentication.", Publisher: "FDA", Category: "other",
		Published: day(2, 3), Modified: day(2, 3), State: "Open, Classified",
		Vulnerabilities: []advisory.Vulnerability{{
			ID: "Z-0101-2026", Aliases: []string{"K990001"}, Title: "Accepts orders without authentication.",
			Statements: []advisory.Statement{{
				Status: advisory.Affected,
				Product: advisory.Product{
					Manufacturer: "Norra Medical", Name: "Flow 500 infusion pump, Model Numbers: F500-1, F500-2 and F500-3. For hospitals.", Version: "2.1.4 and prior",
					Text: version.ParseText("2.1.4 and prior"), ProductCode: "FRN", DIs: []string{"09521000000506"}, Models: []string{"F500-1", "F500-2", "F500-3"},
				},
				Remediations: []advisory.Remediation{{Category: "mitigation", Details: "Update to 2.2.0.", URL: "https://www.accessdata.fda.gov/scripts/cdrh/cfdocs/cfRES/res.cfm?id=900101", Date: day(1, 12)}},
			}},
		}},
	}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
	p := list[1].Vulnerabilities[0].Statements[0].Product
	if fmt.Sprint(p.Lots, p.Serials, p.Models, p.Version) != "[4711A 4712A] [100-17 100-18] [NM-70]" || p.Text.Kind != version.Review || p.Text.Why == "" {
		t.Errorf("%+v", p)
	}
	list, err = ReadRecalls(strings.NewReader(enforcement))
	if err != nil || len(list) != 1 || list[0].Class != "Class I" || list[0].State != "Ongoing" || !list[0].Published.Equal(day(2, 3)) ||
		list[0].Vulnerabilities[0].Statements[0].Product.Text.Kind != version.All {
		t.Errorf("%v %+v", err, list)
	}
	for _, in := range []string{"", "{}", `[]`, `{"results":[{"recall_number":"D-1","product_type":"Drugs","product_description":"x"}]}`} {
		if list, err := ReadRecalls(strings.NewReader(in)); err == nil || len(list) > 0 {
			t.Errorf("%q: %v %v", in, list, err)
		}
	}
}

// TestRecallVersions: what a recall says of versions is taken out of what stands
// around it.
func TestRecallVersions(t *testing.T) {
	for _, test := range []struct{ product, codes, version, in, out string }{
		{"Flow 500 infusion pump, Model Flow 500, software version 2.1.4 and below", "UDI-DI 09521000000506, all serial numbers", "2.1.4 and below", "2.1.4", "2.2.0"},
		{"Flow 500", "Software versions: 2.1.4 and prior, all serial numbers", "2.1.4 and prior", "1.0", "2.2.0"},
		{"Flow 500", "UDI-DI 09521000000506 Software version 2.1.4 and lower UDI-DI: 09521000000506 Serial Numbers: F5-1, F5-2", "2.1.4 and lower", "2.1.4", "2.1.5"},
		{"Flow 500 with firmware version 2.1.4 (UDI 09521000000506)", "all lots", "2.1.4", "2.1.4", "2.1.3"},
		{"Flow 500 with software version 2.1.4 or earlier and serial numbers below 100", "", "2.1.4 or earlier", "", ""},
		{"Flow 500 software revision 2.1.4. REF 4711", "", "2.1.4", "2.1.4", "2.2"},
	} {
		b, err := json.Marshal(map[string]any{"results": []any{map[string]string{"product_res_number": "Z-1-2026", "product_description": test.product, "code_info": test.codes}}})
		if err != nil {
			t.Fatal(err)
		}
		list, err := ReadRecalls(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		p := list[0].Vulnerabilities[0].Statements[0].Product
		if p.Version != test.version || test.in != "" && (p.Text.Kind != version.Versions || !p.Text.Range.Contains(test.in) || p.Text.Range.Contains(test.out)) {
			t.Errorf("%s; %s: %q, %+v", test.product, test.codes, p.Version, p.Text)
		}
	}
	list, err := ReadRecalls(strings.NewReader(`{"results":[{"product_res_number":"Z-1-2026","product_description":"Flow 500","code_info":"Serial numbers 1000 to 2000"}]}`))
	if p := &list[0].Vulnerabilities[0].Statements[0].Product; err != nil || p.Text.Condition == "" || p.Serials != nil {
		t.Errorf("a span of serial numbers: %v %+v", err, p)
	}
}

func TestNamed(t *testing.T) {
	for in, want := range map[string]string{
		"Catalog # SP3000146-ST used for removal": "[SP3000146-ST]", "REF/Catalog No. 5406, STERILE": "[5406]", "Models C0717 and C0718": "[C0717 C0718]",
		"Part number 064900, Lot numbers 1, 2.0": "[064900]", "Catalogue #809600, Lot #978933 & 978934": "[809600]", "Product Usage: A device": "[]", "remodel 5": "[]", "": "[]",
	} {
		if got := fmt.Sprint(named(in, modelWords())); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got := named("Lot #978933 & 978934; Lots 1694789, 1697998, 1699566, and 1703516.0", lotWords()); !slices.Equal(got, []string{"978933", "978934", "1694789", "1697998", "1699566", "1703516.0"}) {
		t.Error(got)
	}
}

func FuzzGUDID(f *testing.F) {
	for _, s := range []string{gudidDevices, gudidCodes, gudidOther, `{"results":[{"identifiers":[{"id":"1","type":"Primary"}],"product_codes":[{"code":"FRN"}]}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var g GUDID
		err := g.Read(strings.NewReader(s))
		if err != nil && len(err.Error()) > 200 {
			t.Error(err)
		}
		for di, p := range g.Products {
			if di == "" || p == nil || len(p.Codes) > 64 || !slices.IsSorted(p.Codes) {
				t.Errorf("%q %+v", di, p)
			}
		}
		var c device.Catalogue
		g.Learn(&c)
	})
}

func FuzzOpenFDA(f *testing.F) {
	for _, s := range []string{classification, recalls, enforcement} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if list, err := ReadClassification(strings.NewReader(s)); err == nil && len(list) == 0 || err != nil && len(err.Error()) > 200 {
			t.Error(list, err)
		}
		list, err := ReadRecalls(strings.NewReader(s))
		if err == nil && len(list) == 0 || err != nil && len(err.Error()) > 200 {
			t.Error(list, err)
		}
		for _, d := range list {
			p := d.Vulnerabilities[0].Statements[0].Product
			if d.ID == "" || len(p.Models) > maxNamed || len(p.Lots) > maxNamed || len(p.Serials) > maxNamed || len([]rune(p.Name)) > maxProse {
				t.Errorf("%+v", d)
			}
		}
	})
}
