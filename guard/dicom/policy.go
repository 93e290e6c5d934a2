// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/proto/dicom"
)

// A Policy is a DICOM front's part of the configuration.
type Policy struct {
	front.Settings

	rules  []rule
	usual  lists             // of a rule that has none of its own
	routes map[string]string // address by called AE title; none: all go where forward says

	pduBytes     int     // longest P-DATA-TF towards the device
	objectBytes  int64   // longest data set towards the device
	associations int     // at once
	perAE        int     // at once, of one calling AE title
	requests     float64 // DIMSE requests a second towards the device, of one association
}

// A rule lets one application entity call another.
type rule struct {
	calling, called string
	certificates    []binding // that prove the calling one; none: it need not prove itself
	lists
}

// lists are what an association may be used for.
type lists struct {
	verbs        verbs
	commitments  bool // N-ACTION and N-EVENT-REPORT for storage commitment alone
	classes      uids
	syntaxes     uids
	destinations []string // of C-MOVE
}

// verbs is a set of operations, a bit each in the order of operations.
type verbs uint16

// operations are the DIMSE services (PS3.7 section 7.5). C-CANCEL is not one
// that is listed: it only ends what was allowed.
var operations = []string{
	"C-STORE", "C-FIND", "C-GET", "C-MOVE", "C-ECHO",
	"N-EVENT-REPORT", "N-GET", "N-SET", "N-ACTION", "N-CREATE", "N-DELETE",
}

func (v verbs) has(operation string) bool {
	i := slices.Index(operations, operation)
	return i >= 0 && v>>i&1 == 1
}

func verbsOf(names ...string) (v verbs) {
	for _, name := range names {
		v |= 1 << slices.Index(operations, name)
	}
	return v
}

var (
	readOnly  = verbsOf("C-ECHO", "C-FIND", "C-GET", "C-MOVE", "N-GET")
	storeOnly = verbsOf("C-ECHO", "C-STORE", "N-ACTION")
)

// uids is a list of SOP classes or transfer syntaxes.
type uids struct {
	any      bool
	services [16]bool // by dicom.Service
	named    map[string]bool
}

func (u *uids) has(uid []byte) bool {
	return u.any || dicom.PlainUID(uid) && (u.services[dicom.ServiceOf(uid)] || u.named[string(uid)])
}

// services are the names of groups of SOP classes.
var services = map[string][]dicom.Service{
	"verification":           {dicom.Verification},
	"storage":                {dicom.Storage, dicom.ResultStorage},
	"results":                {dicom.ResultStorage},
	"query-retrieve":         {dicom.QueryRetrieve},
	"worklist":               {dicom.Worklist},
	"procedure-step":         {dicom.ProcedureStep},
	"storage-commitment":     {dicom.StorageCommit},
	"printing":               {dicom.Printing},
	"unified-procedure-step": {dicom.UnifiedProcess},
}

var serviceNames = slices.Sorted(maps.Keys(services))

// uncompressed are the transfer syntaxes of native pixel data.
var uncompressed = []string{"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}

// A binding is one way in which a certificate proves an application entity.
type binding struct {
	kind  string // "sha256", "subject", "san"
	value string
}

func (b binding) fits(c *x509.Certificate) bool {
	switch b.kind {
	case "sha256":
		sum := sha256.Sum256(c.Raw)
		return hex.EncodeToString(sum[:]) == b.value
	case "subject":
		return c.Subject.String() == b.value
	}
	ip := net.ParseIP(b.value)
	return slices.Contains(c.DNSNames, b.value) || slices.Contains(c.EmailAddresses, b.value) ||
		ip != nil && slices.ContainsFunc(c.IPAddresses, ip.Equal) ||
		slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == b.value })
}

// Keys are those of a DICOM front, beside those of every front.
var Keys = append([]string{"associations", "routes", "bounds"}, listKeys...)

var listKeys = []string{"verbs", "access", "sop-classes", "transfer-syntaxes", "destinations"}

const (
	maxRules = 256
	maxNames = 256 // of one list
)

