// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/watch"
)

// traffic is what was seen of one device.
type traffic struct {
	*device.Device
	sessions []*watch.Session   // recognised by what was said in them
	records  []*finding.Finding // of patient data that it sent in clear
	others   []*finding.Finding // about it
	outside  map[string]bool    // addresses of hosts that are not the hospital's
}

// evidence is what traffic shows: with the finding that it was seen by, or the
// session. Without what, nothing.
type evidence struct {
	what    string // "it is on Bluetooth LE"
	key     string // the same without addresses: it tells one cause from another
	finding *finding.Finding
	session *watch.Session
}

// places are where to look for it.
func (e *evidence) places() []finding.Sighting {
	switch {
	case e.finding != nil:
		return e.finding.Sightings
	case e.session != nil && e.session.First.Packet > 0:
		at := e.session.First
		at.Note = e.what
		return []finding.Sighting{at}
	}
	return nil
}

// denials say what shows that a device has a capability: it contradicts a form
// that denies it. Of the other capabilities traffic cannot show that they are
// there: whether a port is a cable's or a radio's, who in a hospital may connect,
// what a log holds.
var denials = map[register.Capability]func(*traffic) evidence{
	register.SendsPersonalData:        (*traffic).anyRecords,
	register.SendsPersonalDataByAir:   (*traffic).recordsByAir,
	register.SendsPersonalDataOutside: (*traffic).recordsOutside,
	register.SecuresTransmission:      func(t *traffic) evidence { return t.secured(medicalProtocols) },
	register.Wireless:                 func(t *traffic) evidence { return t.onAir(device.BLE, device.Radio) },
	register.Bluetooth:                func(t *traffic) evidence { return t.onAir(device.BLE) },
	register.OtherRadio:               func(t *traffic) evidence { return t.onAir(device.Radio) },
	register.TalksInside:              func(t *traffic) evidence { return t.talks(false) },
	register.TalksOutside:             func(t *traffic) evidence { return t.talks(true) },
	register.CallsAPI:                 func(t *traffic) evidence { return t.spoke("fhir") },
	register.TLS:                      func(t *traffic) evidence { return t.secured(overTLS) },
	register.RemoteService:            (*traffic).served,
	register.SynchronisesTime:         (*traffic).asksTime,
}

// unused say what shows that a device does without a capability that it has.
var unused = map[register.Capability]func(*traffic) evidence{
	register.EncryptsPersonalData: (*traffic).anyRecords,
	register.SecuresTransmission:  func(t *traffic) evidence { return t.inClear(medicalProtocols) },
	register.TLS:                  func(t *traffic) evidence { return t.inClear(overTLS) },
}

var (
	medicalProtocols = []string{"dicom", "hl7", "sdc", "fhir"}
	overTLS          = []string{"dicom", "hl7", "sdc", "fhir", "http", "ftp", "ldap", "mqtt", "syslog"}
	remoteControl    = []string{"rdp", "vnc", "ssh", "telnet"}

	// datagrams reach a device whether or not it answers.
	datagrams = []string{"bacnet", "coap", "dhcp", "dns", "netbios", "ntp", "snmp", "ssdp", "syslog"}
)

func (t *traffic) anyRecords() evidence {
	return t.sent(func(*finding.Finding) bool { return true }, "patient data in clear", "records")
}

func (t *traffic) recordsByAir() evidence {
	return t.sent(func(x *finding.Finding) bool { return x.Protocol == "gatt" || x.Protocol == "radio" }, "patient data in clear over the air", "records by air")
}

func (t *traffic) recordsOutside() evidence {
	return t.sent(func(x *finding.Finding) bool {
		return t.outside[x.Peer] && len(x.Peers) <= 1 // of several nobody knows who got which
	}, "patient data in clear to an address outside", "records outside")
}

func (t *traffic) sent(which func(*finding.Finding) bool, what, key string) evidence {
	for _, x := range t.records {
		if which(x) {
			return evidence{what: what + ", over " + x.Protocol, key: key, finding: x}
		}
	}
	return evidence{}
}

