// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"math/big"
	"strings"
)

// A Unit is a unit of measure that this package knows, under its UCUM code
// ("mL/h"); MDC codes are mapped to the same unit. The zero value is none.
type Unit uint16

// NoUnit is no unit, or one that is not known.
const NoUnit Unit = 0

// The axes along which units are counted, and the base unit of each. Mass of a
// drug and mass of a body are two axes: "ug/kg/min" does not cancel.
const (
	volumeAxis      = iota // L
	massAxis               // g
	intlUnitAxis           // [iU]
	moleAxis               // mol
	equivalentAxis         // eq
	bodyAxis               // kg of the patient
	areaAxis               // m2 of the patient
	timeAxis               // s
	pressureAxis           // Pa
	temperatureAxis        // no base: these units do not convert
	voltAxis               // V
	ampereAxis             // A
	ohmAxis                // Ohm
	coulombAxis            // C
	jouleAxis              // J
	grayAxis               // Gy
	axes
)

// A kind is what a unit measures: the power of each axis.
type kind [axes]int8

func (k kind) plus(l kind) kind {
	for i := range k {
		k[i] += l[i]
	}
	return k
}

func (k kind) minus(l kind) kind {
	for i := range k {
		k[i] -= l[i]
	}
	return k
}

// The kinds of unit.
var (
	fraction    = kind{}
	volume      = kind{volumeAxis: 1}
	mass        = kind{massAxis: 1}
	intlUnits   = kind{intlUnitAxis: 1}
	amount      = kind{moleAxis: 1}
	equivalents = kind{equivalentAxis: 1}
	area        = kind{areaAxis: 1}
	duration    = kind{timeAxis: 1}
	frequency   = kind{timeAxis: -1}
	pressure    = kind{pressureAxis: 1}
	temperature = kind{temperatureAxis: 1}
	voltage     = kind{voltAxis: 1}
	current     = kind{ampereAxis: 1}
	resistance  = kind{ohmAxis: 1}
	charge      = kind{coulombAxis: 1}
	energy      = kind{jouleAxis: 1}
	absorbed    = kind{grayAxis: 1}

	perBody   = kind{bodyAxis: -1}
	perArea   = kind{areaAxis: -1}
	perVolume = kind{volumeAxis: -1}

	volumeRate   = volume.plus(frequency)
	massRate     = mass.plus(frequency)
	unitRate     = intlUnits.plus(frequency)
	amountRate   = amount.plus(frequency)
	eqRate       = equivalents.plus(frequency)
	volumeByBody = volume.plus(perBody)
	massByBody   = mass.plus(perBody)
	unitsByBody  = intlUnits.plus(perBody)
	amountByBody = amount.plus(perBody)
	massByArea   = mass.plus(perArea)
	massConc     = mass.plus(perVolume)
	unitConc     = intlUnits.plus(perVolume)
	amountConc   = amount.plus(perVolume)
	eqConc       = equivalents.plus(perVolume)
)

// A unit is num/den x 10^exp base units of its kind. den is 0 for units that
// convert into nothing. mdc is the reference id of ISO/IEEE 11073-10101
// partition 4 without "MDC_DIM_", code its number within the partition: a
// multiple of 32 for the dimension plus a number for the decimal prefix (deci
// 16, centi 17, milli 18, micro 19, nano 20, hecto 2, kilo 3). It
// was read in a published table or message, or follows by that rule from one
// that was; "" and 0 where there was none.
type unit struct {
	ucum     string
	mdc      string
	code     uint16
	kind     kind
	num, den uint32
	exp      int8
}

