// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

const (
	// MaxMessage is how many bytes a message may have. A chain of four certificates
	// fits, and PLAINTEXT_2 stays far below the 8160 bytes that one key stream has
	// (RFC 9528 appendix G).
	MaxMessage = 4096

	// MaxConnectionID is how many bytes a connection identifier may have. OSCORE has
	// room for seven (RFC 8613 section 3.3) or, with a nonce of 12 bytes, six.
	MaxConnectionID = 16

	// MaxCandidates is how many credentials one identifier may stand for: each costs
	// a verification, and an attacker chooses the identifier.
	MaxCandidates = 4
)

// A Config is what one party brings to its handshakes. Any number of them, at the
// same time, may use one; it must not change any more.
type Config struct {
	// Methods are those that are allowed. The Initiator asks for the first.
	Methods []Method

	// Suites are those that are allowed, the most preferred first. Only those
	// count that one of Own has a key for.
	Suites []Suite

	// Own proves who this party is: the first that fits method and suite is used.
	Own []*Authenticator

	// Peers says who is meant to be at the other end (RFC 9528 appendix D.2), and is
	// required: that a credential is in some store is not enough. It is given what
	// the peer says its credential is, and the message's EAD, neither of which is
	// verified yet, and returns the credentials that this may be, at most
	// [MaxCandidates]; each is tried. An identifier that carries a credential is
	// answered with [ID.Credential] once its issuer, its validity and its revocation
	// were checked. [Only] is for peers that are known beforehand.
	// [ErrUnknownCredential] is told to the peer, other errors are not.
	Peers func(id *ID, ead []EAD) ([]*Credential, error)

	// EAD is given each item that was received but padding: those of message_1,
	// which nothing protects, when it is read, those of the others when the message
	// has been verified. Of message_2 they are secret from a passive listener only.
	// It returns [ErrUnknownEAD] for what it does not know; a critical item then
	// ends the handshake. Any other error ends it too. Values are valid until it
	// returns. Nil knows nothing.
	EAD func(message int, item EAD) error

	// ConnectionID chooses this party's connection identifier: the OSCORE Recipient
	// ID, so one that no other session here has. It must not be the peer's, which
	// is nil for an Initiator. Nil chooses one of the 48 of a single byte on the wire
	// at random.
	ConnectionID func(peer []byte) ([]byte, error)

	// Message4 says that message_4 is sent. It has to, where the Responder sends
	// nothing else that is protected (RFC 9528 section 5.5).
	Message4 bool

	// Random makes ephemeral keys, together with a secret of the long-term key (RFC
	// 8937), so that one of the two may be weak. Handshakes at the same time read it at
	// the same time. Nil is the system's.
	Random io.Reader

	ephemeral func(*suite) (*ecdh.PrivateKey, error) // a trace's key
	trace     func(name string, parts ...[]byte)     // a trace's values
}

// ErrUnknownEAD is what [Config].EAD returns for an item that it does not know.
var ErrUnknownEAD = errors.New("edhoc: EAD item not known")

// Only returns a [Config].Peers for peers that are known beforehand: these
// credentials are meant, and no others. They are found by whatever names them:
// key identifier, hash, address, or the credential itself.
func Only(creds ...*Credential) func(*ID, []EAD) ([]*Credential, error) {
	return func(id *ID, _ []EAD) ([]*Credential, error) {
		var found []*Credential
		for i, c := range creds {
			if !c.names(id) {
				continue
			}
			if found == nil {
				found = creds[i : i+1 : i+1]
			} else {
				found = append(found, c)
			}
		}
		if found == nil {
			return nil, ErrUnknownCredential
		}
		return found, nil
	}
}

// An Authenticator is a long-term key with its credential.
type Authenticator struct {
	cred   *Credential
	dh     private // one of these two
	signer cose.Signer
	hedge  [32]byte // known to the holder of the key alone
}

// hedgeTag is what a signing key signs for its hedge: something that no protocol
// asks to be signed.
const hedgeTag = "Myelin EDHOC: secret of this key for RFC 8937"

// NewStaticDH takes a static Diffie-Hellman key and its credential.
func NewStaticDH(key ecdh.KeyExchanger, c *Credential) (*Authenticator, error) {
	pub := key.PublicKey()
	if c.dh == nil || c.dh.key == nil || c.dh.key.Curve() != pub.Curve() || !bytes.Equal(xOf(pub), c.key.X) {
		return nil, badCredential(errMismatch)
	}
	return newStatic(standard{key}, c)
}

