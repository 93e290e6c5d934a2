// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/tls"
	"github.com/myelin-health/myelin/wire"
)

// tlsPorts are the ports on which the protocol inside TLS is registered with
// IANA: where nothing in clear says it, they do.
var tlsPorts = map[uint16]proto.ID{
	443: proto.HTTP, 636: proto.LDAP, 853: proto.DNS, 990: proto.FTP, 992: proto.Telnet,
	2762: proto.DICOM, 3269: proto.LDAP, 5684: proto.CoAP, 6514: proto.Syslog, 8883: proto.MQTT,
}

// tlsNames are protocols by their name in ALPN.
var tlsNames = map[string]proto.ID{
	"http/1.0": proto.HTTP, "http/1.1": proto.HTTP, "h2": proto.HTTP, "mqtt": proto.MQTT,
	"dot": proto.DNS, "ftp": proto.FTP, "coap": proto.CoAP,
}

// A tlsObserver follows one TLS or DTLS handshake up to where encryption
// begins. It keeps a few short texts, and per side the part of one handshake
// message that is not complete: at most [tls.MaxCertificate] bytes.
type tlsObserver struct {
	in    [2]tls.Assembler
	began [2]bool // the first record was seen
	over  [2]bool // the rest of this side is encrypted

	caller    flow.Side // who sent the ClientHello
	hello     bool      // it was seen
	ja4       string
	name      string
	offered   proto.ID // what all offered ALPN names mean, if they mean one thing
	agreed    proto.ID // what the answered one means
	chosen    bool     // a ServerHello was seen
	version   tls.Version
	suite     tls.Suite
	exchange  tls.KeyExchange
	weak      tls.Weakness
	showed    [2]bool // a certificate
	told      bool    // TLSSeen was noted
	heartbled bool
}

func (o *tlsObserver) held() int { return o.in[0].Size() + o.in[1].Size() }

func newTLSObserver() observer { return new(tlsObserver) }

func (o *tlsObserver) data(x *exchange, b []byte) int {
	if o.over[x.From] {
		return ignore
	}
	if x.conv.Proto == wire.ProtoUDP {
		o.datagram(x, b)
		return len(b)
	}
	n := 0
	for n < len(b) {
		size, err := o.record(x, n, b[n:])
		switch {
		case o.over[x.From]:
			o.in[x.From] = tls.Assembler{}
			return ignore
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err != nil:
			// A server that answers a hello in words speaks something else, and
			// a capture may begin anywhere in a record.
			if o.began[x.From] && !x.conv.Midstream {
				x.malformed(n, err)
			}
			o.over[x.From] = true
			return ignore
		}
		n += size
	}
	return n
}

func (o *tlsObserver) gap(x *exchange, n int) bool {
	o.over[x.From] = true // where the next record begins is lost
	return false
}

func (o *tlsObserver) close(x *exchange) {
	if o.hello || o.chosen {
		o.tell(x, 0, event.Unknown)
	}
}

// record reads one record at off and returns its size.
func (o *tlsObserver) record(x *exchange, off int, b []byte) (int, error) {
	if !o.began[x.From] && tls.IsSSL2(b) {
		return o.ssl2(x, off, b)
	}
	// What is encrypted is not waited for.
	if tls.ContentType(b[0]) == tls.ApplicationData {
		return 0, o.encrypted(x, off)
	}
	r, n, err := tls.ParseRecord(b)
	if err != nil {
		return 0, err
	}
	o.began[x.From] = true
	const header = 5
	switch r.Type {
	case tls.Handshake:
		for rest := r.Fragment; len(rest) > 0; {
			m, after, ok := o.in[x.From].Next(rest)
			if !ok {
				break
			}
			rest = after
			o.message(x, off+n-len(rest)-len(m.Body), m)
			if o.over[x.From] {
				break
			}
		}
	default:
		o.other(x, off+header, r)
	}
	return n, nil
}

// other takes a record that is not of the handshake.
func (o *tlsObserver) other(x *exchange, off int, r tls.Record) {
	switch r.Type {
	case tls.ChangeCipherSpec, tls.ApplicationData:
		o.encrypted(x, off)
	case tls.Alert:
		if fatal, _, err := tls.ParseAlert(r.Fragment); err == nil && fatal {
			o.tell(x, off, event.Failed)
		}
	case tls.Heartbeat:
		if tls.IsHeartbleed(r.Fragment) && !o.heartbled {
			o.heartbled = true
			x.note(event.ExploitSeen, off, x.From, event.Text(event.Protocol, "tls"),
				event.Text(event.Shape, "heartbeat longer than its record"), event.Text(event.CVE, "CVE-2014-0160"))
		}
	}
}

