// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleParseQuantity() {
	q, err := ParseQuantity("4.0 mcg/kg/min")
	fmt.Println(q, err)
	limit, _ := ParseQuantity("1000 ng/kg/min")
	c, ok := q.Cmp(limit)
	fmt.Println(c > 0, ok)
	// Output:
	// 4.0 ug/kg/min <nil>
	// true true
}

func ExampleRateOf() {
	dose, _ := ParseQuantity("0.2 ug/kg/min")
	weight, _ := ParseQuantity("85.0 kg")
	concentration, _ := ParseQuantity("0.064 mg/mL")
	fmt.Println(RateOf(dose, weight, concentration))
	fmt.Println(RateOf(dose, Quantity{}, concentration))
	// Output:
	// 15.9375 mL/h <nil>
	//  a quantity that is needed is missing
}

func quantity(t testing.TB, s string) Quantity {
	t.Helper()
	q, err := ParseQuantity(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return q
}

func TestParseDecimal(t *testing.T) {
	for _, test := range []struct {
		in   string
		want string
		err  error
	}{
		// HL7 v2.6 chapter 2.A, data type NM: sign, digits, point; leading
		// zeros and trailing zeros behind the point say nothing.
		{"999", "999", nil},
		{"-123.792", "-123.792", nil},
		{"+12", "12", nil},
		{"010.20", "10.20", nil},
		{".5", "0.5", nil},
		{"5.", "5", nil},
		{" 4.0 ", "4.0", nil},
		{"-0.0", "0.0", nil},
		// XML Schema part 2 sections 3.2.3 and 3.2.5: decimal and double.
		{"1.5E-3", "0.0015", nil},
		{"1e3", "1000", nil},
		{"12E+2", "1200", nil},
		{"999999999999999999", "999999999999999999", nil},
		{"0.000000000000000000001", "0.000000000000000000001", nil},
		{"100000000000000000000000", "100000000000000000000000", nil},
		{"1e127", "1" + strings.Repeat("0", 127), nil},
		{"1e-128", "0." + strings.Repeat("0", 127) + "1", nil},

		{"", "", ErrSyntax},
		{" ", "", ErrSyntax},
		{"-", "", ErrSyntax},
		{".", "", ErrSyntax},
		{"e5", "", ErrSyntax},
		{"1e", "", ErrSyntax},
		{"1e+", "", ErrSyntax},
		{"1.2.3", "", ErrSyntax},
		{"1,5", "", ErrSyntax},
		{"--1", "", ErrSyntax},
		{"0x10", "", ErrSyntax},
		{"INF", "", ErrSyntax},
		{"NaN", "", ErrSyntax},
		{"4 0", "", ErrSyntax},
		{"4\n", "", ErrSyntax},
		{"٤", "", ErrSyntax},
		{"1000000000000000001", "", ErrRange},
		{"1e128", "", ErrRange},
		{"1e-129", "", ErrRange},
		{"1e99999999999999999999", "", ErrRange},
		{strings.Repeat("0", maxDecimalBytes+1), "", ErrRange},
		{"0." + strings.Repeat("0", 5000) + "1", "", ErrRange},
	} {
		q, err := ParseDecimal(test.in)
		if !errors.Is(err, test.err) || err == nil && (Quantity{q.Coefficient, q.Exponent, unitsByUCUM["1"]}).String() != test.want+" 1" {
			t.Errorf("ParseDecimal(%.40q) = %v, %v; want %v, %v", test.in, q, err, test.want, test.err)
		}
		if b, berr := ParseDecimal([]byte(test.in)); b != q || berr != err {
			t.Errorf("ParseDecimal([]byte(%.40q)) differs from that of the string", test.in)
		}
	}
}

func TestParseQuantity(t *testing.T) {
	for in, want := range map[string]string{
		"4.0 ug/kg/min":                      "4.0 ug/kg/min",
		"4mcg/kg/min":                        "4 ug/kg/min",
		"4 µg/kg/min":                        "4 ug/kg/min",
		"4 mcg/min/kg":                       "4 ug/kg/min",
		"12.5 ml/hr":                         "12.5 mL/h",
		"12.5 ML/HR":                         "12.5 mL/h",
		"12.5 cc/hour":                       "12.5 mL/h",
		"12.5 mL per hour":                   "12.5 mL/h",
		"25 U":                               "25 [iU]",
		"25 units":                           "25 [iU]",
		"1.2 units/hr":                       "1.2 [iU]/h",
		"30 mU/min":                          "30 m[iU]/min",
		"10 MDC_DIM_MILLI_L_PER_HR":          "10 mL/h",
		"10 MDC_DIM_INTL_UNIT_PER_HR":        "10 [iU]/h",
		"10 MDC_DIM_X_INTL_UNIT_PER_HR":      "10 [iU]/h",
		"5e-1 mg":                            "0.5 mg",
		"2 eq":                               "2 eq",
		"90":                                 "90",
		"72 bpm":                             "72 {beats}/min",
		"-1 mV":                              "-1 mV",
		"3 MDC_DIM_MICRO_G_PER_KG_PER_MIN  ": "3 ug/kg/min",
	} {
		q, err := ParseQuantity(in)
		if err != nil || q.String() != want {
			t.Errorf("ParseQuantity(%q) = %q, %v; want %q", in, q, err, want)
		}
	}
	for in, want := range map[string]error{
		"4 MU":          ErrUnit, // a million units, or a thousandth of one?
		"4 ug/kg/min/h": ErrUnit,
		"4 furlong":     ErrUnit,
		"4 mL/":         ErrUnit,
		"4 /":           ErrUnit,
		"ug":            ErrSyntax,
		"":              ErrSyntax,
		"4 " + strings.Repeat("m", maxUnitBytes+1): ErrUnit,
	} {
		if q, err := ParseQuantity(in); !errors.Is(err, want) || q != (Quantity{}) {
			t.Errorf("ParseQuantity(%.40q) = %v, %v; want %v", in, q, err, want)
		}
	}
}

// rat reads what String wrote with other people's code.
func rat(t *rapid.T, q Quantity) *big.Rat {
	number, _, _ := strings.Cut(q.String(), " ")
	if q.IsNone() {
		number = "0"
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		t.Fatalf("big.Rat cannot read %q", number)
	}
	return r
}

var anyQuantity = rapid.Custom(func(t *rapid.T) Quantity {
	return Quantity{
		Coefficient: rapid.OneOf(rapid.Int64(), rapid.Int64Range(-100, 100), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64})).Draw(t, "coefficient"),
		Exponent:    rapid.OneOf(rapid.Int8(), rapid.Int8Range(-6, 6)).Draw(t, "exponent"),
		Unit:        Unit(rapid.IntRange(0, len(units)-1).Draw(t, "unit")),
	}
})

func TestFormatAndParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := anyQuantity.Draw(t, "q")
		q.Coefficient %= 1e18 // what ParseDecimal accepts
		if q.Coefficient == 0 {
			q.Exponent = min(q.Exponent, 0)
		}
		if q.IsNone() {
			return
		}
		got, err := ParseQuantity(q.String())
		if err != nil || got.Unit != q.Unit || rat(t, got).Cmp(rat(t, q)) != 0 {
			t.Fatalf("%#v is %q is %#v, %v", q, q, got, err)
		}
		if got.String() != q.String() {
			t.Fatalf("%q is %q after a round", q, got)
		}
	})
}

func TestParseAgainstRat(t *testing.T) {
	number := rapid.StringMatching(`[-+]?[0-9]{1,9}(\.[0-9]{0,9})?([eE][-+]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		s := number.Draw(t, "s")
		q, err := ParseDecimal(s)
		want, ok := new(big.Rat).SetString(s)
		if err != nil || !ok || q.rat().Cmp(want) != 0 {
			t.Fatalf("ParseDecimal(%q) = %v, %v; want %v", s, q, err, want)
		}
	})
}

// value is the oracle of conversion: the number times the factor that the test
// below derives from the unit's code.
func value(t *rapid.T, q Quantity) *big.Rat {
	f, _ := ucumFactor(q.Unit.String())
	return f.Mul(f, rat(t, q))
}

func TestCmpAgainstRat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, r := anyQuantity.Draw(t, "q"), anyQuantity.Draw(t, "r")
		if rapid.Bool().Draw(t, "alike") {
			for range len(units) {
				if q.Unit.SameKind(r.Unit) {
					break
				}
				r.Unit = (r.Unit + 1) % Unit(len(units))
			}
		}
		got, ok := q.Cmp(r)
		if ok != q.Unit.SameKind(r.Unit) {
			t.Fatalf("%v against %v: comparable is %v", q, r, ok)
		}
		want := 0
		switch {
		case q.Unit == r.Unit:
			want = rat(t, q).Cmp(rat(t, r))
		case ok:
			want = value(t, q).Cmp(value(t, r))
		}
		if got != want {
			t.Fatalf("%v against %v: %d, want %d", q, r, got, want)
		}
	})
}

func TestConvertAgainstRat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := anyQuantity.Draw(t, "q")
		to := Unit(rapid.IntRange(0, len(units)-1).Draw(t, "to"))
		got, err := q.Convert(to)
		if !q.Unit.SameKind(to) {
			if !errors.Is(err, ErrKind) {
				t.Fatalf("%v to %v: %v", q, to, err)
			}
			return
		}
		if q.Unit == to {
			if got != q || err != nil {
				t.Fatalf("%v to itself: %v, %v", q, got, err)
			}
			return
		}
		want := value(t, q)
		f, _ := ucumFactor(to.String())
		want.Quo(want, f)
		_, ends := want.FloatPrec()
		switch {
		case err == nil:
			if got.Unit != to || rat(t, got).Cmp(want) != 0 {
				t.Fatalf("%v is %v, want %v", q, got, want)
			}
		case errors.Is(err, ErrInexact):
			if ends {
				t.Fatalf("%v to %v is exact: %v", q, to, want)
			}
		case !errors.Is(err, ErrRange):
			t.Fatal(err)
		}
	})
}

func TestAddAgainstRat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, r := anyQuantity.Draw(t, "q"), anyQuantity.Draw(t, "r")
		r.Unit = q.Unit
		got, err := q.Add(r)
		want := new(big.Rat).Add(rat(t, q), rat(t, r))
		if err == nil && (got.Unit != q.Unit || rat(t, got).Cmp(want) != 0) || err != nil && !errors.Is(err, ErrRange) {
			t.Fatalf("%v + %v = %v, %v; want %v", q, r, got, err, want)
		}
	})
}

func TestConvert(t *testing.T) {
	for _, test := range []struct {
		q, to, want string
		err         error
	}{
		{"1 mL/min", "mL/h", "60 mL/h", nil},
		{"0.2 mg", "ug", "200 ug", nil},
		{"90 min", "h", "1.5 h", nil},
		{"100 min", "h", "", ErrInexact},
		{"1 [iU]/h", "m[iU]/min", "", ErrInexact},
		{"3 [iU]/h", "m[iU]/min", "50 m[iU]/min", nil},
		{"1 [lb_av]", "kg", "0.45359237 kg", nil},
		{"100 mg/dL", "g/L", "1 g/L", nil},
		{"100 mg/dL", "mmol/L", "", ErrKind}, // glucose, or something else?
		{"100 mg/dL", "mg", "", ErrKind},
		{"1 ug/kg/min", "ug/min", "", ErrKind},
		{"37 Cel", "K", "", ErrKind},
		{"5 %", "1", "0.05 1", nil},
		{"1 [iU]", "mg", "", ErrKind},
		{"1 mm[Hg]", "Pa", "133.322 Pa", nil},
		{"9223372036854775.807 g", "ng", "9223372036854775807000000 ng", ErrRange},
		{"7", "1", "", ErrKind}, // no unit at all
	} {
		to, _ := UnitOfUCUM(test.to)
		q, err := ParseQuantity(test.q)
		if err != nil && test.err == ErrRange {
			continue
		}
		got, err := q.Convert(to)
		if !errors.Is(err, test.err) || got.String() != test.want {
			t.Errorf("%s in %s is %v, %v; want %s, %v", test.q, test.to, got, err, test.want, test.err)
		}
	}
}

func TestMul(t *testing.T) {
	mL, _ := UnitOfUCUM("mL")
	got, err := quantity(t, "12.5 mL/h").Mul(quantity(t, "90 min"), mL)
	if err != nil || got.String() != "18.75 mL" {
		t.Errorf("12.5 mL/h for 90 min is %v, %v", got, err)
	}
	for _, r := range []string{"90 mL", "90", "37 Cel"} {
		if _, err := quantity(t, "12.5 mL/h").Mul(quantity(t, r), mL); !errors.Is(err, ErrKind) {
			t.Errorf("12.5 mL/h times %s: %v", r, err)
		}
	}
}

func TestRateOf(t *testing.T) {
	for _, test := range []struct {
		dose, weight, concentration, want string
		err                               error
	}{
		// The dopamine order of other implementations' PCD-03 tests: 10 ug/kg/min, 85 kg, 400 mg in 250 mL.
		{"10 ug/kg/min", "85.0 kg", "1.6 mg/mL", "31.875 mL/h", nil},
		{"0.2 ug/kg/min", "70 kg", "16 ug/mL", "52.5 mL/h", nil},
		{"25 mL/h", "", "", "25 mL/h", nil},
		{"1 L/d", "", "", "41.666667 mL/h", ErrInexact},
		{"2 mL/kg/h", "10 kg", "", "20 mL/h", nil},
		{"5 mg/h", "", "1 mg/mL", "5 mL/h", nil},
		{"2 [iU]/h", "", "1 [iU]/mL", "2 mL/h", nil},
		{"10 mmol/h", "", "0.4 mmol/mL", "25 mL/h", nil},
		{"1 mg/h", "", "3 mg/mL", "0.333334 mL/h", ErrInexact},

		{"10 ug/kg/min", "", "1.6 mg/mL", "", ErrMissing},
		{"10 ug/kg/min", "0 kg", "1.6 mg/mL", "", ErrMissing},
		{"10 ug/kg/min", "-5 kg", "1.6 mg/mL", "", ErrMissing},
		{"10 ug/kg/min", "85 kg", "", "", ErrMissing},
		{"10 ug/kg/min", "85 kg", "0 mg/mL", "", ErrMissing},
		{"10 ug/kg/min", "85 L", "1.6 mg/mL", "", ErrKind},
		{"10 ug/kg/min", "85", "1.6 mg/mL", "", ErrKind},
		{"10 ug/kg/min", "85 kg", "1.6 [iU]/mL", "", ErrKind},
		{"10 mg/m2/h", "85 kg", "1.6 mg/mL", "", ErrKind},
		{"10 mg", "85 kg", "1.6 mg/mL", "", ErrKind},
		{"10", "85 kg", "1.6 mg/mL", "", ErrKind},
		{"", "85 kg", "1.6 mg/mL", "", ErrKind},
	} {
		var q [3]Quantity
		for i, s := range []string{test.dose, test.weight, test.concentration} {
			if s != "" {
				q[i] = quantity(t, s)
			}
		}
		got, err := RateOf(q[0], q[1], q[2])
		if !errors.Is(err, test.err) || got.String() != test.want {
			t.Errorf("RateOf(%q, %q, %q) = %v, %v; want %q, %v", test.dose, test.weight, test.concentration, got, err, test.want, test.err)
		}
	}
}

func TestCmpAllocatesNothing(t *testing.T) {
	q, r := quantity(t, "4 ug/kg/min"), quantity(t, "1 mg/kg/h")
	if n := testing.AllocsPerRun(100, func() { q.Cmp(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	b := []byte("12.50")
	if n := testing.AllocsPerRun(100, func() { ParseDecimal(b) }); n != 0 {
		t.Errorf("%v allocations in ParseDecimal", n)
	}
}

func FuzzParseQuantity(f *testing.F) {
	for _, s := range []string{"4.0 ug/kg/min", "25 U", "1e3", "-.5 mV", "0.0", "1e-128 g", "", "1 m{}", "999999999999999999E99 mL per hour"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuantity(s)
		if again, errAgain := ParseQuantity(s); again != q || errAgain != err {
			t.Fatal("the same text is read in two ways")
		}
		if err != nil || q.IsNone() {
			return
		}
		r, err := ParseQuantity(q.String())
		if c, ok := q.Cmp(r); err != nil || !ok || c != 0 {
			t.Fatalf("%v is %v after a round: %v", q, r, err)
		}
	})
}
