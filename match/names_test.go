// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMakers(t *testing.T) {
	n := Shipped()
	for _, test := range []struct {
		a, b string
		want Certainty
	}{
		{"Philips", "philips", Exact},
		{"Phillips", "Koninklijke Philips N.V.", Exact},
		{"Philips", "Philips Healthcare", Exact},
		{"Philips", "Philips Medical Systems Nederland B.V.", Likely},
		{"Philips", "Respironics, Inc.", Likely},
		{"Becton, Dickinson and Company (BD)", "BD", Exact},
		{"Becton, Dickinson and Company (BD)", "Becton Dickinson & Co.", Exact},
		{"Becton, Dickinson and Company (BD)", "CareFusion Corporation", Likely},
		{"Vyaire Medical", "CareFusion", Likely},
		{"General Electric (GE)", "GE Healthcare", Exact},
		{"GE Healthcare", "GE Medical Systems, LLC", Exact},
		{"GE Healthcare", "Datex-Ohmeda, Inc.", Likely},
		{"Baxter", "Hillrom", Likely},
		{"Baxter", "Welch Allyn, Inc.", Likely},
		{"Hillrom", "Hill-Rom", Exact},
		{"Hillrom", "Welch Allyn", Likely},
		{"Abbott Laboratories", "St. Jude Medical", Likely},
		{"Abbott Laboratories", "Abbott", Exact},
		{"Smiths Medical", "ICU Medical, Inc.", Likely},
		{"Smiths Medical", "Hospira", Likely},
		{"Dräger", "Draegerwerk AG & Co. KGaA", Exact},
		{"Dräger", "DRAGER", Exact},
		{"Siemens", "Siemens Healthineers AG", Exact},
		{"B. Braun", "B. Braun Melsungen AG", Exact},
		{"B. Braun Medical", "B.Braun", Exact},
		{"Medtronic", "Medtronic MiniMed", Likely},
		{"Medtronic", "Medtronic, Inc.", Exact},
		{"Innokas YhtymÃ¤ Oy", "Innokas Yhtymä Oy", Exact},
		{"Natus Medical, Inc. (Natus)", "Natus", Exact},
		{"ZOLL", "ZOLL Medical Corporation", Exact},
		{"Contec Health", "Contec Medical Systems Co., Ltd.", Exact},
		{"Roche Diagnostics", "Roche", Exact},
		{"ENEA, Green Hills Software, ITRON, IP Infusion, and Wind River", "Wind River Systems", Likely},
		{"Foobar Medical", "Foobar", Likely},
		{"Foobar", "Foobar Lighting", Review},
		{"Foobar", "", Review},

		{"Philips", "Siemens", ""},
		{"GE Healthcare", "Becton, Dickinson and Company (BD)", ""},
		{"St. Jude Medical", "St. Vincent Medical", ""},
		{"Hamilton Medical", "Milton Medical", ""},
		{"gehealthcare", "GE Medical Systems", Exact},
		{"bostonscientific", "Boston Scientific", Exact},
		{"welchallyn", "Hillrom", Likely},
		{"norramedical", "Norra Medical GmbH", Exact},
		{"gehealth", "GE Healthcare", ""},
		{"Abbott", "ICU Medical", ""},
		{"Medical Systems", "Systems", ""},
	} {
		got, why := n.same(n.maker(test.a), n.maker(test.b))
		back, _ := n.same(n.maker(test.b), n.maker(test.a))
		if got != test.want || back != test.want {
			t.Errorf("%q and %q: %q and back %q, want %q", test.a, test.b, got, back, test.want)
		}
		if (got == Likely || got == Review) && why == "" {
			t.Errorf("%q and %q: %s without a reason", test.a, test.b, got)
		}
	}
}

