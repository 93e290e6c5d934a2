// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// A Line is a line of an outline.
type Line struct {
	Depth int // of indentation
	Text  string
}

// words says what each command does, to people.
var words = map[Code]string{
	ConditionVendorIdentifier:    "check that it is of this vendor",
	ConditionClassIdentifier:     "check that it is of this class",
	ConditionDeviceIdentifier:    "check that it is this very device",
	ConditionImageMatch:          "check that the image is the one of the digest",
	ConditionImageNotMatch:       "check that the image is not the one of the digest",
	ConditionUseBefore:           "check that it is not too late",
	ConditionComponentSlot:       "check that it goes to this slot",
	ConditionCheckContent:        "check that the content is this one",
	ConditionDependencyIntegrity: "check that the dependency is the one of the digest, and signed",
	ConditionIsDependency:        "check that it is a dependency",
	ConditionAbort:               "fail",
	ConditionMinimumBattery:      "check that the battery has as much left",
	ConditionUpdateAuthorized:    "check that an update of this priority is authorised",
	ConditionVersion:             "check that the version installed is one of these",
	DirectiveProcessDependency:   "do what the dependency says in this section",
	DirectiveWrite:               "write the content",
	DirectiveFetch:               "fetch the image from the URI",
	DirectiveCopy:                "copy the image from the source component",
	DirectiveInvoke:              "start it",
	DirectiveWait:                "wait until all that is waited for has come",
	DirectiveSwap:                "exchange the image with that of the source component",
	DirectiveUnlink:              "give it up, and remove it when nothing else needs it",
	DirectiveTryEach:             "try one after the other, until one succeeds:",
	DirectiveRunSequence:         "run:",
}

// Outline says in words what the commands of a section do, or those that run before
// each section when shared. What it quotes of the manifest's texts is printable.
func (m *Manifest) Outline(commands []Command) []Line {
	return m.outline(nil, 0, commands)
}

func (m *Manifest) outline(lines []Line, depth int, commands []Command) []Line {
	say := func(more int, text string) { lines = append(lines, Line{depth + more, text}) }
	under := false // the commands stand under the component that they are for
	component := func(x Index) {
		if under {
			depth--
		}
		say(0, "for "+m.indexText(x)+":")
		under = true
		depth++
	}
	set := func(more int, how string, p Parameters) {
		for _, x := range p {
			say(more, how+" "+x.Key.String()+": "+m.parameterText(x))
		}
	}
	for i := range commands {
		c := &commands[i]
		switch c.Code {
		case DirectiveSetComponentIndex:
			component(c.Index)
		case DirectiveOverrideParameters:
			set(0, "set", c.Parameters)
		case DirectiveSetParameters:
			set(0, "set, unless it is set,", c.Parameters)
		case DirectiveOverrideMultiple:
			for _, x := range c.Multiple {
				component(Index{List: []uint64{x.Index}})
				set(0, "set", x.Parameters)
			}
		case DirectiveCopyParams:
			for _, x := range c.Copy {
				var names []string
				for _, k := range x.Keys {
					names = append(names, k.String())
				}
				say(0, "set "+strings.Join(names, ", ")+" as for "+m.indexText(Index{List: []uint64{x.Index}}))
			}
		case DirectiveTryEach:
			say(0, words[c.Code])
			for j, s := range c.Sequences {
				if s == nil {
					say(1, "or go on")
					continue
				}
				say(1, strconv.Itoa(j+1)+":")
				lines = m.outline(lines, depth+2, s)
			}
		case DirectiveRunSequence:
			say(0, words[c.Code])
			for _, s := range c.Sequences {
				lines = m.outline(lines, depth+1, s)
			}
		default:
			say(0, words[c.Code])
		}
	}
	return lines
}

