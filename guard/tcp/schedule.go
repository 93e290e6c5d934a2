// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
)

// A Schedule says when a front is open, by the clock on the wall of its time
// zone: on the two nights of the year when that clock jumps a window is an hour
// shorter or longer.
type Schedule struct {
	Zone    *time.Location
	Windows []Window
	Finish  bool // what is open when a window ends may finish; else it is closed
}

// A Window is open on some days from one minute to before another; when it ends
// before it begins it lasts into the next day.
type Window struct {
	Days     [7]bool // by time.Weekday
	From, To int     // minutes of the day; To may be 24:00
}

// Open reports whether a time is within the hours. A nil schedule is always open.
func (s *Schedule) Open(t time.Time) bool {
	if s == nil {
		return true
	}
	t = t.In(s.Zone)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	before := (day + 6) % 7
	return slices.ContainsFunc(s.Windows, func(w Window) bool {
		if w.From < w.To {
			return w.Days[day] && minute >= w.From && minute < w.To
		}
		return w.Days[day] && minute >= w.From || w.Days[before] && minute < w.To
	})
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const maxWindows = 32

func readSchedule(r *strictyaml.Reader, n ast.Node) *Schedule {
	if n == nil || r.Err() != nil {
		return nil
	}
	s := r.Section(n, "schedule", "zone", "open", "at-end")
	sched := &Schedule{}
	zone := r.Text(s.Need("zone", "the time zone, such as Europe/Stockholm"), "zone")
	if r.Err() == nil {
		loc, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			r.Fail(s.Get("zone"), "zone has to be a time zone that this machine knows, such as Europe/Stockholm or UTC")
		}
		sched.Zone = loc
	}
	for _, w := range r.List(s.Need("open", "when it is open, such as mon-fri 07:00-19:00"), "open", maxWindows) {
		text := r.Text(w, "open")
		if r.Err() != nil {
			return nil
		}
		window, err := parseWindow(text)
		if err != nil {
			r.Fail(w, "open has to have days and hours, such as mon-fri 07:00-19:00 or sat,sun 22:00-06:00")
		}
		sched.Windows = append(sched.Windows, window)
	}
	sched.Finish = r.Word(s.Need("at-end", "close, or finish: what becomes of what is open when the hours end"), "at-end", []string{"close", "finish"}) == 1
	return sched
}

func parseWindow(text string) (w Window, err error) {
	bad := fmt.Errorf("no window: %q", text)
	days, hours, ok := strings.Cut(text, " ")
	from, to, ok2 := strings.Cut(hours, "-")
	if !ok || !ok2 {
		return w, bad
	}
	for d := range strings.SplitSeq(days, ",") {
		first, last, ranged := strings.Cut(d, "-")
		i, j := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !ranged {
			j = i
		}
		if i < 0 || j < 0 {
			return w, bad
		}
		for ; ; i = (i + 1) % 7 {
			w.Days[i] = true
			if i == j {
				break
			}
		}
	}
	if w.From, ok = minuteOf(from); !ok || w.From == 24*60 {
		return w, bad
	}
	if w.To, ok = minuteOf(to); !ok || w.To == w.From {
		return w, bad
	}
	return w, nil
}

// minuteOf reads hh:mm; 24:00 is the end of the day.
func minuteOf(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	return h*60 + m, m < 60 && (h < 24 || h == 24 && m == 0)
}
