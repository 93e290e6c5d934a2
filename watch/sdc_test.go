// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/sdc"
)

func soap(id, body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://www.w3.org/2005/08/addressing" ` +
		`xmlns:msg="http://standards.ieee.org/downloads/11073/11073-10207-2017/message" xmlns:pm="http://standards.ieee.org/downloads/11073/11073-10207-2017/participant" ` +
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s:Header><wsa:Action>x</wsa:Action><wsa:MessageID>urn:uuid:` + id + `</wsa:MessageID></s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

const soapType = "\r\nContent-Type: application/soap+xml; charset=utf-8"

// mon-3, with a pump at its side so that there is a rate to set.
const bedside = `<msg:GetMdibResponse><msg:Mdib><pm:MdDescription><pm:Mds Handle="mds"><pm:Type Code="69965"/>` +
	`<pm:MetaData><pm:Manufacturer>Veltis</pm:Manufacturer><pm:ModelName>M9</pm:ModelName><pm:SerialNumber>V-9</pm:SerialNumber></pm:MetaData>` +
	`<pm:AlertSystem Handle="alerts"><pm:AlertSignal Handle="horn"/></pm:AlertSystem>` +
	`<pm:Sco Handle="sco"><pm:Operation Handle="op.flow" OperationTarget="flow"/><pm:Operation Handle="op.horn" OperationTarget="horn"/></pm:Sco>` +
	`<pm:Vmd Handle="pump"><pm:Type Code="69986"/><pm:Channel Handle="line"><pm:Metric Handle="flow"><pm:Type Code="157784"/><pm:Unit Code="265266"/></pm:Metric></pm:Channel></pm:Vmd>` +
	`</pm:Mds></pm:MdDescription><pm:MdState><pm:State DescriptorHandle="flow"><pm:MetricValue Value="5"/></pm:State></pm:MdState></msg:Mdib></msg:GetMdibResponse>`

func setFlow(v string) string {
	return `<msg:SetValue><msg:OperationHandleRef>op.flow</msg:OperationHandleRef><msg:RequestedNumericValue>` + v + `</msg:RequestedNumericValue></msg:SetValue>`
}

func invoked(operation, state string) string {
	return `<msg:` + operation + `Response><msg:InvocationInfo><msg:InvocationState>` + state + `</msg:InvocationState></msg:InvocationInfo></msg:` + operation + `Response>`
}

func post(body string) piece { return ask("POST /x HTTP/1.1"+soapType, soap("1", body)) }

func TestSDCObserver(t *testing.T) {
	description := []piece{post("<msg:GetMdib/>"), reply("200 OK"+soapType+"\r\nContent-Encoding: gzip", gzipped([]byte(soap("2", bedside))))}
	known := []string{`protocol-seen 10.20.1.5 "sdc"`, `identity-seen 10.20.3.10 "Veltis" "M9" "V-9" "patient monitor"`}
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{
			"described, and then set", append(description[:2:2], post(setFlow("100")), reply("200 OK"+soapType, soap("3", invoked("SetValue", "Wait"))),
				post(setFlow("0")), reply("200 OK"+soapType, soap("4", invoked("SetValue", "Fail")))),
			append(known[:2:2], `order-seen 10.20.3.10 "sdc" "5 mL/h"`, `command-seen 10.20.3.10 "100 mL/h" "flow"`, `command-answered 10.20.3.10 unknown "flow"`,
				`order-seen 10.20.3.10 "sdc" "5 mL/h"`, `command-seen 10.20.3.10 "0 mL/h" "flow"`, `command-answered 10.20.3.10 failed "flow"`),
		},
		{
			"set without description",
			[]piece{post(setFlow("100")), reply("200 OK"+soapType, soap("3", invoked("SetValue", "Fin")))},
			[]string{`protocol-seen 10.20.1.5 "sdc"`, `order-seen 10.20.3.10 "sdc"`, `command-seen 10.20.3.10`, `command-answered 10.20.3.10 succeeded`},
		},
		{
			"a patient",
			[]piece{
				post(`<msg:SetContextState><msg:OperationHandleRef>op.p</msg:OperationHandleRef><msg:ProposedContextState xsi:type="pm:PatientContextState" ContextAssociation="Assoc">` +
					`<pm:Identification Root="urn:ward" Extension="ADA-000117"/><pm:CoreData><pm:Familyname>Lindqvist</pm:Familyname></pm:CoreData></msg:ProposedContextState></msg:SetContextState>`),
				reply("500 No"+soapType, soap("3", "<s:Fault/>")),
			},
			[]string{`protocol-seen 10.20.1.5 "sdc"`, `patient-data-seen 10.20.1.5 "sdc" "SetContextState"`, `order-seen 10.20.3.10 "sdc"`, `command-seen 10.20.3.10`, `command-answered 10.20.3.10 failed`},
		},
		{"reports, of a device that opened the conversation", []piece{
			post(`<msg:EpisodicMetricReport><msg:ReportPart><msg:MetricState DescriptorHandle="flow"/></msg:ReportPart></msg:EpisodicMetricReport>`), reply("202 Accepted", ""),
			post(`<msg:EpisodicMetricReport/>`), reply("202 Accepted", ""),
			post(`<msg:OperationInvokedReport><msg:ReportPart OperationHandleRef="op.flow" OperationTarget="flow"><msg:InvocationInfo><msg:InvocationState>Start</msg:InvocationState></msg:InvocationInfo></msg:ReportPart></msg:OperationInvokedReport>`), reply("202 Accepted", ""),
			post(`<msg:OperationInvokedReport><msg:ReportPart OperationHandleRef="op.flow" OperationTarget="flow"><msg:InvocationInfo><msg:InvocationState>Fin</msg:InvocationState></msg:InvocationInfo></msg:ReportPart></msg:OperationInvokedReport>`), reply("202 Accepted", ""),
		}, []string{`protocol-seen 10.20.1.5 "sdc"`, `report-seen 10.20.1.5 "sdc" "EpisodicMetricReport"`, `command-answered 10.20.1.5 succeeded "flow"`}},
		{"other soap", []piece{ask("POST /x HTTP/1.1"+soapType, soap("1", `<a xmlns="urn:x">1</a>`)), reply("200 OK"+soapType, soap("2", `<b xmlns="urn:x"/>`))}, nil},
		{"soap 1.1", []piece{ask("POST /x HTTP/1.1\r\nContent-Type: text/xml", `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"/>`), reply("200 OK", "")}, nil},
		{
			"cut off by its own end",
			[]piece{ask("POST /x HTTP/1.1"+soapType, soap("1", setFlow("1"))[:600]), reply("200 OK", "")},
			[]string{`protocol-seen 10.20.1.5 "sdc"`, `malformed-seen 10.20.1.5 "sdc" "end tag" "truncated"`, `order-seen 10.20.3.10 "sdc"`, `command-seen 10.20.3.10`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := however(t, newHTTPObserver, tt.pieces...); !slices.Equal(got, tt.want) {
				t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// What a command means follows from the description.
func TestSDCCommand(t *testing.T) {
	described := []piece{post("<msg:GetMdib/>"), reply("200 OK"+soapType, soap("2", bedside))}
	for _, tt := range []struct {
		pieces  []piece
		body    string
		verb    device.Verb
		therapy device.Therapy
		effect  device.Effect
	}{
		{described, setFlow("100"), device.SetInfusionRate, device.DrugInfusion, device.Increases},
		{described, setFlow("2"), device.SetInfusionRate, device.DrugInfusion, device.Decreases},
		{described, setFlow("0"), device.SetInfusionRate, device.DrugInfusion, device.Interrupts},
		{nil, setFlow("100"), device.NoVerb, device.NoTherapy, device.NoEffect},
		{described, `<msg:SetAlertState><msg:OperationHandleRef>op.horn</msg:OperationHandleRef><msg:ProposedAlertState ActivationState="Off"/></msg:SetAlertState>`, device.SetAlarm, device.Monitoring, device.Masks},
	} {
		seen := false
		for _, e := range observe(t, newHTTPObserver(), append(tt.pieces[:len(tt.pieces):len(tt.pieces)], post(tt.body))...) {
			if e.Kind != event.CommandSeen {
				continue
			}
			seen = true
			if device.Verb(e.Int(event.Verb)) != tt.verb || device.Therapy(e.Int(event.Therapy)) != tt.therapy || device.Effect(e.Int(event.Effect)) != tt.effect || e.Int(event.Fresh) == 0 || e.Int(event.Protection) != 0 {
				t.Errorf("%s: %s", tt.body, fmt.Sprint(e.Attrs()))
			}
		}
		if !seen {
			t.Errorf("%s: no command", tt.body)
		}
	}
}

// A description beyond its bound is forgotten; what is kept is counted.
func TestSDCDescription(t *testing.T) {
	for _, tt := range []struct {
		handles int
		kept    bool
	}{{1000, true}, {sdc.MaxHandles, false}} {
		var described strings.Builder
		for i := range tt.handles {
			fmt.Fprintf(&described, `<pm:Metric Handle="%d"/>`, i)
		}
		x := &exchange{sh: newShard([]byte("k")), conv: new(flow.Conversation), closing: true}
		x.sh.out = new([]stamped)
		o := new(sdcObserver)
		o.body(x, 0, []byte(soap("1", `<msg:GetMdibResponse>`+described.String()+`</msg:GetMdibResponse>`)), &httpSide{}, nil)
		if n := o.mdib.Len(); (n == tt.handles) != tt.kept || o.held() > maxMdib || o.held() < n*100 {
			t.Errorf("%d handles of %d, %d bytes", n, tt.handles, o.held())
		}
	}
}

func TestSDCDiscovery(t *testing.T) {
	hello := func(operation, scopes string) piece {
		return client([]byte(strings.Replace(soap("1", `<d:`+operation+`><d:Types xmlns:m="http://standards.ieee.org/downloads/11073/11073-20702-2016">m:MedicalDevice</d:Types><d:Scopes>`+scopes+`</d:Scopes></d:`+operation+`>`),
			"<s:Envelope ", `<s:Envelope xmlns:d="http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01" `, 1)))
	}
	const ventilator = "sdc.cdc.type:/urn%3Aoid%3A1.2.840.10004.1.1.1.0.0.1//70001"
	for _, tt := range []struct {
		pieces []piece
		want   []string
	}{
		{[]piece{hello("Hello", ventilator), hello("Hello", ventilator)}, []string{`identity-seen 10.20.1.5 "ventilator"`}},
		{[]piece{hello("Hello", "sdc.cdc.type:///1")}, nil},
		{[]piece{hello("Probe", ventilator)}, nil},
		{[]piece{hello("Bye", ventilator)}, nil},
		{[]piece{client([]byte("<Envelope"))}, []string{`malformed-seen 10.20.1.5 "sdc" "element name" "truncated"`}},
	} {
		var got []string
		for _, e := range observeDatagrams(t, newSDCDiscoveryObserver(), tt.pieces...) {
			got = append(got, says(&e))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}
