// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/myelin-health/myelin/serve/access"
)

// at is what has the focus.
func (b *tab) at() string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`(() => { const e = document.activeElement; return (e.labels?.[0] ?? e).innerText.trim() || e.name || e.tagName })()`))
	b.must(err)
	return s
}

func (b *tab) key(keys string, options ...chromedp.KeyOption) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys, options...))
}

// tabTo presses Tab until something has the focus.
func (b *tab) tabTo(what string) {
	b.t.Helper()
	for range 200 {
		if strings.HasPrefix(b.at(), what) {
			return
		}
		b.key(kb.Tab)
	}
	b.t.Fatalf("Tab does not reach %q; it is at %q", what, b.at())
}

// TestKeysAlone does what an analyst does with a keyboard and nothing else: the first Tab
// skips the head, the order is that of the page, and each act can be done.
func TestKeysAlone(t *testing.T) {
	w := newWard(t)
	w.person("te", "Tomas Eklund", access.Analyst)
	b := w.browse()
	b.look(1280, "light")
	b.open("/sign-in?to=/findings")
	b.key(kb.Tab)
	if at := b.at(); at != "To the page" {
		t.Errorf("the first Tab is at %q", at)
	}
	b.key(kb.Enter)
	b.key(kb.Tab)
	b.key("te")
	b.key(kb.Tab)
	b.key(password)
	b.send(chromedp.KeyEvent(kb.Enter))
	b.see("h1", "open findings")

	// Two of the list, decided and taken back.
	b.key("j")
	first := b.at()
	b.key("x")
	b.key("j")
	if b.at() == "" || b.count("input[name=id]:checked") != 1 {
		t.Errorf("at %q then %q, %d ticked", first, b.at(), b.count("input[name=id]:checked"))
	}
	b.tabTo("Choose")
	b.key(" ")
	b.tabTo("State")
	b.key("ackn")
	b.tabTo("Reason")
	b.key("read in the round")
	b.tabTo("Apply")
	b.send(chromedp.KeyEvent(kb.Enter))
	b.see("[data-test=said]", "2 findings are acknowledged now.")
	b.tabTo("Undo")
	b.send(chromedp.KeyEvent(kb.Enter))
	b.see("[data-test=said]", "2 changes put back.")

	// To another page, to a device, and to what is not seen before it is opened.
	b.key("g")
	b.send(chromedp.KeyEvent("d"))
	b.see("h1", "devices are known")
	b.key("j")
	b.send(chromedp.KeyEvent(kb.Enter))
	b.tabTo("Change")
	b.key(kb.Enter)
	b.tabTo("Ward")
	b.key("ICU 9")
	b.tabTo("Keep")
	b.send(chromedp.KeyEvent(kb.Enter))
	b.see("[data-test=ward]", "ICU 9")

	// Keys say what they do, and can be turned off.
	b.send(chromedp.KeyEvent("?", chromedp.KeyModifiers(chromedp.ModifierShift)))
	b.see("h1", "Keys, shapes and words.")
	b.tabTo("Turn keys off")
	b.key(" ")
	b.open("/devices")
	b.key("/")
	if b.count("body:focus, input:focus") > 0 {
		t.Errorf("keys are off, and / went to %q", b.at())
	}
	if said := b.complaints(); len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
}