func TestModels(t *testing.T) {
	n := Shipped()
	for _, test := range []struct {
		maker, advisory, register string
		want                      Certainty
	}{
		{"Philips", "IntelliSpace Cardiovascular", "Intellispace cardiovascular", Exact},
		{"Philips", "Philips IntelliVue Information Center iX", "IntelliVue Information Center iX", Exact},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "Medfusion 4000", Exact},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "Medfusion® 4000 Syringe Pump", Exact},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "Medfusion 3500", ""},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "Medfusion", Review},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "Syringe pump", Review},
		{"Smiths Medical", "Medfusion 4000 Wireless Syringe Infusion Pump", "CADD Solis", ""},
		{"GE Healthcare", "Discovery NM/CT 860", "Discovery NM/CT860", Exact},
		{"GE Healthcare", "Discovery NM/CT 860", "GE Discovery NM CT 860", Exact},
		{"GE Healthcare", "Discovery NM/CT 860", "Discovery NM/CT 850", ""},
		{"GE Healthcare", "Discovery NM/CT 860", "Discovery", Review},
		{"GE Healthcare", "Discovery NM530c", "Discovery NM 530c", Exact},
		{"GE Healthcare", "Discovery XR656", "Discovery XR656 Plus", Review},
		{"GE Healthcare", "Discovery XR656+", "Discovery XR656 Plus", Exact},
		{"GE Healthcare", "Optima XR640", "Discovery XR640", ""},
		{"GE Healthcare", "Optima CL320", "Optima CL320i", ""},
		{"Philips", "Avalon Fetal/Maternal Monitors FM20/FM30/FM40/FM50", "Avalon FM30", Exact},
		{"Philips", "Avalon Fetal/Maternal Monitors FM20/FM30/FM40/FM50", "Avalon FM35", ""},
		{"Philips", "PageWriter TC10 TC20 TC30 TC50 TC70 Cardiographs", "PageWriter TC50", Exact},
		{"Philips", "PageWriter TC10 TC20 TC30 TC50 TC70 Cardiographs", "PageWriter TC35", ""},
		{"Philips", "PageWriter TC10 TC20 TC30 TC50 TC70 Cardiographs", "PageWriter", Review},
		{"Philips", "PageWriter TC10 TC20 TC30 TC50 TC70 Cardiographs", "TC50", Likely},
		{"Philips", "IntelliVue Patient Monitors MX (MX400-550)", "IntelliVue MX450", Exact},
		{"Philips", "IntelliVue Patient Monitors MX (MX400-550)", "IntelliVue MX800", ""},
		{"Philips", "IntelliVue Patient Monitors MP Series (includingMP2/X2/MP30/MP50/MP70/NP90/MX700/800)", "IntelliVue MP70", Exact},
		{"Philips", "IntelliVue Patient Monitors MP Series (includingMP2/X2/MP30/MP50/MP70/NP90/MX700/800)", "IntelliVue MX800", Exact},
		{"Philips", "Veradius Unity (718132)", "Veradius Unity", Exact},
		{"Philips", "Veradius Unity (718132)", "Veradius Unity 718132", Exact},
		{"Philips", "Pulsera (718095) and Endura (718075)", "Endura", Exact},
		{"Philips", "Coronary Tools/Dynamic Coronary Roadmap/Stentboost Live", "StentBoost Live", Likely},
		{"Medtronic", "24952 MyCareLink Monitor", "MyCareLink Patient Monitor 24952", Exact},
		{"Medtronic", "24952 MyCareLink Monitor", "MyCareLink Monitor", Review},
		{"Medtronic", "24952 MyCareLink Monitor", "MyCareLink 25000", ""},
		{"Medtronic", "Smart Model 25000 Patient Reader", "MyCareLink Smart 25000", Likely},
		{"Medtronic", "MiniMed Paradigm 522/722 pumps", "MiniMed Paradigm 722", Exact},
		{"Medtronic", "MiniMed Paradigm 522/722 pumps", "Paradigm 722K", ""},
		{"Medtronic", "MiniMed Paradigm Veo 554CM and 754CM models only", "Paradigm Veo 754CM", Exact},
		{"Medtronic", "Virtuoso ICD", "Virtuoso II ICD", Review},
		{"Medtronic", "Virtuoso II ICD", "Virtuoso", Review},
		{"Hillrom", "Welch Allyn Connex Spot Monitor (CSM)", "Connex Spot Monitor", Exact},
		{"Hillrom", "Welch Allyn Connex Spot Monitor (CSM)", "Welch Allyn Connex CSM", Review},
		{"Becton, Dickinson and Company (BD)", "BD Alaris Point-of-Care Unit (PCU) Model 8015", "Alaris PCU 8015", Exact},
		{"Becton, Dickinson and Company (BD)", "Alaris PC Unit", "BD Alaris PC Unit", Exact},
		{"Becton, Dickinson and Company (BD)", "Alaris GS", "Alaris GH", ""},
		{"Becton, Dickinson and Company (BD)", "Alaris Gateway Workstation", "Alaris", Review},
		{"Contec Health", "CMS8000 CONTEC ICU CCU Vital Signs Patient Monitor", "CMS8000", Likely},
		{"Boston Scientific", "ZOOM LATITUDE Programmer/Recorder/Monitor (PRM) - Model 3120", "ZOOM LATITUDE PRM 3120", Exact},
		{"Philips", "Philips IntelliVue Information Center iX", "IntelliVue MX450", ""},
		{"Hillrom", "Welch Allyn Connex Vital Signs Monitor (CVSM)", "Connex Spot Monitor", ""},
		{"Stryker", "S3 MedSurg Bed (enabled with iBed Wireless)", "S3 MedSurg Bed", Review},
		{"Hamilton Medical AG", "T1 Ventilator", "HAMILTON-T1", Exact},
		{"Hamilton Medical AG", "T1 Ventilator", "HAMILTON-C1", ""},
		{"Orthanc", "Osimis WebViewer", "Osimis Web Viewer", Exact},
		{"Siemens", "Siemens PET/CT Systems Windows XP-Based", "SPECT/CT", ""},
		{"Abbott Laboratories", "Promote", "Promote Quadra", Review},
		{"Insulet", "Omnipod Insulin Management System", "Omnipod", Exact},
		{"GE Healthcare", "CARESCAPE Central Station (CSCS)", "CSCS", Likely},
		{"GE Healthcare", "Clinical Information Center (CIC)", "CIC Pro", Review},
		{"GE Healthcare", "EchoPAC (Turnkey)", "Turnkey", ""},
		{"Spacelabs", "Xhibit Telemetry Receiver (XTR) Model number 96280", "XTR 96280", Likely},
		{"Boston Scientific", "ZOOM LATITUDE Programmer/Recorder/Monitor (PRM) - Model 3120", "PRM 3300", ""},
		{"GE Healthcare", "Innova IGS 5x0", "Innova IGS 530", Exact},
		{"GE Healthcare", "Innova IGS 5x0", "Innova IGS 630", ""},
		{"GE Healthcare", "Aisys CS2", "Aisys CS²", Exact},
		{"Philips", "882400 Gemini GXL 10 Slice", "Gemini GXL", Review},
		{"GE Healthcare", "Discovery NM/CT 670", "Discovery NM 670", Review},
		{"GE Healthcare", "Discovery NM/CT 670", "Discovery NM 671", ""},
		{"GE Healthcare", "Discovery NM/CT 670", "Optima NM 670", ""},
		{"GE Healthcare", "Discovery CT750HD", "Discovery 750HD", Review},
		{"GE Healthcare", "Discovery CT750HD", "Discovery MR750HD", ""},
		{"GE Healthcare", "Discovery NM/CT D570c", "Discovery NM/CT 570c", Review},
		{"GE Healthcare", "Optima XR220amx", "Optima XR220", Review},
		{"GE Healthcare", "Optima XR220amx", "Optima XR240", ""},
		{"Baxter", "ExactaMix EM2400", "ExactaMix 2400", Review},
		{"Baxter", "ExactaMix EM2400", "ExactaMix 1200", ""},
		{"St. Jude Medical", "RF models EX1150", "Merlin@home EX1150", Review},
		{"St. Jude Medical", "RF models EX1150", "Merlin@home EX1100", ""},
		{"GE Healthcare", "Millenium VG", "Millennium VG", Exact},
		{"GE Healthcare", "Millenium VG", "Millennium MG", ""},
		{"GE Healthcare", "Brivio NM 615", "Brivo NM615", Exact},
		{"GE Healthcare", "Seno DS", "Senographe DS", Exact},
		{"GE Healthcare", "Seno DS", "Senographe Essential", ""},
		{"GE Healthcare", "PETrace 800", "PETtrace 800", Exact},
		{"GE Healthcare", "AW", "Advantage Workstation", Exact},
		{"GE Healthcare", "AWS", "AW Server", Exact},
		{"GE Healthcare", "AW", "AW Server", ""},
		{"Philips", "Philips IntelliVue Information Center iX", "PIIC iX", Exact},
		{"Philips", "IntelliSpace Cardiovascular", "ISCV", Exact},
		{"Philips", "IntelliVue Patient Monitors MP Series (includingMP2/X2/MP30/MP50/MP70/NP90/MX700/800)", "IntelliVue MP5", Review},
		{"Philips", "IntelliVue Patient Monitors MP Series (includingMP2/X2/MP30/MP50/MP70/NP90/MX700/800)", "IntelliVue MP90", Exact},
		{"Philips", "IntelliVue Patient Monitors MP Series (includingMP2/X2/MP30/MP50/MP70/NP90/MX700/800)", "IntelliVue MX550", ""},
		{"Philips", "IntelliVue Patient Monitors MX450", "IntelliVue MX", Review},
		{"Philips", "IntelliVue Patient Monitors MX450", "IntelliVue MP", ""},
	} {
		m := n.maker(test.maker)
		got, why := n.compareNames(m, test.advisory, m, test.register)
		if got != test.want {
			t.Errorf("%s: advisory %q, register %q: %q (%s), want %q\n%+v\n%+v", test.maker, test.advisory, test.register, got, why, test.want,
				parseModel(test.advisory, n.house(m)), parseModel(test.register, n.house(m)))
		}
		if (got == Likely || got == Review) && why == "" {
			t.Errorf("%q: %s without a reason", test.register, got)
		}
	}
}

