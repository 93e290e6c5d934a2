// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import "strings"

// A Baseline is what is expected in a network: without one, nothing can be
// called unexpected with confidence. The nil Baseline expects nothing and
// therefore answers no question with yes.
type Baseline struct {
	Links  map[Link]bool     // who may talk to whom
	Guards map[string]string // address of a guarded device -> address of its guard
	Names  map[string]bool   // DICOM application entities that may be sent records
}

// A Link is a client, a server and a protocol; "" stands for any.
type Link struct{ Client, Server, Protocol string }

// link reports whether a conversation with one of the protocols is expected.
func (b *Baseline) link(client, server, protocols string) bool {
	if b == nil {
		return false
	}
	if b.Links[Link{client, server, ""}] {
		return true
	}
	for p := range strings.SplitSeq(protocols, " ") {
		if p != "" && b.Links[Link{client, server, p}] {
			return true
		}
	}
	return false
}

// commands reports whether a station may command a therapy: it has a link to
// the device with a protocol that carries commands.
func (b *Baseline) commands(client, server string) bool {
	return b.link(client, server, "hl7 sdc fhir http")
}

// serves reports whether an address is expected to serve a protocol.
func (b *Baseline) serves(server, protocol string) bool {
	if b == nil {
		return false
	}
	for l, ok := range b.Links {
		if ok && l.Server == server && (l.Protocol == protocol || l.Protocol == "") {
			return true
		}
	}
	return false
}

func (b *Baseline) name(aet string) bool { return b != nil && b.Names[aet] }
