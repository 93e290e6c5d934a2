// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
)

// fleet is a register that nobody has: products that CISA's medical advisories
// name, beside neighbours that they do not mean. What is expected was decided
// by reading the advisories. Columns: manufacturer, model, version, operating
// system, distributed, and the advisories with the certainty of each.
var fleet = []struct{ maker, model, version, os, distributed, want string }{
	{"Smiths Medical", "Medfusion 4000", "1.5", "", "", "17-250-02A exact"},
	{"Smiths Medical ASD, Inc.", "Medfusion 4000 Syringe Pump", "1.7.0", "", "", ""}, // newer
	{"Smiths Medical", "Medfusion 3500", "1.5", "", "", ""},                          // another model
	{"ICU Medical", "Medfusion® 4000", "1.6", "", "", "17-250-02A likely"},           // bought Smiths Medical
	{"Baxter", "Medfusion 4000", "1.5", "", "", ""},                                  // another maker
	{"Smiths Medical", "Medfusion 4000", "", "", "", "17-250-02A review"},            // which version?
	{"", "Medfusion 4000", "1.5", "", "", "17-250-02A review"},                       // whose?

	{"BD", "Alaris PC Unit 8015", "9.33.1", "", "", "20-317-01 exact, 23-194-01 exact"},
	{"Becton, Dickinson and Company", "BD Alaris PCU Model 8015", "12.3.1", "", "", ""}, // newer than both
	{"BD", "Alaris PC Unit", "12.1", "", "", "20-170-06 exact, 23-194-01 review"},       // an 8015?
	{"CareFusion", "Alaris GS", "2.3.6", "", "", "18-235-01 likely, 19-164-01 review"},  // predecessor; beside a gateway?
	{"BD", "Alaris GH", "2.3.7", "", "", ""},                                            // newer
	{"BD", "Alaris Gateway Workstation", "1.1.6", "", "", "19-164-01 exact"},            //
	{"GE Healthcare", "Alaris PC Unit", "9.33", "", "", "20-343-01 exact"},              // under GE in CISA's list, so that it is
	{"BD", "Pyxis MedStation ES", "1.7.2", "", "", "18-114-01 exact, 22-062-01 exact, 22-151-01 exact"},
	{"BD", "Synapsys", "4.20 SR1", "", "", "22-151-02 exact"},
	{"BD", "Synapsys", "4.20 SR2", "", "", ""},

	{"Philips", "IntelliVue MX450", "M.00.03", "", "", "18-156-01 review"},       // "X3/MX100 for Rev M only"
	{"Philips Healthcare", "IntelliVue MP70", "L.00", "", "", "18-156-01 exact"}, //
	{"Philips", "IntelliVue MP70", "N.00.01", "", "", ""},                        // newer
	{"Koninklijke Philips N.V.", "IntelliVue MX800", "Rev. K.10", "", "", "18-156-01 exact"},
	{"Philips", "Avalon FM30", "J.3", "", "", "18-156-01 exact"},
	{"Philips", "Avalon FM20", "K.0", "", "", ""}, // newer
	{"Philips", "IntelliVue Information Center iX", "B.02", "", "", "18-233-01 exact"},
	{"Philips", "IntelliVue Information Center iX", "C.01", "", "", ""},
	{"Philips", "PageWriter TC50", "A.07.01", "", "", "18-228-01 review"}, // "< May 2018" of what?
	{"Philips", "PageWriter TC35", "A.07.01", "", "", ""},
	{"Philips", "Alice 6 LDx", "R8.0.2", "", "", "18-086-01 review"}, // named in the title only
	{"Philips", "Gemini TF 64", "", "", "", "21-084-01 likely"},
	{"Philips", "Gemini TF 128", "", "", "", ""},
	{"Phillips", "IntelliSpace Cardiovascular", "2.3.0", "", "", "17-318-01 exact, 18-025-01 exact"},
	{"Philips", "IntelliSpace Cardiovascular", "3.1", "", "", ""},
	{"Philips", "Xcelera", "R4.1L1", "", "", "17-318-01 exact"},
	{"Philips", "IntelliSpace Portal", "8.0.2", "", "", "18-058-02 exact"},
	{"Philips", "IntelliSpace Portal", "9.0.1", "", "", ""},
	{"Philips", "Vue PACS", "12.2.8.400", "", "", "21-187-01 exact, 24-200-01 exact"},
	{"Carestream Health", "Vue PACS", "12.2.8.410", "", "", "21-187-01 likely"}, // sold to Philips; mended for the second

	{"GE Medical Systems", "B450", "2.1", "", "", "20-023-01 exact"},
	{"GE", "CARESCAPE B450", "2.0.7", "", "", "20-023-01 likely"},
	{"GE Healthcare", "B650", "3.1", "", "", ""},
	{"Mindray", "B650", "1.2", "", "", ""},
	{"GE Healthcare", "Discovery NM/CT860", "1.0", "", "", "20-343-01 exact"},
	{"Siemens Healthineers", "Discovery NM/CT 860", "1.0", "", "", ""},
	{"GE Healthcare", "Discovery XR656 Plus", "", "", "", "18-037-02 exact, 20-343-01 exact"},
	{"GE Healthcare", "Xeleris", "3.1", "", "", "18-037-02 exact, 20-343-01 exact"},
	{"GE Healthcare", "Xeleris", "4.0", "", "", "20-343-01 exact"}, // the first names 1.0 to 3.1

	{"Welch Allyn", "Connex Spot Monitor", "1.52", "", "", "24-151-02 likely"}, // the first is before 1.52
	{"Hillrom", "Welch Allyn Connex Spot Monitor (CSM)", "1.51", "", "", "21-152-01 exact, 24-151-02 likely"},
	{"Baxter", "Connex Spot Monitor", "1.53", "", "", ""},
	{"Innokas", "VC150", "1.7.15", "", "", ""},
	{"Contec Medical Systems Co., Ltd.", "CMS8000", "", "", "", "22-244-01 likely"},
	{"Hamilton Medical", "HAMILTON-T1", "2.2.3", "", "", "21-047-01 exact"},
	{"B. Braun", "SpaceCom", "L80", "", "", "17-082-02 review, 20-296-02 review, 21-294-01 review"},

	{"Medtronic", "MyCareLink Patient Monitor 24950", "", "", "", "18-179-01 exact, 18-219-01 exact, 19-080-01 exact"},
	{"Medtronic", "MyCareLink Smart 25000", "", "", "", "20-345-01 likely"},
	{"Medtronic", "MiniMed 640G", "", "", "", "22-263-01 review"}, // four of its models
	{"Medtronic", "MiniMed 640G MMT-1750", "", "", "", ""},
	{"Abbott", "Fortify Assura", "", "", "2017-05-01", "18-107-01 exact"},
	{"St. Jude Medical", "Ellipse", "", "", "2018-06-01", ""}, // later
	{"Abbott Laboratories", "Quadra Assura MP", "", "", "", "18-107-01 review"},
}