func TestAliases(t *testing.T) {
	n, err := Shipped().Extend("ours.yaml", []byte("makers:\n  - name: Adamed\n    same: [ADA, Ada Medical Devices]\n  - name: Philips\n    same: [Phlips]\nproducts:\n  - maker: Adamed\n    name: Flow 500\n    same: [F-500, Infusor V]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := n.same(n.maker("ADA"), n.maker("Adamed Ltd")); c != Exact {
		t.Errorf("an alias of the user's file is %q", c)
	}
	if c, _ := n.same(n.maker("Phlips"), n.maker("Phillips")); c != Exact {
		t.Errorf("an alias for a maker that is shipped is %q", c)
	}
	m := n.maker("ADA")
	if c, why := n.compareNames(m, "Flow 500", m, "Infusor V"); c != Exact {
		t.Errorf("an alias of a product is %q, %s", c, why)
	}
	if c, _ := Shipped().same(Shipped().maker("ADA"), Shipped().maker("Adamed")); c != "" {
		t.Error("extending changed the shipped names")
	}

	for _, test := range []struct{ src, want string }{
		{"", "a.yaml:1:1: the file is empty"},
		{"makers:\n  - name: A\n    sme: [B]\n", "a.yaml:3:5: unknown field"},
		{"makers:\n  - name: A\n    same: {}\n", "a.yaml:3:"},
		{"makers:\n  - same: [B]\n", "a.yaml:2:"},
		{"makers:\n  - name: Acme\n    same: [Philips Healthcare]\n", "a.yaml:3:12: this name is one of Philips already"},
		{"makers:\n  - name: Acme\n    same: ['--']\n", "a.yaml:3:12: a name without a letter"},
		{"products:\n  - name: Acme\n", "a.yaml:2:"},
		{"makers: [\n", "a.yaml:1:"},
		{strings.Repeat("[", 100000), "a.yaml:1:5: nested deeper"},
		{strings.Repeat("- ", 100000), "a.yaml:1:41: nested deeper"},
		{"makers: &a\n  - name: A\nproducts: *a\n", "a.yaml:1:9: aliases do without anchors"},
		{"- a\n", "a.yaml:1:1: "},
	} {
		_, err := Shipped().Extend("a.yaml", []byte(test.src))
		var at *AliasError
		if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.src, err, test.want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"IntelliVue Patient Monitors MX (MX400-550)", "Pulsera (718095) and Endura (718075)", "8.0.x", "((", "YhtymÃ¤ +/&", "MP2/X2/800", "A - 1"} {
		f.Add(s, s)
	}
	n := Shipped()
	f.Fuzz(func(t *testing.T, a, b string) {
		m, o := n.maker(a), n.maker(b)
		n.same(m, o)
		n.compareNames(m, a, o, b)
		if k := fold(a); utf8.ValidString(a) && fold(k) != k {
			t.Errorf("fold(%q) is %q, and that folds to %q", a, k, fold(k))
		}
	})
}

func FuzzAliases(f *testing.F) {
	f.Add(shippedAliases)
	f.Add([]byte("makers: [{name: A, same: [B], related: [C]}]\nproducts: [{maker: A, name: x, same: [y]}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Shipped().Extend("a.yaml", b)
		var at *AliasError
		if err != nil && (!errors.As(err, &at) || at.Line < 1 || at.Column < 1) {
			t.Errorf("an error without a place: %v", err)
		}
		if err == nil {
			n.maker("A B")
		}
	})
}

// TestDocumented: the example of docs/aliases.md is a file that can be read.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/aliases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, src, _ := strings.Cut(string(b), "```yaml\n")
	src, _, _ = strings.Cut(src, "```")
	n, err := Shipped().Extend("docs/aliases.md", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := n.same(n.maker("Norden Pumps"), n.maker("Adamed Medizintechnik")); c != Likely {
		t.Errorf("a related house is %q", c)
	}
}

// A version in the name of a product is the one that is meant, unless the name
// makes a bound of it.
func TestVersionsInNames(t *testing.T) {
	h := &house{}
	for name, want := range map[string][]string{
		"IntelliSpace Portal 8.0.x": {"8.0.x"},
		"Xeleris 3.0":               {"3.0"},
		"Flow 500 pump, software version 2.1.4 and below":  nil,
		"Flow 500 pump, software versions prior to 2.1.4":  nil,
		"Flow 500 pump with software 2.1.4 or newer":       nil,
		"Flow 500 pump with software 2.1.4, sold as Flow+": {"2.1.4"},
	} {
		if got := parseModel(name, h).versions; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
