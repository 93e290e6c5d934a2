// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/link/cose"
)

// The digests that the drafts' examples have are of no image. These images have the
// sizes that are beside them, and the examples are run with their digests.
var (
	imageA = bytes.Repeat([]byte("A"), 34768)
	imageB = bytes.Repeat([]byte("B"), 76834)
)

const (
	sampleA = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"
	sampleB = "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff"
)

func vectorSigner(t testing.TB) cose.Signer {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors-suit", "suit-manifest-spec", "example_private_key.pem"))
	if err != nil {
		t.Skip("the published key is not beside the repository: ", err)
	}
	p, _ := pem.Decode(b)
	private, err := x509.ParsePKCS8PrivateKey(p.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cose.NewCryptoSigner(private.(*ecdsa.PrivateKey), cose.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fromText makes the envelope that a text tells of, with the digests of images that
// exist, and signs it.
func fromText(t *testing.T, diag string) (*Envelope, node) {
	t.Helper()
	a, b := Sum(imageA), Sum(imageB)
	diag = strings.NewReplacer(sampleA, hex.EncodeToString(a.Bytes), sampleB, hex.EncodeToString(b.Bytes)).Replace(diag)
	n := parseDiag(t, diag)
	manifest, _ := n.get(envelopeManifest)
	e := &Envelope{manifest: manifest.content()}
	e.Digest = Digest{Alg: cose.SHA256}.wrapped(e.manifest)
	for _, s := range []Section{SectionInstall, SectionText} {
		if x, ok := n.get(int64(s)); ok {
			e.members = append(e.members, member{label: int64(s), b: x.content()})
		}
	}
	if err := e.Sign(vectorSigner(t), nil); err != nil {
		t.Fatal(err)
	}
	e, err := Decode(e.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	return e, n
}

// A walker reads in a text what a device in a slot does. It is a second and simpler
// processor, of what the examples need: every image matches, and what fails is a
// component slot, an empty component that is to match, and what the device is told.
type walker struct {
	slot       int64
	components []node
	prefixes   map[int64]node
	section    Section
	shared     bool
	current    []int64
	slots      map[int64]int64 // parameter component-slot
	trace      []string
}

func (w *walker) name(i int64) string {
	n, ok := w.prefixes[i]
	if !ok {
		n = w.components[i]
	}
	var id ComponentID
	for _, s := range n.items {
		id = append(id, s.b)
	}
	return id.String()
}

func (w *walker) all() (list []int64) {
	for i := range w.components {
		list = append(list, int64(i))
	}
	for i := range w.prefixes {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

// walk reads a sequence, and reports whether all its conditions hold.
func (w *walker) walk(s node) bool {
	commands := s.items[0].items
	for k := 0; k < len(commands); k += 2 {
		code, arg := Code(commands[k].n), commands[k+1]
		switch code {
		case DirectiveSetComponentIndex:
			w.current = []int64{arg.n}
			if arg.kind == 's' {
				w.current = w.all()
			}
			continue
		case DirectiveOverrideMultiple:
			for i := 0; i < len(arg.items); i += 2 {
				w.current = []int64{arg.items[i].n}
				w.trace = append(w.trace, w.entry(DirectiveOverrideParameters, arg.items[i].n, true))
			}
			continue
		}
		outer := w.current
		for _, i := range outer {
			w.current = []int64{i}
			switch code {
			case DirectiveTryEach:
				if !slices.ContainsFunc(arg.items, w.walk) {
					return false
				}
			case DirectiveRunSequence:
				if !w.walk(arg) {
					return false
				}
			default:
				ok := true
				if v, found := arg.get(int64(ParameterComponentSlot)); found && code == DirectiveOverrideParameters {
					w.slots[i] = v.n
				}
				if code == ConditionComponentSlot {
					ok = w.slots[i] == w.slot
				}
				w.trace = append(w.trace, w.entry(code, i, ok))
				if !ok {
					return false
				}
			}
		}
		w.current = outer
	}
	return true
}

func (w *walker) entry(c Code, i int64, ok bool) string {
	return fmt.Sprintf("%v %t %v %s %t", w.section, w.shared, c, w.name(i), ok)
}

// procedure walks over the sections of a procedure.
func (w *walker) procedure(t *testing.T, envelope node, p Procedure) {
	t.Helper()
	manifest, _ := envelope.get(envelopeManifest)
	common, _ := manifest.get(manifestCommon)
	list, _ := common.get(commonComponents)
	w.components, w.prefixes = list.items, map[int64]node{}
	if deps, ok := common.get(commonDependencies); ok {
		for i := 0; i < len(deps.items); i += 2 {
			w.prefixes[deps.items[i].n], _ = deps.items[i+1].get(dependencyPrefix)
		}
	}
	shared, hasShared := common.get(commonShared)
	for _, s := range p.Sections() {
		body, ok := manifest.get(int64(s))
		if ok && body.kind == 'a' { // a digest: it stands beside the manifest
			body, ok = envelope.get(int64(s))
		}
		if !ok {
			continue
		}
		w.section, w.slots = s, map[int64]int64{}
		w.shared, w.current = true, w.all()[:1]
		if hasShared && !w.walk(shared) {
			t.Fatal("the shared sequence fails")
		}
		w.shared, w.current = false, w.all()[:1]
		if !w.walk(body) {
			t.Fatalf("%v fails", s)
		}
	}
}

// traced is a processor that keeps a trace as a walker has it.
func traced(d *fakeDevice, keys ...cose.Key) (*Processor, *[]string) {
	trace := new([]string)
	return &Processor{Platform: d, Keys: keys, AnyDevice: true, Record: func(r Record) {
		*trace = append(*trace, fmt.Sprintf("%v %t %v %v %t", r.Section, r.Shared, r.Command.Code, r.Component, r.Err == nil))
	}}, trace
}

// id is the key of a component whose only segment is s.
func id(s string) string { return NewComponentID(s).key() }

// TestExamples runs each example of the drafts, updated and invoked, and holds what
// was done, command by command, to what the text beside it says.
func TestExamples(t *testing.T) {
	key := vectorKey(t)
	s0 := vectorFiles(t)["libcsuit/suit_manifest_expS0.suit"]
	ran := 0
	for _, x := range texts(t) {
		for _, slot := range []uint64{0, 1} {
			t.Run(fmt.Sprintf("%s/%d", x.name, slot), func(t *testing.T) {
				d := newDevice()
				d.slot = slot
				d.files = map[string][]byte{
					"http://example.com/file.bin":                         imageA,
					"http://example.com/very/long/path/to/file/file.bin":  imageA,
					"http://example.com/file1.bin":                        imageA,
					"http://example.com/file2.bin":                        imageB,
					"http://example.com/dependent.suit":                   s0,
					"http://example.com/another/file/that/is/not/wanted/": nil,
				}
				example := strings.TrimPrefix(strings.TrimPrefix(x.name, "libcsuit/suit_manifest_exp"), "suit-manifest-spec/example")
				switch example {
				case "0", "2", "2A":
					d.components[id("\x00")] = imageA // it was installed before
				case "4":
					// The text says that the image which is loaded, a copy of what was
					// installed, is another one. That is so of no copy, and the size is
					// right for neither: what is compared is the procedure up to there.
				case "U0":
					d.versions[id("\x00")], d.versions[id("\x01")] = Version{1, 0}, Version{1, 0, 1}
					d.now = timeOf("2023-10-02T12:00:00Z")
					d.battery, d.priority = 10, 0
				case "U1":
					d.now = timeOf("2023-10-02T23:30:00Z")
					d.power = 10
				}
				e, envelope := fromText(t, x.diag)
				m, err := e.Verify(key)
				if err != nil {
					t.Fatal(err)
				}
				for _, procedure := range []Procedure{Update, Invoke} {
					if (example == "2" || example == "2A") && procedure == Update {
						continue // the text is of the envelope whose install was severed
					}
					p, trace := traced(d, key)
					err := p.Run(m, procedure)
					w := walker{slot: int64(slot)}
					w.procedure(t, envelope, procedure)
					want := w.trace
					if example == "4" && procedure == Invoke {
						var e *RunError
						if !errors.As(err, &e) || e.Section != SectionLoad || e.Code != DirectiveCopy {
							t.Fatalf("loaded what is no copy: %v", err)
						}
						continue
					}
					if err != nil {
						t.Fatal(procedure, err)
					}
					got := *trace
					if example == "S2" && procedure == Update {
						// The dependency's own commands stand in its text, S0.
						got = slices.DeleteFunc(slices.Clone(got), func(s string) bool { return strings.Contains(s, " 00 ") })
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("%v, text and run:\n%s", procedure, diff)
					}
					ran++
				}

				// What the device holds afterwards.
				want := map[string][]byte{}
				switch example {
				case "0", "1", "2", "2A", "2B":
					want[id("\x00")] = imageA
				case "3":
					want[id("\x00")] = [][]byte{imageA, imageB}[slot]
				case "4":
					want[id("\x00")], want[id("\x02")] = imageA, imageA
				case "5":
					want[id("\x00")], want[id("\x01")] = imageA, imageB
				case "S0":
					want[id("00")] = []byte("hello world")
				case "S2":
					want[id("00")], want[id("10")] = []byte("hello world"), []byte(" in multiple trust domains")
					want[id("dependent.suit")] = s0
				}
				if diff := cmp.Diff(want, d.components); diff != "" {
					t.Errorf("components:\n%s", diff)
				}
				invoked := map[string]string{"0": "0x00 ", "2": "0x00 ", "2A": "0x00 ", "2B": "0x00 ", "5": "0x00 ", "S0": "00 cat 00", "S2": "10 cat 00 10"}
				if got := strings.Join(d.invoked, ", "); got != invoked[example] {
					t.Errorf("invoked %q, want %q", got, invoked[example])
				}
			})
		}
	}
	if ran < 50 {
		t.Errorf("%d procedures were held to a text", ran)
	}
}

func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}
