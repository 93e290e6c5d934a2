// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/serve/access"
)

var findingShots = flag.String("findingshots", "", "folder for pictures of findings, documents and search")

// The texts whose contrast is below WCAG 2.2's level AA (success criterion 1.4.3),
// what is wider than the window, and what says nothing to a screen reader.
const (
	badContrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1] }
  const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b }
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] == 1) return c } return [255, 255, 255, 1] }
  const bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const t = walk.currentNode, e = t.parentElement
    if (!t.data.trim() || !e.getClientRects().length || e.closest('title, desc, style, option, .skip, .unseen')) continue
    const s = getComputedStyle(e), a = lum(parse(e instanceof SVGElement ? s.fill : s.color)), b = lum(ground(e))
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (ratio < 4.5) bad.push(ratio.toFixed(2) + ' ' + t.data.trim().slice(0, 40))
  }
  return bad
})()`
	tooWide = `(() => {
  const w = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= w) return []
  return ['the page', ...[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 1).slice(0, 6).map(e => e.tagName + '.' + e.className)]
})()`
	nameless = `[...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea')].filter(e =>
  !(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label')?.textContent.trim())).map(e => e.outerHTML.slice(0, 80))`
)

// TestFindingsBrowser is a day's work in a real browser, first with script and then
// without: find, triage in bulk, undo, export, upload; and how the pages look.
func TestFindingsBrowser(t *testing.T) {
	s := newShelf(t, 60)
	writer := s.reader("te", access.Analyst)
	writer.send("a.json", csafOf("NORRA-2026-1", "Norra Medical", "Flow 500", "2.1.4", "Orders are accepted from anybody"), "b.json", bomOfPump, "c.json", csafOf("A-1", "Norra Medical", "Flow", "2.1.4", hostile[0]))
	s.look()

	ctx := chromium.Open(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var said []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	must(chromedp.Listen(ctx, func(e any) {
		switch e := e.(type) {
		case *log.EventEntryAdded:
			note("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		case *runtime.EventExceptionThrown:
			note("exception: %s", e.ExceptionDetails.Text)
		case *cdppage.EventJavascriptDialogOpening:
			note("a dialog opened: %s", e.Message)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(err)
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		must(chromedp.Do(ctx, actions...))
	}
	text := func(sel string) string {
		t.Helper()
		v, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector('`+sel+`')?.innerText ?? ''`))
		must(err)
		return v
	}
	see := func(sel, want string) {
		t.Helper()
		if got := text(sel); !strings.Contains(got, want) {
			t.Fatalf("%s: %q, want %q", sel, got, want)
		}
	}
	css := func(sel string) chromedp.CSS { return chromedp.CSS(sel) }
	// send does what leads to another page, and waits for it.
	send := func(action chromedp.Action[chromedp.Void]) {
		t.Helper()
		_, err := chromedp.RunResponse(ctx, action)
		must(err)
	}
	for _, script := range []bool{true, false} {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script})
		must(err)
		if script {
			do(chromedp.Navigate(s.http.URL+"/sign-in?to=/findings"), chromedp.SendKeys(css("input[name=login]"), "te"), chromedp.SendKeys(css("input[name=password]"), shelfPassword))
			send(chromedp.Click(css("form.ask button")))
		} else {
			do(chromedp.Navigate(s.http.URL + "/findings?state=open"))
		}
		n := map[bool]int{true: 60, false: 59}[script] // one is acknowledged by then
		see("h1", fmt.Sprintf("%d open findings", n))
		do(chromedp.Click(css(`tbody tr:nth-child(1) input[name=id]`)), chromedp.Click(css(`tbody tr:nth-child(3) input[name=id]`)),
			chromedp.SetValue(css(`[data-test=state]`), "false-positive"), chromedp.SetValue(css(`[data-test=justification]`), "component_not_present"),
			chromedp.SendKeys(css(`[data-test=reason]`), "another model"))
		send(chromedp.Click(css(`[data-test=triage]`)))
		see(`[data-test=said]`, "2 findings are false-positive now.")
		see("h1", fmt.Sprintf("%d open findings", n-2))
		send(chromedp.Click(css(`[data-test=said] button`)))
		see(`[data-test=said]`, "2 changes put back.")
		see("h1", fmt.Sprintf("%d open findings", n))
		do(chromedp.SendKeys(css(`[data-test=words]`), map[bool]string{true: "pump-11", false: "pump-12"}[script]))
		send(chromedp.Click(css(`form.words button`)))
		see("h1", "1 open finding")
		do(chromedp.Click(css(`[data-test=all]`)), chromedp.SetValue(css(`[data-test=state]`), "acknowledged"))
		send(chromedp.Click(css(`[data-test=triage]`)))
		see(`[data-test=said]`, "1 finding is acknowledged now.")
	}
	shots := func(name, path string) {
		t.Helper()
		do(chromedp.Navigate(s.http.URL + path))
		for _, width := range []int64{1440, 1024, 390} {
			_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
			must(err)
			for _, scheme := range [...]string{"light", "dark"} {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				must(err)
				for what, js := range map[string]string{"wider than the window": tooWide, "too little contrast": badContrast, "without a name": nameless} {
					bad, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](js))
					must(err)
					if len(bad) > 0 {
						t.Errorf("%s at %d, %s: %s: %q", name, width, scheme, what, bad)
					}
				}
				if *findingShots != "" {
					picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
					must(err)
					must(os.WriteFile(filepath.Join(*findingShots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600))
				}
			}
		}
		if *findingShots != "" {
			own := true
			paper, err := chromedp.Call(ctx, cdppage.PrintToPDF, cdppage.PrintToPDFParams{PaperWidth: 8.27, PaperHeight: 11.69, PreferCSSPageSize: &own})
			must(err)
			must(os.WriteFile(filepath.Join(*findingShots, name+".pdf"), paper.Data, 0o600))
		}
	}
	var l struct {
		Rows []struct{ ID, Digest, Title string }
	}
	writer.json("/findings?q=CVE-2026-0007", &l)
	shots("findings", "/findings?state=open&state=acknowledged")
	shots("finding", "/findings/"+l.Rows[0].ID)
	shots("search", "/search?q=norra")
	shots("documents", "/documents")
	writer.json("/documents?kind=csaf", &l)
	shots("document", "/documents/"+l.Rows[0].Digest)
	shots("none", "/findings?q=nothing-has-this")
	mu.Lock()
	defer mu.Unlock()
	if len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
}
