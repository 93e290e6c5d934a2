// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/wire"
)

// A Form says how a device was built.
type Form uint8

// The forms.
const (
	Legacy    Form = iota // as devices were built for long: nobody proves anything
	Protected             // as they should be
)

var forms = [...]string{"legacy", "protected"}

func (f Form) String() string { return forms[f] }

// ParseForm is the inverse of [Form.String].
func ParseForm(s string) (Form, bool) {
	i := slices.Index(forms[:], s)
	return Form(max(i, 0)), i >= 0
}

// A Layer is where a receiver listens.
type Layer uint8

// The layers.
const (
	HCI    Layer = iota // the log of a phone's or device's host
	Air                 // a Bluetooth sniffer
	Frames              // a receiver for a proprietary radio
)

// layers is the table of layers. The first link type is the usual one.
var layers = [...]struct {
	name, container string
	links           []wire.LinkType
}{
	HCI:    {"hci", "btsnoop", []wire.LinkType{wire.LinkBluetoothHCIH4PHDR, wire.LinkBluetoothHCIH4}},
	Air:    {"air", "pcapng", []wire.LinkType{wire.LinkBluetoothLELLPHDR, wire.LinkBluetoothLELL, wire.LinkNordicBLE}},
	Frames: {"frames", "jsonl", []wire.LinkType{wire.LinkUser0}},
}

func (l Layer) String() string { return layers[l].name }

// ParseLayer is the inverse of [Layer.String].
func ParseLayer(s string) (Layer, bool) {
	for i := range layers {
		if layers[i].name == s {
			return Layer(i), true
		}
	}
	return 0, false
}

// A Scenario is a story that can be played.
type Scenario struct {
	Device string
	Name   string
	Forms  []Form  // of the device; the first is the usual one
	Layers []Layer // where it can be recorded; the first is the usual one
	About  string

	logged ble.Side // whose host an HCI log is of; UnknownSide is the central's
	play   func(*scene)
}

var (
	both         = []Form{Legacy, Protected}
	weak         = []Form{Legacy}
	strong       = []Form{Protected}
	bluetooth    = []Layer{HCI, Air}
	onAirOnly    = []Layer{Air}
	airFirst     = []Layer{Air, HCI}
	framesOnly   = []Layer{Frames}
	dayOfStories = time.Date(2026, time.March, 3, 7, 0, 0, 0, time.FixedZone("", 3600))
)

