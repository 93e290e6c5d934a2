// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/report"
)

func edhocPeerVerb(c *console) *cobra.Command {
	var role, creds string
	var method, suite int
	var message4 bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "edhoc-peer --role ROLE --method N --suite N --creds FILE [--m4]",
		Short:                 "Be one side of an EDHOC handshake, on standard input and output",
		Long: `Edhoc-peer puts another implementation of EDHOC (RFC 9528) at the other end. A
message is a line, '<n> <hex>', n its number. At the end both sides print
'oscore <master secret> <master salt> <own sender id> <recipient id>' in hex; a
message that is refused is answered with 'error <code> <reason>', and exit 1.

The credentials are JSON, for test keys only: for "I" and "R" a "kid" (integer)
and, by "p256", "ed25519", "x25519" and what else the suite wants ("p384",
"x448", "ed448"), "priv", "x", "y" and the claims set "ccs", all in hex.`,
		Example: `  myelin link edhoc-peer --role initiator --method 3 --suite 2 --creds keys.json
  myelin link edhoc-peer --role responder --method 0 --suite 0 --creds k.json`,
		Args: exactly(0, "edhoc-peer takes no arguments; messages come on standard input"),
		RunE: func(v *cobra.Command, _ []string) error {
			if role != "initiator" && role != "responder" {
				return usageError{fmt.Errorf("--role %s: want initiator or responder", role)}
			}
			if method < 0 || method > int(edhoc.DHDH) {
				return usageError{fmt.Errorf("--method %d: want 0 (both sign), 1, 2 or 3 (both have static keys)", method)}
			}
			if _, ok := peerKeys[edhoc.Suite(suite)]; !ok {
				return usageError{fmt.Errorf("--suite %d: want 0 to 6, 24 or 25", suite)}
			}
			if creds == "" {
				return usageError{errors.New("edhoc-peer wants --creds; --help tells what has to be in the file")}
			}
			cfg, err := peerConfig(creds, role == "initiator", edhoc.Method(method), edhoc.Suite(suite))
			if err != nil {
				return fmt.Errorf("--creds %w", said(err))
			}
			cfg.Message4 = message4
			return (&edhocPeer{console: c, in: bufio.NewReaderSize(c.in, maxLine)}).shake(cfg, role == "initiator")
		},
	}
	v.Flags().StringVar(&role, "role", "", "`ROLE`: initiator (speaks first) or responder")
	v.Flags().IntVar(&method, "method", -1, "`N`: 0 both sign, 1 the responder has a static key, 2 the initiator, 3 both")
	v.Flags().IntVar(&suite, "suite", -1, "`N` of the cipher suite: 0 to 6, 24 or 25")
	v.Flags().BoolVar(&message4, "m4", false, "the responder confirms with message_4")
	v.Flags().StringVar(&creds, "creds", "", "`FILE` of both sides' credentials")
	complete(v, "role", "initiator", "responder")
	complete(v, "method", "0", "1", "2", "3")
	complete(v, "suite", "0", "1", "2", "3", "4", "5", "6", "24", "25")
	return v
}

// peerKeys names the keys of each suite in a file of credentials.
var peerKeys = map[edhoc.Suite]struct{ sign, dh string }{
	0:  {"ed25519", "x25519"},
	1:  {"ed25519", "x25519"},
	2:  {"p256", "p256"},
	3:  {"p256", "p256"},
	4:  {"ed25519", "x25519"},
	5:  {"p256", "p256"},
	6:  {"p256", "x25519"},
	24: {"p384", "p384"},
	25: {"ed448", "x448"},
}

// maxCredentials is how many bytes the file may have; one with all keys has 4 kB.
const maxCredentials = 64 << 10

// peerConfig reads what one side needs of a file of credentials.
func peerConfig(file string, initiator bool, m edhoc.Method, s edhoc.Suite) (*edhoc.Config, error) {
	b, err := readFile(file, maxCredentials)
	if err != nil {
		return nil, err
	}
	var parties map[string]map[string]json.RawMessage
	if err := json.Unmarshal(b, &parties); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signs := map[string]bool{"I": m == edhoc.SignSign || m == edhoc.SignDH, "R": m == edhoc.SignSign || m == edhoc.DHSign}
	own, peer := "R", "I"
	if initiator {
		own, peer = peer, own
	}
	a, _, err := peerCredential(parties[own], s, signs[own], true)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", file, own, err)
	}
	_, other, err := peerCredential(parties[peer], s, signs[peer], false)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", file, peer, err)
	}
	return &edhoc.Config{Methods: []edhoc.Method{m}, Suites: []edhoc.Suite{s}, Own: []*edhoc.Authenticator{a}, Peers: edhoc.Only(other)}, nil
}

// peerCredential reads the credential of one party, and its private key if that is wanted.
func peerCredential(party map[string]json.RawMessage, s edhoc.Suite, signs, private bool) (*edhoc.Authenticator, *edhoc.Credential, error) {
	name := peerKeys[s].dh
	if signs {
		name = peerKeys[s].sign
	}
	var kid *int64
	if err := json.Unmarshal(party["kid"], &kid); err != nil || kid == nil {
		return nil, nil, errors.New(`no "kid" that is an integer`)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(party[name], &fields); err != nil {
		return nil, nil, fmt.Errorf("no %q, which %v wants", name, s)
	}
	field := func(n string) []byte {
		var text string
		_ = json.Unmarshal(fields[n], &text)
		b, _ := hex.DecodeString(text)
		return b
	}
	ccs := field("ccs")
	if len(ccs) == 0 {
		return nil, nil, fmt.Errorf(`%s: no "ccs" in hex`, name)
	}
	c, err := edhoc.ParseCCS(ccs)
	if err == nil {
		c, err = c.ByKID(cbor.AppendInt(nil, *kid))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: ccs: %w", name, err)
	}
	k := c.Key()
	if x := field("x"); len(x) > 0 && !bytes.Equal(x, k.X) {
		return nil, nil, fmt.Errorf("%s: x is not that of the ccs", name)
	}
	if y := field("y"); len(y) > 0 && !bytes.Equal(y, k.Y) {
		return nil, nil, fmt.Errorf("%s: y is not that of the ccs", name)
	}
	if !private {
		return nil, c, nil
	}
	a, err := authenticator(k, field("priv"), signs, c)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: priv: %w", name, err)
	}
	return a, c, nil
}

