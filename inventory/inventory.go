// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package inventory decides which identities are one device. What is said of
// each address is collected in a [Register]; [Register.Devices] is a pure
// function of that and of the joins that somebody has undone, and tells for
// each join why it was made.
//
// Identities have strength. Manufacturer, model and serial number together, or
// a UDI with a serial number, always join. A hardware address joins the IP
// addresses that are claimed for it and for no other (ARP, DHCP), unless it is
// locally administered or is seen with several serial numbers. Names never
// join by themselves: an attacker chooses them freely.
//
// This API follows the server and may change.
package inventory

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
)

// The bounds of a register.
const (
	maxEntries = 49152
	maxClaims  = 8  // different ones of one address
	maxNames   = 16 // of one address
	maxWords   = 32 // protocols of one address
	maxMACs    = 4  // of one address; more than one is already contested
	maxHops    = 4  // gateways behind gateways

	maxUnplaced = 4096     // devices that were only spoken of
	maxSaid     = 16 << 20 // bytes of all claims and names
)

// A Claim is what is said of the device at an address. Empty fields say nothing.
type Claim struct {
	Manufacturer, Model, Serial, Version, OS, Class, UDI, ProductCode string
	Therapy                                                           device.Therapy
}

// A Register collects what is said of addresses. It is bounded: when it is
// full, it gives up the poorest quarter of its entries, those of which least is
// known, and counts them in Dropped. When too much is said, a quarter of those
// go of which something is, but that they treat nobody.
type Register struct {
	Catalogue *device.Catalogue // what products and their codes mean; nil: Myelin's own table
	Dropped   uint64
	entries   map[device.Address]*Entry
	said      int // bytes of all claims and names
	wait      int // how many are refused until it is worth looking for room again
	unplaced  int // entries whose address is only a name that nobody else has
}

// An Entry is what is known of one address.
type Entry struct {
	addr        device.Address
	ip          netip.Addr // of an IP address
	first, last int64
	sent        bool // it was heard itself, not only spoken to
	claims      []counted
	names       []device.Address
	owned       []string // the hardware addresses that claim it
	framed      []string // the hardware addresses in its frames, perhaps routers'
	protocols   []string
	served      []string // protocols of which it was the server
	behind      []device.Address
	harm        device.Harm // known better than from the kind of therapy
	stored      *Claim      // the maker of all the objects that it stored, which need not be itself
	passes      bool        // it passes on what several others made
	wanted      bool        // a finding is about it
	said        int         // bytes of claims and names
}

type counted struct {
	Claim
	n int
}

// NewRegister returns an empty register.
func NewRegister() *Register { return &Register{entries: make(map[device.Address]*Entry)} }

// At returns the entry of an address, new or as it was, or nil: when the
// address cannot be one device's. The entry's methods do nothing on nil. An
// address of no kind is that of a device that was only spoken of: its value
// tells it from others, and is not shown.
func (r *Register) At(a device.Address, now int64) *Entry {
	if e := r.entries[a]; e != nil {
		e.seen(now)
		return e
	}
	if !a.Single() {
		return nil
	}
	ip, _ := netip.ParseAddr(a.Value) // of another kind it is none
	if len(r.entries) >= maxEntries {
		r.room(func(*Entry) bool { return true })
	}
	if a.Kind == device.NoAddress {
		if r.unplaced >= maxUnplaced {
			r.Dropped++
			return nil
		}
		r.unplaced++
	}
	e := &Entry{addr: a, ip: ip, first: now, last: now}
	r.entries[a] = e
	return e
}

