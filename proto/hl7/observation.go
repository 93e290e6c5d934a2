// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"slices"

	"github.com/myelin-health/myelin/device"
)

// An Observation is what OBX says (v2.7 section 7.4.2, PCD TF-2 section B.8).
type Observation struct {
	Type      Value // OBX-2: NM, ST, CWE ...
	ID        Coded // OBX-3
	SubID     Value // OBX-4: place in the device, or facet of an alert
	Value     Value // OBX-5
	Units     Coded // OBX-6
	Status    Value // OBX-11: X says that there is no value
	Method    Coded // OBX-17: measurement or setting
	Equipment Value // OBX-18, every repetition: the lowest level first
	Off       int   // of the segment
}

// ReadObservation reads an OBX segment.
func ReadObservation(s Segment) Observation {
	var f [19]Value // by number
	if len(s.b) > 4 {
		split(s.b[4:], s.d.Field, s.d, f[1:])
	}
	return Observation{f[2], coded(f[3]), f[4], f[5], coded(f[6]), f[11], coded(f[17]), f[18], s.off}
}

// A Containment is the place of an observation in its device (PCD TF-2 section
// B.8, OBX-4): medical device system, virtual medical device, channel, metric,
// facet, subfacet. Zero is no such level.
type Containment [6]uint32

// Device reports whether the place is a device's and not a metric's, and how
// many levels name it: 1 for the whole device, 2 for a virtual device, 3 for a channel.
func (c Containment) Device() (level int, ok bool) {
	for level < 3 && c[level] != 0 {
		level++
	}
	return level, level > 0 && c[3] == 0 && c[4] == 0
}

// Within reports whether c is at or below the place d of a device.
func (c Containment) Within(d Containment) bool {
	level, _ := d.Device()
	for i := range level {
		if c[i] != d[i] {
			return false
		}
	}
	return level > 0
}

// Containment reads OBX-4 and returns how many levels it has; 0 when it is not
// in dotted notation.
func (o *Observation) Containment() (c Containment, depth int) {
	digits := 0
	for _, x := range o.SubID.b {
		switch {
		case x >= '0' && x <= '9' && digits < 9:
			if digits == 0 {
				depth++
			}
			c[depth-1] = c[depth-1]*10 + uint32(x-'0')
			digits++
		case x == '.' && digits > 0 && depth < len(c):
			digits = 0
		default:
			return Containment{}, 0
		}
	}
	if digits == 0 {
		return Containment{}, 0
	}
	return c, depth
}

// Terms of ISO/IEEE 11073-10101 that are read here, context-free.
const (
	mdcModel            = 67880  // MDC_ATTR_ID_MODEL
	mdcWeight           = 68063  // MDC_ATTR_PT_WEIGHT
	mdcPumpVMD          = 69986  // MDC_DEV_PUMP_INFUS_VMD
	mdcFlow             = 157784 // MDC_FLOW_FLUID_PUMP
	mdcDoseRate         = 157924 // MDC_RATE_DOSE
	mdcFlowCurrent      = 158014 // MDC_FLOW_FLUID_PUMP_CURRENT
	mdcPumpStatus       = 184508 // MDC_PUMP_STAT
	mdcVolumeDelivered  = 157864 // MDC_VOL_FLUID_DELIV
	mdcVolumeSegment    = 157992 // MDC_VOL_FLUID_DELIV_SEGMENT
	mdcVolumeTotal      = 157993 // MDC_VOL_FLUID_DELIV_TOTAL
	mdcConcentration    = 157760 // MDC_CONC_DRUG
	mdcEvent            = 68487  // MDC_ATTR_EVT_COND
	mdcAlertSource      = 68480  // MDC_ATTR_ALERT_SOURCE
	mdcDoseLimit        = 157985 // MDC_DOSE_PCA_LIMIT
	mdcVolumeLimit      = 157986 // MDC_VOL_PCA_DOSE_LIMIT
	mdcLimitPeriod      = 157987 // MDC_TIME_PD_PCA_DOSE_LIMIT
	mdcDosesPerHour     = 157988 // MDC_RATE_PCA_MAX_DOSES_PER_HOUR
	mdcLockout          = 157989 // MDC_TIME_PCA_LOCKOUT
	mdcDosePatient      = 158017 // MDC_DOSE_PCA_PATIENT
	mdcDoseLoading      = 158018 // MDC_DOSE_LOADING
	mdcDoseClinician    = 158019 // MDC_DOSE_CLINICIAN
	mdcModelNumber      = 531969 // MDC_ID_MODEL_NUMBER
	mdcManufacturer     = 531970 // MDC_ID_MODEL_MANUFACTURER
	mdcSerial           = 531972 // MDC_ID_PROD_SPEC_SERIAL
	mdcSoftwareRevision = 531975 // MDC_ID_PROD_SPEC_SW
	mdcFirmwareRevision = 531976 // MDC_ID_PROD_SPEC_FW
)

