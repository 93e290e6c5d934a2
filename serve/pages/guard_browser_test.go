// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
)

// TestGuardBrowser watches a verdict arrive, confirms what waits, and does the same
// without script. With MYELIN_SHOTS it leaves pictures there.
func TestGuardBrowser(t *testing.T) {
	d := newWard(t)
	d.keeps(60)
	d.sends(d.verdict(device.Deny, "<script>alert(1)</script>", "9 mL/h", "over the limit of 8 mL/h"), d.verdict(device.Hold, "emr", "0.8 ug/kg/min", "four times what runs now"))
	d.guards()
	d.emergency()
	d.doubts(5, "the link broke")
	d.waits("7", "emr")

	ctx := chromium.Open(t)
	var mu sync.Mutex
	var said []string
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *log.EventEntryAdded:
			said = append(said, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
		case *runtime.EventExceptionThrown:
			said = append(said, "exception: "+e.ExceptionDetails.Text)
		case *page.EventJavascriptDialogOpening:
			said = append(said, "a dialog opened: "+e.Message)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(err)
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, a := range actions {
			must(chromedp.Do(ctx, a))
		}
	}
	ask := func(script string) bool {
		t.Helper()
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		if err != nil && strings.Contains(err.Error(), "navigated") { // the page went on while it was asked
			return false
		}
		must(err)
		return yes
	}
	// until polls in the page, with its own clock: there is no event for "the words are there".
	until := func(what, script string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ask(script); {
			if time.Now().After(end) {
				text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
				t.Fatalf("%s: never\n%s", what, text)
			}
		}
	}
	shots := os.Getenv("MYELIN_SHOTS")
	shot := func(name string) {
		t.Helper()
		for _, width := range []int64{1440, 1024, 390} {
			for _, scheme := range []string{"light", "dark"} {
				_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 1100, DeviceScaleFactor: 1})
				must(err)
				_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				must(err)
				if !ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth") {
					t.Errorf("%s is wider than %d px", name, width)
				}
				if shots != "" {
					b, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
					must(err)
					must(os.WriteFile(filepath.Join(shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), b, 0o600))
				}
			}
		}
		_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1440, Height: 1100, DeviceScaleFactor: 1})
		must(err)
	}
	print := func(name string) {
		t.Helper()
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		must(err)
		if ask(`[...document.querySelectorAll(".bar nav, .filters, form, .live")].some(e => e.getClientRects().length > 0)`) {
			t.Errorf("%s: a print has what nobody can press on paper", name)
		}
		if shots != "" {
			b, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			must(err)
			must(os.WriteFile(filepath.Join(shots, name+"-print.png"), b, 0o600))
		}
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
		must(err)
	}
	signIn := func(login, to string) {
		t.Helper()
		do(chromedp.Navigate(d.http.URL + "/sign-in?to=" + url.QueryEscape(to)))
		ask(`document.querySelector("main input[name=login]").value = "` + login + `"; document.querySelector("main input[name=password]").value = "` + goodPassword + `"; document.querySelector("main form").submit(); true`)
		until("signed in as "+login, `location.pathname === "`+to+`" && document.readyState === "complete"`)
	}
	signIn("holm", "/guard")
	until("the page listens", `document.body.dataset.connected !== undefined`)
	shot("guard")
	print("guard")
	d.sends(d.verdict(device.Deny, "emr", "12 mL/h", "arrived while somebody looked"))
	until("the verdict", `document.querySelector("#verdicts").innerText.includes("arrived while somebody looked")`)

	// While it is paused, nothing moves.
	ask(`[...document.querySelectorAll("[data-status] button")].find(b => b.textContent === "Pause").click(); true`)
	d.sends(d.verdict(device.Deny, "emr", "13 mL/h", "came in the pause"))
	until("the count", `document.querySelector("[data-status]").innerText.includes("1 change is not shown yet")`)
	if ask(`document.querySelector("#verdicts").innerText.includes("came in the pause")`) {
		t.Error("the list moved while it was paused")
	}
	ask(`[...document.querySelectorAll("[data-status] button")].find(b => b.textContent === "Show").click(); true`)
	until("what came in the pause", `document.querySelector("#verdicts").innerText.includes("came in the pause")`)

	ask(`document.querySelector("[data-test=decide]").click(); true`)
	until("the form", `document.readyState === "complete" && !!document.querySelector("[data-test=confirm]")`)
	shot("held")
	print("held")
	ask(`document.querySelector("[data-test=reason]").value = "seen at the bed"; document.querySelector("[data-test=confirm]").click(); true`)
	until("confirmed", `location.pathname === "/guard" && !!document.querySelector("[data-test=said]") && document.querySelector("[data-test=said]").innerText.includes("You confirmed")`)
	d.mu.Lock()
	asked := strings.Join(d.asked, "\n")
	d.mu.Unlock()
	if asked != "g1 | 7 | confirm | holm | prescriber | seen at the bed" {
		t.Errorf("the guard was asked %q", asked)
	}

	// Without script.
	_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	must(err)
	d.waits("8", "emr")
	do(chromedp.Navigate(d.http.URL + "/guard"))
	if !ask(`document.querySelector("[data-status]").innerText.includes("Reload") && !!document.querySelector("[data-test=decide]")`) {
		t.Error("without script there is no way to renew or to decide")
	}
	do(chromedp.Navigate(d.http.URL + "/guard/g1/doubts/5"))
	shot("doubt")
	do(chromedp.Navigate(d.http.URL + "/guard/g1/limits/pump-3"))
	shot("limits")
	print("limits")
	signIn("ada", "/ledger")
	shot("ledger")
	do(chromedp.Navigate(d.http.URL + "/ledger/7"))
	shot("entry")
	mu.Lock()
	defer mu.Unlock()
	said = slices.DeleteFunc(said, func(s string) bool { return strings.Contains(s, "Autocomplete") })
	if len(said) > 0 {
		t.Errorf("the browser said %q", said)
	}
}
