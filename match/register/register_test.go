// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/myelin-health/myelin/device"
)

func ExampleRead() {
	r, err := Read(strings.NewReader(`Geräteliste St. Ada
Inventarnr.;Hersteller;Modell;Softwarestand;IP-Adresse;Wartung
pump-3;Norra Medical;Flow 500;2.1.4;10.20.3.33;2026-05
pump-4;Norra Medical;Flow 500;2.2.0;10.20.3.333;2026-05
`), "list.csv")
	if err != nil {
		panic(err)
	}
	for _, c := range r.Columns {
		fmt.Println(c.Heading, "->", c.Field)
	}
	fmt.Println("unused:", r.Unused)
	for _, e := range r.Entries {
		fmt.Println(e.ID, e.Manufacturer, e.Model, e.Version, e.Addresses)
	}
	fmt.Println(r.Problems[0])
	// Output:
	// Inventarnr. -> id
	// Hersteller -> manufacturer
	// Modell -> model
	// Softwarestand -> version
	// IP-Adresse -> IP address
	// unused: [Wartung]
	// pump-3 Norra Medical Flow 500 2.1.4 [10.20.3.33]
	// pump-4 Norra Medical Flow 500 2.2.0 []
	// line 4, column 37: IP address: no IP address of one device
}

func read(t testing.TB, s string) *Register {
	t.Helper()
	r, err := Read(strings.NewReader(s), "list")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var unexported = cmpopts.IgnoreUnexported(Entry{})

// same is a device, in every spelling that the tests know.
var same = Entry{
	ID: "gw-icu", Ward: "ICU", Location: "Building 2, Room 14", Class: "infusion pump", Therapy: device.DrugInfusion, Made: "2019-04", Guarded: true,
	Identity: device.Identity{
		Manufacturer: "Norra Medical", Model: "FlowLink", Version: "1.10", Serial: "00417",
		UDI: device.UDI{Issuer: "GS1", DI: "04012345000016", Lot: "L7", Checked: true},
		Addresses: []device.Address{
			{Kind: device.EUI64, Value: "ACDE48FFFE000310"},
			{Kind: device.MAC, Value: "00:00:5e:00:53:3a"},
			{Kind: device.IP, Value: "10.20.3.10"},
			{Kind: device.IP, Value: "2001:db8::10"},
			{Kind: device.AET, Value: "FLOW LINK"},
			{Kind: device.Host, Value: "gw-icu.stada.example"},
		},
	},
}

func TestSpellings(t *testing.T) {
	const udi = "(01)04012345000016(10)L7"
	for name, in := range map[string]string{
		"commas": "Asset Tag,Manufacturer,Model,Software Version,Serial No.,UDI,MAC address,IP address,AE Title,Hostname,EUI-64,Department,Building,Room,Device type,Manufacture date,Guarded\r\n" +
			"gw-icu,Norra Medical,FlowLink,1.10,00417," + udi + ",00-00-5E-00-53-3A,\"10.20.3.10, 2001:DB8::10\",FLOW LINK,gw-icu.stada.example.,AC-DE-48-FF-FE-00-03-10,ICU,Building 2,Room 14,infusion pump,2019-04,yes\r\n",
		"semicolons": "\ufeffsep=;\nInventarnummer;Hersteller;Typ;Firmware-Version;Serien-Nr.;UDI;MAC-Adresse;IP-Adresse;AE-Titel;Rechnername;EUI64;Abteilung;Gebäude;Raum;Geräteart;Herstellungsdatum;Geschützt\n" +
			"gw-icu;\"Norra\nMedical\";FlowLink;1.10;=\"00417\";" + udi + ";0000.5e00.533a;10.20.3.10 2001:db8::10;FLOW LINK;gw-icu.stada.example;ACDE48FFFE000310;ICU;Building 2;Room 14;infusion pump;04/2019;ja\n",
		"tabs": "N° d'inventaire\tFabricant\tModèle\tVersion logicielle\tN° de série\tIUD\tAdresse MAC\tAdresse IP\tTitre AE\tNom d'hôte\tEUI-64\tService\tBâtiment\tSalle\tType d'appareil\tDate de fabrication\tProtégé\n" +
			"gw-icu\tNorra Medical\tFlowLink\t1.10\t'00417\t" + udi + "\t00005E00533A\t::ffff:10.20.3.10;2001:db8::10\tFLOW LINK\tgw-icu.stada.example\tac:de:48:ff:fe:00:03:10\tICU\tBuilding 2\tRoom 14\tinfusion pump\t2019-04\toui\n",
		"json": `[{"id":"gw-icu","identity":{"manufacturer":"Norra Medical","model":"FlowLink","version":"1.10","serial":"00417","udi":"` + udi + `",
			"addresses":[{"kind":"eui64","value":"ACDE48FFFE000310"},{"kind":"mac","value":"00:00:5e:00:53:3a"},{"kind":"ip","value":"10.20.3.10"},{"value":"2001:db8::10","kind":"ip"},{"kind":"aet","value":"FLOW LINK"},{"kind":"host","value":"gw-icu.stada.example"}]},
			"ward":"ICU","building":"Building 2","room":"Room 14","class":"infusion pump","made":"2019-04","guarded":true}]`,
		"json in a map": `{"hospital":{"x":[1,2,{}]},"devices":[{"deviceId":"gw-icu","Vendor":"Norra Medical","modelName":"FlowLink","fwVersion":"1.10","serialNumber":"00417","UDI":"` + udi + `",
			"macAddress":"00005e00533a","ipAddresses":["10.20.3.10","2001:db8::10"],"aeTitle":"FLOW LINK","hostName":"gw-icu.stada.example","eui64":"acde48fffe000310",
			"department":"ICU","building":"Building 2","room":"Room 14","deviceType":"infusion pump","manufactureDate":"2019-04","guarded":"true"}]}`,
		"yaml": "# ours\ndevices:\n  - id: gw-icu\n    manufacturer: Norra Medical\n    model: FlowLink\n    version: 1.10\n    serial: \"00417\"\n    udi: '" + udi + "'\n    addresses: [00:00:5e:00:53:3a, 10.20.3.10, 2001:db8::10]\n    ae_title: FLOW LINK\n    eui64: ACDE48FFFE000310\n    host: gw-icu.stada.example\n" +
			"    ward: ICU\n    location: [Building 2, Room 14]\n    class: infusion pump\n    made: 2019-04\n    guarded: true\n",
		"yaml list": "- {id: gw-icu, maker: Norra Medical, model: FlowLink, version: '1.10', serial: 00417, udi: \"" + udi + "\"," +
			" mac: 00:00:5e:00:53:3a, ip: [10.20.3.10, '2001:db8::10'], aet: FLOW LINK, eui64: ACDE48FFFE000310, host: gw-icu.stada.example," +
			" ward: ICU, building: Building 2, room: Room 14, class: infusion pump, made: 2019-04, guarded: yes}\n",
	} {
		r, err := Read(strings.NewReader(in), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := same
		if diff := cmp.Diff([]Entry{want}, r.Entries, unexported, cmpopts.IgnoreFields(Entry{}, "Line")); diff != "" || len(r.Problems) > 0 {
			t.Errorf("%s: %v\n%s", name, r.Problems, diff)
		}
		if len(r.Unused) > 0 && name != "json" {
			t.Errorf("%s: unused %q", name, r.Unused)
		}
	}
}

func TestEncodings(t *testing.T) {
	const in = "Hersteller;Modell;Gebäude\nNörra;Flow 500;Süd\n"
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(in)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	latin := []byte{}
	for _, r := range in {
		latin = append(latin, byte(r))
	}
	big := bytes.Clone(wide)
	for i := 0; i < len(big); i += 2 {
		big[i], big[i+1] = big[i+1], big[i]
	}
	for name, b := range map[string][]byte{
		"UTF-8": []byte(in), "UTF-8 with a mark": []byte("\ufeff" + in), "Latin-1": latin,
		"UTF-16": wide, "UTF-16, upper byte first": big, "UTF-16 without a mark": wide[2:], "and with the upper byte first": big[2:],
	} {
		if Detect(b, "") != DeviceList || Detect(b[:len(b)-3], "") != DeviceList {
			t.Errorf("%s: is none", name)
		}
		if r := read(t, string(b)); len(r.Entries) != 1 || r.Entries[0].Manufacturer != "Nörra" || r.Entries[0].Location != "Süd" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// Windows-1252 has letters and marks where Latin-1 has control characters.
	if r := read(t, "Hersteller;Modell\n\x8aumava \x96 N\xf6rra;Flow \x84500\x93\n"); len(r.Problems) > 0 || r.Entries[0].Manufacturer != "Šumava – Nörra" || r.Entries[0].Model != "Flow „500“" {
		t.Errorf("%+v", r)
	}
	if r := read(t, "Hersteller;Modell;SN\nN\xf6rra;Flow\x81;1\n"); fmt.Sprint(r.Problems) != "[line 2, column 8: model: a control character]" {
		t.Error(r.Problems)
	}
}

// Lists as hospitals have them: each is read, and what was made of it told, or
// what is wrong is told with its line.
func TestHospitals(t *testing.T) {
	for name, tt := range map[string]struct{ in, columns, entries, told string }{
		"a title of three lines": {
			"Geräteliste der Klinik St. Ada\nStand: 01.03.2026;;;;\n\nInventarnummer;Hersteller;Modell/Typ;Station;Serien-Nr.;Kostenstelle\n1;Norra;Flow;ICU;S1;4711\n",
			"Inventarnummer=id Hersteller=manufacturer Modell/Typ=model Station=ward Serien-Nr.=serial number Kostenstelle=", "5:1 Norra Flow ICU S1", "",
		},
		"French": {
			"Code inventaire\tMarque\tModèle\tUnité fonctionnelle\tN° série\tMise en service\r\n1\tNorra\tFlow\tRéa\tS1\t2020\r\n",
			"Code inventaire=id Marque=manufacturer Modèle=model Unité fonctionnelle=ward N° série=serial number Mise en service=", "2:1 Norra Flow Réa S1", "",
		},
		"rows without anything": {"\n\n;;\nAsset tag;Manufacturer;Model\n;;\n1;Norra;Flow\n\n ; ;\t\n2;Norra;Flow\n;;\n", "Asset tag=id Manufacturer=manufacturer Model=model", "6:1 Norra Flow   9:2 Norra Flow", ""},
		"lines in quotes":       {"Asset tag,Manufacturer,\"Model\nname\",Remark\n1,\"Norra\r\nMedical\",\"Flow \"\"500\"\"\",\"a, b\n\nc\"\n2,Norra,Flow,\n", "Asset tag=id Manufacturer=manufacturer Model name=model Remark=", "3:1 Norra Medical Flow \"500\"   7:2 Norra Flow", ""},
		"a heading twice":       {"Asset tag,Manufacturer,Model,Serial,Serial,Remark,Remark,IP,IP\n1,Norra,Flow,,S2,a,b,10.0.0.1,10.0.0.2\n2,Norra,Flow,S3,S4,a,b,,\n", "Asset tag=id Manufacturer=manufacturer Model=model Serial=serial number IP=IP address Remark=", "2:1 Norra Flow  S2 3:2 Norra Flow  S3", "line 1, column 37: serial number: this heading is there twice; of a row that has both the first counts"},
		"headings on each page": {"Asset tag,Manufacturer,Model\n1,Norra,Flow\n\nAsset tag,Manufacturer,Model\n2,Norra,Flow\n", "Asset tag=id Manufacturer=manufacturer Model=model", "2:1 Norra Flow   5:2 Norra Flow", ""},
		"rows that end early":   {"Asset tag,Manufacturer,Model,Serial\n1,Norra\n2\n", "Asset tag=id Manufacturer=manufacturer Model=model Serial=serial number", "2:1 Norra 3:2", ""},
		"a serial number twice": {
			"Asset tag,Manufacturer,Model,Serial\n1,Norra,Flow,s1\n2,NORRA,flow,S1\n3,Norra,Link,S1\n4,Aeris,Flow,S1\n5,Norra,Flow,-\n6,Norra,Flow,-\n",
			"Asset tag=id Manufacturer=manufacturer Model=model Serial=serial number", "2:1 Norra Flow  s1 3:2 NORRA flow  S1 4:3 Norra Link  S1 5:4 Aeris Flow  S1 6:5 Norra Flow   7:6 Norra Flow",
			"line 3: serial number: another row has this serial number of the same product; one device is there twice, or one of them is wrong; both are kept",
		},
		"a UDI twice": { // the same product is no news, the same unit is
			"Asset tag,UDI\n1,04012345000016\n2,04012345000016\n3,(01)04012345000016(21)A\n4,(01)04012345000016(21)A\n5,(01)04012345000016(21)B\n",
			"Asset tag=id UDI=UDI", "2:1 3:2 4:3    A 5:4    A 6:5    B",
			"line 5: serial number: another row has this serial number of the same product; one device is there twice, or one of them is wrong; both are kept",
		},
		"old line ends": {"Asset tag,Manufacturer,Model\r1,Norra,Flow\r", "Asset tag=id Manufacturer=manufacturer Model=model", "2:1 Norra Flow", ""},
	} {
		r, err := Read(strings.NewReader(tt.in), "list.csv")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var columns, entries, told []string
		for _, c := range r.Columns {
			columns = append(columns, c.Heading+"="+c.Field)
		}
		for _, h := range r.Unused {
			columns = append(columns, h+"=")
		}
		for i := range r.Entries {
			e := &r.Entries[i]
			entries = append(entries, strings.TrimRight(fmt.Sprintf("%d:%s %s %s %s %s", e.Line, e.ID, e.Manufacturer, e.Model, e.Ward, e.Serial), " "))
		}
		for _, p := range r.Problems {
			told = append(told, p.Error())
		}
		squeezed := strings.NewReplacer("   ", " ", "  ", " ").Replace
		if got := strings.Join(columns, " "); got != tt.columns {
			t.Errorf("%s: %s", name, got)
		}
		if got := squeezed(strings.Join(entries, " ")); got != squeezed(tt.entries) {
			t.Errorf("%s: %s", name, got)
		}
		if got := strings.Join(told, "; "); got != tt.told {
			t.Errorf("%s: %s", name, got)
		}
		if Detect([]byte(tt.in), "") != DeviceList {
			t.Errorf("%s: not told for a list", name)
		}
	}
}

// Each row of bad is told with its place, and stops no other.
func TestProblems(t *testing.T) {
	const head = "id,manufacturer,model,serial,udi,mac,ip,aet,host,eui64,therapy,product code,made,guarded\n"
	const good = "pump-9,Norra Medical,Flow 500,,,,,,,,,,,\n"
	for _, tt := range []struct{ row, want string }{
		{"a,,M,,04012345000017,,,,,,,,,", "line 2, column 7: UDI: its check digit is wrong"},
		{"a,,M,,4.01235E+12,,,,,,,,,", "line 2, column 7: UDI: a spreadsheet rounded"},
		{"a,,M,,(01)04012345000016(99),,,,,,,,,", "line 2, column 7: UDI: UDI of GS1"},
		{"a,,M,,,ff:ff:ff:ff:ff:ff,,,,,,,,", "line 2, column 8: MAC address: no hardware address"},
		{"a,,M,,,00:00:5e:00:53,,,,,,,,", "line 2, column 8: MAC address: no hardware address"},
		{"a,,M,,,,10.20.3.0/24,,,,,,,", "line 2, column 9: IP address: no IP address"},
		{"a,,M,,,,224.0.0.1,,,,,,,", "line 2, column 9: IP address: no IP address"},
		{"a,,M,,,,,SEVENTEEN LETTERS,,,,,,", "line 2, column 10: AE title: no application entity title"},
		{"a,,M,,,,,,ward 3 pump!,,,,,", "line 2, column 11: host name: no host name"},
		{"a,,M,,,,,,,ACDE48FFFE0003,,,,", "line 2, column 12: EUI-64: no EUI-64"},
		{"a,,M,,,,,,,,pumping,,,", "line 2, column 13: therapy: no such therapy"},
		{"a,,M,,,,,,,,,FR2,,", "line 2, column 14: product code: a product code has three letters"},
		{"a,,M,,,,,,,,,,03/04/2017,", "line 2, column 15: date of manufacture: day or month first"},
		{"a,,M,,,,,,,,,,soon,", "line 2, column 15: date of manufacture: not a date"},
		{"a,,M,,,,,,,,,,,maybe", "line 2, column 16: guarded: neither yes nor no"},
		{"a,,M,,,,,,,,,,,,more", "line 2, column 17: more cells than columns"},
		{",Norra Medical,,,,,,,,,,,,", "line 2: names no device"},
		{`"a,,M,,,,,,,,,,,`, "line 2, column 1: a quote that is not closed"},
		{`a,"b"c,M,,,,,,,,,,,`, "line 2, column 3: text between a closing quote"},
		{"a,,M,,,,,,,,,,,\na,,M,,,,,,,,,,,", "line 3: id: another row has this id"},
		{"a,,\"M\n\n\",,,,,,,,pumping,,,", "line 4, column 10: therapy: no such therapy"},
		{"a,,M\x01,,,,,,,,,,,", "line 2, column 4: model: a control character"},
		{"a,,M," + strings.Repeat("s", 101) + ",,,,,,,,,,", "line 2, column 6: serial number: longer"},
	} {
		r := read(t, head+tt.row+"\n"+good)
		if len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.row, r.Problems, tt.want)
		}
		if n := len(r.Entries); n == 0 || r.Entries[n-1].ID != "pump-9" {
			t.Errorf("%q: the row after it is lost", tt.row)
		}
	}
	for in, want := range map[string]string{
		`[{"id":"a","model":"M"},"b",{"id":"c","model":"M","ip":"x"}]`:                           "[line 1, column 25: a device is a map of keys and values line 1, column 56: IP address: no IP address of one device]",
		"- id: a\n  model: M\n- b\n- id: c\n  model: M\n  ip: x\n":                               "[line 3, column 3: a device is a map of keys and values line 6, column 7: IP address: no IP address of one device]",
		"{\"devices\":\n[{\"id\":\"a\",\n\"model\":\"M\"},\n{\"id\":\"b\"},{\"ward\":\"ICU\"}]}": "[line 4: names no device: neither an id, nor a model, a serial number, a UDI or an address]",
	} {
		if r := read(t, in); fmt.Sprint(r.Problems) != want || len(r.Entries) != 2 {
			t.Errorf("%q: %v", in, r.Problems)
		}
	}
}

func TestNotList(t *testing.T) {
	for _, in := range []string{
		"", " \n", "hello", "id\npump-3\n", "name,born\na,b\n", "ward;location\nICU;3\n", "PK\x03\x04", "\x00\x01", "[]", "{}", "[1,2]", "3",
		`{"devices":{}}`, `{"devices":[]}`, `[{"id":"CVE-1","summary":"x"}]`, `{"bomFormat":"CycloneDX","components":[{"name":"x","version":"1"}]}`,
		`{"myelin":"0","schema":1,"devices":[{"id":"dev-1","manufacturer":"x","model":"y"}]}`,
		"code,class,therapy,worn,harm,manufacturer,model,udi\nFRN,,,,,a,b,\n", "cve,epss,percentile\nCVE-1,0.1,0.2\n",
		"allow:\n  - client: 10.20.1.5\n    server: 10.20.3.10\n", "SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", "dialect: 1\nname: x\n",
		`[{"id":"a","model":"M"}`, `[{"id":"a","model":`, strings.Repeat("[", 100), "[" + strings.Repeat(`{"id":`, 50),
		"- id: a\n  model: M\n  x: &a 1\n  y: *a\n", "- id: a\n\tmodel: M\n", "- id: a\n  model: [\n", "- - - - id: a\n        model: M\n",
		"- id: a\n  model: " + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "\n",
	} {
		r, err := Read(strings.NewReader(in), "x")
		if err == nil {
			t.Errorf("%.60q: %+v", in, r)
			continue
		}
		if strings.Contains(err.Error(), "CVE") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: %v", in, err)
		}
	}
	if _, err := Read(strings.NewReader("name,born\n"), "x"); !errors.Is(err, ErrNotList) {
		t.Error(err)
	}
	if _, err := Read(strings.NewReader(strings.Repeat(" ", maxListBytes+1)), "x"); err == nil {
		t.Error("larger than the bound")
	}
}

