// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

var (
	pump  = ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 1}, Kind: ble.StaticRandom}
	phone = ble.Address{Bytes: [6]byte{0x40, 0, 0x5e, 0, 0x53, 2}, Kind: ble.Resolvable}
)

func show(a *Access) string {
	s := fmt.Sprintf("%v", a.Op)
	if a.Op == Refused {
		s += fmt.Sprintf(" %v %02x", a.Asked, a.Error)
	}
	s += fmt.Sprintf(" %04x %v/%v", a.Handle, a.Service, a.Characteristic)
	if a.Descriptor != (UUID{}) {
		s += fmt.Sprintf("/%v", a.Descriptor)
	}
	if a.Value != nil {
		s += fmt.Sprintf(" %x", a.Value)
	}
	if a.Server == ble.Central {
		s += " at the central"
	}
	if a.Partial {
		s += " partial"
	}
	if a.Signed {
		s += " signed"
	}
	if a.Confidence != device.High {
		s += " " + a.Confidence.String()
	}
	return strings.TrimSpace(s)
}

// A talk is what two sides say: "c" or "p" and a PDU in hexadecimal a line; "?" is
// of an unknown side. A line that begins with ">" is an access that is expected
// from the lines before it, "!" an error.
type talk struct {
	t       testing.TB
	tracker *Tracker
	said    []string
	now     int64
}

func newTalk(t testing.TB, cache *Cache) *talk {
	k := &talk{t: t}
	c := &ble.Connection{Central: phone, Peripheral: pump}
	k.tracker = NewTracker(c, cache, func(a *Access) {
		if a.Op == Discover && a.Characteristic == (UUID{}) && a.Service == (UUID{}) {
			t.Error("nothing is discovered")
		}
		k.said = append(k.said, show(a))
	})
	return k
}

func (k *talk) play(script string) {
	k.t.Helper()
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "":
		case "bearer":
			k.tracker.connection.Bearer = uint16(rest[0])
		case "wait":
			k.now += 31e9
		case "close":
			k.tracker.Close()
		case ">":
			if len(k.said) == 0 {
				k.t.Fatalf("line %d: %s: nothing more was said", n, line)
			}
			if k.said[0] != rest {
				k.t.Errorf("line %d:\n got %s\nwant %s", n, k.said[0], rest)
			}
			k.said = k.said[1:]
		case "c", "p", "?", "c!", "p!":
			side := map[byte]ble.Side{'c': ble.Central, 'p': ble.Peripheral, '?': ble.UnknownSide}[kind[0]]
			if len(k.said) > 0 {
				k.t.Fatalf("line %d: not expected: %s", n, k.said[0])
			}
			k.now++
			err := k.tracker.PDU(side, unhex(k.t, rest), k.now)
			if (err != nil) != (len(kind) == 2) {
				k.t.Errorf("line %d: %v", n, err)
			}
		default:
			k.t.Fatalf("line %d: %q", n, line)
		}
	}
	if len(k.said) > 0 {
		k.t.Errorf("not expected: %v", k.said)
		k.said = nil
	}
}