// Scenarios is the table of stories.
var Scenarios = []Scenario{
	{Device: "pump", Name: "day", Forms: both, Layers: bluetooth, About: "three mornings with the phone that the pump knows: a recurring bolus of 4.0 IU, glucose, an alarm confirmed and one snoozed", play: (*scene).pumpDays},
	{Device: "pump", Name: "breakfast", Forms: both, Layers: bluetooth, About: "one morning of a pump and a phone that are bonded", play: func(s *scene) { s.breakfast(s.knownPump()) }},
	{Device: "pump", Name: "pair-just-works", Forms: both, Layers: bluetooth, About: "pairing by Just Works", play: pairBy("pump", ble.JustWorks)},
	{Device: "pump", Name: "pair-passkey", Forms: both, Layers: bluetooth, About: "pairing by a passkey", play: pairBy("pump", ble.PasskeyEntry)},
	{Device: "pump", Name: "pair-numeric", Forms: strong, Layers: bluetooth, About: "pairing by comparing numbers", play: pairBy("pump", ble.NumericComparison)},
	{Device: "pump", Name: "pair-oob", Forms: both, Layers: bluetooth, About: "pairing with data that came out of band", play: pairBy("pump", ble.OutOfBand)},
	{Device: "pump", Name: "reconnect", Forms: both, Layers: bluetooth, About: "bonded devices connect again", play: reconnection("pump", true)},
	{Device: "pump", Name: "reconnect-cached", Forms: both, Layers: bluetooth, About: "bonded devices connect again, and discover nothing", play: reconnection("pump", false)},
	{Device: "pump", Name: "stranger", Forms: strong, Layers: bluetooth, About: "a phone that is not known tries, and is refused", play: (*scene).refusedStranger},
	{Device: "pump", Name: "foreign-phone", Forms: weak, Layers: airFirst, logged: ble.Peripheral, About: "after breakfast a phone that is not the patient's bonds by Just Works, gives 25 IU and widens the hypo alarm", play: (*scene).foreignPhone},
	{Device: "pump", Name: "stranger-bonds", Forms: weak, Layers: airFirst, logged: ble.Peripheral, About: "the same without breakfast", play: func(s *scene) { s.strangerBonds(s.pump()) }},
	{Device: "pump", Name: "replay", Forms: weak, Layers: airFirst, logged: ble.Peripheral, About: "the breakfast bolus is sent again into the same connection, which is not encrypted, and then in another", play: (*scene).pumpReplay},
	{Device: "pump", Name: "static-key", Forms: weak, Layers: bluetooth, About: "two pairings give the same key, of seven octets", play: (*scene).staticKey},
	{Device: "pump", Name: "sniffed-pairing", Forms: weak, Layers: airFirst, About: "legacy pairing where a sniffer listens that finds out the key", play: pairBy("pump", ble.JustWorks)},
	{Device: "pump", Name: "pin-in-clear", Forms: weak, Layers: airFirst, logged: ble.Peripheral, About: "the pump's code in clear, all other bonds deleted with it, the limit raised", play: (*scene).pinInClear},
	{Device: "pump", Name: "spoofed-sensor", Forms: weak, Layers: airFirst, About: "glucose values and a calibration in clear", play: (*scene).spoofedSensor},
	{Device: "pump", Name: "update", Forms: both, Layers: airFirst, logged: ble.Peripheral, About: "a phone sends new firmware: over a link that proves nothing, or under its bond", play: (*scene).update},
	{Device: "pump", Name: "zero-key", Forms: weak, Layers: onAirOnly, About: "SweynTooth: encryption with a key of zeros", play: (*scene).zeroKey},
	{Device: "pump", Name: "key-size", Forms: weak, Layers: onAirOnly, About: "SweynTooth: a key of 253 octets is asked for", play: (*scene).keySize},
	{Device: "pump", Name: "dhkey-skip", Forms: weak, Layers: onAirOnly, About: "SweynTooth: encryption before the DHKey checks", play: (*scene).dhKeySkip},
	{Device: "pump", Name: "early-encryption", Forms: weak, Layers: onAirOnly, About: "SweynTooth: encryption before a key was agreed on", play: (*scene).earlyEncryption},
	{Device: "pump", Name: "llid-deadlock", Forms: weak, Layers: onAirOnly, About: "SweynTooth: a link-layer PDU of no kind", play: (*scene).llidDeadlock},
	{Device: "pump", Name: "att-deadlock", Forms: weak, Layers: airFirst, About: "SweynTooth: requests that do not wait for their answers", play: (*scene).attDeadlock},
	{Device: "pump", Name: "truncated-l2cap", Forms: weak, Layers: onAirOnly, About: "SweynTooth: an L2CAP header that is cut", play: (*scene).truncatedL2CAP},

	{Device: "icd", Name: "follow-up", Forms: both, Layers: framesOnly, About: "a programmer at the clinic reads out, switches shocks off for an operation and on again", play: (*scene).followUp},
	{Device: "icd", Name: "read-out", Forms: both, Layers: framesOnly, About: "a programmer wakes the device and reads it out", play: (*scene).readOut},
	{Device: "icd", Name: "replay", Forms: both, Layers: framesOnly, About: "yesterday's 'therapies off' is sent again; then wake-ups, 1,000 a minute", play: (*scene).icdReplay},
	{Device: "icd", Name: "wake-flood", Forms: both, Layers: framesOnly, About: "wake-ups, 1,000 a minute", play: (*scene).icdWakeFlood},
	{Device: "icd", Name: "memory", Forms: weak, Layers: framesOnly, About: "somebody reads and writes the device's memory", play: (*scene).icdMemory},
	{Device: "icd", Name: "forged-session", Forms: weak, Layers: framesOnly, About: "a session opened by a number that can be computed, and the pacing changed", play: (*scene).forgedSession},
	{Device: "icd", Name: "home", Forms: strong, Layers: bluetooth, About: "the night's report to the monitor at home", play: (*scene).homeMonitor},
	{Device: "icd", Name: "pair-oob", Forms: strong, Layers: bluetooth, About: "pairing with the monitor, with data that came out of band", play: pairBy("icd", ble.OutOfBand)},
	{Device: "icd", Name: "reconnect-cached", Forms: strong, Layers: bluetooth, About: "bonded devices connect again, and discover nothing", play: reconnection("icd", false)},

	{Device: "wand", Name: "read-out", Forms: weak, Layers: framesOnly, About: "an old defibrillator's name, diagnosis and electrogram in clear", play: (*scene).wandReadOut},
	{Device: "wand", Name: "replay", Forms: weak, Layers: framesOnly, About: "recorded commands of its programmer are sent again: therapies off, a test shock", play: (*scene).wandReplay},
	{Device: "wand", Name: "wake-flood", Forms: weak, Layers: framesOnly, About: "wake-ups, 1,000 a minute", play: (*scene).wandWakeFlood},

	{Device: "stim", Name: "adjust", Forms: both, Layers: framesOnly, About: "the patient's programmer changes voltage and program", play: (*scene).stimAdjust},
	{Device: "stim", Name: "spoof", Forms: weak, Layers: framesOnly, About: "recorded and made-up commands: the limit raised, the voltage, off", play: (*scene).stimSpoof},

	{Device: "classic", Name: "mornings", Forms: both, Layers: framesOnly, About: "the same bolus by the remote control at three breakfasts", play: (*scene).classicMornings},
	{Device: "classic", Name: "read-out", Forms: weak, Layers: framesOnly, About: "an old pump's serial number, readings and history in clear", play: (*scene).classicReadOut},
	{Device: "classic", Name: "replay", Forms: weak, Layers: framesOnly, About: "a recorded bolus of the remote control is sent again", play: (*scene).classicReplay},
	{Device: "classic", Name: "inject", Forms: weak, Layers: framesOnly, About: "an accessory that nobody knows: the limit raised, a bolus, delivery stopped", play: (*scene).classicInject},
	{Device: "classic", Name: "spoofed-sensor", Forms: weak, Layers: framesOnly, About: "made-up glucose values and a calibration", play: (*scene).classicSensor},
	{Device: "classic", Name: "foreign-accessory", Forms: weak, Layers: framesOnly, About: "an accessory pairs, twice with the same key, and gives a bolus", play: (*scene).classicPairing},

	{Device: "patch", Name: "inject", Forms: weak, Layers: framesOnly, About: "commands with a token that never changes", play: (*scene).patchInject},

	{Device: "meter", Name: "download", Forms: both, Layers: airFirst, About: "a phone reads a glucose meter's records, and the next day the new ones", play: (*scene).meterDownload},
	{Device: "meter", Name: "pair-passkey", Forms: strong, Layers: bluetooth, About: "pairing by a passkey", play: pairBy("meter", ble.PasskeyEntry)},

	{Device: "scale", Name: "weigh-in", Forms: both, Layers: airFirst, About: "a scale tells a phone weight and body composition, two mornings", play: (*scene).weighIn},

	{Device: "reader", Name: "app", Forms: both, Layers: airFirst, About: "an app uses the reader of an implant: one that nobody paired, or one that was", play: (*scene).readerApp},

	{Device: "strap", Name: "training", Forms: both, Layers: airFirst, About: "a heart-rate strap and a phone", play: (*scene).training},
	{Device: "strap", Name: "reconnect-cached", Forms: strong, Layers: bluetooth, About: "bonded devices connect again, and discover nothing", play: reconnection("strap", false)},
}