// Read reads a DICOM front's section, whose files are relative to dir.
func Read(r *strictyaml.Reader, s *strictyaml.Section, dir string) *Policy {
	s.Only("a dicom front", slices.Concat(front.Keys, Keys))
	p := &Policy{
		Settings: front.ReadSettings(r, s, dir), routes: map[string]string{},
		pduBytes: 128 << 10, objectBytes: 4 << 30, associations: 128, perAE: 32, requests: 500,
	}
	p.usual = p.readLists(r, s, lists{})
	rules := r.List(s.Get("associations"), "associations", maxRules)
	if len(rules) == 0 {
		s.Need("associations", "who may call whom; with [] only what follows from an association of another front")
	}
	for _, n := range rules {
		p.rules = append(p.rules, p.readRule(r, n))
	}
	r.Each(s.Get("routes"), "routes", maxRules, func(name string, key, value ast.Node) {
		if !dicom.PlainTitle([]byte(name)) {
			r.Fail(key, "an AE title has 1 to 16 characters without backslash")
		}
		address := r.Text(value, "a route")
		if _, _, err := net.SplitHostPort(address); err != nil {
			r.Fail(value, "a route has to be host:port, such as 10.20.8.30:104")
		}
		p.routes[name] = address
	})
	for i, n := range rules {
		if _, ok := p.routes[p.rules[i].called]; !ok && len(p.routes) > 0 && r.Err() == nil {
			r.Fail(n, "no route has %s; give all that are called a route, or none", strictyaml.Quoted(p.rules[i].called))
		}
	}
	b := r.Section(s.Get("bounds"), "bounds", "pdu-bytes", "object-bytes", "associations", "per-ae", "requests")
	number := func(key string, usual, least, most int64) int64 {
		if !b.Has(key) {
			return usual
		}
		return r.Number(b.Get(key), key, least, most)
	}
	p.pduBytes = int(number("pdu-bytes", int64(p.pduBytes), 4096, 1<<20))
	p.objectBytes = number("object-bytes", p.objectBytes, 1, 1<<40)
	p.associations = int(number("associations", int64(p.associations), 1, 65536))
	p.perAE = int(number("per-ae", int64(p.perAE), 1, 65536))
	p.requests = float64(number("requests", int64(p.requests), 1, 1e6))
	return p
}

// proven reports whether whoever calls shows a certificate.
func (p *Policy) proven() bool {
	return p.Server && p.Listen.TLS != nil && p.Listen.TLS.ClientAuth == tls.RequireAndVerifyClientCert
}

func (p *Policy) readRule(r *strictyaml.Reader, n ast.Node) (u rule) {
	s := r.Section(n, "an association", append([]string{"calling", "called", "certificate"}, listKeys...)...)
	u.calling = readTitle(r, s.Need("calling", "the AE title of who calls"), "calling")
	u.called = readTitle(r, s.Need("called", "the AE title of who is called"), "called")
	u.lists = p.readLists(r, s, p.usual)
	switch {
	case r.Err() != nil:
	case u.verbs == 0:
		r.Fail(n, "what %s may ask for is not said; give verbs, or access: read-only or store-only", strictyaml.Quoted(u.calling))
	case !u.classes.any && u.classes.named == nil:
		r.Fail(n, "for which SOP classes is not said; give sop-classes, or sop-classes: any")
	}
	if !p.proven() {
		if s.Has("certificate") {
			r.Fail(s.Get("certificate"), "who calls shows no certificate here: the front has to protect a server and to listen with tls that asks for one")
		}
		return u
	}
	nodes := r.List(s.Need("certificate", "sha256:, subject: or san: of the certificate that belongs to this AE title, or any"), "certificate", maxNames)
	for _, c := range nodes {
		text := r.Text(c, "certificate")
		kind, value, _ := strings.Cut(text, ":")
		switch b, err := hex.DecodeString(value); {
		case text == "any" && len(nodes) == 1:
			return u
		case kind == "sha256" && (err != nil || len(b) != sha256.Size):
			r.Fail(c, "sha256: is followed by the 64 hexadecimal digits of the certificate's SHA-256")
		case kind == "sha256":
			value = strings.ToLower(value)
		case kind != "subject" && kind != "san" || value == "":
			r.Fail(c, "certificate has to be sha256:, subject: or san: and its value, or any alone")
		}
		u.certificates = append(u.certificates, binding{kind, value})
	}
	return u
}