// units is the table of units. The factors follow from the UCUM codes (a test
// derives them again); kilogram, hour and day stand in them as 10^3 g, 3600 s
// and 86400 s.
var units = [...]unit{
	{"", "", 0, kind{}, 1, 1, 0},

	{"1", "DIMLESS", 0x0200, fraction, 1, 1, 0},
	{"%", "PERCENT", 0x0220, fraction, 1, 1, -2},

	{"L", "X_L", 0x0640, volume, 1, 1, 0},
	{"dL", "DECI_L", 0x0650, volume, 1, 1, -1},
	{"mL", "MILLI_L", 0x0652, volume, 1, 1, -3},
	{"uL", "MICRO_L", 0x0653, volume, 1, 1, -6},

	{"kg", "KILO_G", 0x06C3, mass, 1, 1, 3},
	{"g", "X_G", 0x06C0, mass, 1, 1, 0},
	{"mg", "MILLI_G", 0x06D2, mass, 1, 1, -3},
	{"ug", "MICRO_G", 0x06D3, mass, 1, 1, -6},
	{"ng", "NANO_G", 0x06D4, mass, 1, 1, -9},
	{"[lb_av]", "X_LB", 0x06E0, mass, 45359237, 1, -5},
	{"[oz_av]", "X_OZ", 0x0700, mass, 45359237, 16, -5},

	{"[iU]", "X_INTL_UNIT", 0x1560, intlUnits, 1, 1, 0},
	{"m[iU]", "MILLI_INTL_UNIT", 0x1572, intlUnits, 1, 1, -3},
	{"mol", "X_MOLE", 0x11C0, amount, 1, 1, 0},
	{"mmol", "MILLI_MOLE", 0x11D2, amount, 1, 1, -3},
	{"umol", "MICRO_MOLE", 0x11D3, amount, 1, 1, -6},
	{"eq", "X_EQUIV", 0x11E0, equivalents, 1, 1, 0},
	{"meq", "MILLI_EQUIV", 0x11F2, equivalents, 1, 1, -3},
	{"m2", "SQ_X_M", 0x05C0, area, 1, 1, 0},

	{"s", "SEC", 0x0880, duration, 1, 1, 0},
	{"ms", "MILLI_SEC", 0x0892, duration, 1, 1, -3},
	{"us", "MICRO_SEC", 0x0893, duration, 1, 1, -6},
	{"min", "MIN", 0x08A0, duration, 60, 1, 0},
	{"h", "HR", 0x08C0, duration, 3600, 1, 0},
	{"d", "DAY", 0x08E0, duration, 86400, 1, 0},
	{"wk", "WEEKS", 0x0900, duration, 604800, 1, 0},
	{"Hz", "HZ", 0x09C0, frequency, 1, 1, 0},
	{"/min", "PER_MIN", 0x09E0, frequency, 1, 60, 0},
	{"{beats}/min", "BEAT_PER_MIN", 0x0AA0, frequency, 1, 60, 0},
	{"{pulses}/min", "PULS_PER_MIN", 0x0AC0, frequency, 1, 60, 0},
	{"{breaths}/min", "RESP_PER_MIN", 0x0AE0, frequency, 1, 60, 0},

	{"L/s", "X_L_PER_SEC", 0x0BE0, volumeRate, 1, 1, 0},
	{"mL/s", "MILLI_L_PER_SEC", 0x0BF2, volumeRate, 1, 1, -3},
	{"L/min", "X_L_PER_MIN", 0x0C00, volumeRate, 1, 60, 0},
	{"mL/min", "MILLI_L_PER_MIN", 0x0C12, volumeRate, 1, 60, -3},
	{"L/h", "X_L_PER_HR", 0x0C20, volumeRate, 1, 3600, 0},
	{"mL/h", "MILLI_L_PER_HR", 0x0C32, volumeRate, 1, 3600, -3},
	{"uL/h", "MICRO_L_PER_HR", 0x0C33, volumeRate, 1, 3600, -6},
	{"L/d", "X_L_PER_DAY", 0x0C40, volumeRate, 1, 86400, 0},
	{"mL/d", "MILLI_L_PER_DAY", 0x0C52, volumeRate, 1, 86400, -3},
	{"mL/kg", "MILLI_L_PER_KG", 0x0C72, volumeByBody, 1, 1, -3},
	{"mL/kg/min", "", 0, volumeByBody.plus(frequency), 1, 60, -3},
	{"mL/kg/h", "", 0, volumeByBody.plus(frequency), 1, 3600, -3},

	{"g/min", "X_G_PER_MIN", 0x0D00, massRate, 1, 60, 0},
	{"mg/min", "MILLI_G_PER_MIN", 0x0D12, massRate, 1, 60, -3},
	{"ug/min", "MICRO_G_PER_MIN", 0x0D13, massRate, 1, 60, -6},
	{"ng/min", "NANO_G_PER_MIN", 0x0D14, massRate, 1, 60, -9},
	{"g/h", "X_G_PER_HR", 0x0D20, massRate, 1, 3600, 0},
	{"mg/h", "MILLI_G_PER_HR", 0x0D32, massRate, 1, 3600, -3},
	{"ug/h", "MICRO_G_PER_HR", 0x0D33, massRate, 1, 3600, -6},
	{"ng/h", "NANO_G_PER_HR", 0x0D34, massRate, 1, 3600, -9},
	{"g/d", "X_G_PER_DAY", 0x0D40, massRate, 1, 86400, 0},
	{"mg/d", "MILLI_G_PER_DAY", 0x0D52, massRate, 1, 86400, -3},
	{"ug/d", "MICRO_G_PER_DAY", 0x0D53, massRate, 1, 86400, -6},

	{"g/kg/min", "X_G_PER_KG_PER_MIN", 0x0D80, massByBody.plus(frequency), 1, 60, 0},
	{"mg/kg/min", "MILLI_G_PER_KG_PER_MIN", 0x0D92, massByBody.plus(frequency), 1, 60, -3},
	{"ug/kg/min", "MICRO_G_PER_KG_PER_MIN", 0x0D93, massByBody.plus(frequency), 1, 60, -6},
	{"ng/kg/min", "NANO_G_PER_KG_PER_MIN", 0x0D94, massByBody.plus(frequency), 1, 60, -9},
	{"g/kg/h", "X_G_PER_KG_PER_HR", 0x0DA0, massByBody.plus(frequency), 1, 3600, 0},
	{"mg/kg/h", "MILLI_G_PER_KG_PER_HR", 0x0DB2, massByBody.plus(frequency), 1, 3600, -3},
	{"ug/kg/h", "MICRO_G_PER_KG_PER_HR", 0x0DB3, massByBody.plus(frequency), 1, 3600, -6},
	{"ng/kg/h", "NANO_G_PER_KG_PER_HR", 0x0DB4, massByBody.plus(frequency), 1, 3600, -9},
	{"mg/kg/d", "", 0, massByBody.plus(frequency), 1, 86400, -3},
	{"ug/kg/d", "", 0, massByBody.plus(frequency), 1, 86400, -6},
	{"mg/m2/h", "", 0, massByArea.plus(frequency), 1, 3600, -3},

	{"[iU]/min", "X_INTL_UNIT_PER_MIN", 0x1620, unitRate, 1, 60, 0},
	{"m[iU]/min", "MILLI_INTL_UNIT_PER_MIN", 0x1632, unitRate, 1, 60, -3},
	{"[iU]/h", "X_INTL_UNIT_PER_HR", 0x1640, unitRate, 1, 3600, 0},
	{"m[iU]/h", "MILLI_INTL_UNIT_PER_HR", 0x1652, unitRate, 1, 3600, -3},
	{"[iU]/d", "", 0, unitRate, 1, 86400, 0},
	{"[iU]/kg/min", "X_INTL_UNIT_PER_KG_PER_MIN", 0x16A0, unitsByBody.plus(frequency), 1, 60, 0},
	{"m[iU]/kg/min", "MILLI_INTL_UNIT_PER_KG_PER_MIN", 0x16B2, unitsByBody.plus(frequency), 1, 60, -3},
	{"[iU]/kg/h", "X_INTL_UNIT_PER_KG_PER_HR", 0x16C0, unitsByBody.plus(frequency), 1, 3600, 0},
	{"m[iU]/kg/h", "MILLI_INTL_UNIT_PER_KG_PER_HR", 0x16D2, unitsByBody.plus(frequency), 1, 3600, -3},
	{"[iU]/kg/d", "", 0, unitsByBody.plus(frequency), 1, 86400, 0},

	{"mmol/min", "", 0, amountRate, 1, 60, -3},
	{"mmol/h", "", 0, amountRate, 1, 3600, -3},
	{"mmol/d", "", 0, amountRate, 1, 86400, -3},
	{"mmol/kg/h", "", 0, amountByBody.plus(frequency), 1, 3600, -3},
	{"meq/h", "", 0, eqRate, 1, 3600, -3},
	{"meq/d", "MILLI_EQUIV_PER_DAY", 0x1452, eqRate, 1, 86400, -3},

	{"g/kg", "", 0, massByBody, 1, 1, 0},
	{"mg/kg", "", 0, massByBody, 1, 1, -3},
	{"ug/kg", "", 0, massByBody, 1, 1, -6},
	{"ng/kg", "", 0, massByBody, 1, 1, -9},
	{"[iU]/kg", "", 0, unitsByBody, 1, 1, 0},
	{"mmol/kg", "", 0, amountByBody, 1, 1, -3},
	{"mg/m2", "", 0, massByArea, 1, 1, -3},

	{"g/L", "X_G_PER_L", 0x0800, massConc, 1, 1, 0},
	{"mg/L", "MILLI_G_PER_L", 0x0812, massConc, 1, 1, -3},
	{"ug/L", "MICRO_G_PER_L", 0x0813, massConc, 1, 1, -6},
	{"g/dL", "X_G_PER_DL", 0x0840, massConc, 1, 1, 1},
	{"mg/dL", "MILLI_G_PER_DL", 0x0852, massConc, 1, 1, -2},
	{"g/mL", "X_G_PER_ML", 0x0860, massConc, 1, 1, 3},
	{"mg/mL", "MILLI_G_PER_ML", 0x0872, massConc, 1, 1, 0},
	{"ug/mL", "MICRO_G_PER_ML", 0x0873, massConc, 1, 1, -3},
	{"ng/mL", "NANO_G_PER_ML", 0x0874, massConc, 1, 1, -6},
	{"[iU]/L", "", 0, unitConc, 1, 1, 0},
	{"[iU]/mL", "X_INTL_UNIT_PER_ML", 0x15E0, unitConc, 1, 1, 3},
	{"m[iU]/mL", "MILLI_INTL_UNIT_PER_ML", 0x15F2, unitConc, 1, 1, 0},
	{"mmol/L", "MILLI_MOLE_PER_L", 0x1272, amountConc, 1, 1, -3},
	{"umol/L", "MICRO_MOLE_PER_L", 0x1273, amountConc, 1, 1, -6},
	{"mmol/mL", "", 0, amountConc, 1, 1, 0},
	{"meq/L", "MILLI_EQUIV_PER_L", 0x12F2, eqConc, 1, 1, -3},
	{"meq/mL", "", 0, eqConc, 1, 1, 0},

	{"Pa", "X_PASCAL", 0x0F00, pressure, 1, 1, 0},
	{"hPa", "HECTO_PASCAL", 0x0F02, pressure, 1, 1, 2},
	{"kPa", "KILO_PASCAL", 0x0F03, pressure, 1, 1, 3},
	{"mm[Hg]", "MMHG", 0x0F20, pressure, 133322, 1, -3},    // UCUM: m[Hg] is 133.322 kPa
	{"cm[H2O]", "CM_H2O", 0x0F40, pressure, 980665, 1, -4}, // UCUM: m[H2O] is 9.80665 kPa
	{"bar", "X_BAR", 0x0F60, pressure, 1, 1, 5},
	{"mbar", "MILLI_BAR", 0x0F72, pressure, 1, 1, 2},

	{"Cel", "DEGC", 0x17A0, temperature, 0, 0, 0},
	{"[degF]", "FAHR", 0x1140, temperature, 0, 0, 0},
	{"K", "KELVIN", 0x1120, temperature, 0, 0, 0},

	{"V", "X_VOLT", 0x10A0, voltage, 1, 1, 0},
	{"mV", "MILLI_VOLT", 0x10B2, voltage, 1, 1, -3},
	{"uV", "MICRO_VOLT", 0x10B3, voltage, 1, 1, -6},
	{"A", "X_AMPS", 0x1040, current, 1, 1, 0},
	{"mA", "MILLI_AMPS", 0x1052, current, 1, 1, -3},
	{"uA", "MICRO_AMPS", 0x1053, current, 1, 1, -6},
	{"Ohm", "X_OHM", 0x10C0, resistance, 1, 1, 0},
	{"uC", "MICRO_COULOMB", 0x1073, charge, 1, 1, -6},
	{"J", "X_JOULES", 0x0F80, energy, 1, 1, 0},
	{"mJ", "MILLI_JOULES", 0x0F92, energy, 1, 1, -3},
	{"Gy", "", 0, absorbed, 1, 1, 0},
	{"cGy", "", 0, absorbed, 1, 1, -2},
}