// A phone discovers an insulin pump in every way there is.
const discovery = `
	c 10 0100 ffff 0028
	p 11 06 0100 0500 0018 0600 0900 0118
	> discover 0001 0x1800/
	> discover 0006 0x1801/
	c 10 0a00 ffff 0028
	p 11 14 0a00 1400 9ecadc240ee5a9e093f3a3b50100406e   # 128 bits
	> discover 000a 6E400001-B5A3-F393-E0A9-E50E24DCCA9E/
	c 10 1500 ffff 0028
	p 01 10 1500 0a                                      # attribute not found: no refusal
	c 06 0100 ffff 0028 3a18
	p 07 2000 3000
	> discover 0020 0x183A/
	c 08 2000 3000 0228
	p 09 08 2100 4000 4500 0f18                          # includes a secondary service
	> discover 0040 0x180F/
	c 08 0100 0500 0328
	p 09 07 0200 02 0300 002a  0400 02 0500 012a
	> discover 0003 0x1800/0x2A00
	> discover 0005 0x1800/0x2A01
	c 08 0600 0900 0328
	p 09 07 0700 20 0800 052a
	> discover 0008 0x1801/0x2A05
	c 08 0a00 1400 0328
	p 09 15 0b00 04 0c00 9ecadc240ee5a9e093f3a3b50200406e
	> discover 000c 6E400001-B5A3-F393-E0A9-E50E24DCCA9E/6E400002-B5A3-F393-E0A9-E50E24DCCA9E
	c 08 2000 3000 0328
	p 09 07 2200 28 2300 252b  2500 22 2600 212b
	> discover 0023 0x183A/0x2B25
	> discover 0026 0x183A/0x2B21
	c 04 2400 2400
	p 05 01 2400 0229
	c 04 4100 4500
	p 05 01 4100 0328 4200 192a 4300 0229
	> discover 0042 0x180F/0x2A19
	c 04 0d00 1400
	p 05 02 0d00 9ecadc240ee5a9e093f3a3b50300406e
	> discover 000d 6E400001-B5A3-F393-E0A9-E50E24DCCA9E/6E400003-B5A3-F393-E0A9-E50E24DCCA9E
`

func TestDiscovery(t *testing.T) {
	k := newTalk(t, nil)
	k.play(discovery)
	k.play(discovery[strings.LastIndex(discovery, "c 04 4100"):strings.Index(discovery, "> discover 0042")]) // again: nothing new
	k.play(`
		c 12 2400 0200
		> write 0024 0x183A/0x2B25/0x2902 0200
		p 13
		c 12 2300 660f
		> write 0023 0x183A/0x2B25 660f
		p 13
		p 1d 2300 550f660f0f
		> indicate 0023 0x183A/0x2B25 550f660f0f
		c 1e
		c 52 0c00 0102
		> write command 000c 6E400001-B5A3-F393-E0A9-E50E24DCCA9E/6E400002-B5A3-F393-E0A9-E50E24DCCA9E 0102
		p 1b 4200 63
		> notify 0042 0x180F/0x2A19 63
		? 1b 4200 62
		> notify 0042 0x180F/0x2A19 62
		c 12 4300 0100
		> write 0043 0x180F/0x2A19/0x2902 0100
		p 1b 2f00 01            # in the service, but of no known type
		> notify 002f 0x183A/ 01 
		c 0a ff00
		p 0b 01
		> read 00ff / 01 
	`)
	db := k.tracker.Database(ble.Peripheral)
	var got []string
	for u := range db.Services() {
		got = append(got, u.String())
	}
	want := []string{"0x1800", "0x1801", "6E400001-B5A3-F393-E0A9-E50E24DCCA9E", "0x183A", "0x180F"}
	if !slices.Equal(got, want) {
		t.Errorf("services %v", got)
	}
	if !db.Has(UUID16(svcInsulin)) || db.Has(UUID16(svcCGM)) || !db.Worn() || db.Therapies() != device.TherapiesOf(device.InsulinInfusion) {
		t.Error("the services are not what they are")
	}
	vendor := UUID{1, 2, 3}
	for u, medical := range map[UUID]bool{
		vendor: true, UUID16(svcInsulin): true, UUID16(0x180f): false, UUID16(0xfff0): false, {}: false,
		known("6E400001" + nordicUART): false,
	} {
		if db.Medical(u) != medical {
			t.Errorf("%v: medical is %v", u, !medical)
		}
	}
	if new(Database).Medical(vendor) {
		t.Error("an unknown service alone is medical")
	}
}

