// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
)

var shots = flag.String("shots", "", "write pictures of the pages to this folder, for eyes")

var noon = time.Date(2026, 3, 3, 7, 9, 30, 0, time.UTC)

func quantity(t testing.TB, s string) device.Quantity {
	t.Helper()
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// samplePages are the pages of the ward's morning; bad is put where names stand.
func samplePages(t testing.TB, p *page, bad string) map[string]any {
	t.Helper()
	name := func(s string) string {
		if bad != "" {
			return bad
		}
		return s
	}
	at := func(d time.Duration) when { return whenOf(noon.Add(-d), noon) }
	who := &viewer{Person: Person{ID: "mh", Role: "prescriber", Clinical: envelope.Prescriber}, Present: true, Flash: name("You refused set-infusion-rate norepinephrine 4 ug/kg/min for pump-4. Who asked is told so.")}
	_, bars := harmOf(device.DrugInfusion)
	pump := &Device{ID: "pump-3", Therapy: device.DrugInfusion, Envelope: &envelope.Envelope{Sums: make([]envelope.Sum, 1)}}
	sum := envelope.SumView{
		Sum:       envelope.Sum{Window: time.Hour, Highest: quantity(t, "6 mg"), Lowest: quantity(t, "0.4 mg")},
		Delivered: quantity(t, "3.1 mg"), Counted: quantity(t, "3.9 mg"), Planned: quantity(t, "5.2 mg"),
	}
	view := envelope.View{Sums: []envelope.SumView{sum}, Rate: [2]device.Quantity{quantity(t, "0.2 ug/kg/min"), quantity(t, "0.2 ug/kg/min")}, RateKnown: true}
	p.g.pictures.of = map[string][]sample{}
	for k := range 180 {
		v := view
		s := sum
		s.Delivered = quantity(t, fmt.Sprintf("%d.%d mg", k/60, k/6%10))
		s.Counted, s.Planned = s.Delivered, s.Delivered
		if k > 120 {
			s.Counted = quantity(t, fmt.Sprintf("%d.%d mg", k/60+1, k/6%10))
			s.Planned = quantity(t, fmt.Sprintf("%d.9 mg", k/60+2))
		}
		v.Sums = []envelope.SumView{s}
		p.g.pictures.sample(noon.Add(time.Duration(k-180)*sampleEvery), []Device{*pump}, func(*Device) envelope.View { return v })
	}
	sumNow := p.g.pictures.sum(noon, pump, &view, 0)
	pic := sumNow.Picture("pump-3", noon)
	pic.ID = "pump-3-0"
	held := HeldState{
		ID: "1", Front: name("gw-icu"), Device: name("pump-3"), Actor: name("CASTOREHR"), Verb: "set-infusion-rate", Drug: name("norepinephrine"), Now: "0.2 ug/kg/min", Value: "0.8 ug/kg/min",
		Effect: "increases", Harm: "catastrophic", Why: name("more than 0.5 ug/kg/min above the rate now wants a second person"), Asked: noon.Add(-20 * time.Second),
		Left: "01:40", When: at(20 * time.Second), What: "x", Bars: bars,
	}
	doubt := DoubtState{ID: 7, Device: name("pump-3"), Verb: "deliver-bolus", Value: "2 mg", Actor: name("CASTOREHR"), Why: name("the pump did not answer"), When: at(9 * time.Minute)}
	dev := DeviceState{
		ID: name("pump-3"), Therapy: "drug infusion", Harm: "catastrophic", Envelope: name("norepinephrine, ICU"), Version: 3, Approver: "mh", Enforcing: true, State: name("infusing"),
		Rate: "0.2 ug/kg/min", Reported: noon, Sums: []SumState{sumNow},
		NotCounted: name("what is given at the keypad since 06:50, because the pump has not reported"), When: at(26 * time.Hour), Heard: at(31 * time.Second), Pictures: []*Picture{pic}, Bars: bars,
	}
	icd := DeviceState{ID: name("icd-anna"), Therapy: "defibrillation", Harm: "catastrophic", Because: name("it has no envelope"), Rate: "not known: the device has not said", When: at(5 * time.Minute), Bars: bars}
	verdict := func(word string, enforced bool, reason string) verdictRow {
		return verdictRow{
			Front: name("gw-icu"), Device: name("pump-3"), Actor: name("CASTOREHR"), Verb: "set-infusion-rate", Drug: name("norepinephrine"), Now: "0.2 ug/kg/min", Value: "4 ug/kg/min",
			Verdict: word, Enforced: enforced, Reason: name(reason), When: at(time.Minute),
		}
	}
	verdicts := []verdictRow{
		verdict("hold", true, "a second person has to confirm it"), verdict("deny", true, "set-infusion-rate max 1.0 ug/kg/min: 4 ug/kg/min is more"), verdict("allow", true, "within the envelope"),
		verdict("allow-emergency", true, "a break-glass session of ambulance-7"), verdict("deny", false, "no envelope has limits for this"),
	}
	refusals := []refusalRow{
		{Front: name("archive"), Peer: "10.20.8.11", Operation: "C-MOVE", Destination: name("XFER1"), Reason: name("the destination is on no list"), Count: 400, Enforced: true, When: at(3 * time.Minute)},
		{Front: name("gw-icu"), Peer: "10.20.8.99", Operation: "connect", Reason: name("it does not speak TLS"), Count: 1, When: at(5 * time.Minute)},
	}
	frame := func(title string) frame {
		return frame{Title: title, Site: name("St. Ada Hospital, ICU"), Who: who, At: whenOf(noon, noon)}
	}
	today := &todayPage{
		frame: frame("Guard"), Emergencies: []EmergencyState{{Device: name("icd-anna"), Front: name("icd"), Actor: name("ambulance-7"), Reason: name("first use of its token, at this guard"), When: at(2 * time.Minute), Left: "28:00"}},
		Held: []HeldState{held, held}, Doubts: []DoubtState{doubt}, Devices: []DeviceState{dev, icd}, Verdicts: verdicts, Refusals: refusals,
		Fronts: []frontRow{
			{Name: name("gw-icu"), Kind: "hl7", Device: name("gw-icu"), Protects: "server", Mode: "enforce", Listen: "10.20.3.2:24000", Forward: "10.20.3.10:24000", Outside: "TLS", Connections: 3, Refused: 1, Bypass: name("connect the engine to 10.20.3.10 port 24000, and call the clinical engineer")},
			{Name: name("archive"), Kind: "dicom", Device: name("pacs"), Protects: "server", Mode: "observe", Listen: "10.20.8.2:11112", Forward: "10.20.8.20:11112", Outside: "in clear: the scanner cannot do better", Connections: 12, Refused: 400, Trouble: name("the address is in use"), Bypass: name("send to 10.20.8.20")},
		},
		Trouble: []string{name("front archive does not serve: the address is in use")}, Clock: []string{name("the machine was started again, and nobody has told it the time: doses count longer than they matter")},
	}
	today.Held[1].ID, today.Held[1].Self = "2", true
	today.say()
	today.Renew = renewEvery
	quiet := &todayPage{frame: frame("Guard"), Devices: []DeviceState{icd}}
	quiet.Who = &viewer{Person: Person{ID: "te", Role: "analyst"}}
	quiet.say()
	away := frame("Waiting")
	away.Who = &viewer{Person: who.Person}
	none := frame("Log in")
	none.Who = nil
	return map[string]any{
		"today": today, "today quiet": quiet, "held": &heldPage{away, held, dev}, "doubt": &doubtPage{frame("In doubt"), doubt, dev}, "device": &devicePage{frame("pump-3"), dev, verdicts},
		"verdicts": &verdictsPage{frame("Verdicts"), verdicts}, "refusals": &refusalsPage{frame("Refusals"), refusals}, "message": &messagePage{frame("Not done"), name("nothing of that number waits")},
		"login": &loginPage{none, "/", name("the id or the password is wrong")},
	}
}

// TestBrowser looks at the pages in a real browser without scripts: light,
// dark, wide, narrow; and with names that try to break them.
func TestBrowser(t *testing.T) {
	g := &Guard{cfg: Config{Now: func() time.Time { return noon }}}
	g.conf.Store(&Configuration{Site: "St. Ada Hospital, ICU"})
	p := newPage(g)
	pages := map[string]any{}
	for name, data := range samplePages(t, p, "") {
		pages[name] = data
	}
	for i, bad := range []string{"<script>alert(1)</script>", strings.Repeat("very-long-name", 22), "מכשיר-הנשמה-3", `"><img src=x onerror=alert(1)>`} {
		for name, data := range samplePages(t, p, bad) {
			pages[fmt.Sprintf("%s hostile %d", name, i)] = data
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", p.style)
	mux.HandleFunc("GET /show", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("page")
		template, _, _ := strings.Cut(name, " ")
		if err := p.render(w, http.StatusOK, template, pages[name]); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(secure(mux))
	defer server.Close()

	ctx := chromium.Open(t)
	var mu sync.Mutex
	var said []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(chromedp.Listen(ctx, func(e any) {
		switch e := e.(type) {
		case *log.EventEntryAdded:
			if !strings.Contains(e.Entry.Text, "favicon") && !strings.Contains(e.Entry.URL, "favicon") {
				note("%s: %s", e.Entry.Level, e.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			note("exception: %s", e.ExceptionDetails.Text)
		case *cdppage.EventJavascriptDialogOpening:
			note("a dialog opened: %s", e.Message)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(err)
	_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	must(err)
	for name := range pages {
		must(chromedp.Do(ctx, chromedp.Navigate(server.URL+"/show?page="+strings.ReplaceAll(name, " ", "+"))))
		for _, width := range []int64{1440, 390} {
			_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
			must(err)
			for _, scheme := range [...]string{"light", "dark"} {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				})
				must(err)
				for what, script := range map[string]string{"wider than the window": chromium.Overflow, "too little contrast": chromium.Contrast, "without a name": chromium.Nameless} {
					bad, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](script))
					must(err)
					if len(bad) > 0 {
						t.Errorf("%s at %d, %s: %s: %q", name, width, scheme, what, bad)
					}
				}
				if *shots != "" && !strings.Contains(name, "hostile") {
					picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
					must(err)
					must(os.WriteFile(filepath.Join(*shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600))
				}
			}
		}
		if *shots != "" && name == "today" {
			own := true
			paper, err := chromedp.Call(ctx, cdppage.PrintToPDF, cdppage.PrintToPDFParams{PaperWidth: 8.27, PaperHeight: 11.69, PreferCSSPageSize: &own})
			must(err)
			must(os.WriteFile(filepath.Join(*shots, name+".pdf"), paper.Data, 0o600))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
}

// TestCSV has rows as a spreadsheet takes them: nobody's text is a formula.
func TestCSV(t *testing.T) {
	w := httptest.NewRecorder()
	rows := []refusalRow{{Time: noon, Front: "archive", Peer: "10.20.8.99", Operation: "A-ASSOCIATE", Destination: "=HYPERLINK(1)", Reason: `it says "no", twice`, Count: 3, When: when{"now", "x", "x"}}}
	if err := writeCSV(w, "refusals", rows); err != nil {
		t.Fatal(err)
	}
	want := "time,front,peer,operation,destination,reason,count,enforced\n" +
		"2026-03-03T07:09:30Z,archive,10.20.8.99,A-ASSOCIATE,'=HYPERLINK(1),\"it says \"\"no\"\", twice\",3,false\n"
	if got := w.Body.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w = httptest.NewRecorder()
	devices := []DeviceState{{ID: "pump-3", Sums: []SumState{{What: "all", Window: "1 h"}}}}
	if err := writeCSV(w, "devices", devices); err != nil || !strings.Contains(w.Body.String(), `"[{""what"":""all"",""window"":""1 h""`) {
		t.Errorf("%v %s", err, w.Body)
	}
}

// TestWords has the page say a unit of insulin as envelopes do.
func TestWords(t *testing.T) {
	for q, want := range map[device.Quantity]string{
		quantity(t, "7 U"):       "7 U",
		quantity(t, "1.25 U/h"):  "1.25 U/h",
		quantity(t, "0.0004 U"):  "less than 0.001 U",
		quantity(t, "0.2 mL/h"):  "0.2 mL/h",
		quantity(t, "0.0125 mL"): "0.013 mL",
	} {
		if got := said(q); got != want {
			t.Errorf("%v: %q, want %q", q, got, want)
		}
	}
}
