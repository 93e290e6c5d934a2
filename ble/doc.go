// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ble reads Bluetooth Low Energy as it is captured: logs of the host
// controller interface (HCI), and link-layer packets of sniffers. It follows
// connections from connect to disconnect and knows what protects each PDU at
// that moment.
//
// A [Packet] is what one frame says. A [Follower] takes packets in order, puts
// fragments together, and hands whole PDUs of the attribute protocol to a
// [Handler], with the [Security] of their [Connection]. It follows the Bluetooth
// Core Specification 5.4; sections are cited as volume, part and section.
//
// Classic Bluetooth (BR/EDR), audio and isochronous channels are passed over.
//
// Addresses, names and keys in a capture tell who wears a device: they are for
// telling connections apart and are never printed by this package.
//
// This API is stable.
package ble
