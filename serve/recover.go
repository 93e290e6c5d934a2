// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/access"
)

// Recover makes the one-time link by which an administrator sets another password, and
// ends the password, passkeys and sessions of before. by is who asks, for the ledger. It
// wants the server's folder, and that no server runs on it: one program at a time
// writes a ledger.
func Recover(ctx context.Context, c Config, by, login string) (link string, err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if _, err := os.Stat(filepath.Join(c.Data, "ledger.key")); err != nil {
		return "", fmt.Errorf("%s is no folder of a server: %w", c.Data, plainly(err))
	}
	s := &Server{cfg: c}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.ledger, err = openLedger(c.Data, c.Now); err != nil {
		if errors.Is(err, ledger.ErrLocked) {
			return "", fmt.Errorf("%s: a server runs on it; stop it first, and start it again before the link is used", c.Data)
		}
		return "", err
	}
	if s.kept, err = openStore(ctx, &c); err != nil {
		return "", err
	}
	s.store = s.kept.Store
	a, err := access.New(access.Config{Store: s.store, Record: s.ledger.Record, Now: c.Now, Site: "server"})
	if err != nil {
		return "", err
	}
	p, secret, err := a.Recover(ctx, by, login)
	if err != nil {
		return "", err
	}
	at := c.URL
	if at == "" {
		at = "https://"
		if !c.tls() {
			at = "http://"
		}
		if host, port, err := net.SplitHostPort(c.Listen); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
			name, _ := os.Hostname()
			c.Listen = net.JoinHostPort(name, port)
		}
		at += c.Listen
	}
	return at + access.LinkPath(p.ID, secret), nil
}