func (t *traffic) onAir(kinds ...device.AddressKind) evidence {
	for _, a := range t.Addresses {
		if slices.Contains(kinds, a.Kind) {
			e := evidence{what: map[device.AddressKind]string{device.BLE: "it is on Bluetooth LE", device.Radio: "it is on a radio"}[a.Kind], key: a.Kind.String()}
			for _, s := range t.sessions {
				if s.Client == a || s.Server == a {
					e.session = s
					return e
				}
			}
			for _, x := range t.others { // who only advertises has no session
				if x.Protocol == "gatt" || x.Protocol == "radio" || x.Kind == finding.BLETrackableAddress || x.Kind == finding.BLEIdentityInAdvertising {
					e.finding = x
					return e
				}
			}
			return e
		}
	}
	return evidence{}
}

// seen returns the first session that is as wanted; client says which side the
// device is.
func (t *traffic) seen(key string, is func(s *watch.Session, client bool, peer string) bool) evidence {
	for _, s := range t.sessions {
		client := slices.Contains(t.Addresses, s.Client)
		peer, way := s.Client.Value, " from "
		if client {
			peer, way = s.Server.Value, " to "
		}
		if is(s, client, peer) {
			return evidence{what: s.Protocol + way + peer, key: key, session: s}
		}
	}
	return evidence{}
}

func (t *traffic) talks(outside bool) evidence {
	key := "inside"
	if outside {
		key = "outside"
	}
	return t.seen(key, func(s *watch.Session, client bool, peer string) bool {
		return t.outside[peer] == outside && !s.Server.OnAir() && (client || !slices.Contains(datagrams, s.Protocol)) && (outside || !plain[s.Protocol] || s.Protocol == "tls")
	})
}

func (t *traffic) spoke(protocol string) evidence {
	return t.seen(protocol, func(s *watch.Session, _ bool, _ string) bool { return s.Protocol == protocol })
}

func (t *traffic) secured(protocols []string) evidence {
	e := t.seen("encrypted", func(s *watch.Session, _ bool, _ string) bool {
		return s.Encrypted && slices.Contains(protocols, s.Protocol)
	})
	if e.what == "" && slices.Contains(protocols, "http") { // which are all that use TLS
		e = t.seen("encrypted", func(s *watch.Session, _ bool, _ string) bool { return s.Protocol == "tls" })
	}
	return e
}

func (t *traffic) inClear(protocols []string) evidence {
	return t.seen("clear", func(s *watch.Session, client bool, _ string) bool {
		return !s.Encrypted && slices.Contains(protocols, s.Protocol) && (client || !slices.Contains(datagrams, s.Protocol))
	})
}

func (t *traffic) served() evidence {
	return t.seen("served", func(s *watch.Session, client bool, _ string) bool {
		return !client && slices.Contains(remoteControl, s.Protocol)
	})
}

func (t *traffic) asksTime() evidence {
	return t.seen("time", func(s *watch.Session, client bool, _ string) bool { return client && s.Protocol == "ntp" })
}

// disclosed holds what was seen against what makers disclosed (MDS2).
func (f *fleet) disclosed(r *watch.Result) (out []finding.Finding) {
	if len(f.statements) == 0 {
		return nil
	}
	sessions, outside := map[device.Address][]*watch.Session{}, map[string]bool{}
	for i := range r.Sessions {
		s := &r.Sessions[i]
		if s.Inferred || s.Protocol == "" {
			continue
		}
		for _, a := range [...]device.Address{s.Client, s.Server} {
			sessions[a] = append(sessions[a], s)
		}
	}
	for i := range f.devices {
		if d := &f.devices[i]; d.Role == device.Outside {
			for _, a := range d.Addresses {
				outside[a.Value] = true
			}
		}
	}
	for i := range f.devices {
		t := &traffic{Device: &f.devices[i], outside: outside}
		if t.Unseen || t.Model == "" {
			continue
		}
		form, sure, but := f.form(t.Device)
		if form == nil {
			continue
		}
		for _, a := range t.Addresses {
			t.sessions = append(t.sessions, sessions[a]...)
		}
		for j := range r.Findings {
			x := &r.Findings[j]
			switch {
			case x.Device != t.ID:
			case x.Kind == finding.PHIInClear:
				t.records = append(t.records, x)
				fallthrough
			default:
				t.others = append(t.others, x)
			}
		}
		out = append(out, f.against(t, form, sure, but)...)
	}
	return out
}

