// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/url"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/serve/access"
)

func TestReceivers(t *testing.T) {
	d := newWard(t)
	var err error
	if d.pages.Sealer, err = access.OpenSealer(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	ada := d.client("ada")
	add := func(kind, id, address string) (string, int) {
		return d.post(ada, "/settings/receivers", url.Values{"kind": {kind}, "id": {id}, "address": {address}})
	}
	page, status := add("webhook", "cmms", "https://cmms.example/hook/a-secret-path")
	if status != 200 || !strings.Contains(page, `data-test="secret"`) || strings.Contains(page, "a-secret-path") {
		t.Errorf("a webhook: %d\n%s", status, page)
	}
	if page, _ := d.get(ada, "/settings/receivers"); strings.Contains(page, `data-test="secret"`) || !strings.Contains(page, "https://cmms.example/…") {
		t.Errorf("the list:\n%s", page)
	}
	for _, bad := range [][3]string{{"webhook", "b", "http://cmms.example/"}, {"webhook", "cmms", "https://x.example"}, {"webhook", "../x", "https://x.example"}, {"pigeon", "c", "x:1"}, {"syslog", "d", "nowhere"}, {"mail", "e", "relay:25"}} {
		if page, status := add(bad[0], bad[1], bad[2]); status != 422 || strings.Contains(page, `data-test="secret"`) {
			t.Errorf("%q: %d", bad, status)
		}
	}
	if last := d.recorded[len(d.recorded)-1]; !strings.HasPrefix(last, "ada | add receiver | webhook cmms") {
		t.Errorf("the ledger has %q", last)
	}
	if _, status := d.get(d.client("holm"), "/settings/receivers"); status != 403 {
		t.Errorf("a clinician saw it: %d", status)
	}
	if page, status := d.post(ada, "/settings/receivers/webhook/cmms/remove", url.Values{}); status != 200 || !strings.Contains(page, "No system outside is told") {
		t.Errorf("removed: %d\n%s", status, page)
	}
}