// words maps the parts of units that real orders write to those of UCUM; case
// counts for none of them. "MU" is not here: it may be a million units, or a
// thousandth of one.
var words = map[string]string{
	"cc": "mL", "ml": "mL", "l": "L", "dl": "dL", "ul": "uL",
	"mcg": "ug", "µg": "ug", "μg": "ug", "ug": "ug", "mg": "mg", "ng": "ng",
	"g": "g", "gm": "g", "gram": "g", "grams": "g", "kg": "kg", "lb": "[lb_av]", "lbs": "[lb_av]", "oz": "[oz_av]",
	"u": "[iU]", "iu": "[iU]", "unit": "[iU]", "units": "[iU]", "unt": "[iU]", "[iu]": "[iU]",
	"milliunit": "m[iU]", "milliunits": "m[iU]",
	"mmol": "mmol", "meq": "meq", "m2": "m2",
	"s": "s", "sec": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms",
	"min": "min", "minute": "min", "minutes": "min", "mins": "min",
	"h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
	"d": "d", "day": "d", "days": "d", "week": "wk", "weeks": "wk",
	"bpm": "{beats}/min", "ppm": "{pulses}/min", "hz": "Hz",
	"mmhg": "mm[Hg]", "cmh2o": "cm[H2O]", "kpa": "kPa", "mbar": "mbar", "percent": "%",
	"v": "V", "volt": "V", "volts": "V", "j": "J", "joule": "J", "joules": "J",
}

