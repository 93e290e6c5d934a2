// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cwt"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// emergencies waits until so many windows are open.
func (w *world) emergencies(n int) []Emergency {
	w.t.Helper()
	var all []Emergency
	w.until(func() bool { all = w.front.Emergencies(); return len(all) == n }, func() string { return "the windows that are open are wrong" })
	return all
}

// TestBreakGlass: a token opens the device once, narrow and loud; its holder may come
// back, also after a restart; nobody else, and for no second window.
func TestBreakGlass(t *testing.T) {
	w := newWorld(t, classic)
	token := w.token("ambulance")
	rescuer, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	rescuer.post(token, protocol.Created)
	w.wants(event.EmergencyUsed, "opened: 2 approved")
	if e := w.emergencies(1)[0]; e.Device != "device-7" || !strings.HasPrefix(e.Actor, "key-") || time.Until(e.Until) > 30*time.Minute {
		t.Errorf("%+v", e)
	}
	rescuer.order(protocol.Changed, device.Suspend, "", "30 min")
	if !w.pump().Suspended {
		t.Error("not suspended")
	}
	rescuer.get("/therapy")
	rescuer.order(protocol.Forbidden, device.DeliverBolus, "1 [iU]", "") // narrow
	// Another key does not get in by it, and the same key does, again and again.
	thief, err := w.through(w.address, w.holders["second"])
	if err != nil {
		t.Fatal(err)
	}
	thief.post(token, protocol.Unauthorized)
	w.wants(event.EmergencyUsed, "refused")
	again, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	again.post(token, protocol.Created)
	w.wants(event.EmergencyUsed, "reconnected")
	w.stop()
	w.start()
	w.wants(event.EmergencyUsed, "still open after a restart")
	w.emergencies(1)
	again.get("/therapy") // the session and its token were kept
	// It is closed with a reason only, and then for good.
	if m := again.do(coap.Request(protocol.DELETE, "/authz-info", 0, nil)); m.Code != protocol.BadRequest {
		t.Errorf("closed without a reason: %v", m.Code)
	}
	if m := again.do(coap.Request(protocol.DELETE, "/authz-info", 60, cbor.AppendUint(nil, uint64(cwt.HandedOver)))); m.Code != protocol.Deleted {
		t.Errorf("%v", m.Code)
	}
	w.wants(event.EmergencyUsed, "closed: handed over")
	w.emergencies(0)
	again.order(protocol.Unauthorized, device.CancelBolus, "", "")
	again.post(token, protocol.Unauthorized)
	rescuer.order(protocol.Unauthorized, device.CancelBolus, "", "") // of the same window
}

// TestBreakGlassEnds: a window ends with its time, whether anybody says so or not.
func TestBreakGlassEnds(t *testing.T) {
	w := newWorld(t, classic)
	token := w.token("ambulance")
	rescuer, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	rescuer.post(token, protocol.Created)
	w.later(29 * time.Minute)
	rescuer.order(protocol.Changed, device.CancelBolus, "", "")
	w.later(time.Minute + time.Second)
	rescuer.order(protocol.Forbidden, device.CancelBolus, "", "")
	w.wants(event.EmergencyUsed, "closed: time is over")
	w.emergencies(0)
	rescuer.post(token, protocol.Unauthorized)
}

// TestBreakGlassWants: nothing opens that could not be written down.
func TestBreakGlassWants(t *testing.T) {
	w := newWorld(t, classic)
	rescuer, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	w.front.mu.Lock()
	w.front.journal.Break()
	w.front.mu.Unlock()
	rescuer.post(w.token("ambulance"), protocol.Unauthorized)
	w.emergencies(0)
	// A nurse who is there may rescue, and change nothing.
	nurse := w.connect("nurse")
	nurse.order(protocol.ServiceUnavailable, device.DeliverBolus, "1 [iU]", "")
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
}