// room gives up the poorest quarter of the entries that may go; of equals those
// that were silent longest.
func (r *Register) room(may func(*Entry) bool) {
	list := make([]*Entry, 0, len(r.entries))
	for _, e := range r.entries {
		if may(e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Entry) int {
		return cmp.Or(a.worth()-b.worth(), cmp.Compare(a.last, b.last), cmp.Compare(a.addr.Kind, b.addr.Kind), strings.Compare(a.addr.Value, b.addr.Value))
	})
	list = list[:(len(list)+3)/4]
	for _, e := range list {
		delete(r.entries, e.addr)
		r.said -= e.said
		if e.addr.Kind == device.NoAddress {
			r.unplaced--
		}
	}
	r.Dropped += uint64(len(list))
}

// fits makes room for n more bytes said of e, or says that there is none.
func (r *Register) fits(e *Entry, n int) bool {
	if r.said+n > maxSaid && r.wait == 0 {
		had := r.said
		r.room(func(x *Entry) bool { return x != e && x.said > 0 && !x.treats() })
		if had-r.said < maxSaid/16 { // looking through all entries was not worth it
			r.wait = maxEntries / 16
		}
	}
	if r.said+n > maxSaid {
		r.wait = max(r.wait-1, 0)
		r.Dropped++
		return false
	}
	e.said += n
	r.said += n
	return true
}

// worth ranks entries by what would be lost with them.
func (e *Entry) worth() int {
	switch {
	case e.treats():
		return 4
	case len(e.claims) > 0 || len(e.behind) > 0 || e.stored != nil:
		return 3
	case e.wanted || len(e.served) > 0:
		return 2
	case len(e.names) > 0 || len(e.protocols) > 0 || len(e.owned) > 0:
		return 1
	}
	return 0
}

// Told reports whether something was said of the device at the address.
func (r *Register) Told(a device.Address) bool {
	e := r.entries[a]
	return e != nil && len(e.claims) > 0
}

// Treats reports whether the address was said to be a device with a therapy,
// or the way to one.
func (r *Register) Treats(a device.Address) bool {
	e := r.entries[a]
	return e != nil && e.treats()
}

func (e *Entry) treats() bool {
	return len(e.behind) > 0 || slices.ContainsFunc(e.claims, func(c counted) bool {
		return c.Therapy != device.NoTherapy && c.Therapy != device.Records || c.ProductCode != ""
	})
}

func (e *Entry) seen(now int64) { e.first, e.last = min(e.first, now), max(e.last, now) }

// Sent notes that a packet came from the address.
func (e *Entry) Sent(now int64) {
	if e != nil {
		e.seen(now)
		e.sent = true
	}
}

// Spoke notes a protocol of the address, and whether it was the server.
func (e *Entry) Spoke(protocol string, server bool) {
	if e == nil || protocol == "" {
		return
	}
	e.protocols = add(e.protocols, protocol, maxWords)
	if server {
		e.served = add(e.served, protocol, maxWords)
	}
}

// Harms notes a worst credible harm that is known better than from the kind of
// therapy: the drug is one that kills within minutes.
func (e *Entry) Harms(h device.Harm) {
	if e != nil {
		e.harm = max(e.harm, h)
	}
}

// Framed notes the hardware address in the frames of an IP address, perhaps a
// router's.
func (e *Entry) Framed(mac string) {
	if e != nil && mac != "" {
		e.framed = add(e.framed, mac, maxMACs)
	}
}

// Product returns what the catalogue knows of the product of a claim.
func (r *Register) Product(c *Claim) (p device.ProductCode, ok bool) {
	return r.Catalogue.Lookup(cmp.Or(r.Catalogue.CodeOf(c.UDI, c.Manufacturer, c.Model), c.ProductCode))
}

// Said notes a claim about the device at the address. The serial number of a
// product that the catalogue calls implanted or worn is left out of it.
func (r *Register) Said(a device.Address, c Claim, now int64) {
	p, _ := r.Product(&c)
	c.ProductCode = p.Code
	if p.Worn {
		c.Serial = ""
	}
	e := r.At(a, now)
	if e == nil || c == (Claim{}) {
		return
	}
	for i := range e.claims {
		if e.claims[i].Claim == c {
			e.claims[i].n++
			return
		}
	}
	if len(e.claims) < maxClaims && r.fits(e, c.size()) {
		e.claims = append(e.claims, counted{c, 1})
	}
}

