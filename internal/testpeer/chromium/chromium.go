// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package chromium opens a real browser for tests of pages. It is apart from package
// testpeer, which programs use too.
//
// This API follows the server and may change.
package chromium

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// patience is how long a test may look: what never comes is waited for no longer.
const patience = 8 * time.Minute

// Open opens a browser with an empty profile, and closes it at the end of the test. The
// test is skipped where there is none: Debian's package is chromium. As root it runs
// without its sandbox, which it refuses then.
func Open(t testing.TB) context.Context {
	t.Helper()
	file := ""
	for _, name := range [...]string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			file = found
			break
		}
	}
	if file == "" {
		testpeer.Missing(t, "no chromium: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(file), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	// Without a screen no window has the focus, and no page would show where its own is.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// What is wrong with a page as it stands, as scripts that return a list of texts.

// Contrast returns the texts whose contrast with what is behind them is below
// WCAG 2.2's level AA (success criterion 1.4.3) for small text. Text in pictures has its
// colour in fill, and the ground of the nearest box around the picture.
const Contrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1] }
  const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b }
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] == 1) return c } return [255, 255, 255, 1] }
  const bad = []
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const t = walk.currentNode, e = t.parentElement
    if (!t.data.trim() || !e.getClientRects().length || e.closest('title, desc, style, .skip, option')) continue
    const s = getComputedStyle(e), svg = e instanceof SVGElement
    const a = lum(parse(svg ? s.fill : s.color)), b = lum(ground(e))
    if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5) bad.push(t.data.trim().slice(0, 40))
  }
  return bad
})()`

// Overflow says what is wider than the window.
const Overflow = `(() => {
  const w = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= w) return []
  const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 1 && !e.closest('.map, .times, .skip'))
  return ['the page', ...wide.slice(0, 6).map(e => e.tagName + '.' + e.className)]
})()`

// Nameless returns what can be used and says nothing to a screen reader.
const Nameless = `[...document.querySelectorAll('a, button, input:not([type=hidden], [hidden]), select, textarea')].filter(e =>
  !(e.getAttribute('aria-label') || e.textContent.trim() && !e.matches('select, textarea') || [...(e.labels || [])].some(l => l.textContent.trim()))).map(e => e.outerHTML.slice(0, 80))`
