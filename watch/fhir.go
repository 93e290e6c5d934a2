// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/fhir"
)

// The bounds of one conversation and of one body.
const (
	maxFHIRFacts    = 512 // kinds of patient data by subject and type told; full, it is emptied
	maxFHIRDevices  = 256 // devices told; full, it is emptied
	maxFHIRSubjects = 256 // subjects of one body; the others are counted together
)

// A fhirObserver is told the FHIR bodies of one conversation.
type fhirObserver struct {
	facts    map[fhirFact]struct{}
	devices  map[int64]struct{} // hashes of what was told of devices
	reported bool
}

// A fhirFact is what one side said of a subject.
type fhirFact struct {
	subject int64
	fields  fhir.Fields
	name    string // resource type
	from    flow.Side
}

// fhirFields are FHIR's kinds of patient data.
var fhirFields = fieldTable[fhir.Fields]{
	{fhir.Name, event.FieldName},
	{fhir.BirthDate, event.FieldBirthDate},
	{fhir.Sex, event.FieldSex},
	{fhir.RecordNumber, event.FieldRecordNumber},
	{fhir.Address, event.FieldAddress},
	{fhir.Telephone, event.FieldTelephone},
	{fhir.Visit, event.FieldVisit},
	{fhir.NationalID, event.FieldNationalID},
	{fhir.Result, event.FieldResult},
	{fhir.Order, event.FieldOrder},
	{fhir.Image, event.FieldImage},
	{fhir.StaffName, event.FieldStaffName},
}

// asked notes a request for records.
func (o *fhirObserver) asked(x *exchange, r *httpRequest) {
	i := r.interaction
	switch i.Verb {
	case fhir.Read, fhir.History, fhir.Search, fhir.Operation:
	default:
		return
	}
	if r.asked {
		return
	}
	r.asked = true
	noteAt(x, r.at, event.RecordsRequested, r.from, event.Text(event.Protocol, "fhir"), event.Text(event.Operation, interactionName(i)))
}

// interactionName is FHIR's own word for an interaction: "search Observation",
// "$export".
func interactionName(i fhir.Interaction) string {
	switch {
	case len(i.Operation) > 1:
		return i.Operation
	case i.Verb == fhir.NoVerb:
		return ""
	case i.Type == "":
		return i.Verb.String()
	}
	return i.Verb.String() + " " + i.Type
}

// body is told one body. off is as content says.
func (o *fhirObserver) body(x *exchange, off int, b []byte, format fhir.Format, s *httpSide) {
	if !s.request {
		o.asked(x, &s.of)
	}
	var subjects []fhirSubject
	reports := int64(0)
	err := fhir.Scan(b, format, func(r *fhir.Resource) {
		at := within(off, r.Off)
		switch r.Type {
		case "Device":
			o.device(x, at, &r.Device)
		case "MedicationRequest", "DeviceRequest":
			if s.request {
				o.order(x, at, r, s)
			}
		case "Observation", "DiagnosticReport":
			reports++
		}
		if r.Fields == 0 {
			return
		}
		subject := int64(0)
		if id := bytes.ToUpper(bytes.TrimSpace(r.Subject)); len(id) > 0 {
			subject = x.subject(id)
		}
		o.fact(x, at, subject, r)
		if r.Fields != fhir.StaffName {
			subjects = tally(subjects, subject)
		}
	})
	if err != nil {
		if s.body.Done() && !errorsCut(err) {
			x.malformed(base(off), err)
		}
	}
	if s.request {
		if reports > 0 && !o.reported {
			o.reported = true
			x.note(event.ReportSeen, base(off), x.From, event.Text(event.Protocol, "fhir"), event.Text(event.Operation, "Observation"), event.Int(event.Count, reports))
		}
		return
	}
	size := int64(len(b))
	for _, sub := range subjects {
		x.note(event.RecordsMoved, base(off), x.From, event.Text(event.Protocol, "fhir"), event.Text(event.Operation, interactionName(s.of.interaction)),
			event.Int(event.Subject, sub.id), event.Int(event.Count, sub.n), event.Int(event.DataBytes, size))
		size = 0 // counted once
	}
}

// A fhirSubject is how many resources of a body are about one patient.
type fhirSubject struct{ id, n int64 }

func tally(subjects []fhirSubject, id int64) []fhirSubject {
	for i := range subjects {
		if subjects[i].id == id {
			subjects[i].n++
			return subjects
		}
	}
	if len(subjects) == maxFHIRSubjects {
		subjects[0].n++
		return subjects
	}
	return append(subjects, fhirSubject{id, 1})
}

func (o *fhirObserver) held() int { return heldBy(o.facts) + heldBy(o.devices) }

// fact notes patient data, once for each subject and type of resource.
func (o *fhirObserver) fact(x *exchange, off int, subject int64, r *fhir.Resource) {
	f := fhirFact{subject, r.Fields, r.Type, x.From}
	if _, ok := o.facts[f]; ok {
		return
	}
	if o.facts == nil {
		o.facts = make(map[fhirFact]struct{})
	}
	if len(o.facts) >= maxFHIRFacts {
		o.facts = make(map[fhirFact]struct{})
	}
	o.facts[f] = struct{}{}
	x.note(event.PatientDataSeen, off, x.From, event.Text(event.Protocol, "fhir"), event.Int(event.Fields, fhirFields.of(r.Fields)),
		event.Int(event.Subject, subject), event.Int(event.Protection, x.protected()), event.Text(event.Operation, r.Type))
}

