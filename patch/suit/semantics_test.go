// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// install makes a manifest that installs on components a, b and c.
func install(commands ...Command) *Manifest {
	return &Manifest{
		SequenceNumber: 5,
		Components:     []ComponentID{NewComponentID("a"), NewComponentID("b"), NewComponentID("c")},
		Sections: []SectionCommands{{
			Section: SectionInstall, Commands: append([]Command{SetComponentIndex(0)}, commands...),
		}},
	}
}

// write writes a component.
func write(s string) []Command {
	return []Command{Override(Content([]byte(s))), Do(DirectiveWrite, 0)}
}

func seq(s ...[]Command) []Command { return slices.Concat(s...) }

// TestConditions asks each condition what holds and what does not, and what is not
// set, and once within a try-each, where no more than a condition that does not hold
// lets the next sequence be tried.
func TestConditions(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	other := [16]byte{9}
	image := []byte("installed")
	is := func(c Comparison, v ...int64) Parameter { return VersionIs(VersionMatch{c, v}) }
	for _, x := range []struct {
		code      Code
		yes, no   []Parameter
		unset     bool // it needs a parameter
		component uint64
	}{
		{ConditionVendorIdentifier, []Parameter{VendorIdentifier(vendor)}, []Parameter{VendorIdentifier(other)}, true, 0},
		{ConditionVendorIdentifier, nil, []Parameter{{ParameterVendorIdentifier, []byte{0xd8, 112, 0x43, 0x82, 0x9a, 0x01}}}, true, 0}, // an enterprise number
		{ConditionClassIdentifier, []Parameter{ClassIdentifier(class)}, []Parameter{ClassIdentifier(other)}, true, 0},
		{ConditionDeviceIdentifier, []Parameter{DeviceIdentifier([16]byte{15: 7})}, []Parameter{DeviceIdentifier(other)}, true, 0},
		{ConditionImageMatch, []Parameter{ImageDigest(Sum(image))}, []Parameter{ImageDigest(Sum(nil))}, true, 0},
		{ConditionImageMatch, []Parameter{ImageDigest(Sum(image[:4])), ImageSize(4)}, []Parameter{ImageDigest(Sum(image)), ImageSize(99)}, true, 0},
		{ConditionImageMatch, nil, []Parameter{ImageDigest(Sum(nil))}, true, 2}, // there is none
		{ConditionImageNotMatch, []Parameter{ImageDigest(Sum(nil))}, []Parameter{ImageDigest(Sum(image))}, true, 0},
		{ConditionImageNotMatch, []Parameter{ImageDigest(Sum(nil))}, nil, true, 2},
		{ConditionCheckContent, []Parameter{Content(image)}, []Parameter{Content(image[1:])}, true, 0},
		{ConditionCheckContent, []Parameter{Content(image)}, []Parameter{Content(append(image, 0))}, true, 0},
		{ConditionCheckContent, nil, []Parameter{Content(nil)}, true, 2},
		{ConditionComponentSlot, []Parameter{ComponentSlot(1)}, []Parameter{ComponentSlot(0)}, true, 0},
		{ConditionUseBefore, []Parameter{UseBefore(1764201601)}, []Parameter{UseBefore(1764201600)}, true, 0},
		{ConditionUseBefore, []Parameter{UseBefore(1 << 63)}, []Parameter{UseBefore(0)}, true, 0},
		{ConditionMinimumBattery, []Parameter{MinimumBattery(1000)}, []Parameter{MinimumBattery(1001)}, true, 0},
		{ConditionUpdateAuthorized, []Parameter{UpdatePriority(-3)}, []Parameter{UpdatePriority(-2)}, true, 0},
		{ConditionVersion, []Parameter{is(Equal, 2, 1)}, []Parameter{is(Greater, 2, 1)}, true, 0},
		{ConditionVersion, []Parameter{is(LesserEqual, 2, 1, 4)}, []Parameter{is(Lesser, 2, 1, 4)}, true, 0},
		{ConditionVersion, nil, []Parameter{is(GreaterEqual, 0)}, true, 2}, // nothing is installed
		{ConditionIsDependency, nil, []Parameter{UseBefore(0)}, false, 0},
		{ConditionAbort, nil, []Parameter{UseBefore(0)}, false, 0},
	} {
		check := func(p []Parameter, want bool) {
			t.Helper()
			var s []Command
			if p != nil {
				s = append(s, Override(p...))
			}
			s = append(s, Do(x.code, 0))
			for _, try := range []bool{false, true} {
				commands := append([]Command{SetComponentIndex(x.component)}, s...)
				if try {
					commands = []Command{TryEach(commands, append([]Command{SetComponentIndex(1)}, write("not held")...))}
				}
				d := newDevice()
				d.components[id("a")], d.slot = image, 1
				d.now, d.battery, d.priority = time.Unix(1764201600, 0), 1000, -3
				d.versions[id("a")] = Version{2, 1, 4}
				m := verified(t, newEnvelope(t, install(commands...), k), k)
				err := (&Processor{Platform: d, AnyDevice: true}).Run(m, Update)
				var run *RunError
				switch {
				case try:
					if err != nil || (d.components[id("b")] == nil) != want {
						t.Errorf("%v tried with %v: %v, %q; want %t", x.code, p, err, d.components[id("b")], want)
					}
				case want != (err == nil) || !want && (!errors.Is(err, ErrCondition) || !errors.As(err, &run) || run.Code != x.code):
					t.Errorf("%v with %v: %v; want %t", x.code, p, err, want)
				}
			}
		}
		if x.yes != nil {
			check(x.yes, true)
		}
		if x.no != nil {
			check(x.no, false)
		}
		if x.unset {
			check(nil, false)
		}
	}
}

