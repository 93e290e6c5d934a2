// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/report"
)

// A shownManifest is what an envelope says, for people and for programs.
type shownManifest struct {
	File       string           `json:"file"`
	Bytes      int              `json:"bytes"`
	Digest     string           `json:"digest"`
	Sequence   uint64           `json:"sequence"`
	Version    string           `json:"version,omitempty"`
	ID         string           `json:"id,omitempty"` // where the manifest is kept
	Reference  string           `json:"reference_uri,omitempty"`
	MUD        *shownMUD        `json:"mud,omitempty"`
	Signatures []shownSignature `json:"signatures"` // none of them checked
	Components []shownComponent `json:"components"`
	Payloads   []shownPayload   `json:"payloads,omitempty"`
	Notes      []string         `json:"notes,omitempty"` // why a device may refuse it
	Sections   []shownSection   `json:"sections"`
	Text       []shownText      `json:"text,omitempty"`
}

type shownMUD struct {
	URL string `json:"url"`
	Key string `json:"key"`
}

type shownSignature struct {
	Algorithm string `json:"algorithm"`
	KID       string `json:"kid,omitempty"`
}

type shownComponent struct {
	Index      uint64       `json:"index"`
	ID         string       `json:"id"`
	Dependency bool         `json:"dependency,omitempty"`
	Images     []shownImage `json:"images,omitempty"` // of which it gets one
}

type shownImage struct {
	Bytes  *int64 `json:"bytes,omitempty"`
	Digest string `json:"digest"`
}

type shownPayload struct {
	Key    string `json:"key"`
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"`
	Named  bool   `json:"named"` // the manifest has this digest
}

type shownSection struct {
	Section   string   `json:"section"` // shared is what runs before each other
	Severable bool     `json:"severable,omitempty"`
	Severed   bool     `json:"severed,omitempty"`
	Steps     []string `json:"steps"` // indented by two spaces where they stand in another
}

type shownText struct {
	Language  string `json:"language"`
	Component string `json:"component,omitempty"`
	Name      string `json:"name"`
	Text      string `json:"text"`
}

func manifestShowVerb(c *console) *cobra.Command {
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "show FILE...",
		Short:                 "Tell what a manifest says, and who says to have signed it",
		Long: `Show says what an envelope is for, which images it has the digests of, and what
a device does with it, step by step. It believes nothing: 'verify' checks who
signed it.`,
		Example: `  myelin patch manifest show flow500.suit
  myelin patch manifest show --format json flow500.suit`,
		Args: atLeast(1, "show what? name an envelope"),
		RunE: func(_ *cobra.Command, args []string) error {
			return showEach(c, &format, args, showEnvelope, (*shownManifest).text)
		},
	}
	format.register(v, "text", "json")
	return v
}

func showEnvelope(file string) (*shownManifest, error) {
	e, b, err := readEnvelope(file)
	if err != nil {
		return nil, err
	}
	m, err := e.UnverifiedManifest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s := &shownManifest{
		File: file, Bytes: len(b), Digest: e.Digest.String(), Sequence: m.SequenceNumber, Version: m.Version.String(),
		ID: m.ID.String(), Reference: m.ReferenceURI, Signatures: []shownSignature{},
	}
	if m.MUD != nil {
		s.MUD = &shownMUD{m.MUD.URL, m.MUD.SKI.String()}
	}
	for i := range e.Blocks {
		x := shownSignature{"of several signers", hex.EncodeToString(e.Blocks[i].KeyID())}
		if a := e.Blocks[i].Algorithm(); a != 0 {
			x.Algorithm = a.String()
		}
		s.Signatures = append(s.Signatures, x)
	}
	for i, id := range m.Components {
		s.Components = append(s.Components, shownComponent{Index: uint64(i), ID: id.String()})
	}
	for _, d := range m.Dependencies {
		if d.Index < uint64(len(s.Components)) {
			s.Components[d.Index].Dependency = true
			continue
		}
		s.Components = append(s.Components, shownComponent{Index: d.Index, ID: d.Prefix.String(), Dependency: true})
	}
	images := m.Images()
	for i := range s.Components {
		x := &s.Components[i]
		for _, image := range images {
			if image.Index != x.Index {
				continue
			}
			shown := shownImage{Digest: image.Digest.String()}
			if image.Size >= 0 {
				shown.Bytes = &image.Size
			}
			x.Images = append(x.Images, shown)
		}
	}
	for _, p := range e.Payloads {
		x := shownPayload{p.Key, len(p.Bytes), suit.Sum(p.Bytes).String(), false}
		inner, err := suit.Decode(p.Bytes)
		for _, image := range images {
			got, _, e := suit.SumReader(image.Digest.Alg, bytes.NewReader(p.Bytes))
			x.Named = x.Named || e == nil && got.Equal(image.Digest) || err == nil && inner.Digest.Equal(image.Digest)
		}
		s.Payloads = append(s.Payloads, x)
	}
	if !checks(m.Shared, suit.ConditionVendorIdentifier) || !checks(m.Shared, suit.ConditionClassIdentifier) {
		s.Notes = append(s.Notes, "does not check vendor and class before anything else; a device may refuse it")
	}
	steps := func(commands []suit.Command) []string {
		list := []string{}
		for _, l := range m.Outline(commands) {
			list = append(list, strings.Repeat("  ", l.Depth)+l.Text)
		}
		return list
	}
	if len(m.Shared) > 0 {
		s.Sections = append(s.Sections, shownSection{Section: "shared", Steps: steps(m.Shared)})
	}
	for _, x := range m.Sections {
		s.Sections = append(s.Sections, shownSection{x.Section.String(), x.Severable, x.Severed, steps(x.Commands)})
	}
	for _, t := range m.Text {
		for _, x := range t.Entries {
			s.Text = append(s.Text, shownText{t.Language, "", suit.TextName(x.Label, false), x.Text})
		}
		for _, about := range t.Components {
			for _, x := range about.Entries {
				s.Text = append(s.Text, shownText{t.Language, about.Component.String(), suit.TextName(x.Label, true), x.Text})
			}
		}
	}
	return s, nil
}

