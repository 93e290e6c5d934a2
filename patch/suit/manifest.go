// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// A Section is the label of a member of the manifest that may be severed, or is a
// sequence of commands.
type Section int64

// The sections: of the base draft 11.2, of trust-domains 9.2, of update-management
// 7.2.
const (
	SectionValidate              Section = 7
	SectionLoad                  Section = 8
	SectionInvoke                Section = 9
	SectionCoSWID                Section = 14 // not a sequence; severable
	SectionDependencyResolution  Section = 15 // severable
	SectionPayloadFetch          Section = 16 // severable
	SectionCandidateVerification Section = 18 // severable
	SectionInstall               Section = 20 // severable
	SectionText                  Section = 23 // not a sequence; severable
	SectionUninstall             Section = 24
)

// The other labels of a manifest. That of MUD is not assigned (draft-ietf-suit-mud
// section 7 asks for one): labels below -256 are for private use, and this one is
// ours until there is another.
const (
	manifestVersion        = 1
	manifestSequenceNumber = 2
	manifestCommon         = 3
	manifestReferenceURI   = 4
	manifestComponentID    = 5
	manifestSetVersion     = 6
	manifestMUD            = -65536

	commonDependencies = 1
	commonComponents   = 2
	commonShared       = 4

	dependencyPrefix = 1
	mudURL, mudSKI   = 1, 2
	tagURI           = 32
)

// String is the draft's name of the section.
func (s Section) String() string {
	switch s {
	case SectionValidate:
		return "validate"
	case SectionLoad:
		return "load"
	case SectionInvoke:
		return "invoke"
	case SectionCoSWID:
		return "coswid"
	case SectionDependencyResolution:
		return "dependency-resolution"
	case SectionPayloadFetch:
		return "payload-fetch"
	case SectionCandidateVerification:
		return "candidate-verification"
	case SectionInstall:
		return "install"
	case SectionText:
		return "text"
	case SectionUninstall:
		return "uninstall"
	}
	return "section " + strconv.FormatInt(int64(s), 10)
}

func labelName(label int64) string { return Section(label).String() }

func severable(label int64) bool {
	switch Section(label) {
	case SectionCoSWID, SectionDependencyResolution, SectionPayloadFetch, SectionCandidateVerification, SectionInstall, SectionText:
		return true
	}
	return false
}

func isSequence(label int64) bool {
	switch Section(label) {
	case SectionValidate, SectionLoad, SectionInvoke, SectionUninstall:
		return true
	case SectionCoSWID, SectionText:
		return false
	}
	return severable(label)
}

// A ComponentID is a SUIT_Component_Identifier: the segments of a component's name.
type ComponentID [][]byte

// NewComponentID returns the identifier with these segments.
func NewComponentID(segments ...string) ComponentID {
	id := make(ComponentID, len(segments))
	for i, s := range segments {
		id[i] = []byte(s)
	}
	return id
}

// String writes the segments with a slash between them: one that is printable as
// it is, another in hexadecimal. It is for people; two identifiers may look the
// same.
func (c ComponentID) String() string {
	s := make([]string, len(c))
	for i, b := range c {
		printable := len(b) > 0 && utf8.Valid(b) && !slices.Contains(b, '/') &&
			!slices.ContainsFunc([]rune(string(b)), func(r rune) bool { return !unicode.IsPrint(r) })
		if s[i] = string(b); !printable {
			s[i] = fmt.Sprintf("0x%x", b)
		}
	}
	return strings.Join(s, "/")
}

// Equal reports whether two identifiers are the same.
func (c ComponentID) Equal(other ComponentID) bool {
	return slices.EqualFunc(c, other, bytes.Equal)
}

// key is the identifier as a key of a map.
func (c ComponentID) key() string { return string(c.append(nil)) }

func (c ComponentID) append(dst []byte) []byte {
	dst = cbor.AppendArray(dst, len(c))
	for _, s := range c {
		dst = cbor.AppendBytes(dst, s)
	}
	return dst
}

