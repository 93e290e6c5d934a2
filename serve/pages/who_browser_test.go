// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

var whoShots = flag.String("who-shots", "", "folder for pictures of the pages about people")

// chrome is a browser, and what its console said.
func chrome(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	ctx := chromium.Open(t)
	var mu sync.Mutex
	var said []string
	err := chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *log.EventEntryAdded:
			said = append(said, e.Entry.Text)
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Text)
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// A passkey of a virtual authenticator is added on the own page, signs in without login
// and password, and does not when the authenticator does not know who holds it, when
// it was removed, or when there are two of it.
func TestPasskeyInABrowser(t *testing.T) {
	s := newWho(t)
	p := s.person("te", "Tomas Eklund", access.Analyst)
	s.person("mh", "Mina Holm", access.Viewer)
	ctx, said := chrome(t)
	base := strings.Replace(s.http.URL, "127.0.0.1", "localhost", 1)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := chromedp.Do(limited, steps...); err != nil {
			body, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
			t.Fatalf("%v; console %q; page:\n%s", err, said(), body)
		}
	}
	call := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	call(chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}))
	a, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	call(a, err)
	signIn := func(login string) {
		do(chromedp.Navigate(base+"/sign-in?to=/me"),
			chromedp.SetValue("input[name=login]", login), chromedp.SetValue("input[name=password]", goodPassword), chromedp.Submit("input[name=password]"),
			chromedp.WaitVisible(`main[data-page="Your account"]`))
	}
	signOut := func() {
		do(chromedp.Submit("form.out"), chromedp.WaitVisible(`main[data-page="Sign in"] [data-passkey] button`))
	}
	// status is what the page says that it could not do, without a request more.
	status := func(words string) {
		t.Helper()
		do(chromedp.WaitVisible(chromedp.Search(fmt.Sprintf("//main//*[contains(text(), %q)]", words))))
	}
	signIn("te")
	do(chromedp.SetValue("[data-passkey] input[name=name]", "ward phone"), chromedp.Click("[data-test=add-passkey]"), chromedp.WaitVisible("[data-test=said]"))
	status("ward phone")
	if s.last() != "add passkey|succeeded|te|ward phone|" {
		t.Fatal(s.last())
	}
	do(chromedp.SetValue("[data-passkey] input[name=name]", "again"), chromedp.Click("[data-test=add-passkey]"))
	status("has a passkey for you already")
	signOut()
	do(chromedp.Navigate(base+"/sign-in?to=/me"), chromedp.Click("[data-test=passkey]"), chromedp.WaitVisible(`main[data-page="Your account"]`))
	if s.last() != "sign-in|succeeded|te||passkey" {
		t.Fatal(s.last())
	}
	signOut()

	call(chromedp.Call(ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.AuthenticatorID, IsUserVerified: false}))
	do(chromedp.Click("[data-test=passkey]"))
	status("Nothing happened")
	call(chromedp.Call(ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.AuthenticatorID, IsUserVerified: true}))

	// A counter that is lower than one that was seen is that of a copy.
	seen := func(count string) {
		t.Helper()
		p, err := s.store.Person(t.Context(), "te")
		if err == nil {
			p.Passkeys = regexp.MustCompile(`"signCount":\d+`).ReplaceAll(p.Passkeys, []byte(`"signCount":`+count))
			err = s.store.SavePerson(t.Context(), p)
		}
		if err != nil || !strings.Contains(string(p.Passkeys), `"signCount":`+count) {
			t.Fatal(err, string(p.Passkeys))
		}
	}
	seen("1000")
	do(chromedp.Navigate(base+"/sign-in"), chromedp.Click("[data-test=passkey]"), chromedp.WaitVisible("[data-test=wrong]"))
	if s.last() != "sign-in|failed|te||passkey" {
		t.Error(s.last())
	}
	seen("1")
	admin := &access.Principal{Person: &store.Person{ID: 99, Login: "ad"}, Roles: access.Administrator}
	for _, disabled := range []bool{true, false} {
		if _, err := s.Disable(t.Context(), admin, p.ID, disabled); err != nil {
			t.Fatal(err)
		}
		if disabled {
			do(chromedp.Navigate(base+"/sign-in"), chromedp.Click("[data-test=passkey]"), chromedp.WaitVisible("[data-test=wrong]"))
		}
	}
	do(chromedp.Navigate(base+"/sign-in?to=/me"), chromedp.Click("[data-test=passkey]"), chromedp.WaitVisible(`main[data-page="Your account"]`))
	do(chromedp.Submit(`form[action="/me/passkeys/remove"]`), chromedp.WaitVisible("[data-test=said]"))
	if s.last() != "remove passkey|succeeded|te|ward phone|" {
		t.Fatal(s.last())
	}
	signOut()
	do(chromedp.Click("[data-test=passkey]"), chromedp.WaitVisible("[data-test=wrong]"))
	if s.last() != "sign-in|failed|te||passkey" {
		t.Error(s.last())
	}
	if now, err := s.store.PersonOf(t.Context(), p.ID); err != nil || strings.Contains(string(now.Passkeys), "ward phone") {
		t.Error(now, err)
	}
	for _, text := range said() {
		if !strings.Contains(text, "status of 403") && !strings.Contains(text, "favicon") { // what was refused above
			t.Error("console:", text)
		}
	}
}