// encrypted ends the observation of the sender, whose further records are
// encrypted. In TLS 1.2 the server's being so means that the handshake worked.
func (o *tlsObserver) encrypted(x *exchange, off int) error {
	o.over[x.From] = true
	if o.chosen && x.From != o.caller {
		o.tell(x, off, event.Succeeded)
	}
	return nil
}

// ssl2 reads an SSL 2.0 hello at off.
func (o *tlsObserver) ssl2(x *exchange, off int, b []byte) (int, error) {
	if len(b) < 3 {
		return 0, wire.ErrTruncated
	}
	if h, n, err := tls.ParseSSL2ClientHello(b); err == nil {
		o.began[x.From] = true
		o.clientHello(x, &h, false)
		// SSL 2.0 itself goes on in records of its own kind, unless the answer
		// is of a later version: then so is what follows.
		o.over[x.From] = h.Version == tls.SSL20
		return n, nil
	} else if errors.Is(err, wire.ErrTruncated) {
		return 0, err
	}
	h, n, err := tls.ParseSSL2ServerHello(b)
	if err != nil {
		return 0, err
	}
	o.over[x.From] = true
	o.over[x.From.Other()] = true
	o.serverHello(x, off, &h)
	o.certificate(x, off, h.ServerCertificate)
	o.tell(x, off, event.Unknown)
	return n, nil
}

// datagram reads the records of one DTLS datagram.
func (o *tlsObserver) datagram(x *exchange, b []byte) {
	for n := 0; n < len(b) && !o.over[x.From]; {
		r, size, err := tls.ParseDatagramRecord(b[n:])
		if err != nil {
			if !o.chosen {
				x.malformed(n, err)
			}
			return
		}
		at := n + size - len(r.Fragment)
		n += size
		if r.Epoch > 0 {
			o.encrypted(x, at)
			return
		}
		if r.Type != tls.Handshake {
			o.other(x, at, r)
			continue
		}
		for fragment := r.Fragment; len(fragment) > 0; {
			m, size, whole, err := tls.ParseDatagramHandshake(fragment)
			if err != nil {
				x.malformed(at, err)
				return
			}
			if whole {
				o.message(x, at+size-m.Length, m)
			}
			fragment, at = fragment[size:], at+size
		}
	}
}

// message takes one handshake message, whose body is at off.
func (o *tlsObserver) message(x *exchange, off int, m tls.Message) {
	if m.Length > len(m.Body) {
		x.note(event.BoundReached, off, x.From, event.Text(event.Protocol, "tls"),
			event.Text(event.Bound, "handshake message"), event.Int(event.Length, m.Length))
		return
	}
	var err error
	switch m.Type {
	case tls.ClientHelloType:
		datagram := x.conv.Proto == wire.ProtoUDP
		parse := tls.ParseClientHello
		if datagram {
			parse = tls.ParseDatagramClientHello
		}
		var h tls.ClientHello
		if h, err = parse(m.Body); err == nil {
			o.clientHello(x, &h, datagram)
		}
	case tls.ServerHelloType:
		var h tls.ServerHello
		if h, err = tls.ParseServerHello(m.Body); err == nil && !h.IsRetryRequest {
			o.serverHello(x, off, &h)
		}
	case tls.CertificateType:
		var der []byte
		var at int
		if der, at, err = tls.FirstCertificate(m.Body); err == nil && der != nil {
			o.certificate(x, off+at, der)
		}
	case tls.ServerKeyExchangeType:
		if k, err := tls.ParseServerKeyExchange(m.Body); err == nil { // one with a pre-shared key has another form
			o.exchange = k
			o.weak |= k.Weakness()
		}
	}
	if err != nil {
		x.malformed(off, err)
	}
}

func (o *tlsObserver) clientHello(x *exchange, h *tls.ClientHello, datagram bool) {
	if o.hello {
		return // after a retry request, or in a renegotiation
	}
	o.hello, o.caller = true, x.From
	var ja4 [64]byte
	o.ja4 = x.text(h.AppendJA4(ja4[:0], datagram))
	o.name = x.text(h.ServerName)
	for name := range h.ALPN.All() {
		id := tlsNames[string(name)]
		if o.offered != proto.None && id != o.offered {
			o.offered = proto.None
			break
		}
		o.offered = id
	}
}

func (o *tlsObserver) serverHello(x *exchange, off int, h *tls.ServerHello) {
	if o.chosen {
		return
	}
	o.chosen, o.caller = true, x.From.Other()
	o.version, o.suite = h.Negotiated(), h.CipherSuite
	o.weak |= tls.Assess(o.version, o.suite, tls.KeyExchange{})
	if h.CompressionMethod != 0 {
		o.weak |= tls.WeakCompress
	}
	o.agreed = tlsNames[string(h.ALPN)]
	if o.version >= tls.TLS13 && o.version < 0xfe00 || o.version == tls.DTLS13 { // the rest is encrypted
		o.over[x.From] = true
		o.tell(x, off, event.Unknown)
	}
}