func TestReads(t *testing.T) {
	k := newTalk(t, nil)
	k.play(discovery)
	k.play(`
		c 0a 4200
		p 0b 63
		> read 0042 0x180F/0x2A19 63
		c 08 0100 ffff 002a
		p 09 05 0300 416461
		> read 0003 0x1800/0x2A00 416461
		c 0e 4200
		p 0f 63
		> read 0042 0x180F/0x2A19 63
		c 0e 0300 4200
		p 0f 41646163
		> read 0003 0x1800/0x2A00 partial
		> read 0042 0x180F/0x2A19 partial
		c 20 0300 4200
		p 21 0300 416461 0100 63
		> read 0003 0x1800/0x2A00 416461
		> read 0042 0x180F/0x2A19 63
		c 20 0300 4200
		p 21 0300 416461 0900 63  # cut by the MTU
		> read 0003 0x1800/0x2A00 416461
		> read 0042 0x180F/0x2A19 63 partial

		# 22 bytes fill a PDU of 23: there may be more.
		c 0a 0300
		p 0b 00000000000000000000000000000000000000000011
		c 0c 0300 1600
		p 0d 22
		> read 0003 0x1800/0x2A00 0000000000000000000000000000000000000000001122
		c 0a 0300
		p 0b 00000000000000000000000000000000000000000033
		c 0c 0300 1600
		p 01 0c 0300 0b        # attribute not long
		> read 0003 0x1800/0x2A00 00000000000000000000000000000000000000000033
		c 0a 0300
		p 0b 00000000000000000000000000000000000000000044
		p 1b 4200 61
		> notify 0042 0x180F/0x2A19 61
		c 0a 4200
		> read 0003 0x1800/0x2A00 00000000000000000000000000000000000000000044
		p 0b 60
		> read 0042 0x180F/0x2A19 60
		c 0c 0300 1600         # the beginning was not captured
		p 0d 22
		> read 0003 0x1800/0x2A00 partial
		c 0c 0300 0000
		p 0d 22
		> read 0003 0x1800/0x2A00 22
		c 0a 0300
		p 0b 00000000000000000000000000000000000000000055
		close
		> read 0003 0x1800/0x2A00 00000000000000000000000000000000000000000055

		c 02 f700
		p 03 b900
		c 0a 0300
		p 0b 00000000000000000000000000000000000000000066
		> read 0003 0x1800/0x2A00 00000000000000000000000000000000000000000066
	`)
	if k.tracker.MTU() != 0xb9 {
		t.Errorf("MTU %d", k.tracker.MTU())
	}
}

func TestRequests(t *testing.T) {
	k := newTalk(t, nil)
	k.play(discovery)
	k.play(`
		p 0b 01                # an answer to nothing
		c 0a 4200
		p 0b 63
		> read 0042 0x180F/0x2A19 63
		p 0b 64                # a second one
		c 0a 4200
		wait
		p 0b 63                # after thirty seconds the bearer is dead
		c 0a 0300              # not answered, or not seen
		c 0a 4200
		p 0b 63
		> read 0042 0x180F/0x2A19 63 low
		c 0a 4200              # told apart by opcode
		c 08 0300 0300 002a
		p 0b 63
		> read 0042 0x180F/0x2A19 63
		p 09 05 0300 416461
		> read 0003 0x1800/0x2A00 416461
		bearer 1               # told apart by channel
		c 0a 4200
		bearer 2
		c 0a 0300
		p 0b 416461
		> read 0003 0x1800/0x2A00 416461
		bearer 1
		p 0b 63
		> read 0042 0x180F/0x2A19 63

		# Errors with their requests.
		c 0a 2600
		p 01 0a 2600 05
		> refused read 05 0026 0x183A/0x2B21
		c 12 2300 660f
		> write 0023 0x183A/0x2B25 660f
		p 01 12 2300 82
		> refused write 82 0023 0x183A/0x2B25
		c 08 0100 ffff 002a
		p 01 08 0300 0f
		> refused read 0f 0003 0x1800/0x2A00
		c 08 0100 ffff 042a
		p 01 08 0100 0a        # there is none
		c 10 4600 ffff 0028
		p 01 10 4600 08
		> refused discover 08 0046 /
		p 01 0a 2600 0a
		> refused read 0a 0026 0x183A/0x2B21

		# The pump reads the phone's clock: the servers are two.
		p 08 0100 ffff 2b2a
		c 09 0c 4200 ea0703030700000200 00
		> discover 0042 /0x2A2B at the central
		> read 0042 /0x2A2B ea070303070000020000 at the central
		c 1b 4200 ea070303070100020000
		> notify 0042 /0x2A2B ea070303070100020000 at the central
		p 52 4200 00
		> write command 0042 /0x2A2B 00 at the central
		c d2 4200 0102 000000000000000000000000
		> write command 0042 0x180F/0x2A19 0102 signed
		p 23 4200 0100 63 2600 0200 5533
		> notify 0042 0x180F/0x2A19 63
		> notify 0026 0x183A/0x2B21 5533

		# The server changed.
		p 1d 0800 2000 3000
		> indicate 0008 0x1801/0x2A05 20003000
		c 1e
		p 1d 2300 55
		> indicate 0023 / 55 
	`)
	a := Access{Op: Refused, Error: 5}
	if !a.Defends() {
		t.Error("insufficient authentication is no defence")
	}
	a.Error = 0x82
	if a.Defends() || (&Access{Op: Read, Error: 5}).Defends() {
		t.Error("what is no defence is one")
	}
}