// form returns the maker's statement about a device, the surest and of these the
// latest, and what makes it less sure. A form is of one version, where its name
// of the product has one: about another it says nothing for certain.
func (f *fleet) form(d *device.Device) (form *register.MDS2, sure match.Certainty, but string) {
	rank := func(c match.Certainty) int {
		return slices.Index([]match.Certainty{match.Review, match.Likely, match.Exact}, c)
	}
	versions := map[string]bool{}
	for _, m := range f.statements {
		c := match.Shipped().SameProduct(match.Product{Manufacturer: m.Manufacturer, Model: m.Model}, match.Product{Manufacturer: d.Manufacturer, Model: d.Model})
		if c != match.Exact && c != match.Likely {
			continue
		}
		versions[m.Version] = true
		why := ""
		switch {
		case m.Version == "" || m.Of(d.Version):
		case d.Version == "":
			c, why = match.Likely, "its MDS2 is of version "+m.Version+", and this device's is unknown"
		default:
			c, why = match.Review, "its MDS2 is of version "+m.Version+", and this device has "+d.Version
		}
		better := form == nil || rank(c) > rank(sure)
		if form != nil && c == sure {
			if better = m.Released > form.Released; c == match.Exact && (m.Version == "") != (form.Version == "") {
				better = m.Version != ""
			}
		}
		if better {
			form, sure, but = m, c, why
		}
	}
	if but != "" && d.Version == "" && len(versions) > 1 {
		sure, but = match.Review, "there are forms of several versions, and this device's is unknown"
	}
	return form, sure, but
}

// see adds a place, once. A form says when nothing: it has no part in when a
// finding was seen first.
func see(x *finding.Finding, s finding.Sighting) {
	if slices.Contains(x.Sightings, s) {
		return
	}
	first := x.First
	if x.Add(s); first == 0 || s.Time == 0 {
		x.First = max(first, s.Time)
	}
}

// against holds one device against its form: one finding of each thing seen that
// the form denies, and one of all that it does without.
func (f *fleet) against(t *traffic, form *register.MDS2, sure match.Certainty, but string) []finding.Finding {
	var out []finding.Finding
	of := map[string]int{} // by cause, into out
	var places []string    // in the form, of the first answer of each
	note := func(kind finding.Kind, c register.Capability, key string, e evidence, answer register.Answer, ids []string) {
		i, known := of[kind.String()+key]
		if !known {
			x := f.paper(kind, t.Device, "", strings.Join(strings.Fields(t.Manufacturer+" "+t.Model+" "+t.Version), " "), "", sure)
			x.Device, x.Exposed, x.ID = t.ID, f.exposed[t.ID], finding.IDOf(kind, t.ID, key)
			if x.Confidence = confidence[sure]; sure == match.Review {
				x.Title = "To review: " + x.Title
			}
			if but != "" {
				x.Why = []string{but}
			}
			i, out = len(out), append(out, x)
			of[kind.String()+key] = i
			places = append(places, "its answer to "+strings.Join(ids, ", "))
		}
		x := &out[i]
		x.Why = once(x.Why, fmt.Sprintf("its MDS2 answers %s to %q (%s)", answer, c, strings.Join(ids, ", ")), maxWhy)
		x.Why = once(x.Why, "seen: "+e.what, maxWhy)
		for _, id := range ids {
			if q := form.Question(id); q != nil {
				see(x, finding.Sighting{Input: f.from[form], Note: fmt.Sprintf("row %d of the form: %s, answered %s", q.Row, q.ID, answer)})
			}
		}
		for _, s := range e.places() {
			see(x, s)
		}
		if x.Protocol != "" {
			return
		}
		if e.finding != nil {
			x.Peer, x.Peers, x.Protocol = e.finding.Peer, e.finding.Peers, e.finding.Protocol
		} else if e.session != nil {
			x.Protocol = e.session.Protocol
		}
	}
	for _, c := range register.Capabilities() {
		answer, ids := form.Says(c)
		info := c.Info()
		if see := denials[c]; see != nil && info.Denied && answer == register.No {
			if e := see(t); e.what != "" {
				note(finding.MDS2Contradicted, c, e.key, e, answer, ids)
			}
		}
		if see := unused[c]; see != nil && info.Unused && answer == register.Yes {
			if e := see(t); e.what != "" {
				note(finding.MDS2CapabilityUnused, c, "", e, answer, ids)
			}
		}
	}
	for i := range out { // what has packets is looked up there
		if x := &out[i]; x.Count == 0 {
			x.Add(finding.Sighting{Input: f.from[form], Note: places[i]})
		}
	}
	return out
}
