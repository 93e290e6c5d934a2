// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// register registers what is measured of the guard itself.
func (g *Guard) register() {
	gauge := func(name, help string, f func() float64) {
		g.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "myelin_guard_" + name, Help: help}, f))
	}
	gauge("held", "Commands that wait for a clinician.", func() float64 { return float64(len(g.gate.Held())) })
	gauge("doubts", "Doses of which nobody knows whether they were given.", func() float64 { return float64(len(g.book.Doubts())) })
	gauge("enforcing_devices", "Devices whose envelope is enforced.", func() float64 {
		n := 0
		for _, d := range g.conf.Load().Devices {
			if ok, _ := d.Envelope.Enforcing(); ok {
				n++
			}
		}
		return float64(n)
	})
	gauge("ready", "1: all fronts serve, and the configuration on disk is the one that holds.", func() float64 {
		if len(g.Unready()) == 0 {
			return 1
		}
		return 0
	})
	gauge("emergencies_open", "Break-glass sessions that are open.", func() float64 { return float64(len(g.emergencies())) })
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// settled is how long a front that was started again has to serve before it is
// believed to.
const settled = 10 * time.Second

// Unready says why not all is as it should be; nothing when it is.
func (g *Guard) Unready() (why []string) {
	now := g.cfg.Now()
	fronts := g.Fronts()
	if len(fronts) < len(g.conf.Load().Fronts) {
		why = append(why, "not all fronts have begun yet")
	}
	for _, f := range fronts {
		switch {
		case f.Trouble != "":
			why = append(why, fmt.Sprintf("front %s: %s", f.Settings.Name, f.Trouble))
		case !f.Serving:
			why = append(why, fmt.Sprintf("front %s does not listen yet", f.Settings.Name))
		case f.Restarts > 0 && now.Sub(f.Since) < settled:
			why = append(why, fmt.Sprintf("front %s was started again %d times", f.Settings.Name, f.Restarts))
		}
	}
	if n := g.missing.Load(); n > 0 {
		why = append(why, fmt.Sprintf("the ledger cannot be written: it lacks %d entries, which only the log has", n))
	}
	if err := g.book.Err(); err != nil {
		why = append(why, "doses cannot be written down, and nothing but rescues is let through: "+err.Error())
	}
	if err := g.expected.Err(); err != nil {
		why = append(why, unexpected+": "+err.Error())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused != "" {
		why = append(why, "the configuration on disk is refused: "+g.refused)
	}
	return why
}

// counts reads the open connections and the refusals of each front off the metrics.
func (g *Guard) counts() (open, refused map[string]float64) {
	open, refused = map[string]float64{}, map[string]float64{}
	families, err := g.counted.Gather()
	if err != nil {
		return open, refused
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() != "front" {
					continue
				}
				switch f.GetName() {
				case "myelin_guard_connections":
					open[l.GetValue()] += m.GetGauge().GetValue()
				case "myelin_guard_refused_total":
					refused[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return open, refused
}
