// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"context"
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
)

// The products are the ward's, and one that Myelin's own table has no code of;
// the names of the fields are the authorities'.
const (
	gudidNames = "PrimaryDI|brandName|versionModelNumber|catalogNumber|companyName\n" +
		"09521000002104|V2|V2-1|A-V2|Aeris\n09521000008105|Ember|E1|E-1|Tessel Neuro\n"
	gudidCodes     = "PrimaryDI|productCode|productCodeName\n09521000002104|CBK|x\n09521000008105|QZZ|x\n"
	classification = `{"meta":{},"results":[{"product_code":"QZZ","device_name":"Stimulator, Ember","device_class":"3","implant_flag":"Y","life_sustain_support_flag":"N","regulation_number":"882.5880"}]}`
	recall         = `{"meta":{},"results":[{"cfres_id":"900101","product_res_number":"Z-0101-2026","event_date_initiated":"2026-01-12","event_date_posted":"2026-02-03","recall_status":"Open, Classified","product_code":"FRN",
		"product_description":"Flow 500 infusion pump","code_info":"UDI-DI: 09521000000506; all serial numbers with software version 2.1.4 and prior","recalling_firm":"Norra Medical","reason_for_recall":"Accepts orders without authentication.","action":"Update to 2.2.0."}]}`
)

func registeredAs(t *testing.T, a *report.Assessment, name string) *device.Device {
	t.Helper()
	for i := range a.Devices {
		if a.Devices[i].Name == name {
			return &a.Devices[i]
		}
	}
	t.Fatalf("no device %s", name)
	return nil
}

