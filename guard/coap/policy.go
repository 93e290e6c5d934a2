// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/radio"
)

// A Policy is a CoAP front's part of guard.yaml.
type Policy struct {
	front.Settings

	key     *edhoc.Authenticator
	public  [32]byte // thumbprint of key
	anchors []cwt.Anchor
	peers   []*edhoc.Credential // nil: whoever proves a key, and what he may do his token says
	revoked [][]byte
	quorum  int
	window  time.Duration

	carrier   carrier
	address   string // of the device
	secret    []byte // nil: none
	dialect   *radio.Dialect
	therapies device.Therapies
	to, from  uint64
	answer    time.Duration
	rate      string
	state     string
	bypassed  bool // the device listens to others, too

	wakePeer, wakeAll int // a minute

	calls *calls // of a device that is a client; nil: it is a server
}

// Keys are those of a CoAP front in guard.yaml, beside [front.Keys].
var Keys = slices.Concat([]string{"key", "inside"}, serverKeys, clientKeys)

var (
	serverKeys = []string{"trust", "peers", "revoked", "break-glass", "wake-ups"}
	clientKeys = []string{"server", "resources"}

	insideKeys       = []string{"therapy", "topology"}
	insideServerKeys = []string{"carrier", "path", "dialect", "address", "own-address", "secret", "answer-within", "rate", "state"}
	insideClientKeys = []string{"from"}
)

const (
	maxFile  = 64 << 10
	maxFiles = 64
)

// Read reads a front's part of guard.yaml. File names in it are relative to dir.
func Read(r *strictyaml.Reader, s *strictyaml.Section, dir string) *Policy {
	s.Only("a coap front", slices.Concat(front.Keys, Keys))
	p := &Policy{Settings: front.ReadSettings(r, s, dir), quorum: 2, window: time.Hour, answer: 2 * time.Second, wakePeer: 12, wakeAll: 60}
	if p.Mode != front.Enforce && r.Err() == nil {
		r.Fail(s.Get("mode"), "a coap front has nothing to observe: nobody spoke to the device this way before; leave mode out, and let the envelope say whether it enforces")
	}
	if p.Listen.TLS != nil && r.Err() == nil {
		r.Fail(s.Get("listen"), "EDHOC and OSCORE protect this front, and no tls")
	}
	files := &files{r, dir}
	files.one(s.Need("key", "the file of the front's private key, by 'myelin link keygen'"), "key", true, func(b []byte) error {
		k, err := cose.ParseKey(b)
		if err == nil && k.D == nil {
			err = errors.New("it is a public key, and a private one is wanted")
		}
		if err != nil {
			return err
		}
		p.key, err = authenticator(&k, !p.Server)
		p.public = k.Thumbprint()
		return err
	})
	if !p.Server {
		misplaced(r, s, []string{"from"}, "stands in inside here: others have places of their own")
		misplaced(r, s, serverKeys, "is of protects: server: a device that calls is asked nothing, and no token opens it")
		p.readCalls(r, s, files)
		return p
	}
	misplaced(r, s, clientKeys, "is of protects: client; with protects: server tokens say who may do what")
	files.each(s.Need("trust", "the trust.json files of the authorities whose tokens count"), "trust", func(b []byte) error {
		t, err := cwt.ParseTrust(b)
		if err != nil {
			return err
		}
		a, err := t.Anchors()
		p.anchors = append(p.anchors, a...)
		return err
	})
	files.each(s.Get("peers"), "peers", func(b []byte) error {
		k, err := cose.ParseKey(b)
		if err != nil {
			return err
		}
		k = k.Public()
		k.ID = nil
		c, err := edhoc.NewCCS(k, "", nil)
		p.peers = append(p.peers, c)
		return err
	})
	files.each(s.Get("revoked"), "revoked", func(b []byte) error {
		p.revoked = append(p.revoked, b)
		return nil
	})
	if n := s.Get("break-glass"); n != nil {
		e := r.Section(n, "break-glass", "approvals", "window")
		if e.Has("approvals") {
			p.quorum = int(r.Number(e.Get("approvals"), "approvals", 1, 8))
		}
		if e.Has("window") {
			p.window = r.Duration(e.Get("window"), "window", time.Minute, 4*time.Hour)
		}
	}
	if n := s.Get("wake-ups"); n != nil {
		w := r.Section(n, "wake-ups", "peer", "all")
		if w.Has("peer") {
			p.wakePeer = int(r.Number(w.Get("peer"), "peer", 1, 600))
		}
		if w.Has("all") {
			p.wakeAll = int(r.Number(w.Get("all"), "all", 1, 6000))
		}
	}
	p.readInside(r, s, files)
	return p
}