// Options say what to play. Only Device and Scenario have to be given.
type Options struct {
	Device, Scenario string
	Form             Form
	Layer            Layer
	Start            time.Time // when the story begins; zero is 7 o'clock on the ward's day
	Seed             uint64    // of keys and chance
}

// Find returns the scenario of a device. The error says which there are.
func Find(device, name string) (*Scenario, error) {
	var known []string
	for i := range Scenarios {
		s := &Scenarios[i]
		switch {
		case s.Device == device && s.Name == name:
			return s, nil
		case s.Device == device:
			known = append(known, s.Name)
		}
	}
	if known == nil {
		return nil, fmt.Errorf("there is no device %q; there are %s", device, strings.Join(Devices(), ", "))
	}
	return nil, fmt.Errorf("%s has no scenario %q; it has %s", device, name, strings.Join(known, ", "))
}

// Devices returns the names of the devices.
func Devices() []string {
	var out []string
	for i := range Scenarios {
		if !slices.Contains(out, Scenarios[i].Device) {
			out = append(out, Scenarios[i].Device)
		}
	}
	return out
}

// Play plays a story and returns what was recorded. The same options make the
// same recording.
func Play(o Options) (*Recording, error) {
	sc, err := Find(o.Device, o.Scenario)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(sc.Forms, o.Form):
		return nil, fmt.Errorf("%s of %s is not of its %s form", sc.Name, sc.Device, o.Form)
	case !slices.Contains(sc.Layers, o.Layer):
		return nil, fmt.Errorf("%s of %s cannot be recorded as %s", sc.Name, sc.Device, o.Layer)
	}
	if o.Start.IsZero() {
		o.Start = dayOfStories
	}
	s := newScene(o.Form, o.Start, o.Seed)
	switch o.Layer {
	case HCI:
		side := sc.logged
		if side == ble.UnknownSide {
			side = ble.Central
		}
		s.log = &hciLog{s: s, side: side}
	case Air:
		s.log = &airLog{s: s}
	}
	sc.play(s)
	if s.err != nil {
		return nil, fmt.Errorf("%s of %s: %w", sc.Name, sc.Device, s.err)
	}
	return &Recording{layer: o.Layer, frames: s.frames}, nil
}
