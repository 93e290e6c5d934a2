// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package fhir scans HL7 FHIR R4 (4.0.1) as far as a watcher needs it: which
// resources a body holds, which kinds of patient data are in them and of how
// many patients, which device is described, what is ordered ([Scan]), and what
// a request asks for ([ParseInteraction]).
//
// It implements the JSON and XML formats (R4 sections 2.6.2 and 2.6.1), newline
// delimited JSON (Bulk Data Access 2.0.0), the resource elements that its
// table names, and the URLs of the RESTful API (R4 section 3.1.0). It reads in
// one pass over a slice, builds no tree, and copies nothing but strings with
// escapes. A body that is cut yields the resources whose end was seen, and
// those that were open.
//
// Left out: validation, profiles, extensions, narratives, RDF, GraphQL,
// subscriptions.
//
// This API is stable.
package fhir

import (
	"bytes"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/wire"
)

// A Format is how a body is written.
type Format uint8

// The formats.
const (
	NoFormat Format = iota
	JSON
	NDJSON // one resource a line
	XML
)

// Recognise says whether a body is FHIR, from its media type (without
// parameters; may be empty) and its first bytes, of which it looks at 256.
func Recognise(mediaType, body []byte) Format {
	if len(body) > 256 {
		body = body[:256]
	}
	body = bytes.TrimLeft(body, "\ufeff \t\r\n")
	xml := bytes.HasPrefix(body, []byte("<"))
	for _, t := range &mediaTypes {
		if len(t.name) == len(mediaType) && bytes.EqualFold(mediaType, []byte(t.name)) {
			return t.format
		}
	}
	switch {
	case xml && bytes.Contains(body, []byte(`"`+namespace+`"`)):
		return XML
	case bytes.HasPrefix(body, []byte("{")) && bytes.Contains(body, []byte(`"resourceType"`)):
		return JSON
	}
	return NoFormat
}

// mediaTypes are those of R4 section 3.1.0.1.11 and of Bulk Data Access, and
// the names that DSTU 2 had for them.
var mediaTypes = [...]struct {
	name   string
	format Format
}{
	{"application/fhir+json", JSON},
	{"application/json+fhir", JSON},
	{"application/fhir+xml", XML},
	{"application/xml+fhir", XML},
	{"application/fhir+ndjson", NDJSON},
}

const namespace = "http://hl7.org/fhir" // R4 section 2.6.1

// Fields are kinds of patient data.
type Fields uint16

// The kinds of patient data.
const (
	Name Fields = 1 << iota
	BirthDate
	Sex
	RecordNumber
	Address
	Telephone
	Visit
	NationalID
	Result // measurements, observations, diagnoses
	Order  // what is to be done or given
	Image
	StaffName // personal data of staff, not of the patient
)

// A Resource is what was seen of one resource. Its slices alias the input or
// the scan's own memory and are valid until the callback returns.
type Resource struct {
	Type   string // "" when it is none that R4 knows
	Fields Fields
	Off    int // of its beginning, in bytes
	Depth  int // 0 for the body itself, 1 for what a Bundle holds or what is contained in it

	// Subject is the patient: the logical id when there is one, else the first
	// identifier. Empty: none, or told in a way that is not followed.
	Subject []byte

	Device Device // of a Device
	Order  Dosage // of a MedicationRequest or DeviceRequest

	// Settings are the parameters of a DeviceRequest, the first [MaxSettings] of
	// them. A range is two: its lowest value and its highest.
	Settings []Setting

	Bundle Bundle // of a Bundle
}

// A Device is what a Device resource says of one unit (R4 section 8.12).
type Device struct {
	Manufacturer []byte
	Model        []byte // modelNumber, or failing that a deviceName.name that is the maker's
	Serial       []byte // patient data when Worn
	Version      []byte
	DI           []byte // udiCarrier.deviceIdentifier
	HRF          []byte // udiCarrier.carrierHRF: the whole UDI with its production identifiers
	Type         []byte // type.text, or type.coding.display
	ProductCode  []byte // type.coding.code under a system of FDA's
	URL          []byte // where the device answers
	EUI64        []byte // identifier.value under the system of EUI-64 addresses
	Worn         bool   // affixed to a patient, or of a type that is implanted or worn
}

// A Dosage is what a request for a device or a medication asks for.
type Dosage struct {
	Status, Intent []byte
	Drug           []byte // medicationCodeableConcept: text, or coding.display
	Rate           []byte // decimal of doseAndRate.rateQuantity or .rateRatio.numerator
	Unit           []byte // its unit: the code, or what stands for it
	Per            []byte // decimal of rateRatio.denominator
	PerUnit        []byte // its unit
}

