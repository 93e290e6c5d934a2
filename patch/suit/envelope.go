// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// Labels and tags of the envelope (section 11.1).
const (
	tagEnvelope = 107

	envelopeAuthentication = 2
	envelopeManifest       = 3

	tagMac0  = 17
	tagSign1 = 18
	tagMac   = 97
	tagSign  = 98
)

// An Envelope is a SUIT_Envelope: a manifest, what vouches for it, and what was
// put beside it. Of a decoded one the slices alias its bytes.
type Envelope struct {
	Digest   Digest    // of the manifest, which [Decode] compared
	Blocks   []Block   // what vouches for Digest
	Payloads []Payload // integrated payloads and dependencies, in the order of their keys
	Untagged bool      // the CBOR tag 107 is left out

	manifest []byte
	off      int // of manifest
	members  []member
}

// A Block is a SUIT_Authentication_Block. One of its fields is set; neither is for
// a block of several signers or recipients, which is kept and does not count.
type Block struct {
	Sign1 *cose.Sign1
	Mac0  *cose.Mac0

	raw []byte
}

// KeyID is the kid that the block names, or nil. It is a hint that nobody signed.
func (b *Block) KeyID() []byte {
	var p, u *cose.Headers
	switch {
	case b.Sign1 != nil:
		p, u = &b.Sign1.Protected, &b.Sign1.Unprotected
	case b.Mac0 != nil:
		p, u = &b.Mac0.Protected, &b.Mac0.Unprotected
	default:
		return nil
	}
	if p.KID != nil {
		return p.KID
	}
	return u.KID
}

// Algorithm is by what the block was made, or zero.
func (b *Block) Algorithm() cose.Algorithm {
	switch {
	case b.Sign1 != nil:
		return b.Sign1.Protected.Alg
	case b.Mac0 != nil:
		return b.Mac0.Protected.Alg
	}
	return 0
}

// A Payload is an integrated payload or dependency: what a fetch of its Key, a URI,
// gets (section 7.5). Its bytes are vouched for by the image digest that stands in
// the manifest, and by nothing before.
type Payload struct {
	Key   string
	Bytes []byte
}

// A member is a severable member beside the manifest.
type member struct {
	label int64
	b     []byte
	off   int
}

// Decode reads b, one envelope and nothing else. It checks the envelope's structure
// and that the manifest is the one its digest is of, and reads nothing of the
// manifest: who made it is not known yet. The envelope aliases b.
//
// An error is a *[SyntaxError], or one of link/cose within it.
func Decode(b []byte) (*Envelope, error) {
	r := reader{path: "envelope"}
	if len(b) > MaxEnvelope {
		return nil, r.bad(MaxEnvelope, ErrLimit, "envelope too long")
	}
	r, err := newReader(b, 0, r.path)
	if err != nil {
		return nil, err
	}
	e := &Envelope{}
	if e.Untagged = r.Next() != cbor.Tag; !e.Untagged && r.Tag() != tagEnvelope {
		return nil, r.bad(0, ErrStructure, "not tagged as a SUIT envelope")
	}
	var wrapper reader
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		at := r.Off()
		if r.Next() == cbor.Text {
			key := r.Text()
			p, _ := r.bytes()
			if key == "" || len(key) > maxURI || len(e.Payloads) == maxPayloads {
				return nil, r.bad(at, ErrLimit, "integrated payloads")
			}
			e.Payloads = append(e.Payloads, Payload{key, p})
			continue
		}
		switch label := r.Int(); {
		case label == envelopeAuthentication:
			if wrapper, err = r.nested("authentication-wrapper"); err != nil {
				return nil, err
			}
		case label == envelopeManifest:
			e.manifest, e.off = r.bytes()
		case severable(label):
			m := member{label: label}
			m.b, m.off = r.bytes()
			if len(m.b) > MaxManifest {
				return nil, r.bad(at, ErrLimit, "severable member too long")
			}
			e.members = append(e.members, m)
		default:
			return nil, r.bad(at, ErrUnsupported, fmt.Sprintf("label %d", label))
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if wrapper.path == "" || e.manifest == nil {
		return nil, r.bad(0, ErrStructure, "no authentication wrapper, or no manifest")
	}
	if len(e.manifest) > MaxManifest {
		return nil, r.bad(e.off, ErrLimit, "manifest too long")
	}
	if err := e.authentication(&wrapper); err != nil {
		return nil, err
	}
	if !e.Digest.Equal(e.Digest.wrapped(e.manifest)) {
		return nil, &SyntaxError{"manifest", e.off, ErrDigest}
	}
	return e, nil
}

// authentication reads a SUIT_Authentication (section 8.3).
func (e *Envelope) authentication(r *reader) error {
	n := r.Array()
	if err := r.count(n, 1, 1+maxBlocks); err != nil {
		return err
	}
	d, err := r.nested("digest")
	if err != nil {
		return err
	}
	if e.Digest, err = d.digest(); err != nil {
		return err
	}
	if err := d.done(); err != nil {
		return err
	}
	for i := range n - 1 {
		b, off := r.bytes()
		if err := r.err(); err != nil {
			return err
		}
		block, err := parseBlock(b)
		if err != nil {
			var s *cbor.SyntaxError
			if errors.As(err, &s) {
				off, err = off+s.Off, s.Err
			}
			return &SyntaxError{fmt.Sprintf("%s[%d]", r.path, 1+i), off, err}
		}
		e.Blocks = append(e.Blocks, block)
	}
	return r.done()
}

func parseBlock(b []byte) (Block, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return Block{}, err
	}
	block := Block{raw: b}
	if r.Next() != cbor.Tag {
		return Block{}, fmt.Errorf("%w: a block that says not what it is", ErrStructure)
	}
	switch r.Tag() {
	case tagSign1:
		block.Sign1, err = cose.ParseSign1(b)
		if err == nil && !block.Sign1.Detached {
			err = fmt.Errorf("%w: a payload that is not the digest beside it", ErrStructure)
		}
	case tagMac0:
		block.Mac0, err = cose.ParseMac0(b)
		if err == nil && !block.Mac0.Detached {
			err = fmt.Errorf("%w: a payload that is not the digest beside it", ErrStructure)
		}
		if err == nil && block.Mac0.Protected.Alg == cose.HMAC256_64 { // of so few bits many may be tried
			err = fmt.Errorf("%w: a MAC of 8 bytes", ErrUnsupported)
		}
	case tagSign, tagMac:
	default:
		err = fmt.Errorf("%w: kind of authentication block", ErrUnsupported)
	}
	return block, err
}

