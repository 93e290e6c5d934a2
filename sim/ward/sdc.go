// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// The endpoints of the two devices that speak SDC.
const (
	mon3UUID  = "5e3a1c44-6a0f-5b7e-9a31-00005e00534f"
	vent3UUID = "b20c7d19-93c2-5d0a-8e32-00005e005350"
	mon3Port  = 6464
	vent3Port = 6465
	deskPort  = 6500 // where the central station takes reports
)

// Namespaces of SOAP, addressing, discovery and IEEE 11073.
const (
	soapNS      = "http://www.w3.org/2003/05/soap-envelope"
	addressNS   = "http://www.w3.org/2005/08/addressing"
	discoveryNS = "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01"
	dpwsNS      = "http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01"
	eventingNS  = "http://schemas.xmlsoap.org/ws/2004/08/eventing"
	mexNS       = "http://schemas.xmlsoap.org/ws/2004/09/mex"
	transferNS  = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
	mdpwsNS     = "http://standards.ieee.org/downloads/11073/11073-20702-2016"
	messageNS   = "http://standards.ieee.org/downloads/11073/11073-10207-2017/message"
	modelNS     = "http://standards.ieee.org/downloads/11073/11073-10207-2017/participant"
	sdcNS       = "http://standards.ieee.org/downloads/11073/11073-20701-2018"
	schemaNS    = "http://www.w3.org/2001/XMLSchema-instance"
)

// envelopes numbers messages, so that each has an id of its own.
type envelopes struct{ n int }

// envelope writes a SOAP message. relates is the message that it answers, or empty.
func (e *envelopes) envelope(to, action, relates, body string) (xml, id string) {
	e.n++
	id = fmt.Sprintf("urn:uuid:26030300-0700-4000-8000-%012x", e.n)
	if relates != "" {
		relates = "<wsa:RelatesTo>" + relates + "</wsa:RelatesTo>"
	}
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<s12:Envelope xmlns:s12="` + soapNS + `" xmlns:wsa="` + addressNS + `" xmlns:wsd="` + discoveryNS +
		`" xmlns:dpws="` + dpwsNS + `" xmlns:mdpws="` + mdpwsNS + `" xmlns:msg="` + messageNS + `" xmlns:dom="` + modelNS + `" xmlns:xsi="` + schemaNS + `">` +
		"<s12:Header><wsa:To>" + to + "</wsa:To><wsa:Action>" + action + "</wsa:Action><wsa:MessageID>" + id + "</wsa:MessageID>" + relates + "</s12:Header>" +
		"<s12:Body>" + body + "</s12:Body></s12:Envelope>", id
}

// post and ok put an envelope into HTTP.
func post(to *host, port uint16, path, xml string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/soap+xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", path, to.ip, port, len(xml), xml)
}

func ok(xml string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(xml), xml)
}

// A cared is a device at a bed that is discovered: its endpoint, its MDC type and its bed.
type cared struct {
	host         *host
	uuid, scheme string
	port         uint16
	code         int
}

var (
	monitor    = cared{mon3, mon3UUID, "http", mon3Port, 69965}     // MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS
	ventilator = cared{vent3, vent3UUID, "https", vent3Port, 70001} // MDC_DEV_SYS_PT_VENT_MDS
)

func (c *cared) address() string {
	return fmt.Sprintf("%s://%s:%d/%s", c.scheme, c.host.ip, c.port, c.uuid)
}

// endpoint is what Hello and ProbeMatches say of a device.
func (c *cared) endpoint() string {
	return "<wsa:EndpointReference><wsa:Address>urn:uuid:" + c.uuid + "</wsa:Address></wsa:EndpointReference>" +
		"<wsd:Types>dpws:Device mdpws:MedicalDevice</wsd:Types>" +
		"<wsd:Scopes>sdc.ctxt.loc:/sdc.ctxt.loc.detail/StAda%2F%2F%2FICU%2F%2F3?fac=StAda&amp;poc=ICU&amp;bed=3 " +
		fmt.Sprintf("sdc.cdc.type:/urn%%3Aoid%%3A1.2.840.10004.1.1.1.0.0.1//%d", c.code) + " sdc.mds.pkp:1.2.840.10004.20701.1.1</wsd:Scopes>" +
		"<wsd:XAddrs>" + c.address() + "</wsd:XAddrs><wsd:MetadataVersion>1</wsd:MetadataVersion>"
}

