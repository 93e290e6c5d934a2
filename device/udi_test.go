// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func ExampleParseUDI() {
	u, err := ParseUDI("(01)04012345000016(17)281231(10)FLOW500")
	fmt.Println(u.Issuer, u.DI, u.Lot, u.Expiry, u.Checked, err)
	// Output: GS1 04012345000016 FLOW500 2028-12-31 true <nil>
}

func ExampleIDOf() {
	fmt.Println(IDOf("Norra Medical", "Flow 500", "N-1003"))
	// Output: dev-6zhahqgld7clmzu7
}

func TestParseUDI(t *testing.T) {
	for _, test := range []struct {
		from, in string
		want     UDI
	}{
		{
			"FDA, UDI formats by FDA-accredited issuing agency, v1.3, GS1", "(01)51022222233336(11)141231(17)150707(10)A213B1(21)1234",
			UDI{Issuer: "GS1", DI: "51022222233336", Made: "2014-12-31", Expiry: "2015-07-07", Lot: "A213B1", Serial: "1234", Checked: true},
		},
		{
			"the same as an element string", "015102222223333611141231" + "17150707" + "10A213B1" + gs + "211234",
			UDI{Issuer: "GS1", DI: "51022222233336", Made: "2014-12-31", Expiry: "2015-07-07", Lot: "A213B1", Serial: "1234", Checked: true},
		},
		{
			"the same from a scanner", "]d2" + gs + "0151022222233336111412311715070710A213B1" + gs + "211234" + gs,
			UDI{Issuer: "GS1", DI: "51022222233336", Made: "2014-12-31", Expiry: "2015-07-07", Lot: "A213B1", Serial: "1234", Checked: true},
		},
		{
			"ISO/IEC 15434 format 05", "[)>" + rs + "05" + gs + "0151022222233336" + gs + "10A213B1" + rs + eot,
			UDI{Issuer: "GS1", DI: "51022222233336", Lot: "A213B1", Checked: true},
		},
		{
			"HL7 v2 example of PRT-10", "(01)00643169001763(17)160712(21)21A11F4855",
			UDI{Issuer: "GS1", DI: "00643169001763", Expiry: "2016-07-12", Serial: "21A11F4855", Checked: true},
		},
		{
			"GS1 section 3.4.2, of dates: day 00", "(01)00643169001763(17)160700",
			UDI{Issuer: "GS1", DI: "00643169001763", Expiry: "2016-07", Checked: true},
		},
		{"software version", "(01)00643169001763(8012)2.1.4", UDI{Issuer: "GS1", DI: "00643169001763", Version: "2.1.4", Checked: true}},
		{"an AI that is no part of a UDI", "(01)00643169001763(240)CAT-1(10)X(Y", UDI{Issuer: "GS1", DI: "00643169001763", Lot: "X(Y", Checked: true}},
		{"wrong check digit", "(01)00643169001764(21)A", UDI{Issuer: "GS1", DI: "00643169001764", Serial: "A"}},
		{"a GTIN-14 alone", "00643169001763", UDI{Issuer: "GS1", DI: "00643169001763", Checked: true}},
		{"a GTIN-13 alone", "4006381333931", UDI{Issuer: "GS1", DI: "04006381333931", Checked: true}},

		{"ANSI/HIBC 2.6 appendix B.2", "+A123BJC5D6E71G", UDI{Issuer: "HIBCC", DI: "A123BJC5D6E71", Checked: true}},
		{"the same, padded to even length as in DICOM", "+A123BJC5D6E71G ", UDI{Issuer: "HIBCC", DI: "A123BJC5D6E71", Checked: true}},
		{"a check character that is a space", "+A123XJC5D6E71 ", UDI{Issuer: "HIBCC", DI: "A123XJC5D6E71", Checked: true}},
		{"ANSI/HIBC 2.6, as printed", "*+A123BJC5D6E71G*", UDI{Issuer: "HIBCC", DI: "A123BJC5D6E71", Checked: true}},
		{"ANSI/HIBC 2.6 section 2.2.1.1", "+A99912345/$$52001510X33", UDI{Issuer: "HIBCC", DI: "A99912345", Expiry: "2020-01-15", Lot: "10X3", Checked: true}},
		{
			"ANSI/HIBC 2.6, with quantity", "+A99912349/$10X3/16D20111231/14D20200131/Q500Z",
			UDI{Issuer: "HIBCC", DI: "A99912349", Made: "2011-12-31", Expiry: "2020-01-31", Lot: "10X3", Checked: true},
		},
		{
			"FDA, UDI formats, HIBCC", "+H123PARTNO1234567890120/$$420020216LOT123456789012345/SXYZ4567890123 45678/16D20130202C",
			UDI{Issuer: "HIBCC", DI: "H123PARTNO1234567890120", Expiry: "2020-02-02", Lot: "LOT123456789012345", Serial: "XYZ4567890123 45678", Made: "2013-02-02", Checked: true},
		},
		{
			"the same without the space, as FHIR prints it", "+H123PARTNO1234567890120/$$420020216LOT123456789012345/SXYZ456789012345678/16D20130202C",
			UDI{Issuer: "HIBCC", DI: "H123PARTNO1234567890120", Expiry: "2020-02-02", Lot: "LOT123456789012345", Serial: "XYZ456789012345678", Made: "2013-02-02"},
		},
		{"IMDRF/UDI WG/N48 appendix C", "+A999ABC123DE0/$+1234567Y", UDI{Issuer: "HIBCC", DI: "A999ABC123DE0", Serial: "1234567", Checked: true}},
		{
			"quantity, lot", "+A99912345/$$812710X3/16D20111212/14D20200906/S77DEFG453",
			UDI{Issuer: "HIBCC", DI: "A99912345", Lot: "10X3", Made: "2011-12-12", Expiry: "2020-09-06", Serial: "77DEFG45", Checked: true},
		},
		{"quantity, date, lot", "+E203PB414109/$$8243280112R00089525J", UDI{Issuer: "HIBCC", DI: "E203PB414109", Expiry: "2028-01-12", Lot: "R00089525", Checked: true}},
		{"quantity only", "+EHWD3551419/$$900100F", UDI{Issuer: "HIBCC", DI: "EHWD3551419", Checked: true}},
		{"the oldest form", "+J123AQ3451/25330BC34567/S4012X", UDI{Issuer: "HIBCC", DI: "J123AQ3451", Expiry: "2025-11-26", Lot: "BC34567", Serial: "4012", Checked: true}},
		{"month and year", hibc("+A99912345/$$0928LOT1"), UDI{Issuer: "HIBCC", DI: "A99912345", Expiry: "2028-09", Lot: "LOT1", Checked: true}},
		{"MMDDYY, serial", hibc("+A99912345/$$+2093028S1"), UDI{Issuer: "HIBCC", DI: "A99912345", Expiry: "2028-09-30", Serial: "S1", Checked: true}},
		{"YYJJJHH, serial", hibc("+A99912345/$$+62836623S1"), UDI{Issuer: "HIBCC", DI: "A99912345", Expiry: "2028-12-31", Serial: "S1", Checked: true}},
		{"no date, serial", hibc("+A99912345/$$+7S1"), UDI{Issuer: "HIBCC", DI: "A99912345", Serial: "S1", Checked: true}},

		{
			"FDA, UDI formats, ICCBBA", "=/A9999XYZ100T0944=,000025=A99971312345600=>014032=}013032&,1000000000000XYZ123",
			UDI{Issuer: "ICCBBA", DI: "A9999XYZ100T0944", Serial: "000025", Donation: "A99971312345600", Expiry: "2014-02-01", Made: "2013-02-01", Lot: "000000000000XYZ123"},
		},
		{
			"ST-011, compound message", "=+06000=/A9999XYZ100T0476=,000025=A99972312345600=>025032=}023032&,1000000000000XYZ123",
			UDI{Issuer: "ICCBBA", DI: "A9999XYZ100T0476", Serial: "000025", Donation: "A99972312345600", Expiry: "2025-02-01", Made: "2023-02-01", Lot: "000000000000XYZ123"},
		},
		{"FDA, UDI formats, blood bags", "=)1TE123456A &)RZ12345678", UDI{Issuer: "ICCBBA", DI: "1TE123456A", Lot: "RZ12345678"}},

		{"PPN technical specification section 12", "9N110375286414", UDI{Issuer: "IFA", DI: "110375286414", Checked: true}},
		{
			"the same with lot, expiry and serial", "[)>" + rs + "06" + gs + "9N110375286414" + gs + "1T12345ABCD" + gs + "D150617" + gs + "S12345ABCDEF98765" + rs + eot,
			UDI{Issuer: "IFA", DI: "110375286414", Lot: "12345ABCD", Expiry: "2015-06-17", Serial: "12345ABCDEF98765", Checked: true},
		},
		{
			"made, and a GTIN beside", "[)>" + rs + "06" + gs + "9N111234567842" + gs + "16D20151100" + gs + "8P04150123456782" + rs + eot,
			UDI{Issuer: "IFA", DI: "111234567842", Made: "2015-11", Checked: true},
		},
		{"wrong check digits", "9N110375286415", UDI{Issuer: "IFA", DI: "110375286415"}},
	} {
		got, err := ParseUDI(test.in)
		if err != nil || got != test.want {
			t.Errorf("%s: %q\n got %+v, %v\nwant %+v", test.from, test.in, plain(got), err, plain(test.want))
			continue
		}
		again, err := ParseUDI(got.String())
		again.Checked = got.Checked // a wrong one is not written again
		if err != nil || again != got {
			t.Errorf("%s: after a round through %q: %+v, %v", test.from, got.String(), plain(again), err)
		}
	}
}

