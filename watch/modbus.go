// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/modbus"
	"github.com/myelin-health/myelin/wire"
)

// A modbusObserver follows one Modbus connection. What a register means only
// the maker knows, so that writes are not commands here.
type modbusObserver struct {
	unit                uint8 // who identified itself first; others are behind a gateway
	identified          bool
	vendor, model, code string // noted, with the revision
	revision            string
}

func newModbusObserver() observer { return new(modbusObserver) }

func (o *modbusObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		a, size, err := modbus.Parse(b[n:])
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err != nil:
			x.malformed(n, err)
			return ignore
		}
		if err := a.Check(); err != nil {
			x.malformed(n, err)
		} else if a.IsDeviceID() {
			o.identity(x, n+size-len(a.Data), &a)
		}
		n += size
	}
	return n
}

// identity takes an answer of Read Device Identification. A device may spread
// it over several answers.
func (o *modbusObserver) identity(x *exchange, off int, a *modbus.ADU) {
	var d modbus.DeviceID
	if err := d.Parse(a.Data); err != nil {
		x.malformed(off, err)
		return
	}
	if o.identified && a.UnitID != o.unit {
		return
	}
	o.identified, o.unit = true, a.UnitID
	was := *o
	for object := range d.Objects() {
		text := x.text(object.Value)
		switch object.ID {
		case modbus.VendorName:
			o.vendor = text
		case modbus.ProductCode:
			o.code = text
		case modbus.MajorMinorRevision:
			o.revision = text
		case modbus.ProductName, modbus.ModelName:
			if o.model == "" {
				o.model = text
			}
		}
	}
	if *o == was {
		return
	}
	model := o.model
	if model == "" {
		model = o.code
	}
	x.note(event.IdentitySeen, off, x.From, event.Text(event.Manufacturer, o.vendor),
		event.Text(event.Model, model), event.Text(event.Version, o.revision))
}

func (o *modbusObserver) gap(*exchange, int) bool { return false }

func (o *modbusObserver) close(*exchange) {}
