// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package coap puts EDHOC and OSCORE on the air: CoAP (RFC 7252) over UDP or over
// a byte pipe, where a handshake is a few requests to /.well-known/edhoc (RFC
// 9528 appendix A.2) and everything behind it is protected end to end (RFC 8613).
//
// An [Endpoint] is one party: its keys, its sessions, what it serves. A [Conn] is
// one peer that it exchanges messages with. Both ends of a Conn may ask and
// answer, and either may begin the handshake:
//
//	client                                   server
//	Endpoint.Dial, Endpoint.Attach           Endpoint.Serve, Endpoint.Attach
//	Conn.Handshake, Conn.HandshakeReverse    (answers by itself)
//	Conn.Get, Post, Put, Do, Observe         Config.Handler, Endpoint.Notify
//
// The message layer (retransmission, acknowledgement, which message is a repeat)
// is that of github.com/plgd-dev/go-coap. Messages are protected above it, once
// each: what is sent again are the same bytes. Its block-wise transfer is off.
//
// What is not protected is a hint and no more. An error response without OSCORE
// ends one request, never a session, and whoever waits for the answer goes on
// waiting for a while.
//
// Left out: TCP and multicast, group OSCORE, proxies, RFC 9177's blocks. A command
// that has to prove that it is made now fits one message.
//
// This API is stable.
package coap