// verify checks a block with a key: the digest is what it is over.
func (b *Block) verify(k *cose.Key, digest []byte) error {
	switch {
	case b.Sign1 != nil:
		m := *b.Sign1
		m.Payload = digest
		return m.Verify(k, nil)
	case b.Mac0 != nil:
		m := *b.Mac0
		m.Payload = digest
		return m.Verify(k, nil)
	}
	return ErrUnsupported
}

// Verify checks that one of the keys vouches for the manifest, reads it, and checks
// each severable member that is there. The manifest knows which keys did
// ([Manifest.Signers]); it aliases the envelope's bytes, which must not change while
// it is used.
//
// A kid is only a hint, so each key is tried with each block. An error is
// [ErrVerification], or a *[SyntaxError] when what was vouched for is not a manifest
// or a member is not the one that it names.
func (e *Envelope) Verify(keys ...cose.Key) (*Manifest, error) {
	digest := e.Digest.append(nil)
	var signers []cose.Key
	for i := range keys {
		if slices.ContainsFunc(e.Blocks, func(b Block) bool { return b.verify(&keys[i], digest) == nil }) {
			signers = append(signers, keys[i])
		}
	}
	if signers == nil {
		return nil, ErrVerification
	}
	m, err := e.UnverifiedManifest()
	if err != nil {
		return nil, err
	}
	m.signers = signers
	return m, nil
}

// UnverifiedManifest reads the manifest of whoever made it, to show it or to sign
// it. A [Processor] does not run it.
func (e *Envelope) UnverifiedManifest() (*Manifest, error) {
	m, err := e.decodeManifest()
	if err != nil {
		return nil, err
	}
	// Nothing in the envelope is left that the manifest does not name.
	for _, x := range e.members {
		s := m.member(x.label)
		if s == nil || s.digest.Alg == 0 {
			return nil, &SyntaxError{"envelope/" + labelName(x.label), x.off, fmt.Errorf("%w: a severable member that the manifest has no digest of", ErrStructure)}
		}
		if !s.digest.Equal(s.digest.wrapped(x.b)) {
			return nil, &SyntaxError{"envelope/" + labelName(x.label), x.off, ErrDigest}
		}
		if err := m.decodeMember(s, x.b, x.off); err != nil {
			return nil, err
		}
	}
	for _, p := range e.Payloads {
		if !m.names(p.Key) {
			return nil, &SyntaxError{"envelope", 0, fmt.Errorf("%w: an integrated payload that no URI of the manifest names", ErrStructure)}
		}
	}
	return m, nil
}

