// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/hex"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/patch/suit"
)

// A Config is an agent's file.
type Config struct {
	Device, Hardware string
	Vendor, Class    [16]byte
	Component        suit.ComponentID

	Server string // https:// URL
	CA     string // file of certificates that may vouch for it; "" is the system's

	Key      string   // file of the device's own private key
	Makers   []string // files of public keys, whose envelopes are installed
	Hospital []string // and whose offers and answers count

	State   string // folder
	Slot    int64  // bytes of each slot
	Hook    []string
	Timeout time.Duration // of a call of the hook

	Repositories *Repositories // nil: what the hospital offers is enough
}

// Repositories say where both repositories are, below the server's /update/v1/, and
// what the device asks them as.
type Repositories struct {
	Manufacturer, Model string
	Rings               []string
	Maker, Hospital     string // paths
	MakerRoot           string // files of the first roots that are trusted
	HospitalRoot        string
}

// Bounds of what a file says.
const (
	maxKeys   = 16
	maxRings  = 16
	maxWords  = 16
	maxSlot   = 4 << 30
	leastSlot = 4096
)

const usualTimeout = time.Minute

// ParseConfig reads a file; what it names is beside it, unless it says where. An error is
// a *[strictyaml.Error], with the line.
//
//	agent: 1
//	device: mon-3
//	hardware: C
//	vendor: veltis.example          # a domain or a UUID
//	class: M9                       # a model or a UUID
//	component: firmware
//	server: https://updates.st-ada.example
//	ca: ca.pem
//	key: device.key
//	makers: [veltis.pub]
//	hospital: [update.key.pub]
//	state: /var/lib/myelin
//	slot: 67108864
//	hook: [/usr/lib/myelin/hook]
//	timeout: 1m
//	repositories:
//	  manufacturer: Veltis
//	  model: M9
//	  rings: [icu]
//	  maker: makers/veltis
//	  maker-root: veltis.root.json
//	  hospital: hospital
//	  hospital-root: st-ada.root.json
func ParseConfig(file string, src []byte) (*Config, error) {
	r := strictyaml.New(file, strictyaml.Format{Name: "configuration of an agent", Marker: "agent: 1"})
	s := r.Section(r.Document(src), "the file", "agent", "device", "hardware", "vendor", "class", "component", "server", "ca", "key", "makers", "hospital", "state", "slot", "hook", "timeout", "repositories")
	dir := filepath.Dir(file)
	path := func(n ast.Node, what string) string {
		p := r.Text(n, what)
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	paths := func(n ast.Node, what string) (list []string) {
		for _, x := range r.List(n, what, maxKeys) {
			list = append(list, path(x, what))
		}
		if len(list) == 0 && n != nil {
			r.Fail(n, "%s has to name a key, at least", what)
		}
		return list
	}
	r.Number(s.Need("agent", "it says which format this is"), "agent", 1, 1)
	c := &Config{
		Device:   r.Text(s.Need("device", "the device's id on the server"), "device"),
		Hardware: r.Text(s.Need("hardware", "its revision"), "hardware"),
		Server:   r.Text(s.Need("server", "where it asks"), "server"),
		CA:       path(s.Get("ca"), "ca"),
		Key:      path(s.Need("key", "its own private key"), "key"),
		Makers:   paths(s.Need("makers", "public keys whose envelopes it installs"), "makers"),
		Hospital: paths(s.Need("hospital", "public keys whose offers count"), "hospital"),
		State:    path(s.Need("state", "a folder for what must survive"), "state"),
		Slot:     r.Number(s.Need("slot", "bytes of each slot"), "slot", leastSlot, maxSlot),
		Timeout:  usualTimeout,
	}
	c.Vendor = uuid(r, s.Need("vendor", "the maker's domain, or a UUID"), "vendor", suit.VendorUUID)
	c.Class = uuid(r, s.Need("class", "the model, or a UUID"), "class", func(model string) [16]byte { return suit.ClassUUID(c.Vendor, model) })
	c.Component = suit.NewComponentID(strings.Split(r.Text(s.Need("component", "what manifests call the firmware"), "component"), "/")...)
	if s.Has("timeout") {
		c.Timeout = r.Duration(s.Get("timeout"), "timeout", time.Second, time.Hour)
	}
	hook := s.Need("hook", "the program that is told what to do")
	for i, n := range r.List(hook, "hook", maxWords) {
		w := r.Text(n, "hook")
		if i == 0 && strings.ContainsRune(w, '/') {
			w = path(n, "hook")
		}
		c.Hook = append(c.Hook, w)
	}
	if len(c.Hook) == 0 && hook != nil {
		r.Fail(hook, "hook has to be a program, with its arguments")
	}
	if u, err := url.Parse(c.Server); err != nil || u.Scheme != "https" || u.Host == "" {
		r.Fail(s.Get("server"), "server has to be an https:// URL")
	}
	if s.Has("repositories") {
		x := r.Section(s.Get("repositories"), "repositories", "manufacturer", "model", "rings", "maker", "maker-root", "hospital", "hospital-root")
		p := &Repositories{
			Manufacturer: r.Text(x.Need("manufacturer", "as releases name it"), "manufacturer"),
			Model:        r.Text(x.Need("model", "as releases name it"), "model"),
			Maker:        r.Text(x.Need("maker", "where its repository is, on the server"), "maker"),
			MakerRoot:    path(x.Need("maker-root", "a file with the root that is trusted"), "maker-root"),
			Hospital:     r.Text(x.Need("hospital", "where its repository is, on the server"), "hospital"),
			HospitalRoot: path(x.Need("hospital-root", "a file with the root that is trusted"), "hospital-root"),
		}
		for _, n := range r.List(x.Get("rings"), "rings", maxRings) {
			p.Rings = append(p.Rings, r.Text(n, "rings"))
		}
		c.Repositories = p
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// uuid reads a UUID, or a name that one is made of.
func uuid(r *strictyaml.Reader, n ast.Node, what string, of func(string) [16]byte) [16]byte {
	text := r.Text(n, what)
	if b, err := hex.DecodeString(strings.ReplaceAll(text, "-", "")); err == nil && len(b) == 16 && len(text) == 36 {
		return [16]byte(b)
	}
	return of(text)
}
