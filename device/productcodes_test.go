// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func ExampleCatalogue() {
	var own Catalogue
	p, _ := own.Lookup("NIK")
	fmt.Println(p.Class, "|", p.Therapies, "|", p.Harm, "|", p.Source)
	// Output: CRT defibrillator | pacing, defibrillation | catastrophic | seen
}

func ExampleParseCatalogue() {
	c, err := ParseCatalogue([]byte("code,class,therapy,worn,harm\nFRN,vasoactive pump,drug infusion,no,catastrophic\n"))
	if err != nil {
		panic(err)
	}
	p, _ := c.Lookup("frn")
	fmt.Println(p.Class, p.Harm, p.Source)
	p, _ = c.Lookup("CBK") // not in the user's table
	fmt.Println(p.Class, p.Harm, p.Source)
	// Output:
	// vasoactive pump catastrophic own
	// ventilator catastrophic seen
}

func TestProductCodes(t *testing.T) {
	var c Catalogue
	// The harm, and who carries it, of every code that the facts list.
	for _, test := range []struct {
		codes   string
		therapy Therapy
		worn    bool
		harm    Harm
		source  Source
	}{
		{"LWP NKE", Pacing, true, Catastrophic, Seen},
		{"LWS NIK NVY", Defibrillation, true, Catastrophic, Seen},
		{"OSR", Defibrillation, false, Catastrophic, Seen},
		{"DTE", Pacing, false, Catastrophic, Seen},
		{"LZG OPP OYC OZO OZP", InsulinInfusion, true, Critical, Seen},
		{"QBJ MDS", Monitoring, true, Critical, Seen},
		{"QDK QLG", Monitoring, true, Serious, Seen},
		{"QDL", Monitoring, true, Minor, Seen},
		{"LGW GZB MNQ PMP EZW", Neurostimulation, true, Serious, SecondHand},
		{"MHY LYJ PFN", Neurostimulation, true, Critical, SecondHand},
		{"MCM", Hearing, true, Serious, Recalled},
		{"FRN", DrugInfusion, false, Critical, Seen},
		{"MEA", DrugInfusion, false, Catastrophic, Recalled},
		{"LKK", IntrathecalInfusion, true, Catastrophic, Recalled},
		{"QFG QJI", InsulinInfusion, true, Critical, Recalled},
		{"DSQ", CirculatorySupport, true, Catastrophic, Recalled},
		{"CBK NOU", Ventilation, false, Catastrophic, Seen},
		{"BSZ", Anaesthesia, false, Catastrophic, Seen},
	} {
		for _, code := range strings.Fields(test.codes) {
			p, ok := c.Lookup(code)
			if !ok || p.Code != code || !p.Therapies.Has(test.therapy) || p.Worn != test.worn || p.Harm != test.harm || p.Source != test.source {
				t.Errorf("%s: %+v", code, p)
			}
		}
	}
	for _, p := range ProductCodes() {
		if len(p.Code) != 3 || p.Class == "" || p.Therapies == 0 || p.Harm == NoHarm || p.Source == NoSource || p.Source.String() == "" {
			t.Errorf("%s: its row is not whole: %+v", p.Code, p)
		}
	}
	for _, code := range []string{"", "ZZZ", "LW", "LWPP"} {
		if p, ok := c.Lookup(code); ok {
			t.Errorf("%q is %+v", code, p)
		}
	}
}

func TestParseCatalogue(t *testing.T) {
	c, err := ParseCatalogue([]byte("\ufeffHarm, Class, Code, worn, therapy\r\n# ours\r\n, \"pacer, wireless\", lwp, YES, Pacing; defibrillation\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if code := c.CodeOf("04012345000016", "Norra Medical", "Flow 500"); code != "" {
		t.Errorf("a table without products names %s", code)
	}
	want := ProductCode{"LWP", "pacer, wireless", TherapiesOf(Pacing, Defibrillation), true, Catastrophic, Own}
	if p, ok := c.Lookup("LWP"); !ok || p != want {
		t.Errorf("%+v, want %+v", p, want)
	}

	const head = "code,class,therapy,worn,harm\n"
	const products = "code,class,therapy,worn,harm,manufacturer,model,udi\n"
	for _, test := range []struct {
		in   string
		want error
		line string
	}{
		{"", errHeader, ""},
		{"code,class\n", errHeader, ""},
		{"FRN,infusion pump,drug infusion,no,critical\n", errHeader, ""},
		{head + "FR,x,imaging,no,\n", errCode, "line 2"},
		{head + "FRN1,x,imaging,no,\n", errCode, "line 2"},
		{head + "F1N,x,imaging,no,\n", errCode, "line 2"},
		{head + "FRN,x,imaging,no,\nCBK,x,breathing,no,\n", errTherapy, "line 3"},
		{head + "FRN,x,,no,\n", errTherapy, "line 2"},
		{head + "FRN,x,imaging,maybe,\n", errYesNo, "line 2"},
		{head + "FRN,x,imaging,no,bad\n", errHarm, "line 2"},
		{head + "FRN,x,imaging,no,\nfrn,x,imaging,no,\n", errTwice, "line 3"},
		{head + "FRN,x,imaging,no\n", nil, "line 2"},
		{head + "FRN,,,,\n", errNothing, "line 2"},
		{"code,class,therapy,worn,harm,maker\n", errHeader, ""},
		{"code,class,therapy,worn,harm,code\n", errHeader, ""},
		{products + "FRN,,,,,Norra Medical,,\n", errProduct, "line 2"},
		{products + "FRN,,,,,,Flow 500,\n", errProduct, "line 2"},
		{products + "FRN,,,,,Norra Medical,Flow 500,\nMEA,,,,,NORRA  medical,flow 500,\n", errTwice, "line 3"},
		{products + "FRN,,,,,,,04012345000016\nMEA,,,,,,,(01)04012345000016\n", errTwice, "line 3"},
		{products + "FRN,,,,,,,04012345000016\nXYZ,,,,,Norra Medical,Flow 500,\nXYX,,,,,Norra Medical,Flow 600,\n", errUnknown, "line 3"},
		{products + "FRN,,drug infusion,,,Norra Medical,Flow 500,\n", errYesNo, "line 2"},
		{head + "FRN,\"x,imaging,no,\n", nil, "line "},
	} {
		c, err := ParseCatalogue([]byte(test.in))
		if err == nil || c != nil || test.want != nil && !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), test.line) {
			t.Errorf("%.60q: %v; want %v on %q", test.in, err, test.want, test.line)
		}
	}
}