// NewStaticX448 takes the secret of an X448 key, which is 56 bytes and is copied, and
// its credential: for suite 25.
func NewStaticX448(secret []byte, c *Credential) (*Authenticator, error) {
	key, x, err := newX448(secret)
	if err != nil {
		return nil, badCredential(err)
	}
	if c.dh == nil || c.dh.x448 == nil || !bytes.Equal(x, c.key.X) {
		return nil, badCredential(errMismatch)
	}
	return newStatic(key, c)
}

func newStatic(key private, c *Credential) (*Authenticator, error) {
	secret, err := key.agree(c.dh)
	if err != nil {
		return nil, badCredential(err)
	}
	a := &Authenticator{cred: c, dh: key, hedge: sha256.Sum256(append(secret, hedgeTag...))}
	clear(secret)
	return a, nil
}

// NewSignature takes a key that signs and its credential.
func NewSignature(s cose.Signer, c *Credential) (*Authenticator, error) {
	sig, err := s.Sign([]byte(hedgeTag))
	if err != nil {
		return nil, badCredential(err)
	}
	if verifySignature(&c.key, s.Algorithm(), []byte(hedgeTag), sig) != nil {
		return nil, badCredential(errMismatch)
	}
	a := &Authenticator{cred: c, signer: s, hedge: sha256.Sum256(sig)}
	clear(sig)
	return a, nil
}

// Credential is the key's credential.
func (a *Authenticator) Credential() *Credential { return a.cred }

// own returns the first authenticator for a method, role and suite, or nil.
func (c *Config) own(m Method, initiator bool, s *suite) *Authenticator {
	signs := m.signs(initiator)
	for _, a := range c.Own {
		if signs != (a.signer != nil) || signs && !s.signsWith(a.signer.Algorithm()) {
			continue
		}
		if a.cred.fits(s, signs) == nil {
			return a
		}
	}
	return nil
}

