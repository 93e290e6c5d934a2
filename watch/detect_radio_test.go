// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// Ben's insulin pump, his phone, and somebody else's.
const (
	ipump = "ble-1"
	phone = "ble-2"
	thief = "ble-3"
)

// worn says that the pump is one.
func (s *scene) worn() { s.is(ipump, "Dose One", device.InsulinInfusion) }

func (s *scene) used(service, operation string, level, wanted int) {
	s.said(event.AttributeUsed, ipump, phone, event.Text(event.Service, service), event.Text(event.Characteristic, "x"),
		event.Text(event.Operation, operation), event.Int(event.Level, level), event.Int(event.Wanted, wanted))
}

func (s *scene) paired(method string, legacy bool, size int, outcome event.Result) {
	s.said(event.PairingSeen, ipump, phone, event.Text(event.PairingMethod, method), event.Bool(event.LegacyPairing, legacy),
		event.Int(event.KeySize, size), event.Int(event.Level, 2), event.Int(event.Outcome, outcome))
}

// set tells of a command to the pump; now is "" when nobody knows it.
func (s *scene) set(from string, guard device.Protection, verb device.Verb, effect device.Effect, now string, fresh, repeat int64) {
	s.said(event.CommandSeen, ipump, from, event.Int(event.Verb, verb), event.Int(event.Therapy, device.InsulinInfusion), event.Int(event.Effect, effect),
		event.Text(event.Value, "4 [iU]"), event.Text(event.Target, "Insulin Delivery"), event.Int(event.Protection, guard),
		event.Int(event.Fresh, fresh), event.Int(event.Repeat, repeat))
	last := len(s.events) - 1
	order := s.events[last]
	order = event.Event{Kind: event.OrderSeen, Time: order.Time, Device: order.Device, Peer: order.Peer, Sighting: order.Sighting}
	order.Add(event.Text(event.Protocol, "gatt"), event.Text(event.Now, now), event.Int(event.Trackable, 1))
	s.events = append(s.events[:last], order, s.events[last])
}

func (s *scene) later(seconds int64) { s.now += seconds * second }

const (
	proven = device.Encrypted | device.Authenticated
	bonded = device.Encrypted | device.Unseen
)

