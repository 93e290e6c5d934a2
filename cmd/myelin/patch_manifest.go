// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/report"
)

func patchManifestVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "manifest VERB",
		Short: "Make, sign, show and verify SUIT manifests",
		Long: `Manifest works on SUIT envelopes: the signed program that tells a device what
an update is, whom it is for, and how it is fetched, installed and started.`,
		Example: `  myelin patch manifest make release.yaml --key maker.key --out flow500.suit
  myelin patch manifest show flow500.suit`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(manifestMakeVerb(c), manifestSignVerb(c), manifestShowVerb(c), manifestVerifyVerb(c))
	return v
}

// readEnvelope reads an envelope, of which nothing is believed yet.
func readEnvelope(file string) (*suit.Envelope, []byte, error) {
	b, err := readFile(file, suit.MaxEnvelope)
	if err != nil {
		return nil, nil, err
	}
	e, err := suit.Decode(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return e, b, nil
}

// signatureAlgorithms are how a manifest is signed, by the name of the registry.
var signatureAlgorithms = map[string]cose.Algorithm{
	"ES256": cose.ES256, "ESP256": cose.ESP256, "EdDSA": cose.EdDSA, "Ed25519": cose.Ed25519,
	"ES384": cose.ES384, "ESP384": cose.ESP384, "ES512": cose.ES512, "ESP512": cose.ESP512,
}

// A signFlags says who signs, and how.
type signFlags struct{ key, algorithm string }

func (f *signFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.key, "key", "", "sign with the private key in `FILE`: PEM (PKCS #8), or as 'myelin link keygen' makes one")
	v.Flags().StringVar(&f.algorithm, "algorithm", "", "`NAME` of the algorithm, where the device wants another than ESP256 or EdDSA: ES256, Ed25519 ...")
	complete(v, "algorithm", "ES256", "ESP256", "EdDSA", "Ed25519")
}

// sign adds a signature to an envelope, or a MAC if the key is symmetric.
func (f *signFlags) sign(e *suit.Envelope) (cose.Key, error) {
	if err := onlyOwners(f.key); err != nil {
		return cose.Key{}, err
	}
	k, err := keyFile(f.key)
	if err != nil {
		return k, err
	}
	if k.D == nil && k.Type != cose.Symmetric {
		return k, fmt.Errorf("%s: a public key, where a private one is wanted", f.key)
	}
	if f.algorithm != "" {
		a, ok := signatureAlgorithms[f.algorithm]
		if !ok {
			return k, usageError{fmt.Errorf("--algorithm %s: want ES256, ESP256, EdDSA, Ed25519, or the like with 384 or 512", f.algorithm)}
		}
		k.Alg = a
	}
	known := k
	if k.Type != cose.Symmetric {
		known = k.Public()
	}
	if _, err := e.Verify(known); err == nil {
		return k, fmt.Errorf("%s has signed this manifest already", f.key)
	}
	if k.Type == cose.Symmetric {
		if k.Alg == 0 {
			k.Alg = cose.HMAC256
		}
		return k, e.Authenticate(&k)
	}
	if k.Alg == 0 {
		switch k.Curve {
		case cose.P256: // draft-ietf-suit-mti: by the algorithms that name their curve
			k.Alg = cose.ESP256
		case cose.P384:
			k.Alg = cose.ESP384
		case cose.P521:
			k.Alg = cose.ESP512
		}
	}
	s, err := cose.NewSigner(k)
	if err != nil {
		return k, fmt.Errorf("%s: %w", f.key, err)
	}
	k.Alg = s.Algorithm()
	return k, e.Sign(s, k.ID)
}

func writeEnvelope(c *console, out string, e *suit.Envelope) error {
	return c.to(out, func(w io.Writer) error {
		_, err := w.Write(e.Append(nil))
		return err
	})
}

