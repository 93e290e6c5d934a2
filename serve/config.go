// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/serve/access"
)

var format = strictyaml.Format{Name: "server configuration", Marker: "serve: 1"}

// Bounds of a configuration.
const (
	maxServers = 16
	maxScopes  = 16
	maxGroups  = 256
	maxSecret  = 4 << 10 // bytes of a file with a secret
)

// Read puts over c what a file says, with line and column of what is wrong. Secrets
// stand in files of their own, beside it where their names are relative.
//
//	serve: 1
//	site: St. Ada Hospital
//	listen: 0.0.0.0:8440
//	sensors: 0.0.0.0:8441               # of sensors and guards alone, by TLS, where listen is on loopback behind a proxy
//	url: https://myelin.ada.example     # where browsers find it: passkeys and oidc need it
//	proxies: [10.20.0.80, 10.20.1.0/28] # whose X-Forwarded-For is believed
//	store: {postgres: postgres.dsn}     # a file with postgres://user:password@host/name
//	bus: {servers: ["nats://10.20.0.4:4222", "nats://10.20.0.5:4222"], credentials: bus.creds}
//	tls: {certificate: ada.pem, key: ada.key}
//	watch: documents                    # a folder: advisories, SBOMs, lists that are put there are taken in
//	oidc:
//	  name: St. Ada account             # on the page where people sign in
//	  issuer: https://sso.ada.example
//	  client: myelin
//	  secret: oidc.secret               # a file; without one it is a public client
//	  claim: groups
//	  roles: {"security": [analyst], "icu-doctors": [prescriber]}
func (c *Config) Read(file string) error {
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r := strictyaml.New(file, format)
	s := r.Section(r.Document(src), "the file", "serve", "site", "listen", "sensors", "url", "proxies", "store", "bus", "tls", "watch", "oidc")
	if r.Err() != nil {
		return r.Err()
	}
	r.Number(s.Need("serve", "serve: 1, which says what this file is"), "serve", 1, 1)
	beside := func(n ast.Node, what string) string {
		name := r.Text(n, what)
		if name != "" && !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return name
	}
	secret := func(n ast.Node, what string) string {
		name := beside(n, what)
		if r.Err() != nil {
			return ""
		}
		b, err := os.ReadFile(name)
		if err == nil && len(b) > maxSecret {
			err = errors.New("it is too long for a secret")
		}
		if err != nil {
			r.Fail(n, "%s cannot be used: %v", what, plainly(err))
		}
		return string(bytes.TrimSpace(b))
	}
	text := func(to *string, key, what string) {
		if s.Has(key) {
			*to = r.Text(s.Get(key), what)
		}
	}
	text(&c.Site, "site", "site, the hospital's name")
	text(&c.Listen, "listen", "listen, an address and a port")
	text(&c.Sensors, "sensors", "sensors, an address and a port")
	if s.Has("url") {
		c.URL = strings.TrimSuffix(r.Text(s.Get("url"), "url, where browsers find the server"), "/")
		if u, err := url.Parse(c.URL); r.Err() == nil && (err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Host)) || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			r.Fail(s.Get("url"), "url has to be like https://myelin.ada.example, without a path")
		}
	}
	if s.Has("proxies") {
		for _, n := range r.List(s.Get("proxies"), "proxies", maxForwarders) {
			at := r.Text(n, "an address of a proxy")
			p, err := netip.ParsePrefix(at)
			if ip, no := netip.ParseAddr(at); no == nil {
				p, err = ip.Prefix(ip.BitLen())
			}
			if r.Err() == nil && (err != nil || p.Bits() == 0) {
				r.Fail(n, "a proxy is an address, or a network like 10.20.0.0/28")
			}
			c.Proxies = append(c.Proxies, p)
		}
	}
	if s.Has("store") {
		in := r.Section(s.Get("store"), "store", "postgres")
		c.Store = secret(in.Need("postgres", "a file with the address of the database"), "postgres")
	}
	if s.Has("bus") {
		in := r.Section(s.Get("bus"), "bus", "servers", "credentials", "replicas")
		c.Bus = nil
		for _, n := range r.List(in.Need("servers", "the addresses of the cluster: [\"nats://host:4222\"]"), "servers", maxServers) {
			c.Bus = append(c.Bus, r.Text(n, "an address of the cluster"))
		}
		if r.Err() == nil && len(c.Bus) == 0 {
			r.Fail(in.Get("servers"), "servers is empty: without bus the server has one of its own")
		}
		if in.Has("credentials") {
			c.BusCredentials = beside(in.Get("credentials"), "credentials, a file of the cluster's user")
		}
		if in.Has("replicas") {
			c.BusReplicas = int(r.Number(in.Get("replicas"), "replicas", 1, 5))
		}
	}
	if s.Has("tls") {
		in := r.Section(s.Get("tls"), "tls", "certificate", "key")
		c.TLSCertificate = beside(in.Need("certificate", "a file in PEM"), "certificate")
		c.TLSKey = beside(in.Need("key", "a file in PEM"), "key")
	}
	if s.Has("watch") {
		c.Watch = beside(s.Get("watch"), "watch, a folder")
	}
	if s.Has("oidc") {
		in := r.Section(s.Get("oidc"), "oidc", "name", "issuer", "client", "secret", "scopes", "claim", "roles")
		o := &access.OIDC{
			Name:     r.Text(in.Need("name", "what people know the account as"), "name"),
			Issuer:   r.Text(in.Need("issuer", "https://..., as the provider says it"), "issuer"),
			ClientID: r.Text(in.Need("client", "the client that the provider knows"), "client"),
		}
		if in.Has("secret") {
			word := []byte(secret(in.Get("secret"), "secret"))
			o.Secret = func(context.Context) ([]byte, error) { return word, nil }
		}
		if in.Has("scopes") {
			for _, n := range r.List(in.Get("scopes"), "scopes", maxScopes) {
				o.Scopes = append(o.Scopes, r.Text(n, "a scope"))
			}
		}
		if in.Has("claim") || in.Has("roles") {
			o.Claim, o.Roles = r.Text(in.Need("claim", "the claim of the ID token that roles maps"), "claim"), map[string][]string{}
			r.Each(in.Need("roles", "of each value of the claim its roles"), "roles", maxGroups, func(group string, _, value ast.Node) {
				for _, n := range r.List(value, "the roles of a group", len(access.Names())+len(access.Clinical())) {
					o.Roles[group] = append(o.Roles[group], r.Text(n, "a role"))
				}
			})
		}
		if c.OIDC = o; r.Err() == nil && c.URL == "" {
			r.Fail(s.Get("oidc"), "oidc needs url, where the provider sends people back to")
		}
	}
	return r.Err()
}

// plainly is an error without the path, which may say more than who reads the log knows.
func plainly(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return fmt.Errorf("%w", err)
}
