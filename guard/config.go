// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// The bounds of a configuration.
const (
	maxFronts  = 64
	maxDevices = 512
	maxPeople  = 256
	maxNames   = 16      // actors of one person
	maxFile    = 1 << 20 // bytes of a file that the configuration names
)

// format is that of guard.yaml.
var format = strictyaml.Format{Name: "guard configuration", Marker: "guard: 1"}

// A Configuration is guard.yaml, read and checked, with what it names.
type Configuration struct {
	File    string
	Site    string
	State   string // folder
	Ledger  Ledger
	Page    *Page   // nil: none
	Server  *Server // nil: none
	People  []Person
	Devices []Device
	Fronts  []front.Policy

	// Digest is the SHA-256 of the file and of the files that it names.
	Digest [32]byte
	named  []string // those files
	failed error    // of a file that it names, with a line of its own
}

// A Ledger is where verdicts are recorded.
type Ledger struct{ Folder, Key string }

// A Page is where people look and decide.
type Page struct {
	Listen   string
	Address  string // as a browser calls it
	TLS      *tls.Config
	Monitors []netip.Prefix
	key      string // file
	line     int
}

// A Person may look at the page, and decide if the role is a clinical one.
type Person struct {
	ID       string // initials or a number, never a name
	Role     string // prescriber, pharmacist, nurse; engineer, analyst, administrator, auditor
	Clinical envelope.ClinicalRole
	Actors   []string // by which the fronts know the person
	password hash
	line     int
}

// A Device is one that the guard protects.
type Device struct {
	ID       string
	Therapy  device.Therapy
	Envelope *envelope.Envelope // nil: none
	File     string             // of the envelope
	line     int
}

// The roles of people that decide on no therapy.
var otherRoles = []string{"engineer", "analyst", "administrator", "auditor"}

// Names of the file's own: what stands on pages, in logs and in addresses.
var (
	idWord    = lazyregexp.New(`^[a-z0-9][a-z0-9._-]{0,47}$`)
	maxPerson = 16 // initials or a staff number: a name does not fit
)

// Load reads a configuration and what it names. An error about what stands in a file is
// a [*strictyaml.Error].
func Load(file string) (*Configuration, error) {
	src, err := readFile(file, maxFile)
	if err != nil {
		return nil, err
	}
	c := &Configuration{File: file}
	r := strictyaml.New(file, format)
	dir := filepath.Dir(file)
	doc := r.Document(src)
	s := r.Section(doc, "the file", "guard", "site", "state", "ledger", "page", "server", "people", "devices", "fronts")
	if doc != nil {
		if r.Number(s.Need("guard", "guard: 1, which says what this file is"), "guard", 1, 1); r.Err() == nil {
			c.read(r, s, dir)
		}
	}
	if err := cmp.Or(c.failed, r.Err()); err != nil {
		return nil, err
	}
	c.named = namedFiles(doc, dir)
	c.Digest, err = digest(append([]string{file}, c.named...))
	return c, err
}

func (c *Configuration) read(r *strictyaml.Reader, s *strictyaml.Section, dir string) {
	c.Site = r.Text(s.Need("site", "the hospital and ward, in words"), "site")
	c.State = at(dir, r.Text(s.Need("state", "a folder for what must survive"), "state"))
	if n := s.Need("ledger", "the folder and key of the ledger in which verdicts are recorded"); n != nil {
		l := r.Section(n, "ledger", "folder", "key")
		c.Ledger.Folder = at(dir, r.Text(l.Need("folder", "where the ledger is"), "folder"))
		c.Ledger.Key = at(dir, r.Text(l.Need("key", "the file of the key that signs it; 'myelin ledger key' makes one"), "key"))
	}
	if s.Has("page") {
		c.Page = readPage(r, s.Get("page"), dir)
	}
	if s.Has("server") {
		c.Server = readServer(r, s.Get("server"), dir, c.State)
	}
	for _, n := range r.List(s.Get("people"), "people", maxPeople) {
		c.readPerson(r, n)
	}
	for _, n := range r.List(s.Need("devices", "the devices that are guarded"), "devices", maxDevices) {
		c.readDevice(r, n, dir)
	}
	for _, n := range r.List(s.Need("fronts", "at least one front"), "fronts", maxFronts) {
		c.readFront(r, n, dir)
	}
}

