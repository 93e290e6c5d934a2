// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sdc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/sdc"
	"github.com/myelin-health/myelin/wire"
)

// envelope wraps a body as SDC devices do.
func envelope(action, body string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://www.w3.org/2005/08/addressing"
 xmlns:msg="http://standards.ieee.org/downloads/11073/11073-10207-2017/message"
 xmlns:pm="http://standards.ieee.org/downloads/11073/11073-10207-2017/participant"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:wsd="http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01"
 xmlns:dpws="http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01" xmlns:wsx="http://schemas.xmlsoap.org/ws/2004/09/mex"
 xmlns:wse="http://schemas.xmlsoap.org/ws/2004/08/eventing">
<s:Header><wsa:Action>` + action + `</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID><wsa:RelatesTo>urn:uuid:0</wsa:RelatesTo></s:Header>
<s:Body>` + body + `</s:Body></s:Envelope>`)
}

// The description of a ventilator with a pump channel, as vent-3 would tell it.
const ventilator = `<msg:GetMdibResponse MdibVersion="3"><msg:Mdib><pm:MdDescription>
<pm:Mds Handle="mds" SafetyClassification="MedB"><pm:Type Code="70001"/>
 <pm:MetaData><pm:Udi><pm:DeviceIdentifier>04012345678901</pm:DeviceIdentifier></pm:Udi><pm:Manufacturer>Aeris</pm:Manufacturer><pm:ModelName>V2</pm:ModelName><pm:SerialNumber>A-77</pm:SerialNumber></pm:MetaData>
 <pm:AlertSystem Handle="alerts"><pm:AlertCondition Handle="cond" xsi:type="pm:LimitAlertConditionDescriptor"><pm:Type Code="196674"/></pm:AlertCondition><pm:AlertSignal Handle="horn"/></pm:AlertSystem>
 <pm:Sco Handle="sco">
  <pm:Operation Handle="op.rate" xsi:type="pm:SetValueOperationDescriptor" OperationTarget="rate" SafetyClassification="MedC"><pm:Type Code="1"/></pm:Operation>
  <pm:Operation Handle="op.flow" xsi:type="pm:SetValueOperationDescriptor" OperationTarget="flow"/>
  <pm:Operation Handle="op.volume" xsi:type="pm:SetValueOperationDescriptor" OperationTarget="volume"/>
  <pm:Operation Handle="op.horn" xsi:type="pm:SetAlertStateOperationDescriptor" OperationTarget="horn"/>
  <pm:Operation Handle="op.mds" xsi:type="pm:ActivateOperationDescriptor" OperationTarget="mds"/>
  <pm:Operation Handle="op.pause" xsi:type="pm:ActivateOperationDescriptor" OperationTarget="alerts"/>
  <pm:Operation Handle="op.clock" xsi:type="pm:SetStringOperationDescriptor" OperationTarget="clock"/>
  <pm:Operation Handle="op.patient" xsi:type="pm:SetContextStateOperationDescriptor" OperationTarget="patient"/>
  <pm:Operation Handle="op.lost" xsi:type="pm:SetValueOperationDescriptor" OperationTarget="nowhere"/>
 </pm:Sco>
 <pm:SystemContext Handle="sc"><pm:PatientContext Handle="patient"/><pm:EnsembleContext Handle="ensemble"/></pm:SystemContext>
 <pm:Clock Handle="clock"/>
 <pm:Vmd Handle="lung"><pm:Channel Handle="breath"><pm:Type Code="151562"/>
  <pm:Metric Handle="rate" xsi:type="pm:NumericMetricDescriptor" SafetyClassification="MedB"><pm:Type Code="151586"/><pm:Unit Code="264928"/></pm:Metric></pm:Channel></pm:Vmd>
 <pm:Vmd Handle="pump"><pm:Type Code="69986" CodingSystem="urn:oid:1.2.840.10004.1.1.1.0.0.1"/><pm:Channel Handle="line">
  <pm:Metric Handle="flow" xsi:type="pm:NumericMetricDescriptor"><pm:Type Code="157784"/><pm:Unit Code="265266"/></pm:Metric>
  <pm:Metric Handle="volume" xsi:type="pm:NumericMetricDescriptor"><pm:Type Code="157884"/><pm:Unit Code="263762"/></pm:Metric></pm:Channel></pm:Vmd>
</pm:Mds></pm:MdDescription>
<pm:MdState><pm:State xsi:type="pm:NumericMetricState" DescriptorHandle="flow"><pm:MetricValue Value="5.0"><pm:MetricQuality Validity="Vld"/></pm:MetricValue></pm:State>
<pm:State xsi:type="pm:PatientContextState" DescriptorHandle="patient" Handle="p1" ContextAssociation="Assoc"><pm:Identification Root="urn:ward" Extension="ADA-000117"/><pm:CoreData><pm:Givenname>Anna</pm:Givenname><pm:Familyname>Lindqvist</pm:Familyname><pm:Sex>F</pm:Sex><pm:DateOfBirth>1961-04-02</pm:DateOfBirth></pm:CoreData></pm:State>
</pm:MdState></msg:Mdib></msg:GetMdibResponse>`

const services = "http://standards.ieee.org/downloads/11073/11073-20701-2018/"

func described(t testing.TB) *sdc.Mdib {
	t.Helper()
	var m sdc.Message
	d := new(sdc.Mdib)
	if err := m.Parse(envelope(services+"GetService/GetMdibResponse", ventilator), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func ExampleMdib_Resolve() {
	var m sdc.Message
	var d sdc.Mdib
	m.Parse(envelope(services+"GetService/GetMdibResponse", ventilator), &d)
	m.Parse(envelope(services+"SetService/SetValue",
		`<msg:SetValue><msg:OperationHandleRef>op.flow</msg:OperationHandleRef><msg:RequestedNumericValue>100</msg:RequestedNumericValue></msg:SetValue>`), &d)
	r := d.Resolve(&m)
	fmt.Println(r.Verb, "of", r.Target, "from", r.Now, "to", r.Value)
	// Output: set-infusion-rate of flow from 5.0 mL/h to 100 mL/h
}

func TestGetMdib(t *testing.T) {
	var m sdc.Message
	var d sdc.Mdib
	if err := m.Parse(envelope(services+"GetService/GetMdibResponse", ventilator), &d); err != nil {
		t.Fatal(err)
	}
	if m.Operation != "GetMdibResponse" || !m.SDC || m.IsSet() || m.IsReport() || string(m.RelatesTo) != "urn:uuid:0" {
		t.Errorf("%+v", m)
	}
	if id := m.Identity; string(id.Manufacturer) != "Aeris" || string(id.Model) != "V2" || string(id.Serial) != "A-77" || string(id.DI) != "04012345678901" {
		t.Errorf("identity %s", id)
	}
	if class, therapy := d.Kind(); class != "ventilator" || therapy != device.Ventilation {
		t.Errorf("%s, %s", class, therapy)
	}
	if p := m.Patient; !p.Name || !p.Sex || !p.BirthDate || !p.RecordNumber || string(p.Identifier) != "ADA-000117" {
		t.Errorf("patient %+v", p)
	}
	rate, ok := d.Descriptor([]byte("rate"))
	if !ok || rate.Kind != sdc.Metric || rate.Type != 151586 || rate.Safety != sdc.MedB {
		t.Errorf("rate: %+v", rate)
	}
	op, ok := d.Descriptor([]byte("op.rate"))
	if !ok || op.Kind != sdc.OperationDescriptor || op.Target != "rate" || op.Safety != sdc.MedC || op.Type != 1 {
		t.Errorf("op.rate: %+v", op)
	}
	if flow, _ := d.Descriptor([]byte("flow")); flow.Value.String() != "5.0 mL/h" {
		t.Errorf("flow is %s", flow.Value)
	}
	if d.Full || d.Len() != 25 {
		t.Errorf("%d handles", d.Len())
	}
}

func TestResolve(t *testing.T) {
	handle := func(h string) string { return `<msg:OperationHandleRef>` + h + `</msg:OperationHandleRef>` }
	number := func(h, v string) string {
		return `<msg:SetValue>` + handle(h) + `<msg:RequestedNumericValue>` + v + `</msg:RequestedNumericValue></msg:SetValue>`
	}
	for _, tt := range []struct {
		body    string
		known   bool
		verb    device.Verb
		therapy device.Therapy
		safety  sdc.Safety
		value   string
	}{
		{number("op.rate", "4"), true, device.SetVentilation, device.Ventilation, sdc.MedC, "4 {breaths}/min"},
		{number("op.flow", "0"), true, device.SetInfusionRate, device.DrugInfusion, sdc.NoSafety, "0 mL/h"},
		{number("op.volume", "50"), true, device.NoVerb, device.DrugInfusion, sdc.NoSafety, "50 mL"},
		{number("op.flow", "fast"), true, device.SetInfusionRate, device.DrugInfusion, sdc.NoSafety, ""},
		{
			`<msg:SetMetricState>` + handle("op.flow") + `<msg:ProposedMetricState xsi:type="pm:NumericMetricState" DescriptorHandle="flow"><pm:MetricValue Value="7.5"/></msg:ProposedMetricState></msg:SetMetricState>`,
			true, device.SetInfusionRate, device.DrugInfusion, sdc.NoSafety, "7.5 mL/h",
		},
		{`<msg:SetAlertState>` + handle("op.horn") + `<msg:ProposedAlertState ActivationState="Off"/></msg:SetAlertState>`, true, device.SetAlarm, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:SetAlertState>` + handle("op.horn") + `<msg:ProposedAlertState Presence="Ack"/></msg:SetAlertState>`, true, device.AcknowledgeAlarm, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:Activate>` + handle("op.mds") + `</msg:Activate>`, true, device.NoVerb, device.Ventilation, sdc.MedB, ""},
		{`<msg:Activate>` + handle("op.pause") + `</msg:Activate>`, true, device.SetAlarm, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:SetComponentState>` + handle("op.mds") + `<msg:ProposedComponentState ActivationState="StndBy"/></msg:SetComponentState>`, true, device.Standby, device.Ventilation, sdc.MedB, ""},
		{`<msg:SetComponentState>` + handle("op.mds") + `<msg:ProposedComponentState ActivationState="On"/></msg:SetComponentState>`, true, device.NoVerb, device.Ventilation, sdc.MedB, ""},
		{`<msg:SetString>` + handle("op.clock") + `<msg:RequestedStringValue>x</msg:RequestedStringValue></msg:SetString>`, true, device.SetClock, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:SetContextState>` + handle("op.patient") + `<msg:ProposedContextState xsi:type="pm:PatientContextState"/></msg:SetContextState>`, true, device.AssociatePatient, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:SetContextState>` + handle("op.patient") + `</msg:SetContextState>`, true, device.AssociatePatient, device.Ventilation, sdc.NoSafety, ""},
		{`<msg:SetContextState>` + handle("x") + `<msg:ProposedContextState xsi:type="pm:EnsembleContextState"/></msg:SetContextState>`, false, device.NoVerb, device.NoTherapy, sdc.NoSafety, ""},
		{number("op.lost", "4"), false, device.NoVerb, device.NoTherapy, sdc.NoSafety, ""},
		{number("flow", "4"), false, device.NoVerb, device.NoTherapy, sdc.NoSafety, ""}, // no operation
		{number("", "4"), false, device.NoVerb, device.NoTherapy, sdc.NoSafety, ""},
	} {
		d := described(t)
		var m sdc.Message
		if err := m.Parse(envelope("", tt.body), d); err != nil {
			t.Fatal(err)
		}
		r := d.Resolve(&m)
		if !m.IsSet() || r.Known != tt.known || r.Verb != tt.verb || r.Therapy != tt.therapy || r.Safety != tt.safety || r.Value.String() != tt.value {
			t.Errorf("%s:\n%+v %s, value %s", tt.body, r, r.Verb, r.Value)
		}
		// Section 9 of our therapy table: without the description a handle means nothing.
		r = (*sdc.Mdib)(nil).Resolve(&m)
		if r.Known || r.Therapy != device.NoTherapy || strings.Contains(tt.body, "<msg:SetValue>") && r.Verb != device.NoVerb {
			t.Errorf("without description: %s\n%+v", tt.body, r)
		}
	}
}

