// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
)

// Doubts are the doses in doubt of a guard that does not run; one that does has
// them on its page.
func Doubts(c *Configuration) ([]envelope.Doubt, error) {
	if _, err := os.Stat(BookPath(c)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it never ran
	}
	b, err := envelope.OpenBook(envelope.Config{Path: BookPath(c)})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Doubts(), nil
}

// Settle says what became of a dose, in the name of a person with a password and
// a clinical role, for a guard that does not run.
func Settle(c *Configuration, record func(*event.Event) error, person, password string, id uint64, given bool, why string) error {
	p, known := c.Person(person)
	h := &nobody
	if known {
		h = &p.password
	}
	if !h.matches(password) || !known {
		return errWrong
	}
	why, err := typed(why)
	if err != nil {
		return err
	}
	var g *gate.Gate
	b, err := envelope.OpenBook(envelope.Config{Path: BookPath(c), Tell: func(n envelope.Notice) {
		if g != nil { // what is in doubt is told by the guard when it starts
			g.Notice(n)
		}
	}})
	if err != nil {
		return err
	}
	defer b.Close()
	devices, people := c.gated()
	g = gate.New(gate.Config{Devices: devices, People: people, Book: b, Record: record, Now: time.Now})
	defer g.Close()
	return g.Settle(p.gated(), id, given, why)
}
