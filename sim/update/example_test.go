// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/update"
)

// A pump that infuses is offered release 2.2.0: it stages it at once, and waits with
// the switch until its infusion has ended.
func Example() {
	party := func() (cose.Signer, cose.Key) {
		k, err := cose.GenerateKey(cose.P256, rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		s, err := cose.NewSigner(k)
		if err != nil {
			log.Fatal(err)
		}
		return s, k.Public()
	}
	norra, norraKey := party()
	hospital, hospitalKey := party()
	own, ownKey := party()
	now := 6 * time.Hour
	clock := func() time.Duration { return now }

	maker := update.Maker{Signer: norra, KeyID: patch.KeyID(&norraKey), Vendor: suit.VendorUUID("norra.example"), Component: suit.NewComponentID("firmware")}
	maker.Class = suit.ClassUUID(maker.Vendor, "Flow 500")
	release := patch.Release{Version: "2.2.0", Sequence: 8, Demands: patch.Demands{
		Hardware: []string{"C"}, From: []string{"2.1.4"}, Backup: time.Minute, Longest: 5 * time.Minute, Resume: time.Minute, Battery: 40,
	}}
	image := update.Image("2.2.0", update.NoFault, 4096)
	envelope, err := maker.Release(&release, image, "flow500.bin")
	if err != nil {
		log.Fatal(err)
	}
	depot := update.NewDepot(hospital, patch.KeyID(&hospitalKey), func() time.Time { return time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC).Add(now) })
	depot.Devices["pump-3"] = ownKey
	depot.Put(release, "norra/flow-500/2.2.0", envelope, map[string][]byte{"flow500.bin": image})

	body := update.NewInfusion(clock)
	pump, err := update.New(update.Config{
		Agent: agent.Config{
			ID: "pump-3", Hardware: "C", Vendor: maker.Vendor, Class: maker.Class, Component: maker.Component, Server: depot,
			Signer: own, KeyID: patch.KeyID(&ownKey), Makers: []cose.Key{norraKey}, Offers: []cose.Key{hospitalKey}, Answers: []cose.Key{hospitalKey}, Clock: clock,
		},
		Body: body, Version: "2.1.4", Sequence: 7,
	})
	if err != nil {
		log.Fatal(err)
	}
	body.Infuse(20_00, time.Hour) // 20 mL/h
	for said := ""; len(depot.Results) == 0; {
		wait, err := pump.Step(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		line := fmt.Sprintf("infuses: %v, runs %s", body.Infusing(), pump.Version())
		if w := pump.Waits(); len(w) > 0 {
			line += ", waits: " + w[0].Why
		}
		if line != said {
			fmt.Println(line)
			said = line
		}
		now += wait
	}
	fmt.Println(depot.Results[0].Outcome)
	// Output:
	// infuses: true, runs 2.1.4
	// infuses: true, runs 2.1.4, waits: therapy is being given
	// infuses: false, runs 2.1.4
	// infuses: false, runs 2.2.0
	// installed
}
