// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch/suit"
)

func manifestMakeVerb(c *console) *cobra.Command {
	var flags signFlags
	var out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "make FILE --out FILE [--key FILE]",
		Short:                 "Make an envelope of a description in YAML",
		Long: `Make reads a description of a release, hashes the images that it names, and
writes the envelope, signed if there is a key. An image without a uri goes in.

  manifest: 1
  sequence: 220             # higher than that of any release before
  version: 2.2.0
  vendor: norra.example     # a domain or a UUID
  class: Flow 500 rev C     # a model or a UUID
  components:
    - {id: app, file: flow500.bin, uri: "https://norra.example/flow500.bin"}

More keys: expires (2027-06-30), over (">= 2.1"), battery (mWh), priority,
power and network (states to wait for), time-of-day (02:00), description,
language, reference, mud {url, key}; of a component stage (another id, which the
image waits in), start, arguments.`,
		Example: `  myelin patch manifest make release.yaml --key maker.key --out flow500.suit`,
		Args:    exactly(1, "make wants one file: a description in YAML"),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("make wants --out: the file for the envelope")}
			}
			e, err := readRelease(args[0])
			if err != nil {
				return err
			}
			by := "not signed: 'myelin patch manifest sign' does that"
			if flags.key != "" {
				k, err := flags.sign(e)
				if err != nil {
					return err
				}
				by = fmt.Sprintf("signed by %v with kid %x", k.Alg, k.ID)
			}
			if err := writeEnvelope(c, out, e); err != nil {
				return err
			}
			c.hint("wrote %s, %s", out, by)
			return nil
		},
	}
	flags.register(v)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE`, which is whole or not there")
	return v
}

// digestFile hashes a file.
func digestFile(a cose.Algorithm, file string) (suit.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return suit.Digest{}, err
	}
	defer f.Close()
	d, _, err := suit.SumReader(a, f)
	return d, err
}

var manifestFormat = strictyaml.Format{Name: "description of a manifest", Marker: "manifest: 1"}

// A releaseReader reads a description of a release and makes its manifest.
type releaseReader struct {
	*strictyaml.Reader
	dir      string // of the description: files are beside it
	err      error  // what is wrong with a file that it names
	payloads []suit.Payload
}

// policy is to report what fails.
const policy = suit.RecordOnFailure | suit.SysinfoOnFailure

func readRelease(file string) (*suit.Envelope, error) {
	src, err := readFile(file, strictyaml.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	r := &releaseReader{Reader: strictyaml.New(file, manifestFormat), dir: filepath.Dir(file)}
	m := r.manifest(src)
	if r.Err() != nil {
		return nil, r.Err()
	}
	if r.err != nil {
		return nil, r.err
	}
	e, err := suit.NewEnvelope(m, r.payloads...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return e, nil
}

func (r *releaseReader) manifest(src []byte) *suit.Manifest {
	s := r.Section(r.Document(src), "the description", "manifest", "sequence", "version", "vendor", "class", "id", "reference",
		"mud", "expires", "over", "battery", "priority", "power", "network", "time-of-day", "description", "language", "components")
	r.Number(s.Need("manifest", "it says which format this is"), "manifest", 1, 1)
	m := &suit.Manifest{
		SequenceNumber: uint64(r.Number(s.Need("sequence", "a number that is higher than that of any release before"), "sequence", 0, 1<<62)),
		Version:        r.version(s, "version"),
		ReferenceURI:   r.Text(s.Get("reference"), "reference"),
		SeverableText:  true,
	}
	if s.Has("id") {
		m.ID = r.id(s.Get("id"), "id")
	}
	vendor, domain := r.uuid(s, "vendor", "the maker's domain, or a UUID", suit.VendorUUID)
	class, model := r.uuid(s, "class", "the model that it is for, or a UUID", func(model string) [16]byte { return suit.ClassUUID(vendor, model) })
	if s.Has("mud") {
		x := r.Section(s.Get("mud"), "mud", "url", "key")
		m.MUD = &suit.MUD{URL: r.Text(x.Need("url", "where the file is"), "url")}
		k, err := publicKey(r.path(r.Text(x.Need("key", "the public key that signs the file there"), "key")))
		r.keep(err)
		t := k.Thumbprint()
		m.MUD.SKI = suit.Digest{Alg: cose.SHA256, Bytes: t[:]}
	}

	install := r.conditions(s)
	var fetch, validate, invoke []suit.Command
	var stages []suit.ComponentID // where images wait; they come behind what these become
	text := suit.Text{Language: "en"}
	if s.Has("language") {
		text.Language = r.Text(s.Get("language"), "language")
	}
	if s.Has("description") {
		text.Entries = []suit.TextEntry{{Label: suit.TextUpdateDescription, Text: r.Text(s.Get("description"), "description")}}
	}
	list := r.List(s.Need("components", "the images, each with id and file"), "components", 32)
	for i, n := range list {
		index := uint64(i)
		x := r.Section(n, "a component", "id", "file", "uri", "stage", "start", "arguments")
		id := r.id(x.Need("id", "its name on the device"), "id")
		m.Components = append(m.Components, id)
		file := r.path(r.Text(x.Need("file", "the image"), "file"))
		uri := r.Text(x.Get("uri"), "uri")
		digest, size := r.image(file, &uri, id)
		set := suit.Override(suit.ImageDigest(digest), suit.ImageSize(size))
		m.Shared = append(
			m.Shared, suit.SetComponentIndex(index),
			suit.Override(suit.VendorIdentifier(vendor), suit.ClassIdentifier(class), suit.ImageDigest(digest), suit.ImageSize(size)),
			suit.Do(suit.ConditionVendorIdentifier, policy), suit.Do(suit.ConditionClassIdentifier, policy),
		)
		get := []suit.Command{suit.Override(suit.URI(uri)), suit.Do(suit.DirectiveFetch, policy), suit.Do(suit.ConditionImageMatch, policy)}
		if x.Has("stage") {
			staged := uint64(len(list) + len(stages))
			stages = append(stages, r.id(x.Get("stage"), "stage"))
			fetch = append(append(fetch, suit.SetComponentIndex(staged), set), get...)
			get = []suit.Command{suit.Override(suit.SourceComponent(staged)), suit.Do(suit.DirectiveCopy, policy), suit.Do(suit.ConditionImageMatch, policy)}
		}
		install = append(append(install, suit.SetComponentIndex(index)), get...)
		validate = append(validate, suit.SetComponentIndex(index), suit.Do(suit.ConditionImageMatch, policy))
		if r.Truth(x.Get("start"), "start", x.Has("arguments")) {
			invoke = append(invoke, suit.SetComponentIndex(index))
			if x.Has("arguments") {
				invoke = append(invoke, suit.Override(suit.InvokeArgs([]byte(r.Text(x.Get("arguments"), "arguments")))))
			}
			invoke = append(invoke, suit.Do(suit.DirectiveInvoke, policy))
		}
		about := suit.ComponentText{Component: id}
		if domain != "" {
			about.Entries = append(about.Entries, suit.TextEntry{Label: suit.TextVendorDomain, Text: domain})
		}
		if model != "" {
			about.Entries = append(about.Entries, suit.TextEntry{Label: suit.TextModelInfo, Text: model})
		}
		if m.Version != nil {
			about.Entries = append(about.Entries, suit.TextEntry{Label: suit.TextComponentVersion, Text: r.Text(s.Get("version"), "version")})
		}
		if about.Entries != nil {
			text.Components = append(text.Components, about)
		}
	}
	m.Components = append(m.Components, stages...)
	add := func(section suit.Section, commands []suit.Command) {
		if len(commands) > 0 {
			m.Sections = append(m.Sections, suit.SectionCommands{Section: section, Commands: commands})
		}
	}
	add(suit.SectionValidate, validate)
	add(suit.SectionInvoke, invoke)
	add(suit.SectionPayloadFetch, fetch)
	add(suit.SectionInstall, install)
	if text.Entries != nil || text.Components != nil {
		m.Text = []suit.Text{text}
	}
	return m
}

// id reads a component's identifier: its segments, with slashes between them.
func (r *releaseReader) id(n ast.Node, what string) suit.ComponentID {
	return suit.NewComponentID(strings.Split(r.Text(n, what), "/")...)
}

// path is a file that stands beside the description, unless it says where.
func (r *releaseReader) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(r.dir, file)
}

// keep keeps the first thing that is wrong with a file. What is wrong with the
// description comes first.
func (r *releaseReader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// image hashes an image. One that has no URI goes into the envelope.
func (r *releaseReader) image(file string, uri *string, id suit.ComponentID) (suit.Digest, uint64) {
	if r.Err() != nil || r.err != nil {
		return suit.Sum(nil), 0
	}
	if *uri == "" {
		b, err := readFile(file, suit.MaxEnvelope)
		r.keep(err)
		*uri = "#" + id.String()
		r.payloads = append(r.payloads, suit.Payload{Key: *uri, Bytes: b})
		return suit.Sum(b), uint64(len(b))
	}
	f, err := os.Open(file)
	if err != nil {
		r.keep(err)
		return suit.Sum(nil), 0
	}
	defer f.Close()
	d, n, err := suit.SumReader(cose.SHA256, f)
	r.keep(err)
	return d, uint64(n)
}

// uuid reads a UUID, or a name that one is made of, which it returns too.
func (r *releaseReader) uuid(s *strictyaml.Section, key, hint string, of func(string) [16]byte) (u [16]byte, name string) {
	text := r.Text(s.Need(key, hint), key)
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err == nil && len(b) == 16 && len(text) == 36 {
		return [16]byte(b), ""
	}
	return of(text), text
}

// version reads a version such as 2.2.0, or 1.2-rc.3 (draft-ietf-suit-update-management
// section 4.4).
func (r *releaseReader) version(s *strictyaml.Section, key string) suit.Version {
	if !s.Has(key) {
		return nil
	}
	v, err := parseVersion(r.Text(s.Get(key), key))
	if err != nil {
		r.Fail(s.Get(key), "%s has to be a version such as 2.2.0, 1.2-rc.3 or 1.2-beta", key)
	}
	return v
}

func parseVersion(s string) (v suit.Version, err error) {
	release, pre, has := strings.Cut(s, "-")
	numbers := func(s string) {
		for _, part := range strings.Split(s, ".") {
			n, e := strconv.ParseUint(part, 10, 31)
			err = errors.Join(err, e)
			v = append(v, int64(n))
		}
	}
	numbers(release)
	if has {
		name, more, dot := strings.Cut(pre, ".")
		n, ok := map[string]int64{"rc": -1, "beta": -2, "alpha": -3}[name]
		if !ok {
			return nil, errors.New("no such pre-release")
		}
		v = append(v, n)
		if dot {
			numbers(more)
		}
	}
	return v, err
}

// conditions are what has to hold before anything is installed.
func (r *releaseReader) conditions(s *strictyaml.Section) []suit.Command {
	var set []suit.Parameter
	var check []suit.Command
	add := func(key string, read func(ast.Node) suit.Parameter, code suit.Code) {
		if s.Has(key) {
			set = append(set, read(s.Get(key)))
			check = append(check, suit.Do(code, policy))
		}
	}
	add("over", func(n ast.Node) suit.Parameter {
		sign, version, _ := strings.Cut(r.Text(n, "over"), " ")
		v, err := parseVersion(version)
		for c := suit.Greater; c <= suit.Lesser; c++ {
			if c.String() == sign && err == nil {
				return suit.VersionIs(suit.VersionMatch{Comparison: c, Value: v})
			}
		}
		r.Fail(n, "over has to be what the installed version is, such as \">= 2.1\"; the signs are >, >=, =, <= and <")
		return suit.VersionIs(suit.VersionMatch{Comparison: suit.Equal, Value: suit.Version{0}})
	}, suit.ConditionVersion)
	add("battery", func(n ast.Node) suit.Parameter {
		return suit.MinimumBattery(uint64(r.Number(n, "battery, in mWh,", 1, 1<<40)))
	}, suit.ConditionMinimumBattery)
	add("expires", func(n ast.Node) suit.Parameter {
		t, err := time.Parse(time.DateOnly, r.Text(n, "expires"))
		if err != nil || t.Unix() < 0 {
			r.Fail(n, "expires has to be a date such as 2027-06-30, the first on which it is installed no more")
			return suit.UseBefore(0)
		}
		return suit.UseBefore(uint64(t.Unix()))
	}, suit.ConditionUseBefore)
	add("priority", func(n ast.Node) suit.Parameter {
		return suit.UpdatePriority(r.Number(n, "priority", -1000, 1000))
	}, suit.ConditionUpdateAuthorized)

	var events []suit.WaitEvent
	for _, x := range []struct {
		key   string
		event suit.Event
	}{{"power", suit.EventPower}, {"network", suit.EventNetwork}} {
		if s.Has(x.key) {
			events = append(events, suit.WaitEvent{Event: x.event, Value: r.Number(s.Get(x.key), x.key, 0, 1000)})
		}
	}
	if n := s.Get("time-of-day"); n != nil {
		t, err := time.Parse("15:04", r.Text(n, "time-of-day"))
		if err != nil {
			r.Fail(n, "time-of-day has to be such as 02:00, where the device is")
		}
		events = append(events, suit.WaitEvent{Event: suit.EventTimeOfDay, Value: int64(t.Hour()*3600 + t.Minute()*60)})
	}
	if events != nil {
		set = append(set, suit.WaitInfo(events...))
		check = append(check, suit.Do(suit.DirectiveWait, policy))
	}
	if set == nil {
		return nil
	}
	return append([]suit.Command{suit.SetComponentIndex(0), suit.Override(set...)}, check...)
}
