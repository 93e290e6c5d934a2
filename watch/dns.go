// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"
	"hash/fnv"
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/dns"
	"github.com/myelin-health/myelin/wire"
)

// What of a name in front of its registered domain is long. People's names for
// things are under 30 characters, those of content networks under 50.
const (
	longName     = 50
	longTextName = 30 // of a type that can carry much back
)

// maxFacts is how many different facts one conversation may tell, unless its
// protocol has all devices talk in one.
const maxFacts = 64

// facts remembers what was said already in one conversation, by hash. Once it
// is full, nothing is new any more. The zero value holds maxFacts.
type facts struct {
	said  map[uint64]struct{}
	bound int
}

// fresh reports whether what the parts say was not said before.
func (f *facts) fresh(parts ...[]byte) bool {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	sum := h.Sum64()
	if _, ok := f.said[sum]; ok || len(f.said) >= max(f.bound, maxFacts) {
		return false
	}
	if f.said == nil {
		f.said = make(map[uint64]struct{})
	}
	f.said[sum] = struct{}{}
	return true
}

func (f *facts) held() int { return heldBy(f.said) }

// A dnsObserver reads DNS, multicast DNS and LLMNR. It keeps hashes of the names
// told so far.
type dnsObserver struct {
	told  facts
	asked [2]bool // this side has sent a query
	axfr  bool
	form  bool // which of the three was said
}

func (o *dnsObserver) held() int { return o.told.held() }

func newDNSObserver() observer { return new(dnsObserver) }

func (o *dnsObserver) data(x *exchange, b []byte) int {
	if x.conv.Proto == wire.ProtoUDP {
		o.message(x, 0, b)
		return len(b)
	}
	n := 0
	for n < len(b) {
		msg, size, err := dns.ParseStream(b[n:])
		if errors.Is(err, wire.ErrTruncated) {
			return n
		}
		n += size
		if !o.message(x, n-len(msg), msg) {
			return ignore // whatever this is, its lengths mean nothing
		}
	}
	return n
}

func (o *dnsObserver) gap(*exchange, int) bool { return false }

func (o *dnsObserver) close(*exchange) {}

// message reads a message at off and reports whether it is one.
func (o *dnsObserver) message(x *exchange, off int, b []byte) bool {
	m, err := dns.Parse(b)
	if err != nil {
		x.malformed(off, err)
		return false
	}
	if !o.form {
		o.form = true
		if name := map[uint16]string{5353: "mdns", 5355: "llmnr"}[x.conv.Server.Port]; name != "" {
			x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "dns"), event.Text(event.Version, name))
		}
	}
	o.asked[x.From] = o.asked[x.From] || !m.Response
	var said dnsIdentity
	var r dns.Record
	for m.Next(&r) {
		switch {
		case r.Section == dns.Question:
			o.question(x, off+r.Off, &m, &r, len(b))
		case m.Response && r.TTL > 0: // RFC 6762 section 10.1: 0 takes a record back
			o.answer(x, off+r.Off, &r, &said)
		}
	}
	if said.model != "" || said.class != "" {
		if o.told.fresh([]byte("identity"), []byte(said.maker), []byte(said.model), []byte(said.class)) {
			x.note(event.IdentitySeen, off, x.From, event.Text(event.Manufacturer, said.maker), event.Text(event.Model, said.model), event.Text(event.Class, said.class))
		}
	}
	if err := m.Err(); err != nil {
		x.malformed(off, err)
		return false
	}
	return true
}

