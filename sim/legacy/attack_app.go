// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"net"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/proto/coap"
)

// falseGlucose is what a pump says that is none.
var falseGlucose = device.Quantity{Coefficient: 301, Unit: mgPerDL}

var mgPerDL, _ = device.UnitOfUCUM("mg/dL")

// spoofedPump is the rest of row A17: a pump that is none, which the app gives its key.
var spoofedPump = Attack{
	Row: "A17", Name: "spoof", Device: "dose-app", Realism: Wire, About: "a pump that is none gets the app's key, and the app shows its glucose",
	Run: at(func(t *terminal) (string, []byte, error) {
		s, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		var key []byte
		var wg sync.WaitGroup
		if err := s.SetDeadline(time.Now().Add(t.env.patience())); err != nil {
			return "", nil, err
		}
		wg.Go(func() { key = spoof(s) })
		err = t.all("heard "+s.LocalAddr().String(), "sync")
		s.Close()
		wg.Wait()
		return "the app's key, and a glucose of 301 mg/dL on its screen", key, err
	}),
	hurt: hurt(func(b, a DoseAppState, loot []byte) (bool, string) {
		return a.GaveKey > b.GaveKey && a.Shown == falseGlucose.String() && bytes.Equal(loot, AppKey(seedOfBen)), "the app gave its key to a pump that is none, and shows what that says"
	}),
}

// spoof answers as a pump until the socket is closed, and returns the key that it was given.
func spoof(s net.PacketConn) (key []byte) {
	b := make([]byte, MaxMessage)
	for {
		n, from, err := s.ReadFrom(b)
		if err != nil {
			return key
		}
		var m coap.Message
		if m.Parse(b[:n]) != nil {
			continue
		}
		a := link.Response(coap.Changed, 0, nil)
		switch link.Path(&m) {
		case "/pair":
			key = bytes.Clone(m.Payload)
		case "/telemetry":
			a = link.Response(coap.Content, formatCBOR, document(field{keyGlucose, falseGlucose}))
		}
		a.Type, a.ID, a.Token = coap.Acknowledgement, m.ID, m.Token
		if answer, err := a.Append(nil); err == nil {
			_, _ = s.WriteTo(answer, from)
		}
	}
}
