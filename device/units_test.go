// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"math/big"
	"strings"
	"testing"
)

// atoms are the base and derived units of UCUM that the table uses, counted as
// its axes count them. kg below a fraction line is the patient's.
var atoms = map[string]struct {
	factor string
	kind   kind
}{
	"1": {"1", fraction}, "%": {"1/100", fraction},
	"L": {"1", volume}, "g": {"1", mass}, "[iU]": {"1", intlUnits}, "mol": {"1", amount}, "eq": {"1", equivalents}, "m2": {"1", area},
	"s": {"1", duration}, "min": {"60", duration}, "h": {"3600", duration}, "d": {"86400", duration}, "wk": {"604800", duration}, "Hz": {"1", frequency},
	"[lb_av]": {"453.59237", mass}, "[oz_av]": {"28.349523125", mass},
	"Pa": {"1", pressure}, "bar": {"100000", pressure}, "m[Hg]": {"133322", pressure}, "m[H2O]": {"9806.65", pressure},
	"V": {"1", voltage}, "A": {"1", current}, "Ohm": {"1", resistance}, "C": {"1", charge}, "J": {"1", energy}, "Gy": {"1", absorbed},
}

// ucumFactor derives a unit's factor and kind from its code.
func ucumFactor(code string) (*big.Rat, kind) {
	total, k := big.NewRat(1, 1), kind{}
	for i, part := range strings.Split(code, "/") {
		if part == "" || strings.HasPrefix(part, "{") {
			continue
		}
		if i > 0 && part == "kg" {
			k = k.plus(perBody)
			continue
		}
		a, ok := atoms[part]
		prefix := "1"
		if !ok {
			prefix = map[byte]string{'h': "100", 'k': "1000", 'd': "1/10", 'c': "1/100", 'm': "1/1000", 'u': "1/1000000", 'n': "1/1000000000"}[part[0]]
			a, ok = atoms[part[1:]]
		}
		if !ok || prefix == "" {
			return nil, kind{}
		}
		f, _ := new(big.Rat).SetString(a.factor)
		p, _ := new(big.Rat).SetString(prefix)
		f.Mul(f, p)
		if i == 0 {
			total, k = total.Mul(total, f), k.plus(a.kind)
		} else {
			total, k = total.Quo(total, f), k.minus(a.kind)
		}
	}
	return total, k
}

func TestUnitTable(t *testing.T) {
	prefixes := map[string]uint16{"HECTO_": 2, "KILO_": 3, "DECI_": 16, "CENTI_": 17, "MILLI_": 18, "MICRO_": 19, "NANO_": 20}
	codes := map[uint16]string{}
	dimensions := map[uint16]string{} // code of the dimension -> its name without a prefix
	seen := map[string]bool{}
	for i, u := range units[1:] {
		if seen[u.ucum] {
			t.Errorf("%s stands twice", u.ucum)
		}
		seen[u.ucum] = true
		if f, k := ucumFactor(u.ucum); u.den != 0 && (f == nil || Unit(i+1).factor().Cmp(f) != 0 || u.kind != k) {
			t.Errorf("%s: %d/%d x 10^%d of %v, want %v of %v", u.ucum, u.num, u.den, u.exp, u.kind, f, k)
		}
		if (u.mdc == "") != (u.code == 0) {
			t.Errorf("%s: a reference id without a code, or the reverse", u.ucum)
		}
		if u.code == 0 {
			continue
		}
		if other := codes[u.code]; other != "" {
			t.Errorf("%s and %s have one code", u.ucum, other)
		}
		codes[u.code] = u.ucum
		// ISO/IEEE 11073-10101 table A.6.3: the code of a unit is that of its
		// dimension plus that of the prefix.
		name := strings.TrimPrefix(u.mdc, "X_")
		var prefix uint16
		for p, n := range prefixes {
			if rest, ok := strings.CutPrefix(name, p); ok {
				name, prefix = rest, n
			}
		}
		if u.code&31 != prefix {
			t.Errorf("%s: the code ends in %d, the prefix is %d", u.mdc, u.code&31, prefix)
		}
		if other, ok := dimensions[u.code&^31]; ok && other != name {
			t.Errorf("%s and %s share a dimension", name, other)
		}
		dimensions[u.code&^31] = name
	}
}

