// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package sdc reads the messages of IEEE 11073 service-oriented device
// connectivity (SDC), by which ventilators, pumps and monitors at a bed talk to
// each other: SOAP 1.2 envelopes over HTTP or UDP, and resolves what a set
// operation really sets.
//
// It implements, as far as a watcher needs them: ISO/IEEE 11073-20702 (MDPWS)
// with OASIS WS-Discovery 1.1 and DPWS 1.1 beneath it (Hello, Bye, Probe,
// Resolve and their matches, metadata, eventing), and ISO/IEEE 11073-10207
// (BICEPS) as bound by 11073-20701: GetMdib and GetMdDescription, the seven set
// services, and the reports.
//
// An operation handle means nothing without the description of the device
// ([Mdib]): handle, operation target, its MDC type code and unit lead to a
// [device.Verb] ([Mdib.Resolve]). Without a description the verb is unknown.
//
// Left out: waveform samples, compact transmission (EXI), description
// modifications, localisation, archives; production SDC runs inside mutual TLS,
// where only discovery is seen.
//
// This API is stable.
package sdc

import (
	"bytes"
	"strings"

	"github.com/myelin-health/myelin/wire"
)

// Namespaces. Those of 11073 carry the year of the edition.
const (
	nsEnvelope   = "http://www.w3.org/2003/05/soap-envelope"
	nsDiscovery  = "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01"
	nsDPWS       = "http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01"
	nsSchemaType = "http://www.w3.org/2001/XMLSchema-instance"
	ns11073      = "http://standards.ieee.org/downloads/11073/11073-"
	nsBICEPS     = ns11073 + "10207-"
	nsMDPWS      = ns11073 + "20702-"
	nsGlue       = ns11073 + "20701-"
)

// maxRecognise is how much of a datagram RecogniseDatagram looks through, once
// its beginning fits.
const maxRecognise = 2 << 10

// RecogniseDatagram says whether b is a discovery message of WS-Discovery 1.1.
// It is sure when the message speaks of medical devices. Version 2005/04, which
// printers and desktops use, is not SDC's.
func RecogniseDatagram(b []byte) wire.Match {
	if !isXML(b) || !bytes.Contains(b[:min(len(b), 512)], []byte(nsDiscovery)) {
		return wire.NoMatch
	}
	b = b[:min(len(b), maxRecognise)]
	if bytes.Contains(b, []byte(nsMDPWS)) || bytes.Contains(b, []byte("sdc.mds.pkp:")) || bytes.Contains(b, []byte("sdc.cdc.type:")) {
		return wire.SureMatch
	}
	return wire.WeakMatch
}

func isXML(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	return len(b) > 1 && b[0] == '<' && (b[1] == '?' || b[1] >= 'A' && b[1] <= 'z')
}

// IsEnvelope says whether a body begins like an envelope of SOAP 1.2. It looks
// at 512 bytes.
func IsEnvelope(b []byte) bool {
	return isXML(b) && bytes.Contains(b[:min(len(b), 512)], []byte("Envelope"))
}

// A Message is one envelope. Its slices alias what was parsed; escapes in them
// stand as they were sent.
type Message struct {
	// Operation is the message's name in its standard: the local name of the
	// body's element ("GetMdibResponse", "SetValue", "EpisodicMetricReport",
	// "Hello"), or for an empty body the last part of the action ("Get").
	Operation string
	SDC       bool   // it is one of 11073's own, or speaks of a medical device
	Fault     bool   // a SOAP fault
	Action    []byte // wsa:Action
	MessageID []byte // wsa:MessageID, new for every message
	RelatesTo []byte // the MessageID that this answers

	Discovery Discovery  // of Hello, ProbeMatches and ResolveMatches: the first device
	Identity  Identity   // of metadata, and of a GetMdibResponse
	Set       Set        // of the set services
	Outcome   Invocation // of their responses, and of an OperationInvokedReport: the last
	States    int        // states in a report
	Patient   Patient    // what is said of a patient, anywhere in the message
}

// IsSet reports whether the message is a request of one of the seven set
// services (11073-10207 chapter on the set service and the context service).
func (m *Message) IsSet() bool { return m.set() != notSet }

// IsReport reports whether a device reports by itself.
func (m *Message) IsReport() bool {
	return strings.HasSuffix(m.Operation, "Report") || m.Operation == "WaveformStream"
}

func (m *Message) set() setKind {
	if !m.SDC {
		return notSet
	}
	return setKinds[m.Operation]
}