// checks reports whether a command is among these, or among those within them.
func checks(commands []suit.Command, code suit.Code) bool {
	return slices.ContainsFunc(commands, func(c suit.Command) bool {
		return c.Code == code || slices.ContainsFunc(c.Sequences, func(s []suit.Command) bool { return checks(s, code) })
	})
}

// text writes it for people. What is quoted of the manifest cannot move the cursor.
func (s *shownManifest) text(w io.Writer) error {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(report.Plain(fmt.Sprintf(format, args...)) + "\n") }
	line := func(name, value string) {
		if value != "" {
			say("  %-11s %s", name, value)
		}
	}
	title := fmt.Sprintf("%s: manifest %d", s.File, s.Sequence)
	if s.Version != "" {
		title += ", version " + s.Version
	}
	say("%s", title)
	line("digest", s.Digest)
	line("size", fmt.Sprintf("%d bytes", s.Bytes))
	line("kept at", s.ID)
	line("whole at", s.Reference)
	if s.MUD != nil {
		line("MUD", s.MUD.URL+", signed by the key "+s.MUD.Key)
	}
	if len(s.Signatures) == 0 {
		line("signed", "by nobody")
	}
	for _, x := range s.Signatures {
		by := x.Algorithm
		if x.KID != "" {
			by += ", kid " + x.KID
		}
		line("signed", by+" (not checked here)")
	}
	for _, x := range s.Components {
		id := x.ID
		if x.Dependency {
			id += ", a manifest that this one depends on"
		}
		line("component "+strconv.FormatUint(x.Index, 10), id)
		for _, image := range x.Images {
			size := ""
			if image.Bytes != nil {
				size = fmt.Sprintf("%d bytes, ", *image.Bytes)
			}
			line("", "  "+size+image.Digest)
		}
	}
	for _, x := range s.Payloads {
		not := ""
		if !x.Named {
			not = ", which the manifest has no digest of"
		}
		line("payload", fmt.Sprintf("%q, %d bytes, %s%s", x.Key, x.Bytes, x.Digest, not))
	}
	for _, note := range s.Notes {
		line("note", note)
	}
	for _, x := range s.Sections {
		name := x.Section
		switch {
		case x.Section == "shared":
			name = "before each of these"
		case x.Severed:
			name += " (severed)"
		case x.Severable:
			name += " (may be severed)"
		}
		b.WriteByte('\n')
		say("  %s", name)
		for _, step := range x.Steps {
			say("    %s", step)
		}
	}
	for i, x := range s.Text {
		if i == 0 {
			b.WriteByte('\n')
			say("  what it says to people")
		}
		about := x.Language
		if x.Component != "" {
			about += ", " + x.Component
		}
		say("    %s (%s): %s", x.Name, about, x.Text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