// TestTimeUnknown lets nothing hold that depends on the time.
func TestTimeUnknown(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	for _, c := range [][]Command{
		{Override(UseBefore(1 << 40)), Do(ConditionUseBefore, 0)},
		{Override(WaitInfo(WaitEvent{Event: EventTime, Value: 0})), Do(DirectiveWait, 0)},
		{Override(WaitInfo(WaitEvent{Event: EventTimeOfDay, Value: 0})), Do(DirectiveWait, 0)},
	} {
		m := verified(t, newEnvelope(t, install(c...), k), k)
		if err := (&Processor{Platform: newDevice(), AnyDevice: true}).Run(m, Update); err == nil {
			t.Errorf("%v held, and the time is not known", c[1].Code)
		}
	}
}

// TestDirectives runs sequences and looks at what they leave.
func TestDirectives(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	set := func(p ...Parameter) Command {
		return Command{Code: DirectiveSetParameters, Parameters: NewParameters(p...)}
	}
	all := Command{Code: DirectiveSetComponentIndex, Index: Index{All: true}}
	for _, x := range []struct {
		name     string
		commands []Command
		want     string // contents of a, b and c
		err      error
	}{
		{"write", write("x"), "x..", nil},
		{"write of nothing", []Command{Do(DirectiveWrite, 0)}, "...", ErrStructure},
		{"write to all", seq([]Command{all}, write("x")), "xxx", nil},
		{"write to a list", seq([]Command{SetComponentIndex(2, 1)}, write("x")), ".xx", nil},
		{"write of what does not match", append([]Command{Override(ImageDigest(Sum(nil)))}, write("x")...), "...", ErrCondition},
		{"write of what is too long", append([]Command{Override(ImageSize(1))}, write("xx")...), "...", ErrCondition},
		{"write of what is too short", append([]Command{Override(ImageSize(3))}, write("xx")...), "...", ErrCondition},
		{"override overrides", []Command{Override(Content([]byte("x"))), Override(Content([]byte("y"))), Do(DirectiveWrite, 0)}, "y..", nil},
		{"set does not", []Command{Override(Content([]byte("x"))), set(Content([]byte("y"))), Do(DirectiveWrite, 0)}, "x..", nil},
		{"set sets", []Command{set(Content([]byte("y"))), Do(DirectiveWrite, 0)}, "y..", nil},
		{"parameters are a component's", append(write("x"), SetComponentIndex(1), Do(DirectiveWrite, 0)), "x..", ErrStructure},
		{"override-multiple", []Command{{Code: DirectiveOverrideMultiple, Multiple: []IndexedParams{
			{0, NewParameters(Content([]byte("x")))}, {2, NewParameters(Content([]byte("z")))},
		}}, Do(DirectiveWrite, 0)}, "..z", nil}, // the last one is current
		{"copy-params", []Command{
			Override(Content([]byte("x"))), SetComponentIndex(1),
			{Code: DirectiveCopyParams, Copy: []CopiedParams{{0, []ParameterKey{ParameterContent}}}},
			Do(DirectiveWrite, 0),
		}, ".x.", nil},
		{"copy-params of what is not set", []Command{
			{Code: DirectiveCopyParams, Copy: []CopiedParams{{1, []ParameterKey{ParameterContent}}}},
		}, "...", ErrStructure},
		{"copy", append(write("x"), SetComponentIndex(1), Override(SourceComponent(0)), Do(DirectiveCopy, 0)), "xx.", nil},
		{"copy of nothing", []Command{Override(SourceComponent(1)), Do(DirectiveCopy, 0)}, "...", fs.ErrNotExist},
		{"copy of itself", append(write("x"), Override(SourceComponent(0)), Do(DirectiveCopy, 0)), "x..", ErrStructure},
		{"copy from nowhere", append(write("x"), Override(SourceComponent(7)), Do(DirectiveCopy, 0)), "x..", ErrStructure},
		{"copy without a source", append(write("x"), Do(DirectiveCopy, 0)), "x..", ErrStructure},
		{"swap", seq(write("x"), []Command{SetComponentIndex(1)}, write("y"), []Command{
			Override(ImageDigest(Sum([]byte("x"))), SourceComponent(0)), Do(DirectiveSwap, 0), Do(DirectiveSwap, 0),
		}), "yx.", nil},
		{"swap without a digest", append(write("x"), SetComponentIndex(1), Override(SourceComponent(0)), Do(DirectiveSwap, 0)), "x..", ErrUnsupported},
		{"fetch without a URI", []Command{Do(DirectiveFetch, 0)}, "...", ErrStructure},
		{"fetch of nothing", []Command{Override(URI("http://example.com/nothing")), Do(DirectiveFetch, 0)}, "...", fs.ErrNotExist},
		{"fetch", []Command{Override(URI("http://example.com/x")), Do(DirectiveFetch, 0)}, "x..", nil},
		{"a mirror that lies", []Command{Override(ImageDigest(Sum([]byte("x")))), TryEach(
			[]Command{Override(URI("http://example.com/y")), Do(DirectiveFetch, 0), Do(ConditionImageMatch, 0)},
			[]Command{Override(URI("http://example.com/x")), Do(DirectiveFetch, 0), Do(ConditionImageMatch, 0)},
		)}, "x..", nil},
		{"a mirror that is not there", []Command{TryEach( // a directive fails hard
			[]Command{Override(URI("http://example.com/nothing")), Do(DirectiveFetch, 0)},
			[]Command{Override(URI("http://example.com/x")), Do(DirectiveFetch, 0)},
		)}, "...", fs.ErrNotExist},
		{"process no dependency", []Command{Do(DirectiveProcessDependency, 0)}, "...", ErrStructure},
		{"integrity of no dependency", []Command{TryEach([]Command{Do(ConditionDependencyIntegrity, 0)}, nil)}, "...", ErrStructure},
		{"process all of no dependencies", seq([]Command{all, Do(DirectiveProcessDependency, 0)}, write("x")), "xxx", nil},

		{"first of several", []Command{TryEach(write("x"), write("y"))}, "x..", nil},
		{"second of several", []Command{TryEach(append(write("x"), Do(ConditionAbort, 0)), write("y"))}, "y..", nil},
		{"none of several", []Command{TryEach([]Command{Do(ConditionAbort, 0)}, []Command{Do(ConditionAbort, 0)})}, "...", ErrCondition},
		{"none of several, or nothing", append([]Command{TryEach([]Command{Do(ConditionAbort, 0)}, nil)}, write("x")...), "x..", nil},
		{"a hard failure in a try", []Command{TryEach([]Command{Override(SoftFailure(false)), Do(ConditionAbort, 0)}, write("x"))}, "...", ErrCondition},
		{"soft failure ends with its sequence", []Command{TryEach(
			[]Command{TryEach([]Command{Override(SoftFailure(false))}, nil), Do(ConditionAbort, 0)}, write("x"),
		)}, "x..", nil},
		{"a try that fails in a try", []Command{TryEach(
			[]Command{TryEach([]Command{Do(ConditionAbort, 0)}, []Command{Do(ConditionAbort, 0)})}, write("x"),
		)}, "...", ErrCondition},
		{"try with each", []Command{
			SetComponentIndex(1), Override(Content([]byte("here"))), all,
			TryEach([]Command{Do(ConditionCheckContent, 0)}, write("x")),
		}, "xxx", nil},
		{"a failed sequence leaves no parameters", []Command{
			Override(Content([]byte("x"))),
			TryEach([]Command{Override(Content([]byte("y"))), Do(ConditionAbort, 0)}, []Command{Do(DirectiveWrite, 0)}),
		}, "x..", nil},
		{"a sequence that succeeds leaves its parameters", []Command{
			TryEach([]Command{Override(Content([]byte("y")))}, nil), Do(DirectiveWrite, 0),
		}, "y..", nil},
		{"a sequence keeps its index to itself", []Command{
			RunSequence(SetComponentIndex(1)), Override(Content([]byte("x"))), Do(DirectiveWrite, 0),
		}, "x..", nil},
		{"run", []Command{RunSequence(write("x")...)}, "x..", nil},
		{"run for each", []Command{all, RunSequence(write("x")...)}, "xxx", nil},
		{"run that fails", append([]Command{RunSequence(Do(ConditionAbort, 0))}, write("x")...), "...", ErrCondition},
		{"run that may fail", append([]Command{RunSequence(Override(SoftFailure(true)), Do(ConditionAbort, 0))}, write("x")...), "x..", nil},
		{"run that may fail, in a directive", []Command{RunSequence(Override(SoftFailure(true)), Do(DirectiveWrite, 0))}, "...", ErrStructure},
		{"soft failure of no sequence", append([]Command{Override(SoftFailure(true))}, write("x")...), "...", ErrStructure},
		{"abort", append(write("x"), Do(ConditionAbort, 0)), "x..", ErrCondition},
		{"no order", append([]Command{Override(Parameter{ParameterStrictOrder, cbor.AppendBool(nil, false)})}, write("x")...), "x..", nil},
		{"unlink", append(write("x"), Do(DirectiveUnlink, 0)), "...", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := newDevice()
			d.files["http://example.com/x"], d.files["http://example.com/y"] = []byte("x"), []byte("y")
			m := verified(t, newEnvelope(t, install(x.commands...), k), k)
			err := (&Processor{Platform: d, AnyDevice: true}).Run(m, Update)
			if !errors.Is(err, x.err) {
				t.Errorf("%v, want %v", err, x.err)
			}
			got := ""
			for _, c := range []string{"a", "b", "c"} {
				if b, ok := d.components[id(c)]; ok {
					got += string(b)
				} else {
					got += "."
				}
			}
			if got != x.want {
				t.Errorf("%s, want %s", got, x.want)
			}
		})
	}
}