func manifestSignVerb(c *console) *cobra.Command {
	var flags signFlags
	var out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "sign FILE --key FILE --out FILE",
		Short:                 "Sign an envelope, beside whoever has signed it before",
		Long: `Sign adds a signature (COSE_Sign1) to an envelope; of the manifest and of the
signatures that are there nothing is changed. The key's id is signed too.`,
		Example: `  myelin patch manifest sign unsigned.suit --key maker.key --out flow500.suit
  myelin patch manifest sign flow500.suit --key second.pem --out both.suit`,
		Args: exactly(1, "sign wants one file: an envelope"),
		RunE: func(_ *cobra.Command, args []string) error {
			if flags.key == "" || out == "" {
				return usageError{errors.New("sign wants --key, whose private key it is, and --out, where the signed envelope goes")}
			}
			e, _, err := readEnvelope(args[0])
			if err != nil {
				return err
			}
			if _, err := e.UnverifiedManifest(); err != nil { // nobody signs what no device can read
				return fmt.Errorf("%s: %w", args[0], err)
			}
			k, err := flags.sign(e)
			if err != nil {
				return err
			}
			if err := writeEnvelope(c, out, e); err != nil {
				return err
			}
			c.hint("wrote %s, signed by %v with kid %x; it has %s", out, k.Alg, k.ID, signaturesOf(len(e.Blocks)))
			return nil
		},
	}
	flags.register(v)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE`, which is whole or not there")
	return v
}

func signaturesOf(n int) string {
	if n == 1 {
		return "1 signature"
	}
	return fmt.Sprintf("%d signatures", n)
}

// A verifiedManifest is what an envelope is after all of it was checked.
type verifiedManifest struct {
	File     string        `json:"file"`
	Digest   string        `json:"digest"`
	Sequence uint64        `json:"sequence"`
	Version  string        `json:"version,omitempty"`
	Signers  []shownSigner `json:"signers"`
}

type shownSigner struct {
	Key string `json:"key"` // the file that was given
	KID string `json:"kid"`
}

// text says it in a line.
func (v *verifiedManifest) text() string {
	s := fmt.Sprintf("%s: manifest %d", v.File, v.Sequence)
	if v.Version != "" {
		s += ", version " + v.Version
	}
	var by []string
	for _, x := range v.Signers {
		by = append(by, fmt.Sprintf("%s (kid %s)", x.Key, x.KID))
	}
	return report.Plain(s + ", signed by " + strings.Join(by, ", "))
}

func manifestVerifyVerb(c *console) *cobra.Command {
	var files, payloads []string
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "verify FILE... --key FILE [--payload FILE]",
		Short:                 "Tell whether an envelope is signed by one of these keys",
		Long: `Verify checks the signature, the digest of the manifest, and those of all that
stands beside it. With --payload it also looks whether the manifest has the
digest of that file. It exits with 1 when something is not as it should be.`,
		Example: `  myelin patch manifest verify flow500.suit --key maker.key.pub
  myelin patch manifest verify flow500.suit --key m.pem --payload flow500.bin`,
		Args: atLeast(1, "verify what? name an envelope"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if len(files) == 0 {
				return usageError{errors.New("verify wants --key: the public key of who should have signed")}
			}
			var keys []cose.Key
			for _, file := range files {
				k, err := publicKey(file)
				if err != nil {
					return err
				}
				keys = append(keys, k)
			}
			bad := false
			e := json.NewEncoder(c.out)
			e.SetEscapeHTML(false)
			for _, file := range args {
				v, err := verifyEnvelope(file, files, keys, payloads)
				if err != nil {
					c.hint("%v", said(err))
					bad = true
					continue
				}
				if format.name == "json" {
					err = e.Encode(v)
				} else {
					_, err = fmt.Fprintln(c.out, v.text())
				}
				if err != nil {
					return err
				}
			}
			if bad {
				return exit(exitError)
			}
			return nil
		},
	}
	v.Flags().StringArrayVar(&files, "key", nil, "the public key in `FILE`: PEM, or as 'myelin link keygen' makes one; repeatable")
	v.Flags().StringArrayVar(&payloads, "payload", nil, "an image in `FILE`, whose digest has to stand in the manifest; repeatable")
	format.register(v, "text", "json")
	return v
}

// verifyEnvelope checks an envelope with keys, which come from the files of these
// names.
func verifyEnvelope(file string, names []string, keys []cose.Key, payloads []string) (*verifiedManifest, error) {
	e, _, err := readEnvelope(file)
	if err != nil {
		return nil, err
	}
	m, err := e.Verify(keys...)
	switch {
	case errors.Is(err, suit.ErrVerification) && len(e.Blocks) == 0:
		return nil, fmt.Errorf("%s: not signed", file)
	case errors.Is(err, suit.ErrVerification):
		var kids []string
		for i := range e.Blocks {
			kids = append(kids, keyIDOf(&e.Blocks[i]))
		}
		return nil, fmt.Errorf("%s: %w; it says to be signed by %s", file, err, strings.Join(kids, ", "))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, payload := range payloads {
		if err := inManifest(m, payload); err != nil {
			return nil, err
		}
	}
	v := &verifiedManifest{File: file, Digest: e.Digest.String(), Sequence: m.SequenceNumber, Version: m.Version.String()}
	for i := range keys {
		if slices.ContainsFunc(m.Signers(), func(s cose.Key) bool { return s.Equal(&keys[i]) }) {
			v.Signers = append(v.Signers, shownSigner{names[i], hex.EncodeToString(keys[i].ID)})
		}
	}
	return v, nil
}

// keyIDOf is the kid that a block names.
func keyIDOf(b *suit.Block) string {
	if kid := b.KeyID(); kid != nil {
		return "kid " + hex.EncodeToString(kid)
	}
	return "a key that it does not name"
}

// inManifest looks whether a file is one of the images that a manifest has a digest
// of.
func inManifest(m *suit.Manifest, file string) error {
	for _, x := range m.Images() {
		got, _, err := digestFile(x.Digest.Alg, file)
		if err != nil {
			return err
		}
		if got.Equal(x.Digest) {
			return nil
		}
	}
	return fmt.Errorf("%s: not an image of this manifest, which has %d digests and not that of this file", file, len(m.Images()))
}