func TestPreparedWrites(t *testing.T) {
	k := newTalk(t, nil)
	k.play(discovery)
	k.play(`
		c 16 2300 0000 4b11
		p 17 2300 0000 4b11
		c 16 4200 0000 aa
		p 17 4200 0000 aa
		c 16 2300 0200 0033
		p 17 2300 0200 0033
		c 18 01
		> write 0023 0x183A/0x2B25 4b110033
		> write 0042 0x180F/0x2A19 aa
		p 19
		c 18 01                 # nothing is left
		p 19
		c 16 2300 0000 4b11
		p 17 2300 0000 4b11
		c 18 00                 # cancelled
		p 19
		c 18 01
		p 19
		c 16 2300 0200 4b11     # the first part was not captured
		p 17 2300 0200 4b11
		c 18 01
		> write 0023 0x183A/0x2B25  partial
		p 19
		c 16 2300 0000 4b11
		p 17 2300 0000 4b11
		c 16 2300 0200 00
		p 01 16 2300 09         # the queue is full: this part is not in it
		> refused write 09 0023 0x183A/0x2B25
		c 18 01
		> write 0023 0x183A/0x2B25 4b11
		p 19
	`)
	part := unhex(t, "16 2300 0000")
	for i := range maxParts + 1 {
		binary.LittleEndian.PutUint16(part[3:], uint16(i*20))
		if err := k.tracker.PDU(ble.Central, append(part, make([]byte, 20)...), 1); err != nil {
			t.Fatal(err)
		}
	}
	if k.tracker.Lost() != 1 {
		t.Errorf("%d parts were lost", k.tracker.Lost())
	}
	_ = k.tracker.PDU(ble.Central, []byte{0x18, 1}, 1)
	if len(k.said) != 1 || !strings.HasSuffix(k.said[0], " partial") || len(k.said[0]) < 2*500 || len(k.said[0]) > 2*maxValue+60 {
		t.Errorf("%d values were written", len(k.said))
	}
}