// componentID reads a SUIT_Component_Identifier. An empty one is refused: it names
// nothing that could be told from another.
func (r *reader) componentID() (ComponentID, error) {
	at := r.Off()
	n := r.Array()
	if err := r.count(n, 1, maxSegments); err != nil {
		return nil, err
	}
	c := make(ComponentID, n)
	total := 0
	for i := range c {
		c[i] = r.Bytes()
		total += len(c[i])
	}
	if total > maxIdentifier {
		return nil, r.bad(at, ErrLimit, "component identifier too long")
	}
	return c, r.err()
}

// A Dependency says that the component with an index is the envelope of another
// manifest (trust-domains section 5.2.2).
type Dependency struct {
	Index uint64

	// Prefix, of an Index beyond Components, is where the envelope is kept, as the
	// drafts' examples have it; of another, it goes before the identifiers of the
	// dependency's own components. Nil is none.
	Prefix ComponentID
}

// A MUD tells which communication a device with this software needs
// (draft-ietf-suit-mud).
type MUD struct {
	URL string
	SKI Digest // thumbprint of the key that signs the file there
}

// A Manifest is a SUIT_Manifest: what may be signed, and run.
type Manifest struct {
	SequenceNumber uint64
	ReferenceURI   string      // where the manifest is with all its members; "" is not said
	ID             ComponentID // manifest-component-id, where a root manifest is kept; nil is not said
	Version        Version     // set-version; nil is not said
	MUD            *MUD        // nil is not said

	Components   []ComponentID
	Dependencies []Dependency // ascending Index
	Shared       []Command    // runs before each section

	// Sections are those that the manifest has, ascending.
	Sections []SectionCommands

	Text   []Text // suit-text by language
	CoSWID []byte // concise-swid-tag, encoded; nil is none

	// SeverableText and SeverableCoSWID put these beside a new manifest.
	SeverableText, SeverableCoSWID bool

	signers  []cose.Key
	envelope *Envelope
	other    []*SectionCommands // CoSWID and text
	commands int                // that were read
}

// SectionCommands is one section.
type SectionCommands struct {
	Section   Section
	Severable bool // the manifest has a digest, and the section may stand beside it
	Severed   bool // it does not stand there: Commands is nil
	Commands  []Command

	digest Digest
}

// Signers are the keys that vouch for the manifest. There are none of one that was
// not verified.
func (m *Manifest) Signers() []cose.Key { return m.signers }

// Digest is what tells this manifest from all others: that of its envelope.
func (m *Manifest) Digest() Digest {
	if m.envelope == nil {
		return Digest{}
	}
	return m.envelope.Digest
}

// Commands returns the commands of a section, and whether the manifest has it.
func (m *Manifest) Commands(s Section) ([]Command, bool) {
	i := slices.IndexFunc(m.Sections, func(x SectionCommands) bool { return x.Section == s })
	if i < 0 {
		return nil, false
	}
	return m.Sections[i].Commands, true
}

func (m *Manifest) member(label int64) *SectionCommands {
	for i := range m.Sections {
		if int64(m.Sections[i].Section) == label {
			return &m.Sections[i]
		}
	}
	for _, s := range m.other {
		if int64(s.Section) == label {
			return s
		}
	}
	return nil
}

// indices is how many component indices there are, those of dependencies that are
// no components among them.
func (m *Manifest) index(i uint64) (ComponentID, bool) {
	if i < uint64(len(m.Components)) {
		return m.Components[i], true
	}
	for _, d := range m.Dependencies {
		if d.Index == i && d.Prefix != nil {
			return d.Prefix, true
		}
	}
	return nil, false
}

