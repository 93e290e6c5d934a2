// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/watch"
)

// register brings in what the hospital wrote down: devices that were seen get
// the name and the place of their entry, and what it knows of them that they did
// not say; what was not seen becomes a device of its own.
func registered(devices []device.Device, entries []register.Entry) []device.Device {
	ids := make([]device.Identity, len(entries))
	for i := range entries {
		ids[i] = entries[i].Identity
	}
	for i, m := range inventory.MatchRegistered(devices, ids) {
		e := &entries[i]
		if m.Device < 0 {
			devices = append(devices, written(e))
			continue
		}
		name(&devices[m.Device], e)
	}
	return devices
}

// name gives a device what its entry in the register says. What the device says
// itself counts more: a register is as old as its last stocktaking.
func name(d *device.Device, e *register.Entry) {
	shown := e.Shown()
	d.Name, d.Ward = shown.ID, shown.Ward
	if d.Model == "" {
		d.Manufacturer, d.Model = shown.Manufacturer, shown.Model
	}
	if same(d.Model, shown.Model) {
		d.Manufacturer = cmp.Or(d.Manufacturer, shown.Manufacturer)
		d.Version = cmp.Or(d.Version, shown.Version)
		d.Serial = cmp.Or(d.Serial, shown.Serial)
	}
	d.OS = cmp.Or(d.OS, shown.OS)
	d.ProductCode = cmp.Or(d.ProductCode, shown.ProductCode)
	d.Class = cmp.Or(d.Class, shown.Class)
	if d.Therapy == device.NoTherapy && shown.Therapy != device.NoTherapy {
		d.Therapy, d.Harm = shown.Therapy, max(d.Harm, shown.Therapy.Harm())
	}
	d.Medical = d.Medical || medical(d.Therapy, d.Class)
	if d.Medical && d.Model != "" {
		d.Confidence = device.High
	}
	if d.Role == device.Outside {
		d.Role = "" // the hospital says that it is its own
	}
}

// written returns an entry that was not seen as a device.
func written(e *register.Entry) device.Device {
	d := device.Device{Unseen: true, Addresses: slices.Clone(e.Shown().Addresses), Protocols: []string{}}
	name(&d, e)
	d.ID = device.IDOf("register", d.Name, d.Manufacturer, d.Model)
	return d
}

// medical reports whether something of a therapy is a medical device: of what
// keeps records only the archive is.
func medical(t device.Therapy, class string) bool {
	return t != device.NoTherapy && (t != device.Records || class == "archive")
}

func same(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// exposed says how each device, by its id, was seen talking where everybody on
// the way can read and change it: "talks hl7 in clear", or a gateway does for it.
func exposed(devices []device.Device, sessions []watch.Session) map[string]string {
	clear := map[device.Address][]string{}
	for i := range sessions {
		s := &sessions[i]
		if s.Encrypted || s.Inferred || s.Protocol == "" || plain[s.Protocol] {
			continue
		}
		for _, a := range [...]device.Address{s.Client, s.Server} {
			if !slices.Contains(clear[a], s.Protocol) {
				clear[a] = append(clear[a], s.Protocol)
			}
		}
	}
	out := map[string]string{}
	for i := range devices {
		d := &devices[i]
		var own []string
		for _, a := range d.Addresses {
			own = append(own, clear[a]...)
		}
		how := ""
		if own == nil {
			own, how = slices.Clone(clear[d.Via]), ", through a gateway"
		}
		if own == nil {
			continue
		}
		slices.Sort(own)
		out[d.ID] = "seen talking in clear (" + strings.Join(slices.Compact(own), ", ") + ")" + how
	}
	return out
}

// plain are the protocols that are in clear everywhere, and that say nothing
// about a device's protection.
var plain = map[string]bool{"dns": true, "mdns": true, "ntp": true, "dhcp": true, "ssdp": true, "netbios": true, "arp": true, "tls": true}