func badConfig(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

func (c *Config) check() error {
	switch {
	case c.Peers == nil:
		return badConfig("Peers has to say who is meant")
	case len(c.Methods) == 0 || len(c.Own) == 0:
		return badConfig("no method, or no key")
	case len(c.Suites) == 0 || len(c.Suites) > maxSuites:
		return badConfig("no suite, or more than %d", maxSuites)
	}
	for i, s := range c.Suites {
		if s.row() == nil || slices.Contains(c.Suites[:i], s) {
			return badConfig("%v is unknown, or there twice", s)
		}
	}
	for _, m := range c.Methods {
		if !m.valid() {
			return badConfig("method %d is unknown", m)
		}
	}
	return nil
}

// usable is the suites of the configuration that one of Own has a key for.
func (c *Config) usable(into []Suite, m Method, initiator bool) []Suite {
	for _, s := range c.Suites {
		if c.own(m, initiator, s.row()) != nil {
			into = append(into, s)
		}
	}
	return into
}

// An identifier is a connection identifier without an allocation of its own.
type identifier struct {
	b [MaxConnectionID]byte
	n int
}

func (i *identifier) bytes() []byte { return i.b[:i.n:i.n] }

func (i *identifier) set(b []byte) { i.n = copy(i.b[:], b) }

// A state is where a handshake is; see [Initiator] and [Responder].
type state uint8

const (
	start state = iota
	readM1
	waitM2
	readM2
	waitM3
	readM3
	waitM4
	completed
	failed
)

// A party is what Initiator and Responder have in common: the transcript and the
// key schedule. Its keys are zeroed when the handshake is at its end.
type party struct {
	cfg       *Config
	state     state
	initiator bool
	method    Method
	suite     *suite
	own       *Authenticator
	peer      *Credential
	session   *Session

	eph    private
	other  *public // the peer's ephemeral key
	gx, gy [maxHash]byte
	cI, cR identifier

	k   kdf
	th  [maxHash]byte    // the transcript hash up to here
	prk [3][maxHash]byte // PRK_2e, PRK_3e2m, PRK_4e3m
	key [32]byte
	iv  [13]byte
	mac [maxHash]byte

	plain []byte // PLAINTEXT_n
	buf   []byte // scratch
	ead   [MaxEAD]EAD

	heard  [maxHash]byte // the digest of the message processed last
	took   bool          // there is one
	answer []byte        // what it was answered with
}

// choose takes a suite, and the key for it.
func (p *party) choose(s Suite) bool {
	p.suite = s.row()
	p.own = p.cfg.own(p.method, p.initiator, p.suite)
	p.k = newKDF(p.suite.hash)
	p.k.trace = p.cfg.trace
	return p.own != nil
}

// fail ends the handshake: no keys are left.
func (p *party) fail(text string, err error) error {
	return p.end(&Error{Code: Unspecified, Text: text, Err: err})
}

func (p *party) end(e *Error) error {
	p.wipe()
	p.state = failed
	p.session.Erase()
	p.session = nil
	p.took, p.answer = false, nil
	p.peer = nil
	return e
}

// wipe zeroes the keys. Of an ephemeral key that crypto/ecdh keeps to itself no
// reference is left.
func (p *party) wipe() {
	clear(p.prk[0][:])
	clear(p.prk[1][:])
	clear(p.prk[2][:])
	clear(p.key[:])
	clear(p.iv[:])
	clear(p.mac[:])
	clear(p.plain[:cap(p.plain)])
	clear(p.buf[:cap(p.buf)])
	clear(p.ead[:])
	p.k.wipe()
	if x, ok := p.eph.(*x448Secret); ok {
		clear(x[:])
	}
	p.eph, p.other = nil, nil
}

// received checks a message's length, and its form where it is an error message.
func (p *party) received(b []byte) error {
	if len(b) > MaxMessage {
		return p.fail(textSyntax, errLong)
	}
	if !isError(b) {
		return nil
	}
	e, err := ParseError(b)
	if err != nil {
		e = &Error{FromPeer: true, Err: fmt.Errorf("malformed error message: %w", err)}
	}
	return p.end(e)
}

// taken notes which message was processed, so that a repeat is not processed again.
func (p *party) taken(message []byte) {
	p.k.digest(p.heard[:], message)
	p.took, p.answer = true, nil
}

// ConnectionIDs returns C_I and C_R as far as they are known: whom the next message
// is for, where it is prepended with that (see [AppendPrefixed]).
func (p *party) ConnectionIDs() (cI, cR []byte) { return p.cI.bytes(), p.cR.bytes() }

// Repeat returns the answer to a message once more: ok when b is the very message
// that was processed last, and nothing else. Its answer is empty when none was due,
// or none was made yet. A transport that does not tell repeats from new messages
// asks this first (RFC 9528 section 7); nothing is computed again. The caller must
// not change the answer.
func (p *party) Repeat(b []byte) (answer []byte, ok bool) {
	if !p.took || len(b) > MaxMessage {
		return nil, false
	}
	var sum [maxHash]byte
	p.k.digest(sum[:], b)
	return p.answer, sum == p.heard
}

// newEphemeral makes this party's ephemeral key, and returns its public part.
func (p *party) newEphemeral() ([]byte, error) {
	if p.cfg.ephemeral != nil {
		key, err := p.cfg.ephemeral(p.suite)
		if err != nil {
			return nil, err
		}
		p.eph = standard{key}
		return xOf(key.PublicKey()), nil
	}
	random := p.cfg.Random
	if random == nil {
		random = rand.Reader
	}
	fresh := p.mac[:32]
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, err
	}
	seed, secret := p.prk[0][:p.k.size], p.prk[1][:p.suite.point()]
	p.k.extract(seed, p.own.hedge[:], fresh)
	// A scalar of a NIST curve is out of range once in 2^32 times.
	for try := range uint64(8) {
		p.k.expand(secret, seed, try, nil)
		key, x, err := p.suite.newPrivate(secret)
		if err == nil {
			p.eph = key
			clear(secret)
			clear(seed)
			clear(fresh)
			return x, nil
		}
	}
	return nil, errors.New("random numbers that are no keys")
}