// question looks for names that carry data. It is the asker's doing: an answer
// counts only where the question was not captured.
func (o *dnsObserver) question(x *exchange, off int, m *dns.Message, r *dns.Record, size int) {
	asker := x.From
	if m.Response {
		if asker = asker.Other(); o.asked[asker] {
			return
		}
	}
	if r.Type == dns.TypeAXFR && !o.axfr {
		o.axfr = true
		x.note(event.ProtocolSeen, off, asker, event.Text(event.Protocol, "dns"), event.Text(event.Version, "axfr"))
	}
	name := r.Name.Append(x.sh.scratch[:0])
	domain, rest := dns.RegisteredDomain(name)
	bound := longName
	switch {
	case string(domain) == "local" || bytes.HasSuffix(name, []byte(".local")) || bytes.HasSuffix(name, []byte(".arpa")):
		return // names of services, and of addresses backwards, are long by nature
	case r.Type == dns.TypeTXT, r.Type == dns.TypeNULL, r.Type == dns.TypeKEY, r.Type >= dns.TypePrivate && r.Type <= dns.TypePrivateEnd:
		bound = longTextName
	}
	if len(rest) < bound {
		return
	}
	// Escaped bytes look like more than they are: judge what was sent.
	labels, front := 0, bytes.Count(rest, []byte("."))-bytes.Count(rest, []byte(`\.`))+1
	var raw [256]byte
	data := raw[:0]
	for label := range r.Name.Labels() {
		if labels++; labels <= front {
			data = append(append(data, label...), '.')
		}
	}
	data = data[:max(len(data)-1, 0)]
	if len(data) < bound {
		return
	}
	x.note(event.NameQueried, off, asker, event.Text(event.Domain, x.text(domain)), event.Int(event.Length, len(data)),
		event.Int(event.Entropy, int(dns.Entropy(data)*100)), event.Int(event.Subject, x.hash(name)), event.Int(event.DataBytes, size))
}

// A dnsIdentity is what the records of one message say of their sender.
type dnsIdentity struct{ maker, model, class string }

// dnsServices are what devices with these services are (IANA's registry of
// service names).
var dnsServices = []struct{ service, class string }{
	{"_dicom._tcp.local", "imaging system"},
	{"_acr-nema._tcp.local", "imaging system"},
	{"_ipp._tcp.local", "printer"},
	{"_ipps._tcp.local", "printer"},
	{"_printer._tcp.local", "printer"},
	{"_pdl-datastream._tcp.local", "printer"},
	{"_uscan._tcp.local", "scanner"},
	{"_scanner._tcp.local", "scanner"},
	{"_raop._tcp.local", "media player"},
	{"_googlecast._tcp.local", "media player"},
	{"_axis-video._tcp.local", "camera"},
}

// dnsModels are the keys under which services give a make or model in TXT
// (RFC 6763 section 6.4; the keys are those of Bonjour printing, AirPlay's
// device info and Google's cast).
var dnsModels = []struct {
	key  string
	make bool
}{{"usb_MFG", true}, {"mfg", true}, {"manufacturer", true}, {"vendor", true}, {"usb_MDL", false}, {"model", false}, {"ty", false}, {"md", false}}

// answer takes names of addresses, and what a device says of its services.
func (o *dnsObserver) answer(x *exchange, off int, r *dns.Record, said *dnsIdentity) {
	var space [4 * 256]byte
	switch r.Type {
	case dns.TypeA, dns.TypeAAAA:
		ip, ok := netip.AddrFromSlice(r.Data)
		if !ok || ip.Is4() != (r.Type == dns.TypeA) || !ip.IsPrivate() && !ip.IsLinkLocalUnicast() {
			return
		}
		name := bytes.TrimSuffix(r.Name.Append(space[:0]), []byte(".local"))
		if len(name) == 0 || !o.told.fresh(r.Data, name) {
			return
		}
		about, peer := x.sh.address(wire.AddrFrom(ip)), x.addr(x.From)
		if about == peer {
			peer = x.addr(x.From.Other())
		}
		x.noteAddr(event.NameSeen, off, about, peer, event.Int(event.AddressKind, device.Host),
			event.Text(event.Name, x.text(name)), event.Text(event.Protocol, "dns"))
	case dns.TypePTR, dns.TypeSRV:
		name := r.Name.Append(space[:0])
		for _, s := range dnsServices {
			// The service itself, or an instance of it.
			if said.class == "" && bytes.HasSuffix(name, []byte(s.service)) {
				said.class = s.class
			}
		}
	case dns.TypeTXT:
		if name := r.Name.Append(space[:0]); !bytes.HasSuffix(name, []byte(".local")) {
			return // what a domain says of its mail is not a device's identity
		}
		for s := range r.Strings() {
			key, value, _ := bytes.Cut(s, []byte("="))
			for _, k := range dnsModels {
				switch {
				case len(value) == 0 || !bytes.EqualFold(key, []byte(k.key)):
				case k.make && said.maker == "":
					said.maker = x.text(value)
				case !k.make && said.model == "":
					said.model = x.text(value)
				}
			}
		}
	}
}