func icsma(t testing.TB) (docs []*advisory.Document) {
	t.Helper()
	files, _ := filepath.Glob("../../shared/advisories/csaf/icsma/*.json")
	if len(files) == 0 {
		t.Skip("CISA's medical advisories are not there: ../../shared/advisories/csaf/icsma")
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := advisory.Read(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d...)
	}
	return docs
}

// TestFleet: a register of sixty devices has exactly the expected hits of all of
// CISA's medical advisories, and no other.
func TestFleet(t *testing.T) {
	docs := icsma(t)
	if len(fleet) != 60 {
		t.Errorf("the fleet has %d devices", len(fleet))
	}
	x := NewIndex(nil)
	for _, row := range fleet {
		x.AddDevice(&register.Entry{Identity: device.Identity{Manufacturer: row.maker, Model: row.model, Version: row.version, OS: row.os}, Distributed: row.distributed})
	}
	got := make([]map[string]Certainty, len(fleet))
	why := make([]map[string][]string, len(fleet))
	for i := range got {
		got[i], why[i] = map[string]Certainty{}, map[string][]string{}
	}
	for _, d := range docs {
		for _, h := range x.Affected(d) {
			if len(h.Why) == 0 {
				t.Errorf("%s: a hit without a reason", d.ID)
			}
			for _, i := range h.Devices.ToArray() {
				id := strings.TrimPrefix(d.ID, "ICSMA-")
				if h.Certainty.rank() > got[i][id].rank() {
					got[i][id], why[i][id] = h.Certainty, h.Why
				}
			}
		}
	}
	for i, row := range fleet {
		want := map[string]Certainty{}
		for s := range strings.SplitSeq(row.want, ", ") {
			if id, c, ok := strings.Cut(s, " "); ok {
				want[id] = Certainty(c)
			}
		}
		var ids []string
		for id := range want {
			ids = append(ids, id)
		}
		for id := range got[i] {
			if want[id] == "" {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		for _, id := range ids {
			if got[i][id] != want[id] {
				t.Errorf("%s %s %s: %s is %q, want %q; %s", row.maker, row.model, row.version, id,
					cmp.Or(got[i][id], "not hit"), cmp.Or(want[id], "not hit"), strings.Join(why[i][id], "; "))
			}
		}
	}
}

// neighbours are products beside those that the advisories name: of other makers,
// other models of a family, newer versions.
const neighbours = `
Mindray|Medfusion 4000|1.5
Philips|Alaris PC Unit|9.33
Siemens|Optima CT520|
Carestream|Optima 520|
Mindray|Infinity Delta|
Getinge|Delta XL|
Bosch|Infinity Delta|
Samsung|Essential|
Volvo|Current|
Samsung|Revolution CT|
BD|Alaris 8100|9.33
BD|Alaris PC Unit 8000|9.5
BD|Alaris Pump Module 8100|9.33
BD|Pyxis|
BD|Alaris|
Philips|IntelliVue|
Philips|IntelliVue MX40|B.06
Philips|IntelliVue MX850|M.0
Philips|IntelliVue MX100|L.0
Philips|Efficia CM120|
Philips|Azurion 7|
GE|Discovery|
GE|Discovery MI Gen 2|
GE|Optima|
GE|Optima CT660|
GE|Revolution Ascend|
GE|Signa|
GE|SIGNA Architect|
GE|SIGNA Premier|
GE|Innova 4200|
GE|LOGIQ E10|R3
GE|LOGIQ P9|
GE|Vivid E95|
GE|CARESCAPE B850|3.1
GE|CARESCAPE B450|1.2
GE|CARESCAPE B125|2.0
GE|CARESCAPE ONE|
GE|MAC 5500|
GE|Dash 4000|
Abbott|Gallant|
Abbott|Assurity|
Abbott|FreeStyle Libre 2|
Medtronic|Evera|
Medtronic|Cobalt XT|
Medtronic|MiniMed 780G|
Medtronic|Micra|
Baxter|Novum IQ|
Baxter|AK 98|
Baxter|Prismax|3.1
Fresenius Kabi|Agilia VP|
Fresenius Medical Care|5008|
Fresenius Medical Care|Agilia Partner|3.3.0
Dräger|Evita V500|
Dräger|Infinity Acute Care System M540|
Hamilton Medical|HAMILTON-T1|2.2.4
Hamilton Medical|HAMILTON-G5|2.2
B. Braun|Perfusor Space|
B. Braun|Infusomat Space|
B. Braun|Dialog+|
Hospira|Plum 360|
Contec|CMS50D|
Contec|CMS6000|
Roche|cobas 8000|
Roche|Accu-Chek Guide|
Spacelabs|qube|
Stryker|ProCuity|
Stryker|S3 MedSurg Bed 3006|
Boston Scientific|Latitude NXT|
Boston Scientific|ZOOM LATITUDE Programmer/Recorder/Monitor (PRM) - Model 3300|
Smiths Medical|CADD Solis|
Zoll|X Series|
Ypsomed|mylife YpsoPump|
Natus|Xltek EEG32U|
Insulet|Omnipod 5|
Siemens|Acuson SC2000|
Siemens|MAGNETOM Vida|
Change Healthcare|Radiology Solutions|
Philips|Holter 1810|
Philips|Vue PACS|12.2.8.500
St. Jude Medical|Promote Accel||2017-01-01
St. Jude Medical|Fortify ST||2017-01-01
Illumina|NextSeq 550|
`

// TestNeighbours: what nobody means is never claimed, and is at most for review.
func TestNeighbours(t *testing.T) {
	docs := icsma(t)
	x := NewIndex(nil)
	rows := strings.Split(strings.TrimSpace(neighbours), "\n")
	for _, row := range rows {
		f := append(strings.Split(row, "|"), "", "", "", "")
		x.AddDevice(&register.Entry{Identity: device.Identity{Manufacturer: f[0], Model: f[1], Version: f[2], OS: f[4]}, Distributed: f[3]})
	}
	meant := map[string]string{"GE|Optima CT660|": "ICSMA-20-343-01", "Medtronic|Evera|": "ICSMA-19-080-01", "Philips|Vue PACS|12.2.8.500": "ICSMA-21-187-01"}
	reviews := map[string]bool{}
	for _, d := range docs {
		for _, h := range x.Affected(d) {
			for _, i := range h.Devices.ToArray() {
				if reviews[rows[i]] = true; h.Certainty != Review && meant[rows[i]] != d.ID {
					t.Errorf("%s: %s is %s: %q", rows[i], d.ID, h.Certainty, h.Why)
				}
			}
		}
	}
	if len(reviews) > 13 {
		t.Errorf("%d of %d neighbours are hit or to review", len(reviews), len(rows))
	}
}

// TestSpellings: devices as hospitals write them, which an advisory means.
func TestSpellings(t *testing.T) {
	docs := icsma(t)
	for _, test := range []struct{ maker, model, version, advisory string }{
		{"St Jude Medical", "Merlin@home EX1150", "8.2.1", "17-009-01A"},
		{"Philips", "ISCV", "2.1", "17-318-01"},
		{"Philips", "ISP", "8.0", "18-058-02"},
		{"Philips", "PIIC iX", "B.02", "18-233-01"},
		{"Philips", "IntelliVue MP5", "M.0", "18-156-01"},
		{"Philips", "IntelliVue X3", "M.00", "18-156-01"},
		{"GE Healthcare", "Discovery 530c", "1.002", "18-037-02"},
		{"GE Healthcare", "Millennium VG", "", "18-037-02"},
		{"GE", "AW Server", "3.0", "20-343-01"},
		{"GE", "Advantage Workstation", "4.4", "20-343-01"},
		{"GE", "Optima XR220", "", "20-343-01"},
		{"GE", "Senographe DS", "", "20-343-01"},
		{"GE", "Discovery 750HD", "", "20-343-01"},
		{"GE", "Discovery NM 670", "", "20-343-01"},
		{"GE", "Discovery NM/CT 570c", "", "20-343-01"},
		{"GE", "PETtrace 800", "", "20-343-01"},
		{"GE", "Brivo NM615", "", "20-343-01"},
		{"Baxter", "ExactaMix 2400", "1.10", "20-170-01"},
		{"Ethicon", "Generator G11", "", "17-332-01"},
		{"Fuji", "FCR XC-2", "", "19-113-01"},
		{"Welch Allyn", "Connex VSM 6000", "2.43.01", "21-152-01"},
	} {
		x := NewIndex(nil)
		x.AddDevice(&register.Entry{Identity: device.Identity{Manufacturer: test.maker, Model: test.model, Version: test.version}})
		hit := slices.ContainsFunc(docs, func(d *advisory.Document) bool { return d.ID == "ICSMA-"+test.advisory && len(x.Affected(d)) > 0 })
		if !hit {
			t.Errorf("%s %s %s is not found by %s", test.maker, test.model, test.version, test.advisory)
		}
	}
}