// dependency returns what is said of an index that is a dependency.
func (m *Manifest) dependency(i uint64) *Dependency {
	n, found := slices.BinarySearchFunc(m.Dependencies, i, func(d Dependency, i uint64) int {
		switch {
		case d.Index < i:
			return -1
		case d.Index > i:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &m.Dependencies[n]
}

// indices are all of them, ascending: what Component Index = True means.
func (m *Manifest) indices() []uint64 {
	all := make([]uint64, 0, len(m.Components)+len(m.Dependencies))
	for i := range m.Components {
		all = append(all, uint64(i))
	}
	for _, d := range m.Dependencies {
		if d.Index >= uint64(len(m.Components)) {
			all = append(all, d.Index)
		}
	}
	return all
}

// decodeManifest reads the manifest, and leaves out what was severed.
func (e *Envelope) decodeManifest() (*Manifest, error) {
	r, err := newReader(e.manifest, e.off, "manifest")
	if err != nil {
		return nil, err
	}
	m := &Manifest{envelope: e}
	type pending struct {
		s   *SectionCommands
		b   []byte
		off int
	}
	var (
		seen    = map[int64]bool{}
		bodies  []pending
		version uint64
	)
	n := r.Map()
	if err := r.count(n, 3, maxParameters); err != nil {
		return nil, err
	}
	for ; n > 0 && r.Err() == nil; n-- {
		at := r.Off()
		label := r.Int()
		seen[label] = true
		switch {
		case label == manifestVersion:
			if version = r.Uint(); version != 1 {
				return nil, r.bad(at, ErrUnsupported, "manifest version")
			}
		case label == manifestSequenceNumber:
			m.SequenceNumber = r.Uint()
		case label == manifestCommon:
			c, err := r.nested("common")
			if err != nil {
				return nil, err
			}
			if err := m.decodeCommon(&c); err != nil {
				return nil, err
			}
		case label == manifestReferenceURI:
			if m.ReferenceURI = r.Text(); m.ReferenceURI == "" || len(m.ReferenceURI) > maxURI {
				return nil, r.bad(at, ErrLimit, "reference-uri")
			}
		case label == manifestComponentID:
			if m.ID, err = r.componentID(); err != nil {
				return nil, err
			}
		case label == manifestSetVersion:
			v, err := r.nested("set-version")
			if err != nil {
				return nil, err
			}
			if m.Version, err = v.version(); err != nil {
				return nil, err
			}
			if err := v.done(); err != nil {
				return nil, err
			}
		case label == manifestMUD:
			if m.MUD, err = r.mud(); err != nil {
				return nil, err
			}
		case severable(label) || isSequence(label):
			s := &SectionCommands{Section: Section(label)}
			if severable(label) && r.Next() == cbor.Array {
				s.Severable, s.Severed = true, true
				if s.digest, err = r.digest(); err != nil {
					return nil, err
				}
			} else {
				b, off := r.bytes()
				bodies = append(bodies, pending{s, b, off})
			}
			m.other = append(m.other, s)
		default:
			return nil, r.bad(at, ErrUnsupported, fmt.Sprintf("label %d", label))
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if !seen[manifestVersion] || !seen[manifestSequenceNumber] || !seen[manifestCommon] {
		return nil, r.bad(0, ErrStructure, "no version, no sequence number or no common part")
	}
	// Sections come after common, which says how many components there are.
	for _, p := range bodies {
		if err := m.decodeMember(p.s, p.b, p.off); err != nil {
			return nil, err
		}
	}
	all := m.other
	m.other = nil
	for _, s := range all {
		if isSequence(int64(s.Section)) {
			m.Sections = append(m.Sections, *s)
		} else {
			m.other = append(m.other, s)
			m.SeverableText = m.SeverableText || s.Section == SectionText && s.Severable
			m.SeverableCoSWID = m.SeverableCoSWID || s.Section == SectionCoSWID && s.Severable
		}
	}
	return m, nil
}

// decodeMember reads what a section has in it.
func (m *Manifest) decodeMember(s *SectionCommands, b []byte, off int) error {
	r, err := newReader(b, off, labelName(int64(s.Section)))
	if err != nil {
		return err
	}
	s.Severed = false
	switch s.Section {
	case SectionCoSWID:
		m.CoSWID = b
		return nil
	case SectionText:
		m.Text, err = m.decodeText(&r)
		return err
	}
	s.Commands, err = m.sequence(&r, false)
	return err
}

func (m *Manifest) decodeCommon(r *reader) error {
	shared := reader{}
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		at := r.Off()
		switch label := r.Int(); label {
		case commonDependencies:
			n := r.Map()
			if err := r.count(n, 1, maxComponents); err != nil {
				return err
			}
			for range n {
				d := Dependency{Index: r.Uint()}
				k := r.Map()
				if r.Err() == nil && (k > 1 || k == 1 && r.Int() != dependencyPrefix) {
					return r.bad(at, ErrUnsupported, "metadata of a dependency")
				}
				if k == 1 {
					p, err := r.componentID()
					if err != nil {
						return err
					}
					d.Prefix = p
				}
				m.Dependencies = append(m.Dependencies, d)
			}
		case commonComponents:
			n := r.Array()
			if err := r.count(n, 1, maxComponents); err != nil {
				return err
			}
			for range n {
				c, err := r.componentID()
				if err != nil {
					return err
				}
				if slices.ContainsFunc(m.Components, c.Equal) {
					return r.bad(at, ErrStructure, "a component twice")
				}
				m.Components = append(m.Components, c)
			}
		case commonShared:
			s, err := r.nested("shared-sequence")
			if err != nil {
				return err
			}
			shared = s
		default:
			return r.bad(at, ErrUnsupported, fmt.Sprintf("label %d", label))
		}
	}
	if err := r.done(); err != nil {
		return err
	}
	if len(m.Components) == 0 && len(m.Dependencies) == 0 {
		return r.bad(0, ErrStructure, "no components")
	}
	for _, d := range m.Dependencies {
		if _, ok := m.index(d.Index); !ok {
			return r.bad(0, ErrStructure, "a dependency that is no component, and has no prefix to find it by")
		}
	}
	if shared.path == "" {
		return nil
	}
	var err error
	m.Shared, err = m.sequence(&shared, true)
	return err
}

func (r *reader) mud() (*MUD, error) {
	c, err := r.nested("mud")
	if err != nil {
		return nil, err
	}
	if c.Map() != 2 || c.Int() != mudURL || c.Tag() != tagURI {
		return nil, c.bad(0, ErrStructure, "MUD is a URL and a key's thumbprint")
	}
	u := &MUD{URL: c.Text()}
	if len(u.URL) > maxURI || c.Int() != mudSKI {
		return nil, c.bad(0, ErrStructure, "MUD is a URL and a key's thumbprint")
	}
	if u.SKI, err = c.digest(); err != nil {
		return nil, err
	}
	return u, c.done()
}

// names reports whether a URI parameter of the manifest is uri.
func (m *Manifest) names(uri string) bool {
	found := false
	m.walk(func(c *Command) {
		found = found || c.Parameters.URI() == uri
		for _, x := range c.Multiple {
			found = found || x.Parameters.URI() == uri
		}
	})
	return found
}

// An InstalledImage is one that a manifest may make the content of a component.
type InstalledImage struct {
	Index  uint64 // of the component
	Digest Digest // of a dependency: of its manifest
	Size   int64  // bytes; -1 is not said
}

// Images are the images that the manifest has digests of, each once for a component,
// as they come. A component that has several gets one of them.
func (m *Manifest) Images() []InstalledImage {
	var all []InstalledImage
	set := func(x Index, p Parameters) {
		d, ok := p.ImageDigest()
		if !ok {
			return
		}
		size := int64(-1)
		if n, ok := p.Uint(ParameterImageSize); ok && n <= 1<<62 {
			size = int64(n)
		}
		list := x.List
		if x.All {
			list = m.indices()
		}
		for _, i := range list {
			known := func(y InstalledImage) bool { return y.Index == i && y.Digest.Equal(d) }
			if !slices.ContainsFunc(all, known) {
				all = append(all, InstalledImage{i, d, size})
			}
		}
	}
	var walk func(s []Command, at Index)
	walk = func(s []Command, at Index) {
		for i := range s {
			c := &s[i]
			if c.Code == DirectiveSetComponentIndex {
				at = c.Index
			}
			set(at, c.Parameters)
			for _, x := range c.Multiple {
				at = Index{List: []uint64{x.Index}}
				set(at, x.Parameters)
			}
			for _, inner := range c.Sequences {
				walk(inner, at)
			}
		}
	}
	first := Index{List: m.indices()[:1]}
	walk(m.Shared, first)
	for _, s := range m.Sections {
		walk(s.Commands, first)
	}
	return all
}

// walk calls f with each command, those of nested sequences too.
func (m *Manifest) walk(f func(*Command)) {
	var all func([]Command)
	all = func(commands []Command) {
		for i := range commands {
			f(&commands[i])
			for _, s := range commands[i].Sequences {
				all(s)
			}
		}
	}
	all(m.Shared)
	for _, s := range m.Sections {
		all(s.Commands)
	}
}

// encode is the manifest and its severable members.
func (m *Manifest) encode() (manifest []byte, members []member, err error) {
	type pair struct {
		label int64
		value []byte
	}
	var pairs []pair
	add := func(label int64, value []byte) { pairs = append(pairs, pair{label, value}) }
	body := func(label int64, severable bool, b []byte) {
		if !severable {
			add(label, cbor.AppendBytes(nil, b))
			return
		}
		add(label, Digest{Alg: cose.SHA256}.wrapped(b).append(nil))
		members = append(members, member{label: label, b: b})
	}

	common := cbor.AppendMap(nil, min(len(m.Dependencies), 1)+min(len(m.Components), 1)+min(len(m.Shared), 1))
	if len(m.Dependencies) > 0 {
		common = cbor.AppendMap(cbor.AppendUint(common, commonDependencies), len(m.Dependencies))
		for _, d := range m.Dependencies {
			common = cbor.AppendUint(common, d.Index)
			if d.Prefix == nil {
				common = cbor.AppendMap(common, 0)
				continue
			}
			common = d.Prefix.append(cbor.AppendUint(cbor.AppendMap(common, 1), dependencyPrefix))
		}
	}
	if len(m.Components) > 0 {
		common = cbor.AppendArray(cbor.AppendUint(common, commonComponents), len(m.Components))
		for _, c := range m.Components {
			common = c.append(common)
		}
	}
	if len(m.Shared) > 0 {
		common = cbor.AppendBytes(cbor.AppendUint(common, commonShared), appendSequence(nil, m.Shared))
	}

	add(manifestVersion, cbor.AppendUint(nil, 1))
	add(manifestSequenceNumber, cbor.AppendUint(nil, m.SequenceNumber))
	add(manifestCommon, cbor.AppendBytes(nil, common))
	if m.ReferenceURI != "" {
		add(manifestReferenceURI, cbor.AppendText(nil, m.ReferenceURI))
	}
	if m.ID != nil {
		add(manifestComponentID, m.ID.append(nil))
	}
	if m.Version != nil {
		add(manifestSetVersion, cbor.AppendBytes(nil, m.Version.append(nil)))
	}
	if m.CoSWID != nil {
		body(int64(SectionCoSWID), m.SeverableCoSWID, m.CoSWID)
	}
	if len(m.Text) > 0 {
		body(int64(SectionText), m.SeverableText, appendText(nil, m.Text))
	}
	for _, s := range m.Sections {
		if s.Severed {
			add(int64(s.Section), s.digest.append(nil)) // as it was read
			continue
		}
		body(int64(s.Section), s.Severable, appendSequence(nil, s.Commands))
	}
	for _, s := range m.other {
		if s.Severed {
			add(int64(s.Section), s.digest.append(nil))
		}
	}
	if m.MUD != nil {
		mud := cbor.AppendInt(cbor.AppendMap(nil, 2), mudURL)
		mud = cbor.AppendText(cbor.AppendTag(mud, tagURI), m.MUD.URL)
		add(manifestMUD, cbor.AppendBytes(nil, m.MUD.SKI.append(cbor.AppendInt(mud, mudSKI))))
	}

	byKey := func(a, b int64) int { return bytes.Compare(cbor.AppendInt(nil, a), cbor.AppendInt(nil, b)) }
	slices.SortFunc(pairs, func(a, b pair) int { return byKey(a.label, b.label) })
	slices.SortFunc(members, func(a, b member) int { return byKey(a.label, b.label) })
	manifest = cbor.AppendMap(nil, len(pairs))
	for _, p := range pairs {
		manifest = append(cbor.AppendInt(manifest, p.label), p.value...)
	}
	return manifest, members, nil
}