// plain is a UDI that prints field by field.
type plain UDI

// hibc appends the check character.
func hibc(s string) string {
	c, _ := mod43(s)
	return s + string(c)
}

func TestParseUDIRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"":                             ErrNotUDI,
		"hello":                        ErrNotUDI,
		"Flow 500":                     ErrNotUDI,
		"(01)":                         errLength,
		"(01)0064316900176":            errLength,
		"(01)006431690017633":          errLength,
		"(01)0064316900176A":           errLength,
		"(17)160712":                   ErrNoDI,
		"(99":                          ErrNotUDI,
		"(01)00643169001763(55)1":      errLength, // of the GTIN: no such AI ends it
		"(01)00643169001763(17)161312": errDate,
		"(01)00643169001763(17)160231": errDate,
		"(01)00643169001763(17)16071A": errDate,
		"(01)00643169001763(21)":       errLength,
		"(01)00643169001763(21)123456789012345678901":      errLength,
		"(01)00643169001763(21)A(21)B":                     errTwice,
		"(01)00643169001763(01)51022222233336":             errTwice,
		"0100643169001763" + "5512":                        ErrNotUDI,
		"0100643169001763" + "1716":                        errLength,
		"01006431690018":                                   errLength,
		"0100643169001763" + "10":                          errLength,
		"12345678901234567":                                ErrNotUDI,
		"(01)00643169001763(21)\x00":                       errCharSet,
		"(01)00643169001763(21)é":                          errCharSet,
		"(01)00643169001763" + strings.Repeat("(21)A", 60): errLength,
		"+":                                        errLength,
		"+$$52001510X3GD":                          ErrNoDI, // a secondary alone
		"+1123BJC5D6E71G":                          ErrNoDI,
		"+A123BJC5D6E7AG":                          errCharSet,
		"+a123bjc5d6e71g":                          errCharSet,
		"+A999X*0C":                                errCharSet,
		"+////////":                                ErrNoDI,
		hibc("+A123456789012345678901234"):         errLength,
		hibc("+A99912345/"):                        ErrNotUDI,
		hibc("+A99912345/X"):                       ErrNotUDI,
		hibc("+A99912345/$"):                       errLength,
		hibc("+A99912345/$$"):                      errLength,
		hibc("+A99912345/$$+"):                     errLength,
		hibc("+A99912345/$$8"):                     errLength,
		hibc("+A99912345/$$81"):                    errLength,
		hibc("+A99912345/$$ALOT"):                  errDate,
		hibc("+A99912345/$$3280"):                  errLength,
		hibc("+A99912345/$$3281301L"):              errDate,
		hibc("+A99912345/$$1328LOT"):               errDate,
		hibc("+A99912345/$$528367L"):               errDate, // 2028 has 366 days
		hibc("+A99912345/$$527366L"):               errDate, // 2027 has 365 days
		hibc("+A99912345/$$528000L"):               errDate,
		hibc("+A99912345/$$42801012450L"):          errDate,
		hibc("+A99912345/$LOT/$LOU"):               errTwice,
		hibc("+A99912345/16D2013"):                 errDate,
		hibc("+A99912345/$1234567890123456789"):    errLength,
		"=":                                        errLength,
		"=/":                                       errLength,
		"=/A9999XYZ100T094":                        errLength,
		"=/A9999XYZ100T094=":                       errCharSet,
		"=/A9999XYZ100T0944=>014366":               errDate,
		"=/A9999XYZ100T0944&,1":                    errLength,
		"=/A9999XYZ100T0944&,11234567890123456789": errLength,
		"=/A9999XYZ100T0944X":                      ErrNotUDI,
		"=,000025":                                 ErrNoDI,
		"&,1000":                                   ErrNoDI,
		"9N":                                       errLength,
		"9N1234":                                   errLength,
		"9N11037528641400000000000":                errLength,
		"9N110375286414" + gs + "D159900":          errDate,
		"9N110375286414" + gs + "S":                errLength,
		"[)>" + rs + "06" + gs + "1TX" + rs + eot:  ErrNoDI,
		"[)>" + rs + "07" + gs + "9N110375286414":  ErrNotUDI,
		strings.Repeat("9", maxUDIBytes+1):         errLength,
	} {
		u, err := ParseUDI(in)
		if !errors.Is(err, want) || err != nil && u != (UDI{}) {
			t.Errorf("%q: %+v, %v; want %v", in, plain(u), err, want)
		}
		if err != nil && len(in) > 8 && strings.Contains(err.Error(), in[3:8]) {
			t.Errorf("%q: the error holds input: %v", in, err)
		}
	}
}

