// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package radio plays implants and body-worn devices on the air: an insulin
// pump with its glucose sensor, defibrillators, a neurostimulator, a heart-rate
// strap, a glucose meter, a scale, older pumps; the phones and programmers that talk to them; and those who
// should not. Each device has a legacy form, in which nobody has to prove
// anything, and some a protected one. All of them are invented.
//
// [Play] plays one of [Scenarios]; [Recording.Write] writes what a receiver wrote
// down: the log of a Bluetooth host (btsnoop, link types 187 and 201), what a
// sniffer hears (251, 256, 272), or frames of a proprietary radio (JSON lines, or
// USER link types of pcapng). Pairing and encryption are those of the Bluetooth Core
// Specification 5.4, with keys of the scene's own chance, so that other programs
// can follow. [Rows] says which scenario shows which row of the attack catalogue,
// and what has to be found in it.
//
// Left out: radios that hop or send again, other PHYs than LE 1M, channel selection
// #2, extended advertising, and the physical layer as a whole.
//
// This API follows the server and may change.
package radio
