// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// A Take is one way of playing a scenario.
type Take struct {
	Device, Scenario string
	Form             Form
	Layer            Layer
	Decrypted        bool // the sniffer has the keys of the pairings that it heard
}

// A Row is a row of the catalogue of attacks on implants and body-worn devices
// that somebody who only listens can see.
type Row struct {
	ID    string // A01 to A43
	About string
	Take  Take

	// Kinds are the findings that the recording has to give about the device. Those
	// through which a therapy can be reached have at least Harm.
	Kinds []finding.Kind
	Harm  device.Harm // 0: disclosure only

	// Twin is a device of the same make that behaves well: it gives no finding
	// whose harm is serious or worse.
	Twin Take
}

// What well-behaved devices do.
var (
	pumpWell     = Take{Device: "pump", Scenario: "day", Form: Protected, Layer: HCI}
	pumpPairs    = Take{Device: "pump", Scenario: "pair-passkey", Form: Protected, Layer: Air}
	icdWell      = Take{Device: "icd", Scenario: "follow-up", Form: Protected, Layer: Frames}
	icdReadsWell = Take{Device: "icd", Scenario: "read-out", Form: Protected, Layer: Frames}
	classicWell  = Take{Device: "classic", Scenario: "mornings", Form: Protected, Layer: Frames}
	stimWell     = Take{Device: "stim", Scenario: "adjust", Form: Protected, Layer: Frames}
	meterWell    = Take{Device: "meter", Scenario: "download", Form: Protected, Layer: Air}
	scaleWell    = Take{Device: "scale", Scenario: "weigh-in", Form: Protected, Layer: Air}
	readerWell   = Take{Device: "reader", Scenario: "app", Form: Protected, Layer: Air}
	strapWell    = Take{Device: "strap", Scenario: "training", Form: Protected, Layer: Air}
)

