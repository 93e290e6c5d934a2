// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-health/myelin/guard/coap"
	"github.com/myelin-health/myelin/guard/dicom"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/hl7"
	"github.com/myelin-health/myelin/guard/http"
	"github.com/myelin-health/myelin/guard/tcp"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// A kind is a kind of front: how its part of guard.yaml is read, how it is made,
// and what else the guard has to know of it.
type kind struct {
	keys    []string // of its section
	network string   // on which it listens; "" is tcp
	read    func(r *strictyaml.Reader, s *strictyaml.Section, dir string) front.Policy
	make    func(env *front.Env, p front.Policy) front.Front
	propose func(p front.Policy, uses []front.Counted) []string // lines of its section, from what it learned; nil: it has no lists
	alone   func(front.Policy) bool                             // it has files that two of one name would spoil: a moved one begins when the old one has ended

	devices     func(front.Policy) []string   // for which it asks the gate, beside its own; nil: none
	listens     func(front.Policy) []string   // where else it listens; nil: nowhere
	emergencies func(front.Front) []emergency // that are open; nil: it has no break-glass
}

// An emergency is a break-glass session that is open.
type emergency struct {
	device, actor string
	until         time.Time
}

// kinds is the one table of kinds of front.
var kinds = map[string]kind{
	"coap":   coapKind(),
	"dicom":  kindOf(dicom.Keys, dicom.Read, dicom.New, proposeDICOM),
	"egress": kindOf(tcp.EgressKeys, tcp.ReadEgress, tcp.NewEgress, proposeEgress),
	"hl7":    hl7Kind(),
	"http":   httpKind(),
	"tcp":    kindOf(tcp.Keys, tcp.Read, tcp.New, proposeTCP),
}

func coapKind() kind {
	k := kindOf(coap.Keys, coap.Read, coap.New, nil)
	k.network = "udp"
	k.alone = func(front.Policy) bool { return true }
	k.emergencies = func(f front.Front) (all []emergency) {
		s, ok := f.(*coap.Front)
		if !ok { // before a device that calls nothing is opened
			return nil
		}
		for _, e := range s.Emergencies() {
			all = append(all, emergency{e.Device, e.Actor, e.Until})
		}
		return all
	}
	return k
}

func hl7Kind() kind {
	k := kindOf(hl7.Keys, hl7.Read, hl7.New, proposeHL7)
	k.alone = remembers
	k.devices = func(p front.Policy) []string { return p.(*hl7.Policy).Devices() }
	k.listens = func(p front.Policy) []string { return p.(*hl7.Policy).Listens() }
	return k
}

func httpKind() kind {
	k := kindOf(http.Keys, http.Read, http.New, proposeHTTP)
	k.alone = remembers
	return k
}

// remembers reports whether a front has a memory of orders, which go to servers.
func remembers(p front.Policy) bool { return p.Common().Server }

func kindNames() []string { return slices.Sorted(maps.Keys(kinds)) }

// kindOf makes a row of the table.
func kindOf[P front.Policy, F front.Front](keys []string, read func(*strictyaml.Reader, *strictyaml.Section, string) P, make func(*front.Env, P) F, propose func(P, []front.Counted) []string) kind {
	k := kind{
		keys: slices.Concat(front.Keys, keys),
		read: func(r *strictyaml.Reader, s *strictyaml.Section, dir string) front.Policy {
			p := read(r, s, dir)
			if r.Err() != nil {
				return nil
			}
			return p
		},
		make:  func(env *front.Env, p front.Policy) front.Front { return make(env, p.(P)) },
		alone: func(front.Policy) bool { return false },
	}
	if propose != nil {
		k.propose = func(p front.Policy, uses []front.Counted) []string { return propose(p.(P), uses) }
	}
	return k
}

// devicesOf are the ids of the devices for which a front asks the gate.
func devicesOf(p front.Policy) []string {
	ids := []string{p.Common().Device}
	if more := kinds[p.Common().Kind].devices; more != nil {
		ids = append(ids, more(p)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// listensOf are the addresses on which a front listens.
func listensOf(p front.Policy) []string {
	all := []string{p.Common().Listen.Address}
	if more := kinds[p.Common().Kind].listens; more != nil {
		all = append(all, more(p)...)
	}
	return all
}
