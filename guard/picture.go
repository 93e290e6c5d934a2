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
		for _, x := range v.Sums {
			u := unitOf(x.Sum)
			s.sums = append(s.sums, sumAt{number(x.Delivered, u), number(x.Counted, u), number(x.Planned, u)})
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

// picture draws the i-th sum of a device.
func (p *pictures) picture(now time.Time, d *Device, v *envelope.View, i int) *Picture {
	x := v.Sums[i]
	u := unitOf(x.Sum)
	high, low := number(x.Sum.Highest, u), number(x.Sum.Lowest, u)
	p.mu.Lock()
	list := append([]sample(nil), p.of[d.ID]...)
	p.mu.Unlock()
	last := sample{at: now}
	for _, y := range v.Sums {
		w := unitOf(y.Sum)
		last.sums = append(last.sums, sumAt{number(y.Delivered, w), number(y.Counted, w), number(y.Planned, w)})
	}
	list = append(list, last)
	most := max(high, low)
	var points []sumAt
	var xs []float64
	for _, s := range list {
		age := now.Sub(s.at)
		if i >= len(s.sums) || age < 0 || age > sampleFor {
			continue
		}
		points = append(points, s.sums[i])
		xs = append(xs, plotRight-plotWide*age.Seconds()/sampleFor.Seconds())
		most = max(most, s.sums[i].counted, s.sums[i].planned)
	}
	most = max(most*1.15, 1e-9)
	y := func(v float64) float64 { return plotBottom - plotHigh*min(max(v/most, 0), 1) }
	area := func(low, high func(sumAt) float64) string {
		if len(points) < 2 {
			xs, points = []float64{plotRight - 4, plotRight}, []sumAt{points[0], points[0]}
		}
		var b strings.Builder
		for k, pt := range points {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], xs[k], y(high(pt)))
		}
		for k := len(points) - 1; k >= 0; k-- {
			fmt.Fprintf(&b, "L%.1f %.1f", xs[k], y(low(points[k])))
		}
		return b.String() + "Z"
	}
	edge := func() string { // where there is anything reserved
		var b strings.Builder
		for k, pt := range points {
			if pt.planned > max(pt.counted, pt.delivered) {
				c := 'L'
				if b.Len() == 0 || points[k-1].planned <= max(points[k-1].counted, points[k-1].delivered) {
					c = 'M'
				}
				fmt.Fprintf(&b, "%c%.1f %.1f", c, xs[k], y(pt.planned))
			}
		}
		return b.String()
	}
	delivered := func(s sumAt) float64 { return s.delivered }
	counted := func(s sumAt) float64 { return max(s.counted, s.delivered) }
	out := &Picture{
		Title:     fmt.Sprintf("%s: %s in %s", d.ID, sumWord(x.Sum), spell(x.Sum.Window)),
		Says:      fmt.Sprintf("Delivered for sure %s, with what is not known %s, with what may still come %s", said(x.Delivered), said(x.Counted), said(x.Planned)),
		Delivered: area(func(sumAt) float64 { return 0 }, delivered),
		Unknown:   area(delivered, counted),
		Reserved:  area(counted, func(s sumAt) float64 { return max(s.planned, counted(s)) }),
		Limit:     -1, Lowest: -1,
	}
	out.Planned = edge()
	if !x.Sum.Highest.IsNone() {
		out.Limit, out.LimitWord = y(high), "highest "+words(x.Sum.Highest)
		out.Says += ", of at most " + words(x.Sum.Highest)
	}
	if !x.Sum.Lowest.IsNone() {
		out.Lowest, out.LowestWord = y(low), "lowest "+words(x.Sum.Lowest)
		out.Says += ", of at least " + words(x.Sum.Lowest)
	}
	out.Says += "."
	for m := 0; m <= 60; m += 15 {
		word := "now"
		if m > 0 {
			word = "-" + strconv.Itoa(m) + " min"
		}
		out.Ticks = append(out.Ticks, tick{X: plotRight - plotWide*float64(m)/60, Word: word})
	}
	if xs[0] > plotLeft+168 { // there is room for the words
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