func readTitle(r *strictyaml.Reader, n ast.Node, what string) string {
	t := r.Text(n, what)
	if n != nil && !dicom.PlainTitle([]byte(t)) {
		r.Fail(n, "%s has to be an AE title: 1 to 16 characters without backslash", what)
	}
	return t
}

// readLists reads the lists of a section; those that it does not have are as usual.
func (p *Policy) readLists(r *strictyaml.Reader, s *strictyaml.Section, usual lists) lists {
	l := usual
	if s.Has("verbs") && s.Has("access") {
		r.Fail(s.Get("access"), "access is a word for verbs; give one of both")
	}
	if s.Has("verbs") {
		l.verbs, l.commitments = 0, false
		for _, n := range r.List(s.Get("verbs"), "verbs", len(operations)) {
			l.verbs |= 1 << r.Word(n, "verbs", operations)
		}
	}
	if n := s.Get("access"); n != nil {
		switch r.Word(n, "access", []string{"read-only", "store-only"}) {
		case 0:
			l.verbs, l.commitments = readOnly, false
			if !p.Server {
				r.Fail(n, "what a device sends is never refused, so that a front that protects a client cannot be read-only; give destinations and associations")
			}
		case 1:
			l.verbs, l.commitments = storeOnly, true
		}
	}
	if s.Has("sop-classes") {
		l.classes = readUIDs(r, s.Get("sop-classes"), "sop-classes", serviceNames)
	}
	if s.Has("transfer-syntaxes") {
		l.syntaxes = readUIDs(r, s.Get("transfer-syntaxes"), "transfer-syntaxes", []string{"uncompressed"})
	} else if usual.syntaxes.named == nil {
		l.syntaxes.any = true
	}
	if s.Has("destinations") {
		l.destinations = nil
		for _, n := range r.List(s.Get("destinations"), "destinations", maxNames) {
			l.destinations = append(l.destinations, readTitle(r, n, "destinations"))
		}
	}
	return l
}

func readUIDs(r *strictyaml.Reader, n ast.Node, what string, groups []string) (u uids) {
	u.named = map[string]bool{}
	nodes := r.List(n, what, maxNames)
	for _, n := range nodes {
		text := r.Text(n, what)
		switch {
		case text == "any" && len(nodes) == 1:
			u.any = true
		case dicom.PlainUID([]byte(text)):
			u.named[text] = true
		case !slices.Contains(groups, text):
			r.Fail(n, "%s cannot be %s; it is a UID, %s, or any alone", what, strictyaml.Quoted(text), strings.Join(groups, ", "))
		case text == "uncompressed":
			for _, ts := range uncompressed {
				u.named[ts] = true
			}
		default:
			for _, service := range services[text] {
				u.services[service] = true
			}
		}
	}
	return u
}

const otherCertificate = "the certificate is not that of the calling AE title"

// ruleOf returns the rule for a pair of AE titles, or how the association is to
// be rejected and why (PS3.8 section 9.3.4).
func (p *Policy) ruleOf(calling, called string, c *x509.Certificate) (u *rule, reject uint8, why string) {
	var caller, callee, pair bool
	for i := range p.rules {
		u := &p.rules[i]
		caller = caller || u.calling == calling
		callee = callee || u.called == called
		if u.calling != calling || u.called != called {
			continue
		}
		pair = true
		if u.certificates == nil || c != nil && slices.ContainsFunc(u.certificates, func(b binding) bool { return b.fits(c) }) {
			return u, 0, ""
		}
	}
	switch {
	case pair:
		return nil, unknownCalling, otherCertificate
	case !callee:
		return nil, unknownCalled, "no list has the called AE title"
	case !caller:
		return nil, unknownCalling, "no list has the calling AE title"
	}
	return nil, unknownCalling, "the calling AE title may not call the called one"
}