// discovery is the central station looking for devices (WS-Discovery 1.1 section 5).
func (s *span) discovery(e *envelopes) {
	const port = 3702
	group := multicast(netip.MustParseAddr("239.255.255.250"))
	all := "urn:docs-oasis-open-org:ws-dd:ns:discovery:2009:01"
	hello, _ := e.envelope(all, discoveryNS+"/Hello", "", "<wsd:Hello>"+ventilator.endpoint()+"</wsd:Hello>")
	s.datagram(tapICU, clock("07:00:09"), vent3, group, 49710, port, []byte(hello))
	probe, id := e.envelope(all, discoveryNS+"/Probe", "", "<wsd:Probe><wsd:Types>mdpws:MedicalDevice</wsd:Types></wsd:Probe>")
	at := clock("07:00:15")
	s.datagram(tapICU, at, desk3, group, 50001, port, []byte(probe))
	for i, c := range []*cared{&monitor, &ventilator} {
		match, _ := e.envelope(addressNS+"/anonymous", discoveryNS+"/ProbeMatches", id,
			"<wsd:ProbeMatches><wsd:ProbeMatch>"+c.endpoint()+"</wsd:ProbeMatch></wsd:ProbeMatches>")
		s.datagram(tapICU, at+time.Duration(60+90*i)*time.Millisecond, c.host, way{desk3.ip, desk3.mac}, port, 50001, []byte(match))
	}
}

// metadata is a device's answer to Get (DPWS 1.1 section 5.1).
func (c *cared) metadata(maker, model, version, serial string) string {
	section := func(dialect, content string) string {
		return `<mex:MetadataSection Dialect="` + dpwsNS + "/" + dialect + `"><dpws:` + dialect + ">" + content + "</dpws:" + dialect + "></mex:MetadataSection>"
	}
	host := "<dpws:Host><wsa:EndpointReference><wsa:Address>urn:uuid:" + c.uuid + "</wsa:Address></wsa:EndpointReference><dpws:Types>dpws:Device mdpws:MedicalDevice</dpws:Types></dpws:Host>"
	hosted := "<dpws:Hosted><wsa:EndpointReference><wsa:Address>" + c.address() + "/Get</wsa:Address></wsa:EndpointReference><dpws:Types>sdc:GetService</dpws:Types><dpws:ServiceId>Get</dpws:ServiceId></dpws:Hosted>"
	return `<mex:Metadata xmlns:mex="` + mexNS + `" xmlns:sdc="` + sdcNS + `">` +
		section("ThisModel", "<dpws:Manufacturer>"+maker+"</dpws:Manufacturer><dpws:ModelName>"+model+"</dpws:ModelName>") +
		section("ThisDevice", "<dpws:FriendlyName>ICU bed 3</dpws:FriendlyName><dpws:FirmwareVersion>"+version+"</dpws:FirmwareVersion><dpws:SerialNumber>"+serial+"</dpws:SerialNumber>") +
		`<mex:MetadataSection Dialect="` + dpwsNS + `/Relationship"><dpws:Relationship Type="` + dpwsNS + `/host">` + host + hosted + "</dpws:Relationship></mex:MetadataSection></mex:Metadata>"
}

// versioned are the attributes that tell which state of the device is meant.
func versioned(version int) string {
	return fmt.Sprintf(`MdibVersion="%d" SequenceId="urn:uuid:26030306-0000-4000-8000-00005e00534f"`, version)
}

// metric describes a number that the monitor measures (11073-10207 NumericMetricDescriptor).
func metric(handle string, code, unit int) string {
	return fmt.Sprintf(`<dom:Metric xsi:type="dom:NumericMetricDescriptor" Handle="%s" MetricCategory="Msrmt" MetricAvailability="Cont" Resolution="1">`+
		`<dom:Type Code="%d"/><dom:Unit Code="%d"/></dom:Metric>`, handle, code, unit)
}

