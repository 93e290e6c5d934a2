// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/hl7"
	"github.com/myelin-health/myelin/guard/tcp"
)

// A Standing is what would be done with the commands for a device.
type Standing struct {
	Device    Device
	Enforcing bool
	Because   string // why it would only be observed
	Fronts    []string
}

// Standings says of each device whether its envelope would be enforced.
func (c *Configuration) Standings() []Standing {
	var out []Standing
	for _, d := range c.Devices {
		s := Standing{Device: d}
		s.Enforcing, s.Because = d.Envelope.Enforcing()
		for _, p := range c.Fronts {
			if slices.Contains(devicesOf(p), d.ID) {
				s.Fronts = append(s.Fronts, p.Common().Name)
			}
		}
		out = append(out, s)
	}
	return out
}

// A Risk is something that is allowed in the configuration, and that somebody
// should know of.
type Risk struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// sampleSalt is in the hashes of examples/guard.
const sampleSalt = "VU8yHCmH1tumGOErEFYDDg"

// fewWords is how short a bypass is that nobody could follow at night.
const fewWords = 4

// Risks says what is risky in a configuration that is right, in order of the lines.
func (c *Configuration) Risks() (risks []Risk) {
	add := func(line int, format string, args ...any) {
		risks = append(risks, Risk{line, fmt.Sprintf(format, args...)})
	}
	for _, p := range c.Fronts {
		s := p.Common()
		o := s.Outside()
		switch {
		case s.Kind == "coap" || s.Kind == "egress":
		case o.TLS == nil:
			add(s.Position, "front %s talks in clear on its outside: %s", s.Name, o.Clear)
		case s.Server && o.TLS.ClientAuth != tls.RequireAndVerifyClientCert:
			add(s.Position, "front %s asks those who call it for no certificate: whoever reaches it is let in as nobody", s.Name)
		}
		if !s.Server {
			for _, text := range inTheWay(p) {
				add(s.Position, "front %s %s", s.Name, text)
			}
		}
		if h, ok := p.(*hl7.Policy); ok { // on its ways back the device calls, too
			for _, name := range slices.Sorted(maps.Keys(h.Returns)) {
				back := h.Returns[name]
				for _, text := range inTheWay(&back) {
					add(s.Position, "front %s: the way back %s %s", s.Name, name, text)
				}
			}
		}
		if s.Mode == front.Observe {
			add(s.Position, "front %s only observes: its lists refuse nothing", s.Name)
		}
		if everywhere(s.Listen.Address) {
			add(s.Position, "front %s listens on all addresses of the machine; name the one that it is for", s.Name)
		}
		if len(strings.Fields(s.Bypass)) < fewWords {
			add(s.Position, "front %s: its bypass is hardly a sentence; say who moves which cable or address where", s.Name)
		}
	}
	if c.Server != nil && c.Server.Confirms {
		add(c.Server.line, "people at the server confirm what is held here: who rules that server, or a clinician's account there, can too")
	}
	var clinical []string
	for _, p := range c.People {
		if phc.EncodeToString(p.password.salt) == sampleSalt {
			add(p.line, "person %s has the password of the sample, which everybody knows", p.ID)
		}
		if p.Clinical != envelope.NoClinicalRole {
			clinical = append(clinical, p.ID)
		}
	}
	for _, s := range c.Standings() {
		if len(s.Fronts) == 0 {
			add(s.Device.line, "device %s stands behind no front", s.Device.ID)
		}
		if e := s.Device.Envelope; e != nil {
			if e.Therapies.Has(device.DrugInfusion) && (e.Weight.IsNone() || e.Concentration.IsNone()) {
				add(s.Device.line, "device %s: its envelope states no weight or no concentration, so that each order's own count: who says ten times the weight, or a tenth of the concentration, has ten times the flow pass", s.Device.ID)
			}
			if e.Interruption != 0 && !withholds(e) {
				add(s.Device.line, "device %s: its envelope has an interruption, and neither a lowest sum nor a least rate: what is nearly nothing is no interruption", s.Device.ID)
			}
		}
		if e := s.Device.Envelope; e != nil && waits(e) {
			switch {
			case c.Page == nil:
				add(s.Device.line, "device %s has commands that wait for a second person, and there is no page: they can only expire", s.Device.ID)
			case len(clinical) < 2:
				add(s.Device.line, "device %s has commands that wait for a second person, and fewer than two people are in a clinical role", s.Device.ID)
			}
		}
	}
	if p := c.Page; p != nil && everywhere(p.Listen) {
		add(p.line, "the page listens on all addresses of the machine; name the one of the clinical network")
	}
	for _, f := range []string{c.Ledger.Key, c.pageKey()} {
		if st, err := os.Stat(f); f != "" && err == nil && st.Mode().Perm()&0o077 != 0 {
			add(1, "others may read the private key %s (mode %04o); chmod 600 mends it", f, st.Mode().Perm())
		}
	}
	slices.SortStableFunc(risks, func(a, b Risk) int { return a.Line - b.Line })
	return risks
}

// inTheWay says what of a front that protects a client may be in the way of an alarm.
func inTheWay(p front.Policy) (texts []string) {
	s := p.Common()
	switch {
	case s.Kind == "coap":
		texts = append(texts, "hears nobody but the addresses in from of inside: of a device whose address has changed no alarm comes through")
	case len(s.From) == 0:
		texts = append(texts, "has no from: whoever is on the device's network can take all of its places, and an alarm of the device finds none; say which addresses are the device's")
	}
	for _, n := range s.From {
		if n.Addr().BitLen()-n.Bits() > 8 {
			texts = append(texts, fmt.Sprintf("takes all of %s for the device's own addresses: whoever is there can take its places", n))
		}
	}
	if t := s.Listen.TLS; t != nil && t.ClientAuth == tls.RequireAndVerifyClientCert {
		texts = append(texts, "asks the device for a certificate: when that has expired, no alarm of it comes in")
	}
	if e, ok := p.(*tcp.EgressPolicy); ok && len(e.Peers) > 0 {
		texts = append(texts, "refuses who is not in peers, and so a device whose address has changed")
	}
	return texts
}

func (c *Configuration) pageKey() string {
	if c.Page == nil {
		return ""
	}
	return c.Page.key
}

// waits reports whether an envelope has commands that wait for a second person.
func waits(e *envelope.Envelope) bool {
	return slices.ContainsFunc(e.Verbs, func(l envelope.Limits) bool { return l.Confirm == envelope.SecondPerson })
}

// everywhere reports whether an address is all of a machine's.
func everywhere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

// withholds reports whether an envelope refuses a rate that is nearly nothing.
func withholds(e *envelope.Envelope) bool {
	for _, s := range e.Sums {
		if !s.Lowest.IsNone() {
			return true
		}
	}
	for _, l := range e.Verbs {
		switch l.Verb {
		case device.SetInfusionRate, device.SetBasalRate, device.SetTemporaryBasal:
			if l.Min.IsNone() {
				return false
			}
		}
	}
	return true
}
