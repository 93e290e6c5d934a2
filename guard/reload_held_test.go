// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/testpeer"
)

const gatewayFront = `  - name: gw-icu
    kind: hl7
    device: pump-3
    protects: server
    listen: {address: "LISTEN", tls: {certificate: CERT, key: KEY, authorities: CA}}
    forward: "GATEWAY"
    bypass: program the pump at its own keypad
    limits: {drain: 500ms}
    answer-within: 200ms
    pumps: {pump-3: [ACDE48FFFE000303]}
    senders:
      ehr: {application: CastorEHR, certificates: [ehr.ada.example], role: clinician, messages: [RGV^O15]}
      pharmacy: {application: Pharma, certificates: [pharmacy.ada.example], role: clinician, messages: [RGV^O15]}
`

const steepOrder = "\x0bMSH|^~\\&|CastorEHR|StAda|FlowLink|StAda|20260303070914+0100||RGV^O15^RGV_O15|RGV-%d|P|2.6|||AL|NE|||||IHE_PCD_003^IHE PCD^1.3.6.1.4.1.19376.1.6.1.3.1^ISO\r" +
	"PID|||ADA-1^^^StAda^MR||Petrov^Dana^^^^^L\rORC|XO|RX-77120^CastorEHR\r" +
	"RXG|1|||3628^Noradrenaline^RXNORM|||||||||||0.7|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM|4|263890^MDC_DIM_MILLI_G^MDC^mg^mg^UCUM|||||50|263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM\r" +
	"RXR|^IV^HL70162||^SYR^HL70164\rOBX|1||69986^MDC_DEV_PUMP_INFUS_VMD^MDC||||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r" +
	"OBX|2|NM|68063^MDC_ATTR_PT_WEIGHT^MDC||70|263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM|||||F\r\x1c\r"

// TestReloadWhileHeld: an order that waits, and guard.yaml is changed meanwhile: what holds
// when a person confirms it decides, and what is refused reaches no pump.
func TestReloadWhileHeld(t *testing.T) {
	mh := gate.Person{ID: "mh", Role: envelope.Prescriber}
	for name, x := range map[string]struct {
		from, to string
		passes   bool
	}{
		"nothing that matters":    {from: "site: St. Ada", to: "site: Sankt Ada", passes: true},
		"another sender":          {from: "      pharmacy: {", to: "      druggist: {", passes: true},
		"its sender is gone":      {from: "      ehr: {application: CastorEHR, certificates: [ehr.ada.example]", to: "      lab: {application: Lab, certificates: [lab.ada.example]"},
		"its certificate":         {from: "[ehr.ada.example]", to: "[ehr-2.ada.example]"},
		"its type of message":     {from: "[ehr.ada.example], role: clinician, messages: [RGV^O15]", to: "[ehr.ada.example], messages: [ADT^A01]"},
		"its role":                {from: "[ehr.ada.example], role: clinician", to: "[ehr.ada.example], role: technician"},
		"another pump's name":     {from: "[ACDE48FFFE000303]", to: "[ACDE48FFFE000304]"},
		"the device behind it":    {from: "pumps: {pump-3: [ACDE48FFFE000303]}", to: "pumps: {pump-4: [ACDE48FFFE000303]}"},
		"who confirms is gone":    {from: "{id: mh, role: prescriber,", to: "{id: xy, role: prescriber,"},
		"who confirms has no say": {from: "{id: mh, role: prescriber,", to: "{id: mh, role: engineer,"},
		"the front is gone":       {from: "  - name: gw-icu", to: "  - name: gw-two"},
	} {
		t.Run(name, func(t *testing.T) {
			gateway, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer gateway.Close()
			var came atomic.Int32
			go func() {
				for {
					c, err := gateway.Accept()
					if err != nil {
						return
					}
					came.Add(1)
					c.Close()
				}
			}()
			file := guarded(t)
			edit(t, filepath.Join(filepath.Dir(file), "pump-3.yaml"), "drug: norepinephrine\n", "")
			edit(t, file, "envelope: pump-3.yaml}", "envelope: pump-3.yaml}\n  - {id: pump-4, therapy: drug infusion}")
			a := testpeer.NewAuthority(t)
			cert, key, ca := a.Files(t, "guard.ada.example")
			at := freeAddress(t)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, string(b)+strings.NewReplacer("LISTEN", at, "CERT", cert, "KEY", key, "CA}", ca+"}", "GATEWAY", gateway.Addr().String()).Replace(gatewayFront))
			r := run(t, file)
			proof := &tls.Config{RootCAs: a.Pool(), ServerName: "guard.ada.example", Certificates: []tls.Certificate{a.Issue(t, "ehr.ada.example")}}
			var c net.Conn
			until(t, "the front does not listen", func() bool {
				c, err = tls.Dial("tcp", at, proof)
				return err == nil
			})
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(c, steepOrder, 1)
			until(t, "nothing is held", func() bool { return len(r.g.gate.Held()) == 1 })
			if _, err := bufio.NewReader(c).ReadString('\x1c'); err != nil {
				t.Fatal(err)
			}
			edit(t, file, x.from, x.to)
			r.changed()
			if got := r.last(); strings.Contains(got, "refused, and the old one") {
				t.Fatal(got)
			}
			err = r.g.gate.Confirm(r.ctx, mh, r.g.gate.Held()[0].ID)
			if passes := err == nil; passes != x.passes || came.Load() > 0 && !x.passes {
				t.Fatalf("confirmed: %v; it came to the pumps' gateway %d times", err, came.Load())
			}
			if x.passes {
				until(t, "it did not come to the gateway", func() bool { return came.Load() == 1 })
				return
			}
			if strings.HasPrefix(name, "who") {
				if len(r.g.gate.Held()) != 1 {
					t.Error("it waits for nobody any more")
				}
				return
			}
			if got := r.told.reasons(event.VerdictGiven); !strings.Contains(got[len(got)-1], "refused when it was judged again") {
				t.Errorf("recorded: %q", got)
			}
			if said := r.g.gate.Recent()[0]; said.Verdict != device.Deny || time.Since(said.Time) > time.Minute {
				t.Errorf("the page says %v", said.Verdict)
			}
		})
	}
}
