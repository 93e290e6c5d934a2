// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package chromium

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// Axe returns the script of axe-core, whose file MYELIN_AXE names. It is not Debian's:
// .ci/run has it from npm, for tests alone. Without it the test is skipped, but not in CI.
func Axe(t testing.TB) string {
	t.Helper()
	file := os.Getenv("MYELIN_AXE")
	if file == "" {
		testpeer.Missing(t, "no axe-core: 'npm pack axe-core', and MYELIN_AXE=package/axe.min.js of what it brings")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// axeRules are those of WCAG 2.2 up to level AA, and what axe-core calls best practice.
const axeRules = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]`

// Violations returns what a script of [Axe] has against the page as it stands: rule,
// how bad, and up to four elements. Where only colours changed since it was asked, it
// looks at these alone.
func Violations(ctx context.Context, axe string, colours bool) ([]string, error) {
	only := axeRules
	if colours {
		only = `["color-contrast"]`
	}
	there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`typeof axe == "object"`))
	if err == nil && !there {
		_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](axe+"\n;true"))
	}
	if err != nil {
		return nil, fmt.Errorf("axe-core: %w", err)
	}
	return chromedp.Run(ctx, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ["violations"], rules: {"target-size": {enabled: true}}, runOnly: `+only+`}).then(r => r.violations.map(v =>
  v.id + " (" + v.impact + "): " + v.nodes.slice(0, 4).map(n => n.target.join(" ") + " " + n.any.concat(n.all, n.none).map(c => c.message).join("; ")).join(" | ")))`, chromedp.EvalAwaitPromise))
}

// Unseen goes through all that takes the focus, and returns where one does not see it:
// without an outline, or behind what sticks to the window's edges (WCAG 2.2, success
// criteria 2.4.7 and 2.4.11).
const Unseen = `(() => {
  const bad = []
  for (const e of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')) {
    if (!e.checkVisibility() || e.disabled || e.closest('details:not([open]) > :not(summary)')) continue
    e.focus({focusVisible: true})
    if (document.activeElement != e) continue
    const s = getComputedStyle(e), b = e.getBoundingClientRect(), said = e.outerHTML.slice(0, 80)
    if (e.tagName != 'a' || !e.closest('svg')) if (s.outlineStyle == 'none' || parseFloat(s.outlineWidth) < 2) { bad.push('no outline: ' + said); continue }
    const at = document.elementFromPoint(Math.min(Math.max(b.left + b.width / 2, 0), innerWidth - 1), Math.min(Math.max(b.top + Math.min(b.height / 2, 8), 0), innerHeight - 1))
    if (b.bottom <= 0 || b.top >= innerHeight || at && at.closest('.bar') && !e.closest('.bar')) bad.push('hidden: ' + said)
  }
  document.activeElement.blur()
  scrollTo(0, 0)
  return bad
})()`