// maxUnitBytes bounds the text of a unit: the longest reference id in the table has 39.
const maxUnitBytes = 64

var (
	unitsByUCUM = indexUnits(func(u unit) string { return u.ucum })
	unitsByMDC  = indexUnits(func(u unit) string { return strings.TrimPrefix(u.mdc, "X_") })
	unitsByCode = indexUnits(func(u unit) uint16 { return u.code })

	millilitresPerHour = unitsByUCUM["mL/h"]
)

func indexUnits[K comparable](key func(unit) K) map[K]Unit {
	var zero K
	m := make(map[K]Unit, len(units))
	for i, u := range units {
		if k := key(u); k != zero {
			m[k] = Unit(i)
		}
	}
	return m
}

// UnitOfUCUM returns the unit with a UCUM code, such as "mL/h". In UCUM "U" is
// the enzyme unit; in orders and in FHIR's own examples it stands for units of
// insulin, which alone a device delivers, and so it does here.
func UnitOfUCUM(code string) (Unit, bool) {
	if code == "U" {
		code = "[iU]"
	}
	u, ok := unitsByUCUM[code]
	return u, ok
}

// UnitOfMDC returns the unit with an ISO/IEEE 11073-10101 reference id, such
// as "MDC_DIM_MILLI_L_PER_HR". The "X_" of units without a decimal prefix may
// be missing, as it is in the personal health device standards.
func UnitOfMDC(refid string) (Unit, bool) {
	rest, ok := strings.CutPrefix(refid, "MDC_DIM_")
	if !ok {
		return NoUnit, false
	}
	u, ok := unitsByMDC[strings.TrimPrefix(rest, "X_")]
	return u, ok
}