// misplaced refuses keys that belong to the other direction.
func misplaced(r *strictyaml.Reader, s *strictyaml.Section, keys []string, why string) {
	for _, key := range keys {
		if s.Has(key) && r.Err() == nil {
			r.Fail(s.Get(key), "%s %s", key, why)
		}
	}
}

func (p *Policy) readInside(r *strictyaml.Reader, s *strictyaml.Section, files *files) {
	in := r.Section(s.Need("inside", "how the device is reached"), "inside", slices.Concat(insideKeys, insideServerKeys, insideClientKeys)...)
	misplaced(r, in, insideClientKeys, "is of protects: client; a device that is a server is at forward")
	p.carrier = carrier(r.Word(in.Get("carrier"), "carrier", carriers))
	p.address = p.Forward.Address
	if pipe := p.carrier == unix || p.carrier == serial; pipe {
		p.address = r.Text(in.Need("path", "of the socket or the serial line"), "path")
		if s.Has("forward") {
			r.Fail(s.Get("forward"), "the device is at the path of inside; leave forward out")
		}
	} else if in.Has("path") {
		r.Fail(in.Get("path"), "a path is for carrier: unix, or serial; over udp and tcp the device is at forward")
	} else if !s.Has("forward") {
		s.Need("forward", "the address of the device, or of the bridge to its radio")
	}
	if (p.Forward.TLS != nil) && r.Err() == nil {
		r.Fail(s.Get("forward"), "the device of a coap front speaks no TLS")
	}
	if in.Has("answer-within") {
		p.answer = r.Duration(in.Get("answer-within"), "answer-within", 50*time.Millisecond, 8*time.Second)
	}
	p.readTopology(r, in, "sole-path when the device listens to nobody but the guard, else bypassable")
	if in.Has("secret") {
		files.one(in.Get("secret"), "secret", true, func(b []byte) error {
			if text, err := hex.DecodeString(string(bytes.TrimSpace(b))); err == nil {
				b = text
			}
			if len(b) != secretBytes {
				return fmt.Errorf("a secret has %d bytes, or as many times two hexadecimal digits", secretBytes)
			}
			p.secret = b
			return nil
		})
	}
	switch n := in.Get("dialect"); {
	case n != nil:
		p.readDialect(r, n, in, files)
	default:
		p.readTherapies(r, in, "what the device does, or a dialect that says so")
		for _, key := range []string{"address", "own-address", "rate", "state"} {
			if in.Has(key) {
				r.Fail(in.Get(key), "%s is of a dialect, and there is none: the device speaks CoAP", key)
			}
		}
	}
}

func (p *Policy) readTopology(r *strictyaml.Reader, in *strictyaml.Section, hint string) {
	p.bypassed = r.Word(in.Need("topology", hint), "topology", []string{"sole-path", "bypassable"}) == 1
}

func (p *Policy) readTherapies(r *strictyaml.Reader, in *strictyaml.Section, hint string) {
	for _, n := range r.List(in.Need("therapy", hint), "therapy", 4) {
		t, ok := device.ParseTherapy(r.Text(n, "therapy"))
		if !ok && r.Err() == nil {
			r.Fail(n, "no such therapy; insulin infusion and pacing are two")
		}
		p.therapies |= device.TherapiesOf(t)
	}
}