func readPage(r *strictyaml.Reader, n ast.Node, dir string) *Page {
	s := r.Section(n, "page", "listen", "address", "tls", "monitors")
	p := &Page{line: strictyaml.Line(n)}
	listen := s.Need("listen", "host:port of the page")
	p.Listen = r.Text(listen, "listen")
	if _, _, err := net.SplitHostPort(p.Listen); err != nil {
		r.Fail(listen, "listen has to be host:port, such as 10.20.3.2:8443")
	}
	address := s.Need("address", "the address of the page as a browser calls it, https://...")
	p.Address = r.Text(address, "address")
	if u, err := url.Parse(p.Address); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		r.Fail(address, "address has to be https://host:port/, as a browser calls the page")
	}
	t := s.Need("tls", "certificate and key of the page: passwords are typed there")
	if t == nil || r.Err() != nil {
		return p
	}
	ts := r.Section(t, "tls", "certificate", "key")
	cert := r.Text(ts.Need("certificate", "the file of the page's certificate"), "certificate")
	p.key = at(dir, r.Text(ts.Need("key", "the file of its private key"), "key"))
	if r.Err() != nil {
		return p
	}
	pair, err := tls.LoadX509KeyPair(at(dir, cert), p.key)
	if err != nil {
		r.Fail(ts.Get("certificate"), "certificate and key cannot be used: %s", plainly(err))
		return p
	}
	p.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	for _, m := range r.List(s.Get("monitors"), "monitors", maxNames) {
		text := r.Text(m, "monitors")
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err == nil {
				prefix, err = a.Prefix(a.BitLen())
			}
		}
		if err != nil {
			r.Fail(m, "monitors has to have addresses or networks, such as 10.20.1.9 or 10.20.1.0/24")
		}
		p.Monitors = append(p.Monitors, prefix)
	}
	return p
}

func (c *Configuration) readPerson(r *strictyaml.Reader, n ast.Node) {
	s := r.Section(n, "a person", "id", "role", "password", "actors")
	p := Person{line: strictyaml.Line(n)}
	p.ID = readID(r, s.Need("id", "initials or a number, never a name"), "id")
	if len(p.ID) > maxPerson {
		r.Fail(s.Get("id"), "a person's id has at most %d characters: initials or a number, never a name", maxPerson)
	}
	if slices.ContainsFunc(c.People, func(q Person) bool { return q.ID == p.ID }) {
		r.Fail(s.Get("id"), "there are two people with the id %s", strictyaml.Quoted(p.ID))
	}
	roles := append([]string{"prescriber", "pharmacist", "nurse"}, otherRoles...)
	p.Role = roles[r.Word(s.Need("role", strictyaml.Words(roles)), "role", roles)]
	p.Clinical, _ = envelope.ParseClinicalRole(p.Role)
	password := s.Need("password", "what 'myelin guard passwd' prints")
	if text := r.Text(password, "password"); r.Err() == nil {
		var err error
		if p.password, err = parseHash(text); err != nil {
			r.Fail(password, "the password has to be what 'myelin guard passwd' prints: %s", err.Error())
		}
	}
	for _, a := range r.List(s.Get("actors"), "actors", maxNames) {
		p.Actors = append(p.Actors, r.Text(a, "actors"))
	}
	c.People = append(c.People, p)
}

func (c *Configuration) readDevice(r *strictyaml.Reader, n ast.Node, dir string) {
	s := r.Section(n, "a device", "id", "therapy", "envelope")
	d := Device{line: strictyaml.Line(n)}
	d.ID = readID(r, s.Need("id", "a word for the device, such as pump-3"), "id")
	if _, ok := c.Device(d.ID); ok {
		r.Fail(s.Get("id"), "there are two devices with the id %s", strictyaml.Quoted(d.ID))
	}
	therapy := s.Need("therapy", "what it does to a body, such as drug infusion")
	d.Therapy, _ = device.ParseTherapy(r.Text(therapy, "therapy"))
	if d.Therapy == device.NoTherapy {
		var all []string
		for t := device.NoTherapy + 1; t.String() != ""; t++ {
			all = append(all, t.String())
		}
		r.Fail(therapy, "therapy is one of %s", strictyaml.Words(all))
	}
	if s.Has("envelope") && r.Err() == nil {
		d.File = at(dir, r.Text(s.Get("envelope"), "envelope"))
		src, err := readFile(d.File, strictyaml.MaxFileBytes)
		if err != nil {
			r.Fail(s.Get("envelope"), "the envelope cannot be read: %s", plainly(err))
			return
		}
		d.Envelope, err = envelope.Load(d.File, src)
		switch {
		case err != nil:
			c.failed = err
			r.Fail(s.Get("envelope"), "the envelope cannot be used")
			return
		case d.Envelope != nil && !d.Envelope.Therapies.Has(d.Therapy):
			r.Fail(s.Get("envelope"), "the envelope is for %s, and the device is for %s", d.Envelope.Therapies.String(), d.Therapy.String())
		}
	}
	c.Devices = append(c.Devices, d)
}