func TestCache(t *testing.T) {
	var cache Cache
	k := newTalk(t, &cache)
	k.play(discovery)
	k.play("close")

	// The phone connects again, bonded, and does not ask.
	k = newTalk(t, &cache)
	k.play(`
		c 12 2300 660f
		> write 0023 0x183A/0x2B25 660f medium
		c 12 2700 0100          # its CCCD was never seen, but behind IDD Status there is one
		> write 0027 0x183A/0x2B21/0x2902 0100 medium
		c 12 2700 0400
		> write 0027 0x183A/ 0400 
		c 12 0d00 0100          # not behind what cannot be notified
		> write 000d 6E400001-B5A3-F393-E0A9-E50E24DCCA9E/6E400003-B5A3-F393-E0A9-E50E24DCCA9E 0100 medium
		c 0a 4200
		c 0a 4200
		p 0b 63
		> read 0042 0x180F/0x2A19 63 low
		p 1d 0800 2000 3000
		> indicate 0008 0x1801/0x2A05 20003000 medium
		p 1d 2300 55
		> indicate 0023 / 55 
	`)

	// Somebody else's handles are not taken.
	other := NewTracker(&ble.Connection{Peripheral: ble.Address{Kind: ble.Public}}, &cache, func(a *Access) {
		if a.Confidence != device.NoConfidence {
			t.Error(show(a))
		}
	})
	if err := other.PDU(ble.Peripheral, unhex(t, "1b 4200 63"), 0); err != nil {
		t.Error(err)
	}

	var db Database
	db.add(attribute{handle: 3, uuid: UUID16(0x2a00)})
	for i := range uint16(maxServers) {
		a := ble.Address{Kind: ble.Public}
		binary.BigEndian.PutUint16(a.Bytes[:], i)
		cache.learn(a, &db, false)
	}
	if cache.Evicted() != 1 || cache.lookup(pump) != nil || len(cache.servers) != maxServers {
		t.Errorf("%d evicted, %d left", cache.Evicted(), len(cache.servers))
	}
}

// A tracker of another connection knows nothing of the one before.
func TestReset(t *testing.T) {
	k := newTalk(t, nil)
	k.play(discovery)
	k.play(`
		c 02 f700
		p 03 f700
		c 0a 2300
		c 16 2300 0000 660f
		p 17 2300 0000 660f
	`)
	k.tracker.Reset(&ble.Connection{Central: phone, Peripheral: pump})
	k.play(`
		p 0b 55                 # to what the other connection asked
		c 18 01                 # nothing is prepared
		c 12 2300 660f
		> write 0023 / 660f 
	`)
	if k.tracker.MTU() != ble.DefaultMTU || k.tracker.Database(ble.Peripheral).Has(UUID16(0x183a)) {
		t.Errorf("MTU %d", k.tracker.MTU())
	}
}

// What is discovered later names a handle when the same is followed again, but
// not where handles moved.
func TestForesee(t *testing.T) {
	const used = `
		c 12 2300 660f
		> write 0023 / 660f 
		p 1d 2300 55
		> indicate 0023 / 55 
		close
	`
	named := strings.NewReplacer("/ 660f ", "0x183A/0x2B25 660f medium", "/ 55 ", "0x183A/0x2B25 55 medium").Replace(used)
	for _, tt := range []struct {
		name     string
		later    []string // connections
		foresees bool
	}{
		{"nothing", nil, false},
		{"discovery", []string{discovery + "close"}, true},
		{"of other handles", []string{"c 10 0100 ffff 0028\n p 11 06 0100 0500 0018\n > discover 0001 0x1800/\n close"}, false},
		{"handles that move", []string{discovery + "close", "p 1d 0800 0100 ffff\n > indicate 0008 0x1801/0x2A05 0100ffff medium\n" + discovery + "close"}, false},
		{"and say nothing of it", []string{discovery + "close", strings.NewReplacer("252b", "262b", "2B25", "2B26").Replace(discovery) + "close"}, false},
	} {
		var first, second Cache
		newTalk(t, &first).play(used)
		for _, later := range tt.later {
			newTalk(t, &first).play(later)
		}
		if first.Foresees() != tt.foresees {
			t.Errorf("%s: foresees %v", tt.name, first.Foresees())
		}
		second.Foresee(&first)
		want := used
		if tt.foresees {
			want = named
		}
		newTalk(t, &second).play(want)
		if second.Foresees() {
			t.Errorf("%s: a third look would say more", tt.name)
		}
	}
	var flood Cache
	for i := range 2 * maxMissed {
		flood.miss(pump, uint16(i))
	}
	if len(flood.missed) != maxMissed || !flood.many || flood.Foresees() {
		t.Errorf("%d missed", len(flood.missed))
	}
}