// A Setting is a parameter of a DeviceRequest.
type Setting struct {
	Value  []byte // decimal; empty for a choice
	Unit   []byte // the code, or what stands for it
	Choice bool   // among words, or of yes and no; which is not kept
	MDC    bool   // named by a code of ISO/IEEE 11073-10101, so of a medical device; not kept for a range's highest value
}

// MaxSettings is how many settings of one request are told.
const MaxSettings = 8

// A Bundle is what holds other resources (R4 section 2.36).
type Bundle struct {
	Type    []byte // "searchset", "transaction", ...
	Entries int    // entry elements seen
	Writes  int    // entries that ask to create or change something
}

// Bounds. R4 nests contained resources once; a transaction bundle in a
// Parameters resource makes three.
const (
	maxResources = 4  // nested in each other; deeper ones are passed over
	maxDepth     = 64 // elements nested in each other
)

// A part is something in a resource that the scan looks for.
type part uint8

const (
	nothing part = iota

	// Where slots are filled from. The first value wins.
	partID
	partSubject    // a reference
	partSubjectID  // an identifier of the subject
	partIdentifier // an identifier of the resource itself
	partSystem     // whose identifier that is
	partManufacturer
	partModel
	partDeviceName
	partDeviceNameType
	partSerial
	partVersion
	partDI
	partHRF
	partType
	partTypeCode
	partTypeSystem
	partURL
	partStatus
	partIntent
	partDrug
	partRate
	partUnit
	partPer
	partPerUnit
	partSetting
	partSettingUnit
	partSettingSystem
	partChoice
	partBundleType
	partMethod
	partEntry     // counted when entered
	partParameter // counted when entered
	slots         = partEntry
)

// An element is a row of the table of what is looked for.
type element struct {
	path   string // "Type.element.element"; the type * stands for every resource
	fields Fields // of patient data, when there is a value
	part   part
}

// elements names what is looked for, with the words of R4's resource pages.
var elements = []element{
	{"*.id", 0, partID},
	{"*.subject.reference", 0, partSubject},
	{"*.patient.reference", 0, partSubject},
	{"*.beneficiary.reference", 0, partSubject},
	{"*.for.reference", 0, partSubject},
	{"Appointment.participant.actor.reference", 0, partSubject},
	{"*.subject.identifier.value", RecordNumber, partSubjectID},
	{"*.patient.identifier.value", RecordNumber, partSubjectID},
	{"*.subject.display", Name, 0},
	{"*.patient.display", Name, 0},
	{"*.performer.display", StaffName, 0},
	{"*.requester.display", StaffName, 0},
	{"*.recorder.display", StaffName, 0},

	{"Patient.identifier.value", RecordNumber, partIdentifier},
	{"Patient.identifier.system", 0, partSystem},
	{"Patient.name", Name, 0},
	{"Patient.telecom.value", Telephone, 0},
	{"Patient.gender", Sex, 0},
	{"Patient.birthDate", BirthDate, 0},
	{"Patient.address", Address, 0},
	{"Patient.photo.data", Image, 0},
	{"Patient.contact.name", Name, 0},
	{"Patient.contact.telecom.value", Telephone, 0},
	{"Patient.contact.address", Address, 0},
	{"Person.name", Name, 0},
	{"Person.telecom.value", Telephone, 0},
	{"Person.gender", Sex, 0},
	{"Person.birthDate", BirthDate, 0},
	{"Person.address", Address, 0},
	{"RelatedPerson.name", Name, 0},
	{"RelatedPerson.telecom.value", Telephone, 0},
	{"RelatedPerson.address", Address, 0},
	{"Practitioner.name", StaffName, 0},
	{"Media.content.data", Image, 0},

	{"Device.identifier.value", 0, partIdentifier},
	{"Device.identifier.system", 0, partSystem},
	{"Device.manufacturer", 0, partManufacturer},
	{"Device.modelNumber", 0, partModel},
	{"Device.deviceName.name", 0, partDeviceName},
	{"Device.deviceName.type", 0, partDeviceNameType},
	{"Device.serialNumber", 0, partSerial},
	{"Device.version.value", 0, partVersion},
	{"Device.udiCarrier.deviceIdentifier", 0, partDI},
	{"Device.udiCarrier.carrierHRF", 0, partHRF},
	{"Device.type.text", 0, partType},
	{"Device.type.coding.display", 0, partType},
	{"Device.type.coding.system", 0, partTypeSystem},
	{"Device.type.coding.code", 0, partTypeCode},
	{"Device.url", 0, partURL},

	{"MedicationRequest.status", 0, partStatus},
	{"MedicationRequest.intent", 0, partIntent},
	{"MedicationRequest.medicationCodeableConcept.text", 0, partDrug},
	{"MedicationRequest.medicationCodeableConcept.coding.display", 0, partDrug},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateQuantity.value", 0, partRate},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateQuantity.code", 0, partUnit},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateQuantity.unit", 0, partUnit},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.numerator.value", 0, partRate},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.numerator.code", 0, partUnit},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.numerator.unit", 0, partUnit},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.denominator.value", 0, partPer},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.denominator.code", 0, partPerUnit},
	{"MedicationRequest.dosageInstruction.doseAndRate.rateRatio.denominator.unit", 0, partPerUnit},
	{"DeviceRequest.status", 0, partStatus},
	{"DeviceRequest.intent", 0, partIntent},
	{"DeviceRequest.parameter", 0, partParameter},
	{"DeviceRequest.parameter.valueQuantity.value", 0, partSetting},
	{"DeviceRequest.parameter.valueQuantity.code", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueQuantity.unit", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueRange.low.value", 0, partSetting},
	{"DeviceRequest.parameter.valueRange.low.code", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueRange.low.unit", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueRange.high", 0, partParameter},
	{"DeviceRequest.parameter.valueRange.high.value", 0, partSetting},
	{"DeviceRequest.parameter.valueRange.high.code", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueRange.high.unit", 0, partSettingUnit},
	{"DeviceRequest.parameter.valueBoolean", 0, partChoice},
	{"DeviceRequest.parameter.valueCodeableConcept.text", 0, partChoice},
	{"DeviceRequest.parameter.valueCodeableConcept.coding.code", 0, partChoice},
	{"DeviceRequest.parameter.code.coding.system", 0, partSettingSystem},

	{"Bundle.type", 0, partBundleType},
	{"Bundle.entry", 0, partEntry},
	{"Bundle.entry.request.method", 0, partMethod},
}