// device notes what a resource says of a device: of the one at its address, or,
// where it has none, of one that was only spoken of. Who has the resource is a
// register of devices, and neither one of them nor the way to them. The serial
// number stays here when the device is implanted or worn.
func (o *fhirObserver) device(x *exchange, off int, d *fhir.Device) {
	if len(d.Manufacturer)+len(d.Model)+len(d.DI)+len(d.ProductCode) == 0 {
		return
	}
	code, known := (*device.Catalogue)(nil).Lookup(string(d.ProductCode))
	worn := d.Worn || code.Worn
	about, serial := deviceAddress(d), d.Serial
	if worn {
		if serial = nil; about.Kind == device.EUI64 {
			return // that address follows a person
		}
	}
	if about.Kind == device.NoAddress {
		if len(d.Model)+len(d.DI) == 0 {
			return
		}
		about.Value = strings.Join([]string{x.text(d.Manufacturer), x.text(d.Model), x.text(d.DI)}, "\x00")
		if text := x.text(serial); text != "" {
			about.Value += unitOf + text
		}
	}
	hash := x.hash([]byte(about.Value), d.Manufacturer, d.Model, d.Version, d.DI, d.ProductCode)
	if _, ok := o.devices[hash]; ok {
		return
	}
	if o.devices == nil {
		o.devices = make(map[int64]struct{})
	}
	if len(o.devices) >= maxFHIRDevices {
		o.devices = make(map[int64]struct{})
	}
	o.devices[hash] = struct{}{}
	x.noteAddr(event.IdentitySeen, off, about, device.Address{}, event.Text(event.Manufacturer, x.text(d.Manufacturer)), event.Text(event.Model, x.text(d.Model)),
		event.Text(event.Serial, x.text(serial)), event.Text(event.Version, x.text(d.Version)), event.Text(event.UDI, x.text(d.DI)))
	if known {
		x.noteAddr(event.TherapySeen, off, about, device.Address{}, event.Int(event.Therapy, code.Therapies.First()), event.Text(event.ProductCode, code.Code))
	}
}

// unitOf stands in front of the serial number in the address of a device that
// was only spoken of.
const unitOf = "\x00#"

// deviceAddress returns where a device is: its EUI-64, or the IP address of
// its own URL; of no kind when it does not say.
func deviceAddress(d *fhir.Device) device.Address {
	if len(d.EUI64) > 0 && len(d.EUI64) <= 32 {
		digits := strings.NewReplacer("-", "", ":", "").Replace(string(d.EUI64))
		if raw, err := hex.DecodeString(digits); err == nil && len(raw) == 8 {
			return device.Address{Kind: device.EUI64, Value: strings.ToUpper(digits)}
		} else if err == nil && len(raw) == 6 {
			return device.Address{Kind: device.MAC, Value: net.HardwareAddr(raw).String()}
		}
	}
	if len(d.URL) > 0 && len(d.URL) <= 256 {
		if u, err := url.Parse(string(d.URL)); err == nil {
			if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !ip.IsUnspecified() && !ip.IsLoopback() && ip.Zone() == "" {
				return device.Address{Kind: device.IP, Value: ip.Unmap().String()}
			}
		}
	}
	return device.Address{}
}

// order notes what a request that is active asks a device to do: the rate of an
// infusion, and of a DeviceRequest also other settings, of which the units tell
// no more than that they are some. A choice tells that only where its name is one
// of a medical device's: the size of a hearing aid is chosen, too. It goes to a record system, which proposes
// it to people; so no therapy is said of the receiver.
func (o *fhirObserver) order(x *exchange, off int, r *fhir.Resource, s *httpSide) {
	d := &r.Order
	if string(d.Status) != "active" || string(d.Intent) == "proposal" || string(d.Intent) == "plan" {
		return
	}
	protection := x.protected()
	if s.of.credentials {
		protection |= device.Authenticated
	}
	told := false
	note := func(q device.Quantity, repeat int64) {
		if !told {
			told = true
			x.note(event.OrderSeen, off, x.From.Other(), event.Text(event.Protocol, "fhir"))
		}
		c := device.Command{Value: q}
		if q.Unit.IsRate() || q.Unit.IsDoseRate() {
			c.Verb, c.Therapy = device.SetInfusionRate, device.DrugInfusion
		}
		x.note(event.CommandSeen, off, x.From.Other(), event.Int(event.Verb, c.Verb), event.Int(event.Effect, device.EffectOf(&c)),
			event.Text(event.Value, q.String()), event.Text(event.Target, r.Type), event.Int(event.Protection, protection),
			event.Int(event.Repeat, repeat))
	}
	if q, ok := quantityOf(d.Rate, d.Unit, d.Per, d.PerUnit); ok && (q.Unit.IsRate() || q.Unit.IsDoseRate()) {
		note(q, x.hash(r.Subject, d.Drug, d.Rate, d.Unit))
	}
	for _, set := range r.Settings {
		if set.Choice && set.MDC {
			note(device.Quantity{}, x.hash(r.Subject))
		} else if q, ok := quantityOf(set.Value, set.Unit, nil, nil); ok && !q.Unit.IsTime() && !q.Unit.IsMass() { // for how long, and for whom
			note(q, x.hash(r.Subject, set.Value, set.Unit))
		}
	}
}

// quantityOf reads a decimal and its unit, which may be a ratio.
func quantityOf(value, unit, per, perUnit []byte) (q device.Quantity, ok bool) {
	q, err := device.ParseDecimal(value)
	if err != nil || len(value) == 0 || len(unit)+len(perUnit) > 64 {
		return q, false
	}
	text := string(unit)
	if len(perUnit) > 0 {
		if per, err := device.ParseDecimal(per); err != nil || per.Coefficient != 1 || per.Exponent != 0 {
			return q, false // 10 mL in 8 hours is no rate that can be shown exactly
		}
		text += "/" + string(perUnit)
	}
	q.Unit, ok = device.UnitOf(text)
	return q, ok && q.Unit != device.NoUnit
}
