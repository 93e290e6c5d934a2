// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"strconv"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A Code is what a command does: a condition or a directive.
type Code int64

// The conditions, which have no effect but to hold or not to, and the directives
// (section 11.4; trust-domains 9.4; update-management 7.3).
const (
	ConditionVendorIdentifier    Code = 1
	ConditionClassIdentifier     Code = 2
	ConditionImageMatch          Code = 3
	ConditionUseBefore           Code = 4
	ConditionComponentSlot       Code = 5
	ConditionCheckContent        Code = 6
	ConditionDependencyIntegrity Code = 7
	ConditionIsDependency        Code = 8
	ConditionAbort               Code = 14
	ConditionDeviceIdentifier    Code = 24
	ConditionImageNotMatch       Code = 25
	ConditionMinimumBattery      Code = 26
	ConditionUpdateAuthorized    Code = 27
	ConditionVersion             Code = 28

	DirectiveProcessDependency  Code = 11
	DirectiveSetComponentIndex  Code = 12
	DirectiveTryEach            Code = 15
	DirectiveWrite              Code = 18
	DirectiveSetParameters      Code = 19
	DirectiveOverrideParameters Code = 20
	DirectiveFetch              Code = 21
	DirectiveCopy               Code = 22
	DirectiveInvoke             Code = 23
	DirectiveWait               Code = 29
	DirectiveSwap               Code = 31
	DirectiveRunSequence        Code = 32
	DirectiveUnlink             Code = 33
	DirectiveOverrideMultiple   Code = 34
	DirectiveCopyParams         Code = 35
)

var codeNames = map[Code]string{
	ConditionVendorIdentifier:    "condition-vendor-identifier",
	ConditionClassIdentifier:     "condition-class-identifier",
	ConditionImageMatch:          "condition-image-match",
	ConditionUseBefore:           "condition-use-before",
	ConditionComponentSlot:       "condition-component-slot",
	ConditionCheckContent:        "condition-check-content",
	ConditionDependencyIntegrity: "condition-dependency-integrity",
	ConditionIsDependency:        "condition-is-dependency",
	ConditionAbort:               "condition-abort",
	ConditionDeviceIdentifier:    "condition-device-identifier",
	ConditionImageNotMatch:       "condition-image-not-match",
	ConditionMinimumBattery:      "condition-minimum-battery",
	ConditionUpdateAuthorized:    "condition-update-authorized",
	ConditionVersion:             "condition-version",
	DirectiveProcessDependency:   "directive-process-dependency",
	DirectiveSetComponentIndex:   "directive-set-component-index",
	DirectiveTryEach:             "directive-try-each",
	DirectiveWrite:               "directive-write",
	DirectiveSetParameters:       "directive-set-parameters",
	DirectiveOverrideParameters:  "directive-override-parameters",
	DirectiveFetch:               "directive-fetch",
	DirectiveCopy:                "directive-copy",
	DirectiveInvoke:              "directive-invoke",
	DirectiveWait:                "directive-wait",
	DirectiveSwap:                "directive-swap",
	DirectiveRunSequence:         "directive-run-sequence",
	DirectiveUnlink:              "directive-unlink",
	DirectiveOverrideMultiple:    "directive-override-multiple",
	DirectiveCopyParams:          "directive-copy-params",
}

// String is the draft's name of the command.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return "command " + strconv.FormatInt(int64(c), 10)
}

// Condition reports whether the command is one of the conditions.
func (c Code) Condition() bool {
	switch c {
	case ConditionVendorIdentifier, ConditionClassIdentifier, ConditionImageMatch, ConditionUseBefore,
		ConditionComponentSlot, ConditionCheckContent, ConditionDependencyIntegrity, ConditionIsDependency,
		ConditionAbort, ConditionDeviceIdentifier, ConditionImageNotMatch, ConditionMinimumBattery,
		ConditionUpdateAuthorized, ConditionVersion:
		return true
	}
	return false
}

// A Policy is a SUIT_Rep_Policy (section 8.4.7): what the author would like to be
// reported of a command.
type Policy uint8

// The bits of a policy.
const (
	RecordOnSuccess  Policy = 1 << 0
	RecordOnFailure  Policy = 1 << 1
	SysinfoOnSuccess Policy = 1 << 2
	SysinfoOnFailure Policy = 1 << 3
)

// A Command is a condition or directive with its argument. Which field that is, its
// Code says.
type Command struct {
	Code       Code
	Policy     Policy          // of conditions, and of directives that have no argument
	Index      Index           // DirectiveSetComponentIndex
	Parameters Parameters      // DirectiveOverrideParameters and DirectiveSetParameters
	Multiple   []IndexedParams // DirectiveOverrideMultiple, ascending
	Copy       []CopiedParams  // DirectiveCopyParams, ascending
	Sequences  [][]Command     // DirectiveTryEach, where a nil one ends the list and always succeeds; DirectiveRunSequence has one
	Off        int             // bytes from the start of the envelope that it was read from
}