func TestCodeOf(t *testing.T) {
	c, err := ParseCatalogue([]byte("udi,code,class,therapy,worn,harm,manufacturer,model\n" +
		",XYZ,stack,drug infusion,no,catastrophic,Norra Medical,Flow 500\n" + // the code and a product of it
		"04012345000016,MEA,,,,,,\n" + // a code of ours
		"own-di,xyz,,,,,,\n" +
		"(01)04012345000023(21)7,CBK,,,,,Aeris,V2\n")) // both names of one product
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ di, manufacturer, model, want string }{
		{"", "Norra Medical", "Flow 500", "XYZ"},
		{"", "norra   MEDICAL", "Flow 500 ", "XYZ"},
		{"04012345000016", "Norra Medical", "Flow 500", "MEA"}, // the UDI says more
		{"own-di", "", "", "XYZ"},
		{"04012345000023", "", "", "CBK"},
		{"", "Aeris", "V2", "CBK"},
		{"04012345000030", "Norra", "Flow 500", ""},
		{"", "", "", ""},
	} {
		if got := c.CodeOf(test.di, test.manufacturer, test.model); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add([]byte("code,class,therapy,worn,harm\nFRN,infusion pump,drug infusion,no,critical\n"))
	f.Add([]byte("harm,code,worn,therapy,class\n,\"LWP\",yes,pacing;defibrillation,\"a\"\"b\"\n#x\n"))
	f.Add([]byte("code,class,therapy,worn,harm,manufacturer,model,udi\nFRN,,,,,Norra Medical,Flow 500,\nMEA,,,,,,,04012345000016\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCatalogue(b)
		if (c == nil) == (err == nil) {
			t.Fatal("a table and an error, or neither")
		}
		if err != nil {
			return
		}
		for _, code := range c.products {
			if _, ok := c.Lookup(code); !ok {
				t.Fatalf("%q is not known", code)
			}
		}
		for code, p := range c.own {
			if p.Code != code || p.Therapies == 0 || p.Harm == NoHarm {
				t.Fatalf("%q: %+v", code, p)
			}
		}
	})
}

// What a user or Myelin's own table says is never changed by a feed.
func TestLearn(t *testing.T) {
	c, err := ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model\nXQQ,drug library,drug infusion,no,,Norra Medical,FlowLink\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []ProductCode{{Code: "XQQ", Class: "x"}, {Code: "frn", Class: "x"}, {Code: "ZZ"}, {Code: "Z1Z"}, {Code: ""}} {
		if c.Learn(p) {
			t.Errorf("%q was learnt", p.Code)
		}
	}
	if !c.Learn(ProductCode{Code: "zqq", Class: "pump", Therapies: TherapiesOf(DrugInfusion), Worn: true, Source: Listed}) || c.Learn(ProductCode{Code: "ZQQ", Class: "other"}) {
		t.Error("a code is learnt once")
	}
	if p, ok := c.Lookup("ZQQ"); !ok || p.Class != "pump" || !p.Worn || p.Harm != Critical || p.Source.String() != "listed" {
		t.Errorf("%+v", p)
	}
	if c.LearnProduct("", "norra  medical", "FLOWLINK", "FRN") || c.LearnProduct("1", "a", "b", "F1N") || c.LearnProduct("", "a", "", "FRN") {
		t.Error("learnt what was known, or what names nothing")
	}
	if !c.LearnProduct("00860000000014", "Norra Medical", "Flow 500", "frn") {
		t.Error("not learnt")
	}
	for _, q := range [][3]string{{"00860000000014", "", ""}, {"", "Norra Medical", "flow 500"}} {
		if code := c.CodeOf(q[0], q[1], q[2]); code != "FRN" {
			t.Errorf("%q: %q", q, code)
		}
	}
	var zero Catalogue
	if !zero.LearnProduct("1", "", "", "FRN") || !zero.Learn(ProductCode{Code: "ZQQ"}) || zero.CodeOf("1", "", "") != "FRN" {
		t.Error("the zero catalogue learns nothing")
	}
}
