// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/report"
)

// manyIdentifiers is the size of AccessGUDID's files from which on only the
// makers of the hospital's registers are looked for in them: the whole release
// has five million products, and there is room for a part of them.
const manyIdentifiers = 64 << 20 // bytes

// packedGUDID is how much more AccessGUDID's files have unpacked.
const packedGUDID = 8

const maxColumnsText = 2000 // bytes

// A gudidFile is one of AccessGUDID's, which is read when all registers are.
type gudidFile struct {
	in    *report.Input
	paper *Paper
	names bool // it has the products' names; the others only add to these
}

func (d *documents) gudid(in *report.Input, p *Paper) {
	head := p.Head
	line, _, _ := bytes.Cut(head, []byte("\n"))
	d.gudidFiles = append(d.gudidFiles, gudidFile{in, p, bytes.HasPrefix(bytes.TrimLeft(head, "\ufeff \t\r\n"), []byte("{")) || bytes.Contains(line, []byte("brandName"))})
}

// learn reads AccessGUDID's files, brings what they and FDA's classification say
// into a catalogue, and classifies by it what is in the registers. It returns the
// catalogue, which is made where there is none and something to put into it.
func (d *documents) learn(c *device.Catalogue) *device.Catalogue {
	if c == nil && len(d.classes)+len(d.gudidFiles) > 0 {
		c = &device.Catalogue{}
	}
	d.kev = map[string]knownExploited{}
	for i, rows := range d.catalogues {
		for id, row := range rows {
			d.kev[id] = knownExploited{row, d.listed[i]}
		}
	}
	for _, row := range d.classes {
		c.Learn(row.ProductCode())
	}
	slices.SortStableFunc(d.gudidFiles, func(a, b gudidFile) int { return truth(b.names) - truth(a.names) })
	var g register.GUDID
	total := int64(0)
	for _, f := range d.gudidFiles {
		if total += f.in.Bytes; f.paper.Name != f.paper.Path {
			total += packedGUDID * f.in.Bytes
		}
	}
	if total > manyIdentifiers && len(d.entries) > 0 {
		g.Want = d.has()
	}
	for _, f := range d.gudidFiles {
		file, err := f.paper.Open()
		if err == nil {
			err = g.Read(file)
			file.Close()
		}
		f.in.Items = len(g.Products)
		if f.in.Error = ""; err != nil {
			f.in.Error = err.Error()
		} else if f.names && g.Dropped > 0 {
			f.in.Error = "there is no room for all products; a register of the hospital's tells which are wanted"
		}
	}
	if len(g.Products) > 0 {
		g.Learn(c)
	}
	for i := range d.entries {
		d.entries[i].Classify(c)
	}
	return c
}

// has returns a function that reports whether the registers have a device of an
// identifier, or of a maker.
func (d *documents) has() func(di, company, brand, model string) bool {
	identifiers, makers := map[string]bool{}, map[string]bool{}
	for i := range d.entries {
		identifiers[d.entries[i].UDI.DI] = true
		makers[d.entries[i].Manufacturer] = true
	}
	delete(makers, "")
	companies := map[string]bool{}
	return func(di, company, _, _ string) bool {
		if identifiers[di] {
			return true
		}
		known, asked := companies[company]
		if !asked {
			for maker := range makers {
				if c := match.Shipped().SameMaker(company, maker); c == match.Exact || c == match.Likely {
					known = true
					break
				}
			}
			companies[strings.Clone(company)] = known
		}
		return known
	}
}

// columnsOf says what the columns of a register were taken for.
func columnsOf(r *register.Register) string {
	of := map[string][]string{}
	var fields []string
	for _, c := range r.Columns {
		if of[c.Field] == nil {
			fields = append(fields, c.Field)
		}
		of[c.Field] = append(of[c.Field], c.Heading)
	}
	if len(r.Unused) > 0 {
		of["nothing"], fields = r.Unused, append(fields, "nothing")
	}
	for i, field := range fields {
		fields[i] = field + " from " + strings.Join(of[field], ", ")
	}
	return brief(strings.Join(fields, "; "), maxColumnsText)
}