// about says what a whole resource is when it names a patient.
var about = map[string]Fields{
	"Observation": Result, "DiagnosticReport": Result, "Condition": Result, "AllergyIntolerance": Result,
	"Procedure": Result, "Immunization": Result, "ClinicalImpression": Result, "FamilyMemberHistory": Result,
	"MedicationAdministration": Result, "MedicationStatement": Result, "MedicationDispense": Result,
	"Specimen": Result, "RiskAssessment": Result, "DetectedIssue": Result, "AdverseEvent": Result,
	"QuestionnaireResponse": Result, "Composition": Result, "DocumentReference": Result, "DeviceUseStatement": Result,
	"BodyStructure": Image, "ImagingStudy": Image, "Media": Image,
	"ServiceRequest": Order, "MedicationRequest": Order, "DeviceRequest": Order, "NutritionOrder": Order,
	"CarePlan": Order, "Task": Order, "Goal": Order, "VisionPrescription": Order, "RequestGroup": Order,
	"Encounter": Visit, "EpisodeOfCare": Visit, "Appointment": Visit, "Coverage": Visit, "Claim": Visit,
	"ExplanationOfBenefit": Visit, "Account": Visit, "Flag": Result, "CareTeam": Visit,
}

// A node is an element of the table as a tree: its children are the elements
// inside it that are looked for.
type node struct {
	name     string
	fields   Fields
	part     part
	children []*node
}

// anyType has what every resource has, byType what each type has besides.
var anyType, byType = tree(elements)

func tree(elements []element) (anyType *node, byType map[string]*node) {
	anyType, byType = new(node), make(map[string]*node)
	for _, e := range elements {
		path := strings.Split(e.path, ".")
		at := anyType
		if path[0] != "*" {
			if byType[path[0]] == nil {
				byType[path[0]] = new(node)
			}
			at = byType[path[0]]
		}
		for _, name := range path[1:] {
			at = at.grow(name)
		}
		at.fields, at.part = e.fields, e.part
	}
	return anyType, byType
}

func (n *node) grow(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name}
	n.children = append(n.children, c)
	return c
}

