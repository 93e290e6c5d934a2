// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"testing"

	"github.com/myelin-health/myelin/wire"
)

// A stretch is a steady part of a capture: frames that can be followed over and
// over.
type stretch struct {
	name   string
	link   wire.LinkType
	before func(w *world)
	frames []struct {
		flags uint32
		b     []byte
	}
}

func (s *stretch) add(flags uint32, b []byte) {
	s.frames = append(s.frames, struct {
		flags uint32
		b     []byte
	}{flags, b})
}

func (s *stretch) bytes() (n int64) {
	for _, f := range s.frames {
		n += int64(len(f.b))
	}
	return n
}

func stretches(t testing.TB) []*stretch {
	// A phone's log: a pump's notifications, a request and its answer, what the
	// controller counts, and who advertises meanwhile.
	hci := &stretch{name: "HCI", link: h4, before: func(w *world) { w.connect(static) }}
	acl := func(received bool, cid uint16, payload []byte, n int) {
		b := AppendL2CAP(nil, cid, payload)
		for start := true; len(b) > 0; start = false {
			flags := uint32(0)
			if received {
				flags = 1
			}
			hci.add(flags, AppendACL([]byte{H4ACL}, 0x40, start, received, b[:min(n, len(b))]))
			b = b[min(n, len(b)):]
		}
	}
	for range 4 {
		for range 4 {
			acl(true, CIDATT, append([]byte{0x1b, 9, 0}, make([]byte, 17)...), 251)
			hci.add(3, (&Event{Code: 0x13, Data: []byte{1, 0x40, 0, 1, 0}}).Append([]byte{H4Event}))
			hci.add(3, (&Advertisement{Advertiser: static, Connectable: true, Scannable: true, Data: make([]byte, 31)}).AppendReport([]byte{H4Event}))
			hci.add(3, (&Advertisement{Extended: true, Advertiser: public, HasADI: true, Data: make([]byte, 60)}).AppendReport([]byte{H4Event}))
		}
		acl(false, CIDATT, []byte{0x0a, 3, 0}, 251)
		acl(true, CIDATT, append([]byte{0x0b}, make([]byte, 100)...), 27)
	}

	air := &stretch{name: "air", link: nordic, before: func(w *world) { w.airConnect() }}
	packet := func(from Side, channel uint8, flags uint8, access, init uint32, pdu []byte) {
		if from == Central {
			flags |= 2
		}
		id := uint8(6)
		if access == AdvertisingAccess {
			id = 2
		}
		air.add(0, AppendAir([]byte{0, uint8(len(pdu) + 17), 0, 3, 0, 0, id, 10, flags, channel, 50, 0, 0, 0, 0, 0, 0}, access, init, pdu))
	}
	sn := uint8(0)
	for i := range 16 {
		data := AppendL2CAP(nil, CIDATT, append([]byte{0x1b, 9, uint8(i)}, make([]byte, 17)...))
		packet(Central, 5, 1, connect.Access, connect.CRCInit, AppendData(nil, LLIDContinuation, sn<<3|sn<<2, nil))
		packet(Peripheral, 5, 1, connect.Access, connect.CRCInit, AppendData(nil, LLIDStart, sn<<3|(sn^1)<<2, data))
		packet(UnknownSide, 37, 1, AdvertisingAccess, advertisingCRC, (&Advertisement{Advertiser: static, Connectable: true, Scannable: true, Data: make([]byte, 31)}).AppendPDU(nil))
		sn ^= 1
	}

	cipher := &stretch{name: "ciphertext", link: nordic, before: func(w *world) {
		w.airConnect()
		w.control(Central, encReq)
		w.control(Peripheral, encRsp)
		w.control(Peripheral, Control{Opcode: LLStartEncReq})
	}}
	for i, f := range air.frames {
		b := append([]byte(nil), f.b...)
		if i%3 == 1 {
			b[8] |= 4 // encrypted, and not decrypted
		}
		cipher.add(f.flags, b)
	}

	eatt := &stretch{name: "enhanced ATT", link: h4, before: func(w *world) {
		w.connect(static)
		w.pdu(Central, 512, CIDSignaling, unhex(t, "17 05 0a00 2700 f700 5000 0a00 4000"))
		w.pdu(Peripheral, 512, CIDSignaling, unhex(t, "18 05 0a00 f700 5000 0a00 0000 5000"))
	}}
	for i := range uint8(16) {
		for _, part := range [][]byte{{40, 0, 0x1b, 9, 0, i}, make([]byte, 36)} {
			eatt.add(1, AppendACL([]byte{H4ACL}, 0x40, true, true, AppendL2CAP(nil, 0x40, part)))
		}
	}
	return []*stretch{hci, air, cipher, eatt}
}

// play lets a follower follow a stretch once.
func (s *stretch) play(w *world) {
	for i := range s.frames {
		w.p.Decode(s.link, s.frames[i].flags, s.frames[i].b)
		w.f.Packet(w.stream, &w.p, w.now)
		w.now += 1e4
	}
}

// ready returns a world whose follower is in the middle of a stretch, and says nothing.
func (s *stretch) ready(t testing.TB) *world {
	w := newWorld(t)
	w.f = NewFollower(silent{})
	s.before(w)
	s.play(w)
	return w
}

func TestFollowerAllocatesNothing(t *testing.T) {
	for _, s := range stretches(t) {
		w := s.ready(t)
		before := w.f.Stats()
		if n := testing.AllocsPerRun(100, func() { s.play(w) }); n != 0 {
			t.Errorf("%s: %v allocations in %d packets", s.name, n, len(s.frames))
		}
		after := w.f.Stats()
		if after.Lost+after.BadCRC+after.Repeated != before.Lost+before.BadCRC+before.Repeated || s.name == "ciphertext" == (after.Unreadable == before.Unreadable) {
			t.Errorf("%s: this is no steady path: %+v, then %+v", s.name, before, after)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range stretches(b)[:2] {
		b.Run(s.name, func(b *testing.B) {
			var p Packet
			b.SetBytes(s.bytes())
			for b.Loop() {
				for i := range s.frames {
					p.Decode(s.link, s.frames[i].flags, s.frames[i].b)
				}
			}
			b.ReportMetric(float64(b.N*len(s.frames))/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// BenchmarkFollower is Decode and Packet of each frame.
func BenchmarkFollower(b *testing.B) {
	for _, s := range stretches(b) {
		b.Run(s.name, func(b *testing.B) {
			w := s.ready(b)
			b.SetBytes(s.bytes())
			for b.Loop() {
				s.play(w)
			}
			b.ReportMetric(float64(b.N*len(s.frames))/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

func BenchmarkATT(b *testing.B) {
	in := unhex(b, "1b 0900 0055")
	b.SetBytes(int64(len(in)))
	var a ATT
	for b.Loop() {
		if err := a.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCRC24(b *testing.B) {
	in := make([]byte, 39)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		CRC24(advertisingCRC, in)
	}
}
