// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"math/rand/v2"
	"testing"

	"github.com/myelin-health/myelin/device"
)

// TestMatchRegistered finds the ward's devices again in its register.
func TestMatchRegistered(t *testing.T) {
	at := func(list ...device.Address) []device.Address { return list }
	unit := func(maker, model, serial string, list ...device.Address) device.Device {
		return device.Device{Product: device.Product{Manufacturer: maker, Model: model}, Serial: serial, Addresses: list}
	}
	eui := func(v string) device.Address { return device.Address{Kind: device.EUI64, Value: v} }
	mac := func(v string) device.Address { return device.Address{Kind: device.MAC, Value: v} }
	ip := func(v string) device.Address { return device.Address{Kind: device.IP, Value: v} }
	aet := func(v string) device.Address { return device.Address{Kind: device.AET, Value: v} }
	host := func(v string) device.Address { return device.Address{Kind: device.Host, Value: v} }
	devices := []device.Device{
		0: unit("Norra Medical", "Flow 500", "", eui("ACDE48FFFE000303")),
		1: unit("Lumen Imaging", "Helia 64", "H64-77", ip("10.20.8.11"), aet("CT1"), host("ct-1.ada.example")),
		2: unit("Veltis", "M9", "", ip("10.20.3.31"), mac("00:00:5e:00:53:31")),
		3: unit("", "", "", ip("10.20.5.7"), host("lab-1")),
		4: unit("Halden Cardio", "Studio", "", ip("10.20.9.4")),
		5: unit("Aeris", "V2", "A-1", ip("10.20.3.32")),
	}
	entries := []struct {
		name string
		device.Identity
		want int
		why  string
	}{
		{"by its serial number, whatever the case", device.Identity{Manufacturer: "LUMEN imaging", Model: "helia  64", Serial: "h64-77", Addresses: at(ip("10.20.3.31"))}, 1, "the same manufacturer, model and serial number"},
		{"by its identifier, written otherwise", device.Identity{Model: "Norra Flow 500", Addresses: at(eui("ac-de-48-ff-fe-00-03-03"))}, 0, "the same hardware identifier"},
		{"by its hardware address before another's network address", device.Identity{Addresses: at(mac("0000.5e00.5331"), ip("10.20.9.9"))}, 2, "the same hardware address"},
		{"by the first part of its name", device.Identity{Model: "BG200", Addresses: at(host("LAB-1.ada.example"))}, 3, "the same host name"},
		{"another model has the address now", device.Identity{Model: "HomeLink", Addresses: at(ip("10.20.9.4"))}, -1, ""},
		{"another unit has the address now", device.Identity{Model: "V2", Serial: "A-2", Addresses: at(ip("10.20.3.32"))}, -1, ""},
		{"nothing to go by", device.Identity{Manufacturer: "Norra Medical", Model: "Flow 500"}, -1, ""},
	}
	for range 20 { // in any order
		order := rand.Perm(len(entries))
		shuffled := rand.Perm(len(devices))
		var ids []device.Identity
		for _, i := range order {
			ids = append(ids, entries[i].Identity)
		}
		var seen []device.Device
		for _, i := range shuffled {
			seen = append(seen, devices[i])
		}
		for k, m := range MatchRegistered(seen, ids) {
			e, got := entries[order[k]], -1
			if m.Device >= 0 {
				got = shuffled[m.Device]
			}
			if got != e.want || m.Why != e.why {
				t.Errorf("%s: device %d, %q; want %d, %q", e.name, got, m.Why, e.want, e.why)
			}
		}
	}
}

// Two entries with one address, or two devices: nobody can say which it is.
func TestMatchRegisteredTwice(t *testing.T) {
	x := []device.Address{{Kind: device.IP, Value: "10.20.3.31"}}
	y := []device.Address{{Kind: device.AET, Value: "CT1"}}
	for i, m := range MatchRegistered(
		[]device.Device{{Addresses: x}, {Addresses: y}, {Addresses: y}},
		[]device.Identity{{Addresses: x}, {Addresses: x}, {Addresses: y}},
	) {
		if m.Device >= 0 {
			t.Errorf("entry %d is device %d", i, m.Device)
		}
	}
}