// One changed character never still checks. (The sums of GS1 and HIBCC see
// every single change; that of the PPN does too.)
func TestCheckCharacters(t *testing.T) {
	for _, s := range []string{"(01)51022222233336", "+A123BJC5D6E71G", "9N110375286414"} {
		for i := 4; i < len(s); i++ {
			for c := byte('0'); c <= '9'; c++ {
				if c == s[i] || !isDigit(s[i]) {
					continue
				}
				if u, err := ParseUDI(s[:i] + string(c) + s[i+1:]); err == nil && u.Checked {
					t.Errorf("%q with %c at %d still checks", s, c, i)
				}
			}
		}
	}
}

func TestIDOf(t *testing.T) {
	a := IDOf("Norra Medical", "Flow 500", "N-1003")
	if len(a) != len("dev-")+16 || a != IDOf("Norra Medical", "Flow 500", "N-1003") {
		t.Errorf("%s is no stable id", a)
	}
	if a == IDOf("Norra Medical", "Flow 500N", "-1003") || a == IDOf("Norra Medical", "Flow 500", "N-1004") {
		t.Error("two devices have one id")
	}
}

func FuzzParseUDI(f *testing.F) {
	for _, s := range []string{
		"(01)51022222233336(11)141231(17)150707(10)A213B1(21)1234", "0151022222233336" + "10A" + gs + "21B", "]d2" + gs + "01",
		"+H123PARTNO1234567890120/$$420020216LOT123456789012345/SXYZ456789012345678/16D20130202H", "+A99912345/$$812710X3/14D202009003", "+A99912345/$$+7S  ",
		"=/A9999XYZ100T0944=,000025=A99971312345600=>014032=}013032&,1000000000000XYZ123", "=)1TE123456A &)RZ12345678",
		"[)>" + rs + "06" + gs + "9N110375286414" + gs + "1TX" + gs + "16D20151100" + gs + "SY" + rs + eot, "4006381333931", "*+A*",
	} {
		f.Add(s)
	}
	f.Add("+HO124456789345/S$$320020216LOT123456") // a serial number of 19 and no lot
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUDI(s)
		if again, errAgain := ParseUDI(s); again != u || (err == nil) != (errAgain == nil) {
			t.Fatal("the same text is read in two ways")
		}
		if err != nil {
			return
		}
		// What cannot be written as people print it: a parenthesis in GS1 data,
		// another century where years have two digits, edges of spaces.
		text := u.Lot + "\n" + u.Serial + "\n" + u.Version
		for _, d := range []string{u.Made, u.Expiry} {
			if d != "" && !strings.HasPrefix(d, "20") {
				return
			}
		}
		if strings.ContainsAny(text, "( ") {
			return
		}
		again, err := ParseUDI(u.String())
		again.Checked = u.Checked
		if err != nil || again != u {
			t.Fatalf("%q: %+v through %q: %+v, %v", s, plain(u), u.String(), plain(again), err)
		}
	})
}
