// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	dialect "github.com/myelin-health/myelin/proto/radio"
)

// An ether is what is said in one dialect of a proprietary radio.
type ether struct {
	s       *scene
	d       *dialect.Dialect
	channel uint16
	always  []any   // fields and values that every frame has
	sealed  *tagger // nil: nothing is sealed
}

// A tagger seals what a protected dialect says: under a key that both sides
// agreed on, and a counter that never comes again.
type tagger struct {
	key     key
	session uint32
	counter uint64
}

// ether returns one of the dialects that come with Myelin.
func (s *scene) ether(name string, channel uint16, always ...any) *ether {
	if d := Sample(name); d != nil {
		return &ether{s: s, d: d, channel: channel, always: always}
	}
	s.note(fmt.Errorf("radio: no dialect %s", name))
	return nil
}

// sealedEther is one of the protected dialects, in a session of its own.
func (s *scene) sealedEther(name string, channel uint16) *ether {
	e := s.ether(name, channel)
	e.sealed = &tagger{key: s.key(), session: s.rng.Uint32() | 1}
	e.always = []any{"session", int64(e.sealed.session)}
	return e
}

// say sends a frame: an opcode, and fields, each a name and an int, int64, uint32,
// string or []byte. It returns the frame. In a sealed ether the field "message", if
// there is one, is what is encrypted.
func (e *ether) say(opcode string, fields ...any) []byte {
	all := append(append([]any{}, e.always...), fields...)
	if e.sealed != nil {
		m, err := e.d.Message(opcode)
		if err != nil {
			e.s.note(err)
			return nil
		}
		all = e.sealed.seal(m, all)
	}
	frame, err := Compose(e.d, opcode, all...)
	if err != nil {
		e.s.note(err)
		return nil
	}
	e.again(frame, int8(-58-e.s.rng.IntN(6)))
	return frame
}

// Compose returns a frame of a dialect: an opcode, and fields, each a name and an
// int, int64, uint32, string or []byte, of which the last one of a name counts.
func Compose(d *dialect.Dialect, opcode string, fields ...any) ([]byte, error) {
	m, err := d.Message(opcode)
	for i := 0; i+1 < len(fields) && err == nil; i += 2 {
		name, _ := fields[i].(string)
		switch v := fields[i+1].(type) {
		case int:
			err = m.Set(name, int64(v))
		case int64:
			err = m.Set(name, v)
		case uint32:
			err = m.Set(name, int64(v))
		case string:
			err = m.SetBytes(name, []byte(v))
		case []byte:
			err = m.SetBytes(name, v)
		default:
			err = fmt.Errorf("radio: field %q of another type", name)
		}
	}
	if err != nil {
		return nil, err
	}
	return d.Append(nil, m), nil
}

var samples = sync.OnceValue(dialect.Samples)

// Sample returns one of the dialects that come with Myelin, or nil.
func Sample(name string) *dialect.Dialect {
	for _, d := range samples() {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// again sends a frame that was recorded, as strong as a receiver hears it.
func (e *ether) again(raw []byte, rssi int8) {
	e.s.frames = append(e.s.frames, frame{time: e.s.now, dialect: e.d.Name, raw: raw, channel: e.channel, rssi: rssi})
	e.s.after(40 * time.Millisecond)
}

// seal adds counter, ciphertext and tag to the fields of a message.
func (t *tagger) seal(m *dialect.Message, fields []any) []any {
	const tagSize = 8
	t.counter++
	var nonce [13]byte
	binary.LittleEndian.PutUint32(nonce[:], t.session)
	binary.LittleEndian.PutUint64(nonce[4:], t.counter)
	var plain []byte
	var out []any
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "message" {
			plain = []byte(fields[i+1].(string))
		} else {
			out = append(out, fields[i], fields[i+1])
		}
	}
	sealed := t.key.Seal(nil, nonce, tagSize, binary.LittleEndian.AppendUint32(nil, m.Opcode.Value), plain)
	out = append(out, "counter", int64(t.counter), "tag", sealed[len(plain):])
	if plain != nil {
		out = append(out, "message", sealed[:len(plain)])
	}
	return out
}

// pause is a person at a programmer.
func (e *ether) pause(d time.Duration) { e.s.after(d) }