// terms gives the terms above that were sent before they had a code, or by
// senders that do not know it, their code by reference id.
var terms = map[string]uint32{
	"MDC_ATTR_ID_MODEL":               mdcModel,
	"MDC_ATTR_PT_WEIGHT":              mdcWeight,
	"MDC_DEV_PUMP_INFUS_VMD":          mdcPumpVMD,
	"MDC_FLOW_FLUID_PUMP":             mdcFlow,
	"MDC_RATE_DOSE":                   mdcDoseRate,
	"MDC_PUMP_STAT":                   mdcPumpStatus,
	"MDC_FLOW_FLUID_PUMP_CURRENT":     mdcFlowCurrent,
	"MDC_VOL_FLUID_DELIV":             mdcVolumeDelivered,
	"MDC_VOL_FLUID_DELIV_SEGMENT":     mdcVolumeSegment,
	"MDC_VOL_FLUID_DELIV_TOTAL":       mdcVolumeTotal,
	"MDC_CONC_DRUG":                   mdcConcentration,
	"MDC_ATTR_EVT_COND":               mdcEvent,
	"MDCX_ATTR_EVT_COND":              mdcEvent,
	"MDC_DOSE_PCA_LIMIT":              mdcDoseLimit,
	"MDC_VOL_PCA_DOSE_LIMIT":          mdcVolumeLimit,
	"MDC_TIME_PD_PCA_DOSE_LIMIT":      mdcLimitPeriod,
	"MDC_RATE_PCA_MAX_DOSES_PER_HOUR": mdcDosesPerHour,
	"MDC_TIME_PCA_LOCKOUT":            mdcLockout,
	"MDC_DOSE_PCA_PATIENT":            mdcDosePatient,
	"MDC_DOSE_LOADING":                mdcDoseLoading,
	"MDC_DOSE_CLINICIAN":              mdcDoseClinician,
	"MDC_ID_MODEL_NUMBER":             mdcModelNumber,
	"MDC_ID_MODEL_MANUFACTURER":       mdcManufacturer,
	"MDC_ID_PROD_SPEC_SERIAL":         mdcSerial,
	"MDC_ID_PROD_SPEC_SW":             mdcSoftwareRevision,
	"MDC_ID_PROD_SPEC_FW":             mdcFirmwareRevision,
}

// term returns the observation's MDC code, by reference id where it has none.
func (o *Observation) term() uint32 {
	code, ref := o.ID.MDC()
	if code == 0 {
		code = terms[string(ref.b)]
	}
	return code
}

// A Device is a device, or part of one, that a report describes.
type Device struct {
	Type         uint32      // OBX-3, MDC code of what it is: 69985 is an infusion pump
	RefID        Value       // OBX-3.2: "MDC_DEV_PUMP_INFUS_MDS"
	Group        int         // which OBR it is under, from 1: places are unique within one
	Place        Containment // OBX-4
	ID           EntityID    // OBX-18 or PRT-10: the first that names one unit
	UDI          Value       // PRT-10 or OBX-18 in the human-readable form of a UDI; PRT-16, the DI only
	Manufacturer Value
	Model        Value
	Version      Value // of the software or firmware
	Serial       Value // patient data where the device is implanted or worn
	Off          int
}

// MaxDevices bounds the devices read from one message; a report of a bed has
// a dozen with their channels.
const MaxDevices = 64

// udiSystem is the object identifier of FDA's UDI (PCD TF-2 section B.10.2, PRT-10).
const udiSystem = "2.16.840.1.113883.3.3719"

// Devices appends the devices that the message's observations belong to, each
// medical device system and virtual device once, in order of appearance. Its
// identity is in OBX-18 or in a PRT segment after the OBX; make, model and
// version are observations within it. Where a report describes no devices
// (most alerts), OBX-18 of its observations alone makes them.
func Devices(m *Message, out []Device) []Device {
	bound := len(out) + MaxDevices
	start, current, group := len(out), -1, 0 // of this OBR; whom a PRT segment speaks of
	for s := range m.Segments() {
		switch string(s.ID()) {
		case "OBR":
			start, current = len(out), -1
			group++
		case "OBX":
			o := ReadObservation(s)
			place, _ := o.Containment()
			level, ok := place.Device()
			unit := ok && level <= 2
			if !unit && !o.Equipment.IsEmpty() && !known(out[start:], o.Equipment) {
				unit, place = true, Containment{place[0]}
				o.ID = Coded{}
			}
			if !unit {
				describe(out[start:], &o, place)
				current = -1
				continue
			}
			if len(out) == bound {
				return out
			}
			d := Device{Group: group, Place: place, Off: o.Off}
			d.Type, d.RefID = o.ID.MDC()
			for r := range o.Equipment.Repetitions() {
				d.identify(r)
			}
			current, out = len(out), append(out, d)
		case "PRT": // v2.7 section 7.4.4, PCD TF-2 section B.10.2
			if current < start {
				continue
			}
			d := &out[current]
			for r := range s.Field(10).Repetitions() {
				d.identify(r)
			}
			if di := s.Field(16).Component(1); d.UDI.IsEmpty() {
				d.UDI = di
			}
		}
	}
	return out
}