// The first nine codes stand in full in published messages; of the others the
// number within the partition does, in a maker's copy of the nomenclature.
func TestUnitOfMDC(t *testing.T) {
	for _, test := range []struct {
		code        uint32
		refid, ucum string
	}{
		{265266, "MDC_DIM_MILLI_L_PER_HR", "mL/h"},
		{265619, "MDC_DIM_MICRO_G_PER_KG_PER_MIN", "ug/kg/min"},
		{263762, "MDC_DIM_MILLI_L", "mL"},
		{263890, "MDC_DIM_MILLI_G", "mg"},
		{263875, "MDC_DIM_KILO_G", "kg"},
		{264306, "MDC_DIM_MILLI_G_PER_ML", "mg/mL"},
		{262688, "MDC_DIM_PERCENT", "%"},
		{266016, "MDC_DIM_MMHG", "mm[Hg]"},
		{266418, "MDC_DIM_MILLI_VOLT", "mV"},
		{264864, "MDC_DIM_BEAT_PER_MIN", "{beats}/min"},
		{264928, "MDC_DIM_RESP_PER_MIN", "{breaths}/min"},
		{264352, "MDC_DIM_MIN", "min"},
		{264320, "MDC_DIM_SEC", "s"},
		{266866, "MDC_DIM_MILLI_MOLE_PER_L", "mmol/L"},
		{264274, "MDC_DIM_MILLI_G_PER_DL", "mg/dL"},
		{268192, "MDC_DIM_DEGC", "Cel"},
		{267616, "MDC_DIM_X_INTL_UNIT", "[iU]"},
		{267840, "MDC_DIM_X_INTL_UNIT_PER_HR", "[iU]/h"},
	} {
		byCode, ok1 := UnitOfMDCCode(test.code)
		byRef, ok2 := UnitOfMDC(test.refid)
		byUCUM, ok3 := UnitOfUCUM(test.ucum)
		if !ok1 || !ok2 || !ok3 || byCode != byRef || byRef != byUCUM {
			t.Errorf("%s: %v by code, %v by reference id, %v by UCUM", test.ucum, byCode, byRef, byUCUM)
		}
		if code, refid := byUCUM.MDC(); code != test.code || refid != test.refid {
			t.Errorf("%s is %d %s", test.ucum, code, refid)
		}
	}
	for _, code := range []uint32{0, 3122, 4 << 16, 5<<16 | 3122, 4<<16 | 0xFFFF} {
		if u, ok := UnitOfMDCCode(code); ok {
			t.Errorf("%d is %v", code, u)
		}
	}
	for _, s := range []string{"", "MILLI_L", "MDC_DIM_", "MDC_DIM_X_", "mdc_dim_milli_l", "MDC_DEV_PUMP"} {
		if u, ok := UnitOfMDC(s); ok {
			t.Errorf("%q is %v", s, u)
		}
	}
	for _, s := range []string{"", "ML", "ml/hr", "mcg", "Mg"} {
		if u, ok := UnitOfUCUM(s); ok {
			t.Errorf("UCUM %q is %v", s, u)
		}
	}
}

// Each word that orders write leads to a unit of the table, whole or as a part.
func TestWords(t *testing.T) {
	for w, ucum := range words {
		if w != strings.ToLower(w) {
			t.Errorf("%q would never be found", w)
		}
		if _, ok := UnitOfUCUM(ucum); !ok {
			t.Errorf("%q leads to %q, which is not in the table", w, ucum)
		}
	}
}

func TestKindsOfUnit(t *testing.T) {
	for _, test := range []struct {
		units                string
		rate, doseRate, dose bool
	}{
		{"mL/h L/min L/d uL/h", true, false, false},
		{"ug/kg/min mg/h [iU]/h m[iU]/kg/min mmol/h meq/h mL/kg/h mg/m2/h ug/d", false, true, false},
		{"mL mg ug kg [iU] mmol meq mg/kg [iU]/kg mg/m2 mL/kg L", false, false, true},
		{"mg/mL mg/dL mmol/L h min Hz {beats}/min % mm[Hg] Cel V mA J Gy m2 /min", false, false, false},
	} {
		for _, s := range strings.Fields(test.units) {
			u, ok := UnitOfUCUM(s)
			if !ok || u.IsRate() != test.rate || u.IsDoseRate() != test.doseRate || u.IsDose() != test.dose {
				t.Errorf("%s: rate %v, dose rate %v, dose %v", s, u.IsRate(), u.IsDoseRate(), u.IsDose())
			}
		}
	}
	if NoUnit.IsRate() || NoUnit.IsDose() || NoUnit.IsDoseRate() || NoUnit.IsTime() || Unit(60000).IsDose() {
		t.Error("no unit is a kind of unit")
	}
	if Unit(60000).String() != "" || Unit(60000).SameKind(Unit(1)) {
		t.Error("a unit outside the table is one")
	}
}