type setKind uint8

const (
	notSet setKind = iota
	setValue
	setString
	activate
	setMetricState
	setComponentState
	setAlertState
	setContextState
)

var setKinds = map[string]setKind{
	"SetValue": setValue, "SetString": setString, "Activate": activate, "SetMetricState": setMetricState,
	"SetComponentState": setComponentState, "SetAlertState": setAlertState, "SetContextState": setContextState,
}

// A Discovery is how a device makes itself known (WS-Discovery 1.1 section 4).
type Discovery struct {
	Address []byte // of the endpoint: a URN that stays
	XAddrs  []byte // where it answers; elsewhere than the sender, perhaps
	Type    []byte // MDC code of the device, from the scope sdc.cdc.type
	Medical bool   // its types name a medical device
	Matches int    // devices in the message
}

// An Identity is what a device says it is (DPWS 1.1 section 5.1, 11073-10207
// element MetaData).
type Identity struct {
	Manufacturer, Model, Serial, Version []byte
	DI                                   []byte // UDI device identifier
}

// A Set is the request of a set service.
type Set struct {
	Handle      []byte // OperationHandleRef
	Value       []byte // requested number or text; of several proposed states the first
	Context     string // type of the proposed context state: "PatientContextState"
	Association []byte // ContextAssociation of it
	Activation  []byte // ActivationState of the proposed state
	Presence    []byte // Presence of the proposed alert signal state
}

// An Invocation is how far an operation has come (11073-10207 InvocationInfo).
type Invocation struct {
	Transaction []byte
	State       string // InvocationState: "Wait", "Start", "Fin", "FinMod", "Fail", "Cnclld", "CnclldMan", or ""
	Handle      []byte // OperationHandleRef, of a report
	Target      []byte // OperationTarget, of a report
}

var invocationStates = []string{"Wait", "Start", "Fin", "FinMod", "Fail", "Cnclld", "CnclldMan"}

// Finished and failed say what an invocation state means.
func (i Invocation) Finished() bool { return i.State == "Fin" || i.State == "FinMod" }

// Failed reports whether the operation will not be done.
func (i Invocation) Failed() bool {
	return i.State == "Fail" || i.State == "Cnclld" || i.State == "CnclldMan"
}

// A Patient is what a patient context says (11073-10207 PatientContextState).
type Patient struct {
	Identifier                                    []byte // Extension of the first Identification
	Name, Sex, BirthDate, RecordNumber, Physician bool
}

// Any reports whether there is anything about a patient.
func (p Patient) Any() bool { return p.Name || p.Sex || p.BirthDate || p.RecordNumber }

// Parse reads one envelope. A device's description in it is read into d, which
// may be nil. On an error m and d hold what was read before it.
func (m *Message) Parse(b []byte, d *Mdib) error {
	*m = Message{}
	p := parser{m: m, d: d}
	x := &p.x
	x.Reset("sdc", b)
	for x.Next() {
		if x.Kind() != wire.XMLStart {
			continue
		}
		switch {
		case x.Depth() == 1:
			if !x.Is(nsEnvelope, "Envelope") {
				return &wire.SyntaxError{Proto: "sdc", Field: "Envelope", Off: x.Off(), Err: wire.ErrInvalid}
			}
		case x.Depth() == 2 && x.Is(nsEnvelope, "Header"):
			p.header()
		case x.Depth() == 2 && x.Is(nsEnvelope, "Body"):
			p.body()
		default:
			x.Skip()
		}
	}
	if m.Operation == "" {
		m.Operation = operationOf(m.Action)
	}
	m.SDC = m.SDC || m.Discovery.Medical || bytes.HasPrefix(m.Action, []byte(ns11073))
	return x.Err()
}

type parser struct {
	x wire.XML
	m *Message
	d *Mdib
}

// inside calls each for every element directly inside the one just started,
// which each must read to its end; an element it leaves is passed over.
func (p *parser) inside(each func()) {
	x := &p.x
	own := x.Depth()
	for x.Depth() >= own && x.Next() {
		if x.Kind() == wire.XMLStart && x.Depth() == own+1 {
			each()
			for x.Depth() > own && x.Next() {
			}
		}
	}
}

func (p *parser) header() {
	p.inside(func() {
		switch string(p.x.Local()) { // WS-Addressing 1.0 section 3, both of its namespaces
		case "Action":
			p.m.Action = p.x.Content()
		case "MessageID":
			p.m.MessageID = p.x.Content()
		case "RelatesTo":
			p.m.RelatesTo = p.x.Content()
		}
	})
}