// UnitOfMDCCode returns the unit with a context-free code: partition 4 in the
// upper half, the unit in the lower, as in 265266 for mL/h.
func UnitOfMDCCode(code uint32) (Unit, bool) {
	if code>>16 != 4 {
		return NoUnit, false
	}
	u, ok := unitsByCode[uint16(code)]
	return u, ok
}

// UnitOf returns the unit that a person or a system meant: a UCUM code, an MDC
// reference id, or what orders write ("mcg/kg/min", "ml/hr", "units").
func UnitOf(text string) (Unit, bool) {
	if len(text) > maxUnitBytes {
		return NoUnit, false
	}
	text = strings.TrimSpace(text)
	if u, ok := UnitOfUCUM(text); ok {
		return u, true
	}
	if u, ok := UnitOfMDC(text); ok {
		return u, true
	}
	parts := strings.Split(strings.ReplaceAll(text, " per ", "/"), "/")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		w, ok := words[strings.ToLower(p)]
		switch {
		case p == "mU":
			parts[i] = "m[iU]"
		case ok:
			parts[i] = w
		default:
			parts[i] = p
		}
	}
	// "ug/min/kg" is "ug/kg/min".
	if len(parts) == 3 && (parts[2] == "kg" || parts[2] == "m2") {
		parts[1], parts[2] = parts[2], parts[1]
	}
	u, ok := unitsByUCUM[strings.Join(parts, "/")]
	return u, ok
}