// newConnectionID chooses this party's connection identifier.
func (p *party) newConnectionID(id *identifier, peer []byte) error {
	if p.cfg.ConnectionID != nil {
		b, err := p.cfg.ConnectionID(peer)
		if err != nil {
			return err
		}
		if len(b) > MaxConnectionID {
			return badConfig("connection identifier of %d bytes", len(b))
		}
		id.set(b)
	} else {
		random := p.cfg.Random
		if random == nil {
			random = rand.Reader
		}
		if _, err := io.ReadFull(random, id.b[:1]); err != nil {
			return err
		}
		id.n = 1
		id.b[0] = oneByte(id.b[0])
		if bytes.Equal(id.bytes(), peer) {
			id.b[0] = oneByte(id.b[0] + 1)
		}
	}
	if peer != nil && bytes.Equal(id.bytes(), peer) {
		return badConfig("connection identifier is the peer's") // RFC 9528 section 3.3.3
	}
	return nil
}

// oneByte takes any byte to one of the 48 that encode an integer.
func oneByte(b byte) byte {
	if b %= 48; b >= 24 {
		b += 8 // 0x20 to 0x37: -1 to -24
	}
	return b
}

// begin2 sets TH_2 and PRK_2e, of which p.th has H(message_1).
func (p *party) begin2(x, y []byte) error {
	n := p.k.size
	p.k.see("H(message_1)", p.th[:n])
	p.buf = cbor.AppendBytes(p.buf[:0], p.th[:n])
	p.k.hash(p.th[:], y, p.buf) // TH_2 = H( G_Y, H(message_1) )
	p.k.see("TH_2", p.th[:n])

	theirs := x
	if p.initiator {
		theirs = y
	}
	other, err := p.suite.toPoint(theirs)
	if err != nil {
		return err
	}
	p.other = other
	secret, err := p.eph.agree(other)
	if err != nil {
		return err
	}
	p.k.see("G_XY", secret)
	p.k.extract(p.prk[0][:n], p.th[:n], secret)
	clear(secret)
	p.k.see("PRK_2e", p.prk[0][:n])
	return nil
}

// stream XORs b with KEYSTREAM_2 into dst.
func (p *party) stream(dst, b []byte) []byte {
	p.buf = slices.Grow(p.buf[:0], len(b))[:len(b)]
	p.k.expand(p.buf, p.prk[0][:p.k.size], 0, p.th[:p.k.size])
	p.k.see("KEYSTREAM_2", p.buf)
	dst = slices.Grow(dst, len(b))
	out := dst[len(dst) : len(dst)+len(b)]
	subtle.XORBytes(out, b, p.buf)
	return dst[:len(dst)+len(b)]
}

// Labels of EDHOC_KDF (RFC 9528 section 4.1.2), by message.
var (
	labelSalt = [...]uint64{2: 1, 3: 5}
	labelMAC  = [...]uint64{2: 2, 3: 6}
	labelKey  = [...]uint64{3: 3, 4: 8}
	labelIV   = [...]uint64{3: 4, 4: 9}

	nameSalt = [...]string{2: "SALT_3e2m", 3: "SALT_4e3m"}
	namePRK  = [...]string{2: "PRK_3e2m", 3: "PRK_4e3m"}
	nameMAC  = [...]string{2: "MAC_2", 3: "MAC_3"}

	nameContext = [...]string{2: "context_2", 3: "context_3"}
	nameSigned  = [...]string{2: "Message to be signed 2", 3: "Message to be signed 3"}
	nameProof   = [...]string{2: "Signature_or_MAC_2", 3: "Signature_or_MAC_3"}
	namePlain   = [...]string{2: "PLAINTEXT_2", 3: "PLAINTEXT_3", 4: "PLAINTEXT_4"}
	nameSecret  = [...]string{2: "G_RX", 3: "G_IY"}
	nameTH      = [...]string{2: "TH_3", 3: "TH_4"}
	nameKey     = [...]string{3: "K_3", 4: "K_4"}
	nameIV      = [...]string{3: "IV_3", 4: "IV_4"}
	nameA       = [...]string{3: "A_3", 4: "A_4"}
)

// mix makes the pseudorandom key that proves message n's sender: PRK_3e2m of
// PRK_2e, or PRK_4e3m of PRK_3e2m. The secret is that of the sender's static key,
// and nil for one who signs.
func (p *party) mix(n int, secret []byte) {
	from, to := p.prk[n-2][:p.k.size], p.prk[n-1][:p.k.size]
	if secret == nil {
		copy(to, from)
	} else {
		p.k.see(nameSecret[n], secret)
		salt := p.mac[:p.k.size]
		p.k.expand(salt, from, labelSalt[n], p.th[:p.k.size])
		p.k.see(nameSalt[n], salt)
		p.k.extract(to, salt, secret)
		clear(secret)
	}
	p.k.see(namePRK[n], to)
}