// size is the memory that a claim takes.
func (c *Claim) size() int {
	n := 192
	for _, s := range [...]string{c.Manufacturer, c.Model, c.Serial, c.Version, c.OS, c.Class, c.UDI, c.ProductCode} {
		n += len(s)
	}
	return n
}

// Stored notes that the address stored objects of a maker; the empty claim, that
// it passes on what others made. All of one maker are probably its own.
func (r *Register) Stored(a device.Address, c Claim, now int64) {
	e := r.At(a, now)
	switch {
	case e == nil:
	case c == Claim{}, e.stored != nil && *e.stored != c:
		e.passes = true
	case e.stored == nil && r.fits(e, c.size()):
		e.stored = &c
	}
}

// Named notes a further address or name of the device at the address.
func (r *Register) Named(a, name device.Address, now int64) {
	if e := r.At(a, now); e != nil && name.Value != "" {
		r.call(e, &e.names, name)
	}
}

// Owns notes that a hardware address claims an IP address for itself (ARP, DHCP).
func (r *Register) Owns(a device.Address, mac string, now int64) {
	if e := r.At(a, now); e != nil && mac != "" {
		e.owned, e.sent = add(e.owned, mac, maxMACs), true
	}
}

// Behind notes that a device is reached through the one at the address.
func (r *Register) Behind(gateway, a device.Address, now int64) {
	if e := r.At(gateway, now); e != nil && a != gateway {
		r.call(e, &e.behind, a)
	}
}

// call adds an address to a list of e.
func (r *Register) call(e *Entry, list *[]device.Address, a device.Address) {
	if len(*list) < maxNames && !slices.Contains(*list, a) && r.fits(e, 48+len(a.Value)) {
		*list = append(*list, a)
	}
}

// Wanted notes that a finding is about the address, so that it is listed even
// when it is outside and nothing is known of it.
func (r *Register) Wanted(a device.Address, now int64) {
	if e := r.At(a, now); e != nil {
		e.wanted = true
	}
}

// Known reports whether the address was ever heard or spoken of.
func (r *Register) Known(a device.Address) bool { return r.entries[a] != nil }

// Has reports whether the address has the name.
func (r *Register) Has(a, name device.Address) bool {
	e := r.entries[a]
	return e != nil && slices.Contains(e.names, name)
}

