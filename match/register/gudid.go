// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
)

// maxProducts bounds the products kept of AccessGUDID, which has five million:
// some 100 MB. Of a hospital's devices there are thousands.
const maxProducts = 300_000

// maxGUDIDLine bounds a line of a delimited file: 200 characters a field, and
// a description of 2,000.
const maxGUDIDLine = 256 << 10

// A Product is what AccessGUDID says of a device identifier. Model is the
// labeler's "version or model", which is part of the product's name: many
// versions of software have one device identifier, and none can be told by it.
type Product struct {
	DI        string
	Company   string
	Brand     string
	Model     string
	Catalogue string   // catalogue number
	Codes     []string // FDA product codes, sorted
	Implanted bool     // its GMDN term is of an implant
}

// A GUDID collects what AccessGUDID's files say of products, and what openFDA's
// copy of them does. The zero value is ready for use.
type GUDID struct {
	// Want says which products are of interest, by what the file says: of
	// device.txt all, of the other delimited files only the device identifier.
	// Nil: all, as far as there is room. The strings must not be kept.
	Want func(di, company, brand, model string) bool

	Products map[string]*Product // by device identifier; several may name one
	Dropped  int                 // products for which there was no room
}

// Read adds a file: of the delimited release device.txt, productCodes.txt,
// gmdnTerms.txt or identifiers.txt, told apart by their first line (device.txt
// is to be read first, unless Want knows device identifiers); AccessGUDID's
// JSON of a device; openFDA's JSON of UDI records. A [RecordsError] says that
// some records were passed over.
//
// Field names: accessgudid.nlm.nih.gov, "AccessGUDID delimited files"; the
// schema of gudid.device; open.fda.gov/apis/device/udi.
func (g *GUDID) Read(r io.Reader) error {
	if g.Products == nil {
		g.Products = map[string]*Product{}
	}
	b := bufio.NewReaderSize(r, maxGUDIDLine)
	for {
		head, err := b.Peek(3)
		if err == nil && string(head) == "\ufeff" {
			b.Discard(3)
			continue
		}
		if len(head) == 0 {
			return errFeed
		}
		switch head[0] {
		case ' ', '\t', '\r', '\n':
			b.Discard(1)
			continue
		case '{', '[':
			return records(b, g.record)
		}
		return g.delimited(b)
	}
}

// at returns the product of a device identifier, made if it is wanted.
func (g *GUDID) at(di, company, brand, model string) *Product {
	if p := g.Products[di]; p != nil {
		return p
	}
	if di == "" || len(di) > maxCellBytes || g.Want != nil && !g.Want(di, company, brand, model) {
		return nil
	}
	if len(g.Products) >= maxProducts {
		g.Dropped++
		return nil
	}
	p := &Product{DI: strings.Clone(di)}
	g.Products[p.DI] = p
	return p
}

func (p *Product) describe(company, brand, model, catalogue string) {
	for _, f := range []struct {
		to   *string
		from string
	}{{&p.Company, company}, {&p.Brand, brand}, {&p.Model, model}, {&p.Catalogue, catalogue}} {
		if *f.to == "" && len(f.from) <= maxCellBytes {
			*f.to = strings.Clone(f.from)
		}
	}
}

func (p *Product) code(c string) {
	c = strings.ToUpper(strings.TrimSpace(c))
	if i, ok := slices.BinarySearch(p.Codes, c); !ok && len(c) == 3 && len(p.Codes) < 64 {
		p.Codes = slices.Insert(p.Codes, i, strings.Clone(c))
	}
}

// delimited reads a file of the delimited release: columns between bars, of
// which the first line names the columns.
func (g *GUDID) delimited(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return errFeed
	}
	column := map[string]int{}
	names := strings.Split(strings.TrimSpace(string(line)), "|")
	if len(names) > maxColumns {
		return errFeed
	}
	for i, n := range names {
		column[strings.ToLower(strings.Trim(n, `" `))] = i
	}
	if _, ok := column["primarydi"]; !ok || len(names) < 2 {
		return errFeed
	}
	cells := make([]string, len(names))
	cell := func(name string) string {
		if i, ok := column[name]; ok {
			return cells[i]
		}
		return ""
	}
	var bad RecordsError
	for n := 2; ; n++ {
		line, err := r.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = nil
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		switch trimmed := bytes.TrimRight(line, "\r\n"); {
		case len(trimmed) == 0 && line != nil:
		case bytes.Count(trimmed, []byte("|"))+1 != len(names):
			bad.bad(n)
		default:
			text := string(trimmed)
			for i := range cells {
				var c string
				c, text, _ = strings.Cut(text, "|")
				cells[i] = strings.TrimSpace(c)
			}
			g.line(cell)
		}
		if err != nil {
			return bad.orNil()
		}
	}
}