// What the authorities say of products is known before anything is classified,
// whatever the files are called.
func TestFeeds(t *testing.T) {
	files := map[string]string{
		"a-codes.txt": gudidCodes, "b-names.txt": gudidNames, "classes.json": classification, "z.json": recall,
		"devices.csv": "Inventarnummer;Hersteller;Modell;Softwarestand;UDI;Seriennummer;Wartung\n" +
			"vent-3;Aeris;V2;3.3;;AV2-000932;2026\nstim-9;Tessel Neuro;Ember;1.0;;EM-2207;2026\n" +
			"pump-3;Norra Medical;Flow 500;2.1.4;09521000000506;;2026\npump-4;Norra Medical;Flow 500;2.2.0;09521000000506;;2026\n",
	}
	a := assessFiles(t, Config{}, files)
	for name, want := range map[string]string{"a-codes.txt": "gudid 2", "b-names.txt": "gudid 2", "classes.json": "classification 1", "z.json": "recalls 1", "devices.csv": "register 4"} {
		if got := kinds(a)[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if d := registeredAs(t, a, "vent-3"); d.ProductCode != "CBK" || d.Therapy != device.Ventilation || !d.Medical || d.Serial != "AV2-000932" {
		t.Errorf("%+v", d)
	}
	// FDA says that it is implanted: its serial number would lead to the patient.
	if d := registeredAs(t, a, "stim-9"); d.ProductCode != "QZZ" || d.Serial != "" {
		t.Errorf("code %q, and is its serial number shown? %v", d.ProductCode, d.Serial != "")
	}
	delete(files, "classes.json")
	if d := registeredAs(t, assessFiles(t, Config{}, files), "stim-9"); d.Serial == "" {
		t.Error("what FDA did not say was known")
	}
	var recalled []string
	for _, f := range a.Findings {
		if f.Kind == finding.RecalledProduct {
			recalled = append(recalled, f.Device)
			if f.Certainty == finding.Exact && f.Device == registeredAs(t, a, "pump-4").ID {
				t.Error("a version that is not recalled")
			}
		}
	}
	if !strings.Contains(strings.Join(recalled, " "), registeredAs(t, a, "pump-3").ID) {
		t.Errorf("recalled: %v", recalled)
	}

	// How columns were understood is shown.
	var text bytes.Buffer
	if err := report.Text(&text, a); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{"manufacturer from Hersteller", "version from Softwarestand", "nothing from Wartung"} {
		if !strings.Contains(said, want) {
			t.Errorf("not in the answer: %s\n%s", want, text.String())
		}
	}
}

// What is wrong with a register is told with the first line and how much more there
// is; a table that is no list of devices, with what one is.
func TestRegisterTold(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		content, kind, want string
		items               int
	}{
		"one.csv":    {"Asset tag,Model,IP\n1,Flow,10.0.0.1\n2,Flow,x\n", "register", "line 3, column 8: IP address: no IP address of one device", 2},
		"two.csv":    {"Asset tag,Model,IP\n1,Flow,y\n2,Flow,x\n", "register", "line 2, column 8: IP address: no IP address of one device; in all 2 such places", 2},
		"none.csv":   {"Wert;Einheit\n1;kg\n", "", register.ErrNotList.Error(), 0},
		"latin.csv":  {"Hersteller;Modell;Ger\xe4te-Nr.\nN\xf6rra \x96 Medical;Flow;1\n", "register", "", 1},
		"UTF-16.csv": {"\xff\xfeM\x00a\x00k\x00e\x00\t\x00M\x00o\x00d\x00e\x00l\x00\n\x00N\x00\t\x00F\x00\n\x00", "register", "", 1},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Run(context.Background(), []string{path}, Config{Now: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if in := a.Inputs[0]; in.Kind != tt.kind || in.Error != tt.want || in.Items != tt.items {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

// What a register does not tell, and the answer depends on, is said first.
func TestRegisterWarned(t *testing.T) {
	for content, want := range map[string]string{
		"Asset tag,Maker,Model,Version,Type\n1,N,F,1,syringe pump\n":                        "",
		"Asset tag,Maker,Model,Version,Type\n1,N,F,1,syringe pump\n2,N,G,1,bed\n3,N,G,1,\n": "2 of 3 registered devices have no known therapy: their harm is unknown",
		"Asset tag,Model,Type\n1,F,syringe pump\n":                                          "no column was understood as manufacturer or version, without which what is published can hardly be held against a device",
	} {
		a := assessFiles(t, Config{}, map[string]string{"devices.csv": content, "more.csv": "Asset tag,Maker,Model,Version,Type\n9,O,H,1,syringe pump\n"})
		for _, in := range a.Inputs {
			if filepath.Base(in.Path) == "devices.csv" && in.Warning != want || filepath.Base(in.Path) == "more.csv" && in.Warning != "" {
				t.Errorf("%s: %q", in.Path, in.Warning)
			}
		}
		var text bytes.Buffer
		if err := report.Text(&text, a); err != nil {
			t.Fatal(err)
		}
		head := strings.Join(strings.Fields(text.String()[:min(text.Len(), 500)]), " ")
		if want != "" && !strings.Contains(head, want) {
			t.Errorf("not at the top:\n%s", text.String())
		}
	}
}

// Whatever the files are called, they are read before anything is classified by
// them, and what they say counts more than what the register's words are like.
func TestFeedsOrder(t *testing.T) {
	const fed = `{"meta":{},"results":[{"product_code":"QZZ","device_name":"Ventilator, Ember","device_class":"3","implant_flag":"N","life_sustain_support_flag":"N","regulation_number":"868.5895"}]}`
	for _, names := range [][]string{{"a", "b", "c", "d"}, {"d", "c", "b", "a"}, {"b", "d", "a", "c"}} {
		a := assessFiles(t, Config{}, map[string]string{
			names[0] + ".csv":  "Asset tag,Manufacturer,Model,Class\nx-1,Tessel Neuro,Ember,infusion pump\n",
			names[1] + ".json": fed, names[2] + ".txt": gudidNames, names[3] + ".txt": gudidCodes,
		})
		if d := registeredAs(t, a, "x-1"); d.ProductCode != "QZZ" || d.Therapy != device.Ventilation || d.Class != "infusion pump" {
			t.Errorf("%v: %+v", names, d)
		}
	}
}

// A recall that names a device identifier and versions says nothing of others
// that have the same identifier.
func TestRecallVersions(t *testing.T) {
	const di = "09521000000506"
	for said, want := range map[string][]string{
		"UDI-DI: " + di + "; all serial numbers with software version 2.1.4 and prior": {"old exact", "older exact", "undated review"},
		"UDI-DI: " + di + "; software version 2.1.4":                                   {"old exact", "undated review"},
		"UDI-DI: " + di + "; serial numbers F5-1, F5-2":                                {"new review", "old review", "older review", "undated review"},
		"UDI-DI: " + di: {"new review", "old review", "older review", "undated review"},
	} {
		a := assessFiles(t, Config{}, map[string]string{
			"recall.json": strings.Replace(recall, "UDI-DI: 09521000000506; all serial numbers with software version 2.1.4 and prior", said, 1),
			"devices.csv": "Asset tag,Manufacturer,Model,Software version,UDI\nolder,Norra Medical,Flow 500,2.0," + di + "\nold,Norra Medical,Flow 500,2.1.4," + di + "\nnew,Norra Medical,Flow 500,2.2.0," + di + "\nundated,Norra Medical,Flow 500,," + di + "\n",
		})
		names := map[string]string{}
		for _, d := range a.Devices {
			names[d.ID] = d.Name
		}
		var got []string
		for _, f := range a.Findings {
			if f.Kind == finding.RecalledProduct {
				got = append(got, names[f.Device]+" "+f.Certainty)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", said, diff)
		}
	}
}

// The catalogue of the hospital itself is not lost, and learns.
func TestFeedsIntoCatalogue(t *testing.T) {
	c, err := device.ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model,udi\nFRN,,,,,Aeris,V2,\n"))
	if err != nil {
		t.Fatal(err)
	}
	a := assessFiles(t, Config{Catalogue: c}, map[string]string{
		"device.txt": gudidNames, "productCodes.txt": gudidCodes,
		"devices.csv": "Asset tag,Manufacturer,Model\nvent-3,Aeris,V2\n",
	})
	if d := registeredAs(t, a, "vent-3"); d.ProductCode != "FRN" {
		t.Errorf("code %q: the hospital's own row does not count", d.ProductCode)
	}
	if got := c.CodeOf("09521000008105", "", ""); got != "QZZ" {
		t.Errorf("code %q", got)
	}
}

// Of the whole of AccessGUDID only what the registers may mean is kept.
func TestFeedsWanted(t *testing.T) {
	d := documents{entries: []register.Entry{{Identity: device.Identity{Manufacturer: "Norra Medical", Model: "Flow 500"}}, {Identity: device.Identity{UDI: device.UDI{DI: "09521000008105"}}}}}
	has := d.has()
	for _, tt := range []struct {
		di, company string
		want        bool
	}{{"1", "NORRA MEDICAL INC.", true}, {"2", "Norra Medical Inc", true}, {"3", "Aeris", false}, {"3", "", false}, {"09521000008105", "Tessel Neuro", true}} {
		for range 2 { // asked again
			if got := has(tt.di, tt.company, "", ""); got != tt.want {
				t.Errorf("%s %s: %v", tt.di, tt.company, got)
			}
		}
	}
}

// A part whose support has ended is told of, on the day after and not before.
func TestUnsupportedComponent(t *testing.T) {
	bom := strings.Replace(fileOf(t, "flowlink-1.8.cdx.json"), `"components": [`, `"components": [
		{"type":"operating-system","bom-ref":"win7","supplier":{"name":"Microsoft"},"name":"Windows 7","version":"6.1.7601","properties":[{"name":"cdx:lifecycle:milestone:endOfSupport","value":"2020-01-14"}]},`, 1)
	for day, want := range map[string]int{"2020-01-13": 0, "2020-01-14": 0, "2020-01-15": 1, "2026-03-03": 1} {
		now, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		a := assessFiles(t, Config{Now: now}, map[string]string{
			"link.cdx.json": bom, "devices.csv": "Asset tag,Manufacturer,Model,Software version,Therapy\ngw-icu,Norra Medical,FlowLink,1.8,drug infusion\ngw-2,Norra Medical,FlowLink,1.8,drug infusion\n",
		})
		n := 0
		for _, f := range a.Findings {
			if f.Kind != finding.UnsupportedComponent {
				continue
			}
			if n++; f.Component != "Windows 7 6.1.7601" || f.Product != "Norra Medical FlowLink 1.8" || len(f.Why) != 1 || f.Why[0] != "support ended on 2020-01-14" {
				t.Errorf("%+v", f)
			}
		}
		if n != want {
			t.Errorf("on %s: %d findings, want %d", day, n, want)
		}
	}
}

// What was written for Myelin, or by it, is no register, though it lists devices.
func TestNoRegister(t *testing.T) {
	var answer bytes.Buffer
	if err := report.JSON(&answer, assessFiles(t, Config{}, map[string]string{"devices.csv": gatewayRegister})); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer.String(), "FlowLink") {
		t.Fatal("the answer has no device")
	}
	dialect, err := os.ReadFile("../proto/radio/dialects/okapi-classic.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a := assessFiles(t, Config{}, map[string]string{
		"pump.yaml":     strings.Replace(string(dialect), "okapi-classic", "okapi-own", 1),
		"monday.json":   answer.String(),
		"spaced.json":   "\n" + strings.Replace(answer.String(), ":", " : ", 1),
		"baseline.yaml": "allow:\n  - client: 10.20.1.5\n    server: 10.20.3.10\n    protocol: hl7\nguards:\n  - device: 10.20.3.10\n    guard: 10.20.3.5\ndestinations: [ADAPACS]\n",
		"codes.csv":     "code,class,therapy,worn,harm,manufacturer,model,udi\nFRN,,,,,Norra Medical,Flow 500,\n",
		"aliases.yaml":  "makers:\n  - name: Norra Medical\n    same: [Norra]\nproducts:\n  - maker: Norra Medical\n    name: Flow 500\n    same: [F500]\n",
		"events.json":   `{"time":"2026-03-03T06:00:00Z","kind":"session","device":{"manufacturer":"Norra Medical","model":"FlowLink"}}` + "\n" + `{"time":"2026-03-03T06:00:00Z","kind":"session"}` + "\n",
	})
	for name, kind := range kinds(a) {
		if kind != "other 0" && (name != "pump.yaml" || !strings.HasPrefix(kind, "dialect ")) {
			t.Errorf("%s: %s", name, kind)
		}
	}
	if len(a.Devices) > 0 {
		t.Errorf("%d devices", len(a.Devices))
	}
}
