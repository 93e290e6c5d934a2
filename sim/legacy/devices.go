// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"cmp"
	"fmt"
	"slices"
)

// A Model is a kind of device that can be made.
type Model struct {
	Name    string
	Network string // udp or tcp: what it is served on where nothing else is asked for
	About   string
	New     func(Config) (Device, error)
}

// Models is the table of devices.
var Models = []Model{
	{"rhythm-s", "udp", "a pacemaker and defibrillator; radio, halden-mics", as(NewRhythmS)},
	{"rhythm-a", "udp", "an old defibrillator; radio, halden-wand", as(NewRhythmA)},
	{"calm", "udp", "a neurostimulator; radio, tessel-calm", as(NewCalm)},
	{"dose-classic", "udp", "an insulin pump with a remote control; radio, okapi-classic", as(NewClassic)},
	{"dose-patch", "udp", "a patch pump; radio, okapi-patch", as(NewPatch)},
	{"dose-one", "udp", "an insulin pump with an app; plain CoAP", as(NewDoseOne)},
	{"dose-app", "tcp", "the app of dose-one; lines", as(NewDoseApp)},
	{"flowlink", "tcp", "an infusion pump gateway with two pumps; HL7 over MLLP", as(NewFlowLink)},
	{"homelink", "tcp", "a home monitor with its implant; lines", as(NewHomeLink)},
	{"cloud", "tcp", "where home monitors upload; lines", as(NewCloud)},
	{"reader", "tcp", "a patient's reader with its implant; lines", as(NewReader)},
	{"studio", "tcp", "a programmer of cardiac implants; lines", as(NewStudio)},
	{"card-programmer", "tcp", "a programmer whose program is on a card; lines", as(NewCardProgrammer)},
	{"clinic-app", "tcp", "a clinician's app with a neurostimulator; HTTP", as(NewClinicApp)},
	{"clinic-server", "tcp", "a clinic's server for cardiac devices; lines", as(NewClinicServer)},
	{"insulin-cloud", "tcp", "the cloud of an insulin app; lines", as(NewInsulinCloud)},
	{"ip-stack", "tcp", "a monitor's network stack; lines", as(NewStack)},
	{"ble-soc", "udp", "the Bluetooth chip of an insulin pump; packets of the link layer", as(NewChip)},
	{"meter", "tcp", "a glucose meter; lines", as(NewMeter)},
	{"ecg", "tcp", "an ECG by sound; lines", as(NewECG)},
	{"castor", "tcp", "where the gateway's reports and answers go; HL7 over MLLP", as(NewCastor)},
}

// as makes a constructor one of a [Device].
func as[D Device](f func(Config) (D, error)) func(Config) (Device, error) {
	return func(cfg Config) (Device, error) { return f(cfg) }
}

// New makes a device by the name of its model.
func New(model string, cfg Config) (Device, error) {
	for i := range Models {
		if Models[i].Name == model {
			return Models[i].New(cfg)
		}
	}
	return nil, fmt.Errorf("legacy: no device %q", model)
}

// NetworkOf returns the usual network of a model: udp or tcp.
func NetworkOf(model string) string {
	for i := range Models {
		if Models[i].Name == model {
			return Models[i].Network
		}
	}
	return ""
}

// Attacks is the table of attacks, in the order of the catalogue.
var Attacks = ordering(radioAttacks, coapAttacks, boxAttacks, chipAttacks, []Attack{forgedOrder, spoofedPump})

// ordering puts tables together, in the order of their rows.
func ordering(tables ...[]Attack) []Attack {
	all := slices.Concat(tables...)
	slices.SortStableFunc(all, func(a, b Attack) int { return cmp.Compare(a.Row, b.Row) })
	return all
}
