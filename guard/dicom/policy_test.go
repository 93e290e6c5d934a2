// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/testpeer"
)

const head = `name: archive
kind: dicom
device: pacs
protects: server
listen: {address: "127.0.0.1:0", clear: a test}
forward: "127.0.0.1:104"
bypass: none
`

func TestReadPolicy(t *testing.T) {
	p := policy(t, head+`verbs: [C-ECHO, C-STORE]
sop-classes: [verification, "1.2.840.10008.5.1.4.1.1.4"]
destinations: [WS1, WS2]
associations:
  - {calling: CT1, called: ADAPACS}
  - {calling: VIEW1, called: ADAPACS, access: read-only, sop-classes: any, transfer-syntaxes: uncompressed, destinations: []}
routes: {ADAPACS: "10.20.8.20:11112"}
bounds: {pdu-bytes: 16384, object-bytes: 1000, associations: 3, per-ae: 2, requests: 7}`)
	ct, view := &p.rules[0], &p.rules[1]
	if ct.verbs != verbsOf("C-ECHO", "C-STORE") || !ct.classes.has([]byte(mrStorage)) || ct.classes.has([]byte(ctStorage)) || !ct.classes.has([]byte(echo)) || !ct.syntaxes.any || !slices.Equal(ct.destinations, []string{"WS1", "WS2"}) {
		t.Errorf("as usual: %+v", ct)
	}
	if view.verbs != readOnly || !view.classes.any || view.syntaxes.any || !view.syntaxes.has([]byte(explicitLE)) || view.syntaxes.has([]byte(jpeg)) || len(view.destinations) != 0 {
		t.Errorf("of its own: %+v", view)
	}
	if p.pduBytes != 16384 || p.objectBytes != 1000 || p.associations != 3 || p.perAE != 2 || p.requests != 7 || p.routes["ADAPACS"] != "10.20.8.20:11112" {
		t.Errorf("bounds: %+v", p)
	}
	if u, reason, _ := p.ruleOf("CT1", "ADAPACS", nil); u != ct || reason != 0 {
		t.Error("the pair is not found")
	}
}

// TestReadPolicyErrors: what is wrong is named where it stands.
func TestReadPolicyErrors(t *testing.T) {
	cert, key := testpeer.Certificate(t)
	secure := strings.Replace(head, "clear: a test", fmt.Sprintf("tls: {certificate: %q, key: %q, authorities: %q}", cert, key, cert), 1)
	client := strings.NewReplacer("server", "client", `forward: "127.0.0.1:104"`, `forward: {address: "127.0.0.1:104", clear: a test}`).Replace(head)
	const one = "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO, sop-classes: any}]\n"
	for _, tt := range []struct{ text, want string }{
		{head, "lacks the key associations"},
		{head + one + "verb: C-ECHO", "11:3: front has no key"},
		{head + one + "verbs: [C-ECHO, C-SING]", "11:19: verbs cannot be \"C-SING\""},
		{head + one + "verbs: C-ECHO\naccess: read-only", "12:11: access is a word for verbs"},
		{head + one + "sop-classes: [storage, movies]", "11:26: sop-classes cannot be \"movies\""},
		{head + one + "sop-classes: [any, storage]", "11:17: sop-classes cannot be \"any\""},
		{head + one + "transfer-syntaxes: jpeg", "11:22: transfer-syntaxes cannot be \"jpeg\""},
		{head + one + "destinations: [\"WS1\\\\WS2\"]", "11:18: destinations has to be an AE title"},
		{head + "associations: [{calling: CT1, called: ADAPACS, sop-classes: any}]", "10:18: what \"CT1\" may ask for is not said"},
		{head + "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO}]", "10:18: for which SOP classes is not said"},
		{head + "associations: [{called: ADAPACS}]", "lacks the key calling"},
		{head + "associations: [{calling: ABCDEFGHIJKLMNOPQ, called: ADAPACS}]", "10:28: calling has to be an AE title"},
		{head + "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO, sop-classes: any, certificate: any}]", "shows no certificate here"},
		{secure + one, "lacks the key certificate"},
		{secure + "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO, sop-classes: any, certificate: \"sha256:12\"}]", "64 hexadecimal digits"},
		{secure + "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO, sop-classes: any, certificate: \"name:CT1\"}]", "certificate has to be sha256:, subject: or san:"},
		{secure + "associations: [{calling: CT1, called: ADAPACS, verbs: C-ECHO, sop-classes: any, certificate: [any, \"san:ct1\"]}]", "certificate has to be sha256:, subject: or san:"},
		{client + "access: read-only\nassociations: []", "10:11: what a device sends is never refused"},
		{head + one + "routes: {WS1: \"10.0.0.1:104\"}", "no route has \"ADAPACS\""},
		{head + one + "routes: {ADAPACS: here}", "a route has to be host:port"},
		{head + one + "bounds: {pdu-bytes: 4095}", "pdu-bytes has to be a whole number from 4096"},
		{head + one + "bounds: {object-bytes: 0}", "object-bytes has to be a whole number from 1"},
	} {
		_, err := read(tt.text, ".")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v\nwant %q of\n%s", err, tt.want, tt.text)
		}
	}
}

// TestDocumentation reads the configuration that docs/guard-dicom.md shows.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/guard-dicom.md")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := testpeer.Certificate(t)
	dir := filepath.Dir(cert)
	for from, to := range map[string]string{cert: "front.pem", key: "front.key"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{to, strings.Replace(to, "front.pem", "hospital.pem", 1)} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var fronts []string
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, "    - name"); ok {
			fronts = append(fronts, "name"+text)
		} else if text, ok = strings.CutPrefix(line, "      "); ok && len(fronts) > 0 {
			fronts[len(fronts)-1] += text
		}
	}
	if len(fronts) != 2 {
		t.Fatalf("%d fronts", len(fronts))
	}
	for _, text := range fronts {
		if _, err := read(text, dir); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
