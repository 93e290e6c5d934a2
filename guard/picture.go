// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
)

const (
	sampleEvery = 15 * time.Second
	sampleFor   = time.Hour
	maxSamples  = int(sampleFor / sampleEvery)
)

// pictures keep what the sums of each device came to in the last hour.
type pictures struct {
	mu   sync.Mutex
	last time.Time
	of   map[string][]sample // by device, the oldest first
}

// A sample is what the sums of a device came to at a time.
type sample struct {
	at   time.Time
	sums []sumAt
}

// A sumAt is a sum at a time, in the unit of its limit. What was given lies
// between delivered and counted, and planned is what may come without anybody asking.
type sumAt struct{ delivered, counted, planned float64 }

func sumOf(x *envelope.SumView) sumAt {
	u := unitOf(x.Sum)
	return sumAt{number(x.Delivered, u), number(x.Counted, u), number(x.Planned, u)}
}

// sample looks at all devices, when it is time to.
func (p *pictures) sample(now time.Time, devices []Device, view func(*Device) envelope.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && now.Sub(p.last) < sampleEvery && !now.Before(p.last) {
		return
	}
	p.last = now
	of := make(map[string][]sample, len(devices))
	for i := range devices {
		d := &devices[i]
		if d.Envelope == nil || len(d.Envelope.Sums) == 0 {
			continue
		}
		v := view(d)
		s := sample{at: now}
		for i := range v.Sums {
			s.sums = append(s.sums, sumOf(&v.Sums[i]))
		}
		list := p.of[d.ID]
		if n := len(list); n > 0 && len(list[n-1].sums) != len(s.sums) {
			list = nil // another envelope
		}
		if len(list) >= maxSamples {
			list = list[len(list)-maxSamples+1:]
		}
		of[d.ID] = append(list, s)
	}
	p.of = of
}

// number is a quantity in a unit, to draw; what cannot be converted is 0.
func number(q device.Quantity, u device.Unit) float64 {
	if q.IsNone() {
		return 0
	}
	if q.Unit != u && u != device.NoUnit {
		var err error
		if q, err = q.Convert(u); err != nil {
			return 0
		}
	}
	return float64(q.Coefficient) * math.Pow10(int(q.Exponent))
}

// The picture's measures.
const (
	pictureWide, pictureHigh                 = 560, 176
	plotLeft, plotRight, plotTop, plotBottom = 56, 548, 16, 148
	plotWide, plotHigh                       = plotRight - plotLeft, plotBottom - plotTop
)

// A Picture is a sum of a device in the last hour, as paths of an SVG.
type Picture struct {
	ID                           string // of its title, in the page
	Title, Says                  string
	Delivered, Unknown, Reserved string  // areas, the one upon the other
	Planned                      string  // the edge of what is reserved
	Limit, Lowest                float64 // y; below 0: none
	LimitWord, LowestWord        string
	Ticks                        []tick
	Began                        string // of the samples, when they are shorter than the hour
	BeganX                       float64
}

type tick struct {
	X, Y float64
	Word string
}

// A SumState is what a sum of a device came to.
type SumState struct {
	What      string   `json:"what"`
	Window    string   `json:"window"`
	Delivered string   `json:"delivered"`
	Counted   string   `json:"counted"`
	Planned   string   `json:"planned"`
	Highest   string   `json:"highest,omitempty"`
	Lowest    string   `json:"lowest,omitempty"`
	Most      float64  `json:"most,omitempty"` // the same as numbers, to draw; 0: none
	Least     float64  `json:"least,omitempty"`
	Hour      []Sample `json:"hour,omitempty"` // the last one, the oldest first
}

// A Sample is a sum at a time, in the unit of its limits.
type Sample struct {
	At        int64   `json:"t"` // seconds since 1970-01-01 UTC
	Delivered float64 `json:"d"`
	Counted   float64 `json:"c"`
	Planned   float64 `json:"p"`
}