// Without a passkey's challenge of its own, or with one that was used, nobody gets in.
func TestPasskeyAnswers(t *testing.T) {
	s := newWho(t)
	s.person("te", "Tomas Eklund", access.Analyst)
	for _, answer := range []string{"", "{}", "null", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`, strings.Repeat("[", 20_000), `{"id":1}`} {
		v := s.visitor("")
		v.want(403, "not known here", "POST", "/sign-in/passkey", "answer", answer)
		if status, _, _ := v.do("POST", "/sign-in/passkey/ask"); status != 200 {
			t.Fatal(status)
		}
		v.want(403, "not known here", "POST", "/sign-in/passkey", "answer", answer)
		v.want(403, "not known here", "POST", "/sign-in/passkey", "answer", answer)
		te := s.visitor("te")
		te.want(403, "not known here", "POST", "/me/passkeys", "name", "x", "answer", answer)
		te.want(200, "challenge", "POST", "/me/passkeys/ask")
		te.want(403, "not known here", "POST", "/me/passkeys", "name", "x", "answer", answer)
	}
	for i := range 30 { // each question is kept for ten minutes: they are counted
		v := s.visitor("")
		if status, _, _ := v.do("POST", "/sign-in/passkey/ask"); status == 429 {
			break
		} else if i == 29 {
			t.Error("anybody can ask without end")
		}
	}
}

const whoOverflow = `(() => {
  const w = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= w) return []
  return ['the page', ...[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > w + 1 && !e.closest('.sideways')).slice(0, 4).map(e => e.tagName + '.' + e.className)]
})()`

// whoUnsaid are fields, buttons and links that have no name for who does not see them,
// and what a finger cannot hit.
const whoUnsaid = `[...document.querySelectorAll('main input:not([type=hidden]):not([hidden]), main select, main textarea, main button, main a')].filter(e => e.checkVisibility()).filter(e =>
  !(e.labels && e.labels.length && e.labels[0].innerText.trim() || e.innerText.trim() && e.tagName != 'INPUT' || e.getAttribute('aria-label')) ||
  e.tagName == 'BUTTON' && e.getBoundingClientRect().height < 24).map(e => e.outerHTML.slice(0, 80))`

// Every page about people, as a person sees it: wide and narrow, light and dark.
func TestPagesAboutPeopleInABrowser(t *testing.T) {
	s := newWho(t, func(c *access.Config) {
		c.OIDC = &access.OIDC{Name: "St. Ada account", Issuer: "http://127.0.0.1:1", ClientID: "myelin"}
	})
	s.person("ada.berg", "Ada Berg", access.Administrator)
	s.person("mina.holm", "Mina Holm", access.Clinician)
	s.person("tomas", "Tomas Eklund", access.Analyst|access.Engineer)
	s.person("norra", "Norra Field Service "+strings.Repeat("long", 15), access.Manufacturer)
	s.person("rtl", "\u05e2\u05d3\u05d4 <script>", 0)
	worn := device.Device{ID: device.IDOf("x"), Name: "pm-2", Medical: true, Product: device.Product{Manufacturer: "Cardiel", Model: "Tempo", Therapy: device.Pacing}}
	if err := s.store.AddEnrolment(t.Context(), []byte("x"), "ICU switch", "", "sensor", "le", s.now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("x"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{worn}}); err != nil {
		t.Fatal(err)
	}
	link, err := s.SetUpLink(t.Context())
	if err != nil || link != "" {
		t.Fatal(link, err)
	}
	ad, mh := s.visitor("ada.berg"), s.visitor("mina.holm")
	ad.want(200, "", "POST", "/me/tokens", "name", "nightly report", "days", "30", "scope", "read")
	mh.want(303, "", "POST", "/devices/"+worn.ID+"/body/add", "kind", "serial number", "value", "CT-0042")
	_, secret, err := s.NewLink(t.Context(), &access.Principal{Person: &store.Person{ID: 99, Login: "ada.berg"}}, 4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, said := chrome(t)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := chromedp.Do(limited, steps...); err != nil {
			t.Fatal(err)
		}
	}
	look := func(name string) {
		t.Helper()
		for _, width := range []int64{1440, 390} {
			if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1}); err != nil {
				t.Fatal(err)
			}
			for _, scheme := range []string{"light", "dark"} {
				if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
					t.Fatal(err)
				}
				for what, script := range map[string]string{"wider than the window": whoOverflow, "without a name, or small": whoUnsaid} {
					if bad, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](script)); err != nil || len(bad) > 0 {
						t.Errorf("%s at %d: %s: %q %v", name, width, what, bad, err)
					}
				}
				if *whoShots != "" {
					picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
					if err == nil {
						err = os.WriteFile(filepath.Join(*whoShots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	base := strings.Replace(s.http.URL, "127.0.0.1", "localhost", 1)
	at := func(name, path string) {
		t.Helper()
		do(chromedp.Navigate(base+path), chromedp.WaitReady("main"))
		look(name)
	}
	at("password", "/password/4/"+secret)
	at("sign-in", "/sign-in")
	do(chromedp.SetValue("input[name=login]", "x"), chromedp.SetValue("input[name=password]", "x"), chromedp.Submit("input[name=password]"), chromedp.WaitVisible("[data-test=wrong]"))
	look("sign-in-wrong")
	enter := func(login string) {
		do(chromedp.Navigate(base+"/sign-in?to="+url.QueryEscape("/me")), chromedp.SetValue("input[name=login]", login), chromedp.SetValue("input[name=password]", goodPassword), chromedp.Submit("input[name=password]"), chromedp.WaitVisible(`main[data-page="Your account"]`))
	}
	enter("ada.berg")
	look("me")
	at("people", "/settings/people")
	at("person", "/settings/people/4")
	at("person-you", "/settings/people/1")
	at("settings", "/settings")
	at("sensors", "/settings/sensors")
	at("retention", "/settings/retention")
	at("forbidden", "/devices/"+worn.ID+"/body")
	enter("mina.holm")
	at("body-ask", "/devices/"+worn.ID+"/body")
	do(chromedp.SetValue("select[name=reason]", bodyReasons[0]), chromedp.Submit("select[name=reason]"), chromedp.WaitVisible("[data-test=worn]"))
	look("body")
	for _, text := range said() {
		if !strings.Contains(text, "status of 403") {
			t.Error("console:", text)
		}
	}
}
