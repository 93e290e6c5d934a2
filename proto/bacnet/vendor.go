// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package bacnet

// vendors are the few vendor identifiers, of more than a thousand that ASHRAE
// has assigned, that a hospital's buildings are likeliest to have.
var vendors = map[uint32]string{
	2:   "Trane",
	3:   "Daikin Applied",
	5:   "Johnson Controls",
	6:   "ABB",
	7:   "Siemens",
	8:   "Delta Controls",
	9:   "Siemens",
	10:  "Schneider Electric",
	11:  "TAC",
	16:  "Carrier",
	17:  "Honeywell",
	18:  "Alerton",
	19:  "TAC",
	22:  "Siemens",
	24:  "Automated Logic",
	26:  "Phoenix Controls",
	28:  "KMC Controls",
	35:  "Reliable Controls",
	36:  "Tridium",
	37:  "MSA Safety",
	80:  "Sauter",
	127: "ABB",
	178: "Loytec",
	188: "Lynxspring",
	245: "Contemporary Controls",
	313: "Siemens",
	364: "Distech Controls",
	389: "Chipkin Automation Systems",
}

// Vendor returns the name of a vendor identifier, or "" when it is not in this
// package's table.
func Vendor(id uint32) string { return vendors[id] }
