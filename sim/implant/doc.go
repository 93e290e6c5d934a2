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
//	GET    /update             what it wants of an update, for an updater (patch/agent/coap);
//	                           4.03 for others, and 5.01 where it takes none
//	POST   /update             that
//
// A token may come with the handshake too, as external authorization data ([TokenLabel]).
//
// A command is answered with 4.01 and an Echo option (RFC 9175) unless it has the value of
// one that was made for this peer within ten seconds ([Fresh]): who holds back a genuine
// command delivers it in vain. It is refused with 4.00 when it cannot be read, 5.01 when the device
// has no such thing, 4.22 beyond a hard limit, 4.03 beyond the token, 4.01 without one, and
// 5.03 when it cannot be recorded or an update is being installed. Rescues (device.TherapyInfo) pass from every role, and do
// not wait for the record. A suspend within four hours of another is a change, which has to
// be granted, and so is another stimulation-off.
//
// # Content
//
// All content but that of /.well-known and /authz-info is in the form of link/therapy. The
// events of the log are start, restart, session, token, break-glass, command, read, update,
// therapy, request, message, handshake, revocations.
//
// This API is stable.
package implant
