// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

// A Quantity is an exact decimal number with a unit: Coefficient x 10^Exponent.
// The zero value is "none". It is comparable, but 1.0 mg and 1 mg differ:
// compare values with [Quantity.Cmp].
type Quantity struct {
	Coefficient int64
	Exponent    int8
	Unit        Unit
}

// A Unit is a unit of measure that this package knows, under its UCUM code
// ("mL/h"); MDC codes are mapped to the same unit. The zero value is none.
type Unit uint16
