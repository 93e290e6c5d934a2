// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto/gatt"
)

// nameOf returns an assigned name, or says that there is none. A number of 16 bits
// names nobody; one of 128 is whatever its device likes, such as its address or serial number.
func nameOf(name string, u gatt.UUID) string {
	if name != "" || u == (gatt.UUID{}) {
		return name
	}
	if _, assigned := u.Short(); assigned {
		return "unassigned " + u.String()
	}
	return "unassigned, of 128 bits"
}

// operation names the use of an attribute, whose characteristic is known or not.
func operation(x *gatt.Access, r *gatt.Reading, service *gatt.ServiceInfo, known bool) string {
	written := x.Op == gatt.Write || x.Op == gatt.WriteCommand
	switch {
	case x.Descriptor != (gatt.UUID{}):
		return subscription
	case service.Update && written:
		return updateWrite
	case (r.Opaque || !known) && written:
		return opaqueWrite
	case r.Opaque || !known:
		return opaqueValue
	case !written && (r.Kind == gatt.NoKind || r.Kind == gatt.Setting):
		return description
	case r.Command.Verb == device.ReportGlucose && r.Kind == gatt.Measurement:
		return glucoseSent
	}
	return x.Op.String()
}

// defences says what a refusal asks for (Vol 3 Part F section 3.4.1.1).
var defences = map[uint8]string{
	0x05: "insufficient authentication", 0x08: "insufficient authorization",
	0x0c: "encryption key too short", 0x0f: "insufficient encryption",
}

// gattFields are gatt's kinds of patient data.
var gattFields = fieldTable[gatt.Fields]{
	{gatt.FieldResult, event.FieldResult},
	{gatt.FieldOrder, event.FieldOrder},
	{gatt.FieldName, event.FieldName},
	{gatt.FieldBirthDate, event.FieldBirthDate},
	{gatt.FieldSex, event.FieldSex},
	{gatt.FieldContact, event.FieldAddress},
	{gatt.FieldIdentifier, event.FieldSerial},
}

func (a *air) reading(c *ble.Connection, l *airLink, x *gatt.Access, r *gatt.Reading, service *gatt.ServiceInfo, server, client *party, lvl int, first func(event.Kind) bool) {
	if x.Confidence < device.Medium && r.Kind != gatt.Command {
		return // by its shape alone
	}
	guard := protection(lvl)
	if r.Opaque {
		guard |= device.Unseen
	}
	switch r.Kind {
	case gatt.Command:
		a.command(c, l, x, r, server, client, guard, lvl)
	case gatt.Response:
		a.note(event.CommandAnswered, server.addr, client.addr, event.Int(event.Verb, r.Command.Verb), event.Int(event.Stage, r.Command.Stage),
			event.Int(event.Outcome, outcomes[r.Outcome]), event.Text(event.Target, a.targetOf(service, r)))
	case gatt.Identity:
		id := &r.Identity
		made := inventory.Claim{Manufacturer: a.sh.text(id.Manufacturer), Model: a.sh.text(id.Model), Version: a.sh.text(id.Firmware)}
		switch {
		case made == inventory.Claim{}:
		case !server.medical && !l.tracker.Database(x.Server).MedicalDevice():
			server.made.Manufacturer = cmp.Or(made.Manufacturer, server.made.Manufacturer)
			server.made.Model = cmp.Or(made.Model, server.made.Model)
			server.made.Version = cmp.Or(made.Version, server.made.Version)
		case first(event.IdentitySeen):
			a.noteMade(server, client.addr, made)
		}
	}
	if r.Fields&gatt.FieldSecret != 0 && first(event.LoginSeen) {
		from, to := client, server
		if x.From == x.Server {
			from, to = server, client
		}
		a.note(event.LoginSeen, from.addr, to.addr, event.Text(event.Protocol, "gatt"), event.Text(event.Scheme, "code"), event.Int(event.Protection, guard&^device.Unseen))
	}
	fields := gattFields.of(r.Fields)
	if !server.medical && !l.tracker.Database(x.Server).Worn() {
		fields &^= event.FieldSerial // of what nobody wears
	}
	if fields == 0 || r.Opaque || !first(event.PatientDataSeen) {
		return
	}
	from, to := server, client
	if x.From == x.Server.Other() {
		from, to = client, server
	}
	a.note(event.PatientDataSeen, from.addr, to.addr, event.Text(event.Protocol, "gatt"), event.Int(event.Fields, fields),
		event.Int(event.Subject, a.subject(server)), event.Int(event.Protection, guard), event.Text(event.Operation, a.attribute(l)))
}

