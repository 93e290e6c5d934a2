// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
)

// served is the ward with a server.
func served(t *testing.T, section string) string {
	t.Helper()
	file := guarded(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(b)+"\n"+section+"\n")
	return file
}

// TestServerDecides: the guard lets the server's clinicians decide when it is told to,
// and asks all that its own page asks.
func TestServerDecides(t *testing.T) {
	r := run(t, served(t, "server: {url: \"https://myelin.example:8443\", enrolment: token, confirms: true}"))
	hold := func() (*Decision, chan string) {
		t.Helper()
		_, became := r.ask("prog-1", "0.8 ug/kg/min")
		h := r.g.Held()
		if len(h) != 1 {
			t.Fatalf("%d commands wait", len(h))
		}
		return &Decision{ID: h[0].ID, Asked: h[0].Asked.UnixNano(), What: Confirm, By: "nn", Role: "nurse"}, became
	}
	d, became := hold()
	for what, c := range map[string]struct {
		change func(*Decision)
		want   error
	}{
		"an engineer":                 {func(d *Decision) { d.Role = "engineer" }, gate.ErrRole},
		"nobody's role":               {func(d *Decision) { d.Role = "" }, gate.ErrRole},
		"who asked":                   {func(d *Decision) { d.By = "prog-1" }, gate.ErrSelf},
		"who asked, by another name":  {func(d *Decision) { d.By = "MH" }, gate.ErrSelf},
		"nobody":                      {func(d *Decision) { d.By = "" }, errStranger},
		"a line of the ledger":        {func(d *Decision) { d.By = "nn\" (nurse)" }, errStranger},
		"a word of another kind":      {func(d *Decision) { d.What = "deliver" }, errNotKnown},
		"a command that was given":    {func(d *Decision) { d.What = Given }, errSettled},
		"another number":              {func(d *Decision) { d.ID += "0" }, gate.ErrGone},
		"what was there before":       {func(d *Decision) { d.Asked-- }, errOther},
		"a refusal without a reason":  {func(d *Decision) { d.What = Refuse; d.Reason = " \n" }, nil},
		"a refusal with a long story": {func(d *Decision) { d.What = Refuse; d.Reason = strings.Repeat("x", maxReason+1) }, nil},
	} {
		wrong := *d
		c.change(&wrong)
		err := r.g.Decide(r.ctx, &wrong)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(became) > 0 || len(r.g.Held()) != 1 {
		t.Fatal("it does not wait any more")
	}
	if err := r.g.Decide(r.ctx, d); err != nil {
		t.Fatal(err)
	}
	if got := <-became; got != "released" {
		t.Errorf("it became %s", got)
	}
	if err := r.g.Decide(r.ctx, d); !errors.Is(err, gate.ErrGone) {
		t.Errorf("a second time: %v", err)
	}
	if got := r.g.gate.Recent()[0].Reason; !strings.Contains(got, "confirmed by nn at the server (nurse)") {
		t.Errorf("recorded: %s", got)
	}
	d, became = hold()
	d.What, d.Reason = Refuse, "not her pump"
	if err := r.g.Decide(r.ctx, d); err != nil {
		t.Fatal(err)
	}
	if got := <-became; !strings.Contains(got, "refused by nn at the server (nurse): not her pump") {
		t.Errorf("it became %s", got)
	}
}

// TestServerSettles: what became of a dose in doubt is said at the server too, and the
// guard asks all that its own page asks.
func TestServerSettles(t *testing.T) {
	r := run(t, served(t, "server: {url: \"https://myelin.example:8443\", enrolment: token, confirms: true}"))
	doubt := func() Decision {
		t.Helper()
		a, _ := r.ask("CASTOREHR", "0.4 ug/kg/min")
		if !a.Pass {
			t.Fatalf("%+v", a)
		}
		a.Sent()
		a.Outcome(gate.Unknown)
		list := r.g.book.Doubts()
		if len(list) != 1 {
			t.Fatalf("%d doubts", len(list))
		}
		return Decision{ID: strconv.FormatUint(list[0].ID, 10), Asked: list[0].Since.UnixNano(), What: NotGiven, By: "nn", Role: "nurse", Reason: "the pump's log does not have it"}
	}
	d := doubt()
	for what, c := range map[string]struct {
		change func(*Decision)
		want   error
	}{
		"an engineer":           {func(d *Decision) { d.Role = "engineer" }, gate.ErrRole},
		"nobody":                {func(d *Decision) { d.By = "" }, errStranger},
		"another number":        {func(d *Decision) { d.ID += "0" }, errSettled},
		"no number":             {func(d *Decision) { d.ID = "" }, errSettled},
		"a doubt of before":     {func(d *Decision) { d.Asked++ }, errOther},
		"a confirmation":        {func(d *Decision) { d.What = Confirm }, gate.ErrGone},
		"no reason":             {func(d *Decision) { d.Reason = " " }, nil},
		"a reason that is long": {func(d *Decision) { d.Reason = strings.Repeat("x", maxReason+1) }, nil},
	} {
		wrong := d
		c.change(&wrong)
		if err := r.g.Decide(r.ctx, &wrong); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(r.g.book.Doubts()); n != 1 {
		t.Fatalf("%d doubts are left", n)
	}
	for _, what := range []string{NotGiven, Given} {
		d.What = what
		if err := r.g.Decide(r.ctx, &d); err != nil {
			t.Fatal(err)
		}
		if err := r.g.Decide(r.ctx, &d); !errors.Is(err, errSettled) || len(r.g.book.Doubts()) != 0 {
			t.Errorf("a second time: %v", err)
		}
		want := map[string]event.Result{NotGiven: event.Failed, Given: event.Succeeded}[what]
		until(t, "the settling is not recorded", func() bool {
			for _, e := range r.told.of(event.DoseDoubted) {
				if e.Text(event.Actor) == "nn at the server" && event.Result(e.Int(event.Outcome)) == want && e.Text(event.Reason) == d.Reason {
					return true
				}
			}
			return false
		})
		if what == NotGiven {
			d = doubt()
		}
	}
}

// TestServerDecidesNothing: without a word in guard.yaml nobody at the server decides.
func TestServerDecidesNothing(t *testing.T) {
	for _, section := range []string{"", "server: {url: \"https://myelin.example\", enrolment: token}", "server: {url: \"https://myelin.example\", enrolment: token, confirms: false}"} {
		r := run(t, served(t, section))
		r.ask("prog-1", "0.8 ug/kg/min")
		h := r.g.Held()[0]
		if err := r.g.Decide(r.ctx, &Decision{ID: h.ID, Asked: h.Asked.UnixNano(), What: Confirm, By: "nn", Role: "nurse"}); !errors.Is(err, errNotLet) || len(r.g.Held()) != 1 {
			t.Errorf("%q: %v", section, err)
		}
		r.stop()
	}
}

func TestServerSection(t *testing.T) {
	for section, want := range map[string]string{
		"server: {enrolment: token}":                                        "url",
		"server: {url: \"http://x\", enrolment: token}":                     "https",
		"server: {url: \"https://x/path\", enrolment: token}":               "https",
		"server: {url: \"https://x\"}":                                      "enrolment",
		"server: {url: \"https://x\", enrolment: token, confirms: perhaps}": "confirms",
		"server: {url: \"https://x\", enrolment: token, secret: x}":         "secret",
	} {
		if _, err := Load(served(t, section)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", section, err)
		}
	}
}
