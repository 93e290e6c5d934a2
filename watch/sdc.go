// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/sdc"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of one conversation.
const (
	maxSDCReports  = 32 // names of reports told
	maxSDCPatients = 64 // patients told; full, it is emptied
)

// maxMdib is how many bytes the description of a device may take: some two
// thousand handles, where a ventilator has one. Larger ones are forgotten, and
// verbs stay unknown.
const maxMdib = 384 << 10

// A sdcObserver is told the SOAP messages of one conversation.
type sdcObserver struct {
	spoke    bool
	mdib     sdc.Mdib
	reports  []string
	patients []sdcPatient
	identity [2]int64 // hashes of what each side said it is
}

// A sdcPatient is what one side said of a patient.
type sdcPatient struct {
	subject, fields int64
	from            flow.Side
}

// A sdcCommand is an operation that waits for its answer.
type sdcCommand struct {
	verb   device.Verb
	target string
	fresh  int64
	set    bool
}

// errorsCut reports whether a document merely ends too early.
func errorsCut(err error) bool { return errors.Is(err, wire.ErrTruncated) }

// body is told one body. r is the request that it belongs to when it is one,
// and waits for its answer.
func (o *sdcObserver) body(x *exchange, off int, b []byte, s *httpSide, r *httpRequest) {
	var m sdc.Message
	err := m.Parse(b, &o.mdib)
	if o.mdib.Size() > maxMdib {
		o.mdib = sdc.Mdib{}
	}
	if !m.SDC && !o.spoke {
		return // some other service's SOAP
	}
	at := base(off)
	if !o.spoke {
		o.spoke = true
		x.note(event.ProtocolSeen, at, s.of.from, event.Text(event.Protocol, "sdc"), event.Int(event.Protection, x.protected()))
	}
	if err != nil && s.body.Done() {
		x.malformed(at, err)
	}
	o.patient(x, at, &m)
	o.self(x, at, &m)
	switch {
	case s.request && m.IsSet():
		c := o.command(x, at, &m)
		if r != nil {
			r.command = c
		}
	case !s.request && s.of.command.set:
		sdcAnswered(x, at, s.of.command, &m)
	case m.Operation == "OperationInvokedReport":
		// A device reports over a conversation of its own, which it opened.
		if m.Outcome.Finished() || m.Outcome.Failed() {
			sdcAnswered(x, at, sdcCommand{target: x.text(m.Outcome.Target)}, &m)
		}
	case m.IsReport():
		if len(o.reports) == maxSDCReports || slices.Contains(o.reports, m.Operation) {
			return
		}
		o.reports = append(o.reports, m.Operation)
		_, therapy := o.mdib.Kind()
		x.note(event.ReportSeen, at, x.From, event.Text(event.Protocol, "sdc"), event.Text(event.Operation, m.Operation),
			event.Int(event.Therapy, therapy), event.Int(event.Count, m.States))
	}
}

func (o *sdcObserver) held() int {
	return o.mdib.Size() + cap(o.reports)*sizeOf[string]() + cap(o.patients)*sizeOf[sdcPatient]()
}

// command notes an operation, as what it sets.
func (o *sdcObserver) command(x *exchange, off int, m *sdc.Message) sdcCommand {
	r := o.mdib.Resolve(m)
	c := device.Command{Verb: r.Verb, Therapy: r.Therapy, Value: r.Value, Now: r.Now}
	// Which handle was sent is told only when the device has described it: else
	// it may be anything.
	told := sdcCommand{verb: r.Verb, target: x.text([]byte(r.Target)), set: true}
	if len(m.MessageID) > 0 {
		told.fresh = x.hash(m.MessageID)
	}
	x.note(event.OrderSeen, off, x.From.Other(), event.Text(event.Protocol, "sdc"), event.Text(event.Now, x.text([]byte(r.Now.String()))))
	x.note(event.CommandSeen, off, x.From.Other(), event.Int(event.Verb, r.Verb), event.Int(event.Therapy, r.Therapy),
		event.Int(event.Effect, device.EffectOf(&c)), event.Text(event.Value, r.Value.String()), event.Text(event.Target, told.target),
		event.Int(event.Protection, x.protected()), event.Int(event.Fresh, told.fresh),
		event.Int(event.Repeat, x.hash([]byte(m.Operation), m.Set.Handle, m.Set.Value, m.Set.Activation, m.Patient.Identifier)))
	return told
}

