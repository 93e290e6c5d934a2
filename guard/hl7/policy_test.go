// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

const serverYAML = `front: 1
name: gw-icu
kind: hl7
device: gw-icu
protects: server
listen: {address: 10.20.3.2:24000, clear: a test}
forward: 10.20.3.10:24000
bypass: program the pump at its keypad
answer-within: 8s
message-bytes: 32768
order-rate: 5
order-burst: 10
pumps:
  pump-3: [ACDE48FFFE000303]
  pump-4: AC-DE-48-FF-FE-00-03-04
returns:
  ehr:
    listen: 10.20.3.2:2575
    forward: {address: 10.20.1.5:2575, clear: a test}
senders:
  ehr:
    application: CastorEHR
    facility: StAda
    certificates: [ehr.stada.example, cert-0123456789abcdef]
    role: clinician
    messages: [RGV^O15, ADT]
    returns: ehr
receivers:
  - {application: FlowLink, facility: StAda}
`

const clientYAML = `front: 1
name: lab-1
kind: hl7
device: lab-1
protects: client
listen: 10.20.5.2:2575
forward: {address: 10.20.1.5:2575, clear: a test}
bypass: print the results
answers: [RSP^K11]
`

func readYAML(src string) (*Policy, error) {
	r := strictyaml.New("guard.yaml", strictyaml.Format{Name: "front", Marker: "front: 1"})
	doc := r.Document([]byte(src))
	s := r.Section(doc, "the file", slices.Concat([]string{"front"}, front.Keys, Keys)...)
	var p *Policy
	if doc != nil {
		p = Read(r, s, "/")
	}
	return p, r.Err()
}

func TestPolicy(t *testing.T) {
	p, err := readYAML(serverYAML)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Senders[0]
	if p.AnswerWithin != 8*time.Second || p.MessageBytes != 32768 || p.OrderRate != 5 || p.OrderBurst != 10 ||
		len(p.Pumps) != 2 || s.Name != "ehr" || s.Role != device.Clinician || s.Returns != "ehr" || len(s.Certificates) != 2 ||
		p.Receivers[0] != (Party{"FlowLink", "StAda"}) || p.Returns["ehr"].From[0].String() != "10.20.3.10/32" || p.Returns["ehr"].Server ||
		p.Returns["ehr"].Forward.Address != "10.20.1.5:2575" || p.Returns["ehr"].Name != "gw-icu" {
		t.Errorf("%+v", p)
	}
	if p, err = readYAML(clientYAML); err != nil || p.Server || p.Answers[0] != "RSP^K11" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, test := range []struct{ src, old, new, want string }{
		{serverYAML, "answer-within: 8s", "answer-within: 8", "guard.yaml:9:16: answer-within has to be a time"},
		{serverYAML, "message-bytes: 32768", "message-bytes: 1048577", "guard.yaml:10:16: message-bytes has to be a whole number from 512"},
		{serverYAML, "order-rate: 5", "order-rate: 0", "guard.yaml:11:13: order-rate"},
		{serverYAML, "AC-DE-48-FF-FE-00-03-04", "acde48fffe000303", `guard.yaml:15:11: "acde48fffe000303" is the name of two pumps`},
		{serverYAML, "clear: a test}\nsenders", "}\nsenders", `guard.yaml:18:5: the way back "ehr" has no tls`},
		{serverYAML, "forward: 10.20.3.10:24000", "forward: gw-icu:24000", `guard.yaml:18:5: the way back "ehr" needs from`},
		{serverYAML, "    listen: 10.20.3.2:2575\n", "    listen: 10.20.3.2:2575\n    from: gw-icu\n", "guard.yaml:19:11: from has to have addresses or networks"},
		{serverYAML, "role: clinician", "role: doctor", "guard.yaml:25:11: role is on whose behalf"},
		{serverYAML, "    role: clinician\n", "", `guard.yaml:22:5: "ehr" may send orders and has no role`},
		{serverYAML, "RGV^O15", "RGV-O15", "guard.yaml:26:16: messages has to have types"},
		{serverYAML, "returns: ehr", "returns: his", `guard.yaml:27:14: there is no way back "his"`},
		{serverYAML, "    messages: [RGV^O15, ADT]\n", "", "guard.yaml:22:5: a sender lacks the key messages"},
		{serverYAML, "receivers:", "  two:\n    {application: CastorEHR, facility: StAda, certificates: [x], messages: [ADT]}\nreceivers:", `guard.yaml:29:5: "two" and "ehr" are the same application`},
		{serverYAML, "receivers:\n", "answers: [ACK]\nreceivers:\n", "guard.yaml:28:10: answers is of a front that protects a client"},
		{serverYAML, "  - {application: FlowLink", "  - {aplication: FlowLink", `guard.yaml:29:6: a receiver has no key "aplication"`},
		{clientYAML, "RSP^K11", "RGV^O15", "guard.yaml:9:11: an order is no answer"},
		{clientYAML, "answers:", "from: [10.20.3.31, 10.20.3.32/24]\nanswers:", "guard.yaml:9:20: from has to have addresses or networks"},
		{serverYAML, "answer-within: 8s", "from: 10.20.3.10", "guard.yaml:9:7: from has the addresses of a device that calls"},
		{clientYAML, "answers:", "senders: {}\nanswers:", "guard.yaml:9:10: senders is of a front that protects a server"},
	} {
		if !strings.Contains(test.src, test.old) {
			t.Errorf("%q changes nothing", test.old)
		}
		_, err := readYAML(strings.Replace(test.src, test.old, test.new, 1))
		if got := fmt.Sprint(err); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q: %s\nwant %s", test.new, got, test.want)
		}
	}
}
