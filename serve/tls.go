// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/serve/uplink"
)

const (
	ownRenewal = 30 * 24 * time.Hour // before its end
	lookEvery  = 10 * time.Second    // for other files
)

// A certificate is what the server shows: of files, which are read again when they
// change, or made here, and again a month before it ends.
type certificate struct {
	file, key string
	own       []string // hosts of one that is made here; nil: the files are somebody else's
	authority *uplink.Authority
	now       func() time.Time
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time
	stamp   [2]fileStamp
}

type fileStamp struct {
	at   time.Time
	size int64
}

// openCertificate reads or makes it.
func openCertificate(c *Config, authority *uplink.Authority) (*certificate, error) {
	k := &certificate{file: c.TLSCertificate, key: c.TLSKey, authority: authority, now: c.Now, log: c.Log}
	switch {
	case (k.file == "") != (k.key == ""):
		return nil, errors.New("a certificate and its key go together: give both files, or none")
	case k.file == "":
		k.file, k.key = filepath.Join(c.Data, "tls.pem"), filepath.Join(c.Data, "tls.key")
		k.own = hostsOf(c.Listen)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k, k.look()
}

// hostsOf are the names by which people reach an address.
func hostsOf(listen string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	host, _, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return append(hosts, host)
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}

// Get is what [tls.Config.GetCertificate] asks. While new files are not right, the
// old certificate goes on.
func (k *certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.looked) >= lookEvery || now.Before(k.looked) {
		if err := k.look(); err != nil {
			k.log.Error("the new certificate is not right; the old one goes on", "err", err)
		}
	}
	return k.current, nil
}

// look reads the files when they changed. The caller holds the lock.
func (k *certificate) look() error {
	k.looked = k.now()
	if k.current != nil && k.own != nil && k.stale(k.current) {
		if err := k.make(); err != nil {
			return err
		}
	}
	stamp, err := k.stat()
	if k.own != nil && errors.Is(err, fs.ErrNotExist) {
		if err = k.make(); err == nil {
			stamp, err = k.stat()
		}
	}
	if err != nil || k.current != nil && stamp == k.stamp {
		return err
	}
	c, err := tls.LoadX509KeyPair(k.file, k.key)
	if k.own != nil && (err != nil || k.stale(&c)) { // also of a pair that a crash cut in two
		if err = k.make(); err == nil {
			c, err = tls.LoadX509KeyPair(k.file, k.key)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", k.file, err)
	}
	k.current = &c
	k.stamp, err = k.stat()
	return err
}

// stale is a certificate that ends soon, or that sensors would not know since the
// server has the authority of others now.
func (k *certificate) stale(c *tls.Certificate) bool {
	return c.Leaf == nil || k.now().After(c.Leaf.NotAfter.Add(-ownRenewal)) || !k.authority.Issued(c.Leaf)
}

func (k *certificate) stat() (out [2]fileStamp, err error) {
	for i, f := range [...]string{k.file, k.key} {
		info, err := os.Stat(f)
		if err != nil {
			return out, err
		}
		out[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

// make has the server's own authority, which sensors know, make a certificate.
func (k *certificate) make() error {
	cert, key, err := k.authority.Server(slices.Compact(slices.Sorted(slices.Values(k.own)))...)
	if err != nil {
		return err
	}
	if err := replaceFile(k.key, 0o600, key); err != nil {
		return err
	}
	return replaceFile(k.file, 0o644, cert)
}

// replaceFile writes a file whole, or leaves what was there.
func replaceFile(file string, mode os.FileMode, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// fingerprint is the SHA-256 of the certificate, as browsers show it.
func (k *certificate) fingerprint() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum := sha256.Sum256(k.current.Certificate[0])
	return fmt.Sprintf("% X", sum[:])
}
