// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
)

func ExampleRegister() {
	r := NewRegister()
	pump := Claim{Manufacturer: "Norra Medical", Model: "Flow 500", Serial: "NF5-20431", Class: "infusion pump", Therapy: device.DrugInfusion}
	r.Said(ip("10.20.3.41"), pump, 1)
	r.Said(ip("10.20.3.42"), pump, 2) // after it moved to another bed
	devices, _, joins := r.Devices(nil)
	fmt.Println(len(devices), devices[0].Model, devices[0].Harm)
	fmt.Println(joins[0].A, joins[0].B, joins[0].Why)
	// Output:
	// 1 Flow 500 critical
	// 10.20.3.41 10.20.3.42 the same manufacturer, model and serial number
}

func ip(s string) device.Address   { return device.Address{Kind: device.IP, Value: s} }
func host(s string) device.Address { return device.Address{Kind: device.Host, Value: s} }
func aet(s string) device.Address  { return device.Address{Kind: device.AET, Value: s} }
func eui(s string) device.Address  { return device.Address{Kind: device.EUI64, Value: s} }

// The hardware addresses of the tests: two of makers, one that software chose.
const (
	mac1  = "00:00:5e:00:53:31"
	mac2  = "00:00:5e:00:53:32"
	local = "02:00:5e:00:53:33"
)

func made(serial string) Claim {
	return Claim{Manufacturer: "Veltis", Model: "M9", Serial: serial, Class: "patient monitor", Therapy: device.Monitoring}
}

// groups says who is one device with whom: "a b | c".
func together(r *Register, apart ...Join) string {
	devices, _, _ := r.Devices(apart)
	var out []string
	for _, d := range devices {
		var ips []string
		for _, a := range d.Addresses {
			if a.Kind == device.IP {
				ips = append(ips, strings.TrimPrefix(a.Value, "10.20.3."))
			}
		}
		out = append(out, strings.Join(ips, " "))
	}
	return strings.Join(out, " | ")
}

var (
	a = ip("10.20.3.1")
	b = ip("10.20.3.2")
	c = ip("10.20.3.3")
	d = ip("10.20.3.4")
)

// TestMuchSaid has devices that claim more than there is room for: a pump stays.
func TestMuchSaid(t *testing.T) {
	r := NewRegister()
	pump := device.Address{Kind: device.IP, Value: "10.20.3.21"}
	r.Said(pump, Claim{Model: "Flow 500", Therapy: device.DrugInfusion}, 1)
	for i := range 200_000 {
		a := device.Address{Kind: device.IP, Value: netip.AddrFrom4([4]byte{10, 64, byte(i / 8 >> 8), byte(i / 8)}).String()}
		r.Said(a, Claim{Model: fmt.Sprintf("%064d", i)}, int64(i))
		if i > 190_000 && !r.Told(a) {
			t.Fatalf("claim %d has no room", i)
		}
	}
	if !r.Treats(pump) || r.Dropped == 0 {
		t.Errorf("the pump is there: %v; %d dropped", r.Treats(pump), r.Dropped)
	}
	// What treats is not given up for what is said of others.
	for i := range 200_000 {
		a := device.Address{Kind: device.IP, Value: netip.AddrFrom4([4]byte{10, 65, byte(i / 8 >> 8), byte(i / 8)}).String()}
		r.Said(a, Claim{Model: fmt.Sprintf("%064d", i), Therapy: device.Ventilation}, int64(i))
	}
	if !r.Treats(pump) {
		t.Error("the pump is gone")
	}
}

