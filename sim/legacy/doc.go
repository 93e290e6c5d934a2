// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package legacy has live devices of the ward's story that protect nothing, and the attacks
// on them. Package radio plays recordings; here a device answers, has a state, and one can
// read off it whether an attack succeeded. All devices, makers and protocols are invented;
// each stands for rows of the attack catalogue. Nothing here sends a packet to anything but
// this machine's loopback, or listens to anything else: [At], [Device.Serve] and what a device itself connects
// to refuse every other address.
//
// [Models] is the table of devices, [Attacks] that of attacks. A device does nothing between
// calls and starts nothing; a clock and chance are handed in ([Config]). [Attack.Try] makes a device,
// attacks it and says by its state what came of it; [Attack.Run] attacks what is at any [Target], a guard or a
// secured device too, and [Attack.Hurt] judges by the states before and after. What those who may
// use a device are heard to say stands in [Env.Overheard].
//
// # How messages are carried
//
// A message has at most 4,096 bytes. By datagrams ([Device.Serve]) each is one datagram, and answers go
// to where it came from. On a byte pipe ([Device.ServeConn]: TCP, a serial line) two bytes stand in
// front of each message, its length without them, the high byte first, so that a message has at most 4,094; the devices that
// are asked in lines have a line feed behind each message instead, and HL7 has MLLP. (That is not the pipe of
// link/coap, which is for radios that carry little at a time.) A message that a device
// does not understand, or that is for another, is not answered.
//
// With [Config.Secret] a device has no radio any more: it listens only to messages that are sealed with a secret of
// 16 bytes, by a tag and a counter in front (package proto/radio/seal), and answers the same way. It is then counted
// in the same manner on a pipe, whatever it is. What is not sealed is not answered and changes nothing but
// a count. The seal does not encrypt: it is for a short wire. Who holds the secret is the only one who reaches the device.
// FlowLink and Castor have no such form: their sole path is a network that nobody else is on.
// [Config.Mended] builds a device as it should have been: a radio with a secret of chance, Dose One
// so that it answers 4.01 to everything in clear, the others without the weakness of their row.
//
// # Devices with a radio
//
// A message is a frame of a dialect of proto/radio, with preamble and sync in what the device
// sends, and with or without in what it takes. Addresses are those of package radio. Every command is answered by one frame, unless it says otherwise.
//
//	rhythm-s      halden-mics, device 0x5e2b90d4. Commands answer with "answer", others with their report. Session and sequence
//	              are copied into the answer and not looked at, and nor is programmer. pacing-rate, output, sensitivity
//	              and pacing-mode are refused (2) until somebody opened a session; everything else needs none. proof
//	              of open-session is the front of SHA-256("halden cardio 2011", clock as four bytes, low first), whatever the
//	              clock says. close-session is not answered. Memory has 64 KiB: settings at 0x0100 (mode, rate, output
//	              in 50 mV, therapies, detection: who writes there sets them), patient at 0x4000, program at 0x8000; a
//	              read gives at most 240 bytes. A wake-up costs 25 microampere-hours of 1,200,000.
//	rhythm-a      halden-wand, serial 0x4471c9. Commands answer with done or refused.
//	calm          tessel-calm, serial 0x71c05be3. message is copied into the answer. An amplitude above the highest is
//	              refused (2); the highest is anybody's to set.
//	dose-classic  okapi-classic, serial 0x3b1f06. A bolus above the highest, or while suspended, is refused. A bolus is given
//	              at 1.5 U/min; when none is under way any more, the next read-status is answered by a second frame, bolus-given. glucose is not answered: above 180 mg/dL
//	              the loop gives what brings it to 120, a unit for each 50. history has three numbers of eight bytes, high first, in
//	              milliunits: delivered, boluses ordered, boluses given. The key of paired is [PairingKey].
//	dose-patch    okapi-patch, pod 0x1f0c9a52. set-up of the first handheld is answered by version, that of others refused (2). Other frames
//	              are refused (1) whose token is not PairingKey of pod and handheld.
//
// # Dose One
//
// dose-one speaks CoAP (RFC 7252) in clear. A message that comes again, byte for byte, within 247 s gets the same answer and is not
// done again. A ping is answered by a reset. Content is that of link/therapy: a command is the encoding of [therapy.Request], and answers have fields
// by the same numbers.
//
//	GET  /.well-known/core   what there is
//	GET  /therapy            kind, basal-rate, bolus-left
//	POST /therapy            a command: deliver-bolus, cancel-bolus, set-temporary-basal, cancel-temporary-basal, suspend, resume,
//	                         set-limit (the highest bolus), calibrate, report-glucose; 2.04 with verb and stage, or 4.00, 4.22, 5.01
//	                         with why. set-basal-rate and set-profile are 4.03
//	GET  /telemetry          kind, battery, reservoir, delivered, glucose
//	GET  /limits             the highest bolus
//	GET  /pin                four digits, as text: only the app asks for them
//	POST /physician          four digits that all pumps have, and a command, set-basal-rate and set-profile too
//	POST /pair               a key of 16 bytes ([AppKey]); the last one counts
//	POST /secure             a command, and behind it the first four bytes of its HMAC-SHA-256 under the key
//
// # The chip
//
// ble-soc is the Bluetooth chip of a pump. A message is a packet of the link layer as the air carries it (Core Specification 5.4, Vol 6 Part B
// section 2.1), from the access address to the CRC. SCAN_REQ is answered by SCAN_RSP, CONNECT_IND opens the one link there
// is, and each packet of the central on it is a connection event: one of the chip comes back. What a packet asks for is answered in one of the next
// events in which the central sends an empty packet. LL_ENC_REQ starts encryption; on channel 6 is the security manager, Just Works with Secure Connections; on channel
// 4 a name, handle 3, and the highest bolus, handle 18, which is for an encrypted link. It hops to no channel, and keeps
// no time. Its key is in a memory of its own in which other things lie behind it.
//
// # FlowLink
//
// flowlink is HL7 v2.6 by MLLP, in clear. It takes PCD-03 (RGV^O15) from whoever connects, for pump-3 and pump-4 by their EUI-64 in OBX-18. In enhanced mode it acknowledges on the
// same connection as MSH-15 asks, CA, or CR where it is no order, and sends RRG^O16 as MSH-16 asks to [Config.Upstream], on a new connection: AA when the order waits
// at the pump, AE with ERR when it does not. In original mode RRG^O16 comes on the same connection. [FlowLink.Confirm] and [FlowLink.Reject] are
// a clinician at the pump; what is confirmed is reported upstream as PCD-10, then PCD-01, and [FlowLink.Report] reports both pumps.
// castor is who is upstream: it acknowledges everything that asks for it, and counts.
//
// # Devices that are asked in lines
//
// A line is a word and what belongs to it, a blank between each; bytes are hexadecimal. The answer is a line: "ok", perhaps with more, or "no", perhaps with why.
//
//	homelink         cloud ADDRESS | report | login PASSWORD | debug-write ADDRESS BYTES | chip
//	cloud            upload DEVICE EPISODES [TAG]
//	reader           hello | auth TAG | read | debug LENGTH BYTES | stage IMAGE | verify | install
//	studio           updates ADDRESS | update | media IMAGE | install | components | export
//	card-programmer  card-read | card-write IMAGE | start
//	clinic-server    message JSON
//	insulin-cloud    put ACCOUNT BYTES | fetch ACCOUNT
//	ip-stack         packet BYTES
//	dose-app         heard ADDRESS | sync
//	meter            subscribe
//	ecg              listen
//
// "report" of homelink goes to its cloud as a real protocol does: a request in HTTP to go over to TLS (RFC 2817), with name and password in clear, then TLS 1.2 with
// whatever certificate comes. "update" of studio is HTTP. clinic-app is asked in HTTP/1.1 alone: POST /reset, and, with user and password (RFC 7617), POST /limit/N and
// /amplitude/N. packet is a TCP segment. A [Tap] hears these.
//
// An image is an Ed25519 signature and what it signs; lines in it that are "send BYTES" go to the implant behind the device. "cloud", "updates" and "heard" are
// what a network answers to the question where these are, or what an advertisement says, which anybody in it may answer. What no Go program can suffer is a flag in the state: rows A31, A41 and A42 are [Modelled].
//
// # Programs and updates
//
// A [Unit] is any of these devices started with the image of a [Program]: an Ed25519 signature and lines, "program", "model", "version", and
// "mended" in a version without the weakness. What is programmed, and the implant that lies before a device, outlast a start. An
// [Updater] is such a unit that gets its programs over HTTP:
//
//	updates ADDRESS | update | version
//
//	GET /newest              a version
//	GET /VERSION/manifest    lines: model, image PATH, sha256 HEX
//	GET /PATH                the image; twice, to check it and to write it
//
// It compares no versions and no models, looks at no signature, and asks nobody how old an answer is: [UpdateAttacks] are what follows from that.
//
// This API follows the server and may change.
package legacy
