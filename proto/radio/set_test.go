// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/myelin-health/myelin/device"
)

// sampleFrames are laid out by hand from the dialects' files; the CRCs are
// those of a bit-by-bit program in another language, the sum of the wand was added up on paper.
var sampleFrames = []struct{ dialect, hex, want string }{
	{
		"halden-wand", "55 55 7e81 05 012345 30 5a 08",
		"therapies command to-device; set-therapies defibrillation proposed [0 1] [] []; channel 0 order device-identity",
	},
	{
		"halden-mics", "aa 2dd448 0b 78563412 0201 5aa5 07 30 00 f76c",
		"therapies command to-device; set-therapies defibrillation proposed [0 1] [] []; channel 0 order device-identity",
	},
	{
		"halden-mics", "aa 2dd448 0c 78563412 0201 5aa5 08 81 af08 4b01",
		"awake status from-device; channel 0 device-identity",
	},
	{
		"halden-mics", "aa 2dd448 0c 78563412 0201 5aa5 07 bf 30 02 9ea2",
		"answer answer from-device; outcome 2; channel 0 device-identity",
	},
	{
		"halden-mics", "aa 2dd448 26 78563412 0201 5aa5 09 9152687974686d205300000000342e3220202048433030343831353136 64de",
		"identity identity from-device; channel 0 device-identity;  Rhythm S 4.2, serial true",
	},
	{
		"halden-mics-protected", "aa 2dd450 16 ddccbbaa 01000000 30 0102030405 1122334455667788 e7a7",
		"therapies command to-device; set-therapies defibrillation proposed [] [] []; channel 7",
	},
	{
		"okapi-classic", "ff 0fc3 9c 123456 42 00a0 79",
		"bolus command to-device; deliver-bolus insulin infusion proposed [4.000 [iU]] [] []; channel 0 order device-identity",
	},
	{
		"okapi-classic", "ff 0fc3 9c 123456 60 0000a1 07 0028 89",
		"glucose command to-device; report-glucose insulin infusion proposed [40 mg/dL] [] []; channel 0 result device-identity",
	},
	{
		"okapi-classic", "ff 0fc3 9c 123456 4d 01 00 5c",
		"delivery command to-device; suspend insulin infusion proposed [] [] []; channel 0 order device-identity",
	},
	{
		"okapi-patch", "54 c35a 1f00ee87 31 0a 94c3a1b2 1d 10 053ff064 8c23",
		"status report from-device; channel 6 result device-identity",
	},
	{
		"tessel-calm", "00 b66d 05 44332211 20 03 5e810c a152",
		"amplitude command to-device; set-amplitude neurostimulation proposed [3.50 V] [2.00 V] []; channel 0 order device-identity",
	},
	{
		"tessel-calm-protected", "00 b66e a1b2c3d4 00002a 22 00 1122334455667788 6131",
		"stimulation-off command to-device; stimulation-off neurostimulation proposed [] [] []; channel 6 order",
	},
	{
		"okapi-classic-protected", "ff 0f3c a1b2c3d4 0000002a 43 00 1122334455667788 94bb",
		"cancel-bolus command to-device; cancel-bolus insulin infusion proposed [] [] []; channel 6 order",
	},
}

