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

// A Link is a client, a server and a protocol; "" stands for any, "unknown"
// for one that is not recognised.
type Link struct{ Client, Server, Protocol string }

// link reports whether a conversation with one of the protocols is expected.
func (b *Baseline) link(client, server, protocols string) bool {
	if b == nil {
		return false
	}
	if b.Links[Link{client, server, ""}] {
		return true
	}
	if protocols == "" {
		protocols = "unknown"
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
	return b.link(client, server, "hl7 sdc fhir http gatt radio")
}

// between reports whether two addresses are expected to talk, whoever began.
func (b *Baseline) between(one, other, protocols string) bool {
	return b.link(one, other, protocols) || b.link(other, one, protocols)
}

// servers returns who is expected to serve a protocol; nil when the baseline
// says nothing of it. It walks over all links: ask once.
func (b *Baseline) servers(protocol string) map[string]bool {
	if b == nil {
		return nil
	}
	out, said := map[string]bool{}, false
	for l, ok := range b.Links {
		if ok && (l.Protocol == protocol || l.Protocol == "") {
			out[l.Server] = true
			said = said || l.Protocol == protocol
		}
	}
	if !said {
		return nil
	}
	return out
}

func (b *Baseline) name(aet string) bool { return b != nil && b.Names[aet] }
