// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
)

// Append writes an event as the ledger keeps it: JSON, always the same for the same
// event, in one line:
//
//	{"kind":"verdict-given","time":"2026-03-03T06:09:00.5Z",
//	 "device":{"kind":"host","value":"pump-3"},"peer":{...},
//	 "sighting":{"input":0,"packet":0,"offset":0},
//	 "attributes":{"enforced":1,"verb":"set-infusion-rate","verdict":"deny"}}
//
// with no space between. Peer and sighting are left out when they are zero. Attributes
// stand under their names (Keys), sorted; a text as text, a number as number, an
// enumeration as its word where it has one. What of a text is not UTF-8 becomes U+FFFD.
func Append(dst []byte, e *Event) []byte {
	dst = append(dst, `{"kind":`...)
	dst = appendString(dst, e.Kind.String())
	dst = append(dst, `,"time":"`...)
	dst = time.Unix(0, e.Time).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","device":`...)
	dst = appendAddress(dst, e.Device)
	if e.Peer != (device.Address{}) {
		dst = append(dst, `,"peer":`...)
		dst = appendAddress(dst, e.Peer)
	}
	if s := e.Sighting; s != (Sighting{}) {
		dst = append(dst, `,"sighting":{"input":`...)
		dst = strconv.AppendInt(dst, int64(s.Input), 10)
		dst = append(dst, `,"packet":`...)
		dst = strconv.AppendUint(dst, s.Packet, 10)
		dst = append(dst, `,"offset":`...)
		dst = strconv.AppendInt(dst, int64(s.Offset), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"attributes":{`...)
	var sorted [MaxAttrs]Attr
	attrs := sorted[:copy(sorted[:], e.Attrs())]
	slices.SortStableFunc(attrs, func(a, b Attr) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	for i, a := range attrs {
		if i > 0 {
			if a.Key == attrs[i-1].Key {
				continue // Event knows the first of them only
			}
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, a.Key.String()), ':')
		info := keyInfo(a.Key)
		switch {
		case info.Text:
			dst = appendString(dst, a.Text)
		case info.Word != nil && info.Word(a.Int) != "":
			dst = appendString(dst, info.Word(a.Int))
		default:
			dst = strconv.AppendInt(dst, a.Int, 10)
		}
	}
	return append(dst, '}', '}')
}

func keyInfo(k Key) KeyInfo {
	if int(k) < len(Keys) {
		return Keys[k]
	}
	return KeyInfo{}
}

func appendAddress(dst []byte, a device.Address) []byte {
	dst = appendString(append(dst, `{"kind":`...), a.Kind.String())
	dst = appendString(append(dst, `,"value":`...), a.Value)
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string in one of its forms: what must be escaped is
// written \u00xx, but for the two characters that have a shorter form alone.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s { // of bytes that are not UTF-8 range makes U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// A jsonEvent is what Append writes.
type jsonEvent struct {
	Kind       string
	Time       time.Time
	Device     jsonAddress
	Peer       jsonAddress
	Sighting   Sighting
	Attributes map[string]json.RawMessage
}

type jsonAddress struct{ Kind, Value string }

// Parse reads what [Append] wrote, and nothing else: each event has one form.
// Kinds, keys and words that are not known, as from a later version, are an error.
func Parse(b []byte) (e Event, err error) {
	var j jsonEvent
	if err := json.Unmarshal(b, &j); err != nil {
		return e, errNoEvent
	}
	kind := slices.IndexFunc(Kinds[:], func(k KindInfo) bool { return k.Name == j.Kind })
	if kind < 0 {
		return e, fmt.Errorf("the kind of event %q is not known", j.Kind)
	}
	e.Kind, e.Sighting = Kind(kind), j.Sighting
	if y := j.Time.Year(); y < 1678 || y > 2261 {
		return Event{}, errNoEvent // no number of nanoseconds has it
	}
	e.Time = j.Time.UnixNano()
	for to, from := range map[*device.Address]jsonAddress{&e.Device: j.Device, &e.Peer: j.Peer} {
		for k := range device.AddressKind(255) {
			if to.Kind = k; k.String() == from.Kind {
				break
			}
		}
		to.Value = from.Value
	}
	if len(j.Attributes) > MaxAttrs {
		return Event{}, errNoEvent
	}
	for k := range Keys {
		value, ok := j.Attributes[Keys[k].Name]
		if !ok {
			continue
		}
		a, err := parseAttr(Key(k), value)
		if err != nil {
			return Event{}, err
		}
		e.Add(a)
	}
	if string(Append(nil, &e)) != string(b) {
		return Event{}, errNoEvent
	}
	return e, nil
}

var errNoEvent = errors.New("not an event as Append writes it")

func parseAttr(k Key, value json.RawMessage) (Attr, error) {
	info := Keys[k]
	a := Attr{Key: k}
	if len(value) > 0 && value[0] != '"' {
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return a, errNoEvent
		}
		a.Int = n
		return a, nil
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return a, errNoEvent
	}
	if info.Text {
		a.Text = s
		return a, nil
	}
	if info.Word == nil || s == "" {
		return a, errNoEvent
	}
	for n := range int64(256) {
		if info.Word(n) == s {
			a.Int = n
			return a, nil
		}
	}
	return a, fmt.Errorf("%s %q is not known", info.Name, s)
}
