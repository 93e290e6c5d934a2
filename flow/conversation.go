// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/myelin-health/myelin/wire"

// A Side is one end of a conversation. As a direction it is the sender.
type Side uint8

// The sides. The client sent the first packet, or, where the beginning was not
// captured, has the port that looks less like a service.
const (
	Client Side = iota
	Server
)

// Other returns the other side.
func (s Side) Other() Side { return s ^ 1 }

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr wire.Addr
	Port uint16
}
