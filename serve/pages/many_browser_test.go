// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store/sqlite"
	"github.com/myelin-health/myelin/store/storetest"
)

// TestManyDevices has a hospital of 2,000 devices in a browser, or of MYELIN_DEVICES: what
// a page weighs does not grow with it. How long each took is in the log.
func TestManyDevices(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MYELIN_DEVICES"))
	if err != nil {
		n = 2_000
	}
	w := &ward{t: t, data: t.TempDir()}
	full, err := sqlite.Open(t.Context(), filepath.Join(w.data, "myelin.db"), time.Now)
	w.must(err)
	storetest.Fill(t, full, n)
	w.must(full.Close())
	s, err := serve.Open(t.Context(), serve.Config{Data: w.data, Listen: "127.0.0.1:0", Site: "St. Ada Hospital", Version: "0.7"})
	w.must(err)
	t.Cleanup(func() { s.Close() })
	w.http = httptest.NewServer(s.Handler())
	t.Cleanup(w.http.Close)
	w.person("te", "Tomas Eklund", access.Analyst)
	b := w.browse()
	b.look(1280, "light")
	b.signIn("te")
	for _, path := range []string{
		"/", "/devices", "/devices?ward=ward+7", "/devices?harm=catastrophic&sort=name", "/devices?q=SN0000042", "/devices?medical=1&sort=last", "/search?q=norra", "/search?q=10.0.1",
		"/findings?state=open&state=acknowledged", "/findings?state=open&harm=catastrophic&ward=ward+7", "/findings?since=24h", "/map?ward=ward+7", "/map?ward=", "/documents", "/guard", "/settings/people",
	} {
		began := time.Now()
		b.open(path)
		took := time.Since(began)
		page, err := chromedp.Run(b.ctx, chromedp.Evaluate[struct {
			Bytes, Elements int
			Answer          float64
		}](`(() => { const n = performance.getEntriesByType("navigation")[0]; return {Bytes: n.decodedBodySize, Elements: document.querySelectorAll("*").length, Answer: n.responseEnd - n.requestStart} })()`))
		w.must(err)
		t.Logf("%-50s %6.0f ms answered, %4d ms shown, %4d KiB, %5d elements: %s", path, page.Answer, took.Milliseconds(), page.Bytes>>10, page.Elements, b.text("h1"))
		if page.Bytes > 256<<10 || page.Elements > 5_000 {
			t.Errorf("%s weighs %d bytes and has %d elements", path, page.Bytes, page.Elements)
		}
		bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](chromium.Overflow))
		w.must(err)
		if len(bad) > 0 {
			t.Errorf("%s is wider than the window: %q", path, bad)
		}
	}
	if said := b.complaints("status of 403"); len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
}
