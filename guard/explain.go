// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
)

// An Explanation is why a command is allowed or refused.
type Explanation struct {
	Decision envelope.Decision
	Envelope *envelope.Envelope // nil: the device has none
	File     string             // of the envelope
	Text     string             // of the line that decided
	View     envelope.View      // what had been given
	Given    bool               // the doses of the guard's own book count; else nothing was given
}

// Explain judges a command as the guard would now, and changes nothing: it works
// on a copy of the book of doses.
func Explain(c *Configuration, id string, r *envelope.Request) (*Explanation, error) {
	d, ok := c.Device(id)
	if !ok {
		return nil, fmt.Errorf("%s: no device has the id %s", c.File, id)
	}
	if r.Command.Therapy == device.NoTherapy {
		r.Command.Therapy = d.Therapy
	}
	dir, err := os.MkdirTemp("", "myelin-explain-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	x := &Explanation{Envelope: d.Envelope, File: d.File}
	copied := filepath.Join(dir, "doses")
	switch b, err := os.ReadFile(BookPath(c)); {
	case err == nil:
		x.Given = true
		if err := os.WriteFile(copied, b, 0o600); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	book, err := envelope.OpenBook(envelope.Config{Path: copied})
	if err != nil {
		return nil, err
	}
	defer book.Close()
	x.Decision = book.Judge(id, d.Envelope, r)
	x.View = book.View(id, d.Envelope)
	if x.Decision.Line > 0 {
		src, err := readFile(d.File, maxFile)
		if err != nil {
			return nil, err
		}
		x.Text = lineOf(src, x.Decision.Line)
	}
	return x, nil
}

// lineOf is a line of a file, from 1.
func lineOf(src []byte, n int) string {
	for line := range bytes.Lines(src) {
		if n--; n == 0 {
			return string(bytes.TrimSpace(line))
		}
	}
	return ""
}

// RequestOf is the command of a verdict that was recorded, as far as the record has it.
func RequestOf(e *event.Event) (id string, r envelope.Request, err error) {
	switch e.Kind {
	case event.VerdictGiven:
	case event.VerdictsCounted:
		return "", r, errors.New("it counts routine verdicts, none of which has an entry of its own")
	default:
		return "", r, fmt.Errorf("it is %s, no verdict on a command; 'myelin ledger show' tells what it says", e.Kind)
	}
	r.Command.Verb = device.Verb(e.Int(event.Verb))
	if v := e.Text(event.Value); v != "" {
		if r.Command.Value, err = device.ParseQuantity(v); err != nil {
			return "", r, fmt.Errorf("its value: %w", err)
		}
	}
	r.Command.Actor = e.Text(event.Actor)
	r.Command.Time = e.Time
	return e.Device.Value, r, nil
}

// FrontLine is where a front stands in the configuration, and what that line says;
// 0 when there is no front of that name any more.
func FrontLine(c *Configuration, name string) (line int, text string, err error) {
	i := slices.IndexFunc(c.Fronts, func(p front.Policy) bool { return p.Common().Name == name })
	if i < 0 {
		return 0, "", nil
	}
	src, err := readFile(c.File, maxFile)
	line = c.Fronts[i].Common().Position
	return line, lineOf(src, line), err
}
