// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

// A UDI is a unique device identifier: the device identifier (DI) names the
// product, the production identifiers (PI) the unit.
type UDI struct {
	Issuer   string // "GS1", "HIBCC", "ICCBBA", "IFA", or "" when unknown
	DI       string
	Serial   string // PI; patient data for implanted and body-worn devices
	Lot      string // PI
	Expiry   string // PI, YYYY-MM-DD or YYYY-MM
	Made     string // PI, YYYY-MM-DD or YYYY-MM
	Donation string // PI, ISBT 128 donation identification number
	Version  string
	Checked  bool // the format's check character was there and right
}