func (c *Configuration) readFront(r *strictyaml.Reader, n ast.Node, dir string) {
	if r.Err() != nil {
		return
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.Fail(n, "a front has to be a mapping with the keys %s, and those of its kind", strings.Join(front.Keys, ", "))
		return
	}
	var keys []string // each kind says which it has
	for _, v := range m.Values {
		key, _ := strictyaml.Scalar(v.Key)
		keys = append(keys, key)
	}
	s := r.Section(n, "a front", keys...)
	kind := s.Need("kind", strictyaml.Words(kindNames()))
	k, ok := kinds[r.Text(kind, "kind")]
	if !ok {
		r.Fail(kind, "there is no kind of front %s; the kinds are %s", strictyaml.Quoted(r.Text(kind, "kind")), strictyaml.Words(kindNames()))
		return
	}
	s.Only("a front of this kind", k.keys)
	p := k.read(r, s, dir)
	if r.Err() != nil {
		return
	}
	set := p.Common()
	switch {
	case !idWord().MatchString(set.Name):
		r.Fail(s.Get("name"), "name has to be a word of small letters, digits, points and dashes, such as archive")
	case slices.ContainsFunc(c.Fronts, func(q front.Policy) bool { return q.Common().Name == set.Name }):
		r.Fail(s.Get("name"), "there are two fronts with the name %s", strictyaml.Quoted(set.Name))
	}
	for i, a := range listensOf(p) {
		same := func(q front.Policy) bool {
			return slices.Contains(listensOf(q), a) && kinds[q.Common().Kind].network == k.network
		}
		switch {
		case slices.ContainsFunc(c.Fronts, same):
			r.Fail(s.Get("listen"), "two fronts listen on %s", strictyaml.Quoted(a))
		case slices.Contains(listensOf(p)[:i], a):
			r.Fail(s.Get("listen"), "this front listens on %s twice", strictyaml.Quoted(a))
		case c.Page != nil && c.Page.Listen == a && k.network == "":
			r.Fail(s.Get("listen"), "the page listens on %s", strictyaml.Quoted(a))
		}
	}
	for _, id := range devicesOf(p) {
		if _, ok := c.Device(id); !ok {
			at := s.Get("device")
			if id != set.Device {
				at = n
			}
			r.Fail(at, "no device has the id %s; devices has %s", strictyaml.Quoted(id), strictyaml.Words(c.deviceIDs()))
		}
	}
	c.Fronts = append(c.Fronts, p)
}

// Device returns a device by its id.
func (c *Configuration) Device(id string) (Device, bool) {
	for _, d := range c.Devices {
		if d.ID == id {
			return d, true
		}
	}
	return Device{}, false
}

// Person returns a person by the id.
func (c *Configuration) Person(id string) (Person, bool) {
	for _, p := range c.People {
		if p.ID == id {
			return p, true
		}
	}
	return Person{}, false
}

func (c *Configuration) deviceIDs() (ids []string) {
	for _, d := range c.Devices {
		ids = append(ids, d.ID)
	}
	return ids
}

// gated is what the gate has of the configuration.
func (c *Configuration) gated() (map[string]gate.Device, []gate.Person) {
	devices := map[string]gate.Device{}
	for _, d := range c.Devices {
		devices[d.ID] = gate.Device{Therapy: d.Therapy, Envelope: d.Envelope}
	}
	var people []gate.Person
	for _, p := range c.People {
		people = append(people, p.gated())
	}
	return devices, people
}

func (p *Person) gated() gate.Person { return gate.Person{ID: p.ID, Role: p.Clinical} }

func readID(r *strictyaml.Reader, n ast.Node, what string) string {
	id := r.Text(n, what)
	if r.Err() == nil && !idWord().MatchString(id) {
		r.Fail(n, "%s has to be a word of at most 48 small letters, digits, points and dashes, such as pump-3", what)
	}
	return id
}

// at is a file that stands relative to a folder.
func at(dir, file string) string {
	if filepath.IsAbs(file) || file == "" {
		return file
	}
	return filepath.Join(dir, file)
}

// plainly is an error without the path, which stands in the file already.
func plainly(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

var errLong = errors.New("it is longer than such a file can be")

// readFile reads a file of at most so many bytes.
func readFile(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = &fs.PathError{Op: "read", Path: file, Err: errLong}
	}
	return b, err
}

// namedFiles are the regular files that a value of the document names:
// envelopes, certificates, keys, dialects. Whichever kind of front reads them, a
// change of one is a change of the configuration.
func namedFiles(doc ast.Node, dir string) (files []string) {
	seen := map[string]bool{}
	var walk func(n ast.Node)
	walk = func(n ast.Node) {
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, v := range n.Values {
				walk(v.Value)
			}
		case *ast.SequenceNode:
			for _, v := range n.Values {
				walk(v)
			}
		default:
			text, _ := strictyaml.Scalar(n)
			file := at(dir, text)
			if text == "" || len(text) > 255 || seen[file] {
				return
			}
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	walk(doc)
	slices.Sort(files)
	return files
}

// digest is the SHA-256 over names and contents of files.
func digest(files []string) (sum [32]byte, err error) {
	h := sha256.New()
	for _, file := range files {
		b, err := readFile(file, maxFile)
		if err != nil {
			return sum, err
		}
		one := sha256.Sum256(b)
		io.WriteString(h, file)
		h.Write([]byte{0})
		h.Write(one[:])
	}
	h.Sum(sum[:0])
	return sum, nil
}
