// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
    - {id: app, file: flow500.bin, uri: 2.2.0.bin}   # beside the envelope

More keys: expires (2027-06-30), over (">= 2.1"), battery (mWh), priority,
power and network (states to wait for), time-of-day (02:00), description,
language, reference, mud {url, key}; of a component stage (another id, where the
image waits), encrypt-for (keys of devices; wants stage), start, arguments.`,
		Example: `  myelin patch manifest make release.yaml --key maker.key --out flow500.suit`,
		Args:    exactly(1, "make wants one file: a description in YAML"),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("make wants --out: the file for the envelope")}
			}
			e, sealed, err := readRelease(args[0])
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
			for _, x := range sealed {
				file := filepath.Join(filepath.Dir(out), x.file)
				if err := c.to(file, func(w io.Writer) error { _, err := w.Write(x.b); return err }); err != nil {
					return err
				}
				c.hint("wrote %s, encrypted; it belongs at %s", file, x.uri)
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

// digestFile hashes a file, and says how many bytes it has.
func digestFile(a cose.Algorithm, file string) (suit.Digest, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return suit.Digest{}, 0, err
	}
	defer f.Close()
	return suit.SumReader(a, f)
}

var manifestFormat = strictyaml.Format{Name: "description of a manifest", Marker: "manifest: 1"}

// A releaseReader reads a description of a release and makes its manifest.
type releaseReader struct {
	*strictyaml.Reader
	dir string // of the description: files are beside it
	err error  // what is wrong with a file that it names

	m                                *suit.Manifest
	vendor, class                    [16]byte
	about                            []suit.TextEntry // of each component
	text                             suit.Text
	fetch, install, validate, invoke []suit.Command
	stages                           []suit.ComponentID // where images wait; they come behind what these become
	payloads                         []suit.Payload
	sealed                           []sealedImage
}

// A sealedImage is an encrypted image, which goes to a file of its own.
type sealedImage struct {
	file, uri string
	b         []byte
}

// policy is to report what fails.
const policy = suit.RecordOnFailure | suit.SysinfoOnFailure

// readRelease makes the envelope of a description, and the encrypted images that
// belong to it.
func readRelease(file string) (*suit.Envelope, []sealedImage, error) {
	src, err := readFile(file, strictyaml.MaxFileBytes)
	if err != nil {
		return nil, nil, err
	}
	r := &releaseReader{Reader: strictyaml.New(file, manifestFormat), dir: filepath.Dir(file), m: &suit.Manifest{SeverableText: true}}
	r.manifest(src)
	if r.Err() != nil {
		return nil, nil, r.Err()
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	e, err := suit.NewEnvelope(r.m, r.payloads...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return e, r.sealed, nil
}

func (r *releaseReader) manifest(src []byte) {
	s := r.Section(r.Document(src), "the description", "manifest", "sequence", "version", "vendor", "class", "id", "reference",
		"mud", "expires", "over", "battery", "priority", "power", "network", "time-of-day", "description", "language", "components")
	r.Number(s.Need("manifest", "it says which format this is"), "manifest", 1, 1)
	r.m.SequenceNumber = uint64(r.Number(s.Need("sequence", "a number that is higher than that of any release before"), "sequence", 0, 1<<62))
	r.m.Version = r.version(s, "version")
	r.m.ReferenceURI = r.Text(s.Get("reference"), "reference")
	if s.Has("id") {
		r.m.ID = r.id(s.Get("id"), "id")
	}
	var domain, model string
	r.vendor, domain = r.uuid(s, "vendor", "the maker's domain, or a UUID", suit.VendorUUID)
	r.class, model = r.uuid(s, "class", "the model that it is for, or a UUID", func(model string) [16]byte { return suit.ClassUUID(r.vendor, model) })
	for _, e := range []suit.TextEntry{
		{Label: suit.TextVendorDomain, Text: domain},
		{Label: suit.TextModelInfo, Text: model},
		{Label: suit.TextComponentVersion, Text: r.Text(s.Get("version"), "version")},
	} {
		if e.Text != "" {
			r.about = append(r.about, e)
		}
	}
	if s.Has("mud") {
		r.mud(s)
	}
	r.text.Language = "en"
	if s.Has("language") {
		r.text.Language = r.Text(s.Get("language"), "language")
	}
	if s.Has("description") {
		r.text.Entries = []suit.TextEntry{{Label: suit.TextUpdateDescription, Text: r.Text(s.Get("description"), "description")}}
	}
	r.install = r.conditions(s)
	list := r.List(s.Need("components", "the images, each with id and file"), "components", 32)
	for i, n := range list {
		r.component(uint64(i), uint64(len(list)), n)
	}
	r.m.Components = append(r.m.Components, r.stages...)
	for _, x := range []suit.SectionCommands{
		{Section: suit.SectionValidate, Commands: r.validate},
		{Section: suit.SectionInvoke, Commands: r.invoke},
		{Section: suit.SectionPayloadFetch, Commands: r.fetch},
		{Section: suit.SectionInstall, Commands: r.install},
	} {
		if len(x.Commands) > 0 {
			r.m.Sections = append(r.m.Sections, x)
		}
	}
	if r.text.Entries != nil || r.text.Components != nil {
		r.m.Text = []suit.Text{r.text}
	}
}

func (r *releaseReader) mud(s *strictyaml.Section) {
	x := r.Section(s.Get("mud"), "mud", "url", "key")
	url, file := r.Text(x.Need("url", "where the file is"), "url"), r.Text(x.Need("key", "the public key that signs the file there"), "key")
	if r.Err() != nil {
		return
	}
	k, err := publicKey(r.path(file))
	r.keep(err)
	t := k.Thumbprint()
	r.m.MUD = &suit.MUD{URL: url, SKI: suit.Digest{Alg: cose.SHA256, Bytes: t[:]}}
}

// component reads one of so many components, and says what is done with it in each
// section.
func (r *releaseReader) component(index, count uint64, n ast.Node) {
	x := r.Section(n, "a component", "id", "file", "uri", "stage", "encrypt-for", "start", "arguments")
	id := r.id(x.Need("id", "its name on the device"), "id")
	file := r.Text(x.Need("file", "the image"), "file")
	uri := r.Text(x.Get("uri"), "uri")
	if x.Has("encrypt-for") && !x.Has("stage") {
		r.Fail(x.Get("encrypt-for"), "encrypt-for wants stage too: the id of where the encrypted image waits")
	}
	if r.Err() != nil || r.err != nil {
		return
	}
	r.m.Components = append(r.m.Components, id)
	r.text.Components = append(r.text.Components, suit.ComponentText{Component: id, Entries: r.about})

	plain, bytes, err := digestFile(cose.SHA256, r.path(file))
	if r.keep(err); err != nil {
		return
	}
	size := uint64(bytes)
	sent, sentSize := plain, size
	var decrypt []suit.Parameter
	var inside []byte // goes into the envelope
	switch {
	case x.Has("encrypt-for"):
		info, b := r.encrypt(x, file)
		decrypt = append(decrypt, info)
		sent, sentSize = suit.Sum(b), uint64(len(b))
		if uri != "" {
			r.sealed = append(r.sealed, sealedImage{filepath.Base(file) + ".enc", uri, b})
			break
		}
		inside = b
	case uri == "":
		inside, err = readFile(r.path(file), suit.MaxEnvelope)
		r.keep(err)
	}
	if uri == "" {
		uri = "#" + id.String()
		r.payloads = append(r.payloads, suit.Payload{Key: uri, Bytes: inside})
	}

	do := func(c suit.Code) suit.Command { return suit.Do(c, policy) }
	r.m.Shared = append(
		r.m.Shared, suit.SetComponentIndex(index),
		suit.Override(suit.VendorIdentifier(r.vendor), suit.ClassIdentifier(r.class), suit.ImageDigest(plain), suit.ImageSize(size)),
		do(suit.ConditionVendorIdentifier), do(suit.ConditionClassIdentifier),
	)
	get := []suit.Command{suit.Override(suit.URI(uri)), do(suit.DirectiveFetch), do(suit.ConditionImageMatch)}
	if x.Has("stage") {
		staged := count + uint64(len(r.stages))
		r.stages = append(r.stages, r.id(x.Get("stage"), "stage"))
		r.fetch = append(append(r.fetch, suit.SetComponentIndex(staged), suit.Override(suit.ImageDigest(sent), suit.ImageSize(sentSize))), get...)
		get = []suit.Command{suit.Override(append(decrypt, suit.SourceComponent(staged))...), do(suit.DirectiveCopy), do(suit.ConditionImageMatch)}
	}
	r.install = append(append(r.install, suit.SetComponentIndex(index)), get...)
	r.validate = append(r.validate, suit.SetComponentIndex(index), do(suit.ConditionImageMatch))
	if r.Truth(x.Get("start"), "start", x.Has("arguments")) {
		r.invoke = append(r.invoke, suit.SetComponentIndex(index))
		if x.Has("arguments") {
			r.invoke = append(r.invoke, suit.Override(suit.InvokeArgs([]byte(r.Text(x.Get("arguments"), "arguments")))))
		}
		r.invoke = append(r.invoke, do(suit.DirectiveInvoke))
	}
}

// encrypt encrypts an image for keys of devices.
func (r *releaseReader) encrypt(x *strictyaml.Section, file string) (info suit.Parameter, sealed []byte) {
	var keys []cose.Key
	for _, n := range r.List(x.Get("encrypt-for"), "encrypt-for", 64) {
		k, err := publicKey(r.path(r.Text(n, "encrypt-for")))
		r.keep(err)
		keys = append(keys, k)
	}
	b, err := readFile(r.path(file), suit.MaxEnvelope)
	r.keep(err)
	if r.Err() != nil || r.err != nil {
		return info, nil
	}
	info, sealed, err = suit.Encrypt(cose.A128GCM, b, keys...)
	r.keep(err)
	return info, sealed
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