// Rows are the rows A01 to A24, A30, A38 and A39 of the catalogue, as far as they can be heard:
// of A19, a code that all devices have, nothing goes over the air. Several rows
// are heard on Bluetooth and on an older radio.
var Rows = []Row{
	{"A01", "a defibrillator's telemetry in clear", frames("wand", "read-out"), kinds(finding.PHIInClear), 0, icdWell},
	{"A02", "recorded commands of a programmer again", frames("wand", "replay"), kinds(finding.TherapyCommandUnauthenticated), device.Catastrophic, icdWell},
	{"A03", "a radio kept awake", frames("wand", "wake-flood"), kinds(finding.RadioWakeFlood), device.Catastrophic, icdReadsWell},
	{"A04", "replay and denial of service in standby", frames("icd", "replay"), kinds(finding.TherapyCommandReplayed, finding.RadioWakeFlood, finding.TherapyCommandUnauthenticated), device.Catastrophic, icdWell},
	{"A04", "the same against a protected radio, which refuses it", Take{"icd", "replay", Protected, Frames, false}, kinds(finding.TherapyCommandReplayed, finding.RadioWakeFlood), device.Catastrophic, icdWell},
	{"A05", "a neurostimulator's settings changed by anybody", frames("stim", "spoof"), kinds(finding.TherapyCommandUnauthenticated, finding.TherapyLimitLoosened), device.Serious, stimWell},
	{"A06", "false commands and glucose readings", frames("classic", "spoofed-sensor"), kinds(finding.TherapyCommandUnauthenticated, finding.ClosedLoopInputUnprotected), device.Critical, classicWell},
	{"A06", "the same on Bluetooth", air("pump", "spoofed-sensor"), kinds(finding.TherapyCommandUnauthenticated, finding.ClosedLoopInputUnprotected, finding.BLEMedicalServiceUnencrypted), device.Critical, pumpWell},
	{"A07", "a remote control's bolus again", frames("classic", "replay"), kinds(finding.TherapyCommandUnauthenticated), device.Critical, classicWell},
	{"A08", "serial numbers in clear", frames("classic", "read-out"), kinds(finding.PHIInClear), 0, classicWell},
	{"A09", "accessories that prove nothing", frames("classic", "inject"), kinds(finding.TherapyCommandUnauthenticated, finding.TherapyLimitLoosened, finding.AlarmMasked), device.Critical, classicWell},
	{"A10", "a pump's management in clear", frames("classic", "read-out"), kinds(finding.PHIInClear), 0, classicWell},
	{"A11", "pairing by a number that never changes", frames("classic", "foreign-accessory"), kinds(finding.BLEKeyStaticOrZero), device.Critical, classicWell},
	{"A11", "a token that never changes", frames("patch", "inject"), kinds(finding.BLEKeyStaticOrZero), device.Critical, pumpPairs},
	{"A12", "a remote control's bolus again", frames("classic", "replay"), kinds(finding.TherapyCommandUnauthenticated), device.Critical, classicWell},
	{"A13", "an accessory pairs and gives a bolus", frames("classic", "foreign-accessory"), kinds(finding.TherapyCommandUnauthenticated), device.Critical, classicWell},
	{"A13", "a phone bonds and gives a bolus", Take{"pump", "foreign-phone", Legacy, HCI, false}, kinds(finding.BLEPairingJustWorks, finding.BLEPairingLegacy, finding.BLEBelowProfileLevel, finding.TherapyCommandUnauthenticated, finding.TherapyCommandUnexpectedSender, finding.AlarmMasked), device.Critical, pumpWell},
	{"A13", "the same as a sniffer hears it", Take{"pump", "foreign-phone", Legacy, Air, true}, kinds(finding.BLEPairingJustWorks, finding.BLEPairingLegacy, finding.BLEBelowProfileLevel, finding.BLEKeyStaticOrZero, finding.TherapyCommandUnauthenticated, finding.AlarmMasked), device.Critical, pumpPairs},
	{"A14", "a patch pump without authentication", frames("patch", "inject"), kinds(finding.TherapyCommandUnauthenticated), device.Critical, pumpWell},
	{"A15", "no protection against replay on Bluetooth", air("pump", "replay"), kinds(finding.TherapyCommandReplayed, finding.TherapyCommandUnauthenticated, finding.BLEMedicalServiceUnencrypted), device.Critical, pumpWell},
	{"A16", "keys that are not random, and short", hci("pump", "static-key"), kinds(finding.BLEKeyStaticOrZero, finding.BLEKeySizeWeak), device.Critical, pumpPairs},
	{"A17", "a pairing whose keys a listener has", Take{"pump", "sniffed-pairing", Legacy, Air, true}, kinds(finding.BLEPairingLegacy, finding.BLEPairingJustWorks, finding.BLEKeyStaticOrZero), device.Critical, pumpPairs},
	{"A18", "a code in clear, and what it lets one do", air("pump", "pin-in-clear"), kinds(finding.BLEMedicalServiceUnencrypted, finding.TherapyCommandUnauthenticated, finding.TherapyLimitLoosened, finding.CredentialsInClear), device.Critical, pumpWell},
	{"A20", "an implant's memory read and written by anybody", frames("icd", "memory"), kinds(finding.TherapyCommandUnauthenticated, finding.PHIInClear), device.Catastrophic, icdWell},
	{"A21", "an implant's radio without encryption", frames("icd", "read-out"), kinds(finding.PHIInClear), 0, icdReadsWell},
	{"A22", "a session opened by a number that can be computed", frames("icd", "forged-session"), kinds(finding.TherapyCommandUnauthenticated), device.Catastrophic, icdWell},
	{"A23", "wake-ups without a limit", frames("icd", "wake-flood"), kinds(finding.RadioWakeFlood), device.Catastrophic, icdReadsWell},
	{"A23", "the same against a protected radio", Take{"icd", "wake-flood", Protected, Frames, false}, kinds(finding.RadioWakeFlood), device.Catastrophic, icdReadsWell},
	{"A24", "a patient's name and record number in clear", frames("icd", "read-out"), kinds(finding.PHIInClear), 0, icdReadsWell},
	{"A30", "an app that nobody paired uses the reader of an implant", air("reader", "app"), kinds(finding.BLEMedicalServiceUnencrypted, finding.PHIInClear), 0, readerWell},
	{"A38", "SweynTooth: a key of zeros", air("pump", "zero-key"), kinds(finding.BLEEncryptionSkipped, finding.BLEKeyStaticOrZero), device.Critical, pumpPairs},
	{"A38", "SweynTooth: a key of 253 octets", air("pump", "key-size"), kinds(finding.BLEEncryptionSkipped, finding.BLEKeySizeWeak), device.Critical, pumpPairs},
	{"A38", "SweynTooth: no DHKey checks", air("pump", "dhkey-skip"), kinds(finding.BLEEncryptionSkipped), device.Critical, pumpPairs},
	{"A38", "SweynTooth: encryption without a key", air("pump", "early-encryption"), kinds(finding.BLEEncryptionSkipped), device.Critical, pumpPairs},
	{"A38", "SweynTooth: LLID deadlock", air("pump", "llid-deadlock"), kinds(finding.BLEEncryptionSkipped), device.Critical, pumpPairs},
	{"A38", "SweynTooth: ATT deadlock", air("pump", "att-deadlock"), kinds(finding.BLEEncryptionSkipped), device.Critical, pumpPairs},
	{"A38", "SweynTooth: truncated L2CAP", air("pump", "truncated-l2cap"), kinds(finding.BLEEncryptionSkipped), device.Critical, pumpPairs},
	{"A39", "a glucose meter's records in clear", air("meter", "download"), kinds(finding.BLEMedicalServiceUnencrypted, finding.BLEBelowProfileLevel, finding.PHIInClear, finding.BLETrackableAddress, finding.BLEIdentityInAdvertising), 0, meterWell},
	{"A39", "weight and body composition in clear", air("scale", "weigh-in"), kinds(finding.BLEMedicalServiceUnencrypted, finding.PHIInClear, finding.BLETrackableAddress), 0, scaleWell},
	{"A39", "a pulse in clear", air("strap", "training"), kinds(finding.BLEMedicalServiceUnencrypted, finding.PHIInClear, finding.BLETrackableAddress), 0, strapWell},
}

func frames(device, scenario string) Take { return Take{device, scenario, Legacy, Frames, false} }
func air(device, scenario string) Take    { return Take{device, scenario, Legacy, Air, false} }
func hci(device, scenario string) Take    { return Take{device, scenario, Legacy, HCI, false} }

func kinds(k ...finding.Kind) []finding.Kind { return k }