func add[T comparable](list []T, v T, bound int) []T {
	if len(list) >= bound || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// A Join says why two addresses are held to be one device.
type Join struct {
	A, B device.Address
	Why  string
	When int64 // nanoseconds since 1970-01-01 UTC: the later of the first sights of both
}

// Devices decides which addresses are one device. apart are joins that
// somebody has undone: their two addresses are never one device, by whatever
// other address they are joined. The result depends on what was registered
// alone, not on the order, as long as no bound was reached; byAddress has the
// index of the device of each address.
func (r *Register) Devices(apart []Join) (devices []device.Device, byAddress map[device.Address]int, joins []Join) {
	list := make([]*Entry, 0, len(r.entries))
	for _, e := range r.entries {
		if e.listed() {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.addr.Kind, b.addr.Kind), a.ip.Compare(b.ip), strings.Compare(a.addr.Value, b.addr.Value))
	})

	groups := newGroups(len(list))
	undone := pairs(list, apart)
	join := func(why string, key func(*Entry) string) {
		first := map[string]int{}
		for i, e := range list {
			k := key(e)
			if k == "" {
				continue
			}
			j, ok := first[k]
			if !ok {
				first[k] = i
				continue
			}
			if groups.find(i) != groups.find(j) && !groups.keep(undone, i, j) {
				groups.union(i, j)
				joins = append(joins, Join{A: list[j].addr, B: e.addr, Why: why, When: max(list[j].first, e.first)})
			}
		}
	}
	join("the same UDI and serial number", func(e *Entry) string { return e.strong().udi })
	join("the same manufacturer, model and serial number", func(e *Entry) string { return e.strong().made })
	shared := sharedMACs(list, groups)
	join("the same hardware address, claimed by the device itself", func(e *Entry) string {
		if mac := e.owner(); !shared[mac] && !localMAC(mac) {
			return mac
		}
		return ""
	})

	byAddress = make(map[device.Address]int)
	index := map[int]int{} // of the device, by root
	var members [][]*Entry
	for i, e := range list {
		root := groups.find(i)
		d, ok := index[root]
		if !ok {
			d = len(members)
			index[root] = d
			members = append(members, nil)
		}
		members[d] = append(members[d], e)
		byAddress[e.addr] = d
	}
	mine := eui64s(members, byAddress)
	frames := frameMACs(list)
	devices = make([]device.Device, len(members))
	for i, m := range members {
		devices[i] = r.assemble(m, shared, frames)
	}
	gateways(devices, members, byAddress)
	ids := make(map[string]bool, len(devices))
	for i, m := range members {
		d := &devices[i]
		finish(d, m, shared, func(eui64 string) bool { return mine[eui64] == i })
		if ids[d.ID] { // kept apart from the device with the same identity
			d.ID = device.IDOf("address", m[0].addr.Kind.String(), m[0].addr.Value)
		}
		ids[d.ID] = true
	}
	return devices, byAddress, joins
}

// nobodys is an EUI-64 that several devices use.
const nobodys = -1

// eui64s returns the index of the device of each EUI-64 that somebody calls
// itself by. No two devices have the same: what several use, or what is another
// device's own, is passed on by a relay or claimed by an impostor, and whose it
// is the capture does not say.
func eui64s(members [][]*Entry, byAddress map[device.Address]int) map[string]int {
	of := map[string]int{}
	for i, m := range members {
		for _, e := range m {
			for _, n := range e.names {
				if n.Kind != device.EUI64 {
					continue
				}
				if had, ok := of[n.Value]; ok && had != i {
					of[n.Value] = nobodys
					continue
				}
				of[n.Value] = i
				if j, ok := byAddress[n]; ok && j != i {
					of[n.Value] = nobodys
				}
			}
		}
	}
	return of
}

// gateways gives each gateway the harm of the worst device behind it, and what
// that one does to a body, where the gateway does not say so itself.
func gateways(devices []device.Device, members [][]*Entry, byAddress map[device.Address]int) {
	says := make([]bool, len(devices)) // itself what it does
	for i := range devices {
		says[i] = devices[i].Therapy != device.NoTherapy && devices[i].Class != ""
	}
	for range maxHops {
		changed := false
		for i, m := range members {
			worst := -1
			for _, e := range m {
				for _, a := range e.behind {
					j, ok := byAddress[a]
					if ok && j != i && (devices[j].Via == device.Address{} || compare(e.addr, devices[j].Via) < 0) {
						devices[j].Via = e.addr
					}
					if ok && j != i && (worst < 0 || devices[j].Harm > devices[worst].Harm || devices[j].Harm == devices[worst].Harm && j < worst) {
						worst = j
					}
				}
			}
			if worst < 0 {
				continue
			}
			g, d := &devices[i], &devices[worst]
			before := g.Harm
			if !says[i] {
				g.Therapy = d.Therapy
				g.Class = strings.TrimSpace(strings.TrimSuffix(d.Class, " gateway") + " gateway")
			}
			g.Harm = max(g.Harm, d.Harm)
			g.Medical, g.Role = true, cmp.Or(g.Role, "gateway")
			changed = changed || g.Harm != before
		}
		if !changed {
			return
		}
	}
}

