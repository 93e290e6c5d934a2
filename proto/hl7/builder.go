// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

// A Builder writes one message, segment by segment. The zero value writes with
// [DefaultDelimiters]; set Delimiters before the first segment. A Builder may
// be reset and used again; it is not safe for concurrent use.
//
//	var b hl7.Builder
//	b.Segment("MSH").Text("EHR").Text("ADA")
//	b.Segment("PID").Empty(2).Components("12345", "", "", "ADA", "MR")
type Builder struct {
	Delimiters Delimiters
	b          []byte
}

// Reset forgets the message and keeps the delimiters and the buffer.
func (b *Builder) Reset() { b.b = b.b[:0] }

// Bytes returns the message, which belongs to the builder until it is reset.
func (b *Builder) Bytes() []byte {
	if len(b.b) > 0 && b.b[len(b.b)-1] != carriageReturn {
		b.b = append(b.b, carriageReturn)
	}
	return b.b
}

// Segment begins a segment. Of MSH, BHS and FHS it writes fields 1 and 2 too:
// what is written next is field 3.
func (b *Builder) Segment(id string) *Builder {
	if b.Delimiters == (Delimiters{}) {
		b.Delimiters = DefaultDelimiters
	}
	b.Bytes()
	b.b = append(b.b, id...)
	if header([]byte(id)) {
		b.b = b.Delimiters.AppendEncoding(append(b.b, b.Delimiters.Field))
	}
	return b
}

// Text writes a field of one component.
func (b *Builder) Text(s string) *Builder { return b.Components(s) }

// Empty writes n empty fields.
func (b *Builder) Empty(n int) *Builder {
	for range n {
		b.b = append(b.b, b.Delimiters.Field)
	}
	return b
}

// Components writes a field of components, each escaped; empty ones at the end
// are left out (v2.7 section 2.5.3).
func (b *Builder) Components(parts ...string) *Builder {
	b.b = append(b.b, b.Delimiters.Field)
	return b.parts(b.Delimiters.Component, parts)
}

// Repeat writes another repetition of the field written last.
func (b *Builder) Repeat(parts ...string) *Builder {
	b.b = append(b.b, b.Delimiters.Repetition)
	return b.parts(b.Delimiters.Component, parts)
}

// Subcomponents adds a component made of subcomponents to the field written last.
func (b *Builder) Subcomponents(parts ...string) *Builder {
	b.b = append(b.b, b.Delimiters.Component)
	return b.parts(b.Delimiters.Subcomponent, parts)
}

// Raw writes a field as it is, delimiters and all.
func (b *Builder) Raw(s string) *Builder {
	b.b = append(append(b.b, b.Delimiters.Field), s...)
	return b
}

func (b *Builder) parts(sep byte, parts []string) *Builder {
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	for i, s := range parts {
		if i > 0 {
			b.b = append(b.b, sep)
		}
		b.b = b.Delimiters.AppendEscaped(b.b, []byte(s))
	}
	return b
}
