// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package therapy is the form of what a device with a therapy says on the secure link,
// and of the commands that it takes: the content of the resources of a simulated implant
// and of the guard's front for radios. There is no protection in here; that is link/oscore.
//
// # Fields
//
// A [Document] is one map of deterministically encoded CBOR (content format 60), which
// [Text] shows as lines. A quantity is
// [coefficient, exponent, unit by its UCUM code]: [25, -1, "mA"] is 2.5 mA.
//
//	of a command and its answer
//	  1 verb            number of link/cwt         required
//	  2 value           quantity; a switch is [0 or 1, 0, "1"]
//	  3 limit           quantity: for how long
//	  4 confirm         bool: an external defibrillator is at hand
//	  5 stage           text: "accepted"
//	  6 effect          text, of device.Effect
//	of the device
//	  8 kind            text: pump, pacemaker, neurostimulator
//	  9 time            seconds since 1970; not there when it does not know
//	 10 boot            which start of the device this is
//	 11 uptime          quantity
//	 12 battery         quantity, %
//	 13 alarms          [text, ...]
//	 14 in-doubt        quantity: given perhaps, counted as given
//	of the pump
//	 16 basal-rate      quantity: now
//	 17 profile         1 to 3
//	 18 profile-rates   24 quantities, one an hour
//	 19 temporary-basal quantity
//	 20 temporary-left  quantity
//	 21 suspended-left  quantity, or text: "until resumed"
//	 22 bolus           quantity: under way
//	 23 bolus-left      quantity
//	 24 priming         quantity
//	 25 reservoir       quantity
//	 26 delivered       quantity: since it was made
//	 27 insulin-on-board quantity
//	 28 glucose         quantity
//	of the pacemaker
//	 32 mode            text, in the NBG code; set by its number: 1 VOO 2 VVI 3 AAI 4 DOO 5 DDI 6 DDD 7 VVIR 8 DDDR
//	 33 lower-rate      quantity
//	 34 output          quantity
//	 35 pulse-width     quantity; of the neurostimulator too
//	 36 sensitivity     quantity
//	 37 detection       bool
//	 38 detection-rate  quantity
//	 39 therapies       bool
//	 40 emergency-preset bool
//	 41 lead-impedance  quantity; of the neurostimulator too
//	 42 charging        quantity: of the shock to come
//	 43 shocks          number
//	 44 paced-beats     number
//	of the neurostimulator
//	 48 stimulation     bool
//	 49 program         1 to 4
//	 50 amplitude       quantity
//	 51 frequency       quantity
//	 52 charge-per-phase quantity
//	of /limits
//	 56 lowest, 57 highest, 58 step  quantities of the verb that stands with them
//	 59 limits          [map, ...]
//	of /log
//	 64 number          of the entry, from 0 on
//	 65 event           text
//	 66 actor           text: "key-" and eight bytes of the thumbprint of the key that was proven
//	 67 role            text
//	 68 verdict         text: accepted, refused, ended
//	 69 why             text; also of a refusal's answer
//	 70 count           of refusals that are alike; noted each time it has doubled
//	 71 entries         [map, ...]
//	 72 next            where to go on
//	 73 head            SHA-256 of the journal's chain
//	 74 refused         in telemetry: how many refusals since the start
//	of /raw of a guard, whose entries have a number, a time, and the event where it could read them
//	 75 frame           what the device said, byte for byte
//	 76 sealed          bool: it is proven to be of the device, or the device cannot prove it
//
// This API is stable.
package therapy