// typeOf returns R4's own string for a resource type, or "".
func typeOf(name []byte) string {
	lo, hi := 0, len(types)
	for lo < hi { // slices.BinarySearch would copy name
		if m := (lo + hi) / 2; types[m] < string(name) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == len(types) || types[lo] != string(name) {
		return ""
	}
	return types[lo]
}

// worn are words in the name of a type that say that a device is implanted or
// worn on the body. A wrong guess here costs a serial number in a report, the
// other way a patient's privacy; so single words decide.
var worn = []string{
	"implant", "pacemaker", "defibrillator", "cardioverter", "insulin pump", "neurostimulator", "nerve stimulator",
	"cochlear", "hearing aid", "glucose monitor", "glucose sensor", "loop recorder", "wearable", "ambulatory",
}

// wornTypes are SNOMED CT codes that FHIR servers put in Device.type.
var wornTypes = []string{
	"14106009", // cardiac pacemaker
	"72506001", // implantable defibrillator
	"69805005", // insulin pump
	"6012004",  // hearing aid
	"43252007", // cochlear prosthesis
}

// eui64 is the system of EUI-64 identifiers (Personal Health Device
// Implementation Guide, section on identifiers): an OID, with or without the
// form of a URI.
const eui64 = "1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"

// mdc is the URI of ISO/IEEE 11073-10101 as a code system.
const mdc = "urn:iso:std:iso:11073:10101"

// fda is in the URI of whatever FDA publishes. Its product codes have no other
// system that all agree on; they have three letters.
const fda = "fda.gov/"

// A frame is one resource that is open.
type frame struct {
	res    Resource
	slot   [slots][]byte
	system []byte // of the identifier or code in hand
	root   *node  // of what its type has
	depth  int    // elements open when it began

	settings   [MaxSettings]Setting
	parameters int // of a DeviceRequest, seen so far, ranges twice
}

// count counts an element when it is entered, and again with each repetition.
func (f *frame) count(n *node) {
	switch n.part {
	case partEntry:
		f.res.Bundle.Entries++
	case partParameter:
		f.parameters++
	}
}

// setting returns the parameter in hand.
func (f *frame) setting() *Setting {
	if f.parameters < 1 || f.parameters > MaxSettings {
		return new(Setting)
	}
	return &f.settings[f.parameters-1]
}

// A scan is fed with elements by the JSON and the XML reader.
type scan struct {
	visit  func(*Resource)
	frames [maxResources]frame
	open   int // resources open; may be more than maxResources
	nodes  [maxDepth + 1]*node
	depth  int // elements open
	text   []byte
}

// Scan reads a body and calls visit for each resource at its end: those inside
// before the one they are in. On an error the resources still open are visited
// too, with what was seen of them. A body that merely ends too early gives an
// error that wraps [wire.ErrTruncated].
func Scan(b []byte, f Format, visit func(*Resource)) error {
	s := scan{visit: visit}
	var err error
	switch f {
	case JSON, NDJSON:
		err = s.json(b, f == NDJSON)
	case XML:
		err = s.xml(b)
	default:
		return &wire.SyntaxError{Proto: "fhir", Field: "format", Err: wire.ErrReserved}
	}
	for s.open > 0 {
		s.end()
	}
	return err
}

// begin opens a resource.
func (s *scan) begin(name []byte, off int) {
	s.open++
	if s.open > maxResources {
		return
	}
	f := &s.frames[s.open-1]
	t := typeOf(name)
	*f = frame{res: Resource{Type: t, Off: off, Depth: s.open - 1}, root: byType[t], depth: s.depth}
}

// end closes the innermost resource and tells it.
func (s *scan) end() {
	s.open--
	if s.open >= maxResources {
		return
	}
	f := &s.frames[s.open]
	r, slot := &f.res, &f.slot
	first := func(parts ...part) []byte {
		for _, p := range parts {
			if len(slot[p]) > 0 {
				return slot[p]
			}
		}
		return nil
	}
	switch r.Type {
	case "Patient":
		r.Subject = first(partID, partIdentifier)
	default:
		r.Subject = first(partSubject, partSubjectID)
		if len(r.Subject) > 0 {
			r.Fields |= about[r.Type]
		}
		if bytes.HasPrefix(r.Subject, []byte("#")) { // contained: it names nobody outside
			r.Subject = nil
		}
	}
	switch r.Type {
	case "Device":
		d := &r.Device
		d.Manufacturer, d.Model = slot[partManufacturer], slot[partModel]
		switch string(slot[partDeviceNameType]) {
		case "user-friendly-name", "patient-reported-name", "other": // what people call it may be a person's name
		default:
			d.Model = first(partModel, partDeviceName)
		}
		d.Serial, d.Version = slot[partSerial], slot[partVersion]
		d.DI, d.HRF, d.Type, d.URL = slot[partDI], slot[partHRF], slot[partType], slot[partURL]
		d.Worn = len(slot[partSubject]) > 0 || slices.Contains(wornTypes, string(slot[partTypeCode]))
		for _, word := range worn {
			d.Worn = d.Worn || containsFold(d.Type, word) || containsFold(slot[partDeviceName], word)
		}
	case "MedicationRequest", "DeviceRequest":
		r.Order = Dosage{
			Status: slot[partStatus], Intent: slot[partIntent], Drug: slot[partDrug],
			Rate: slot[partRate], Unit: slot[partUnit], Per: slot[partPer], PerUnit: slot[partPerUnit],
		}
		r.Settings = f.settings[:min(f.parameters, MaxSettings)]
		r.Settings = slices.DeleteFunc(r.Settings, func(q Setting) bool { return len(q.Value) == 0 && !q.Choice })
	case "Bundle":
		r.Bundle.Type = slot[partBundleType]
	}
	s.visit(r)
	*f = frame{}
}

// enter opens an element of the innermost resource. It reports whether there
// is room for it.
func (s *scan) enter(name []byte) bool {
	if s.depth == maxDepth {
		return false
	}
	var n *node
	if s.open > 0 && s.open <= maxResources {
		f := &s.frames[s.open-1]
		if s.depth == f.depth {
			if n = f.root.child(name); n == nil {
				n = anyType.child(name)
			}
		} else if parent := s.nodes[s.depth]; parent != nil {
			if n = parent.child(name); n == nil && len(parent.children) == 0 {
				n = parent // anywhere inside Patient.name is a name
			}
		}
		if n != nil {
			f.count(n)
		}
	}
	s.depth++
	s.nodes[s.depth] = n
	return true
}

// child finds the row of an element inside n, which may be nil.
func (n *node) child(name []byte) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}

