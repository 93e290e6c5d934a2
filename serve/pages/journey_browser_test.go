// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/myelin-health/myelin/internal/testpeer/chromium"
)

// send does what leads to another page, and waits for it.
func (b *tab) send(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	_, err := chromedp.RunResponse(b.ctx, actions...)
	b.must(err)
}

// see is what the page has to say, before anything else is done.
func (b *tab) see(selector, want string) {
	b.t.Helper()
	if got := b.text(selector); !strings.Contains(got, want) {
		b.t.Fatalf("%s says %q, not %q", selector, got, want)
	}
}

// until loads a page until it says something: a ledger signs once in a while.
func (b *tab) until(path, selector, want string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(b.text("main"), want); b.open(path) {
		if time.Now().After(end) {
			b.see(selector, want)
		}
	}
	b.see(selector, want)
}

func (b *tab) count(selector string) int {
	b.t.Helper()
	n, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](`document.querySelectorAll(`+fmt.Sprintf("%q", selector)+`).length`))
	b.must(err)
	return n
}

func css(selector string) chromedp.CSS { return chromedp.CSS(selector) }

// words finds an element by its text.
func words(element, text string) chromedp.Search {
	return chromedp.Search(fmt.Sprintf(`//main//%s[normalize-space(.)=%q]`, element, text))
}

// download clicks a link, and returns the file that comes of it.
func (b *tab) download(link string) []byte {
	b.t.Helper()
	dir, yes := b.t.TempDir(), true
	_, err := chromedp.Call(b.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: &yes})
	b.must(err)
	progress := chromedp.Events(b.ctx, browser.DownloadProgress)
	b.do(chromedp.Click(css(link)))
	for e, err := range progress {
		b.must(err)
		switch e.State {
		case browser.DownloadProgressStateCompleted:
			file, err := os.ReadFile(filepath.Join(dir, e.GUID))
			b.must(err)
			return file
		case browser.DownloadProgressStateCanceled:
			b.t.Fatalf("%s: the download broke off", link)
		}
	}
	b.t.Fatalf("%s: nothing came", link)
	return nil
}

