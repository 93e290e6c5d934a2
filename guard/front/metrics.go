// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/myelin-health/myelin/device"
)

// Metrics count for Prometheus. No label is chosen by a peer.
type Metrics struct {
	connections *prometheus.GaugeVec
	refused     *prometheus.CounterVec
	verdicts    *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	messages    *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "myelin_guard_connections", Help: "Connections that are open."}, []string{"front"}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "myelin_guard_refused_total", Help: "What no list of a front allows."}, []string{"front", "operation"}),
		verdicts:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "myelin_guard_verdicts_total", Help: "Commands, by what the guard said."}, []string{"front", "verb", "verdict"}),
		bytes:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "myelin_guard_bytes_total", Help: "Bytes that were forwarded."}, []string{"front", "direction"}),
	}
	m.messages = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "myelin_guard_messages_total", Help: "Messages that were seen, by what they are for."}, []string{"front", "direction", "kind"})
	r.MustRegister(m.connections, m.refused, m.verdicts, m.bytes, m.messages)
	return m
}

// Connections counts connections in and out.
func (m *Metrics) Connections(front string, n int) {
	m.connections.WithLabelValues(front).Add(float64(n))
}

// Refused counts what was refused. Operation is of a small set of the front's own.
func (m *Metrics) Refused(front, operation string) { m.refused.WithLabelValues(front, operation).Inc() }

// Verdict counts a verdict.
func (m *Metrics) Verdict(front string, verb device.Verb, v device.Verdict) {
	m.verdicts.WithLabelValues(front, verb.String(), v.String()).Inc()
}

// Bytes counts what was forwarded, to the device or from it.
func (m *Metrics) Bytes(front string, toDevice bool, n int) {
	m.bytes.WithLabelValues(front, direction(toDevice)).Add(float64(n))
}

// Message counts a message by its kind, which is of a small set of the front's own.
func (m *Metrics) Message(front string, toDevice bool, kind string) {
	m.messages.WithLabelValues(front, direction(toDevice), kind).Inc()
}

func direction(toDevice bool) string {
	if toDevice {
		return "to-device"
	}
	return "from-device"
}

// Learned are the different uses of the fronts that were seen, with how often,
// for allow-lists to be proposed from. Rows are bounded; the first ones stay.
type Learned struct {
	mu   sync.Mutex
	rows map[Use]int64
	lost int64
}

// A Use is one kind of use of a front. What its fields are is the front's kind's
// own: for dicom calling AE title, called AE title, operation, SOP class, destination,
// transfer syntax, certificate.
// None may be about a patient.
type Use struct {
	Front  string
	Fields [7]string
}

const maxUses = 4096

// Saw counts a use.
func (l *Learned) Saw(front string, fields ...string) {
	u := Use{Front: front}
	copy(u.Fields[:], fields)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == nil {
		l.rows = map[Use]int64{}
	}
	if _, ok := l.rows[u]; !ok && len(l.rows) >= maxUses {
		l.lost++
		return
	}
	l.rows[u]++
}

// A Counted is a use and how often it was seen.
type Counted struct {
	Use
	Count int64
}

// Uses returns what was seen, in order, and how many more had no room.
func (l *Learned) Uses() (rows []Counted, lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for u, n := range maps.All(l.rows) {
		rows = append(rows, Counted{u, n})
	}
	slices.SortFunc(rows, func(a, b Counted) int {
		if a.Front != b.Front {
			return compare(a.Front, b.Front)
		}
		return slices.Compare(a.Fields[:], b.Fields[:])
	})
	return rows, l.lost
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// Restore begins with what was seen before.
func (l *Learned) Restore(rows []Counted, lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows, l.lost = make(map[Use]int64, len(rows)), lost
	for _, r := range rows[:min(len(rows), maxUses)] {
		l.rows[r.Use] += r.Count
	}
}