// line takes a line of any of the files: a column that is not there is empty.
func (g *GUDID) line(cell func(string) string) {
	company, brand, model := cell("companyname"), cell("brandname"), cell("versionmodelnumber")
	p := g.at(cell("primarydi"), company, brand, model)
	if p == nil {
		return
	}
	p.describe(company, brand, model, cell("catalognumber"))
	p.code(cell("productcode"))
	p.Implanted = p.Implanted || strings.EqualFold(cell("implantable"), "true") || strings.EqualFold(cell("implantable"), "yes")
	g.also(cell("deviceid"), p)
}

// also makes a second device identifier, of a package or of before, name p.
func (g *GUDID) also(di string, p *Product) {
	if di != "" && len(di) <= maxCellBytes && g.Products[di] == nil && len(g.Products) < maxProducts {
		g.Products[strings.Clone(di)] = p
	}
}

// A gudidRecord is a device in either JSON.
type gudidRecord struct {
	// AccessGUDID's.
	GUDID struct {
		Device struct {
			Company     string `json:"companyName"`
			Brand       string `json:"brandName"`
			Model       string `json:"versionModelNumber"`
			Catalogue   string `json:"catalogNumber"`
			Identifiers struct {
				Identifier []struct {
					ID   string `json:"deviceId"`
					Type string `json:"deviceIdType"`
				} `json:"identifier"`
			} `json:"identifiers"`
			Codes struct {
				Code []struct {
					Code string `json:"productCode"`
				} `json:"fdaProductCode"`
			} `json:"productCodes"`
			Terms struct {
				Term []struct {
					Implantable bool `json:"implantable"`
				} `json:"gmdn"`
			} `json:"gmdnTerms"`
		} `json:"device"`
	} `json:"gudid"`

	// openFDA's.
	Company     string `json:"company_name"`
	Brand       string `json:"brand_name"`
	Model       string `json:"version_or_model_number"`
	Catalogue   string `json:"catalog_number"`
	Identifiers []struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"identifiers"`
	Codes []struct {
		Code string `json:"code"`
	} `json:"product_codes"`
	Terms []struct {
		Implantable any `json:"implantable"` // true, or "true"
	} `json:"gmdn_terms"`
}

func (g *GUDID) record(v *gudidRecord) {
	type id = struct{ di, kind string }
	var ids []id
	var codes []string
	company, brand, model, catalogue, implanted := v.Company, v.Brand, v.Model, v.Catalogue, false
	for _, i := range v.Identifiers {
		ids = append(ids, id{i.ID, i.Type})
	}
	for _, c := range v.Codes {
		codes = append(codes, c.Code)
	}
	for _, t := range v.Terms {
		implanted = implanted || t.Implantable == true || t.Implantable == "true"
	}
	if d := &v.GUDID.Device; len(d.Identifiers.Identifier) > 0 {
		company, brand, model, catalogue = d.Company, d.Brand, d.Model, d.Catalogue
		for _, i := range d.Identifiers.Identifier {
			ids = append(ids, id{i.ID, i.Type})
		}
		for _, c := range d.Codes.Code {
			codes = append(codes, c.Code)
		}
		for _, t := range d.Terms.Term {
			implanted = implanted || t.Implantable
		}
	}
	primary := slices.IndexFunc(ids, func(i id) bool { return strings.EqualFold(i.kind, "primary") })
	if primary < 0 {
		return
	}
	p := g.at(ids[primary].di, company, brand, model)
	if p == nil {
		return
	}
	p.describe(company, brand, model, catalogue)
	p.Implanted = p.Implanted || implanted
	for _, c := range codes {
		p.code(c)
	}
	for _, i := range ids[:min(len(ids), 64)] {
		g.also(i.di, p)
	}
}

// Learn adds the products to a catalogue: by device identifier, and by company
// with brand, model or catalogue number where all products of that name have
// one code. Of a product's several codes it is the one with the worst harm.
func (g *GUDID) Learn(c *device.Catalogue) {
	const several = "\x00"
	codes := map[[2]string]string{}
	for di, p := range g.Products {
		code := worst(c, p.Codes)
		if code == "" {
			continue
		}
		c.LearnProduct(di, "", "", code)
		for _, name := range []string{p.Brand, p.Model, p.Catalogue} {
			k := [2]string{p.Company, name}
			if p.Company == "" || name == "" {
				continue
			}
			if was, ok := codes[k]; ok && was != code {
				codes[k] = several
			} else {
				codes[k] = code
			}
		}
	}
	for k, code := range codes {
		if code != several {
			c.LearnProduct("", k[0], k[1], code)
		}
	}
}

// worst returns the code with the worst harm, of equals the first.
func worst(c *device.Catalogue, codes []string) string {
	best, harm := "", device.NoHarm
	for _, code := range codes {
		if p, _ := c.Lookup(code); best == "" || p.Harm > harm {
			best, harm = code, p.Harm
		}
	}
	return best
}