// TestJourney is a first day with a server, from the set-up link to the verified ledger,
// by clicks and keys alone: with script, without, and in a hand.
func TestJourney(t *testing.T) {
	for _, how := range []struct {
		name   string
		script bool
		width  int64
		scheme string
	}{{"script", true, 1280, "light"}, {"no script, dark", false, 1280, "dark"}, {"phone", true, 390, "light"}} {
		t.Run(how.name, func(t *testing.T) {
			w := newWard(t)
			b := w.browse()
			b.look(how.width, how.scheme)
			b.script(how.script)
			fits := func() {
				t.Helper()
				bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](chromium.Overflow))
				w.must(err)
				if len(bad) > 0 {
					t.Errorf("%s is wider than %d px: %q", b.text("h1"), how.width, bad)
				}
			}
			// The first person, by the link that the server printed.
			b.open(w.link)
			b.do(chromedp.SendKeys(css("input[name=login]"), "ada.berg"), chromedp.SendKeys(css("input[name=name]"), "Ada Berg"), chromedp.SendKeys(css("input[name=password]"), password))
			b.send(chromedp.Click(words("button", "Begin")))
			b.see("h1", "action now")
			b.see("[data-test=changed]", "catastrophic")
			fits()

			// She adds Tomas, who sets his password by a link of his own.
			b.send(chromedp.Click(chromedp.Search(`//nav//a[.="Settings"]`)))
			b.send(chromedp.Click(words("a", "People")))
			b.do(chromedp.SendKeys(css("main input[name=login]"), "tomas.eklund"), chromedp.SendKeys(css("main input[name=name]"), "Tomas Eklund"), chromedp.Click(css(`main input[value=analyst]`)))
			b.send(chromedp.Click(words("button", "Add")))
			link := b.text("[data-test=link] code")
			fits()
			b.send(chromedp.Click(css("form.out button")))
			b.open(link[strings.Index(link, "/password/"):])
			b.do(chromedp.SendKeys(css("main input[name=password]"), password))
			b.send(chromedp.Click(words("button", "Set it and sign in")))
			b.see("form.out", "Tomas Eklund")

			// Find a device from wherever one is.
			if how.script {
				b.do(chromedp.KeyEvent("/"), chromedp.KeyEvent("pump-3"))
			} else {
				b.do(chromedp.SendKeys(css("header input[type=search]"), "pump-3"))
			}
			b.send(chromedp.KeyEvent(kb.Enter))
			b.see("h1", "device")
			fits()
			b.send(chromedp.Click(words("a", "pump-3")))
			b.see("h1", "pump-3")
			b.see(".is + .lead", "What could hurt the patient")
			fits()

			// Open what was found about it, say that somebody works on it, and take that back.
			b.send(chromedp.Click(css("tr[data-test=finding] th a")))
			b.see("[data-test=is]", "open")
			b.see("#do + p", ".")
			b.do(chromedp.SendKeys(css("[data-test=reason]"), "the maker is asked"))
			b.send(chromedp.Click(css("[data-test=to-acknowledged]")))
			b.see("[data-test=is]", "acknowledged")
			b.see(".history", "the maker is asked")
			fits()
			b.send(chromedp.Click(css("[data-test=said] button")))
			b.see("[data-test=is]", "open")

			// Narrow the list to a ward, decide about two in one go, and take that back.
			b.send(chromedp.Click(chromedp.Search(`//nav//a[.="Findings"]`)))
			if how.width < 900 {
				b.do(chromedp.Click(words("summary", "Narrow the list")))
			}
			b.send(chromedp.Click(chromedp.Search(`//aside//a[bdi="ICU"]`)))
			before := b.text("h1")
			list := b.count("tr[data-test=finding]")
			if list < 3 {
				t.Fatalf("%d findings in the ICU", list)
			}
			b.do(chromedp.Click(css("tbody tr:nth-child(1) input[name=id]")), chromedp.Click(css("tbody tr:nth-child(3) input[name=id]")),
				chromedp.SetValue(css("[data-test=state]"), "false-positive"), chromedp.SetValue(css("[data-test=justification]"), "component_not_present"),
				chromedp.SendKeys(css("[data-test=reason]"), "another model"))
			b.send(chromedp.Click(css("[data-test=triage]")))
			b.see("[data-test=said]", "2 findings are false-positive now.")
			if n := b.count("tr[data-test=finding]"); n != list-2 {
				t.Errorf("%d of %d findings are left", n, list)
			}
			fits()
			b.send(chromedp.Click(css("[data-test=said] button")))
			b.see("[data-test=said]", "2 changes put back.")
			b.see("h1", before)

			// Take the list along: exactly these rows, in this order.
			shown, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("tr[data-test=finding] td[data-head=What] a")].map(a => a.getAttribute("href").replace("/findings/", ""))`))
			w.must(err)
			rows, err := csv.NewReader(strings.NewReader(string(b.download("[data-test=csv]")))).ReadAll()
			w.must(err)
			var objects []struct{ ID string }
			w.must(json.Unmarshal(b.download("[data-test=json]"), &objects))
			var inCSV, inJSON []string
			for _, r := range rows[1:] {
				inCSV = append(inCSV, r[slices.Index(rows[0], "id")])
			}
			for _, o := range objects {
				inJSON = append(inJSON, o.ID)
			}
			if !slices.Equal(inCSV, shown) || !slices.Equal(inJSON, shown) {
				t.Errorf("the list has %q, its CSV %q, its JSON %q", shown, inCSV, inJSON)
			}

			// Two devices are one; no, they are not.
			b.open("/devices/" + w.client("tomas.eklund").named("mon-3"))
			b.send(chromedp.Click(css("[data-test=to-merge]")))
			b.do(chromedp.SendKeys(css("[data-test=with]"), "vent-3"))
			b.send(chromedp.Click(words("button", "Look")))
			fits()
			b.do(chromedp.Click(words("label", "vent-3")), chromedp.SendKeys(css("[data-test=why]"), "one housing"))
			b.send(chromedp.Click(css("[data-test=merge]")))
			b.see("[data-test=said]", "vent-3 is mon-3 from now on.")
			if b.count("tr[data-test=merged]") == 0 {
				t.Error("the page has no merge")
			}
			b.send(chromedp.Click(css("[data-test=said] button")))
			b.see("[data-test=said]", "They are two devices from now on.")
			b.see("tr[data-test=merged]", "parted by tomas.eklund")
			fits()

			// What the sensor takes for one device is two; no, it is not.
			b.do(chromedp.Click(css("[data-test=to-split]")), chromedp.Click(css("form[action$='/split'] input[type=checkbox]")), chromedp.SendKeys(css("[data-test=split-why]"), "a hub between them"))
			fits()
			b.send(chromedp.Click(css("[data-test=split]")))
			b.see("[data-test=said]", "another device from now on.")
			b.see("tr[data-test=split-off]", "a hub between them")
			b.see("section[aria-labelledby=timeline]", "a hub between them")
			fits()
			b.send(chromedp.Click(css("[data-test=said] button")))
			b.see("[data-test=said]", "They are one device from now on.")
			b.see("tr[data-test=split-off]", "brought back by tomas.eklund")
			fits()

			// All of that is in the ledger, as it was signed.
			b.send(chromedp.Click(chromedp.Search(`//nav//a[.="Ledger"]`)))
			b.until("/ledger", "main table", "part devices")
			b.see("main table", "merge devices")
			b.send(chromedp.Click(css("[data-test=verify]")))
			b.until("/ledger", "[data-test=verification]", "as it was signed")
			fits()
			b.send(chromedp.Click(css("tr[data-test=entry] a")))
			b.see("[data-test=answer]", "is in the ledger as it was signed")
			fits()

			ground, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
			w.must(err)
			if dark := map[string]string{"light": "rgb(244, 246, 248)", "dark": "rgb(16, 21, 26)"}[how.scheme]; ground != dark {
				t.Errorf("in the %s the page is %s", how.scheme, ground)
			}
			if said := b.complaints(); len(said) > 0 {
				t.Errorf("the browser complained: %q", said)
			}
		})
	}
}
