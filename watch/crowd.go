// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strconv"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/gatt"
)

// maxStrangers is how many of one kind are told apart on the radio though hardly
// anything was heard of them: advertisers that nobody connected to, and addresses
// of a proprietary radio that were in one frame. Of more they are told as one,
// with how often something was heard, until there is more of one to hear: so
// whoever makes up addresses hides no device behind them.
const maxStrangers = 256

// A crowdKey is what strangers have in common.
type crowdKey struct {
	dialect string    // on a proprietary radio
	peer    bool      // there: they are not the devices
	service gatt.UUID // that they advertise
}

// A crowd is strangers of one kind.
type crowd struct {
	addr  device.Address // of those that are told as one
	apart int            // how many are not
	told  bool
	all   *uint64 // told as one, of all crowds
}

// crowdOf returns the strangers of a kind. There are as many kinds as dialects,
// twice, and services that are known.
func (a *air) crowdOf(k crowdKey, kind device.AddressKind) *crowd {
	c := a.crowds[k]
	if c == nil {
		if a.crowds == nil {
			a.crowds = make(map[crowdKey]*crowd)
		}
		name := map[device.AddressKind]string{device.BLE: "ble-others-", device.Radio: "radio-others-"}[kind]
		c = &crowd{addr: device.Address{Kind: kind, Value: name + strconv.Itoa(len(a.crowds)+1)}, all: &a.crowded}
		a.crowds[k] = c
	}
	return c
}

// join takes one more, and reports whether it is told with the others.
func (c *crowd) join() bool {
	if c.apart < maxStrangers {
		c.apart++
		return false
	}
	*c.all++
	return true
}

// leave lets one go that is no stranger any more, and reports whether it was
// told with the others by its address.
func (c *crowd) leave(addr device.Address) bool {
	if addr != c.addr {
		c.apart--
		return false
	}
	*c.all--
	return true
}
