// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// DeviceLine says in one line what a device is and what it can do to a body,
// for those who watch a network as it is.
func DeviceLine(d *device.Device) string {
	parts := []string{Plain(cmp.Or(d.Class, d.Role, "station"))}
	if p := product(d); p != "" {
		parts = append(parts, p)
	}
	if d.Medical {
		parts = append(parts, bars(d.Harm)+" "+harmWord(d.Harm))
	}
	return full(d) + ": " + strings.Join(parts, ", ")
}

// FindingLine says in one line how urgent a finding is, about whom, what it is
// and where it was first seen. a has its device.
func FindingLine(a *Assessment, f *finding.Finding) string {
	who := cmp.Or(f.Device, f.Product, "unknown")
	for i := range a.Devices {
		if a.Devices[i].ID == f.Device {
			who = full(&a.Devices[i])
		}
	}
	line := fmt.Sprintf("%-8s %s: %s", lookOf(f.Decision), Plain(who), Plain(f.Title))
	if len(f.Sightings) > 0 && f.Sightings[0].Packet > 0 {
		line += fmt.Sprintf(", packet %d", f.Sightings[0].Packet)
	}
	return line
}