func TestDiscovery(t *testing.T) {
	const hello = `<wsd:Hello><wsa:EndpointReference><wsa:Address>urn:uuid:7</wsa:Address></wsa:EndpointReference>` +
		`<wsd:Types xmlns:m="http://standards.ieee.org/downloads/11073/11073-20702-2016">dpws:Device m:MedicalDevice</wsd:Types>` +
		`<wsd:Scopes>sdc.ctxt.loc:/x sdc.cdc.type:/urn%3Aoid%3A1.2.840.10004.1.1.1.0.0.1//70001 sdc.mds.pkp:1.2.840.10004.20701.1.1</wsd:Scopes>` +
		`<wsd:XAddrs>http://10.20.3.32:6464/x</wsd:XAddrs></wsd:Hello>`
	var m sdc.Message
	b := envelope("http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01/Hello", hello)
	if err := m.Parse(b, nil); err != nil {
		t.Fatal(err)
	}
	d := m.Discovery
	class, therapy := d.DeviceType()
	if m.Operation != "Hello" || !m.SDC || !d.Medical || d.Matches != 1 || string(d.Address) != "urn:uuid:7" ||
		string(d.XAddrs) != "http://10.20.3.32:6464/x" || class != "ventilator" || therapy != device.Ventilation {
		t.Errorf("%+v, %s", m, class)
	}
	// A medical device of some other namespace is none of ours.
	m.Parse([]byte(strings.ReplaceAll(string(b), "11073-20702-2016", "x")), nil)
	if m.Discovery.Medical {
		t.Error("a type of another namespace")
	}
	m.Parse(envelope("", `<wsd:ProbeMatches><wsd:ProbeMatch/><wsd:ProbeMatch/></wsd:ProbeMatches>`), nil)
	if m.Operation != "ProbeMatches" || m.Discovery.Matches != 2 || m.SDC {
		t.Errorf("%+v", m)
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		action, body string
		check        func(*sdc.Message) bool
	}{
		{"http://schemas.xmlsoap.org/ws/2004/09/transfer/Get", "", func(m *sdc.Message) bool { return m.Operation == "Get" && !m.SDC }},
		{services + "GetService/GetMdib", "<msg:GetMdib/>", func(m *sdc.Message) bool { return m.Operation == "GetMdib" && m.SDC }},
		{"", "<wse:Subscribe><wse:Delivery/></wse:Subscribe>", func(m *sdc.Message) bool { return m.Operation == "Subscribe" && !m.SDC }},
		{"", "<s:Fault><s:Code/></s:Fault>", func(m *sdc.Message) bool { return m.Fault && m.Operation == "" }},
		{"", "<msg:Unheard/>", func(m *sdc.Message) bool { return m.Operation == "" && m.SDC }},
		{
			"", "<msg:SetValueResponse><msg:InvocationInfo><msg:TransactionId>4</msg:TransactionId><msg:InvocationState>Wait</msg:InvocationState></msg:InvocationInfo></msg:SetValueResponse>",
			func(m *sdc.Message) bool {
				return m.Operation == "SetValueResponse" && m.Outcome.State == "Wait" && string(m.Outcome.Transaction) == "4" && !m.IsSet() && !m.Outcome.Finished() && !m.Outcome.Failed()
			},
		},
		{
			"", `<msg:OperationInvokedReport><msg:ReportPart OperationHandleRef="op.rate" OperationTarget="rate"><msg:InvocationInfo><msg:InvocationState>Fin</msg:InvocationState></msg:InvocationInfo></msg:ReportPart></msg:OperationInvokedReport>`,
			func(m *sdc.Message) bool {
				return m.IsReport() && m.Outcome.Finished() && string(m.Outcome.Handle) == "op.rate" && string(m.Outcome.Target) == "rate"
			},
		},
		{"", `<msg:SetValueResponse><msg:InvocationState>Odd</msg:InvocationState></msg:SetValueResponse>`, func(m *sdc.Message) bool { return m.Outcome.State == "" }},
		{
			"", `<msg:EpisodicMetricReport><msg:ReportPart><msg:MetricState DescriptorHandle="flow"><pm:MetricValue Value="1"/></msg:MetricState><msg:MetricState DescriptorHandle="rate"/></msg:ReportPart></msg:EpisodicMetricReport>`,
			func(m *sdc.Message) bool { return m.IsReport() && m.States == 2 && !m.Patient.Any() },
		},
		{
			"", `<msg:EpisodicContextReport><msg:ReportPart><msg:ContextState xsi:type="pm:PatientContextState" DescriptorHandle="patient" Handle="p"><pm:CoreData><pm:Familyname>Okafor</pm:Familyname></pm:CoreData></msg:ContextState></msg:ReportPart></msg:EpisodicContextReport>`,
			func(m *sdc.Message) bool { return m.Patient.Name && !m.Patient.RecordNumber },
		},
		{
			"", `<wsx:Metadata><wsx:MetadataSection><dpws:ThisModel><dpws:Manufacturer>Veltis</dpws:Manufacturer><dpws:ModelName>M9</dpws:ModelName></dpws:ThisModel></wsx:MetadataSection><wsx:MetadataSection><dpws:ThisDevice><dpws:FriendlyName>x</dpws:FriendlyName><dpws:FirmwareVersion>5.0</dpws:FirmwareVersion><dpws:SerialNumber>V-9</dpws:SerialNumber></dpws:ThisDevice></wsx:MetadataSection></wsx:Metadata>`,
			func(m *sdc.Message) bool {
				return fmt.Sprintf("%s", m.Identity) == "{Veltis M9 V-9 5.0 }"
			},
		},
	} {
		var m sdc.Message
		if err := m.Parse(envelope(tt.action, tt.body), new(sdc.Mdib)); err != nil || !tt.check(&m) {
			t.Errorf("%s%s: %+v, %v", tt.action, tt.body, m, err)
		}
	}
}