// TestWait waits for each event until it comes, and goes on.
func TestWait(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip(err)
	}
	at := func(s string) func(*fakeDevice) {
		return func(d *fakeDevice) { d.now = timeOf(s).In(zurich) }
	}
	for _, x := range []struct {
		w           WaitEvent
		before, ist func(*fakeDevice)
	}{
		{WaitEvent{Event: EventAuthorization, Value: -1}, func(d *fakeDevice) { d.priority = -2 }, func(d *fakeDevice) { d.priority = -1 }},
		{WaitEvent{Event: EventPower, Value: 10}, func(d *fakeDevice) { d.power = 9 }, func(d *fakeDevice) { d.power = 10 }},
		{WaitEvent{Event: EventNetwork, Value: 1}, func(d *fakeDevice) {}, func(d *fakeDevice) { d.network = 1 }},
		{
			WaitEvent{Event: EventOtherDeviceVersion, Device: []byte("pump"), Versions: []VersionMatch{{GreaterEqual, Version{2}}, {Lesser, Version{3}}}},
			func(d *fakeDevice) { d.others["pump"] = Version{3} }, func(d *fakeDevice) { d.others["pump"] = Version{2, 9} },
		},
		{WaitEvent{Event: EventTime, Value: timeOf("2026-11-27T20:00:00Z").Unix()}, at("2026-11-27T19:59:59Z"), at("2026-11-27T20:00:00Z")},
		{WaitEvent{Event: EventTimeOfDay, Value: 2 * 3600}, at("2026-11-27T00:59:59Z"), at("2026-11-27T01:00:00Z")},
		{WaitEvent{Event: EventTimeOfDayUTC, Value: 2 * 3600}, at("2026-11-27T01:59:59Z"), at("2026-11-27T02:00:00Z")},
		// 28 November 2026 is a Saturday; in Zurich it begins an hour early.
		{WaitEvent{Event: EventDayOfWeek, Value: 6}, at("2026-11-27T22:59:59Z"), at("2026-11-27T23:00:00Z")},
		{WaitEvent{Event: EventDayOfWeekUTC, Value: 6}, at("2026-11-27T23:59:59Z"), at("2026-11-28T00:00:00Z")},
		// On 28 March 2027 there is no half past two: it has come at three.
		{WaitEvent{Event: EventTimeOfDay, Value: 2*3600 + 1800}, at("2027-03-28T00:59:59Z"), at("2027-03-28T01:00:00Z")},
	} {
		t.Run(x.w.String(), func(t *testing.T) {
			m := verified(t, newEnvelope(t, install(append([]Command{Override(WaitInfo(x.w)), TryEach([]Command{Do(DirectiveWait, 0)}, nil)}, write("x")...)...), k), k)
			d := newDevice()
			x.before(d)
			p := &Processor{Platform: d, AnyDevice: true}
			var wait *WaitError
			if err := p.Run(m, Update); !errors.Is(err, ErrWait) || !errors.As(err, &wait) || d.components[id("a")] != nil {
				t.Fatal("went on: ", err)
			}
			if diff := cmp.Diff([]WaitEvent{x.w}, wait.Events); diff != "" {
				t.Error(diff)
			}
			x.ist(d)
			if err := p.Run(m, Update); err != nil || d.components[id("a")] == nil {
				t.Error("waits still: ", err)
			}
		})
	}
}