// operations are the names that messages have. Others are told as "".
var operations = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{
		// WS-Discovery 1.1, WS-Transfer, WS-MetadataExchange, WS-Eventing
		"Hello", "Bye", "Probe", "ProbeMatches", "Resolve", "ResolveMatches", "Get", "GetResponse", "GetMetadata", "Metadata",
		"Subscribe", "SubscribeResponse", "Renew", "RenewResponse", "Unsubscribe", "UnsubscribeResponse", "GetStatus", "GetStatusResponse", "SubscriptionEnd",
		// 11073-10207
		"GetMdib", "GetMdDescription", "GetMdState", "GetContextStates", "GetContainmentTree", "GetDescriptor",
		"SetValue", "SetString", "Activate", "SetMetricState", "SetComponentState", "SetAlertState", "SetContextState",
		"GetLocalizedText", "GetSupportedLanguages", "GetContextStatesByIdentification", "GetContextStatesByFilter",
	} {
		m[s] = s
		if strings.HasPrefix(s, "Get") || strings.HasPrefix(s, "Set") || s == "Activate" {
			m[s+"Response"] = s + "Response"
		}
	}
	for _, s := range []string{
		"EpisodicMetricReport", "PeriodicMetricReport", "EpisodicAlertReport", "PeriodicAlertReport", "EpisodicComponentReport",
		"PeriodicComponentReport", "EpisodicContextReport", "PeriodicContextReport", "EpisodicOperationalStateReport",
		"PeriodicOperationalStateReport", "OperationInvokedReport", "SystemErrorReport", "DescriptionModificationReport",
		"WaveformStream", "ObservedValueStream",
	} {
		m[s] = s
	}
	return m
}()

func operationOf(action []byte) string {
	return operations[string(action[bytes.LastIndexByte(action, '/')+1:])]
}

// body reads what the message is about: one element.
func (p *parser) body() {
	p.inside(func() {
		x, m := &p.x, p.m
		if m.Operation != "" || m.Fault {
			return // one element only
		}
		name := string(x.Local())
		biceps := bytes.HasPrefix(x.Space(), []byte(nsBICEPS))
		if x.Is(nsEnvelope, "Fault") {
			m.Fault = true
			return
		}
		m.Operation = operations[name]
		m.SDC = biceps
		switch {
		case !biceps && string(x.Space()) == nsDiscovery:
			p.discovery()
		case !biceps && name == "Metadata":
			p.metadata()
		case !biceps:
		case setKinds[name] != notSet:
			p.set()
		case strings.HasPrefix(name, "Set") || name == "ActivateResponse":
			p.descend(func() { p.invocation() })
		case name == "OperationInvokedReport":
			p.invocations()
		default:
			p.description()
		}
	})
}

// descend calls each for every element inside the one just started, at any
// depth, outermost first.
func (p *parser) descend(each func()) {
	x := &p.x
	own := x.Depth()
	for x.Depth() >= own && x.Next() {
		if x.Kind() == wire.XMLStart {
			each()
		}
	}
}

// discovery reads Hello, Bye and the matches (WS-Discovery 1.1 sections 4 to 6).
func (p *parser) discovery() {
	x, d := &p.x, &p.m.Discovery
	if name := string(x.Local()); name == "Hello" || name == "Bye" {
		d.Matches++
	}
	p.descend(func() {
		switch string(x.Local()) {
		case "ProbeMatch", "ResolveMatch":
			d.Matches++
		case "Address":
			once(&d.Address, x.Content())
		case "XAddrs":
			once(&d.XAddrs, x.Content())
		case "Types":
			d.Medical = p.medical() || d.Medical
		case "Scopes":
			// 11073-20701 section on discovery: the device's type is a scope
			// of the scheme sdc.cdc.type whose last segment is the code.
			for rest := x.Content(); len(rest) > 0; { // each turn passes a word
				var scope []byte
				scope, rest = word(rest)
				if bytes.HasPrefix(scope, []byte("sdc.cdc.type:/")) {
					once(&d.Type, scope[bytes.LastIndexByte(scope, '/')+1:])
				}
			}
		}
	})
}

// once sets what is not set yet.
func once(to *[]byte, v []byte) {
	if len(*to) == 0 {
		*to = v
	}
}