func TestParseRefused(t *testing.T) {
	good := string(envelope("", ventilator))
	for _, tt := range []struct {
		in  string
		err error
	}{
		{"", wire.ErrTruncated},
		{good[:len(good)-10], wire.ErrTruncated},
		{"<Envelope/>", wire.ErrInvalid},
		{`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>`, wire.ErrInvalid}, // SOAP 1.1
		{"<!DOCTYPE x>" + good, wire.ErrInvalid},
		{good + "<x/>", wire.ErrTrailing},
		{string(envelope("", strings.Repeat("<msg:a>", 70))), wire.ErrTooDeep},
	} {
		var m sdc.Message
		err := m.Parse([]byte(tt.in), new(sdc.Mdib))
		var s *wire.SyntaxError
		if !errors.Is(err, tt.err) || !errors.As(err, &s) {
			t.Errorf("%.60q: %v, want %v", tt.in, err, tt.err)
		}
	}
}

func TestMdibBounds(t *testing.T) {
	describe := func(n int, handle string) (*sdc.Mdib, error) {
		var s strings.Builder
		s.WriteString("<msg:GetMdibResponse>")
		for i := range n {
			fmt.Fprintf(&s, `<pm:Metric Handle="%s%d"/>`, handle, i)
		}
		var m sdc.Message
		d := new(sdc.Mdib)
		return d, m.Parse(envelope("", s.String()+"</msg:GetMdibResponse>"), d)
	}
	if d, err := describe(sdc.MaxHandles, "h"); d.Full || d.Len() != sdc.MaxHandles || err != nil {
		t.Errorf("at the bound: %d, %v, %v", d.Len(), d.Full, err)
	}
	if d, err := describe(sdc.MaxHandles+1, "h"); !d.Full || d.Len() != sdc.MaxHandles || err != nil {
		t.Errorf("one past the bound: %d, %v, %v", d.Len(), d.Full, err)
	}
	if d, _ := describe(1, strings.Repeat("h", 127)); d.Full || d.Len() != 1 {
		t.Error("the longest handle")
	}
	if d, _ := describe(1, strings.Repeat("h", 128)); !d.Full || d.Len() != 0 {
		t.Error("a handle longer than the bound")
	}
}