// TestRefusedByDevice has manifests that are signed, and not for this device, or not
// for now.
func TestRefusedByDevice(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	run := func(change func(*Manifest, *fakeDevice, *Processor)) error {
		t.Helper()
		d := ready()
		before := d.state()
		m, p := release(imageA), &Processor{Platform: d}
		change(m, d, p)
		err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#app", imageA}), k), Install)
		if err != nil && d.state() != before {
			t.Errorf("%v, and something was installed", err)
		}
		return err
	}
	staged := func(d *fakeDevice) { d.components[id("staging")] = imageA }
	for name, x := range map[string]struct {
		change func(*Manifest, *fakeDevice, *Processor)
		err    error
	}{
		"as it is":         {func(*Manifest, *fakeDevice, *Processor) {}, fs.ErrNotExist}, // nothing is staged
		"older":            {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.sequence = 221 }, ErrSequenceNumber},
		"another maker":    {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.ids[ConditionVendorIdentifier] = nil }, ErrCondition},
		"another model":    {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.ids[ConditionClassIdentifier] = nil }, ErrCondition},
		"too old to start": {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.versions[id("app")] = Version{2, 0, 9} }, ErrCondition},
		"battery low":      {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.battery = 899 }, ErrCondition},
		"not authorised":   {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.priority = -2 }, ErrCondition},
		"expired":          {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.now = time.Unix(2e9, 0) }, ErrCondition},
		"no power":         {func(_ *Manifest, d *fakeDevice, _ *Processor) { d.power = 0 }, ErrWait},
		"checks no class": {func(m *Manifest, _ *fakeDevice, _ *Processor) {
			m.Shared = slices.DeleteFunc(m.Shared, func(c Command) bool { return c.Code == ConditionClassIdentifier })
		}, ErrCondition},
		"no right": {func(_ *Manifest, _ *fakeDevice, p *Processor) {
			p.Permit = func(m *Manifest, c ComponentID, code Code) bool {
				return code != DirectiveCopy || len(m.Signers()) == 1 && m.Signers()[0].Equal(&k) && c.String() != "staging"
			}
		}, ErrPermission},
		"too large": {func(_ *Manifest, d *fakeDevice, p *Processor) { staged(d); p.MaxImage = 1000 }, ErrLimit},
		"swapped after it was staged": {func(_ *Manifest, d *fakeDevice, _ *Processor) {
			d.components[id("staging")] = imageB[:len(imageA)]
		}, ErrCondition},
	} {
		err := func() error {
			if name == "too large" || strings.HasPrefix(name, "swapped") {
				// The state before has what was staged.
				d := ready()
				m, p := release(imageA), &Processor{Platform: d}
				x.change(m, d, p)
				before := d.state()
				err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#app", imageA}), k), Install)
				if d.state() != before {
					t.Errorf("%s: something was installed", name)
				}
				return err
			}
			return run(x.change)
		}()
		if !errors.Is(err, x.err) {
			t.Errorf("%s: %v, want %v", name, err, x.err)
		}
	}
	if err := run(func(_ *Manifest, d *fakeDevice, _ *Processor) { staged(d) }); err != nil {
		t.Errorf("staged: %v", err)
	}
}

