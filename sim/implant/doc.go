// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package implant simulates three implants that a programmer, a phone and a home monitor
// talk to: an insulin pump with a glucose sensor, a pacemaker that is a defibrillator too,
// and a stimulator of the deep brain. They are resources of CoAP (RFC 7252) behind EDHOC
// (RFC 9528) and OSCORE (RFC 8613), and do what tokens of link/cwt let a peer ask for.
//
// An [Implant] opens no socket and starts nothing: [Implant.Handle] takes a request with
// what protects it, and a clock is handed in. A [Radio] puts it behind link/coap. What it
// is told to do and what it did is in one file, the journal; a device that is started again
// from it has lost nothing that it acknowledged, and gives no dose twice: what may have
// been given counts as given, and is not taken up again. Its therapies are simulated, with
// ranges as real devices have them. Nothing here is fit to treat anybody.
//
// # Resources
//
//	GET    /.well-known/core   what there is; open to everybody
//	POST   /.well-known/edhoc  handshakes; open to everybody, within a budget
//	POST   /authz-info         a token, as it is; 2.01, or 4.01 without a reason
//	DELETE /authz-info         gives it back; the payload is a number of cwt.Reason, which a break-glass token needs
//	GET    /therapy            what is set
//	POST   /therapy            a command; 2.04, or why not
//	GET    /telemetry          what is measured; may be observed
//	GET    /limits             what no token opens
//	GET    /log                the device's own log from the entry in ?from=N on
//	POST   /update             4.03 but for an updater, and 5.01 for one
//
// A token may come with the handshake too, as external authorization data ([TokenLabel]).
//
// A command is answered with 4.01 and an Echo option (RFC 9175) unless it has the value of
// one that was made for this peer within ten seconds ([Fresh]): who holds back a genuine
// command delivers it in vain. It is refused with 4.00 when it cannot be read, 5.01 when the device
// has no such thing, 4.22 beyond a hard limit, 4.03 beyond the token, 4.01 without one, and
// 5.03 when it cannot be recorded. Rescues (device.TherapyInfo) pass from every role, and do
// not wait for the record. A suspend within four hours of another is a change, which has to
// be granted, and so is another stimulation-off.
//
// # Content
//
// All content but that of /.well-known and /authz-info is one map of deterministically
// encoded CBOR (content format 60), which [Text] shows as lines. A quantity is
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
//	 65 event           text: start, restart, session, token, break-glass, command, read, update, therapy,
//	                    request, message, handshake, revocations
//	 66 actor           text: "key-" and eight bytes of the thumbprint of the key that was proven
//	 67 role            text
//	 68 verdict         text: accepted, refused, ended
//	 69 why             text; also of a refusal's answer
//	 70 count           of refusals that are alike; noted each time it has doubled
//	 71 entries         [map, ...]
//	 72 next            where to go on
//	 73 head            SHA-256 of the journal's chain
//	 74 refused         in telemetry: how many refusals since the start
//
// This API is stable.
package implant