func TestJoins(t *testing.T) {
	tests := []struct {
		name string
		say  func(r *Register)
		want string
	}{
		{"nothing in common", func(r *Register) { r.At(a, 1).Sent(1); r.At(b, 1).Sent(1) }, "1 | 2"},
		{"manufacturer, model and serial", func(r *Register) { r.Said(a, made("1"), 1); r.Said(b, made("1"), 1) }, "1 2"},
		{"another serial", func(r *Register) { r.Said(a, made("1"), 1); r.Said(b, made("2"), 1) }, "1 | 2"},
		{"no serial", func(r *Register) { r.Said(a, made(""), 1); r.Said(b, made(""), 1) }, "1 | 2"},
		{"serial alone", func(r *Register) { r.Said(a, Claim{Serial: "1"}, 1); r.Said(b, Claim{Serial: "1"}, 1) }, "1 | 2"},
		{"serial and model alone", func(r *Register) {
			r.Said(a, Claim{Model: "M9", Serial: "1"}, 1)
			r.Said(b, Claim{Model: "M9", Serial: "1"}, 1)
		}, "1 | 2"},
		{"UDI and serial", func(r *Register) {
			r.Said(a, Claim{UDI: "08717648200274", Serial: "1"}, 1)
			r.Said(b, Claim{UDI: "08717648200274", Serial: "1"}, 1)
		}, "1 2"},
		{"UDI alone is the model's", func(r *Register) {
			r.Said(a, Claim{UDI: "08717648200274"}, 1)
			r.Said(b, Claim{UDI: "08717648200274"}, 1)
		}, "1 | 2"},
		{"UDI in one message, model in another", func(r *Register) {
			r.Said(a, Claim{UDI: "08717648200274", Serial: "1"}, 1)
			r.Said(a, made("1"), 1)
			r.Said(b, made("1"), 1)
			r.Said(c, Claim{UDI: "08717648200274", Serial: "1"}, 1)
		}, "1 2 3"},
		{"several serials are a gateway's", func(r *Register) {
			r.Said(a, made("1"), 1)
			r.Said(a, made("2"), 1)
			r.Said(b, made("1"), 1)
			r.Said(c, made("2"), 1)
		}, "1 | 2 | 3"},

		{"hardware address", func(r *Register) { r.Owns(a, mac1, 1); r.Owns(b, mac1, 1) }, "1 2"},
		{"other hardware address", func(r *Register) { r.Owns(a, mac1, 1); r.Owns(b, mac2, 1) }, "1 | 2"},
		{"local hardware address", func(r *Register) { r.Owns(a, local, 1); r.Owns(b, local, 1) }, "1 | 2"},
		{"hardware address in frames only", func(r *Register) {
			r.At(a, 1).Sent(1)
			r.At(a, 1).Framed(mac1)
			r.At(b, 1).Sent(1)
			r.At(b, 1).Framed(mac1)
		}, "1 | 2"},
		{"no hardware address", func(r *Register) { r.Owns(a, "what?", 1); r.Owns(b, "what?", 1) }, "1 | 2"},
		{"hardware address of several serials", func(r *Register) {
			r.Said(a, made("1"), 1)
			r.Said(b, made("2"), 1)
			r.Owns(a, mac1, 1)
			r.Owns(b, mac1, 1)
			r.Owns(c, mac1, 1)
		}, "1 | 2 | 3"},
		{"hardware address of a gateway", func(r *Register) {
			r.Said(a, made("1"), 1)
			r.Said(a, made("2"), 1)
			r.Owns(a, mac1, 1)
			r.Owns(b, mac1, 1)
		}, "1 | 2"},
		{"hardware address of one serial twice", func(r *Register) {
			r.Said(a, made("1"), 1)
			r.Said(b, made("1"), 1)
			r.Owns(a, mac1, 1)
			r.Owns(b, mac1, 1)
			r.Owns(c, mac1, 1)
		}, "1 2 3"},
		// Otherwise whoever answers ARP for a device would become part of it.
		{"contested address", func(r *Register) {
			r.Owns(a, mac1, 1)
			r.Owns(b, mac2, 1)
			r.Owns(a, mac2, 2)
		}, "1 | 2"},
		{"serial and hardware address chain", func(r *Register) {
			r.Said(a, made("1"), 1)
			r.Said(b, made("1"), 1)
			r.Owns(b, mac1, 1)
			r.Owns(c, mac1, 1)
			r.Owns(d, mac2, 1)
		}, "1 2 3 | 4"},

		{"names", func(r *Register) {
			for _, x := range []device.Address{a, b} {
				r.Said(x, made(""), 1)
				r.Named(x, host("mon-3"), 1)
				r.Named(x, aet("CT1"), 1)
			}
		}, "1 | 2"},
	}
	for _, tt := range tests {
		r := NewRegister()
		tt.say(r)
		if got := together(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestJoinsAreRecorded(t *testing.T) {
	r := NewRegister()
	r.Said(a, made("1"), 5)
	r.Said(b, made("1"), 7)
	r.At(b, 3)
	r.Owns(c, mac1, 9)
	r.Owns(b, mac1, 9)
	_, _, joins := r.Devices(nil)
	want := []Join{
		{A: a, B: b, Why: "the same manufacturer, model and serial number", When: 5},
		{A: b, B: c, Why: "the same hardware address, claimed by the device itself", When: 9},
	}
	if diff := cmp.Diff(want, joins); diff != "" {
		t.Error(diff)
	}
}

func TestUndo(t *testing.T) {
	r := NewRegister()
	for _, x := range []device.Address{b, c, d} {
		r.Said(x, made("1"), 1)
	}
	_, _, joins := r.Devices(nil)
	if got := together(r, joins...); got != "2 | 3 | 4" {
		t.Errorf("all joins undone: %q", got)
	}
	for _, j := range []Join{{A: b, B: c}, {A: c, B: b}} {
		if got := together(r, j); got != "2 4 | 3" {
			t.Errorf("%v undone: %q", j, got)
		}
	}
	// Another address of the device does not bring together what is apart.
	r.Said(a, made("1"), 1)
	r.Owns(b, mac1, 1)
	r.Owns(c, mac1, 1)
	if got := together(r, Join{A: b, B: c}); got != "1 2 4 | 3" {
		t.Errorf("with a further address: %q", got)
	}
	if got := together(r, Join{A: a, B: ip("10.20.9.9")}); got != "1 2 3 4" {
		t.Errorf("a record of an address that is not there: %q", got)
	}
}

func TestNamesOfEquipmentOnly(t *testing.T) {
	tests := []struct {
		name string
		say  func(r *Register)
		want bool
	}{
		{"a station", func(r *Register) { r.At(a, 1).Sent(1) }, false},
		{"a station of a known model", func(r *Register) { r.Said(a, Claim{Manufacturer: "Anybody", Model: "Laptop"}, 1) }, false},
		{"a client of infrastructure", func(r *Register) { r.At(a, 1).Sent(1); r.At(a, 1).Spoke("dns", false) }, false},
		{"infrastructure", func(r *Register) { r.At(a, 1).Sent(1); r.At(a, 1).Spoke("dns", true) }, true},
		{"a medical device", func(r *Register) { r.Said(a, made(""), 1) }, true},
		{"an archive", func(r *Register) { r.Said(a, Claim{Therapy: device.Records, Class: "archive"}, 1) }, true},
		{"a gateway", func(r *Register) { r.At(a, 1).Sent(1); r.Said(b, made(""), 1); r.Behind(a, b, 1) }, true},
	}
	for _, tt := range tests {
		r := NewRegister()
		tt.say(r)
		r.Named(a, host("annas-iphone"), 1)
		r.Named(a, aet("ANNA"), 1)
		r.Named(a, eui("0200005EFF000503"), 1)
		devices, index, _ := r.Devices(nil)
		shown := fmt.Sprint(devices[index[a]].Addresses)
		for _, name := range []string{"annas-iphone", "ANNA"} {
			if strings.Contains(shown, name) != tt.want {
				t.Errorf("%s: %s; shown is %v, want %v", tt.name, shown, !tt.want, tt.want)
			}
		}
		if !strings.Contains(shown, "0200005EFF000503") {
			t.Errorf("%s: %s lacks the number of its hardware", tt.name, shown)
		}
	}
}

// No two devices have the same EUI-64: what several call themselves belongs to
// none of them, whoever was first.
func TestEUI64OfSeveral(t *testing.T) {
	for name, tt := range map[string]struct {
		claims [][2]device.Address
		want   string
	}{
		"one":                     {[][2]device.Address{{ip("10.0.0.1"), eui("A")}, {ip("10.0.0.2"), eui("B")}}, "A1 B2"},
		"two":                     {[][2]device.Address{{ip("10.0.0.1"), eui("A")}, {ip("10.0.0.2"), eui("A")}}, ""},
		"three, in another order": {[][2]device.Address{{ip("10.0.0.3"), eui("A")}, {ip("10.0.0.2"), eui("A")}, {ip("10.0.0.1"), eui("A")}}, ""},
		"that of a pump":          {[][2]device.Address{{ip("10.0.0.1"), eui("P")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegister()
			r.Said(eui("P"), made("1"), 1)
			for _, c := range tt.claims {
				r.At(c[0], 1).Sent(1)
				r.Named(c[0], c[1], 1)
			}
			devices, _, _ := r.Devices(nil)
			var got []string
			for _, d := range devices {
				for _, a := range d.Addresses {
					if a.Kind == device.EUI64 && len(d.Addresses) > 1 {
						got = append(got, a.Value+strings.TrimPrefix(d.Addresses[1].Value, "10.0.0."))
					}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestGateway(t *testing.T) {
	r := NewRegister()
	gw, pump, mon := ip("10.20.3.10"), eui("0200005EFF000503"), eui("0200005EFF000504")
	r.At(gw, 1).Sent(1)
	r.Said(mon, made("1"), 1)
	r.Said(pump, Claim{Class: "infusion pump", Therapy: device.DrugInfusion}, 1)
	r.Behind(gw, mon, 1)
	r.Behind(gw, pump, 1)
	r.Behind(gw, gw, 1)
	r.Behind(gw, eui("not heard of"), 1)
	front := ip("10.20.3.1") // another in front of it, earlier in the order
	r.At(front, 1).Sent(1)
	r.Behind(front, gw, 1)
	devices, index, joins := r.Devices(nil)
	if len(joins) != 0 || len(devices) != 4 {
		t.Fatalf("a gateway is not what is behind it: %v", joins)
	}
	for _, x := range []device.Address{gw, front} {
		g := devices[index[x]]
		if g.Harm != device.DrugInfusion.Harm() || !g.Medical || g.Role != "gateway" || g.Class != "infusion pump gateway" || g.Therapy != device.DrugInfusion {
			t.Errorf("%v: %+v", x, g)
		}
	}
	// What it says of itself stays; the harm of what is behind it is added.
	r.Said(gw, Claim{Model: "FlowLink", Class: "pump server", Therapy: device.Monitoring}, 2)
	devices, index, _ = r.Devices(nil)
	if g := devices[index[gw]]; g.Class != "pump server" || g.Therapy != device.Monitoring || g.Harm != device.DrugInfusion.Harm() || g.Confidence != device.High {
		t.Errorf("%+v", g)
	}
}

func TestGatewaysInACircle(t *testing.T) {
	r := NewRegister()
	for _, x := range []device.Address{a, b, c} {
		r.At(x, 1).Sent(1)
	}
	r.Behind(a, b, 1)
	r.Behind(b, c, 1)
	r.Behind(c, a, 1)
	r.Said(c, made(""), 1)
	devices, _, _ := r.Devices(nil)
	for _, d := range devices {
		if d.Harm != device.Monitoring.Harm() {
			t.Errorf("%+v", d)
		}
	}
}

func TestWhatIsListed(t *testing.T) {
	tests := []struct {
		name string
		say  func(r *Register)
		want int
	}{
		{"spoken to, never heard", func(r *Register) { r.At(a, 1) }, 0},
		{"heard", func(r *Register) { r.At(a, 1).Sent(1) }, 1},
		{"said to be something", func(r *Register) { r.Said(a, made(""), 1) }, 1},
		{"said to be nothing", func(r *Register) { r.Said(a, Claim{}, 1) }, 0},
		{"on the internet", func(r *Register) { r.At(ip("203.0.113.7"), 1).Sent(1) }, 0},
		{"on the internet, in a finding", func(r *Register) { r.Wanted(ip("203.0.113.7"), 1) }, 1},
		{"multicast", func(r *Register) { r.Said(ip("239.255.255.250"), made(""), 1) }, 0},
		{"broadcast", func(r *Register) { r.Said(ip("255.255.255.255"), made(""), 1) }, 0},
		{"unspecified", func(r *Register) { r.Said(ip("::"), made(""), 1) }, 0},
		{"group hardware address", func(r *Register) { r.Said(device.Address{Kind: device.MAC, Value: "01:00:5e:00:00:fb"}, made(""), 1) }, 0},
		{"no address", func(r *Register) { r.Said(device.Address{}, made(""), 1) }, 0},
		{"no IP address", func(r *Register) { r.Said(ip("ct-1"), made(""), 1) }, 0},
	}
	for _, tt := range tests {
		r := NewRegister()
		tt.say(r)
		if devices, _, _ := r.Devices(nil); len(devices) != tt.want {
			t.Errorf("%s: %d devices, want %d", tt.name, len(devices), tt.want)
		}
	}
	for s, want := range map[string]bool{
		"10.20.3.10": true, "172.31.255.255": true, "172.32.0.0": false, "192.168.0.1": true, "169.254.0.1": true, "127.0.0.1": true,
		"100.64.0.1": true, "100.128.0.0": false, "8.8.8.8": false, "fe80::1": true, "fd00::1": true, "2001:db8::1": false, "::1": true,
	} {
		if Inside(netip.MustParseAddr(s)) != want {
			t.Errorf("Inside(%s) is %v", s, !want)
		}
	}
}

// A host on the internet is none of the hospital's, unless it is a medical
// device or was heard on the hospital's own wire.
func TestOutside(t *testing.T) {
	public := ip("203.0.113.7")
	for name, tt := range map[string]struct {
		say  func(*Register)
		want string
	}{
		"of which nothing is known":     {func(r *Register) { r.Wanted(public, 1) }, device.Outside},
		"that serves names":             {func(r *Register) { r.Wanted(public, 1); r.At(public, 1).Spoke("dns", true) }, device.Outside},
		"that says what it is":          {func(r *Register) { r.Said(public, Claim{Model: "nginx"}, 1) }, device.Outside},
		"that is a monitor":             {func(r *Register) { r.Said(public, made(""), 1) }, ""},
		"behind a router":               {func(r *Register) { r.Wanted(public, 1); r.At(public, 1).Framed(mac1) }, device.Outside},
		"that claims it on our network": {func(r *Register) { r.Owns(public, mac1, 1); r.Wanted(public, 1) }, ""},
		"inside":                        {func(r *Register) { r.Wanted(ip("10.20.3.10"), 1) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegister()
			tt.say(r)
			if devices, _, _ := r.Devices(nil); len(devices) != 1 || devices[0].Role != tt.want {
				t.Errorf("%+v, want the role %q", devices, tt.want)
			}
		})
	}
}

// A nil entry, of an address that is none, takes everything and does nothing.
func TestNilEntry(t *testing.T) {
	var e *Entry
	e.Sent(1)
	e.Spoke("dns", true)
	e.Framed(mac1)
	e.Harms(device.Minor)
}

// TestRoom fills a register: what is given up is the poorest quarter, and of
// that what was silent longest.
func TestRoom(t *testing.T) {
	at := func(i int) device.Address {
		return ip(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
	}
	kept := map[device.Address]func(r *Register, a device.Address){ // the oldest, of which something is known
		at(1): func(r *Register, a device.Address) { r.Said(a, made("1"), 1) },
		at(2): func(r *Register, a device.Address) { r.Said(a, Claim{OS: "Windows 7"}, 1) },
		at(3): func(r *Register, a device.Address) { r.Behind(a, eui("0200005EFF000503"), 1) },
		at(4): func(r *Register, a device.Address) { r.Wanted(a, 1) },
		at(5): func(r *Register, a device.Address) { r.At(a, 1).Spoke("dns", true) },
		at(6): func(r *Register, a device.Address) { r.Named(a, host("mon-3"), 1) },
		at(7): func(r *Register, a device.Address) { r.Owns(a, mac1, 1) },
	}
	r := NewRegister()
	r.entries = make(map[device.Address]*Entry, maxEntries)
	for a, say := range kept {
		say(r, a)
	}
	for i := len(kept) + 1; i <= maxEntries; i++ {
		r.At(at(i), int64(i)).Sent(int64(i))
	}
	if len(r.entries) != maxEntries || r.Dropped != 0 {
		t.Fatalf("%d entries do not fit: %d, %d dropped", maxEntries, len(r.entries), r.Dropped)
	}
	if r.At(at(maxEntries+1), 1) == nil || len(r.entries) != maxEntries-maxEntries/4+1 || r.Dropped != maxEntries/4 {
		t.Errorf("one more: %d entries, %d dropped", len(r.entries), r.Dropped)
	}
	for a := range kept {
		if !r.Known(a) {
			t.Errorf("%s was given up", a)
		}
	}
	first := len(kept) + 1 // of which nothing is known
	if last := first + maxEntries/4 - 1; r.Known(at(first)) || r.Known(at(last)) || !r.Known(at(last+1)) || !r.Known(at(maxEntries)) {
		t.Error("what was silent longest has to go first")
	}
	if !r.Told(at(1)) || !r.Told(at(2)) || r.Told(at(3)) || !r.Treats(at(1)) || r.Treats(at(2)) || !r.Treats(at(3)) || r.Treats(at(first)) || r.Told(at(first)) {
		t.Error("Told or Treats")
	}
}

func TestHarms(t *testing.T) {
	r := NewRegister()
	r.Said(a, Claim{Class: "infusion pump", Therapy: device.DrugInfusion}, 1)
	r.At(a, 1).Harms(device.Catastrophic)
	r.At(a, 1).Harms(device.Minor)
	r.At(b, 1).Sent(1)
	r.At(b, 1).Harms(device.Catastrophic) // nothing says that it treats anybody
	devices, index, _ := r.Devices(nil)
	if x, y := devices[index[a]].Harm, devices[index[b]].Harm; x != device.Catastrophic || y != device.NoHarm {
		t.Errorf("%v, %v", x, y)
	}
}

func TestBounds(t *testing.T) {
	r := NewRegister()
	for i := range maxClaims + 1 {
		r.Said(a, Claim{Version: fmt.Sprint(i)}, 1)
	}
	r.Said(a, Claim{Version: "0"}, 1)
	for i := range maxNames + 1 {
		r.Named(a, host(fmt.Sprint(i)), 1)
		r.Behind(a, eui(fmt.Sprint(i)), 1)
	}
	e := r.At(a, 1)
	for i := range maxWords + 1 {
		e.Spoke(fmt.Sprint(i), true)
	}
	for i := range maxMACs + 1 {
		mac := fmt.Sprintf("00:00:5e:00:53:%02x", i)
		r.Owns(a, mac, 1)
		e.Framed(mac)
	}
	got := []int{len(e.claims), len(e.names), len(e.behind), len(e.protocols), len(e.served), len(e.owned), len(e.framed)}
	want := []int{maxClaims, maxNames, maxNames, maxWords, maxWords, maxMACs, maxMACs}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e.claims[0].n != 2 {
		t.Error("a claim that is known is not counted when there is no room for another")
	}
	if !r.Has(a, host("0")) || r.Has(a, host(fmt.Sprint(maxNames))) || r.Has(ip("10.99.0.0"), host("0")) {
		t.Error("Has")
	}
}

func TestID(t *testing.T) {
	id := func(say func(r *Register)) string {
		r := NewRegister()
		say(r)
		devices, index, _ := r.Devices(nil)
		return devices[index[a]].ID
	}
	serial := id(func(r *Register) { r.Said(a, made("1"), 1) })
	// This id stands in documents that people keep.
	if want := device.IDOf("serial", "Veltis\x00M9\x001"); serial != want {
		t.Errorf("%s, want %s", serial, want)
	}
	for name, say := range map[string]func(r *Register){
		"a name":         func(r *Register) { r.Said(a, made("1"), 1); r.Named(a, host("mon-3"), 1) },
		"a MAC":          func(r *Register) { r.Said(a, made("1"), 1); r.Owns(a, mac1, 1) },
		"a version":      func(r *Register) { r.Said(a, made("1"), 1); r.Said(a, Claim{Version: "5.0"}, 1) },
		"an address":     func(r *Register) { r.Said(a, made("1"), 1); r.Said(ip("10.20.0.1"), made("1"), 1) },
		"its UDI":        func(r *Register) { r.Said(a, made("1"), 1); r.Said(a, Claim{UDI: "08717648200274", Serial: "1"}, 1) },
		"a second sight": func(r *Register) { r.Said(a, made("1"), 1); r.Said(a, made("1"), 99) },
	} {
		if got := id(say); got != serial {
			t.Errorf("with %s the id changes", name)
		}
	}
	if id(func(r *Register) { r.Said(a, made("2"), 1) }) == serial {
		t.Error("another serial number has the same id")
	}
	// Without a serial number it is the hardware address, unless software chose it.
	if got := id(func(r *Register) { r.Owns(a, mac1, 1) }); got != device.IDOf("mac", mac1) {
		t.Errorf("by MAC: %s", got)
	}
	if got := id(func(r *Register) { r.Owns(a, mac1, 1); r.Owns(a, mac2, 1) }); got != device.IDOf("ip", a.Value) {
		t.Errorf("contested: %s", got)
	}
	// What it calls itself, or where its frames come from, another may as well.
	if got := id(func(r *Register) {
		r.Said(a, made(""), 1)
		r.Named(a, eui("ACDE48FFFE000105"), 1)
		r.Named(a, device.Address{Kind: device.MAC, Value: mac1}, 1)
		r.At(a, 1).Framed(mac1)
	}); got != device.IDOf("ip", a.Value) {
		t.Errorf("by a name: %s", got)
	}
	if got := id(func(r *Register) { r.Owns(a, local, 1) }); got != device.IDOf("ip", a.Value) {
		t.Errorf("by IP: %s", got)
	}
}

func TestWhatIsSaidMost(t *testing.T) {
	r := NewRegister()
	r.Said(a, Claim{OS: "Windows 7"}, 1)
	r.Said(a, Claim{Manufacturer: "Lumen Imaging", Model: "Helia 64", Version: "11.0", Class: "CT scanner", Therapy: device.Imaging}, 1)
	r.Said(a, Claim{Manufacturer: "Lumen Imaging", Model: "Helia 64", Version: "10.9"}, 1)
	r.Said(a, Claim{Manufacturer: "Lumen Imaging", Model: "Helia 64", Version: "10.9"}, 1)
	r.Said(a, Claim{Manufacturer: "Somebody", Model: "Else"}, 1)
	r.At(a, 1).Spoke("dicom", true)
	r.At(a, 1).Spoke("smb", false)
	r.At(a, 1).Spoke("dicom", false)
	devices, _, _ := r.Devices(nil)
	d := devices[0]
	want := device.Product{Manufacturer: "Lumen Imaging", Model: "Helia 64", Version: "10.9", Class: "CT scanner", Therapy: device.Imaging, Harm: device.Imaging.Harm()}
	if d.Product != want || d.OS != "Windows 7" || d.Confidence != device.High || !d.Medical || fmt.Sprint(d.Protocols) != "[dicom smb]" {
		t.Errorf("%+v", d)
	}
}

// TestOrder draws what is registered and shuffles it: the devices are the same.
func TestOrder(t *testing.T) {
	addresses := []device.Address{a, b, c, d, eui("0200005EFF000503"), ip("203.0.113.7")}
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.SampledFrom(addresses)
		serial := rapid.SampledFrom([]string{"", "1", "2"})
		mac := rapid.SampledFrom([]string{mac1, mac2, local})
		step := rapid.Custom(func(t *rapid.T) func(*Register) {
			x, y, now := address.Draw(t, "address"), address.Draw(t, "other"), rapid.Int64Range(1, 9).Draw(t, "now")
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0:
				return func(r *Register) { r.At(x, now).Sent(now) }
			case 1:
				claim := Claim{Serial: serial.Draw(t, "serial"), Version: rapid.SampledFrom([]string{"", "1.8"}).Draw(t, "version")}
				if rapid.Bool().Draw(t, "made") {
					claim.Manufacturer, claim.Model, claim.Therapy = "Norra Medical", "FlowLink", device.DrugInfusion
				}
				if rapid.Bool().Draw(t, "udi") {
					claim.UDI = "08717648200274"
				}
				return func(r *Register) { r.Said(x, claim, now) }
			case 2:
				m := mac.Draw(t, "mac")
				return func(r *Register) { r.Owns(x, m, now) }
			case 3:
				m := mac.Draw(t, "mac")
				return func(r *Register) { r.At(x, now).Framed(m) }
			case 4:
				return func(r *Register) { r.Behind(x, y, now) }
			case 5:
				return func(r *Register) { r.Named(x, host("gw-icu"), now) }
			case 7:
				h := device.Harm(rapid.IntRange(0, int(device.Catastrophic)).Draw(t, "harm"))
				return func(r *Register) { r.At(x, now).Harms(h) }
			case 6:
				return func(r *Register) { r.At(x, now).Spoke("dns", true) }
			}
			return func(r *Register) { r.Wanted(x, now) }
		})
		steps := rapid.SliceOfN(step, 0, 30).Draw(t, "steps")
		apart := []Join{{A: address.Draw(t, "apart"), B: address.Draw(t, "from")}}
		order := rapid.Permutation(steps).Draw(t, "order")
		r, s := NewRegister(), NewRegister()
		for i := range steps {
			steps[i](r)
			order[i](s)
		}
		devices, index, joins := r.Devices(apart)
		devices2, index2, joins2 := s.Devices(apart)
		if diff := cmp.Diff(devices, devices2) + cmp.Diff(index, index2) + cmp.Diff(joins, joins2); diff != "" {
			t.Fatal(diff)
		}
		for _, j := range apart {
			x, ok := index[j.A]
			y, both := index[j.B]
			if ok && both && x == y && j.A != j.B {
				t.Fatalf("%v and %v are one device", j.A, j.B)
			}
		}
		ids := map[string]bool{}
		for _, d := range devices {
			if ids[d.ID] {
				t.Fatalf("two devices have the id %s", d.ID)
			}
			ids[d.ID] = true
		}
	})
}

// A user's table decides what a product is; a code that was merely said only
// makes it worse.
func TestCatalogue(t *testing.T) {
	own, err := device.ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model,udi\n" +
		"XQQ,stack,drug infusion,no,minor,Norra Medical,Flow 500,\nCBK,,,,,,,04012345000016\nLZG,,,,,Okapi Health,Dose One,\n"))
	if err != nil {
		t.Fatal(err)
	}
	imaging := func(c Claim) Claim {
		c.Class, c.Therapy = "CT scanner", device.Imaging
		return c
	}
	for _, tt := range []struct {
		name      string
		catalogue *device.Catalogue
		claims    []Claim
		harms     device.Harm
		want      string
	}{
		{"nothing is known", own, []Claim{{Manufacturer: "Norra Medical", Model: "Flow 600"}}, 0, "  ()  "},
		{"by make and model", own, []Claim{{Manufacturer: "NORRA MEDICAL", Model: "Flow 500", Serial: "7"}}, 0, "XQQ stack (drug infusion) minor 7"},
		{"by make and model, said apart", own, []Claim{{Manufacturer: "Norra Medical"}, {Model: "Flow 500"}}, 0, "XQQ stack (drug infusion) minor "},
		{"over what it says", own, []Claim{imaging(Claim{Manufacturer: "Norra Medical", Model: "Flow 500"}), {Therapy: device.Ventilation}}, 0, "XQQ stack (drug infusion) minor "},
		{"a drug that kills", own, []Claim{{Manufacturer: "Norra Medical", Model: "Flow 500"}}, device.Catastrophic, "XQQ stack (drug infusion) catastrophic "},
		{"by UDI, a code of ours", own, []Claim{imaging(Claim{UDI: "04012345000016"})}, 0, "CBK ventilator (ventilation) catastrophic "},
		{"worn", own, []Claim{{Manufacturer: "Okapi Health", Model: "Dose One", Serial: "7"}}, 0, "LZG insulin pump (insulin infusion) critical "},
		{"worn, said apart", own, []Claim{{Serial: "7"}, {Manufacturer: "Okapi Health", Model: "Dose One"}}, 0, "LZG insulin pump (insulin infusion) critical "},
		{"a code that was said", nil, []Claim{imaging(Claim{Model: "V2"}), {ProductCode: "CBK"}}, 0, "CBK ventilator (ventilation) catastrophic "},
		{"a code that makes harmless", nil, []Claim{{Class: "ventilator", Therapy: device.Ventilation}, {ProductCode: "LZH"}}, 0, "LZH ventilator (ventilation) catastrophic "},
		{"a code that nobody knows", nil, []Claim{imaging(Claim{ProductCode: "XQQ"})}, 0, " CT scanner (imaging) minor "},
	} {
		r := NewRegister()
		r.Catalogue = tt.catalogue
		for i, c := range tt.claims {
			r.Said(ip("10.20.3.41"), c, int64(i))
		}
		r.At(ip("10.20.3.41"), 9).Harms(tt.harms)
		devices, _, _ := r.Devices(nil)
		d := devices[0]
		if got := fmt.Sprintf("%s %s (%s) %s %s", d.ProductCode, d.Class, d.Therapy, d.Harm, d.Serial); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if want := d.ProductCode != "" || d.Medical; r.Treats(ip("10.20.3.41")) != want && !strings.Contains(tt.name, "apart") {
			t.Errorf("%s: treats is not %v", tt.name, want)
		}
	}
}

// A device that was only spoken of is one of its own without an address, and
// the same as the one with its maker, model and serial number.
func TestSpokenOf(t *testing.T) {
	of := func(name string) device.Address { return device.Address{Value: name} }
	r := NewRegister()
	r.Said(of("m9 a"), made("a"), 1)
	r.Said(of("m9 b"), made("b"), 2)
	r.Said(of("m9"), Claim{Manufacturer: "Veltis", Model: "M9"}, 3)
	r.Said(ip("10.20.3.31"), made("b"), 4)
	devices, _, _ := r.Devices(nil)
	got := ""
	for _, d := range devices {
		got += fmt.Sprintf("%s %s %v, ", d.Model, d.Serial, d.Addresses)
	}
	if want := "M9  [], M9 a [], M9 b [10.20.3.31], "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if devices[0].ID == devices[1].ID {
		t.Error("the same id twice")
	}
	for i := range maxUnplaced + 10 {
		r.Said(of(fmt.Sprint("more ", i)), Claim{Model: "M9"}, 5)
	}
	if devices, _, _ := r.Devices(nil); len(devices) != maxUnplaced || r.Dropped != 13 {
		t.Errorf("%d devices, %d dropped", len(devices), r.Dropped)
	}
}

// Who stores only what one make and model made is probably that; who is known
// as something else, or passes on, is not.
func TestStored(t *testing.T) {
	ct := Claim{Manufacturer: "Lumen Imaging", Model: "Helia 64", Class: "CT scanner", Therapy: device.Imaging}
	mr := Claim{Manufacturer: "Veltis", Model: "R3", Class: "MRI scanner", Therapy: device.Imaging}
	asPT := ct
	asPT.Class = "PET scanner"
	const guess = "Helia 64 CT scanner minor low []"
	for _, tt := range []struct {
		name   string
		stored []Claim
		said   Claim
		want   string
	}{
		{"one", []Claim{ct}, Claim{}, guess},
		{"one, often", []Claim{ct, ct}, Claim{OS: "Windows 7"}, guess},
		{"two makes", []Claim{ct, mr}, Claim{}, "   low []"},
		{"two makes, by turns", []Claim{ct, mr, ct}, Claim{}, "   low []"},
		{"two modalities", []Claim{ct, asPT}, Claim{}, "   low []"},
		{"passes on", []Claim{ct, {}}, Claim{}, "   low []"},
		{"passes on, first", []Claim{{}, ct, ct}, Claim{}, "   low []"},
		{"an archive", []Claim{ct}, Claim{Class: "archive", Therapy: device.Records}, " archive negligible medium [CT1]"},
		{"says what it is", []Claim{mr}, made("7"), "M9 patient monitor serious high [CT1]"},
	} {
		r := NewRegister()
		r.At(ip("10.20.8.11"), 1).Sent(1)
		r.Named(ip("10.20.8.11"), aet("CT1"), 1)
		r.Said(ip("10.20.8.11"), tt.said, 1)
		for _, c := range tt.stored {
			r.Stored(ip("10.20.8.11"), c, 2)
		}
		devices, _, _ := r.Devices(nil)
		d := devices[0]
		if got := fmt.Sprintf("%s %s %s %s %v", d.Model, d.Class, d.Harm, d.Confidence, d.Addresses[1:]); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