// answered notes how far an operation has come. The sender answers.
func sdcAnswered(x *exchange, off int, c sdcCommand, m *sdc.Message) {
	stage, outcome := device.Accepted, event.Unknown
	switch {
	case m.Fault || m.Outcome.Failed():
		stage, outcome = device.Proposed, event.Failed
	case m.Outcome.Finished():
		stage, outcome = device.Delivered, event.Succeeded
	}
	x.note(event.CommandAnswered, off, x.From, event.Int(event.Verb, c.verb), event.Int(event.Stage, stage),
		event.Int(event.Outcome, outcome), event.Text(event.Target, c.target), event.Int(event.Fresh, c.fresh))
}

// patient notes what is said of a patient.
func (o *sdcObserver) patient(x *exchange, off int, m *sdc.Message) {
	if !m.Patient.Any() {
		return
	}
	p := sdcPatient{from: x.From}
	for _, f := range [...]struct {
		there bool
		bit   int64
	}{
		{m.Patient.Name, event.FieldName},
		{m.Patient.Sex, event.FieldSex},
		{m.Patient.BirthDate, event.FieldBirthDate},
		{m.Patient.RecordNumber, event.FieldRecordNumber},
	} {
		if f.there {
			p.fields |= f.bit
		}
	}
	p.subject = x.subject(bytes.ToUpper(bytes.TrimSpace(wire.AppendXMLText(nil, m.Patient.Identifier))))
	if slices.Contains(o.patients, p) {
		return
	}
	if len(o.patients) == maxSDCPatients {
		o.patients = o.patients[:0]
	}
	o.patients = append(o.patients, p)
	x.note(event.PatientDataSeen, off, x.From, event.Text(event.Protocol, "sdc"), event.Int(event.Fields, p.fields),
		event.Int(event.Subject, p.subject), event.Int(event.Protection, x.protected()), event.Text(event.Operation, m.Operation))
}

// self notes what the sender says it is.
func (o *sdcObserver) self(x *exchange, off int, m *sdc.Message) {
	id := &m.Identity
	described := m.Operation == "GetMdibResponse" || m.Operation == "GetMdDescriptionResponse"
	if m.Operation != "Metadata" && !described {
		return
	}
	class, therapy := "", device.NoTherapy
	if described {
		class, therapy = o.mdib.Kind()
	}
	hash := x.hash(id.Manufacturer, id.Model, id.Serial, id.Version, id.DI, []byte(class))
	if o.identity[x.From] == hash {
		return
	}
	o.identity[x.From] = hash
	if class == "" {
		// Only medical devices provide this service (IEEE 11073-20701); one that is
		// not known to treat does at least measure. It is a claim of its own, so that
		// one that knows the kind goes before it.
		x.note(event.IdentitySeen, off, x.From, event.Text(event.Class, "point-of-care device"), event.Int(event.Therapy, device.Monitoring))
		if len(id.Manufacturer)+len(id.Model)+len(id.Serial)+len(id.DI) == 0 {
			return
		}
	}
	serial := id.Serial
	if therapy.Info().Worn {
		serial = nil
	}
	value := func(b []byte) string { return x.text(wire.AppendXMLText(nil, b)) }
	x.note(event.IdentitySeen, off, x.From, event.Text(event.Manufacturer, value(id.Manufacturer)), event.Text(event.Model, value(id.Model)),
		event.Text(event.Serial, value(serial)), event.Text(event.Version, value(id.Version)), event.Text(event.Class, class),
		event.Int(event.Therapy, therapy), event.Text(event.UDI, value(id.DI)))
}

// A sdcDiscoveryObserver follows WS-Discovery over UDP, where devices make
// themselves known, also those that speak TLS afterwards.
type sdcDiscoveryObserver struct {
	class string // noted
}

func newSDCDiscoveryObserver() observer { return new(sdcDiscoveryObserver) }

func (o *sdcDiscoveryObserver) data(x *exchange, b []byte) int {
	var m sdc.Message
	if err := m.Parse(b, nil); err != nil {
		x.malformed(0, err)
	}
	if m.Discovery.Matches != 1 || m.Operation == "Bye" {
		return len(b) // a question, a farewell, or a proxy that answers for many
	}
	class, therapy := m.Discovery.DeviceType()
	if class == "" || class == o.class {
		return len(b)
	}
	o.class = class
	x.note(event.IdentitySeen, 0, x.From, event.Text(event.Class, class), event.Int(event.Therapy, therapy))
	return len(b)
}

func (o *sdcDiscoveryObserver) gap(*exchange, int) bool { return true }

func (o *sdcDiscoveryObserver) close(*exchange) {}
