// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt_test

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
)

func key(c cose.Curve, kid string) cose.Key {
	k, err := cose.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	k.ID = []byte(kid)
	return k
}

func signer(k cose.Key) cose.Signer {
	s, err := cose.NewSigner(k)
	if err != nil {
		panic(err)
	}
	return s
}

// A clinic enrols a patient's phone, and the pump takes a bolus from it.
func Example() {
	const now = 1_795_953_600
	clinicKey, phone := key(cose.P256, "clinic"), key(cose.P256, "phone")
	phone = phone.Public()

	clinic := &cwt.Authority{Name: "clinic.example", KID: clinicKey.ID, Signer: signer(clinicKey), Random: rand.Reader}
	if err := clinic.Enrol(cwt.Holder{Subject: "p-1", Role: device.Patient, Key: phone}); err != nil {
		fmt.Println(err)
	}
	most, _ := device.ParseQuantity("3 units")
	token, err := clinic.Issue("p-1", &cwt.Terms{
		Audience: "pump-7", IssuedAt: now, NotBefore: now, Expires: now + 8*3600,
		Verbs: []cwt.VerbGrant{{Verb: device.DeliverBolus, Limits: cwt.Limits{Highest: most}}},
	})
	if err != nil {
		fmt.Println(err)
	}

	// In the pump.
	door := &cwt.Door{
		Verifier: cwt.Verifier{
			Anchors:   []cwt.Anchor{{Name: "clinic.example", Key: clinicKey.Public(), Uses: cwt.Issues, Roles: []device.Role{device.Patient}}},
			Audiences: []string{"pump-7", "class:insulin-pump"},
		},
		Devices: []string{"pump-7"},
	}
	instant := cwt.Instant{Unix: now + 60, Boot: 1, Uptime: time.Hour}
	session, err := door.Admit(&cwt.Attempt{Token: token, Peer: &phone, Now: instant})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &device.Command{
		Therapy: device.InsulinInfusion, Verb: device.DeliverBolus, Role: session.Token.Grant.Role,
		Channel: device.Encrypted | device.Authenticated | device.Fresh,
	}
	for _, value := range []string{"2.5 units", "3.5 units"} {
		c.Value, _ = device.ParseQuantity(value)
		fmt.Println(c.Value, session.Permits(c, instant))
	}
	// Output:
	// 2.5 [iU] <nil>
	// 3.5 [iU] cwt: scope: beyond a limit that was granted
}

// An ambulance's token is approved by two people when it is issued; at the patient
// nobody has to be asked.
func ExampleDoor_Admit() {
	const now = 1_795_953_600
	clinicKey, ambulance := key(cose.P256, "clinic"), key(cose.P256, "ambulance-12")
	anna, bert := key(cose.CurveEd25519, "anna"), key(cose.CurveEd25519, "bert")
	ambulance = ambulance.Public()
	pump := cwt.Verifier{
		Anchors: []cwt.Anchor{
			{Name: "clinic.example", Key: clinicKey.Public(), Uses: cwt.Issues | cwt.Emergencies, Roles: []device.Role{device.Emergency}},
			{Name: "anna", Key: anna.Public(), Uses: cwt.Approves},
			{Name: "bert", Key: bert.Public(), Uses: cwt.Approves},
		},
		Audiences: []string{"pump-7", "class:insulin-pump"},
	}

	clinic := &cwt.Authority{Name: "clinic.example", KID: clinicKey.ID, Signer: signer(clinicKey), Random: rand.Reader}
	if err := clinic.Enrol(cwt.Holder{Subject: "a-12", Role: device.Emergency, Key: ambulance}); err != nil {
		fmt.Println(err)
	}
	request, err := clinic.Request("a-12", &cwt.Terms{
		Audience: "class:insulin-pump", IssuedAt: now, NotBefore: now, Expires: now + 12*3600,
		Verbs:     []cwt.VerbGrant{{Verb: device.ReadTelemetry}, {Verb: device.Suspend}, {Verb: device.Resume}},
		Emergency: &cwt.Emergency{Need: 2, Window: 1800},
	})
	if err != nil {
		fmt.Println(err)
	}
	byAnna, _ := cwt.Approve(request, signer(anna), anna.ID)
	byBert, _ := cwt.Approve(request, signer(bert), bert.ID)
	token, err := clinic.IssueEmergency(request, [][]byte{byAnna, byBert}, &pump)
	if err != nil {
		fmt.Println(err)
	}

	var flash [][]byte
	door := &cwt.Door{Verifier: pump, Devices: []string{"pump-7"}, Durable: func(record []byte) error {
		flash = append(flash, record)
		return nil
	}}
	at := cwt.Instant{Unix: now + 3600, Boot: 1, Uptime: time.Hour}
	session, err := door.Admit(&cwt.Attempt{Token: token, Peer: &ambulance, Now: at})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(session.Left(at))
	fmt.Println(session.Close(cwt.HandedOver, at))
	_, err = door.Admit(&cwt.Attempt{Token: token, Peer: &ambulance, Now: at})
	fmt.Println(err)
	for _, b := range flash {
		e, _ := cwt.ParseRecord(b)
		fmt.Println(e.Number, e.Kind, e.Why)
	}
	// Output:
	// 30m0s
	// <nil>
	// cwt: cti: used before: it opens one device for one window
	// 1 opened 2 approved
	// 2 closed handed over
	// 3 refused cwt: cti: used before: it opens one device for one window
}