// What is worn keeps its secrets; what only stands beside a bed has none.
func TestWorn(t *testing.T) {
	r := read(t, "id,manufacturer,model,serial,udi,product code,therapy,class,worn,ward,location,owner,patient name,bd addr\n"+
		"1,H,Rhythm S,RS4-1,(01)04012345000016(21)RS4-1,NIK,,,,Cardiology,Bed 7,A. L.,Anna Lindqvist,00:00:5e:00:53:01\n"+
		"2,H,Studio,ST-2,,OSR,,,,Cardiology,Room 1,Lea,,\n"+
		"3,O,Dose One,OH1-3,,,insulin infusion,,,Clinic,,,,\n"+
		"4,T,Calm,TC-4,,,,neurostimulator,,Clinic,,,,\n"+
		"5,N,Flow 500,F5-5,,,drug infusion,,,ICU,Bed 3,,,\n"+
		"6,X,Temp,TP-6,,DTE,,,,ICU,,,,\n"+
		"7,X,Herz,HS-7,,,,Herzschrittmacher,,ICU,,,,\n"+
		"8,X,Belt,BE-8,,,monitoring,,yes,ICU,,,,\n"+
		"9,X,Prog,PR-9,,,pacing,clinic programmer,,ICU,,,,\n"+
		"10,X,Pump,PU-10,,LZG,,,no,ICU,,,,\n")
	worn := map[string]bool{"1": true, "3": true, "4": true, "7": true, "8": true}
	if len(r.Entries) != 10 || len(r.Problems) != 0 {
		t.Fatalf("%d %v", len(r.Entries), r.Problems)
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Worn != worn[e.ID] {
			t.Errorf("%s: worn is %v", e, e.Worn)
		}
		s := e.Shown()
		if got := s.Serial == "" && s.UDI.Serial == ""; got != e.Worn {
			t.Errorf("%s: hides is %v", e, got)
		}
		if e.Serial == "" || s.Model == "" || s.Ward == "" {
			t.Errorf("%s: lost what it joins by", e)
		}
	}
	first := &r.Entries[0]
	if s := first.Shown(); s.UDI != (device.UDI{Issuer: "GS1", DI: "04012345000016"}) || s.Location != "" || s.Owner != "" || first.Therapy != device.Pacing || first.Class != "CRT defibrillator" {
		t.Errorf("%+v of %+v", s, first)
	}
	for _, c := range r.Columns {
		if (c.Heading == "patient name" || c.Heading == "bd addr") != (c.Field == PatientColumn) {
			t.Errorf("%+v", c)
		}
	}
	if s := fmt.Sprint(r.Entries) + fmt.Sprintf("%+v %s", *first, first.LogValue()); strings.Contains(s, "RS4") || strings.Contains(s, "Lindqvist") || strings.Contains(s, "OH1") {
		t.Error("printing an entry tells its serial number")
	}
	own, err := device.ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model\nXQQ,belt,monitoring,yes,,N,Flow 500\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Classify(own)
	if e := r.Entries[4]; !e.Worn || e.ProductCode != "XQQ" {
		t.Errorf("%+v is not by the user's table", e)
	}
	if r.Entries[9].Worn {
		t.Error("the register's own column is overruled")
	}
}