// tell notes the channel, once, and what is probably inside.
func (o *tlsObserver) tell(x *exchange, off int, outcome event.Result) {
	if o.told || !o.hello && !o.chosen {
		return
	}
	o.told = true
	port := x.conv.Server.Port
	if o.caller == flow.Server {
		port = x.conv.Client.Port
	}
	attrs := [...]event.Attr{
		event.Text(event.Version, o.version.String()), event.Int(event.Suite, o.suite), event.Text(event.JA4, o.ja4),
		event.Int(event.Port, port), event.Text(event.Name, o.name), event.Int(event.Outcome, outcome),
		event.Text(event.Reason, o.weak.String()),
	}
	x.note(event.TLSSeen, off, o.caller, attrs[:]...)
	if !o.chosen || outcome == event.Failed {
		return
	}
	inside := o.agreed
	if inside == proto.None {
		inside = o.offered
	}
	if inside == proto.None {
		inside = tlsPorts[port]
	}
	if inside == proto.None {
		return
	}
	protection := device.Encrypted
	if o.weak&tls.WeakNull != 0 {
		protection = 0
	}
	x.note(event.ProtocolSeen, off, o.caller, event.Text(event.Protocol, inside.String()), event.Int(event.Transport, x.conv.Proto),
		event.Int(event.Port, port), event.Int(event.Protection, protection), event.Int(event.Inferred, 1))
}

// certificate notes the sender's own certificate, once.
func (o *tlsObserver) certificate(x *exchange, off int, der []byte) {
	if o.showed[x.From] {
		return
	}
	o.showed[x.From] = true
	c := x.sh.certificates.of(der)
	problems, now := c.problems, x.now/second
	if problems&event.CertificateMalformed == 0 {
		if now > c.notAfter {
			problems |= event.CertificateExpired
		}
		if now < c.notBefore {
			problems |= event.CertificateNotYetValid
		}
	}
	x.note(event.CertificateSeen, off, x.From, event.Int(event.Problems, problems), event.Int(event.NotAfter, c.notAfter),
		event.Int(event.KeyBits, c.keyBits), event.Int(event.Digest, c.digest), event.Int(event.Port, x.conv.Server.Port))
	if o.hello && x.From == o.caller || c.name == "" {
		return // a client's certificate may name a person
	}
	x.note(event.NameSeen, off, x.From, event.Int(event.AddressKind, device.Host), event.Text(event.Name, c.name), event.Text(event.Protocol, "tls"))
}

// maxCertificates bounds the certificates of a shard's cache. A hospital has
// some hundreds in all, and the web's that its staff look at.
const maxCertificates = 128

// A certificateCache remembers what certificates say, so that each is parsed,
// and its signature checked, once. The zero value is ready; when it is full it
// is emptied.
type certificateCache struct {
	seen map[[sha256.Size]byte]certificateFacts
}

type certificateFacts struct {
	problems            int64 // event's bits, without what depends on the time
	notBefore, notAfter int64
	keyBits             int
	digest              int64
	name                string
}

func (c *certificateCache) of(der []byte) certificateFacts {
	sum := sha256.Sum256(der)
	if f, ok := c.seen[sum]; ok {
		return f
	}
	f := certificateFacts{digest: int64(binary.BigEndian.Uint64(sum[:]))}
	cert, err := tls.ParseCertificate(der)
	if err != nil {
		f.problems = event.CertificateMalformed
	} else {
		f.notBefore, f.notAfter, f.keyBits = cert.NotBefore, cert.NotAfter, cert.KeyBits
		if cert.WeakKey {
			f.problems |= event.CertificateWeakKey
		}
		if cert.IsSelfSigned() {
			f.problems |= event.CertificateSelfSigned
		}
		if cert.WeakHash { // nobody relies on a self-signed one's, but it dates what made it
			f.problems |= event.CertificateWeakHash
		}
		f.name = hostName(cert.DNSName)
		if f.name == "" {
			f.name = hostName(cert.CommonName)
		}
	}
	if c.seen == nil || len(c.seen) >= maxCertificates {
		c.seen = make(map[[sha256.Size]byte]certificateFacts)
	}
	c.seen[sum] = f
	return f
}

// hostName returns b when it has the form of a host's name (RFC 1123 section
// 2.1), and of no address or pattern: a certificate's common name may be
// anything, a person's name too.
func hostName(b []byte) string {
	letter := false
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letter = true
		case c >= '0' && c <= '9' || c == '-' && i > 0 || c == '.' && i > 0:
		default:
			return ""
		}
	}
	if !letter || len(b) > maxText {
		return ""
	}
	return string(b)
}