// indexText names components.
func (m *Manifest) indexText(x Index) string {
	if x.All {
		return "each component"
	}
	const most = 6
	var names []string
	for n, i := range x.List {
		if n == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(x.List)-most)
		}
		id, _ := m.index(i)
		name := id.String()
		if m.dependency(i) != nil {
			name += " (a dependency)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// parameterText is the value of a parameter.
func (m *Manifest) parameterText(p Parameter) string {
	s := Parameters{p}
	switch p.Key {
	case ParameterVendorIdentifier, ParameterClassIdentifier, ParameterDeviceIdentifier:
		b, _ := s.Bytes(p.Key)
		return uuidText(b)
	case ParameterImageDigest:
		d, _ := s.ImageDigest()
		return d.String()
	case ParameterImageSize:
		n, _ := s.Uint(p.Key)
		return fmt.Sprintf("%d bytes", n)
	case ParameterUseBefore:
		n, _ := s.Uint(p.Key)
		if n > 1<<37 { // years of more than four digits
			return fmt.Sprintf("%d s after 1970", n)
		}
		return time.Unix(int64(n), 0).UTC().Format(time.RFC3339)
	case ParameterMinimumBattery:
		n, _ := s.Uint(p.Key)
		return fmt.Sprintf("%d mWh", n)
	case ParameterSourceComponent:
		n, _ := s.Uint(p.Key)
		if _, ok := m.index(n); ok {
			return m.indexText(Index{List: []uint64{n}})
		}
		return fmt.Sprintf("%d, which there is not", n)
	case ParameterComponentSlot:
		n, _ := s.Uint(p.Key)
		return strconv.FormatUint(n, 10)
	case ParameterURI:
		return strconv.QuoteToGraphic(s.URI())
	case ParameterUpdatePriority:
		n, _ := s.Priority()
		return strconv.FormatInt(n, 10)
	case ParameterVersion:
		v, _ := s.Version()
		return v.String()
	case ParameterWaitInfo:
		events, _ := s.Wait()
		var texts []string
		for _, w := range events {
			texts = append(texts, w.String())
		}
		return strings.Join(texts, ", ")
	case ParameterStrictOrder, ParameterSoftFailure:
		v, _ := s.bool(p.Key)
		return strconv.FormatBool(v)
	case ParameterEncryptionInfo:
		return m.encryptionText(s)
	case ParameterContent, ParameterInvokeArgs, ParameterFetchArguments, ParameterComponentMetadata:
		b, _ := s.Bytes(p.Key)
		return bytesText(b)
	}
	r, err := cbor.Parse(p.Value)
	if err == nil && r.Next() == cbor.Text {
		return strconv.QuoteToGraphic(r.Text())
	}
	return fmt.Sprintf("0x%x", p.Value)
}

// bytesText is short bytes as text, if they are that, and of others how many they are.
func bytesText(b []byte) string {
	if s := (ComponentID{b}).String(); len(b) <= 40 && !strings.HasPrefix(s, "0x") {
		return strconv.Quote(s)
	}
	if len(b) <= 20 {
		return fmt.Sprintf("0x%x", b)
	}
	return fmt.Sprintf("%d bytes, %v", len(b), Sum(b))
}

func (m *Manifest) encryptionText(s Parameters) string {
	b, _ := s.Bytes(ParameterEncryptionInfo)
	r, err := newReader(b, 0, "")
	if err != nil {
		return ""
	}
	e, err := r.encryptionInfo()
	if err != nil {
		return ""
	}
	var to []string
	for _, x := range e.recipients {
		one := algorithmName(x.alg)
		if x.kid != nil {
			one += " for " + bytesText(x.kid)
		}
		to = append(to, one)
	}
	return algorithmName(e.alg) + ", its key by " + strings.Join(to, ", ")
}

// algorithmName is the name in the registry of those that link/cose has none for.
func algorithmName(a cose.Algorithm) string {
	switch a {
	case A128KW:
		return "A128KW"
	case A192KW:
		return "A192KW"
	case A256KW:
		return "A256KW"
	case ECDHESA128KW:
		return "ECDH-ES+A128KW"
	case ECDHESA192KW:
		return "ECDH-ES+A192KW"
	case ECDHESA256KW:
		return "ECDH-ES+A256KW"
	case A128CTR:
		return "A128CTR"
	case A192CTR:
		return "A192CTR"
	case A256CTR:
		return "A256CTR"
	}
	return a.String()
}