// known reports whether one of the devices has this identity.
func known(devices []Device, equipment Value) bool {
	id := entityID(equipment)
	for i := range devices {
		have := &devices[i].ID
		if string(have.ID.b) == string(id.ID.b) && string(have.UniversalID.b) == string(id.UniversalID.b) {
			return true
		}
	}
	return false
}

// identify takes one identifier of the device (EI).
func (d *Device) identify(v Value) {
	id := entityID(v)
	if id.UniversalID.Is(udiSystem) || len(id.ID.b) > 4 && string(id.ID.b[:4]) == "(01)" {
		d.UDI = id.ID
		return
	}
	if d.ID.IsEmpty() || d.ID.Unique() == "" && id.Unique() != "" {
		d.ID = id
	}
	// PCD TF-2 section B.8, OBX-18: of a device without EUI-64, EI-2 is the model.
	if t := id.UniversalIDType; t.Is("DNS") || t.Is("ISO") || t.Is("URI") {
		d.Model, d.Serial = id.Namespace, id.ID
	}
}

// describe takes what an observation says of the device that it is within.
func describe(devices []Device, o *Observation, place Containment) {
	term := o.term()
	switch term {
	case mdcModel, mdcModelNumber, mdcManufacturer, mdcSerial, mdcSoftwareRevision, mdcFirmwareRevision, mdcAlertSource:
	default:
		return
	}
	i := len(devices) - 1
	for i >= 0 && !place.Within(devices[i].Place) {
		i--
	}
	if i < 0 {
		return
	}
	d := &devices[i]
	switch v := o.Value; term {
	case mdcModel: // a system model: manufacturer and number, or the number alone
		if d.Model = v.Component(2); d.Model.IsEmpty() {
			d.Model = v.Component(1)
		} else {
			d.Manufacturer = v.Component(1)
		}
	case mdcModelNumber:
		d.Model = v
	case mdcManufacturer:
		d.Manufacturer = v
	case mdcSerial:
		d.Serial = v
	case mdcSoftwareRevision, mdcFirmwareRevision:
		d.Version = v
	case mdcAlertSource: // PCD TF-2 section B.8.5, facet 2
		if d.Type == 0 {
			d.Type, d.RefID = coded(v).MDC()
		}
	}
}

// A Delivery is what a pump reports of the rate that it is set to or gives, and of
// what it gave. The profile's own text on the volumes of PCD-10 was not seen: which of
// them there are, and what each of them sums, is read from messages that pumps send.
type Delivery struct {
	Device        int             // index of the pump among the devices
	Flow          device.Quantity // zero when unknown, or when its channels differ
	DoseRate      device.Quantity
	Weight        device.Quantity // of the patient, as the pump has it
	Concentration device.Quantity // of the drug; zero when unknown, or of two drugs

	Total   device.Quantity // given since its counters were cleared, of all its channels; it only grows until then
	Segment device.Quantity // given since it started last, or its rate or dose changed last (doubt)
	Event   Value           // of PCD-10, what happened: "MDC_EVT_PUMP_DELIV_START", "MDC_EVT_PUMP_DELIV_STOP"
	Mode    Value           // in which it gives: "pump-program-delivery-mode-clinician-dose" (doubt)
	Placer  EntityID        // OBR-2: ORC-2 of the order that it is about
	Filler  EntityID        // OBR-3

	states [maxStates]Value
	n      int
	rated  bool // there was a rate, even if two differ
	mixed  bool // there were two concentrations
	total  uint32
}

// maxStates bounds the states of a pump that are told apart, of its channels.
const maxStates = 4

// States returns the states that it reports, of itself and of its channels, as in
// "pump-status-infusing", each once. Which is the worst is for the reader to say; an
// empty one stands for all that are too many.
func (d *Delivery) States() []Value { return d.states[:d.n:d.n] }

// Rated reports whether there was a rate, even if its channels differ in it.
func (d *Delivery) Rated() bool { return d.rated }

// Ended reports whether the event is the end of what was being given.
func (d *Delivery) Ended() bool {
	return d.Event.Is("MDC_EVT_PUMP_DELIV_STOP") || d.Event.Is("MDC_EVT_PUMP_DELIV_COMP")
}

