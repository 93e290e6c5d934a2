// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"
)

func quantityFor(t testing.TB, s string) Quantity {
	t.Helper()
	if s == "" {
		return Quantity{}
	}
	q, err := ParseQuantity(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return q
}

func TestBasis(t *testing.T) {
	for _, test := range []struct {
		q, weight, concentration, to string
		below, above                 int64 // in millionths
		err                          error
	}{
		{"4 [iU]", "", "", "1 [iU]", 4e6, 4e6, nil},
		{"0.2 ug/kg/min", "", "", "1 ug/kg/h", 12e6, 12e6, nil},
		{"1.0 ug/kg/min", "80 kg", "0.08 mg/mL", "1 mL/h", 60e6, 60e6, nil},
		{"60 mL/h", "80 kg", "0.08 mg/mL", "1 ug/kg/min", 1e6, 1e6, nil}, // the inverse
		{"60 mL/h", "80000 g", "80 ug/mL", "1 ug/kg/min", 1e6, 1e6, nil},
		{"60 mL/h", "", "0.08 mg/mL", "1 ug/kg/min", 0, 0, ErrMissing},
		{"60 mL/h", "80 kg", "", "1 ug/kg/min", 0, 0, ErrMissing},
		{"60 mL/h", "0 kg", "0.08 mg/mL", "1 ug/kg/min", 0, 0, ErrMissing},
		{"60 mL/h", "80 h", "0.08 mg/mL", "1 ug/kg/min", 0, 0, ErrKind},
		{"60 mL/h", "80 kg", "5 [iU]/mL", "1 ug/kg/min", 0, 0, ErrKind},
		{"60 mL/h", "80 kg", "5 mg", "1 ug/kg/min", 0, 0, ErrKind},
		{"2 mL", "", "50 [iU]/mL", "1 [iU]", 100e6, 100e6, nil},
		{"100 [iU]", "", "50 [iU]/mL", "1 mL", 2e6, 2e6, nil},
		{"1 mL", "", "3 mg/mL", "1 mL", 1e6, 1e6, nil},
		{"1 mg", "", "3 mg/mL", "1 mL", 333333, 333334, nil},
		{"-1 mg", "", "3 mg/mL", "1 mL", -333334, -333333, nil},
		{"0 mg", "", "3 mg/mL", "1 mL", 0, 0, nil},
		{"1 mg", "", "3 mg/mL", "1 mL/h", 0, 0, ErrKind}, // an amount is no rate
		{"1 mg/m2", "80 kg", "3 mg/mL", "1 mg", 0, 0, ErrKind},
		{"1E-99 mg", "", "3 mg/mL", "1 mL", 0, 1, nil},
		{"1E-128 mg", "", "1E127 mg/mL", "1 mL", 0, 1, nil},
		{"1E99 mg", "", "3 mg/mL", "1 mL", 0, 0, ErrRange},
		{"999999999999999999 ng/kg/min", "999999999999999999 [lb_av]", "999999999999999999 ng/mL", "1 mL/min", 0, 0, ErrRange},
		{"5 {beats}/min", "", "", "1 {beats}/min", 5e6, 5e6, nil},
	} {
		b := Basis{quantityFor(t, test.weight), quantityFor(t, test.concentration)}
		q, to := quantityFor(t, test.q), quantityFor(t, test.to)
		below, above, err := b.Fixed(q, to.Unit, -6)
		if below != test.below || above != test.above || !errors.Is(err, test.err) {
			t.Errorf("%v of %v in %v: %d, %d, %v; want %d, %d, %v", q, b, to.Unit, below, above, err, test.below, test.above, test.err)
		}
		if c, err := b.Cmp(q, Quantity{test.below, -6, to.Unit}); err == nil && (c < 0 || c > 0 && test.below == test.above && test.err == nil) || !errors.Is(err, test.err) && !errors.Is(test.err, ErrRange) {
			t.Errorf("%v of %v with %d millionths of %v: %d, %v", q, b, test.below, to.Unit, c, err)
		}
	}
}

// TestBasisExact holds both against rationals.
func TestBasisExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(ucum ...string) Quantity {
		u, ok := UnitOfUCUM(ucum[rnd.IntN(len(ucum))])
		if !ok {
			t.Fatal(ucum)
		}
		n := rnd.Int64N(1<<62) >> rnd.IntN(62)
		return Quantity{max(1, n), int8(rnd.IntN(24) - 16), u}
	}
	whole := 0
	for range 20_000 {
		b := Basis{random("kg", "g", "[lb_av]"), random("mg/mL", "ug/mL", "g/L")}
		rates := []string{"mL/h", "mL/d", "ug/kg/min", "mg/kg/d", "ug/min", "g/h", "mL/kg/min"}
		q, r := random(rates...), random(rates...)
		perHour := func(q Quantity) *big.Rat {
			x := q.base()
			if q.Unit.kind()[bodyAxis] == -1 {
				x.Mul(x, b.Weight.base())
				x.Mul(x, big.NewRat(1, 1000))
			}
			if q.Unit.kind()[massAxis] == 1 {
				x.Quo(x, b.Concentration.base())
			}
			return x
		}
		if c, err := b.Cmp(q, r); err != nil || c != perHour(q).Cmp(perHour(r)) {
			t.Fatalf("%v with %v: %d, %v", q, r, c, err)
		}
		exact := new(big.Rat).Quo(perHour(q), perHour(Quantity{1, -6, r.Unit}))
		below, above, err := b.Fixed(q, r.Unit, -6)
		if err != nil {
			if exact.Cmp(new(big.Rat).SetInt64(1<<62)) < 0 {
				t.Fatalf("%v in %v: %v", q, r.Unit, err)
			}
			continue
		}
		whole++
		lo, hi := new(big.Rat).SetInt64(below), new(big.Rat).SetInt64(above)
		if lo.Cmp(exact) > 0 || hi.Cmp(exact) < 0 || above-below > 1 || (above == below) != exact.IsInt() {
			t.Fatalf("%v in %v: %d, %d; want %v", q, r.Unit, below, above, exact)
		}
	}
	if whole < 5000 {
		t.Fatal("too few fit:", whole)
	}
}

func TestBasisAllocations(t *testing.T) {
	b := Basis{quantityFor(t, "80 kg"), quantityFor(t, "0.08 mg/mL")}
	q, r := quantityFor(t, "60.333 mL/h"), quantityFor(t, "1.0 ug/kg/min")
	if n := testing.AllocsPerRun(100, func() {
		b.Cmp(q, r)
		b.Fixed(q, r.Unit, -6)
	}); n != 0 {
		t.Fatal(n)
	}
}

func BenchmarkBasis(b *testing.B) {
	basis := Basis{quantityFor(b, "80 kg"), quantityFor(b, "0.08 mg/mL")}
	q, r := quantityFor(b, "60.333 mL/h"), quantityFor(b, "1.0 ug/kg/min")
	for b.Loop() {
		basis.Fixed(q, r.Unit, -6)
	}
}