// NewEnvelope encodes a manifest, with the sections that are Severable beside it,
// and puts payloads into the envelope. It is not signed yet. An error is what
// [Decode] or [Envelope.UnverifiedManifest] would say to it.
func NewEnvelope(m *Manifest, payloads ...Payload) (*Envelope, error) {
	manifest, members, err := m.encode()
	if err != nil {
		return nil, err
	}
	e := &Envelope{manifest: manifest, members: members, Payloads: slices.Clone(payloads)}
	e.Digest = Digest{Alg: cose.SHA256}.wrapped(manifest)
	slices.SortFunc(e.Payloads, func(a, b Payload) int {
		return bytes.Compare(cbor.AppendText(nil, a.Key), cbor.AppendText(nil, b.Key))
	})
	e, err = Decode(e.Append(nil))
	if err != nil {
		return nil, err
	}
	_, err = e.UnverifiedManifest()
	return e, err
}

// Sign adds a COSE_Sign1 over the digest. A kid, if there is one, is signed too, so
// that no byte of the envelope is outside of what is protected.
func (e *Envelope) Sign(s cose.Signer, kid []byte) error {
	m := cose.Sign1{Detached: true, Payload: e.Digest.append(nil), Protected: cose.Headers{KID: kid}}
	if err := m.Sign(s, nil); err != nil {
		return err
	}
	raw, err := m.Append(nil)
	return e.add(raw, err)
}

// Authenticate adds a COSE_Mac0 over the digest, with a key that the recipient has
// too, and with its ID.
func (e *Envelope) Authenticate(k *cose.Key) error {
	m := cose.Mac0{Detached: true, Payload: e.Digest.append(nil), Protected: cose.Headers{KID: k.ID}}
	if err := m.Authenticate(k, nil); err != nil {
		return err
	}
	raw, err := m.Append(nil)
	return e.add(raw, err)
}

func (e *Envelope) add(raw []byte, err error) error {
	if err != nil {
		return err
	}
	if len(e.Blocks) == maxBlocks {
		return fmt.Errorf("%w: authentication blocks", ErrLimit)
	}
	block, err := parseBlock(raw)
	if err == nil {
		e.Blocks = append(e.Blocks, block)
	}
	return err
}

// Sever takes a severable section, or [SectionText] or [SectionCoSWID], out of the
// envelope, and reports whether it was there. What vouches for the manifest still
// does.
func (e *Envelope) Sever(s Section) bool {
	n := len(e.members)
	e.members = slices.DeleteFunc(slices.Clone(e.members), func(m member) bool { return m.label == int64(s) })
	return len(e.members) < n
}

// Append appends the envelope. The manifest goes out as it came in.
func (e *Envelope) Append(dst []byte) []byte {
	wrapper := cbor.AppendArray(nil, 1+len(e.Blocks))
	wrapper = cbor.AppendBytes(wrapper, e.Digest.append(nil))
	for i := range e.Blocks {
		wrapper = cbor.AppendBytes(wrapper, e.Blocks[i].raw)
	}
	if !e.Untagged {
		dst = cbor.AppendTag(dst, tagEnvelope)
	}
	dst = cbor.AppendMap(dst, 2+len(e.members)+len(e.Payloads))
	dst = cbor.AppendBytes(cbor.AppendUint(dst, envelopeAuthentication), wrapper)
	dst = cbor.AppendBytes(cbor.AppendUint(dst, envelopeManifest), e.manifest)
	for _, m := range e.members {
		dst = cbor.AppendBytes(cbor.AppendInt(dst, m.label), m.b)
	}
	for _, p := range e.Payloads {
		dst = cbor.AppendBytes(cbor.AppendText(dst, p.Key), p.Bytes)
	}
	return dst
}

// payload is what an integrated payload's key gets.
func (e *Envelope) payload(uri string) ([]byte, bool) {
	i := slices.IndexFunc(e.Payloads, func(p Payload) bool { return p.Key == uri })
	if i < 0 {
		return nil, false
	}
	return e.Payloads[i].Bytes, true
}

// integrated reports whether a URI can only be in an envelope: it has no scheme to
// fetch it by.
func integrated(uri string) bool { return strings.HasPrefix(uri, "#") }