// makeMAC makes MAC_n of a credential.
func (p *party) makeMAC(n int, c *Credential, ead []byte) []byte {
	b := p.buf[:0]
	if n == 2 { // context_2 = << C_R, ID_CRED_R, TH_2, CRED_R, ? EAD_2 >>
		b = appendIdentifier(b, p.cR.bytes())
	}
	b = append(b, c.id...) // context_3 = << ID_CRED_I, TH_3, CRED_I, ? EAD_3 >>
	b = cbor.AppendBytes(b, p.th[:p.k.size])
	b = append(b, c.cred...)
	b = append(b, ead...)
	p.buf = b
	p.k.see(nameContext[n], b)

	mac := p.mac[:p.suite.mac]
	if p.method.signs(n == 3) {
		mac = p.mac[:p.k.size]
	}
	p.k.expand(mac, p.prk[n-1][:p.k.size], labelMAC[n], b)
	p.k.see(nameMAC[n], mac)
	return mac
}

// toBeSigned is the Sig_structure of RFC 9052 section 4.4, with the MAC as payload.
func (p *party) toBeSigned(n int, c *Credential, ead, mac []byte) []byte {
	th := p.th[:p.k.size]
	b := cbor.AppendText(cbor.AppendArray(p.buf[:0], 4), "Signature1")
	b = cbor.AppendBytes(b, c.id)                                  // protected
	b = cbor.AppendBytesHead(b, 2+len(th)+len(c.cred)+len(ead))    // external_aad
	b = append(append(cbor.AppendBytes(b, th), c.cred...), ead...) // << TH_n, CRED_x, ? EAD_n >>
	p.buf = cbor.AppendBytes(b, mac)
	p.k.see(nameSigned[n], p.buf)
	return p.buf
}

// prove appends Signature_or_MAC_n, as a byte string.
func (p *party) prove(dst []byte, n int, ead []byte) ([]byte, error) {
	if p.own.dh != nil {
		secret, err := p.own.dh.agree(p.other)
		if err != nil {
			return nil, err
		}
		p.mix(n, secret)
		return cbor.AppendBytes(dst, p.makeMAC(n, p.own.cred, ead)), nil
	}
	p.mix(n, nil)
	mac := p.makeMAC(n, p.own.cred, ead)
	sig, err := p.own.signer.Sign(p.toBeSigned(n, p.own.cred, ead, mac))
	if err != nil {
		return nil, err
	}
	if len(sig) != p.suite.signature() {
		return nil, badConfig("signer made a signature of another length")
	}
	return cbor.AppendBytes(dst, sig), nil
}

// verify checks Signature_or_MAC_n against one credential.
func (p *party) verify(n int, c *Credential, proof, ead []byte) error {
	signs := p.method.signs(n == 3)
	if err := c.fits(p.suite, signs); err != nil {
		return err
	}
	if slices.ContainsFunc(p.cfg.Own, func(a *Authenticator) bool { return a.cred.same(c) }) {
		return ErrReflected // RFC 9528 section 9.2
	}
	if !signs {
		secret, err := p.eph.agree(c.dh)
		if err != nil {
			return err
		}
		p.mix(n, secret)
		mac := p.makeMAC(n, c, ead)
		if subtle.ConstantTimeCompare(mac, proof) != 1 {
			return ErrVerification
		}
		return nil
	}
	p.mix(n, nil)
	mac := p.makeMAC(n, c, ead)
	if len(proof) != p.suite.signature() || verifySignature(&c.key, p.suite.sign, p.toBeSigned(n, c, ead, mac), proof) != nil {
		return ErrVerification
	}
	return nil
}