// sum is the i-th sum of a device, with its last hour.
func (p *pictures) sum(now time.Time, d *Device, v *envelope.View, i int) SumState {
	x := &v.Sums[i]
	u := unitOf(x.Sum)
	out := SumState{
		What: sumWord(x.Sum), Window: spell(x.Sum.Window), Delivered: said(x.Delivered), Counted: said(x.Counted), Planned: said(x.Planned),
		Highest: words(x.Sum.Highest), Lowest: words(x.Sum.Lowest), Most: number(x.Sum.Highest, u), Least: number(x.Sum.Lowest, u),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range append(p.of[d.ID][:len(p.of[d.ID]):len(p.of[d.ID])], sample{now, nil}) {
		at := sumOf(x)
		if s.sums != nil {
			if i >= len(s.sums) {
				continue
			}
			at = s.sums[i]
		}
		out.Hour = append(out.Hour, Sample{s.at.Unix(), at.delivered, at.counted, at.planned})
	}
	return out
}

// Picture draws a sum of a device.
func (s *SumState) Picture(deviceID string, now time.Time) *Picture {
	most := max(s.Most, s.Least)
	var points []Sample
	var xs []float64
	for _, x := range s.Hour {
		age := now.Sub(time.Unix(x.At, 0))
		if age < -time.Second || age > sampleFor {
			continue
		}
		x.Counted = max(x.Counted, x.Delivered)
		x.Planned = max(x.Planned, x.Counted)
		points = append(points, x)
		xs = append(xs, plotRight-plotWide*max(age.Seconds(), 0)/sampleFor.Seconds())
		most = max(most, x.Planned)
	}
	most = max(most*1.15, 1e-9)
	y := func(v float64) float64 { return plotBottom - plotHigh*min(max(v/most, 0), 1) }
	if len(points) == 1 {
		xs, points = []float64{plotRight - 4, plotRight}, []Sample{points[0], points[0]}
	}
	area := func(low, high func(Sample) float64) string {
		var b strings.Builder
		for k, pt := range points {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], xs[k], y(high(pt)))
		}
		for k := len(points) - 1; k >= 0; k-- {
			fmt.Fprintf(&b, "L%.1f %.1f", xs[k], y(low(points[k])))
		}
		if b.Len() == 0 {
			return ""
		}
		return b.String() + "Z"
	}
	edge := func() string { // where there is anything reserved
		var b strings.Builder
		for k, pt := range points {
			if pt.Planned > pt.Counted {
				c := 'L'
				if b.Len() == 0 || points[k-1].Planned <= points[k-1].Counted {
					c = 'M'
				}
				fmt.Fprintf(&b, "%c%.1f %.1f", c, xs[k], y(pt.Planned))
			}
		}
		return b.String()
	}
	delivered := func(s Sample) float64 { return s.Delivered }
	counted := func(s Sample) float64 { return s.Counted }
	out := &Picture{
		Title:     fmt.Sprintf("%s: %s in %s", deviceID, s.What, s.Window),
		Says:      fmt.Sprintf("Delivered for sure %s, with what is not known %s, with what may still come %s", s.Delivered, s.Counted, s.Planned),
		Delivered: area(func(Sample) float64 { return 0 }, delivered),
		Unknown:   area(delivered, counted),
		Reserved:  area(counted, func(s Sample) float64 { return s.Planned }),
		Limit:     -1, Lowest: -1,
	}
	out.Planned = edge()
	if s.Highest != "" {
		out.Limit, out.LimitWord = y(s.Most), "highest "+s.Highest
		out.Says += ", of at most " + s.Highest
	}
	if s.Lowest != "" {
		out.Lowest, out.LowestWord = y(s.Least), "lowest "+s.Lowest
		out.Says += ", of at least " + s.Lowest
	}
	out.Says += "."
	for m := 0; m <= 60; m += 15 {
		word := "now"
		if m > 0 {
			word = "-" + strconv.Itoa(m) + " min"
		}
		out.Ticks = append(out.Ticks, tick{X: plotRight - plotWide*float64(m)/60, Word: word})
	}
	if len(xs) > 0 && xs[0] > plotLeft+168 { // there is room for the words
		out.BeganX, out.Began = xs[0], "the guard began to look"
	}
	return out
}

// said is a quantity that was computed, to three decimals.
func said(q device.Quantity) string {
	if q.IsNone() || q.Coefficient == 0 {
		return "nothing"
	}
	for ; q.Exponent < -3; q.Exponent++ {
		q.Coefficient = (q.Coefficient + 5) / 10
	}
	for q.Exponent < 0 && q.Coefficient%10 == 0 {
		q.Coefficient /= 10
		q.Exponent++
	}
	if q.Coefficient == 0 {
		return "less than " + words(device.Quantity{Coefficient: 1, Exponent: -3, Unit: q.Unit})
	}
	return words(q)
}

// words is a quantity as envelopes write it. UCUM's code for a unit of insulin is not what
// anybody at a bedside calls it.
func words(q device.Quantity) string { return strings.ReplaceAll(q.String(), "[iU]", "U") }

// sumWord names a sum: of one verb, or of all that delivers.
func sumWord(s envelope.Sum) string {
	if s.Verb == device.NoVerb {
		return "all that is given"
	}
	return s.Verb.String()
}

// spell is a duration in words, without what is nought.
func spell(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return d.String()
}

// unitOf is the unit in which the limits of a sum are written.
func unitOf(s envelope.Sum) device.Unit {
	if !s.Highest.IsNone() {
		return s.Highest.Unit
	}
	return s.Lowest.Unit
}