func TestTrackerBounds(t *testing.T) {
	k := newTalk(t, nil)
	// Handles of one request to read several.
	k.play("c 20 " + strings.Repeat("0300", maxHandles))
	if k.tracker.Lost() != 0 {
		t.Errorf("%d lost", k.tracker.Lost())
	}
	k.play("c 20 " + strings.Repeat("0300", maxHandles+1))
	if k.tracker.Lost() != 1 {
		t.Errorf("%d lost", k.tracker.Lost())
	}
	// Bytes that wait to be written: 41 parts of 100, then one that does not fit.
	k = newTalk(t, nil)
	for range maxQueueBytes / 100 {
		k.play("c 16 0300 0000 " + strings.Repeat("01", 100))
	}
	k.play("c 16 0300 0000 " + strings.Repeat("01", maxQueueBytes%100))
	if n := len(k.tracker.servers[0].queue); n != maxQueueBytes || k.tracker.Lost() != 0 {
		t.Errorf("%d bytes, %d lost", n, k.tracker.Lost())
	}
	if k.play("c 16 0300 0000 01"); k.tracker.Lost() != 1 {
		t.Errorf("%d lost", k.tracker.Lost())
	}
	// Requests of as many bearers as are remembered; one more takes the place of the oldest.
	for _, more := range []int{0, 1} {
		k = newTalk(t, nil)
		for b := range maxPending + more {
			k.tracker.connection.Bearer = uint16(0x40 + b)
			k.play(fmt.Sprintf("c 0a %02x00", b+1))
		}
		k.tracker.connection.Bearer = 0x40
		if more == 0 {
			k.play("p 0b 55\n > read 0001 / 55 ")
		} else {
			k.play("p 0b 55") // to what was forgotten
		}
	}
	// Handles whose values look like something: nine in turns are never believed.
	var s shapes
	for _, n := range []uint16{maxShapes, maxShapes + 1} {
		s = shapes{}
		believed := false
		for i := range uint16(weakShapes) * n {
			believed = s.believed(0, i%n, shape{characteristic: 1}) || believed
		}
		if believed != (n == maxShapes) {
			t.Errorf("%d handles: believed %v", n, believed)
		}
	}
}

func TestDatabaseBounds(t *testing.T) {
	var db Database
	for h := uint16(1); h <= maxAttributes+5; h++ {
		db.add(attribute{handle: h, uuid: UUID16(0x2a00)})
	}
	if len(db.attributes) != maxAttributes || db.Lost != 5 {
		t.Errorf("%d attributes, %d lost", len(db.attributes), db.Lost)
	}
	db = Database{}
	for h := uint16(1); h <= maxServices+5; h++ {
		db.addService(service{h, h, UUID16(0x1800)})
	}
	if len(db.services) != maxServices || db.Lost != 5 {
		t.Errorf("%d services, %d lost", len(db.services), db.Lost)
	}
	// A service over others takes their place.
	db = Database{}
	db.addService(service{1, 5, UUID16(0x1800)})
	db.add(attribute{handle: 3, uuid: UUID16(0x2a00)})
	db.addService(service{6, 9, UUID16(0x1801)})
	db.addService(service{20, 0xffff, UUID16(0x180f)})
	if !db.addService(service{4, 8, UUID16(0x180d)}) || len(db.services) != 2 || db.services[0].uuid != UUID16(0x180d) || len(db.attributes) != 0 {
		t.Errorf("%+v", db)
	}
	for _, s := range []service{{0, 5, UUID16(1)}, {5, 4, UUID16(1)}, {5, 6, UUID{}}} {
		if db.addService(s) {
			t.Errorf("%+v is a service", s)
		}
	}
	if db.serviceAt(0xffff) == nil || db.serviceAt(10) != nil || db.serviceAt(0) != nil {
		t.Error("services are found where they are not")
	}
}