var radioDetections = []detection{
	{name: "on the radio", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.worn()
		s.set(phone, 0, device.DeliverBolus, device.Increases, "", 0, 1)
	}, confidence: device.High, harm: device.Critical, title: "within radio range"},
	{name: "over a link that nobody proved himself on", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.set(phone, device.Encrypted, device.DeliverBolus, device.Increases, "", 0, 1)
	}, confidence: device.High},
	{name: "under a bond from before", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.set(phone, bonded, device.DeliverBolus, device.Increases, "", 0, 1)
	}},
	{name: "another phone", kind: finding.TherapyCommandUnexpectedSender, scene: func(s *scene) {
		s.set(phone, proven, device.DeliverBolus, device.Increases, "", 0, 1)
		s.set(thief, proven, device.DeliverBolus, device.Increases, "", 0, 2)
	}, confidence: device.Low},
	{name: "the same bytes, later", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.worn()
		s.set(phone, proven, device.Suspend, device.Interrupts, "", 7, 1)
		s.later(60)
		s.set(thief, proven, device.Suspend, device.Interrupts, "", 7, 1)
	}, confidence: device.High, count: 1, harm: device.Critical, title: "sent again"},
	{name: "the same bytes, later, by a clock that was set back", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.set(phone, proven, device.Suspend, device.Interrupts, "", 7, 1)
		s.later(-86400)
		s.set(thief, proven, device.Suspend, device.Interrupts, "", 7, 1)
	}, confidence: device.High, count: 1},
	{name: "a resend", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.set(phone, proven, device.Suspend, device.Interrupts, "", 7, 1)
		s.later(1)
		s.set(phone, proven, device.Suspend, device.Interrupts, "", 7, 1)
	}},
	{name: "the breakfast bolus of every day", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.set(phone, proven, device.DeliverBolus, device.Increases, "", 0, 1)
		s.later(86400)
		s.set(phone, proven, device.DeliverBolus, device.Increases, "", 0, 1)
	}},

	{name: "by anybody", kind: finding.TherapyLimitLoosened, scene: func(s *scene) {
		s.worn()
		s.set(phone, 0, device.SetLimit, device.Loosens, "", 0, 1)
	}, confidence: device.High, harm: device.Critical},
	{name: "by the owner, to more than it was", kind: finding.TherapyLimitLoosened, scene: func(s *scene) { s.set(phone, proven, device.SetLimit, device.Loosens, "2 [iU]", 0, 1) }, confidence: device.Low},
	{name: "by the owner", kind: finding.TherapyLimitLoosened, scene: func(s *scene) { s.set(phone, proven, device.SetLimit, device.Loosens, "", 0, 1) }},
	{name: "to less", kind: finding.TherapyLimitLoosened, scene: func(s *scene) { s.set(phone, 0, device.SetLimit, device.Decreases, "", 0, 1) }},

	{name: "by anybody", kind: finding.AlarmMasked, scene: func(s *scene) {
		s.worn()
		s.set(phone, device.Encrypted, device.SetAlarm, device.Masks, "", 0, 1)
	}, confidence: device.High, harm: device.Critical},
	{name: "to nothing", kind: finding.AlarmMasked, scene: func(s *scene) {
		s.set(phone, 0, device.SetAlarm, device.Masks, "330 mg/dL", 0, 1)
		s.events[len(s.events)-1].Set(event.Text(event.Value, "0 mg/dL"))
	}, confidence: device.High, title: "(set alarm off)"},
	{name: "a snooze", kind: finding.AlarmMasked, scene: func(s *scene) { s.set(phone, 0, device.AcknowledgeAlarm, device.Masks, "", 0, 1) }},
	{name: "a confirmation by another phone", kind: finding.AlarmMasked, scene: func(s *scene) {
		s.set(phone, proven, device.DeliverBolus, device.Increases, "", 0, 1)
		s.set(phone, proven, device.AcknowledgeAlarm, device.Masks, "", 0, 2)
		s.set(thief, proven, device.AcknowledgeAlarm, device.Masks, "", 0, 3)
	}, confidence: device.Low, count: 1},
	{name: "narrower", kind: finding.AlarmMasked, scene: func(s *scene) { s.set(phone, 0, device.SetAlarm, device.NoEffect, "", 0, 1) }},

	{name: "in clear", kind: finding.ClosedLoopInputUnprotected, scene: func(s *scene) { s.worn(); s.used("CGM", glucoseSent, 1, 3) }, confidence: device.Medium, harm: device.Critical},
	{name: "by a bond from before", kind: finding.ClosedLoopInputUnprotected, scene: func(s *scene) { s.worn(); s.used("CGM", glucoseSent, 0, 3) }},
	{name: "authenticated", kind: finding.ClosedLoopInputUnprotected, scene: func(s *scene) { s.worn(); s.used("CGM", glucoseSent, 3, 3) }},

	{name: "31 in a minute", kind: finding.RadioWakeFlood, scene: func(s *scene) {
		s.worn()
		for range wakeFlood + 1 {
			s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
			s.later(1)
		}
	}, confidence: device.High, count: 1},
	{name: "30 in a minute", kind: finding.RadioWakeFlood, scene: func(s *scene) {
		s.worn()
		for range wakeFlood {
			s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
			s.later(1)
		}
	}},
	{name: "31 in an hour", kind: finding.RadioWakeFlood, scene: func(s *scene) {
		for range wakeFlood + 1 {
			s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
			s.later(100)
		}
	}},

	{name: "31 in an hour, and the receiver's clock is set back by two", kind: finding.RadioWakeFlood, scene: func(s *scene) {
		s.worn()
		for range wakeFlood + 1 {
			s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
			s.later(100)
		}
		s.later(-7200)
		s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
	}},
	{name: "31 in a minute, as a clock tells that runs backwards now and then", kind: finding.RadioWakeFlood, scene: func(s *scene) {
		s.worn()
		for i := range wakeFlood + 1 {
			s.set(thief, 0, device.Wake, device.Drains, "", 0, 0)
			s.later(int64(2 - i%3*2))
		}
	}, confidence: device.High, count: 1},

	{name: "a serial number", kind: finding.BLEIdentityInAdvertising, scene: func(s *scene) {
		s.worn()
		s.said(event.AdvertisingSeen, ipump, "", event.Int(event.Fields, event.FieldSerial))
	}, confidence: device.Medium, title: "serial number"},
	{name: "of what is not medical", kind: finding.BLEIdentityInAdvertising, scene: func(s *scene) { s.said(event.AdvertisingSeen, ipump, "", event.Int(event.Fields, event.FieldSerial)) }},
	{name: "a public address", kind: finding.BLETrackableAddress, scene: func(s *scene) { s.worn(); s.said(event.AdvertisingSeen, ipump, "", event.Int(event.Trackable, 1)) }, confidence: device.High},
	{name: "a resolvable address", kind: finding.BLETrackableAddress, scene: func(s *scene) { s.worn(); s.said(event.AdvertisingSeen, ipump, "", event.Int(event.Trackable, 0)) }},

	{name: "a zero key", kind: finding.BLEEncryptionSkipped, scene: func(s *scene) {
		s.worn()
		s.said(event.ExploitSeen, thief, ipump, event.Text(event.Protocol, "ble"), event.Text(event.Shape, "all-zero long-term key"), event.Text(event.CVE, "CVE-2019-19194"))
	}, confidence: device.High, harm: device.Critical, title: "all-zero"},
	{name: "encryption without a key, by its shape", kind: finding.BLEEncryptionSkipped, scene: func(s *scene) {
		s.said(event.ExploitSeen, thief, ipump, event.Text(event.Protocol, "ble"), event.Text(event.Shape, ble.EncryptionWithoutKey.String()))
	}, confidence: device.Medium},
	{name: "on a network", kind: finding.BLEEncryptionSkipped, scene: func(s *scene) {
		s.said(event.ExploitSeen, laptop, ct1, event.Text(event.Protocol, "smb"), event.Text(event.Shape, "x"))
	}},

	{name: "level 1", kind: finding.BLEMedicalServiceUnencrypted, scene: func(s *scene) { s.worn(); s.used("Insulin Delivery", "notify", 1, 3) }, confidence: device.High, harm: device.Negligible, title: "Insulin Delivery"},
	{name: "opaque bytes at level 1", kind: finding.BLEMedicalServiceUnencrypted, scene: func(s *scene) { s.worn(); s.used("Tandem pump", opaqueWrite, 1, 0) }, confidence: device.Low},
	{name: "level 2", kind: finding.BLEMedicalServiceUnencrypted, scene: func(s *scene) { s.worn(); s.used("Insulin Delivery", "notify", 2, 3) }},
	{name: "a mouse", kind: finding.BLEMedicalServiceUnencrypted, scene: func(s *scene) { s.used("Human Interface Device", "notify", 1, 0) }},
	{name: "2 of 3", kind: finding.BLEBelowProfileLevel, scene: func(s *scene) { s.worn(); s.used("Insulin Delivery", "write", 2, 3) }, confidence: device.High, harm: device.Serious},
	{name: "3 of 3", kind: finding.BLEBelowProfileLevel, scene: func(s *scene) { s.worn(); s.used("Insulin Delivery", "write", 3, 3) }},
	{name: "not known how well", kind: finding.BLEBelowProfileLevel, scene: func(s *scene) { s.worn(); s.used("Insulin Delivery", "write", 0, 3) }},

	{name: "done", kind: finding.BLEPairingJustWorks, scene: func(s *scene) { s.worn(); s.paired(justWorks, false, 16, event.Succeeded) }, confidence: device.High, harm: device.Serious},
	{name: "failed", kind: finding.BLEPairingJustWorks, scene: func(s *scene) { s.worn(); s.paired(justWorks, false, 16, event.Failed) }},
	{name: "of a mouse", kind: finding.BLEPairingJustWorks, scene: func(s *scene) { s.paired(justWorks, false, 16, event.Succeeded) }},
	{name: "with a passkey", kind: finding.BLEPairingJustWorks, scene: func(s *scene) { s.worn(); s.paired("Passkey Entry", false, 16, event.Succeeded) }},
	{name: "done", kind: finding.BLEPairingLegacy, scene: func(s *scene) { s.worn(); s.paired("Passkey Entry", true, 16, event.Succeeded) }, confidence: device.High},
	{name: "by a method that was not heard", kind: finding.BLEPairingLegacy, scene: func(s *scene) { s.worn(); s.paired("", true, 16, event.Succeeded) }, confidence: device.Low},
	{name: "Secure Connections", kind: finding.BLEPairingLegacy, scene: func(s *scene) { s.worn(); s.paired("Passkey Entry", false, 16, event.Succeeded) }},
	{name: "of 7 octets", kind: finding.BLEKeySizeWeak, scene: func(s *scene) { s.worn(); s.paired("Passkey Entry", false, 7, event.Succeeded) }, confidence: device.High},
	{name: "of 253 octets", kind: finding.BLEKeySizeWeak, scene: func(s *scene) { s.worn(); s.paired("", false, 253, event.Unknown) }, confidence: device.High},
	{name: "of 16 octets", kind: finding.BLEKeySizeWeak, scene: func(s *scene) { s.worn(); s.paired("Passkey Entry", false, 16, event.Succeeded) }},
	{name: "used twice", kind: finding.BLEKeyStaticOrZero, scene: func(s *scene) {
		s.worn()
		s.said(event.WeakKeySeen, ipump, phone, event.Text(event.Protocol, "ble"), event.Text(event.Reason, "used twice"))
	}, confidence: device.High, harm: device.Critical},
	{name: "of a mouse", kind: finding.BLEKeyStaticOrZero, scene: func(s *scene) {
		s.said(event.WeakKeySeen, ipump, phone, event.Text(event.Protocol, "ble"), event.Text(event.Reason, "used twice"))
	}},
	{name: "level 1", kind: finding.BLEFirmwareUpdateUnprotected, scene: func(s *scene) { s.worn(); s.used("Nordic Secure DFU", updateWrite, 1, 0) }, confidence: device.Medium, harm: device.Critical},
	{name: "level 3", kind: finding.BLEFirmwareUpdateUnprotected, scene: func(s *scene) { s.worn(); s.used("Nordic Secure DFU", updateWrite, 3, 0) }},

	{name: "wants encryption", kind: finding.DeviceDefendsItself, scene: func(s *scene) {
		s.worn()
		s.said(event.AttributeRefused, ipump, thief, event.Text(event.Service, "Insulin Delivery"), event.Text(event.Reason, "insufficient encryption"), event.Int(event.Level, 1))
	}, confidence: device.High, harm: device.Negligible},
	{name: "a lamp", kind: finding.DeviceDefendsItself, scene: func(s *scene) {
		s.said(event.AttributeRefused, ipump, thief, event.Text(event.Reason, "insufficient encryption"), event.Int(event.Level, 1))
	}},
}