// An Index says which components the commands that follow are about.
type Index struct {
	All  bool // each of them, dependencies too
	List []uint64
}

// IndexedParams are parameters of one component.
type IndexedParams struct {
	Index      uint64
	Parameters Parameters
}

// CopiedParams are the keys of parameters that are copied from a component.
type CopiedParams struct {
	Index uint64
	Keys  []ParameterKey
}

// Do returns a command that has no argument: a condition, or one of the directives
// that act on a component.
func Do(c Code, p Policy) Command { return Command{Code: c, Policy: p} }

// SetComponentIndex makes the commands that follow be about these components.
func SetComponentIndex(indices ...uint64) Command {
	return Command{Code: DirectiveSetComponentIndex, Index: Index{List: indices}}
}

// Override sets parameters, whatever they were.
func Override(p ...Parameter) Command {
	return Command{Code: DirectiveOverrideParameters, Parameters: NewParameters(p...)}
}

// TryEach runs sequences until one succeeds. A nil one, which can only be the last,
// does.
func TryEach(sequences ...[]Command) Command {
	return Command{Code: DirectiveTryEach, Sequences: sequences}
}

// RunSequence runs a sequence for each component.
func RunSequence(commands ...Command) Command {
	return Command{Code: DirectiveRunSequence, Sequences: [][]Command{commands}}
}

// A parser reads one sequence and those within it.
type parser struct {
	m      *Manifest
	shared bool // the shared sequence, where fewer commands are allowed
}

// sequence reads a SUIT_Command_Sequence of a section. Which is not shared begins,
// when there are several components, by saying which it is about (section 6.2).
func (m *Manifest) sequence(r *reader, shared bool) ([]Command, error) {
	p := parser{m, shared}
	s, err := p.sequence(r, 0)
	if err != nil {
		return nil, err
	}
	switch {
	case len(m.indices()) == 1:
	case s[0].Code == DirectiveSetComponentIndex:
	case s[0].Code == DirectiveOverrideMultiple: // which is another way to write it
	default:
		return nil, r.bad(0, ErrStructure, "several components, and the sequence does not begin with set-component-index")
	}
	return s, nil
}

func (p *parser) sequence(r *reader, depth int) ([]Command, error) {
	at := r.Off()
	if depth > maxNesting {
		return nil, r.bad(at, ErrLimit, "sequences in sequences")
	}
	n := r.Array()
	if err := r.count(n, 2, 2*maxCommands); err != nil {
		return nil, err
	}
	if n%2 != 0 {
		return nil, r.bad(at, ErrStructure, "a command without an argument")
	}
	path := r.path
	s := make([]Command, 0, min(n/2, 16))
	for i := range n / 2 {
		if p.m.commands++; p.m.commands > maxCommands {
			return nil, r.bad(r.Off(), ErrLimit, "commands")
		}
		r.path = path + "[" + strconv.Itoa(i) + "]"
		c, err := p.command(r, depth)
		if err != nil {
			return nil, err
		}
		s = append(s, c)
	}
	r.path = path
	return s, r.done()
}

func (p *parser) command(r *reader, depth int) (Command, error) {
	at := r.Off()
	c := Command{Code: Code(r.Int()), Off: r.base + at}
	if err := r.err(); err != nil {
		return c, err
	}
	if _, ok := codeNames[c.Code]; !ok {
		return c, r.bad(at, ErrUnsupported, c.Code.String())
	}
	if p.shared && !p.allowed(c.Code) {
		return c, r.bad(at, ErrStructure, c.Code.String()+" in the shared sequence")
	}
	var err error
	switch c.Code {
	case DirectiveSetComponentIndex:
		c.Index, err = p.index(r)
	case DirectiveOverrideParameters, DirectiveSetParameters:
		c.Parameters, err = r.parameters(p.shared)
	case DirectiveOverrideMultiple:
		n := r.Map()
		if err := r.count(n, 1, maxComponents); err != nil {
			return c, err
		}
		for range n {
			x := IndexedParams{}
			if x.Index, err = p.one(r); err != nil {
				return c, err
			}
			if x.Parameters, err = r.parameters(p.shared); err != nil {
				return c, err
			}
			c.Multiple = append(c.Multiple, x)
		}
	case DirectiveCopyParams:
		n := r.Map()
		if err := r.count(n, 1, maxComponents); err != nil {
			return c, err
		}
		for range n {
			x := CopiedParams{}
			if x.Index, err = p.one(r); err != nil {
				return c, err
			}
			k := r.Array()
			if err := r.count(k, 1, maxParameters); err != nil {
				return c, err
			}
			for range k {
				x.Keys = append(x.Keys, ParameterKey(r.Int()))
			}
			c.Copy = append(c.Copy, x)
		}
	case DirectiveTryEach:
		n := r.Array()
		if err := r.count(n, 2, maxAlternatives); err != nil {
			return c, err
		}
		for i := range n {
			if i == n-1 && r.Null() {
				c.Sequences = append(c.Sequences, nil)
				break
			}
			inner, err := r.nested("try-each[" + strconv.Itoa(i) + "]")
			if err != nil {
				return c, err
			}
			s, err := p.sequence(&inner, depth+1)
			if err != nil {
				return c, err
			}
			c.Sequences = append(c.Sequences, s)
		}
	case DirectiveRunSequence:
		inner, err := r.nested("run-sequence")
		if err != nil {
			return c, err
		}
		s, err := p.sequence(&inner, depth+1)
		if err != nil {
			return c, err
		}
		c.Sequences = [][]Command{s}
	default:
		policy := r.Uint()
		if policy > 15 {
			return c, r.bad(at, ErrStructure, "reporting policy")
		}
		c.Policy = Policy(policy)
	}
	if err == nil {
		err = r.err()
	}
	return c, err
}