func metricState(handle, value string, version int) string {
	return fmt.Sprintf(`xsi:type="dom:NumericMetricState" DescriptorHandle="%s" StateVersion="%d"><dom:MetricValue Value="%s"><dom:MetricQuality Validity="Vld"/></dom:MetricValue>`, handle, version, value)
}

// mdib is the monitor's answer to GetMdib (11073-10207 section on the MDIB):
// one patient monitor with pulse rate and oxygen saturation, an alarm on the
// latter, the operations that set that alarm, and who lies there.
func mdib(p *person) string {
	return `<msg:GetMdibResponse ` + versioned(812) + `><msg:Mdib ` + versioned(812) + `><dom:MdDescription DescriptionVersion="3">` +
		fmt.Sprintf(`<dom:Mds Handle="mds0" SafetyClassification="MedB"><dom:Type Code="%d"/>`, monitor.code) +
		`<dom:AlertSystem Handle="as0"><dom:AlertCondition xsi:type="dom:LimitAlertConditionDescriptor" Handle="ac.spo2" Kind="Phy" Priority="Hi"><dom:Source>m.spo2</dom:Source><dom:MaxLimits Lower="0" Upper="100"/></dom:AlertCondition>` +
		`<dom:AlertSignal Handle="sig.spo2" ConditionSignaled="ac.spo2" Manifestation="Aud" Latching="true"/></dom:AlertSystem>` +
		`<dom:Sco Handle="sco0"><dom:Operation xsi:type="dom:SetAlertStateOperationDescriptor" Handle="op.sig.spo2" OperationTarget="sig.spo2"/>` +
		`<dom:Operation xsi:type="dom:SetAlertStateOperationDescriptor" Handle="op.ac.spo2" OperationTarget="ac.spo2"/>` +
		`<dom:Operation xsi:type="dom:SetContextStateOperationDescriptor" Handle="op.pat" OperationTarget="pc0"/></dom:Sco>` +
		`<dom:MetaData><dom:Manufacturer>Veltis</dom:Manufacturer><dom:ModelName>M9</dom:ModelName><dom:SerialNumber>VM9-004413</dom:SerialNumber></dom:MetaData>` +
		`<dom:SystemContext Handle="sc0"><dom:PatientContext Handle="pc0"/></dom:SystemContext>` +
		`<dom:Vmd Handle="vmd0"><dom:Channel Handle="ch0">` + metric("m.pr", 149546, 264864) + metric("m.spo2", 150456, 262688) + `</dom:Channel></dom:Vmd></dom:Mds></dom:MdDescription>` +
		`<dom:MdState StateVersion="9"><dom:State ` + metricState("m.pr", "92", 40) + `</dom:State><dom:State ` + metricState("m.spo2", "95", 40) + `</dom:State>` +
		`<dom:State xsi:type="dom:PatientContextState" DescriptorHandle="pc0" Handle="pc0.1" ContextAssociation="Assoc">` +
		`<dom:Identification Root="urn:oid:2.25.26030300" Extension="` + p.record + `"/>` +
		`<dom:CoreData><dom:Givenname>` + p.given + `</dom:Givenname><dom:Familyname>` + p.family + `</dom:Familyname><dom:Sex>` + p.sex + `</dom:Sex><dom:DateOfBirth>` + date(p.birth) + `</dom:DateOfBirth></dom:CoreData>` +
		`</dom:State></dom:MdState></msg:Mdib></msg:GetMdibResponse>`
}