// TestAlertLevels: what a clinician expects to read of an alert is its level.
func TestAlertLevels(t *testing.T) {
	for _, tt := range []struct{ target, now, value, want string }{
		{"CGM: Set Patient High Alert Level", "180 mg/dL", "300 mg/dL", "high alert moved from 180 to 300 mg/dL"},
		{"CGM: Set Hypo Alert Level", "70 mg/dL", "40 mg/dL", "hypo alert moved from 70 to 40 mg/dL"},
		{"CGM: Set Hypo Alert Level", "", "40 mg/dL", "hypo alert set to 40 mg/dL"},
		{"CGM: Set Hypo Alert Level", "40 mg/dL", "40 mg/dL", "hypo alert set to 40 mg/dL, as now"},
		{"CGM: Set Hypo Alert Level", "70 mg/dL", "0 1", "hypo alert switched off, was 70 mg/dL"},
		{"CGM: Set Hypo Alert Level", "", "0 1", "hypo alert switched off"},
		{"CGM: Set Hypo Alert Level", "0 1", "70 mg/dL", "hypo alert set to 70 mg/dL, was off"},
		{"CGM: Set Rate of Decrease Alert Level", "2 mg/dL", "3 mg/dL", "decrease per minute alert moved from 2 to 3 mg/dL"},
		{"CGM: Stop the Session", "", "0 1", "set alarm off"},
		{"ward: low-alarm", "", "40 mg/dL", "set alarm, without a sound may pass 40 mg/dL"},
	} {
		s := newScene()
		s.worn()
		s.said(event.OrderSeen, ipump, phone, event.Text(event.Protocol, "gatt"), event.Text(event.Now, tt.now), event.Int(event.Trackable, 1))
		s.said(event.CommandSeen, ipump, phone, event.Int(event.Verb, device.SetAlarm), event.Int(event.Effect, device.Masks), event.Text(event.Value, tt.value), event.Text(event.Target, tt.target))
		order, command := &s.events[len(s.events)-2], &s.events[len(s.events)-1]
		order.Time, order.Sighting = command.Time, command.Sighting
		for _, f := range s.play(t, Config{}).Findings {
			if f.Kind == finding.AlarmMasked && (!strings.Contains(f.Title, "("+tt.want+")") || !strings.HasPrefix(f.Sightings[0].Note, tt.want+" (")) {
				t.Errorf("%q, %q, want %q", f.Title, f.Sightings[0].Note, tt.want)
			}
		}
	}
}