// allowed reports whether a command may stand in the shared sequence: the CDDL of
// section 8.4.5 lists them, and trust-domains 5.2 adds to it. Nothing there has an
// effect on a component.
func (p *parser) allowed(c Code) bool {
	switch c {
	case DirectiveSetComponentIndex, DirectiveRunSequence, DirectiveTryEach, DirectiveOverrideParameters,
		DirectiveSetParameters, DirectiveOverrideMultiple, DirectiveCopyParams:
		return true
	}
	return c.Condition()
}

// one reads an index that has to exist.
func (p *parser) one(r *reader) (uint64, error) {
	at := r.Off()
	i := r.Uint()
	if _, ok := p.m.index(i); !ok {
		return 0, r.bad(at, ErrStructure, "no component has this index")
	}
	return i, nil
}

func (p *parser) index(r *reader) (x Index, err error) {
	at := r.Off()
	switch r.Next() {
	case cbor.Simple:
		if x.All = r.Bool(); !x.All {
			return x, r.bad(at, ErrStructure, "a component index is a number, an array of them, or true")
		}
		return x, r.err()
	case cbor.Array:
		n := r.Array()
		if err := r.count(n, 1, maxComponents); err != nil {
			return x, err
		}
		for range n {
			i, err := p.one(r)
			if err != nil {
				return x, err
			}
			x.List = append(x.List, i)
		}
		return x, nil
	}
	i, err := p.one(r)
	x.List = []uint64{i}
	return x, err
}

// appendSequence is what sequence reads.
func appendSequence(dst []byte, s []Command) []byte {
	dst = cbor.AppendArray(dst, 2*len(s))
	for i := range s {
		dst = s[i].append(dst)
	}
	return dst
}

func (c *Command) append(dst []byte) []byte {
	dst = cbor.AppendInt(dst, int64(c.Code))
	switch c.Code {
	case DirectiveSetComponentIndex:
		switch {
		case c.Index.All:
			return cbor.AppendBool(dst, true)
		case len(c.Index.List) == 1:
			return cbor.AppendUint(dst, c.Index.List[0])
		}
		dst = cbor.AppendArray(dst, len(c.Index.List))
		for _, i := range c.Index.List {
			dst = cbor.AppendUint(dst, i)
		}
		return dst
	case DirectiveOverrideParameters, DirectiveSetParameters:
		return c.Parameters.append(dst)
	case DirectiveOverrideMultiple:
		dst = cbor.AppendMap(dst, len(c.Multiple))
		for _, x := range c.Multiple {
			dst = x.Parameters.append(cbor.AppendUint(dst, x.Index))
		}
		return dst
	case DirectiveCopyParams:
		dst = cbor.AppendMap(dst, len(c.Copy))
		for _, x := range c.Copy {
			dst = cbor.AppendArray(cbor.AppendUint(dst, x.Index), len(x.Keys))
			for _, k := range x.Keys {
				dst = cbor.AppendInt(dst, int64(k))
			}
		}
		return dst
	case DirectiveTryEach:
		dst = cbor.AppendArray(dst, len(c.Sequences))
		for _, s := range c.Sequences {
			if s == nil {
				dst = cbor.AppendNull(dst)
				continue
			}
			dst = cbor.AppendBytes(dst, appendSequence(nil, s))
		}
		return dst
	case DirectiveRunSequence:
		if len(c.Sequences) != 1 {
			return cbor.AppendNull(dst) // which is not read again
		}
		return cbor.AppendBytes(dst, appendSequence(nil, c.Sequences[0]))
	}
	return cbor.AppendUint(dst, uint64(c.Policy))
}