func (p *Policy) readDialect(r *strictyaml.Reader, n ast.Node, in *strictyaml.Section, files *files) {
	name := r.Text(n, "dialect")
	if in.Has("therapy") {
		r.Fail(in.Get("therapy"), "the dialect says what the device does; leave therapy out")
	}
	if r.Err() != nil {
		return
	}
	if strings.HasSuffix(name, ".yaml") {
		files.one(n, "dialect", false, func(b []byte) (err error) {
			p.dialect, err = radio.Load(filepath.Base(name), b)
			return err
		})
	} else if i := slices.IndexFunc(radio.Samples(), func(d *radio.Dialect) bool { return d.Name == name }); i >= 0 {
		p.dialect = radio.Samples()[i]
	} else {
		r.Fail(n, "no dialect of this name is built in; name a file that ends with .yaml")
	}
	if r.Err() != nil {
		return
	}
	p.therapies = p.dialect.Therapies
	if in.Has("address") {
		p.to = r.Pattern(in.Get("address"), "address", 64)
	} else if p.dialect.HasAddress() {
		in.Need("address", "of the device, as its frames have it")
	}
	if in.Has("own-address") {
		p.from = r.Pattern(in.Get("own-address"), "own-address", 64)
	}
	field := func(key string) string {
		name := r.Text(in.Get(key), key)
		known := func(o radio.Opcode) bool {
			return o.Direction == radio.FromDevice && slices.Contains(o.Fields(), name)
		}
		if name != "" && r.Err() == nil && !slices.ContainsFunc(p.dialect.Opcodes, known) {
			r.Fail(in.Get(key), "%s has to be a field of what the device says", key)
		}
		return name
	}
	p.rate, p.state = field("rate"), field("state")
}

// files reads the files that are named.
type files struct {
	r   *strictyaml.Reader
	dir string
}

func (f *files) one(n ast.Node, what string, private bool, use func([]byte) error) {
	name := f.r.Text(n, what)
	if f.r.Err() != nil || n == nil {
		return
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(f.dir, name)
	}
	b, err := read(name, private)
	if err == nil {
		err = use(b)
	}
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		f.r.Fail(n, "%s cannot be used: %v", what, err)
	}
}

func (f *files) each(n ast.Node, what string, use func([]byte) error) {
	for _, n := range f.r.List(n, what, maxFiles) {
		f.one(n, what, false, use)
	}
}

// read reads a small file, and refuses a private one that others may read.
func read(name string, private bool) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if private && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %04o)", st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return b, err
}

// authenticator dresses the front's own key, which goes by its kid, or by its value where
// it begins handshakes: a server need not have it in a list to read who calls.
func authenticator(k *cose.Key, byValue bool) (*edhoc.Authenticator, error) {
	kid := k.ID
	if kid == nil {
		t := k.Thumbprint()
		kid = t[:8]
	}
	if byValue {
		kid = nil
	}
	public := k.Public()
	public.ID = nil
	cred, err := edhoc.NewCCS(public, "", kid)
	if err != nil {
		return nil, err
	}
	private, err := k.PrivateECDH()
	if err != nil {
		return nil, err
	}
	return edhoc.NewStaticDH(private, cred)
}

// credentials says whom a handshake may be with.
func (p *Policy) credentials(id *edhoc.ID, ead []edhoc.EAD) ([]*edhoc.Credential, error) {
	if p.peers != nil {
		return edhoc.Only(p.peers...)(id, ead)
	}
	c, err := id.Credential()
	if err != nil || c == nil || c.Certificate() != nil {
		return nil, edhoc.ErrUnknownCredential
	}
	return []*edhoc.Credential{c}, nil
}

// speaker returns what speaks the device's language, and observes it under a token.
func (p *Policy) speaker(token string) speaker {
	if p.dialect == nil {
		return &speakCoAP{therapies: p.therapies, observed: token}
	}
	return &speakRadio{d: p.dialect, to: p.to, from: p.from, rate: p.rate, stateFrom: p.state}
}

// audiences are the names that tokens for the device may have.
func (p *Policy) audiences() []string {
	all := []string{p.Device}
	for t := range p.therapies.All() {
		all = append(all, "class:"+strings.ReplaceAll(t.Info().Class, " ", "-"))
	}
	return all
}