func TestPDURefused(t *testing.T) {
	k := newTalk(t, nil)
	for _, s := range []string{
		"", "00", "01", "01 0a 0100", "02 17", "03 170000", "04 0100", "05", "05 01", "05 03 0100 0229", "05 01 0100 02", "06 0100 ffff 00", "07", "07 010002",
		"08 0100 ffff", "08 0100 ffff 000102", "09 01 00", "09 07 01", "0a 01", "0a 010000", "0c 0100", "0e", "0e 010000", "11 03 010001", "11 06 0100",
		"12 01", "13 00", "14", "16 0100 00", "18", "18 0100", "1b 01", "1e 00", "20 01", "52 01", "d2 0100 0000000000000000000000", "ff", "7e",
	} {
		err := k.tracker.PDU(ble.Central, unhex(t, s), 0)
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if len(k.said) > 0 {
		t.Error("something was said")
	}
}

func TestTrackerAllocatesNothing(t *testing.T) {
	k := newTalk(t, new(Cache))
	k.play(discovery)
	n := 0
	k.tracker.say = func(a *Access) { n += len(a.Value) }
	pdus := [][]byte{
		unhex(t, "1b 4200 63"), unhex(t, "12 2300 660f"), unhex(t, "13"), unhex(t, "1d 2300 550f660f0f"), unhex(t, "1e"),
		unhex(t, "0a 2600"), unhex(t, "0b 5533"), unhex(t, "52 0c00 0102"), unhex(t, "1b ff00 01"), unhex(t, "23 4200 0100 63"),
	}
	if allocs := testing.AllocsPerRun(100, func() {
		for _, b := range pdus {
			_ = k.tracker.PDU(ble.UnknownSide, b, 1)
		}
	}); allocs != 0 || n == 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkTracker(b *testing.B) {
	k := newTalk(b, new(Cache))
	k.play(discovery)
	k.tracker.say = func(*Access) {}
	pdu := unhex(b, "1b 4200 63")
	for b.Loop() {
		_ = k.tracker.PDU(ble.Peripheral, pdu, 1)
	}
}

// The fuzzer's bytes are PDUs: a side, a length, the bytes.
func FuzzTracker(f *testing.F) {
	var seed []byte
	for line := range strings.Lines(discovery) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if kind, rest, _ := strings.Cut(line, " "); kind == "c" || kind == "p" {
			pdu := unhex(f, rest)
			seed = append(append(seed, kind[0], byte(len(pdu))), pdu...)
		}
	}
	f.Add(seed)
	f.Add([]byte("c\x06\x16\x23\x00\x00\x00\x01c\x02\x18\x01"))
	f.Add([]byte("c\x03\x0a\x03\x00p\x17\x0b0000000000000000000000c\x05\x0c\x03\x00\x16\x00p\x02\x0d0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var cache Cache
		play := func() (said []string) {
			tracker := NewTracker(&ble.Connection{Peripheral: pump, Central: phone}, &cache, func(a *Access) {
				if len(a.Value) > len(b) {
					t.Fatal("a value longer than what was sent")
				}
				if (a.Confidence == device.NoConfidence) != (a.Characteristic == (UUID{}) && a.Op != Discover) {
					t.Fatalf("confidence %v in %v", a.Confidence, a.Characteristic)
				}
				said = append(said, show(a))
			})
			rest := b
			for now := int64(0); len(rest) > 1; now += 1e8 {
				side := ble.Side(rest[0] % 3)
				n := min(int(rest[1]), len(rest)-2)
				in := bytes.Clone(rest[2 : 2+n])
				_ = tracker.PDU(side, rest[2:2+n:2+n], now)
				if !bytes.Equal(in, rest[2:2+n]) {
					t.Fatal("the input was changed")
				}
				rest = rest[2+n:]
			}
			db := tracker.Database(ble.Peripheral)
			for i := range db.services {
				if i > 0 && db.services[i-1].last >= db.services[i].first {
					t.Fatal("services overlap")
				}
			}
			if !slices.IsSortedFunc(db.attributes, func(a, b attribute) int { return int(a.handle) - int(b.handle) }) {
				t.Fatal("attributes are not in order")
			}
			tracker.Close()
			return said
		}
		first := play()
		cache = Cache{}
		if second := play(); !slices.Equal(first, second) {
			t.Fatal("the same input was read in two ways")
		}
		play() // from the cache
	})
}