// listed reports whether an address is worth a line: it was heard itself and
// is inside, or something is known of it.
func (e *Entry) listed() bool {
	if e.wanted || len(e.claims) > 0 {
		return true
	}
	if !e.sent {
		return false
	}
	return e.addr.Kind != device.IP || Inside(e.ip)
}

// Inside reports whether an address is in a network that is not routed on the
// internet.
func Inside(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() ||
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(ip) // RFC 6598
}

// A strong identity has a serial number: with the UDI, and with manufacturer
// and model. One of the two may be unknown.
type strong struct{ udi, made string }

func (s strong) none() bool { return s == strong{} }

// strong returns the strong identity of an address; it has none when it has
// several serial numbers: then it is a gateway.
func (e *Entry) strong() strong {
	s, _ := e.identify()
	return s
}

// identify also says whether there are several.
func (e *Entry) identify() (s strong, several bool) {
	serial := ""
	for _, c := range e.claims {
		var k strong
		if c.Serial != "" && c.UDI != "" {
			k.udi = c.UDI + "\x00" + c.Serial
		}
		if c.Serial != "" && c.Manufacturer != "" && c.Model != "" {
			k.made = c.Manufacturer + "\x00" + c.Model + "\x00" + c.Serial
		}
		if k.none() {
			continue
		}
		if differ(serial, c.Serial) || differ(s.udi, k.udi) || differ(s.made, k.made) {
			return strong{}, true
		}
		serial, s.udi, s.made = c.Serial, cmp.Or(s.udi, k.udi), cmp.Or(s.made, k.made)
	}
	return s, false
}

// differ reports whether two identities are known and not the same.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

// owner returns the hardware address that claims an IP address, or "" when
// several do: an address may pass to another machine, or somebody lies.
func (e *Entry) owner() string {
	if len(e.owned) != 1 {
		return ""
	}
	return e.owned[0]
}

// sharedMACs returns the hardware addresses that several strong identities have.
func sharedMACs(list []*Entry, groups groups) map[string]bool {
	root, shared := map[string]int{}, map[string]bool{}
	for i, e := range list {
		mac := e.owner()
		s, several := e.identify()
		if mac == "" || s.none() && !several {
			continue
		}
		had, ok := root[mac]
		shared[mac] = shared[mac] || several || ok && had != groups.find(i)
		root[mac] = groups.find(i)
	}
	return shared
}

// frameMACs counts the addresses seen behind each hardware address in frames:
// more than one means a router.
func frameMACs(list []*Entry) map[string]int {
	n := map[string]int{}
	for _, e := range list {
		if e.addr.Kind != device.IP {
			continue
		}
		for _, mac := range e.framed {
			n[mac]++
		}
	}
	return n
}

// localMAC reports whether a hardware address is locally administered (IEEE
// 802c): chosen by software, often anew each day.
func localMAC(mac string) bool {
	hw, err := net.ParseMAC(mac)
	return err != nil || hw[0]&2 != 0
}

func compare(a, b device.Address) int {
	if a.Kind == device.IP && b.Kind == device.IP {
		x, _ := netip.ParseAddr(a.Value)
		y, _ := netip.ParseAddr(b.Value)
		return x.Compare(y)
	}
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Value, b.Value))
}

// infrastructure are the protocols whose servers carry the network.
var infrastructure = []string{"dhcp", "dns", "ntp", "kerberos", "ldap", "syslog"}

