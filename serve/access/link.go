// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
)

// A link lets one person in, once. What is kept of it is a hash and its end.

const (
	linkLife   = 24 * time.Hour
	linkSecret = 18 // bytes

	// setUp is the setting with the link by which the first person is made.
	setUp = "set-up"
)

var errLink = &Error{Status: http.StatusGone, Text: "This link was used or has expired. Ask who gave it to you for another."}

func secret(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (a *Access) newLink() (secretOf, kept string) {
	s := secret(linkSecret)
	return s, base64.RawURLEncoding.EncodeToString(sum(s)) + " " + a.cfg.Now().Add(linkLife).UTC().Format(time.RFC3339)
}

// LinkTo is the address of a one-time link of a person, for whoever asked for it.
func (a *Access) LinkTo(r *http.Request, id int64, secret string) string {
	at := strings.TrimSuffix(a.cfg.URL, "/")
	if at == "" {
		at = "https://" + r.Host
		if !a.cfg.Secure {
			at = "http://" + r.Host
		}
	}
	return at + LinkPath(id, secret)
}

// LinkPath is the path of that address.
func LinkPath(id int64, secret string) string {
	return "/password/" + strconv.FormatInt(id, 10) + "/" + secret
}

// fits reports whether a secret is that of a link, and not too late.
func (a *Access) fits(secret, kept string) bool {
	hash, until, _ := strings.Cut(kept, " ")
	end, err := time.Parse(time.RFC3339, until)
	return err == nil && a.cfg.Now().Before(end) &&
		subtle.ConstantTimeCompare([]byte(hash), []byte(base64.RawURLEncoding.EncodeToString(sum(secret)))) == 1
}

// SetUpLink makes the secret of the link by which the first person is made, when
// there is nobody yet; "" when there is somebody. A new one replaces the one before.
func (a *Access) SetUpLink(ctx context.Context) (string, error) {
	if no, err := a.cfg.Store.Nobody(ctx); err != nil || !no {
		return "", err
	}
	old, err := a.cfg.Store.Setting(ctx, setUp)
	if err != nil {
		return "", err
	}
	s, kept := a.newLink()
	err = a.cfg.Store.SetSetting(ctx, setUp, old, []byte(kept))
	if errors.Is(err, store.ErrConflict) { // another server of the store starts now, and prints its own
		return "", nil
	}
	return s, err
}

// Valid reports whether the secret is that of the set-up link, and nobody used it.
func (a *Access) Valid(ctx context.Context, secret string) (bool, error) {
	if no, err := a.cfg.Store.Nobody(ctx); err != nil || !no {
		return false, err
	}
	kept, err := a.cfg.Store.Setting(ctx, setUp)
	return err == nil && a.fits(secret, string(kept)), err
}

// First makes the first person, an administrator, by the secret of the set-up link.
func (a *Access) First(r *http.Request, secret string, p *store.Person, password string) error {
	ctx := r.Context()
	if ok, err := a.Valid(ctx, secret); err != nil {
		return err
	} else if !ok {
		return &Error{Status: http.StatusGone, Text: "This link was used or has expired. Restart the server: it prints another."}
	}
	p.Roles, p.Added = uint32(Administrator), a.cfg.Now().UnixNano()
	err := named(p)
	if err == nil {
		err = a.setPassword(ctx, p, password)
	}
	if err != nil {
		return err
	}
	kept, err := a.cfg.Store.Setting(ctx, setUp)
	if err == nil {
		err = a.cfg.Store.SetSetting(ctx, setUp, kept, []byte("used")) // by one alone, also of two at the same time
	}
	if errors.Is(err, store.ErrConflict) || err == nil && !a.fits(secret, string(kept)) {
		return &Error{Status: http.StatusGone, Text: "Somebody else used this link just now."}
	}
	if err != nil {
		return err
	}
	if err := a.cfg.Store.SavePerson(ctx, p); err != nil {
		return err
	}
	if err := a.Acted(p.Login, "set-up", p.Login, "first administrator", 0, event.Succeeded); err != nil {
		return err
	}
	return a.Begin(r, p, "set-up link")
}

// Linked returns the person that a one-time link is for. An [Error] when it is for nobody.
func (a *Access) Linked(ctx context.Context, id int64, secret string) (*store.Person, error) {
	p, err := a.cfg.Store.PersonOf(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (p.Disabled || !a.fits(secret, p.Link)) {
		return nil, errLink
	}
	return p, err
}

// UseLink sets the password of who has a one-time link, and begins a session.
func (a *Access) UseLink(r *http.Request, id int64, secret, password string) error {
	ctx := r.Context()
	p, err := a.Linked(ctx, id, secret)
	if err != nil {
		return err
	}
	if err := a.setPassword(ctx, p, password); err != nil {
		return err
	}
	p.Link = ""
	err = a.save(ctx, p)
	if errors.Is(err, store.ErrConflict) {
		return errLink
	}
	if err != nil {
		return err
	}
	if err := a.Acted(p.Login, "set password", p.Login, "one-time link", 0, event.Succeeded); err != nil {
		return err
	}
	return a.Begin(r, p, "one-time link")
}