// TestResume fetches what a transfer that broke off has left to fetch, and all of it
// when what it left is something else.
func TestResume(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	m := verified(t, newEnvelope(t, install(Override(ImageDigest(Sum(imageA)), ImageSize(uint64(len(imageA))), URI("http://example.com/a")), Do(DirectiveFetch, 0)), k), k)
	for _, broken := range []bool{false, true} {
		d := newDevice()
		p := &Processor{Platform: d, AnyDevice: true}
		d.files["http://example.com/a"] = imageA[:10000]
		if err := p.Run(m, Update); !errors.Is(err, ErrCondition) {
			t.Fatal(err)
		}
		if broken {
			d.staged[id("a")][7] ^= 1
		}
		d.files["http://example.com/a"], d.fetched = imageA, 0
		err := p.Run(m, Update)
		if broken {
			if !errors.Is(err, ErrCondition) || len(d.staged) > 0 {
				t.Fatalf("%v, %d staged", err, len(d.staged))
			}
			d.fetched = 0
			err = p.Run(m, Update)
		}
		want := int64(len(imageA))
		if !broken {
			want -= 10000
		}
		if err != nil || d.fetched != want || !bytes.Equal(d.components[id("a")], imageA) {
			t.Errorf("broken %t: fetched %d bytes, want %d, %v", broken, d.fetched, want, err)
		}
		d.fetched = 0
		if err := p.Run(m, Update); err != nil || d.fetched != 0 {
			t.Errorf("fetched %d bytes that were there, %v", d.fetched, err)
		}
	}
}