// TestShapes: a capture shows what was tried, and not that a device has the
// weakness that is known by this shape.
func TestShapes(t *testing.T) {
	s := newScene()
	s.worn()
	s.said(event.ExploitSeen, thief, ipump, event.Text(event.Protocol, "ble"), event.Text(event.Shape, "first"), event.Text(event.CVE, "CVE-2019-17060,CVE-2019-17061"))
	s.said(event.ExploitSeen, thief, ipump, event.Text(event.Protocol, "ble"), event.Text(event.Shape, "second"))
	r := s.play(t, Config{})
	if len(r.Findings) != 2 {
		t.Fatalf("%+v", r.Findings)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		switch note := f.Sightings[0].Note; {
		case len(f.CVE) == 0 && (f.Certainty != "" || note != "second"),
			len(f.CVE) > 0 && (f.Certainty != "review" || note != "first: the shape of CVE-2019-17060, CVE-2019-17061; whether this device has that weakness, the capture does not show"):
			t.Errorf("%q, %s, %q", note, f.CVE, f.Certainty)
		}
	}
}

// TestRadioSessions: a link on the radio is a session.
func TestRadioSessions(t *testing.T) {
	s := newScene()
	s.worn()
	s.said(event.LinkSeen, ipump, phone, event.Text(event.Protocol, "gatt"), event.Int(event.Level, 1), event.Int(event.DataBytes, 120))
	s.said(event.LinkSeen, ipump, phone, event.Text(event.Protocol, "gatt"), event.Int(event.Level, 0), event.Int(event.DataBytes, 80))
	r := s.play(t, Config{})
	if len(r.Sessions) != 1 {
		t.Fatalf("%+v", r.Sessions)
	}
	x := r.Sessions[0]
	if x.Protocol != "gatt" || x.Client.Value != phone || x.Server.Value != ipump || x.Count != 2 || x.Bytes != 200 || x.Encrypted {
		t.Errorf("%+v", x)
	}
}

// TestReceiverOf: a clock is that of a file, an interface of pcapng, or a
// receiver that a frame log names; the interfaces of a frame log are dialects.
func TestReceiverOf(t *testing.T) {
	of := func(link capture.LinkType, input int32, iface int, n uint32) receiver {
		return receiverOf(&Frame{Frame: capture.Frame{Link: link, Interface: iface, Flags: n << 24}, Input: input})
	}
	user, log := capture.LinkUser0, capture.LinkFrameLog
	if of(user, 1, 0, 0) == of(user, 1, 1, 0) || of(user, 0, 1, 0) == of(user, 1, 1, 0) || of(user, 1, 1, 0) != of(user, 1, 1, 7) {
		t.Error("pcapng")
	}
	if of(log, 1, 0, 1) == of(log, 1, 0, 2) || of(log, 0, 0, 1) == of(log, 1, 0, 1) || of(log, 1, 0, 1) != of(log, 1, 5, 1) {
		t.Error("frame log")
	}
	if of(user, 0, 0, 0) == (receiver{}) || of(log, 0, 0, 0) == (receiver{}) {
		t.Error("a receiver that is none")
	}
}