// assemble makes one device of what is known of its addresses.
func (r *Register) assemble(group []*Entry, shared map[string]bool, frames map[string]int) device.Device {
	var d device.Device
	var claims []counted
	for _, e := range group {
		if e.addr.Kind != device.NoAddress {
			d.Addresses = add(d.Addresses, e.addr, maxEntries)
		}
		if mac := e.owner(); mac != "" && !shared[mac] {
			d.Addresses = add(d.Addresses, device.Address{Kind: device.MAC, Value: mac}, maxEntries)
		}
		for _, mac := range e.framed {
			if len(e.owned) == 0 && frames[mac] == 1 {
				d.Addresses = add(d.Addresses, device.Address{Kind: device.MAC, Value: mac}, maxEntries)
			}
		}
		claims = append(claims, e.claims...)
		for _, p := range e.protocols {
			d.Protocols = add(d.Protocols, p, maxEntries)
		}
		for _, p := range e.served {
			if slices.Contains(infrastructure, p) {
				d.Role = "infrastructure"
			}
		}
	}
	slices.Sort(d.Protocols)

	// The claim that says most comes first; of equals the one said most often.
	slices.SortStableFunc(claims, func(a, b counted) int {
		return cmp.Or(b.weight()-a.weight(), b.n-a.n, strings.Compare(a.text(), b.text()))
	})
	said := Claim{}
	classed := device.NoHarm // of the therapy that the class is told with
	for _, c := range claims {
		if d.Model != "" && c.Model != "" && (c.Model != d.Model || c.Manufacturer != d.Manufacturer) {
			continue // another device behind the same address
		}
		d.Manufacturer = cmp.Or(d.Manufacturer, c.Manufacturer)
		d.Model = cmp.Or(d.Model, c.Model)
		d.Serial = cmp.Or(d.Serial, c.Serial)
		d.Version = cmp.Or(d.Version, c.Version)
		said.UDI = cmp.Or(said.UDI, c.UDI)
		said.ProductCode = cmp.Or(said.ProductCode, c.ProductCode)
		d.OS = cmp.Or(d.OS, c.OS)
		if c.Therapy.Harm() > d.Harm {
			d.Therapy, d.Harm = c.Therapy, c.Therapy.Harm()
		}
		if c.Class != "" && (d.Class == "" || c.Therapy.Harm() > classed) {
			d.Class, classed = c.Class, c.Therapy.Harm()
		}
	}
	// What nothing else is known of is probably what made all that it stored.
	if d.Therapy == device.NoTherapy && d.Model == "" && said.ProductCode == "" {
		if c := maker(group); c != nil {
			d.Manufacturer, d.Model, d.Class, d.Therapy, d.Harm = c.Manufacturer, c.Model, c.Class, c.Therapy, c.Therapy.Harm()
			d.Confidence = device.Low
		}
	}
	said.Manufacturer, said.Model = d.Manufacturer, d.Model
	if p, ok := r.Product(&said); ok {
		d.ProductCode = p.Code
		// A user's own table overrides what was said. A code that was merely said
		// does not make a device more harmless than it said otherwise.
		if own := r.Catalogue.CodeOf(said.UDI, said.Manufacturer, said.Model) != "" || p.Source == device.Own; own || p.Harm > d.Harm {
			d.Therapy, d.Harm, d.Class = p.Therapies.First(), p.Harm, cmp.Or(p.Class, d.Class)
		}
		if p.Worn {
			d.Serial = ""
		}
	}
	for _, e := range group {
		if d.Therapy != device.NoTherapy {
			d.Harm = max(d.Harm, e.harm)
		}
	}
	d.Medical = d.Therapy != device.NoTherapy && (d.Therapy != device.Records || d.Class == "archive")
	if d.Therapy == device.Records {
		d.Role = cmp.Or(d.Class, "records")
	}
	return d
}

// maker returns the one maker of all that a group stored, or nil.
func maker(group []*Entry) (c *Claim) {
	for _, e := range group {
		if e.passes || c != nil && e.stored != nil && *e.stored != *c {
			return nil
		}
		c = cmp.Or(c, e.stored)
	}
	return c
}