func samples(t testing.TB) *Set {
	t.Helper()
	var s Set
	for _, d := range Samples() {
		if err := s.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	return &s
}

func TestSamples(t *testing.T) {
	set := samples(t)
	seen := map[string]bool{}
	var m, n Message
	for _, tt := range sampleFrames {
		d := set.Named(tt.dialect)
		if d == nil {
			t.Fatalf("no dialect %s", tt.dialect)
		}
		seen[tt.dialect] = true
		frame := unhex(t, tt.hex)
		err := d.Parse(frame, &m)
		if err != nil || show(&m) != tt.want {
			t.Errorf("%s %s: %v\n got %s\nwant %s", tt.dialect, tt.hex, err, show(&m), tt.want)
			continue
		}
		if got := d.Append(nil, &m); !bytes.HasSuffix(frame, got) || len(frame)-len(got) > 1 {
			t.Errorf("%s %s: appended %x", tt.dialect, tt.hex, got)
		}
		confidence := set.Identify(frame, &n)
		if n.Dialect != d || confidence < device.Medium || show(&n) != tt.want {
			t.Errorf("%s %s: taken for %v with confidence %q", tt.dialect, tt.hex, n.Dialect, confidence)
		}
	}
	for _, d := range Samples() {
		if !seen[d.Name] || !d.Worn || d.Manufacturer == "" || d.Repeats == 0 {
			t.Errorf("%s: frames %v, worn %v, %s, %v", d.Name, seen[d.Name], d.Worn, d.Manufacturer, d.Repeats)
		}
	}
}

// fill sets every field of m to something that it can be.
func fill(t testing.TB, m *Message, r *rand.Rand) {
	t.Helper()
	for i := range m.n {
		f := m.field(i)
		var err error
		switch {
		case i == m.Dialect.frame.rest || f.kind == constant || f.kind == opcode || f.kind == length || f.kind == checksum:
			continue
		case fieldKinds[f.kind].octets:
			n := f.bits / 8
			if n == 0 {
				n = r.IntN(m.room(i) + 1)
			}
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			err = m.SetBytes(f.name, b)
		case f.kind == bcd:
			err = m.Set(f.name, r.Int64N(pow10(f.bits/4)))
		case f.kind == signed:
			err = m.Set(f.name, r.Int64()>>(64-f.bits))
		default:
			err = m.Set(f.name, int64(r.Uint64()>>(64-f.bits)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// TestRoundTrip: what was set, written and read is what was set, and is written
// the same again; and no other dialect takes the frame.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	set := samples(t)
	if err := set.Add(load(t, pump)); err != nil {
		t.Fatal(err)
	}
	for _, d := range set.dialects {
		for _, o := range d.Opcodes {
			for range 8 {
				m, err := d.Message(o.Name)
				if err != nil {
					t.Fatal(err)
				}
				fill(t, m, r)
				frame := d.Append(nil, m)
				var back, again Message
				if err := d.Parse(frame, &back); err != nil {
					t.Fatalf("%s %s %x: %v", d.Name, o.Name, frame, err)
				}
				for i := range m.n {
					f := m.field(i)
					if i == d.frame.rest || f.kind == constant || f.kind == length || f.kind == checksum {
						continue
					}
					if v, w := m.values[i], back.values[i]; v.n != w.n || !bytes.Equal(v.b, w.b) {
						t.Fatalf("%s %s: field %s differs", d.Name, o.Name, f.name)
					}
				}
				if got := d.Append(nil, &back); !bytes.Equal(got, frame) {
					t.Fatalf("%s %s: %x written again as %x", d.Name, o.Name, frame, got)
				}
				if set.Identify(frame, &again); again.Dialect != d {
					t.Errorf("%s %s %x: taken for another", d.Name, o.Name, frame)
				} else if show(&again) != show(&back) {
					t.Errorf("%s and %s", show(&again), show(&back))
				}
			}
		}
	}
}

// TestIdentifyRefuses: noise is of no dialect, nor is what two could have said.
func TestIdentifyRefuses(t *testing.T) {
	set := samples(t)
	r := rand.New(rand.NewPCG(1, 2))
	var m Message
	taken := 0
	for range 20_000 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if set.Identify(b, &m) != device.NoConfidence {
			taken++
		} else if m.Dialect != nil || m.Kind != Unknown {
			t.Fatalf("%x: %v", b, m.Dialect)
		}
	}
	if taken > 10 {
		t.Errorf("%d of 20000 frames of noise are taken for a dialect's", taken)
	}
	twin := *set.Named("okapi-classic")
	twin.Name = "twin"
	if err := set.Add(&twin); err != nil {
		t.Fatal(err)
	}
	if c := set.Identify(unhex(t, "ff 0fc3 9c 123456 42 00a0 79"), &m); c != device.NoConfidence || m.Dialect != nil {
		t.Errorf("two dialects alike: %q", c)
	}
}

func TestSet_Add(t *testing.T) {
	var s Set
	if s.Named("a") != nil || s.Identify(nil, new(Message)) != device.NoConfidence {
		t.Error("the empty set has a dialect")
	}
	for i := range maxDialects {
		if err := s.Add(&Dialect{Name: fmt.Sprint("d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Add(&Dialect{Name: "more"}) == nil {
		t.Error("one more than there is room for")
	}
	s = Set{}
	if s.Add(&Dialect{Name: "a"}) != nil || s.Add(&Dialect{Name: "a"}) == nil {
		t.Error("a name twice")
	}
}

// A dialect that nobody vouches for knows only the frames that no other does:
// one that lays out another's frames alike would make them nobody's.
func TestSet_AddLast(t *testing.T) {
	src, err := files.ReadFile("dialects/halden-mics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	copied := strings.Replace(string(src), "name: halden-mics", "name: impostor", 1)
	if !Detect(src) || !Detect([]byte("\ufeff# mine\n\n---\n"+copied)) {
		t.Error("a dialect is not known to be one")
	}
	for _, other := range []string{"", "dialect: 1x\n", "id,name\ndialect: 1\n", "  dialect: 1\n", "devices:\ndialect: 1\n", "{\ndialect: 1\n", "name: x\n"} {
		if Detect([]byte(other)) {
			t.Errorf("%q is a dialect", other)
		}
	}
	impostor, err := Load("impostor.yaml", []byte(copied))
	if err != nil {
		t.Fatal(err)
	}
	frame := unhex(t, "aa 2dd448 0b 78563412 0201 5aa5 07 30 00 f76c")
	identify := func(s *Set) string {
		var m Message
		if s.Identify(frame, &m) == device.NoConfidence {
			return ""
		}
		return m.Dialect.Name
	}
	var alike, last, alone Set
	for _, d := range Samples() {
		for _, s := range []*Set{&alike, &last} {
			if err := s.Add(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, err := range []error{alike.Add(impostor), last.AddLast(impostor), alone.AddLast(impostor)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{identify(&alike), identify(&last), identify(&alone)}; !reflect.DeepEqual(got, []string{"", "halden-mics", "impostor"}) {
		t.Errorf("%q", got)
	}
	if last.Named("impostor") != impostor || last.AddLast(impostor) == nil || last.Add(impostor) == nil {
		t.Error("it has no name of its own")
	}
}

func TestIdentifyAllocatesNothing(t *testing.T) {
	set := samples(t)
	frame := unhex(t, "aa 2dd448 0b 78563412 0201 5aa5 07 30 00 f76c")
	var m Message
	// The dialects that refuse the frame allocate their error.
	if n := testing.AllocsPerRun(100, func() { set.Identify(frame, &m) }); n > float64(len(set.dialects)) {
		t.Errorf("%v allocations", n)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(pump))
	entries, err := files.ReadDir("dialects")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		src, err := files.ReadFile("dialects/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := Load("f.yaml", src)
		if err != nil {
			e, ok := err.(*LoadError)
			if !ok || e.Line < 1 || e.Column < 1 || e.Problem == "" || strings.ContainsFunc(e.Problem, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%#v", err)
			}
			return
		}
		again, err := Load("f.yaml", src)
		if err != nil || !reflect.DeepEqual(d, again) {
			t.Fatal("the same file is two dialects")
		}
		// Whatever loads can be written and read.
		r := rand.New(rand.NewPCG(5, 8))
		for _, o := range d.Opcodes {
			m, err := d.Message(o.Name)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, m, r)
			frame := d.Append(nil, m)
			var back Message
			if err := d.Parse(frame, &back); err != nil {
				t.Fatalf("%s %x: %v", o.Name, frame, err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	dialects := append(Samples(), load(f, pump))
	for i := range dialects {
		for _, tt := range sampleFrames {
			f.Add(uint8(i), unhex(f, tt.hex))
		}
		for _, tt := range pumpFrames {
			f.Add(uint8(i), unhex(f, tt.hex))
		}
	}
	set := samples(f)
	f.Fuzz(func(t *testing.T, i uint8, frame []byte) {
		d := dialects[int(i)%len(dialects)]
		var m, n Message
		err := d.Parse(frame, &m)
		if again := d.Parse(frame, &n); (err == nil) != (again == nil) || err == nil && show(&m) != show(&n) {
			t.Fatalf("%v and %v", err, again)
		}
		set.Identify(frame, &n)
		if err != nil {
			return
		}
		for i := range m.n {
			if b := m.values[i].b; len(b) > 0 && !inside(frame, b) {
				t.Fatalf("field %s is outside the frame", m.field(i).name)
			}
		}
		written := d.Append(nil, &m)
		if !bytes.Equal(written[m.start():], frame[m.Off:]) {
			t.Fatalf("%x is written as %x", frame, written)
		}
		if err := d.Parse(written, &n); err != nil || show(&m) != show(&n) {
			t.Fatalf("%x is written as %x, %v", frame, written, err)
		}
	})
}

// start returns where the fields begin in what Append writes.
func (m *Message) start() int {
	if m.Sync {
		return len(m.Dialect.preamble) + len(m.Dialect.sync)
	}
	return 0
}

// inside reports whether b is a part of frame that cannot be appended to.
func inside(frame, b []byte) bool {
	for i := range frame {
		if &frame[i] == &b[0] {
			return i+len(b) <= len(frame) && cap(b) == len(b)
		}
	}
	return false
}

// TestMayBeOf holds that no sample is missed without being read.
func TestMayBeOf(t *testing.T) {
	for _, d := range Samples() {
		if !MayBeOf(d.Manufacturer, d.Model) || MayBeOf(d.Manufacturer, d.Model+"X") || MayBeOf("", d.Model) {
			t.Errorf("%s: %s %s", d.Name, d.Manufacturer, d.Model)
		}
	}
}