func (s *scan) leave() { s.depth-- }

// value takes the value of the element that is open. escaped says that it has
// to go through unescape first.
func (s *scan) value(v []byte, escaped bool, unescape func(dst, v []byte) []byte) {
	n := s.nodes[s.depth]
	if n == nil || s.open == 0 || s.open > maxResources || len(v) == 0 {
		return
	}
	f := &s.frames[s.open-1]
	if s.depth <= f.depth {
		return
	}
	f.res.Fields |= n.fields
	if n.part == nothing || n.part >= slots {
		return
	}
	if escaped {
		at := len(s.text)
		s.text = unescape(s.text, v)
		v = s.text[at:len(s.text):len(s.text)]
	}
	switch n.part {
	case partSubject:
		if v = patientID(v); v == nil {
			return // a device, a group, a place
		}
	case partMethod: // R4 section 3.1.0.11
		switch string(v) {
		case "POST", "PUT", "PATCH", "DELETE":
			f.res.Bundle.Writes++
		}
	case partSystem:
		f.system = v
		if bytes.Contains(v, []byte("us-ssn")) || bytes.HasSuffix(v, []byte("2.16.840.1.113883.4.1")) {
			f.res.Fields |= NationalID
		}
	case partSetting:
		f.setting().Value = v
	case partSettingUnit:
		if q := f.setting(); len(q.Unit) == 0 {
			q.Unit = v
		}
	case partSettingSystem:
		f.setting().MDC = string(v) == mdc
	case partChoice:
		f.setting().Choice = true
	case partTypeSystem:
		f.system = v
	case partTypeCode:
		if len(v) == 3 && bytes.Contains(f.system, []byte(fda)) {
			f.res.Device.ProductCode = v
		}
		f.system = nil
	case partIdentifier:
		// system stands before value in every serialisation that keeps R4's order.
		if f.res.Type == "Device" && bytes.HasSuffix(f.system, []byte(eui64)) {
			f.res.Device.EUI64 = v
		}
		f.system = nil
	}
	if len(f.slot[n.part]) == 0 {
		f.slot[n.part] = v
	}
}

// patientID returns the logical id in a reference to a Patient (R4 section
// 2.3.0.1): relative, absolute, of a version, or a bare URN.
func patientID(ref []byte) []byte {
	if bytes.HasPrefix(ref, []byte("urn:")) || bytes.HasPrefix(ref, []byte("#")) {
		return ref
	}
	i := bytes.LastIndex(ref, []byte("Patient/"))
	if i < 0 {
		return nil
	}
	id, _, _ := bytes.Cut(ref[i+len("Patient/"):], []byte("/"))
	return id
}

func containsFold(b []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(b); i++ {
		if bytes.EqualFold(b[i:i+len(lower)], []byte(lower)) {
			return true
		}
	}
	return false
}