// sdc is the central station with the monitor at bed 3, in clear.
func (s *span) sdc(e *envelopes) {
	s.discovery(e)
	to := monitor.address()
	path := "/" + mon3UUID
	var lines []line
	call := func(wait time.Duration, path, action, body, answer string) {
		question, id := e.envelope(to, action, "", body)
		reply, _ := e.envelope(addressNS+"/anonymous", action+"Response", id, answer)
		lines = append(lines, says(post(mon3, mon3Port, path, question)).after(wait), answers(ok(reply)).after(14*time.Millisecond))
	}
	call(time.Millisecond, path, transferNS+"/Get", "", monitor.metadata("Veltis", "M9", "5.0", "VM9-004413"))
	call(300*time.Millisecond, path+"/Get", sdcNS+"/GetService/GetMdib", "<msg:GetMdib/>", mdib(&dana))
	call(120*time.Millisecond, path+"/StateEvent", eventingNS+"/Subscribe",
		`<wse:Subscribe xmlns:wse="`+eventingNS+`"><wse:Delivery Mode="`+eventingNS+`/DeliveryModes/Push"><wse:NotifyTo><wsa:Address>`+
			fmt.Sprintf("http://%s:%d/reports", desk3.ip, deskPort)+`</wsa:Address></wse:NotifyTo></wse:Delivery><wse:Expires>PT1H</wse:Expires></wse:Subscribe>`,
		`<wse:SubscribeResponse xmlns:wse="`+eventingNS+`"><wse:SubscriptionManager><wsa:Address>`+to+`/subscriptions/1</wsa:Address></wse:SubscriptionManager><wse:Expires>PT1H</wse:Expires></wse:SubscribeResponse>`)
	// 07:02:41, a nurse acknowledges the alarm at the central station.
	call(130*time.Second, path+"/Set", sdcNS+"/SetService/SetAlertState",
		`<msg:SetAlertState><msg:OperationHandleRef>op.sig.spo2</msg:OperationHandleRef>`+
			`<msg:ProposedAlertState xsi:type="dom:AlertSignalState" DescriptorHandle="sig.spo2" ActivationState="On" Presence="Ack"/></msg:SetAlertState>`,
		`<msg:SetAlertStateResponse `+versioned(901)+`><msg:InvocationInfo><msg:TransactionId>1</msg:TransactionId><msg:InvocationState>Fin</msg:InvocationState></msg:InvocationInfo></msg:SetAlertStateResponse>`)
	s.tcp(talk{at: "07:00:30", client: desk3, server: mon3, port: mon3Port, end: left}, lines)

	// The monitor's reports, on a connection that it opens.
	var reports []line
	notify := func(wait time.Duration, service, name, body string) {
		xml, _ := e.envelope(fmt.Sprintf("http://%s:%d/reports", desk3.ip, deskPort), sdcNS+"/"+service+"/"+name, "", body)
		reports = append(reports, says(post(desk3, deskPort, "/reports", xml)).after(wait),
			answers([]byte("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")).after(3*time.Millisecond))
	}
	for i := range 60 {
		pulse, sat := 90+i*7%5, 96-i%3
		if i == 5 {
			sat = 87
			notify(11*time.Second, "StateEventService", "EpisodicAlertReport", `<msg:EpisodicAlertReport `+versioned(890)+`><msg:ReportPart>`+
				`<msg:AlertState xsi:type="dom:AlertConditionState" DescriptorHandle="ac.spo2" ActivationState="On" Presence="true"/>`+
				`<msg:AlertState xsi:type="dom:AlertSignalState" DescriptorHandle="sig.spo2" ActivationState="On" Presence="On"/></msg:ReportPart></msg:EpisodicAlertReport>`)
		}
		notify(18*time.Second, "StateEventService", "EpisodicMetricReport", `<msg:EpisodicMetricReport `+versioned(813+i)+`><msg:ReportPart>`+
			`<msg:MetricState `+metricState("m.pr", fmt.Sprint(pulse), 41+i)+`</msg:MetricState>`+
			`<msg:MetricState `+metricState("m.spo2", fmt.Sprint(sat), 41+i)+`</msg:MetricState></msg:ReportPart></msg:EpisodicMetricReport>`)
	}
	s.tcp(talk{at: "07:00:31", client: mon3, server: desk3, port: deskPort, end: left}, reports)
}

// ventilatorService answers as the ventilator does, inside TLS.
func ventilatorService(e *envelopes) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := ventilator.metadata("Aeris", "V2", "3.3", "AV2-000932")
		if strings.Contains(string(b), "GetMdib") {
			answer = `<msg:GetMdibResponse ` + versioned(77) + `><msg:Mdib ` + versioned(77) + `><dom:MdDescription><dom:Mds Handle="mds0"><dom:Type Code="70001"/></dom:Mds></dom:MdDescription></msg:Mdib></msg:GetMdibResponse>`
		}
		xml, _ := e.envelope(addressNS+"/anonymous", transferNS+"/GetResponse", "", answer)
		w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
		io.WriteString(w, xml)
	})
}
