// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/cose"
)

func linkKeygenVerb(c *console) *cobra.Command {
	var out, curve string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "keygen --out FILE [--curve NAME]",
		Short:                 "Make a key pair for a person, a station, or an approver",
		Long: `Keygen makes a key pair: the private key, a COSE_Key of CBOR, in FILE, which
only its owner may read, and the public key, to be enrolled, in FILE.pub. It
overwrites nothing. Keys of other programs are read too: PEM, PKCS #8.`,
		Example: `  myelin link keygen --out nurse.key
  myelin link keygen --out root.key --curve ed25519`,
		Args: exactly(0, "keygen takes no arguments; --out says where to"),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usageError{errors.New("keygen wants --out: the file for the private key")}
			}
			k, err := newKey(curve)
			if err != nil {
				return err
			}
			if err := createKey(out, k); err != nil {
				return err
			}
			c.hint("wrote %s, which nobody else may have, and %s.pub to be enrolled", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "", "`FILE` for the private key; its public key goes to FILE.pub")
	v.Flags().StringVar(&curve, "curve", "p256", "`NAME`: p256, or ed25519 for an authority")
	complete(v, "curve", "p256", "ed25519")
	return v
}

// newKey makes a key whose kid is the first eight bytes of its thumbprint.
func newKey(curve string) (k cose.Key, err error) {
	curves := map[string]cose.Curve{"p256": cose.P256, "ed25519": cose.CurveEd25519}
	n, ok := curves[curve]
	if !ok {
		return k, usageError{fmt.Errorf("--curve %s: want p256 or ed25519", curve)}
	}
	if k, err = cose.GenerateKey(n, rand.Reader); err == nil {
		t := k.Thumbprint()
		k.ID = t[:8]
	}
	return k, err
}

// createKey writes both halves of a key.
func createKey(file string, k cose.Key) error {
	if err := create(file, 0o600, k.AppendSecret(nil)); err != nil {
		return err
	}
	return create(file+".pub", 0o644, k.AppendPublic(nil))
}

// create writes a file that is not there yet.
func create(file string, mode fs.FileMode, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten; name another file", file)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// replace writes a file for its owner's eyes, which is whole whatever happens.
func replace(file string, b []byte) error {
	half := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"."+rand.Text()[:8])
	err := create(half, 0o600, b)
	if err == nil {
		err = os.Rename(half, file)
	}
	if err != nil {
		os.Remove(half)
		return err
	}
	// A loss of power must not bring the old one back: its numbers were given away.
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// maxKeyFile is how many bytes a key's file may have.
const maxKeyFile = 8 << 10

// privateKey reads a private key, and refuses one that others may read.
func privateKey(file string) (k cose.Key, err error) {
	if err := onlyOwners(file); err != nil {
		return k, err
	}
	if k, err = keyFile(file); err == nil && k.D == nil {
		err = fmt.Errorf("%s: a public key, where a private one is wanted", file)
	}
	return k, err
}

// onlyOwners refuses a private key that others may read.
func onlyOwners(file string) error {
	st, err := os.Stat(file)
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s: others may read this private key (mode %04o); if nobody did, 'chmod 600 %s'", file, st.Mode().Perm(), file)
	}
	return err
}

// publicKey reads a public key.
func publicKey(file string) (k cose.Key, err error) {
	if k, err = keyFile(file); err == nil && k.D != nil {
		return cose.Key{}, fmt.Errorf("%s: a private key, which belongs to one person; want the file that ends with .pub", file)
	}
	return k, err
}

func keyFile(file string) (k cose.Key, err error) {
	b, err := readFile(file, maxKeyFile)
	if err != nil {
		return k, err
	}
	if p, _ := pem.Decode(b); p != nil {
		k, err = keyOfPEM(p)
	} else {
		k, err = cose.ParseKey(b)
	}
	if err != nil {
		return k, fmt.Errorf("%s: %w; want a COSE_Key or PEM, as 'myelin link keygen' makes one", file, err)
	}
	if k.ID == nil {
		t := k.Thumbprint()
		k.ID = t[:8]
	}
	return k, nil
}

// keyOfPEM reads a key of PKCS #8 or a SubjectPublicKeyInfo.
func keyOfPEM(p *pem.Block) (cose.Key, error) {
	if strings.HasSuffix(p.Type, "PUBLIC KEY") {
		public, err := x509.ParsePKIXPublicKey(p.Bytes)
		if err != nil {
			return cose.Key{}, err
		}
		return cose.NewSignatureKey(public)
	}
	private, err := x509.ParsePKCS8PrivateKey(p.Bytes)
	if err != nil {
		return cose.Key{}, errors.New("not a private key of PKCS #8")
	}
	switch private := private.(type) {
	case *ecdsa.PrivateKey:
		k, err := cose.NewSignatureKey(&private.PublicKey)
		if err != nil {
			return k, err
		}
		k.D, err = private.Bytes()
		return k, err
	case ed25519.PrivateKey:
		k, err := cose.NewSignatureKey(private.Public())
		k.D = private.Seed()
		return k, err
	}
	return cose.Key{}, cose.ErrKey
}
