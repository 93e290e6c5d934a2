// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/serve/access"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "serve.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const dsn = "postgres://myelin:secret@10.20.0.9/myelin"
	write("postgres.dsn", dsn+"\n")
	write("oidc.secret", "sesame\n")
	write("serve.yaml", `serve: 1
site: St. Ada Hospital
listen: 0.0.0.0:8440
sensors: 0.0.0.0:8441
url: https://myelin.ada.example/
proxies: [10.20.0.80, "10.20.1.0/28", "fd00::1"]
store: {postgres: postgres.dsn}
bus: {servers: ["nats://10.20.0.4:4222", "nats://10.20.0.5:4222"], credentials: bus.creds}
tls: {certificate: ada.pem, key: ada.key}
watch: papers
oidc:
  name: St. Ada account
  issuer: https://sso.ada.example
  client: myelin
  secret: oidc.secret
  claim: groups
  roles: {security: [analyst], icu-doctors: [prescriber]}
`)
	c := Config{Data: "data"}
	if err := c.Read(file); err != nil {
		t.Fatal(err)
	}
	if secret, err := c.OIDC.Secret(t.Context()); err != nil || string(secret) != "sesame" {
		t.Errorf("%q, %v", secret, err)
	}
	c.OIDC.Secret = nil
	want := Config{
		Data: "data", Site: "St. Ada Hospital", Listen: "0.0.0.0:8440", Sensors: "0.0.0.0:8441", URL: "https://myelin.ada.example", Store: dsn,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.20.0.80/32"), netip.MustParsePrefix("10.20.1.0/28"), netip.MustParsePrefix("fd00::1/128")},
		Bus:     []string{"nats://10.20.0.4:4222", "nats://10.20.0.5:4222"}, BusCredentials: filepath.Join(dir, "bus.creds"),
		Watch: filepath.Join(dir, "papers"), TLSCertificate: filepath.Join(dir, "ada.pem"), TLSKey: filepath.Join(dir, "ada.key"),
		OIDC: &access.OIDC{Name: "St. Ada account", Issuer: "https://sso.ada.example", ClientID: "myelin", Claim: "groups", Roles: map[string][]string{"security": {"analyst"}, "icu-doctors": {"prescriber"}}},
	}
	if d := cmp.Diff(want, c, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	for text, says := range map[string]string{
		"serve: 2\n":                                        "1:8",
		"serve: 1\nlistn: x\n":                              "2:1",
		"serve: 1\nurl: http://myelin.example\n":            "2:6",
		"serve: 1\nstore: {postgres: nothing.dsn}\n":        "2:19",
		"serve: 1\noidc: {name: a, issuer: b, client: c}\n": "oidc needs url",
		"serve: 1\nbus: {servers: []}\n":                    "2:",
		"serve: 1\nproxies: [10.20.0.80/]\n":                "2:11",
		"serve: 1\nproxies: [0.0.0.0/0]\n":                  "2:11",
		"serve: 1\nstore: {postgres: " + dsn + "}\n":        "2:19",
	} {
		write("wrong.yaml", text)
		err := (&Config{}).Read(filepath.Join(dir, "wrong.yaml"))
		var at *strictyaml.Error
		if !errors.As(err, &at) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}
