// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
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
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
)

var shots = flag.String("shots", "", "write pictures of the page to this folder, for eyes")

// hostileWard has names that try to break the page.
func hostileWard() *Assessment {
	a := sampleWard()
	names := []string{
		"<script>alert(1)</script>", strings.Repeat("very-long-name", 22), "מכשיר-הנשמה-3", "x\u202egnp.exe", `"><img src=x onerror=alert(1)>`,
		"</style></title><b>", "{{.Version}}", "javascript:alert(1)",
	}
	for i, n := range names {
		d := &a.Devices[i]
		d.Manufacturer, d.Version = n, n
		d.Addresses = append(d.Addresses, device.Address{Kind: device.Host, Value: n})
		for j := range d.Addresses {
			if d.Addresses[j].Kind == device.Host || d.Addresses[j].Kind == device.AET {
				d.Addresses[j].Value = n
			}
		}
		f := &a.Findings[i]
		f.Title, f.Peer = n, n
		for j := range f.Sightings {
			f.Sightings[j].Note = n
		}
		a.Sessions[i].Protocol = n
	}
	a.Inputs[0].Path, a.Inputs[1].Error = names[1], names[0]
	a.Stats.Lost[names[4]] = 1
	return a
}

// radioWard has a programmer that nothing is known of, and the log of its radio.
func radioWard() *Assessment {
	a := sampleWard()
	a.Inputs[1].Path, a.Inputs[1].Kind = "testdata/ward/02-attack.jsonl", "frame-log"
	for i, d := range []device.Device{
		{Product: device.Product{Manufacturer: "Halden Cardio", Model: "Rhythm S", Class: "pacemaker and defibrillator", Therapy: device.Pacing, Harm: device.Catastrophic}, Medical: true},
		{},
	} {
		d.Addresses = []device.Address{{Kind: device.Radio, Value: fmt.Sprintf("radio-%d", i+1)}}
		d.ID = device.IDOf("sample", d.Addresses[0].Value)
		a.Devices = append(a.Devices, d)
	}
	return a
}

// crampedScript returns the texts of the map that touch the edge of their box.
const crampedScript = `[...document.querySelectorAll('svg svg > text.label, svg svg > text.kind')].filter(t => {
  const text = t.getBBox()
  return text.x + text.width > t.parentElement.width.baseVal.value - 5
}).map(t => t.textContent)`

const brokenLinksScript = `[...document.querySelectorAll('a')].map(a => a.getAttribute('href')).filter(h => !h.startsWith('#') || !document.getElementById(h.slice(1)))`

// maxSheets is how long a printed report may be: so much is read.
const maxSheets = 8

// TestBrowser looks at the page in a real browser: light, dark, wide, narrow.
func TestBrowser(t *testing.T) {
	ctx := chromium.Open(t)
	var mu sync.Mutex
	var said []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	listen := func(e any) {
		switch e := e.(type) {
		case *log.EventEntryAdded:
			note("%s: %s", e.Entry.Level, e.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			note("console.%s", e.Type)
		case *runtime.EventExceptionThrown:
			note("exception: %s", e.ExceptionDetails.Text)
		case *page.EventJavascriptDialogOpening:
			note("a dialog opened: %s", e.Message)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(chromedp.Listen(ctx, listen))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(err)
	_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	must(err)
	unfold := func(which string) {
		t.Helper()
		must(chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll('details')) d.open = d.matches('`+which+`')`)))
	}
	widths := []int64{1280, 390}
	if *shots != "" {
		widths = []int64{1440, 1280, 1024, 390}
	}
	for name, a := range map[string]*Assessment{"ward": sampleWard(), "hostile": hostileWard(), "radio": radioWard(), "empty": {Version: "v0.1.0"}} {
		var b bytes.Buffer
		must(HTML(&b, a))
		file := filepath.Join(t.TempDir(), name+".html")
		must(os.WriteFile(file, b.Bytes(), 0o600))
		must(chromedp.Do(ctx, chromedp.Navigate("file://"+file)))
		for _, width := range widths {
			_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
			must(err)
			for _, scheme := range [...]string{"light", "dark"} {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				})
				must(err)
				unfold("*")
				scripts := map[string]string{"wider than the window": chromium.Overflow, "too little contrast": chromium.Contrast, "links lead nowhere": brokenLinksScript}
				if name != "hostile" { // what is of the widest letters is cut at the edge
					scripts["touches the edge of its box"] = crampedScript
				}
				for what, script := range scripts {
					bad, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](script))
					must(err)
					if len(bad) > 0 {
						t.Errorf("%s at %d, %s: %s: %q", name, width, scheme, what, bad)
					}
				}
				if *shots != "" {
					unfold("article:nth-of-type(1) details")
					picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
					must(err)
					must(os.WriteFile(filepath.Join(*shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600))
				}
			}
		}
		unfold("none")
		wide, high, own := 8.27, 11.69, true
		paper, err := chromedp.Call(ctx, page.PrintToPDF, page.PrintToPDFParams{PaperWidth: wide, PaperHeight: high, PreferCSSPageSize: &own})
		must(err)
		if n := bytes.Count(paper.Data, []byte("/Type /Page\n")); n == 0 || name == "ward" && n > maxSheets {
			t.Errorf("%s: %d printed pages, of at most %d", name, n, maxSheets)
		}
		if *shots != "" {
			must(os.WriteFile(filepath.Join(*shots, name+".pdf"), paper.Data, 0o600))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
}
