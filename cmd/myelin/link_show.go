// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/report"
)

// A shown is what a file of the secure link says, for people.
type shown struct {
	File       string     `json:"file,omitempty"`
	Kind       string     `json:"kind"` // token, break-glass token, request, revocations, key
	Issuer     string     `json:"issuer,omitempty"`
	KID        string     `json:"kid,omitempty"`
	Subject    string     `json:"subject,omitempty"`
	Audience   string     `json:"audience,omitempty"`
	Serial     string     `json:"serial,omitempty"`
	NotBefore  *time.Time `json:"not_before,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`
	ExpiresIn  string     `json:"expires_in,omitempty"`
	Role       string     `json:"role,omitempty"`
	Allow      []string   `json:"allow,omitempty"`
	Approvals  string     `json:"approvals,omitempty"`
	Window     string     `json:"window,omitempty"`
	Number     uint64     `json:"number,omitempty"`
	Revoked    []string   `json:"revoked,omitempty"`
	Key        string     `json:"key,omitempty"`
	Thumbprint string     `json:"thumbprint,omitempty"`
}

func linkShowVerb(c *console) *cobra.Command {
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "show FILE...",
		Short:                 "Tell what a token, a request, a list or a key says",
		Long: `Show reads tokens, requests for them, lists of what is revoked, and keys, and
prints what they state: no secret, and no proof of it. Only a device's answer
says whether it takes a token.`,
		Example: `  myelin link show nurse.cwt
  myelin link show --format json revoked.cwt`,
		Args: atLeast(1, "show what? name a token or a key"),
		RunE: func(_ *cobra.Command, args []string) error {
			return showEach(c, &format, args, showFile, func(s *shown, w io.Writer) error { return showText(w, s) })
		},
	}
	format.register(v, "text", "json")
	return v
}

// showEach shows what read finds in each file, as JSON or as text with a line between two.
// What cannot be read is named, and the others are shown all the same.
func showEach[T any](c *console, format *formatFlag, files []string, read func(file string) (T, error), text func(T, io.Writer) error) error {
	if err := format.check(); err != nil {
		return err
	}
	bad := false
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	for i, file := range files {
		s, err := read(file)
		if err != nil {
			c.hint("%v", said(err))
			bad = true
			continue
		}
		if format.name == "json" {
			err = e.Encode(s)
		} else {
			if i > 0 {
				fmt.Fprintln(c.out)
			}
			err = text(s, c.out)
		}
		if err != nil {
			return err
		}
	}
	if bad {
		return exit(exitError)
	}
	return nil
}

func showFile(file string) (*shown, error) {
	b, err := readFile(file, maxAuthority)
	if err != nil {
		return nil, err
	}
	if k, err := keyFile(file); err == nil {
		t := k.Thumbprint()
		s := &shown{File: file, Kind: "public key", Key: k.Public().String(), KID: hex.EncodeToString(k.ID), Thumbprint: hex.EncodeToString(t[:])}
		if k.D != nil || k.Type == cose.Symmetric {
			s.Kind = "private key"
		}
		return s, nil
	}
	claims, kid, err := cwt.Show(b)
	if err != nil {
		var e error
		if claims, e = cwt.ParseClaims(b); e != nil {
			return nil, fmt.Errorf("%s: no token and no key: %w", file, err)
		}
	}
	s := showClaims(claims)
	s.File, s.KID = file, hex.EncodeToString(kid)
	if kid == nil {
		s.Kind = "request"
	}
	return s, nil
}

func showClaims(c *cwt.Claims) *shown {
	date := func(n int64) *time.Time {
		if n == 0 {
			return nil
		}
		t := time.Unix(n, 0).UTC()
		return &t
	}
	s := &shown{
		Kind: "token", Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, Serial: hex.EncodeToString(c.Serial),
		NotBefore: date(c.NotBefore), Expires: date(c.Expires),
	}
	if c.ExpiresIn != 0 {
		s.ExpiresIn = (time.Duration(c.ExpiresIn) * time.Second).String()
	}
	if c.Key != nil {
		t := c.Key.Thumbprint()
		s.Thumbprint = hex.EncodeToString(t[:])
	}
	if e := c.Emergency; e != nil {
		s.Kind = "break-glass token"
		s.Approvals = fmt.Sprintf("%d of %d", len(c.Approvals), e.Need)
		s.Window = (time.Duration(e.Window) * time.Second).String()
	}
	if r := c.Revoked; r != nil {
		s.Kind, s.Number = "revocations", r.Number
		for _, b := range r.Serials {
			s.Revoked = append(s.Revoked, "serial "+hex.EncodeToString(b))
		}
		for _, b := range r.Thumbprints {
			s.Revoked = append(s.Revoked, "key "+hex.EncodeToString(b))
		}
	}
	if g, err := cwt.ParseGrant(c.Scope); err == nil {
		s.Role = g.Role.String()
		for _, v := range g.Verbs {
			s.Allow = append(s.Allow, showGrant(&v))
		}
	} else if c.Scope != nil {
		s.Allow = []string{"a scope that no device takes"}
	}
	return s
}

// showGrant writes a grant as --allow reads it.
func showGrant(g *cwt.VerbGrant) string {
	text := func(q device.Quantity) string { return strings.ReplaceAll(q.String(), " ", "") }
	var parts []string
	for _, l := range []struct {
		how string
		q   device.Quantity
	}{{"<=", g.Highest}, {">=", g.Lowest}, {"for<=", g.Longest}, {"sum<=", g.Sum}} {
		if !l.q.IsNone() {
			part := l.how + text(l.q)
			if l.how == "sum<=" {
				part += "/" + g.Window.String()
			}
			parts = append(parts, part)
		}
	}
	all := strings.Join(parts, ",")
	if all != "" && all[0] != '<' && all[0] != '>' {
		all = "," + all
	}
	return g.Verb.String() + all
}

func showText(w io.Writer, s *shown) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-11s %s\n", name, report.Plain(value))
		}
	}
	fmt.Fprintf(&b, "%s\n", strings.TrimSuffix(report.Plain(s.File)+": "+s.Kind, ": "))
	line("issuer", s.Issuer)
	line("kid", s.KID)
	line("subject", s.Subject)
	line("for", s.Audience)
	line("serial", s.Serial)
	if s.NotBefore != nil {
		line("not before", s.NotBefore.Format(time.RFC3339))
	}
	if s.Expires != nil {
		line("expires", s.Expires.Format(time.RFC3339))
	}
	line("expires in", s.ExpiresIn)
	line("role", s.Role)
	for _, a := range s.Allow {
		line("allow", a)
	}
	line("approvals", s.Approvals)
	line("open for", s.Window)
	if s.Number != 0 {
		line("number", fmt.Sprint(s.Number))
	}
	for _, r := range s.Revoked {
		line("revoked", r)
	}
	line("key", s.Key)
	line("thumbprint", s.Thumbprint)
	_, err := io.WriteString(w, b.String())
	return err
}