// authenticate reads what PLAINTEXT_n says of its sender from r, asks who that is,
// and verifies it.
func (p *party) authenticate(n int, r *cbor.Reader) error {
	var id ID
	if err := readID(r, &id); err != nil {
		if errors.Is(err, ErrUnsupportedID) {
			return p.fail(textCredential, err)
		}
		return p.fail(textSyntax, err)
	}
	proof := r.Bytes()
	p.k.see(nameProof[n], proof)
	at := r.Off()
	items := readEAD(r, p.ead[:0])
	if err := r.Done(); err != nil {
		return p.fail(textSyntax, err)
	}
	ead := p.plain[at:]

	candidates, err := p.cfg.Peers(&id, items)
	if len(candidates) == 0 && err == nil {
		err = ErrUnknownCredential
	}
	if err != nil {
		if errors.Is(err, ErrUnknownCredential) && !id.Inline() {
			return p.end(&Error{Code: UnknownCredential, Err: err})
		}
		return p.fail(textUnspecified, err)
	}
	if len(candidates) > MaxCandidates {
		return p.fail(textUnspecified, badConfig("Peers returned %d credentials", len(candidates)))
	}
	for _, c := range candidates {
		// The sender's ID_CRED_x counts, which may name the credential in another
		// way than we do.
		if !bytes.Equal(c.id, id.raw) {
			c = c.by(bytes.Clone(id.raw))
		}
		if err = p.verify(n, c, proof, ead); err == nil {
			p.peer = c
			return p.handEAD(n, items)
		}
	}
	return p.fail(textUnspecified, err)
}

// handEAD gives the items of a message to the application.
func (p *party) handEAD(n int, items []EAD) error {
	for _, e := range items {
		err := ErrUnknownEAD
		if p.cfg.EAD != nil {
			err = p.cfg.EAD(n, e)
		}
		if err != nil && (e.Critical || !errors.Is(err, ErrUnknownEAD)) {
			return p.fail(textEAD, fmt.Errorf("EAD_%d item %d: %w", n, e.Label, err))
		}
	}
	return nil
}

// nextTH makes TH_n+1 = H( TH_n, PLAINTEXT_n, CRED_x ).
func (p *party) nextTH(n int, c *Credential) {
	p.k.see(namePlain[n], p.plain)
	p.k.hash(p.th[:], p.th[:p.k.size], p.plain, c.cred)
	p.k.see(nameTH[n], p.th[:p.k.size])
}

// crypt seals PLAINTEXT_n, or opens CIPHERTEXT_n, b, into dst.
func (p *party) crypt(dst []byte, n int, b []byte, open bool) ([]byte, error) {
	prk := p.prk[n-2][:p.k.size] // PRK_3e2m, PRK_4e3m
	key, iv := p.key[:p.suite.aead.KeySize()], p.iv[:p.suite.aead.NonceSize()]
	th := p.th[:p.k.size]
	p.k.expand(key, prk, labelKey[n], th)
	p.k.expand(iv, prk, labelIV[n], th)
	aead, err := cose.NewAEAD(p.suite.aead, key)
	if err != nil {
		return nil, err
	}
	a := cbor.AppendText(cbor.AppendArray(p.buf[:0], 3), "Encrypt0") // RFC 9052 section 5.3
	p.buf = cbor.AppendBytes(cbor.AppendBytes(a, nil), th)
	p.k.see(nameKey[n], key)
	p.k.see(nameIV[n], iv)
	p.k.see(nameA[n], p.buf)
	if open {
		return aead.Open(dst, iv, b, p.buf)
	}
	return aead.Seal(dst, iv, b, p.buf), nil
}

// readBytes reads a message that is one byte string.
func readBytes(b []byte) ([]byte, error) {
	r, err := cbor.ParseSequence(b)
	if err != nil {
		return nil, err
	}
	s := r.Bytes()
	return s, r.Done()
}

// finish makes the session, from TH_4 on.
func (p *party) finish() {
	s := &Session{
		k: newKDF(p.suite.hash), Suite: p.suite.number, Method: p.method,
		Initiator: p.initiator, Peer: p.peer, cI: p.cI, cR: p.cR, Own: p.own.cred,
	}
	n := s.k.size
	s.k.trace = p.cfg.trace
	s.k.expand(s.out[:n], p.prk[2][:n], labelPRKOut, p.th[:n])
	s.derive()
	p.session = s
}

// Session returns the outcome. It is [ErrState] as long as there is none: an Initiator
// has it when it has made message_3 or, when that is expected, verified
// message_4; a Responder when it has verified message_3. It stays the caller's when
// the Initiator or Responder is dropped, which is the thing to do.
func (p *party) Session() (*Session, error) {
	if p.session == nil || p.state != completed && p.state != readM3 {
		return nil, ErrState
	}
	return p.session, nil
}

// Suite is the selected suite, once there is one.
func (p *party) Suite() (Suite, bool) {
	if p.suite == nil {
		return 0, false
	}
	return p.suite.number, true
}