// finish tells what depends on what the device is, once all devices are known.
func finish(d *device.Device, group []*Entry, shared map[string]bool, mine func(eui64 string) bool) {
	guessed := d.Confidence == device.Low // by assemble
	switch {
	case guessed:
	case d.Medical && d.Model != "":
		d.Confidence = device.High
	case d.Medical || d.Role != "" || d.Model != "":
		d.Confidence = device.Medium
	default:
		d.Confidence = device.Low
	}
	// A free-text name may be a person's: it is shown only for equipment.
	for _, e := range group {
		for _, n := range e.names {
			if n.Kind == device.EUI64 && !mine(n.Value) {
				continue
			}
			if n.Kind != device.Host && n.Kind != device.AET || d.Medical && !guessed || d.Role != "" {
				d.Addresses = add(d.Addresses, n, maxEntries)
			}
		}
	}
	if !d.Medical && !slices.ContainsFunc(group, (*Entry).ours) {
		d.Role = device.Outside
		d.Addresses = slices.DeleteFunc(d.Addresses, func(a device.Address) bool { return a.Kind == device.MAC }) // a router's
	}
	slices.SortFunc(d.Addresses, compare)
	d.ID = device.IDOf(identity(group, shared)...)
}

// ours reports whether an address is of the hospital's networks: none of the
// internet, or one that a hardware address claims there.
func (e *Entry) ours() bool { return e.addr.Kind != device.IP || Inside(e.ip) || len(e.owned) > 0 }

// identity returns what a device's id is made of: its strongest identity.
func identity(group []*Entry, shared map[string]bool) []string {
	var best strong
	for _, e := range group {
		s := e.strong()
		best.udi, best.made = least(best.udi, s.udi), least(best.made, s.made)
	}
	if !best.none() {
		return []string{"serial", cmp.Or(best.made, best.udi)}
	}
	// Names are left out here: what a device says that it is called, another may
	// say as well. So are the hardware addresses in frames, which may be a
	// router's.
	var own []device.Address
	for _, e := range group {
		own = append(own, e.addr)
		if mac := e.owner(); mac != "" && !shared[mac] && !localMAC(mac) {
			own = append(own, device.Address{Kind: device.MAC, Value: mac})
		}
	}
	a := slices.MinFunc(own, compare)
	return []string{a.Kind.String(), a.Value}
}

// least returns the lower of what is known.
func least(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

func (c *Claim) weight() int {
	n := 0
	for _, s := range [...]string{c.Model, c.Manufacturer, c.Serial, c.Version} {
		n *= 2
		if s != "" {
			n++
		}
	}
	return n
}

func (c *Claim) text() string {
	return strings.Join([]string{c.Manufacturer, c.Model, c.Serial, c.Version, c.OS, c.Class, c.UDI, c.ProductCode, c.Therapy.String()}, "\x00")
}

// groups is a union-find forest whose roots are the lowest members.
type groups []int

func newGroups(n int) groups {
	g := make(groups, n)
	for i := range g {
		g[i] = i
	}
	return g
}

func (g groups) find(i int) int {
	for g[i] != i {
		g[i] = g[g[i]]
		i = g[i]
	}
	return i
}

func (g groups) union(i, j int) {
	i, j = g.find(i), g.find(j)
	g[max(i, j)] = min(i, j)
}

// pairs returns the places in the list of joins' addresses.
func pairs(list []*Entry, joins []Join) (out [][2]int) {
	if len(joins) == 0 {
		return nil
	}
	at := make(map[device.Address]int, len(list))
	for i, e := range list {
		at[e.addr] = i
	}
	for _, j := range joins {
		a, ok := at[j.A]
		b, both := at[j.B]
		if ok && both {
			out = append(out, [2]int{a, b})
		}
	}
	return out
}

// keep reports whether the groups of i and j hold a pair that has to be kept apart.
func (g groups) keep(apart [][2]int, i, j int) bool {
	i, j = g.find(i), g.find(j)
	for _, p := range apart {
		a, b := g.find(p[0]), g.find(p[1])
		if a == i && b == j || a == j && b == i {
			return true
		}
	}
	return false
}
