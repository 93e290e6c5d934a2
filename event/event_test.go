// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/device"
)

func Example() {
	e := Event{Kind: LoginSeen, Device: device.Address{Kind: device.IP, Value: "10.20.1.40"}, Peer: device.Address{Kind: device.IP, Value: "10.20.5.7"}}
	e.Add(Text(Protocol, "telnet"), Int(Outcome, Succeeded), Bool(DefaultSecret, true))
	fmt.Println(e.Device, Kinds[e.Kind].Says, e.Peer, "with", e.Text(Protocol), e.Int(DefaultSecret) != 0)
	// Output: 10.20.1.40 tried to log in at the peer 10.20.5.7 with telnet true
}

func TestKinds(t *testing.T) {
	names := map[string]bool{}
	used := map[Key]bool{}
	for k := NoKind + 1; k < kindCount; k++ {
		i := &Kinds[k]
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`).MatchString(i.Name) || names[i.Name] || k.String() != i.Name {
			t.Errorf("kind %d has the name %q", k, i.Name)
		}
		names[i.Name] = true
		if i.Says == "" {
			t.Errorf("%s says nothing", i.Name)
		}
		if len(i.Keys) == 0 || len(i.Keys) > MaxAttrs {
			t.Errorf("%s has %d attributes, of at most %d", i.Name, len(i.Keys), MaxAttrs)
		}
		for n, key := range i.Keys {
			if key == NoKey || key >= keyCount || slices.Contains(i.Keys[:n], key) {
				t.Errorf("%s: key %d", i.Name, key)
			}
			used[key] = true
		}
	}
	if Kinds[NoKind].Name != "" || NoKind.String() != "" || kindCount.String() != "" || Kind(255).String() != "" {
		t.Error("no kind has a name")
	}
}

func TestAttrs(t *testing.T) {
	var e Event
	if e.Int(Port) != 0 || e.Text(Protocol) != "" || len(e.Attrs()) != 0 {
		t.Error("an event without attributes has some")
	}
	e.Add(Int(Port, uint16(24000)), Text(Protocol, "hl7"), Bool(Inferred, false))
	e.Set(Text(Protocol, "dicom"))
	e.Set(Int(Count, -3))
	if e.Int(Port) != 24000 || e.Text(Protocol) != "dicom" || e.Int(Count) != -3 || e.Int(Inferred) != 0 || len(e.Attrs()) != 4 {
		t.Errorf("%+v", e.Attrs())
	}
	for k := range Key(MaxAttrs) {
		e.Add(Int(Length+k, k))
	}
	if len(e.Attrs()) != MaxAttrs || cap(e.Attrs()) != MaxAttrs || e.Int(Length+3) != 3 || e.Int(Length+4) != 0 {
		t.Errorf("%d attributes: %+v", len(e.Attrs()), e.Attrs())
	}
	e.Set(Int(Suite, 1)) // no room: dropped
	if e.Int(Suite) != 0 {
		t.Error("there is room for more than MaxAttrs")
	}
	few := Event{}
	few.Add(Int(Port, 1))
	_ = append(few.Attrs(), Int(Count, 2))
	if few.Add(Int(Length, 3)); few.Int(Count) != 0 || few.Int(Length) != 3 {
		t.Error("appending to Attrs reaches into the event")
	}
}

func TestAttrsAllocateNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		e := Event{Kind: ProtocolSeen}
		e.Add(Text(Protocol, "hl7"), Int(Port, 24000))
		e.Set(Int(Port, 2575))
		if e.Text(Protocol) != "hl7" {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Evidence is written by these names: none is missing, none stands for two.
func TestKeys(t *testing.T) {
	names := map[string]Key{}
	for k := NoKey + 1; k < keyCount; k++ {
		i := &Keys[k]
		if other, ok := names[i.Name]; ok || !regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`).MatchString(i.Name) || k.String() != i.Name {
			t.Errorf("key %d has the name %q, as has %d", k, i.Name, other)
		}
		names[i.Name] = k
		if i.Word == nil {
			continue
		}
		if i.Text {
			t.Errorf("%s is a text and a word", i.Name)
		}
		words := map[string]int64{}
		for n := range int64(256) {
			w := i.Word(n)
			if other, ok := words[w]; ok && w != "" {
				t.Errorf("%s: %d and %d are both %q", i.Name, other, n, w)
			}
			words[w] = n
		}
		if len(words) < 3 || i.Word(-1) != "" || i.Word(256) != "" {
			t.Errorf("%s has the words %v", i.Name, words)
		}
	}
	if NoKey.String() != "" || keyCount.String() != "" || Key(255).String() != "" {
		t.Error("no key has a name")
	}
	if Keys[Verdict].Word(int64(device.Deny)) != "deny" || Keys[Outcome].Word(int64(Failed)) != "failed" || Keys[State].Word(int64(Midstream)) != "midstream" {
		t.Error("the words are others")
	}
}
