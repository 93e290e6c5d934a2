// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// Opcodes and operators of the Record Access Control Point (GLS 1.0 section 3.4,
// CGMS 1.0.2 section 3.6, PLXS 1.0 section 3.5).
const (
	racpReport       = 1
	racpDelete       = 2
	racpAbort        = 3
	racpCount        = 4
	racpCountAnswer  = 5
	racpResponse     = 6
	racpSuccess      = 1
	racpLessEqual    = 2
	racpGreaterEqual = 3
	racpRange        = 4
	racpLast         = 6
)

var racpNames = [...]string{
	"", "Report Stored Records", "Delete Stored Records", "Abort Operation", "Report Number of Stored Records",
	"Number of Stored Records Response", "Response Code",
}

func racpVerb(op uint8) device.Verb {
	switch op {
	case racpDelete:
		return device.DeleteRecords
	case racpReport, racpAbort, racpCount:
		return device.ReadTelemetry
	}
	return device.NoVerb
}

// recordAccess reads a value of the Record Access Control Point.
func recordAccess(c *wire.Cursor, a *Access, r *Reading) {
	op := c.Uint8("Op Code")
	if a.fromServer() {
		r.response(device.NoVerb, false)
	} else {
		r.command(racpVerb(op))
	}
	if op == 0 || int(op) >= len(racpNames) {
		c.FailAt("Op Code", 0, wire.ErrReserved)
		return
	}
	r.Operation = racpNames[op]
	if (op >= racpCountAnswer) != a.fromServer() {
		c.FailAt("Op Code", 0, wire.ErrInvalid) // the other side's
		return
	}
	operator := c.Uint8("Operator")
	if operator > racpLast {
		c.FailAt("Operator", 1, wire.ErrReserved)
	}
	switch {
	case op == racpResponse:
		request := c.Uint8("Request Op Code")
		r.Code = c.Uint8("Response Code Value")
		r.response(racpVerb(request), r.Code == racpSuccess)
	case op == racpCountAnswer:
		c.Skip("Number of Records", 2)
		r.response(device.ReadTelemetry, true)
	case operator >= racpLessEqual && operator <= racpRange:
		bounds := 1
		if operator == racpRange {
			bounds = 2
		}
		filter := c.Uint8("Filter Type")
		for range bounds {
			switch filter {
			case 1: // sequence number, or minutes of a session
				c.Skip("Filter Parameters", 2)
			case 2: // user-facing time
				var t DateTime
				t.parse(c)
			default:
				c.FailAt("Filter Type", 2, wire.ErrReserved)
			}
		}
	}
}

// bondNames are the opcodes of the Bond Management Control Point (BMS 1.0
// section 3.1).
var bondNames = [...]string{
	"",
	"Delete bond of requesting device (BR/EDR and LE)", "Delete bond of requesting device (BR/EDR)", "Delete bond of requesting device (LE)",
	"Delete all bonds on server (BR/EDR and LE)", "Delete all bonds on server (BR/EDR)", "Delete all bonds on server (LE)",
	"Delete all but the active bond on server (BR/EDR and LE)", "Delete all but the active bond on server (BR/EDR)",
	"Delete all but the active bond on server (LE)",
}

// bondControl reads a value of the Bond Management Control Point. The verb is
// device.Pair: whom the device trusts is changed, and who was trusted has to
// pair again.
func bondControl(c *wire.Cursor, a *Access, r *Reading) {
	if a.fromServer() { // it cannot be read
		c.Rest()
		return
	}
	r.command(device.Pair)
	op := c.Uint8("Op Code")
	if op == 0 || int(op) >= len(bondNames) {
		c.FailAt("Op Code", 0, wire.ErrReserved)
		return
	}
	r.Operation = bondNames[op]
	if len(c.Rest()) > 0 { // the authorization code
		r.Fields |= FieldSecret
	}
}

// userControl reads a value of the User Control Point (UDS 1.0 section 3.3).
func userControl(c *wire.Cursor, a *Access, r *Reading) {
	op := c.Uint8("Op Code")
	if a.fromServer() {
		r.response(device.NoVerb, false)
		if op != 0x20 {
			c.FailAt("Op Code", 0, wire.ErrReserved)
		}
		r.Operation = "Response Code"
		request := c.Uint8("Request Op Code")
		r.Code = c.Uint8("Response Value")
		if request == 1 && r.Code == 1 {
			c.Skip("User Index", 1)
		}
		r.response(userVerb(request), r.Code == 1)
		return
	}
	switch op {
	case 1:
		r.Kind, r.Operation, r.Fields = Setting, "Register New User", FieldSecret
		c.Skip("Consent Code", 2)
	case 2:
		r.Kind, r.Operation, r.Fields = Setting, "Consent", FieldSecret
		c.Skip("User Index", 1)
		c.Skip("Consent Code", 2)
	case 3:
		r.command(userVerb(op))
		r.Operation = "Delete User Data"
	default:
		r.command(device.NoVerb)
		c.FailAt("Op Code", 0, wire.ErrReserved)
	}
}

func userVerb(op uint8) device.Verb {
	if op == 3 {
		return device.DeleteRecords
	}
	return device.NoVerb
}
