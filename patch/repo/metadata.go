// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The roles that the root names itself.
const (
	Root      = metadata.ROOT
	Timestamp = metadata.TIMESTAMP
	Snapshot  = metadata.SNAPSHOT
	Targets   = metadata.TARGETS
)

var topLevel = []string{Root, Timestamp, Snapshot, Targets}

// maxDepth is how deep the objects of metadata may lie in each other: five in the
// deepest that the specification knows, a key in a delegation, and what a
// signer may add.
const maxDepth = 16

// wellFormed looks through metadata of a role before go-tuf reads it. Role is one
// of the top level, or Targets for any delegated role.
func wellFormed(role string, b []byte) error {
	if err := walk(b); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var m struct {
		Signed struct {
			Type        string                   `json:"_type"`
			SpecVersion string                   `json:"spec_version"`
			Version     int64                    `json:"version"`
			Expires     string                   `json:"expires"`
			Keys        map[string]*metadata.Key `json:"keys"`
			Meta        map[string]fileOf        `json:"meta"`
			Targets     map[string]fileOf        `json:"targets"`
			Roles       map[string]struct {
				Threshold int `json:"threshold"`
			} `json:"roles"`
			Delegations *struct {
				Keys     map[string]*metadata.Key `json:"keys"`
				Roles    []metadata.DelegatedRole `json:"roles"`
				Succinct *metadata.SuccinctRoles  `json:"succinct_roles"`
			} `json:"delegations"`
		} `json:"signed"`
		Signatures []struct{} `json:"signatures"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s := &m.Signed
	malformed := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	switch {
	case s.Type != role:
		return malformed("its _type is not %s", role)
	case !strings.HasPrefix(s.SpecVersion, "1."):
		return malformed("its spec_version is not 1")
	case s.Version < 1:
		return malformed("its version is not positive")
	case s.Expires == "":
		return malformed("it never expires")
	}
	keys := s.Keys
	switch role {
	case Root:
		for _, r := range topLevel {
			if _, ok := s.Roles[r]; !ok {
				return malformed("it has no role %s", r)
			}
		}
	case Timestamp:
		if _, ok := s.Meta[Snapshot+".json"]; !ok {
			return malformed("it names no snapshot")
		}
	case Targets:
		if s.Delegations == nil {
			break
		}
		keys = s.Delegations.Keys
		if d := s.Delegations.Succinct; d != nil && (d.BitLength < 1 || d.BitLength > 32) { // TAP 15
			return malformed("its bit_length is not 1 to 32")
		}
		if s.Delegations.Roles != nil && s.Delegations.Succinct != nil {
			return malformed("it has both roles and succinct_roles")
		}
		names := map[string]bool{}
		for i := range s.Delegations.Roles {
			r := &s.Delegations.Roles[i]
			if slices.Contains(topLevel, r.Name) || r.Name == "" || names[r.Name] {
				return malformed("a delegated role has a name that is another's, or none")
			}
			names[r.Name] = true
			if len(r.Paths) > 0 && len(r.PathHashPrefixes) > 0 {
				return malformed("a delegated role has both paths and path_hash_prefixes")
			}
		}
	}
	for _, f := range s.Meta {
		if f.Version < 1 || f.Length < 0 {
			return malformed("it names metadata without version, or with a negative length")
		}
	}
	for _, f := range s.Targets {
		if f.Length < 0 {
			return malformed("a target's length is negative")
		}
	}
	for _, k := range keys {
		if err := usable(k); err != nil {
			return malformed("a key: %v", err)
		}
	}
	return nil
}

type fileOf struct {
	Length  int64 `json:"length"`
	Version int64 `json:"version"`
}

// usable refuses a key that could not verify: with some go-tuf would panic, and
// some would take long. What it does not know is no error, because it is only
// missed if it is needed for a threshold.
func usable(k *metadata.Key) error {
	if k.Type == metadata.KeyTypeEd25519 {
		if b, err := hex.DecodeString(k.Value.PublicKey); err != nil || len(b) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key of another length")
		}
		return nil
	}
	public, err := k.ToPublicKey()
	if err != nil {
		return nil
	}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() > 8192 {
			return errors.New("an RSA key of more than 8,192 bits")
		}
	case *ecdsa.PublicKey:
		if p.Params().BitSize > 521 {
			return errors.New("an ECDSA key of an unknown curve")
		}
	}
	return nil
}

// walk reads one JSON value, and wants nothing behind it, no name twice in an
// object, no null (a map of go-tuf's has a nil pointer for it) and no depth over
// maxDepth.
func walk(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := walkValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is something behind its end")
	}
	return nil
}

func walkValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == nil {
		return errors.New("a null")
	}
	if _, opens := t.(json.Delim); !opens {
		return nil
	}
	if depth++; depth > maxDepth {
		return errors.New("too deep")
	}
	names := map[string]bool{}
	for d.More() {
		if t == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if names[name.(string)] {
				return errors.New("a name twice in one object")
			}
			names[name.(string)] = true
		}
		if err := walkValue(d, depth); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// metadataName is the name of metadata in a source, escaped as a URL's segment:
// a role may have any name. Version 0 has none in it.
func metadataName(role string, version int64) string {
	name := url.PathEscape(role) + ".json"
	if version > 0 {
		name = strconv.FormatInt(version, 10) + "." + name
	}
	return name
}

// A Target is a file that signed metadata names.
type Target struct {
	Path   string // the TUF target path
	Length int64  // bytes

	// Hashes is the file's digests, by name; sha256 and sha512 are known.
	Hashes map[string][]byte

	Role string // the role that names it
}

// SHA256 returns the target's digest. It is zero if the metadata has none.
func (t *Target) SHA256() (d [sha256.Size]byte) {
	copy(d[:], t.Hashes["sha256"])
	return d
}

// fileName is the name of a target in a source: with its digest where snapshots are
// consistent (section 6.2).
func (t *Target) fileName(consistent bool) (string, error) {
	dir, base := path.Split(t.Path)
	dir, base = (&url.URL{Path: dir}).EscapedPath(), url.PathEscape(base)
	if !consistent {
		return dir + base, nil
	}
	for _, algorithm := range []string{"sha256", "sha512"} {
		if h := t.Hashes[algorithm]; len(h) > 0 {
			return dir + hex.EncodeToString(h) + "." + base, nil
		}
	}
	return "", fmt.Errorf("%s %w: no hash of a kind that is known", t.Path, ErrMalformed)
}

// rolesFor returns the roles that a delegation trusts with a path, in order
// (section 4.5). Go-tuf compares the prefixes with base64.
func rolesFor(d *metadata.Delegations, target string) []metadata.RoleResult {
	if d.Roles == nil {
		return d.GetRolesForTarget(target)
	}
	digest := sha256.Sum256([]byte(target))
	name := hex.EncodeToString(digest[:])
	var roles []metadata.RoleResult
	for i := range d.Roles {
		r := &d.Roles[i]
		trusted := slices.ContainsFunc(r.PathHashPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if len(r.Paths) > 0 {
			trusted, _ = r.IsDelegatedPath(target)
		}
		if trusted {
			roles = append(roles, metadata.RoleResult{Name: r.Name, Terminating: r.Terminating})
		}
	}
	return roles
}