// index is u, or 0 where a careless caller made up a number.
func (u Unit) index() Unit {
	if int(u) < len(units) {
		return u
	}
	return NoUnit
}

func (u Unit) kind() kind { return units[u.index()].kind }

// converts reports whether u can be turned into other units at all.
func (u Unit) converts() bool { return u.index() != NoUnit && units[u.index()].den != 0 }

// factor returns how many base units u is. It must convert.
func (u Unit) factor() *big.Rat {
	x := units[u.index()]
	r := big.NewRat(int64(x.num), int64(x.den))
	return r.Mul(r, pow10(int(x.exp)))
}

// String returns the UCUM code of u, or "".
func (u Unit) String() string { return units[u.index()].ucum }

// MDC returns the context-free code and the reference id of u, or 0 and "".
func (u Unit) MDC() (code uint32, refid string) {
	x := units[u.index()]
	if x.code == 0 {
		return 0, ""
	}
	return 4<<16 | uint32(x.code), "MDC_DIM_" + x.mdc
}

// SameKind reports whether quantities in u and v can be compared: the same
// unit, or two that measure the same thing and convert.
func (u Unit) SameKind(v Unit) bool {
	return u == v || u.converts() && v.converts() && u.kind() == v.kind()
}

// drug reports whether k counts a drug (or its volume) to the first power, and
// nothing else but perhaps per body and per time.
func (k kind) drug(time int8) bool {
	if k[timeAxis] != time {
		return false
	}
	k[timeAxis] = 0
	if k[bodyAxis] == -1 {
		k[bodyAxis] = 0
	} else if k[areaAxis] == -1 {
		k[areaAxis] = 0
	}
	return k == volume || k == mass || k == intlUnits || k == amount || k == equivalents
}

// IsRate reports whether u is volume per time, which a pump can be set to as it is: mL/h.
func (u Unit) IsRate() bool { return u.kind() == volumeRate }

// IsDoseRate reports whether u is a rate that only the drug's concentration, or
// the patient's weight too, turns into a flow: mg/h, ug/kg/min.
func (u Unit) IsDoseRate() bool { return u.kind().drug(-1) && !u.IsRate() }

// IsDose reports whether u is an amount to be given: mL, mg, [iU], mg/kg.
func (u Unit) IsDose() bool { return u.kind().drug(0) }

// IsConcentration reports whether u is drug per volume: mg/mL.
func (u Unit) IsConcentration() bool {
	k := u.kind()
	return k == massConc || k == unitConc || k == amountConc || k == eqConc
}

// IsMass reports whether u can be a patient's weight: kg.
func (u Unit) IsMass() bool { return u.kind() == mass }

// IsTime reports whether u is a duration: min.
func (u Unit) IsTime() bool { return u.kind() == duration }