// Bolus reports whether the pump gives a single dose, and no continuous infusion.
func (d *Delivery) Bolus() bool {
	for _, mode := range [...]string{"bolus", "clinician-dose", "loading-dose", "patient-dose"} { // doubt
		if bytes.HasSuffix(d.Mode.b, []byte(mode)) {
			return true
		}
	}
	return false
}

func (d *Delivery) state(v Value) {
	for _, have := range d.States() {
		if string(have.b) == string(v.b) {
			return
		}
	}
	if d.n == maxStates {
		d.states[maxStates-1] = Value{}
		return
	}
	d.states[d.n] = v
	d.n++
}

// Deliveries appends what the devices, those that [Devices] found in m,
// report to deliver and to have delivered (PCD-01 and PCD-10). The flow now goes before the flow set.
// A device that reports nothing of either is left out.
func Deliveries(m *Message, devices []Device, out []Delivery) []Delivery {
	start, group := len(out), 0
	var obr Segment
	for s := range m.Segments() {
		switch string(s.ID()) {
		case "OBR":
			group++
			obr = s
			continue
		case "OBX":
		default:
			continue
		}
		o := ReadObservation(s)
		term := o.term()
		switch term {
		case mdcFlow, mdcFlowCurrent, mdcDoseRate, mdcWeight, mdcPumpStatus, mdcVolumeDelivered, mdcVolumeSegment, mdcVolumeTotal,
			mdcConcentration, mdcEvent:
		default:
			if _, ref := o.ID.MDC(); !modes[string(ref.b)] {
				continue
			}
			term = 0
		}
		place, _ := o.Containment()
		i := len(devices) - 1
		for i >= 0 && (devices[i].Group != group || !place.Within(devices[i].Place) || devices[i].ID.IsEmpty()) {
			i--
		}
		q, err := o.Quantity()
		coded := term == mdcPumpStatus || term == mdcEvent || term == 0
		if i < 0 || err != nil && !coded {
			continue
		}
		j := start
		for j < len(out) && out[j].Device != i {
			j++
		}
		if j == len(out) {
			out = append(out, Delivery{Device: i, Placer: entityID(obr.Field(2)), Filler: entityID(obr.Field(3))})
		}
		d := &out[j]
		if coded {
			text := o.Value.Component(1) // CWE, of which the text may stand alone
			if ref := o.Value.Component(2); text.IsEmpty() || term == mdcEvent && !ref.IsEmpty() {
				text = ref
			}
			switch term {
			case mdcPumpStatus:
				d.state(text)
			case mdcEvent:
				d.Event = text
			default:
				d.Mode = text
			}
			continue
		}
		d.take(term, q)
	}
	return slices.DeleteFunc(out, func(d Delivery) bool {
		return !d.rated && d.Total.IsNone() && d.Segment.IsNone() && d.n == 0
	})
}

// modes are the reference ids of the mode of delivery (doubt: of messages that were
// seen, some have the longer name).
var modes = map[string]bool{"MDC_PUMP_PROGRAM_DELIVERY_MODE": true, "MDC_DEV_PUMP_PROGRAM_DELIVERY_MODE": true}

// take takes a number of a pump.
func (d *Delivery) take(term uint32, q device.Quantity) {
	switch term {
	case mdcWeight:
		if q.Unit.IsMass() {
			d.Weight = q
		}
		return
	case mdcConcentration:
		if c, ok := d.Concentration.Cmp(q); d.Concentration.IsNone() && !d.mixed {
			d.Concentration = q
		} else if !ok || c != 0 {
			d.Concentration, d.mixed = device.Quantity{}, true
		}
		return
	case mdcVolumeTotal, mdcVolumeDelivered, mdcVolumeSegment:
		if q.Coefficient < 0 {
			return
		}
		have := &d.Total
		if term == mdcVolumeSegment {
			have = &d.Segment
		} else if d.total == mdcVolumeTotal && term == mdcVolumeDelivered {
			return // the same, said less exactly
		} else if d.total == mdcVolumeDelivered && term == mdcVolumeTotal {
			d.Total = device.Quantity{}
		}
		if sum, err := have.Add(q); err == nil && !have.IsNone() {
			*have = sum // of its channels
		} else if have.IsNone() {
			*have = q
		}
		if term != mdcVolumeSegment {
			d.total = term
		}
		return
	}
	d.rated = true
	have := &d.Flow
	if term == mdcDoseRate {
		have = &d.DoseRate
	}
	switch c, ok := have.Cmp(q); {
	case have.IsNone() || term == mdcFlowCurrent:
		*have = q
	case (!ok || c != 0) && term == mdcDoseRate:
		*have = device.Quantity{} // two drugs: neither is the rate now
	}
}

// Quantity reads OBX-5 and OBX-6 of a numeric observation.
func (o *Observation) Quantity() (device.Quantity, error) { return quantity(o.Value, o.Units) }