// word cuts the first word, divided by white space, from a list.
func word(b []byte) (first, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r\n")
	i := bytes.IndexAny(b, " \t\r\n")
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i:]
}

// medical reads a list of types and reports whether one is a medical device
// (11073-20702 section on types). The prefixes may be declared on the element
// itself, so they are resolved while it is open.
func (p *parser) medical() bool {
	x := &p.x
	found := false
	own := x.Depth()
	for x.Depth() >= own && x.Next() {
		if x.Kind() != wire.XMLText {
			continue
		}
		for rest := x.Text(); len(rest) > 0; { // each turn passes a word
			var qname []byte
			qname, rest = word(rest)
			space, local := x.Resolve(qname)
			found = found || string(local) == "MedicalDevice" && bytes.HasPrefix(space, []byte(nsMDPWS))
		}
	}
	return found
}

// metadata reads the answer to Get (DPWS 1.1 section 5.1).
func (p *parser) metadata() {
	x, id := &p.x, &p.m.Identity
	p.descend(func() {
		if string(x.Space()) != nsDPWS {
			return
		}
		switch string(x.Local()) {
		case "Manufacturer":
			once(&id.Manufacturer, x.Content())
		case "ModelName":
			once(&id.Model, x.Content())
		case "FirmwareVersion":
			once(&id.Version, x.Content())
		case "SerialNumber":
			once(&id.Serial, x.Content())
		case "Types":
			p.m.Discovery.Medical = p.medical() || p.m.Discovery.Medical
		}
	})
}

// typeName returns the type that an element says it has, without namespace.
func (p *parser) typeName() []byte {
	v := p.x.Attr(nsSchemaType, "type")
	return v[bytes.LastIndexByte(v, ':')+1:]
}

// set reads a request of a set service.
func (p *parser) set() {
	x, s := &p.x, &p.m.Set
	p.descend(func() {
		switch string(x.Local()) {
		case "OperationHandleRef":
			once(&s.Handle, x.Content())
		case "RequestedNumericValue", "RequestedStringValue", "ArgValue":
			once(&s.Value, x.Content())
		case "MetricValue":
			once(&s.Value, x.Attr("", "Value"))
		case "ProposedMetricState", "ProposedComponentState", "ProposedAlertState":
			p.m.States++
			once(&s.Activation, x.Attr("", "ActivationState"))
			once(&s.Presence, x.Attr("", "Presence"))
		case "ProposedContextState":
			p.m.States++
			once(&s.Association, x.Attr("", "ContextAssociation"))
			if s.Context == "" {
				s.Context = contextTypes[string(p.typeName())]
			}
			p.context()
		}
	})
}

var contextTypes = map[string]string{
	"PatientContextState": "PatientContextState", "LocationContextState": "LocationContextState", "EnsembleContextState": "EnsembleContextState",
	"OperatorContextState": "OperatorContextState", "WorkflowContextState": "WorkflowContextState", "MeansContextState": "MeansContextState",
}

// context reads a context state if it is a patient's.
func (p *parser) context() {
	if string(p.typeName()) != "PatientContextState" {
		return
	}
	x, t := &p.x, &p.m.Patient
	p.descend(func() {
		switch string(x.Local()) {
		case "Identification": // InstanceIdentifier: Root and Extension
			if v := x.Attr("", "Extension"); len(v) > 0 {
				t.RecordNumber = true
				once(&t.Identifier, v)
			}
		case "Givenname", "Familyname", "Birthname", "Middlename":
			t.Name = len(x.Content()) > 0 || t.Name
		case "Sex":
			t.Sex = len(x.Content()) > 0 || t.Sex
		case "DateOfBirth":
			t.BirthDate = len(x.Content()) > 0 || t.BirthDate
		}
	})
}

// invocation reads an element of InvocationInfo.
func (p *parser) invocation() {
	x, o := &p.x, &p.m.Outcome
	switch string(x.Local()) {
	case "TransactionId":
		o.Transaction = x.Content()
	case "InvocationState":
		v := x.Content()
		for _, s := range invocationStates {
			if string(v) == s {
				o.State = s
			}
		}
	}
}

// invocations reads an OperationInvokedReport.
func (p *parser) invocations() {
	x, o := &p.x, &p.m.Outcome
	p.descend(func() {
		if string(x.Local()) == "ReportPart" {
			p.m.States++
			o.Handle, o.Target = x.Attr("", "OperationHandleRef"), x.Attr("", "OperationTarget")
			return
		}
		p.invocation()
	})
}