var errPrivate = errors.New("not the private key of the ccs")

// authenticator puts a private key to its credential.
func authenticator(k cose.Key, secret []byte, signs bool, c *edhoc.Credential) (*edhoc.Authenticator, error) {
	switch {
	case k.Curve == cose.X448:
		return edhoc.NewStaticX448(secret, c)
	case k.Curve == cose.CurveEd448:
		s, public, err := edhoc.NewEd448Signer(secret)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(public, k.X) {
			return nil, errPrivate
		}
		return edhoc.NewSignature(s, c)
	}
	k.D = secret
	if _, err := cose.ParseKey(k.AppendSecret(nil)); err != nil || len(secret) == 0 {
		return nil, errPrivate // ParseKey compares the two halves
	}
	if signs {
		s, err := cose.NewSigner(k)
		if err != nil {
			return nil, err
		}
		return edhoc.NewSignature(s, c)
	}
	d, err := k.PrivateECDH()
	if err != nil {
		return nil, err
	}
	return edhoc.NewStaticDH(d, c)
}

// maxLine is how many bytes a line has at most: number, space, the message in hex,
// and the line's end.
const maxLine = 2*edhoc.MaxMessage + 4

// An edhocPeer is one side of a handshake whose messages are lines.
type edhocPeer struct {
	*console
	in *bufio.Reader
}

// shake goes through a handshake.
func (p *edhocPeer) shake(cfg *edhoc.Config, initiator bool) error {
	var steps []func() error
	var session func() (*edhoc.Session, error)
	if initiator {
		i, err := edhoc.NewInitiator(cfg, nil)
		if err != nil {
			return err
		}
		session = i.Session
		steps = []func() error{p.send(1, i.Message1), p.receive(2, i.Message2), p.send(3, i.Message3), p.receive(4, i.Message4)}
	} else {
		r, err := edhoc.NewResponder(cfg)
		if err != nil {
			return err
		}
		session = r.Session
		steps = []func() error{p.receive(1, r.Message1), p.send(2, r.Message2), p.receive(3, r.Message3), p.send(4, r.Message4)}
	}
	if !cfg.Message4 {
		steps = steps[:3]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return p.refused(err)
		}
	}
	s, err := session()
	if err != nil {
		return err
	}
	o, err := s.OSCORE()
	if err != nil {
		return p.refused(err)
	}
	_, err = fmt.Fprintf(p.out, "oscore %x %x %x %x\n", o.Secret, o.Salt, o.SenderID, o.RecipientID)
	return err
}

func (p *edhocPeer) send(n int, message func([]byte, ...edhoc.EAD) ([]byte, error)) func() error {
	return func() error {
		b, err := message(nil)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%d %x\n", n, b)
		return err
	}
}

func (p *edhocPeer) receive(n int, take func([]byte) error) func() error {
	return func() error {
		b, err := p.line(n)
		if err != nil {
			return err
		}
		return take(b)
	}
}

// A lineError is a line that is no message, or not the one that is due.
type lineError string

func (e lineError) Error() string { return string(e) }

// errEnded is returned where the other side went away, or said why.
var errEnded = errors.New("the other side ended the handshake")

// line reads message n.
func (p *edhocPeer) line(n int) ([]byte, error) {
	b, err := p.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, lineError("line too long")
	case errors.Is(err, io.EOF) && len(b) == 0:
		return nil, fmt.Errorf("%w before message %d", errEnded, n)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	number, text, _ := strings.Cut(strings.TrimRight(string(b), "\r\n"), " ")
	if number == "error" {
		return nil, fmt.Errorf("%w: %s", errEnded, text)
	}
	if number != strconv.Itoa(n) {
		return nil, lineError(fmt.Sprintf("want message %d", n))
	}
	message, err := hex.DecodeString(text)
	if err != nil || len(message) == 0 {
		return nil, lineError(fmt.Sprintf("message %d is not in hex", n))
	}
	return message, nil
}

// refused tells the other side what is wrong, in as many words as it may know, and
// the person at this side why.
func (p *edhocPeer) refused(err error) error {
	var e *edhoc.Error
	var line lineError
	switch {
	case errors.As(err, &e):
		code, text := max(e.Code, edhoc.Unspecified), e.Text
		switch code {
		case edhoc.WrongSuite:
			text = "supported suites:"
			for _, s := range e.Suites {
				text += " " + strconv.Itoa(int(s))
			}
		case edhoc.UnknownCredential:
			text = "unknown credential"
		}
		if text == "" {
			text = "refused"
		}
		fmt.Fprintf(p.out, "error %d %s\n", code, report.Plain(text))
	case errors.As(err, &line):
		fmt.Fprintf(p.out, "error %d %s\n", edhoc.Unspecified, line)
	}
	return err
}