var outcomes = [...]event.Result{gatt.NoOutcome: event.Unknown, gatt.Succeeded: event.Succeeded, gatt.Failed: event.Failed}

func (a *air) targetOf(service *gatt.ServiceInfo, r *gatt.Reading) string {
	return a.joined(": ", service.Name, r.Operation)
}

// attribute names what was used last: its service and characteristic.
func (a *air) attribute(l *airLink) string {
	return a.joined(": ", l.service.Name, l.characteristic.Name)
}

// target names what a command was written to, how well that was protected, and
// what the profile calls it.
func (a *air) target(l *airLink, r *gatt.Reading, lvl int) string {
	operation := r.Operation
	if operation == l.characteristic.Name {
		operation = ""
	}
	written := a.joined(", ", l.service.Name, l.characteristic.Name)
	return a.joined(": ", a.joined(" at ", written, levelName(int64(lvl))), operation)
}

// joined returns two names with a mark between them, made once; one alone has none.
func (a *air) joined(mark, one, other string) string {
	if one == "" || other == "" {
		return one + other
	}
	b := append(append(append(a.scratch[:0], one...), mark...), other...)
	a.scratch = b
	return a.sh.known(b)
}

// amount returns a quantity as text, made once.
func (a *air) amount(q device.Quantity) string {
	if q.IsNone() {
		return ""
	}
	t, ok := a.amounts[q]
	if !ok {
		if len(a.amounts) >= maxTexts {
			clear(a.amounts)
		}
		t = q.String()
		a.amounts[q] = t
	}
	return t
}

// command tells of a command. What a decoder cannot name is told only where it
// is sealed: then something was asked for, and nobody sees what.
func (a *air) command(c *ble.Connection, l *airLink, x *gatt.Access, r *gatt.Reading, server, client *party, guard device.Protection, lvl int) {
	if r.Opaque && r.Command.Verb == device.NoVerb {
		return // AttributeUsed says so
	}
	cmd := r.Command
	value, now := cmd.Value, cmd.Now
	if !r.Level.IsNone() {
		value, now = r.Level, r.LevelNow
	}
	target := a.target(l, r, lvl)
	if x.Confidence < device.Medium {
		cmd.Verb = device.NoVerb
		target += ", by its shape"
	}
	var fresh int64
	if r.Fresh != 0 && r.Integrity == gatt.Good {
		// The counter begins anew with each connection: it is fresh within one.
		var id [8]byte
		binary.BigEndian.PutUint64(id[:], c.ID)
		fresh = a.sh.pseudonym("hash", id[:], []byte{r.Fresh}, x.Value)
	}
	a.note(event.OrderSeen, server.addr, client.addr, event.Text(event.Protocol, "gatt"), event.Text(event.Now, a.amount(now)),
		event.Bool(event.Trackable, client.host || client.address.Trackable() || l.pairing.State >= ble.Encrypted || c.Security.Method != ble.NoMethod))
	a.note(event.CommandSeen, server.addr, client.addr, event.Int(event.Verb, cmd.Verb), event.Int(event.Therapy, cmd.Therapy),
		event.Int(event.Effect, device.EffectOf(&cmd)), event.Text(event.Value, a.amount(value)), event.Text(event.Target, target),
		event.Int(event.Protection, guard), event.Int(event.Fresh, fresh), event.Int(event.Repeat, a.sh.pseudonym("hash", []byte(server.addr.Value), x.Value)))
}