// TestExecutionBound runs a small manifest that would take for ever.
func TestExecutionBound(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	m := &Manifest{}
	var indices []uint64
	for i := range maxComponents {
		m.Components = append(m.Components, NewComponentID(fmt.Sprint(i)))
		indices = append(indices, uint64(i))
	}
	s := []Command{Override(ComponentSlot(0))}
	for range maxNesting {
		s = []Command{SetComponentIndex(indices...), RunSequence(s...)}
	}
	m.Sections = []SectionCommands{{Section: SectionInstall, Commands: s}}
	d := newDevice()
	n := 0
	p := &Processor{Platform: d, AnyDevice: true, Record: func(Record) { n++ }}
	if err := p.Run(verified(t, newEnvelope(t, m, k), k), Update); !errors.Is(err, ErrLimit) || n > maxExecuted {
		t.Errorf("%d commands, %v", n, err)
	}
	m.Sections[0].Commands = []Command{SetComponentIndex(0), RunSequence(s...)}
	if _, err := NewEnvelope(m); !errors.Is(err, ErrLimit) {
		t.Errorf("nested too deep: %v", err)
	}
}

// TestMetadata hands the platform what it has to do about a file (update-management
// section 4.6).
func TestMetadata(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	metadata := []byte{0xa1, 0x05, 0x02} // file-type: directory
	m := install(append([]Command{Override(bytesParameter(ParameterComponentMetadata, metadata))}, write("")...)...)
	d := newDevice()
	if err := (&Processor{Platform: d, AnyDevice: true}).Run(verified(t, newEnvelope(t, m, k), k), Update); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.metadata[id("a")], metadata) {
		t.Errorf("%x", d.metadata[id("a")])
	}
}