// Two things described inside each other must not trap whoever asks for the
// therapy around them.
func TestMdibCircle(t *testing.T) {
	var m sdc.Message
	d := new(sdc.Mdib)
	body := `<msg:GetMdibResponse><pm:Vmd Handle="a"><pm:Vmd Handle="b"/></pm:Vmd><pm:Vmd Handle="b"><pm:Vmd Handle="a"/></pm:Vmd>` +
		`<pm:Operation Handle="op" OperationTarget="a"/></msg:GetMdibResponse>`
	if err := m.Parse(envelope("", body), d); err != nil {
		t.Fatal(err)
	}
	m.Parse(envelope("", `<msg:Activate><msg:OperationHandleRef>op</msg:OperationHandleRef></msg:Activate>`), d)
	if r := d.Resolve(&m); !r.Known || r.Verb != device.NoVerb {
		t.Errorf("%+v", r)
	}
}

func TestRecogniseDatagram(t *testing.T) {
	const types = `<wsd:Types xmlns:m="http://standards.ieee.org/downloads/11073/11073-20702-2016">m:MedicalDevice</wsd:Types>`
	start := `<?xml version='1.0'?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsd="http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01">`
	for _, tt := range []struct {
		in   string
		want wire.Match
	}{
		{start + types, wire.SureMatch},
		{start, wire.WeakMatch},
		{strings.ReplaceAll(start+types, "docs.oasis-open.org/ws-dd/ns/discovery/2009/01", "schemas.xmlsoap.org/ws/2005/04/discovery"), wire.NoMatch},
		{"", wire.NoMatch},
		{"<", wire.NoMatch},
		{"NOTIFY * HTTP/1.1\r\n", wire.NoMatch},
		{strings.Repeat("<a>", 300) + start + types, wire.NoMatch},
	} {
		if got := sdc.RecogniseDatagram([]byte(tt.in)); got != tt.want {
			t.Errorf("%.40q: %d, want %d", tt.in, got, tt.want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	in := envelope(services+"GetService/GetMdibResponse", ventilator)
	b.SetBytes(int64(len(in)))
	var d sdc.Mdib
	for b.Loop() {
		var m sdc.Message
		m.Parse(in, &d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(envelope("", ventilator))
	f.Add(envelope("", `<msg:SetValue><msg:OperationHandleRef>op.flow</msg:OperationHandleRef><msg:RequestedNumericValue>1</msg:RequestedNumericValue></msg:SetValue>`))
	f.Add(envelope("", `<wsd:Hello><wsd:Types>a:MedicalDevice</wsd:Types><wsd:Scopes>sdc.cdc.type://1</wsd:Scopes></wsd:Hello>`))
	f.Add(envelope("", `<msg:SetContextState><msg:ProposedContextState xsi:type="pm:PatientContextState"><pm:Identification Extension="1"/></msg:ProposedContextState></msg:SetContextState>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := described(t)
		var m, again sdc.Message
		err := m.Parse(b, d)
		r := d.Resolve(&m)
		d = described(t)
		err2 := again.Parse(b, d)
		if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", again) || fmt.Sprint(err) != fmt.Sprint(err2) || r != d.Resolve(&again) {
			t.Fatal("the same input was read in two ways")
		}
		if d.Len() > sdc.MaxHandles {
			t.Fatal(d.Len())
		}
		sdc.RecogniseDatagram(b)
		sdc.IsEnvelope(b)
	})
}
