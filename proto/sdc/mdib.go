// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sdc

import (
	"bytes"
	"strconv"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// Bounds of an Mdib. A large intensive-care ventilator describes about 1,500
// things under handles of some 20 bytes.
const (
	MaxHandles     = 4096
	maxHandleBytes = 128
)

// A Kind is what a descriptor describes (11073-10207, the descriptor types).
type Kind uint8

// The kinds of descriptor that matter to what a set operation sets.
const (
	OtherKind Kind = iota
	Mds
	Vmd
	Channel
	Metric
	AlertSystem
	AlertCondition // and limit alert conditions
	AlertSignal
	Clock
	PatientContext
	LocationContext
	OtherContext
	OperationDescriptor
)

var kinds = map[string]Kind{
	"Mds": Mds, "Vmd": Vmd, "Channel": Channel, "Metric": Metric, "AlertSystem": AlertSystem, "AlertCondition": AlertCondition,
	"AlertSignal": AlertSignal, "Clock": Clock, "PatientContext": PatientContext, "LocationContext": LocationContext,
	"EnsembleContext": OtherContext, "OperatorContext": OtherContext, "WorkflowContext": OtherContext, "MeansContext": OtherContext,
	"Operation": OperationDescriptor,
}

// A Descriptor describes one thing of a device.
type Descriptor struct {
	Kind   Kind
	Safety Safety
	Type   uint32          // MDC context-free code; 0 unknown, or of another coding system
	Unit   device.Unit     // of a numeric metric
	Value  device.Quantity // of a numeric metric, when last told; none when unknown
	Target string          // of an operation: the handle of what it sets
	parent int32           // index, or -1
}

// A Safety is a safety classification (11073-10207 SafetyClassification).
type Safety uint8

// The safety classifications, the most dangerous last.
const (
	NoSafety Safety = iota // not told: the default is Inf
	Inf                    // informational
	MedA
	MedB
	MedC
)

var safeties = [...]string{"", "Inf", "MedA", "MedB", "MedC"}

func (s Safety) String() string { return safeties[s] }

// An Mdib is the table of a device's handles, as described in its answer to
// GetMdib or GetMdDescription. Its zero value is empty.
type Mdib struct {
	Full    bool // more than MaxHandles were described, or longer handles; the others are not there
	handles map[string]int32
	list    []Descriptor
	text    int // bytes of handles and targets
}

// Size returns about how many bytes of memory d takes. The map may have twice
// the room that it needs.
func (d *Mdib) Size() int { return cap(d.list)*descriptorSize + len(d.handles)*2*handleSize + d.text }

// What a descriptor takes, and a handle in the map besides its text.
const (
	descriptorSize = 96
	handleSize     = 24
)

// Len is the number of handles known.
func (d *Mdib) Len() int { return len(d.list) }

// Descriptor returns what is known of a handle.
func (d *Mdib) Descriptor(handle []byte) (Descriptor, bool) {
	if d == nil {
		return Descriptor{}, false
	}
	i, ok := d.handles[string(handle)]
	if !ok {
		return Descriptor{}, false
	}
	return d.list[i], true
}

// add enters a descriptor and returns its index, or -1.
func (d *Mdib) add(handle []byte, e Descriptor) int32 {
	if i, ok := d.handles[string(handle)]; ok { // told again: the newer holds
		d.text += len(e.Target) - len(d.list[i].Target)
		d.list[i] = e
		return i
	}
	if len(d.list) == MaxHandles || len(handle) == 0 || len(handle) > maxHandleBytes {
		d.Full = true
		return -1
	}
	if d.handles == nil {
		d.handles = make(map[string]int32)
	}
	i := int32(len(d.list))
	d.handles[string(handle)] = i
	d.list = append(d.list, e)
	d.text += len(handle) + len(e.Target)
	return i
}

// Kind returns what the device is, from the type of its first medical device
// system: the class that a nurse would use, and the therapy.
func (d *Mdib) Kind() (class string, t device.Therapy) {
	if d == nil {
		return "", device.NoTherapy
	}
	for i := range d.list {
		if d.list[i].Kind == Mds {
			return kindOf(d.list[i].Type)
		}
	}
	return "", device.NoTherapy
}

func kindOf(code uint32) (class string, t device.Therapy) {
	if code == 0 {
		return "", device.NoTherapy
	}
	return device.KindOfMDC(strconv.FormatUint(uint64(code), 10))
}

// Coding systems of ISO/IEEE 11073-10101: the default of 11073-10207's
// CodedValue, and the one with and without its version.
var codingSystems = []string{"", "urn:oid:1.2.840.10004.1.1.1.0.0.1", "urn:oid:1.3.111.2.11073.10101.1.1", "urn:oid:1.3.111.2.11073.10101"}

// code returns the MDC code that a CodedValue element holds, or 0.
func (p *parser) code() uint32 {
	system := p.x.Attr("", "CodingSystem")
	for _, s := range codingSystems {
		if string(system) == s {
			return number(p.x.Attr("", "Code"))
		}
	}
	return 0
}

func number(b []byte) uint32 {
	if len(b) == 0 || len(b) > 9 {
		return 0
	}
	n := uint32(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint32(c-'0')
	}
	return n
}

// description reads what any other message of 11073-10207 says: descriptors,
// states, patients. Elements are told by their names, wherever they stand.
func (p *parser) description() {
	x := &p.x
	var at [wire.MaxXMLDepth + 2]int32 // by depth: the descriptor that is open, or -1
	own := x.Depth()
	at[own] = -1
	p.descend(func() {
		depth := x.Depth()
		up := at[depth-1]
		at[depth] = up
		if handle := x.Attr("", "DescriptorHandle"); handle != nil { // a state
			p.m.States++
			if string(p.typeName()) == "PatientContextState" {
				p.context()
			} else {
				p.state(handle)
			}
			return
		}
		if handle := x.Attr("", "Handle"); handle != nil {
			if p.d != nil {
				at[depth] = p.d.add(handle, p.descriptor(up))
			}
			return
		}
		p.detail(up)
	})
}

// descriptor reads the attributes of a descriptor.
func (p *parser) descriptor(up int32) Descriptor {
	x := &p.x
	e := Descriptor{Kind: kinds[string(x.Local())], parent: up}
	for i := Inf; i <= MedC; i++ {
		if string(x.Attr("", "SafetyClassification")) == i.String() {
			e.Safety = i
		}
	}
	if t := x.Attr("", "OperationTarget"); len(t) <= maxHandleBytes {
		e.Target = string(t)
	}
	return e
}

// detail reads an element that says more about the descriptor it is in.
func (p *parser) detail(of int32) {
	x, id := &p.x, &p.m.Identity
	if p.d == nil || of < 0 {
		return
	}
	e := &p.d.list[of]
	switch string(x.Local()) {
	case "Type":
		if e.Type == 0 { // the descriptor's own comes first; later ones are of its parts
			e.Type = p.code()
		}
	case "Unit":
		if u, ok := device.UnitOfMDCCode(p.code()); ok {
			e.Unit = u
		}
	}
	if e.Kind != Mds {
		return
	}
	switch string(x.Local()) { // 11073-10207 MdsDescriptor/MetaData
	case "Manufacturer":
		once(&id.Manufacturer, x.Content())
	case "ModelName":
		once(&id.Model, x.Content())
	case "SerialNumber":
		once(&id.Serial, x.Content())
	case "DeviceIdentifier":
		once(&id.DI, x.Content())
	}
}

// state reads the value of a metric that is known.
func (p *parser) state(handle []byte) {
	x := &p.x
	if p.d == nil {
		return
	}
	i, ok := p.d.handles[string(handle)]
	if !ok || p.d.list[i].Kind != Metric {
		return
	}
	e := &p.d.list[i]
	own := x.Depth()
	for x.Depth() >= own && x.Next() {
		if x.Kind() == wire.XMLStart && string(x.Local()) == "MetricValue" {
			if q, err := device.ParseDecimal(x.Attr("", "Value")); err == nil {
				q.Unit = e.Unit
				e.Value = q
			}
		}
	}
}

// A Resolved says what a set operation really sets.
type Resolved struct {
	Known   bool            // the handle was found in the device's description
	Verb    device.Verb     // NoVerb when unknown
	Therapy device.Therapy  // of the part of the device that is told
	Safety  Safety          // of the operation or of what it sets, whichever is more dangerous
	Target  string          // the handle of what is set
	Type    uint32          // its MDC code
	Value   device.Quantity // what is asked for; none when there is no number
	Now     device.Quantity // the value it had when last told
}

// Blocks of MDC codes in partition 2, the metrics (ISO/IEEE 11073-10101 clause
// A.6): respiration and ventilation, and fluids and pumps.
const (
	ventilationFrom, ventilationTo = 2<<16 | 0x5000, 2<<16 | 0x57ff
	pumpFrom, pumpTo               = 2<<16 | 0x6800, 2<<16 | 0x6fff
)

// Resolve follows the handle of a set operation through the description to
// what it sets, and says what that means. d may be nil.
func (d *Mdib) Resolve(m *Message) Resolved {
	var r Resolved
	s := &m.Set
	op, known := d.Descriptor(s.Handle)
	known = known && op.Kind == OperationDescriptor
	var target Descriptor
	if known {
		target, known = d.Descriptor([]byte(op.Target))
	}
	if known {
		r.Known = true
		r.Target, r.Type = op.Target, target.Type
		r.Safety = max(op.Safety, target.Safety)
		r.Therapy = d.therapy(target)
		if q, err := device.ParseDecimal(s.Value); err == nil && target.Kind == Metric {
			q.Unit = target.Unit
			r.Value, r.Now = q, target.Value
		}
	}
	switch m.set() {
	case setAlertState:
		// Known by the service itself, whatever the handle.
		r.Verb = device.SetAlarm
		if string(s.Presence) == "Ack" {
			r.Verb = device.AcknowledgeAlarm
		}
	case setContextState:
		switch {
		case s.Context == "PatientContextState", s.Context == "LocationContextState",
			s.Context == "" && (target.Kind == PatientContext || target.Kind == LocationContext):
			r.Verb = device.AssociatePatient
		}
	case setComponentState:
		if !known {
			break
		}
		switch string(s.Activation) { // 11073-10207 ComponentActivation
		case "Off", "StndBy", "Shtdn", "NotRdy", "Fail":
			switch {
			case target.Kind == AlertSystem:
				r.Verb = device.SetAlarm
			case target.Kind == Mds || target.Kind == Vmd || target.Kind == Channel:
				r.Verb = device.Standby
			}
		}
		if target.Kind == Clock {
			r.Verb = device.SetClock
		}
	case setValue, setString, setMetricState, activate:
		if known {
			r.Verb = metricVerb(target, r.Therapy, m.set() == activate)
		}
	}
	return r
}

// metricVerb says what setting a thing means. Activating one may mean
// anything, but for alarms.
func metricVerb(target Descriptor, t device.Therapy, activated bool) device.Verb {
	switch target.Kind {
	case AlertSystem, AlertCondition, AlertSignal:
		return device.SetAlarm
	case Clock:
		return device.SetClock
	case PatientContext, LocationContext:
		return device.AssociatePatient
	case Metric:
	default:
		return device.NoVerb
	}
	switch {
	case activated:
		return device.NoVerb
	case t == device.Ventilation || t == device.Anaesthesia && target.Type>>16 == 2 && target.Type >= ventilationFrom && target.Type <= ventilationTo:
		return device.SetVentilation
	case t == device.DrugInfusion && (target.Unit.IsRate() || target.Unit.IsDoseRate()):
		return device.SetInfusionRate
	}
	return device.NoVerb
}

// therapy says what the part of a device does: the innermost one around e
// whose type is known, or failing that what the code of a metric belongs to.
func (d *Mdib) therapy(e Descriptor) device.Therapy {
	at := e
	for range wire.MaxXMLDepth { // a device that redefines its handles may put two inside each other
		if at.Kind == Mds || at.Kind == Vmd || at.Kind == Channel {
			if _, t := kindOf(at.Type); t != device.NoTherapy {
				return t
			}
		}
		if at.parent < 0 {
			break
		}
		at = d.list[at.parent]
	}
	switch c := e.Type; {
	case e.Kind == Metric && c >= ventilationFrom && c <= ventilationTo:
		return device.Ventilation
	case e.Kind == Metric && c >= pumpFrom && c <= pumpTo:
		return device.DrugInfusion
	}
	return device.NoTherapy
}

// DeviceType returns the kind of device that a discovery message tells, by the
// MDC code in its scopes.
func (d *Discovery) DeviceType() (class string, t device.Therapy) {
	return kindOf(number(bytes.TrimSpace(d.Type)))
}