func TestDates(t *testing.T) {
	for in, want := range map[string]string{
		"2017-04-03": "2017-04-03", "2017-04": "2017-04", "2017": "2017", "3.4.2017": "2017-04-03", "03.04.2017": "2017-04-03", "20170403": "2017-04-03",
		"25/04/2017": "2017-04-25", "04/25/2017": "2017-04-25", "4/4/2017": "2017-04-04", "2017-04-03T00:00:00Z": "2017-04-03", "2017-04-03 00:00": "2017-04-03",
		"3/4/2017": "", "31.02.2017": "", "13/13/2017": "", "x": "", "0": "", "2017-13": "",
	} {
		if got, err := parseDate(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

// Every heading of the table is one that plain writes, and stands there once.
func TestHeadings(t *testing.T) {
	seen := map[string]bool{}
	for f := noField + 1; f < fieldCount; f++ {
		if fields[f].name == "" || fields[f].set == nil && f != fieldPatient {
			t.Errorf("field %d is not whole", f)
		}
		for h := range strings.SplitSeq(fields[f].headings, "|") {
			if plain(h) != h || seen[h] {
				t.Errorf("%q is not plain, or there twice", h)
			}
			seen[h] = true
		}
	}
	for in, want := range map[string]field{
		"Serial number (S/N)": fieldSerial, "macAddress": fieldMAC, "MAC_ADDRESS": fieldMAC, "Geräte-Nr.": fieldID, "N° de série": fieldSerial,
		" AE-Title ": fieldAET, "IPv4-Adresse": noField, "Remarks": noField, "": noField, "Nom du patient": fieldPatient, "FQDN": fieldHost,
		"Modell/Typ": fieldModel, "Modell / Version": noField, "S/N": fieldSerial, "x/y": noField,
	} {
		if got := fieldOf(in); got != want {
			t.Errorf("%q: %v", in, fields[got].name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("id;Hersteller;Modell;IP\na;b;\"c\nd\";10.20.3.10\n")
	f.Add("Asset Tag,Model,UDI,MAC\r\n\"a\"\"\",b,04012345000016,00:00:5e:00:53:01\r\n")
	f.Add(`{"devices":[{"id":"a","model":"b","addresses":[{"kind":"ip","value":"10.0.0.1"}]}]}`)
	f.Add("- id: a\n  model: b\n  addresses: [10.0.0.1]\n- {id: c, serial: |\n  x}\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Read(strings.NewReader(s), "x")
		if err != nil {
			if r != nil || len(err.Error()) > 300 {
				t.Errorf("%v %v", r, err)
			}
			return
		}
		again, err := Read(strings.NewReader(s), "x")
		if diff := cmp.Diff(r, again, unexported, cmp.Comparer(func(a, b Problem) bool { return a.Error() == b.Error() })); err != nil || diff != "" {
			t.Error(err, diff)
		}
		lines := strings.Count(s, "\n") + strings.Count(s, "\r") + 1
		for _, e := range r.Entries {
			if e.Line < 1 || e.Line > lines || len(e.Addresses) > maxAddresses || e.ID == "" && e.Model == "" && e.Serial == "" && e.UDI.DI == "" && len(e.Addresses) == 0 {
				t.Errorf("%+v", e)
			}
		}
		for _, p := range r.Problems {
			if p.Line < 1 || p.Line > lines || p.Err == nil || p.Column < 0 || len(p.Error()) > 300 {
				t.Errorf("%+v", p)
			}
		}
	})
}

// What people call a device says what it does to a body.
func TestTherapyOfWords(t *testing.T) {
	for therapy, classes := range map[device.Therapy]string{
		device.DrugInfusion: "Syringe pump|syringe pumps|LVP pump|Infusion PCU|Infusion pump|Pump, infusion|PCA pump|Spritzenpumpe|Infusionspumpen|Perfusor|Pompe à perfusion|Pousse-seringue|INFUSION DEVICE|feeding pump|" +
			"Pumps",
		device.Ventilation:        "transport ventilator|Ventilators|ICU Ventilator|Beatmungsgerät|Respirateur|Ventilateur de réanimation|CPAP|Ventilator with monitor",
		device.Anaesthesia:        "anesthesia machine|Anaesthesia workstation|Narkosegerät|Anästhesiegeräte|Appareil d'anesthésie|anesthesia monitor",
		device.Monitoring:         "monitor|Monitors|patient monitor|Patient monitor, colour display|fetal monitor|vital signs|Vital Signs Monitor|ECG cart|EEG|telemetry receiver|pulse oximeter|Patientenmonitor|Überwachungsmonitor|Moniteur patient|central station|Blutdruckmessgerät|CTG",
		device.Imaging:            "CT|CT scanner|MRI|MR|MRT|IRM|Ultrasound|ultrasound systems|X-ray|Röntgengerät|Ultraschallgerät|Échographe|Scanner|Mammography|C-Arm",
		device.Defibrillation:     "defib|Defibs|AED|AEDs|Monitor/Defibrillator|Defibrillator|Défibrillateur|ICD|Implantierbarer Kardioverter",
		device.InsulinInfusion:    "insulin pump|Insulin pumps|Insulinpumpe|Pompe à insuline",
		device.Pacing:             "pacemaker programmer|Pacemakers|external pacer|Herzschrittmacher|Stimulateur cardiaque",
		device.Dialysis:           "dialysis machine|Dialysegerät|Hémodialyse|CRRT",
		device.CirculatorySupport: "balloon pump|LVAD|ECMO|Herz-Lungen-Maschine|heart-lung machine|IABP",
		device.Neurostimulation:   "neurostimulator|spinal cord stimulators|Hirnstimulator",
		device.Radiotherapy:       "linear accelerator|Linac|Bestrahlungsgerät|Accélérateur linéaire",
		device.Laboratory:         "blood gas analyzer|Analysegerät|Analyseur|glucose meter|Centrifuge",
		device.Records:            "PACS|archive|RIS",
		device.Hearing:            "cochlear implant",
		device.NoTherapy: "bed|software|computer monitor|display monitor|breast pump|suction pump|infusion stand|barcode scanner|tube system|transmitter|viewer|wall system|programmer|ventilator tester|" +
			"electronics|stand|direct|acted|ICU|infant warmer|infusion warmer",
	} {
		for class := range strings.SplitSeq(classes, "|") {
			e := Entry{Class: class}
			if e.Classify(nil); e.Therapy != therapy {
				t.Errorf("%q: %q, want %q", class, e.Therapy, therapy)
			}
		}
	}
	if e := (Entry{Identity: device.Identity{Model: "MEDFUSION 4000 SYRINGE PUMP"}}); func() bool { e.Classify(nil); return e.Therapy != device.DrugInfusion }() {
		t.Errorf("a model that says what it is: %q", e.Therapy)
	}
	if e := (Entry{Class: "AED", Therapy: device.NoTherapy}); func() bool { e.Classify(nil); return e.Worn }() {
		t.Error("an AED is worn by nobody")
	}
}

// A maintenance system's abbreviations, and what it writes below the headings.
func TestAbbreviations(t *testing.T) {
	r := read(t, "Asset #;Mfr;Model;Descr.;S/N;SW Rev;Dept;Bldg/Room;FW\n"+
		"# Exported from a system 27.11.2026 09:12 by m.mustermann\n"+
		"# Exported; by Max Mustermann\n"+
		"# Exported by Max Mustermann;;;;;;;;\n"+
		"#12;Norra;Flow 500;Syringe pump;F-1;2.1;ICU;1.02;\n"+
		"B-2;Norra;Flow 500;Syringe pump;F-2;2.1;ICU;1.02;\n"+
		"Printed by Max Mustermann;;;;;;;;\n")
	if len(r.Entries) != 2 || len(r.Unused) != 0 || len(r.Lacks()) != 0 {
		t.Fatalf("%d entries, unused %q, lacks %q", len(r.Entries), r.Unused, r.Lacks())
	}
	e := &r.Entries[0]
	if e.ID != "#12" || e.Manufacturer != "Norra" || e.Class != "Syringe pump" || e.Serial != "F-1" || e.Version != "2.1" || e.Ward != "ICU" || e.Location != "1.02" || e.Therapy != device.DrugInfusion {
		t.Errorf("%+v", e)
	}
	if len(r.Problems) != 1 || r.Problems[0].Line != 7 || strings.Contains(fmt.Sprintf("%+v", r), "Mustermann") {
		t.Errorf("%+v", r)
	}
	if f := fieldOf("Manuf."); f != fieldManufacturer {
		t.Error("Manuf.")
	}
	if got := strings.Join(read(t, "Asset tag,Model,Room\na,Flow,1\n").Lacks(), " "); got != "manufacturer version" {
		t.Errorf("lacks %q", got)
	}
}
