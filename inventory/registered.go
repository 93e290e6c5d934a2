// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
)

// A Match says which device that was seen is one that somebody registered, and
// why. Device is -1 when none is.
type Match struct {
	Device int
	Why    string
}

// MatchRegistered finds devices again in a register. Manufacturer, model and serial number
// count before hardware identifiers, and these before network names, which pass
// from machine to machine; an identity that two entries or two devices have says
// nothing. Nobody is taken for an entry of another make, model or serial number.
// The result does not depend on the order of either list.
func MatchRegistered(devices []device.Device, entries []device.Identity) []Match {
	out := make([]Match, len(entries))
	for i := range out {
		out[i].Device = -1
	}
	taken := make([]bool, len(devices))
	for _, by := range [...]struct {
		why  string
		seen func(*device.Device) []string
		told func(*device.Identity) []string
	}{
		{
			"the same manufacturer, model and serial number",
			func(d *device.Device) []string { return makeOf(d.Manufacturer, d.Model, d.Serial) },
			func(e *device.Identity) []string { return makeOf(e.Manufacturer, e.Model, e.Serial) },
		},
		{"the same hardware identifier", addresses(device.EUI64), told(device.EUI64)},
		{"the same hardware address", addresses(device.MAC), told(device.MAC)},
		{"the same AE title", addresses(device.AET), told(device.AET)},
		{"the same IP address", addresses(device.IP), told(device.IP)},
		{"the same host name", addresses(device.Host), told(device.Host)},
	} {
		seen := unique(len(devices), func(i int) []string { return by.seen(&devices[i]) })
		known := unique(len(entries), func(i int) []string { return by.told(&entries[i]) })
		// One that both a list of devices and one of entries could take goes to nobody.
		claim := map[int]int{}
		for name, e := range known {
			d, ok := seen[name]
			if !ok || e < 0 || d < 0 || taken[d] || out[e].Device >= 0 || !may(&devices[d], &entries[e]) {
				continue
			}
			if had, ok := claim[d]; ok && had != e {
				e = -1
			}
			claim[d] = e
		}
		wanted := map[int]int{}
		for _, e := range claim {
			wanted[e]++
		}
		for d, e := range claim {
			if e >= 0 && wanted[e] == 1 {
				out[e] = Match{d, by.why}
				taken[d] = true
			}
		}
	}
	return out
}

// unique returns who has a name, and -1 where several have it.
func unique(n int, names func(int) []string) map[string]int {
	m := map[string]int{}
	for i := range n {
		for _, name := range names(i) {
			if had, ok := m[name]; ok && had != i {
				m[name] = -1
				continue
			}
			m[name] = i
		}
	}
	return m
}

func makeOf(manufacturer, model, serial string) []string {
	if manufacturer == "" || model == "" || serial == "" {
		return nil
	}
	return []string{folded(manufacturer) + "\x00" + folded(model) + "\x00" + folded(serial)}
}

func addresses(k device.AddressKind) func(*device.Device) []string {
	return func(d *device.Device) []string { return spelled(d.Addresses, k) }
}

func told(k device.AddressKind) func(*device.Identity) []string {
	return func(e *device.Identity) []string { return spelled(e.Addresses, k) }
}

// spelled returns addresses of a kind as they are compared. Of host names the
// first part counts: registers rarely have the domain.
func spelled(list []device.Address, k device.AddressKind) (out []string) {
	for _, a := range list {
		if a.Kind != k {
			continue
		}
		v := folded(a.Value)
		switch k {
		case device.Host:
			v, _, _ = strings.Cut(v, ".")
		case device.EUI64, device.MAC:
			v = strings.NewReplacer(":", "", "-", "", ".", "").Replace(v)
		}
		if v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// may reports whether nothing speaks against a device being an entry's: what
// both name is not another.
func may(d *device.Device, e *device.Identity) bool {
	serial := d.Serial == "" || e.Serial == "" || folded(d.Serial) == folded(e.Serial)
	model := d.Model == "" || e.Model == "" || within(folded(d.Model), folded(e.Model))
	return serial && model
}

// within reports whether one of two names holds the other: a register may write
// "Norra Flow 500" where the pump says "Flow 500".
func within(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) }

func folded(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
