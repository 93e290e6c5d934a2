// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
)

// A frame is what every page has around it.
type frame struct {
	Title  string
	Site   string
	Who    *viewer // nil: nobody has logged in
	At     when
	Renew  int // seconds until the page renews itself; 0: it does not
	Paused bool
}

func (p *page) frame(v *viewer, title string) frame {
	now := p.g.cfg.Now()
	return frame{Title: title, Site: p.g.conf.Load().Site, Who: v, At: whenOf(now, now)}
}

// A when is a time as a person reads it, and as it is.
type when struct{ Relative, Absolute, Machine string }

func whenOf(t, now time.Time) when {
	if t.IsZero() {
		return when{"never", "", ""}
	}
	return when{ago(now.Sub(t)), t.Local().Format("Mon 2 Jan 15:04:05 MST"), t.UTC().Format(time.RFC3339)}
}

func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in " + span(-d)
	case d < 2*time.Second:
		return "now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

// left is the time that is left, as mm:ss.
func left(d time.Duration) string {
	d = max(d, 0)
	return fmt.Sprintf("%02d:%02d", int(d/time.Minute), int(d%time.Minute/time.Second))
}

// The rows of the lists, as JSON has them and as the page shows them.
type (
	verdictRow struct {
		Time     time.Time `json:"time"`
		Front    string    `json:"front"`
		Device   string    `json:"device"`
		Actor    string    `json:"actor"`
		Verb     string    `json:"verb"`
		Drug     string    `json:"drug,omitempty"`
		Now      string    `json:"now"`
		Value    string    `json:"value"`
		Effect   string    `json:"effect"`
		Verdict  string    `json:"verdict"`
		Enforced bool      `json:"enforced"`
		Reason   string    `json:"reason"`

		When when `json:"-"`
		Dose bool `json:"-"`
	}
	frontRow struct {
		Name        string    `json:"name"`
		Kind        string    `json:"kind"`
		Device      string    `json:"device"`
		Protects    string    `json:"protects"`
		Mode        string    `json:"mode"`
		Listen      string    `json:"listen"`
		Forward     string    `json:"forward"`
		Outside     string    `json:"outside"` // how the outside is protected
		Since       time.Time `json:"since"`
		Connections int       `json:"connections"`
		Refused     int64     `json:"refused"`
		Trouble     string    `json:"trouble,omitempty"`
		Restarts    int       `json:"restarts"`
		Bypass      string    `json:"bypass"`

		When when `json:"-"`
	}
	refusalRow struct {
		Time        time.Time `json:"time"`
		Front       string    `json:"front"`
		Peer        string    `json:"peer"`
		Operation   string    `json:"operation"`
		Destination string    `json:"destination,omitempty"`
		Reason      string    `json:"reason"`
		Count       int64     `json:"count"`
		Enforced    bool      `json:"enforced"`

		When when `json:"-"`
	}
)

// lists are what the page has as JSON, by name.
func (p *page) lists() map[string]func() any {
	return map[string]func() any{
		"held":     func() any { return p.g.heldRows(nil) },
		"verdicts": func() any { return p.g.verdictRows(0) },
		"doubts":   func() any { return p.g.doubtRows() },
		"devices":  func() any { return p.g.deviceRows() },
		"fronts":   func() any { return p.g.frontRows() },
		"refusals": func() any { return p.g.refusalRows() },
		"emergencies": func() any {
			return p.g.emergencyRows(p.g.news.newest(&p.g.news.emergencies))
		},
	}
}

func (g *Guard) heldRows(v *viewer) []HeldState {
	now := g.cfg.Now()
	conf := g.conf.Load()
	rows := []HeldState{}
	for _, h := range g.gate.Held() {
		d, _ := conf.Device(h.Device)
		c := &h.Command
		row := HeldState{
			ID: h.ID, Front: h.Front, Device: h.Device, Actor: h.Actor, Verb: c.Verb.String(), Drug: c.Drug, Now: words(c.Now), Value: words(c.Value),
			Limit: words(c.Limit), Effect: device.EffectOf(c).String(), Why: h.Reason, Asked: h.Asked, Expires: h.Expires,
			Left: left(h.Expires.Sub(now)), When: whenOf(h.Asked, now), What: fingerprint(&h), Dose: isDose(c.Verb),
		}
		row.Therapy = d.Therapy.String()
		row.Harm, row.Bars = harmOf(d.Therapy)
		row.Self = v != nil && (v.ID == h.Actor || slices.Contains(v.Actors, h.Actor))
		rows = append(rows, row)
	}
	return rows
}

// isDose reports whether a command gives once what its value says, and changes nothing that
// holds now.
func isDose(v device.Verb) bool {
	switch v {
	case device.DeliverBolus, device.Prime, device.DeliverShock, device.Induce:
		return true
	}
	return false
}

// fingerprint tells one held command from another that has its number later.
func fingerprint(h *gate.Held) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%v\x00%d", h.ID, h.Front, h.Device, h.Command, h.Asked.UnixNano()))
	return hex.EncodeToString(sum[:8])
}

// harmOf is the worst credible harm of a therapy, in a word and in bars.
func harmOf(t device.Therapy) (string, []bool) {
	h := device.TherapiesOf(t).Harm()
	bars := make([]bool, device.Catastrophic)
	for i := range bars {
		bars[i] = i < int(h)
	}
	return h.String(), bars
}

// verdictRows are the last verdicts, at most so many; 0 is all that are kept.
func (g *Guard) verdictRows(most int) []verdictRow {
	now := g.cfg.Now()
	rows := []verdictRow{}
	for _, s := range g.gate.Recent() {
		if most > 0 && len(rows) == most {
			break
		}
		c := &s.Command
		rows = append(rows, verdictRow{
			s.Time, s.Front, s.Device, s.Actor, c.Verb.String(), c.Drug, words(c.Now), words(c.Value), s.Effect.String(),
			s.Verdict.String(), s.Enforced, s.Reason, whenOf(s.Time, now), isDose(c.Verb),
		})
	}
	return rows
}

func (g *Guard) doubtRows() []DoubtState {
	now := g.cfg.Now()
	rows := []DoubtState{}
	for _, d := range g.book.Doubts() {
		rows = append(rows, DoubtState{d.ID, d.Device, d.Verb.String(), words(d.Value), words(d.Limit), d.Actor, d.Since, d.Why, whenOf(d.Since, now)})
	}
	return rows
}

func (g *Guard) deviceRows() []DeviceState {
	rows := []DeviceState{}
	for _, d := range g.conf.Load().Devices {
		row := g.deviceRow(&d)
		for i := range row.Sums {
			row.Sums[i].Hour = nil // it is drawn
		}
		rows = append(rows, row)
	}
	return rows
}

// standing is what does not change as time goes by.
func (g *Guard) standing(d *Device) DeviceState {
	g.mu.Lock()
	since := g.since[d.ID]
	g.mu.Unlock()
	row := DeviceState{ID: d.ID, Therapy: d.Therapy.String(), Since: since, Sums: []SumState{}}
	row.Harm, row.Bars = harmOf(d.Therapy)
	row.Enforcing, row.Because = d.Envelope.Enforcing()
	if e := d.Envelope; e != nil {
		row.Envelope, row.Version, row.Drug, row.Limits = e.Name, e.Version, e.Drug, e.Says()
		row.Author, row.Approver, row.AuthorRole, row.ApproverRole = e.Author.ID, e.Approver.ID, e.Author.Role.String(), e.Approver.Role.String()
		row.Risk, row.Manufacturer, row.Digest = e.Risk.Record, e.Risk.Manufacturer, fmt.Sprintf("%x", e.Digest())
	}
	return row
}

func (g *Guard) deviceRow(d *Device) DeviceState {
	row := g.standing(d)
	now := g.cfg.Now()
	v := g.book.View(d.ID, d.Envelope)
	row.State, row.Rate, row.Reported, row.NotCounted, row.ClockDoubt = g.gate.State(d.ID), rateWords(&v, d.Envelope), v.Reported, v.NotCounted, v.ClockDoubt
	row.When, row.Heard = whenOf(row.Since, now), whenOf(v.Reported, now)
	if d.Envelope == nil || len(d.Envelope.Sums) == 0 {
		row.NotCounted = "" // nothing is counted of it at all
		if !v.RateKnown {
			row.Rate = ""
		}
	}
	for i := range v.Sums {
		row.Sums = append(row.Sums, g.pictures.sum(now, d, &v, i))
		pic := row.Sums[i].Picture(d.ID, now)
		pic.ID = fmt.Sprintf("%s-%d", d.ID, i)
		row.Pictures = append(row.Pictures, pic)
	}
	return row
}

// rateWords says what runs now, in the unit in which the envelope limits it: that of orders.
func rateWords(v *envelope.View, e *envelope.Envelope) string {
	say := said
	if e != nil {
		i := slices.IndexFunc(e.Verbs, func(l envelope.Limits) bool {
			return (l.Verb == device.SetInfusionRate || l.Verb == device.SetBasalRate || l.Verb == device.SetTemporaryBasal) && !l.Max.IsNone()
		})
		if i >= 0 {
			say = func(q device.Quantity) string {
				if c, err := q.Convert(e.Verbs[i].Max.Unit); err == nil {
					q = c
				}
				return said(q)
			}
		}
	}
	switch {
	case !v.RateKnown:
		return "not known: the device has not said"
	case v.Off:
		return "perhaps nothing: it was told to stop"
	case v.Rate[0] == v.Rate[1]:
		return say(v.Rate[1])
	}
	return say(v.Rate[0]) + " to " + say(v.Rate[1])
}

func (g *Guard) frontRows() []frontRow {
	now := g.cfg.Now()
	rows := []frontRow{}
	for _, f := range g.Fronts() {
		s := f.Settings
		row := frontRow{
			Name: s.Name, Kind: s.Kind, Device: s.Device, Protects: "client", Mode: "enforce", Listen: s.Listen.Address, Forward: s.Forward.Address,
			Outside: "TLS", Since: f.Since, Connections: f.Connections, Refused: f.Refused, Trouble: f.Trouble, Restarts: f.Restarts, Bypass: s.Bypass,
			When: whenOf(f.Since, now),
		}
		if s.Server {
			row.Protects = "server"
		}
		if s.Mode != 0 {
			row.Mode = "observe"
		}
		switch o := s.Outside(); {
		case s.Kind == "coap":
			row.Outside = "OSCORE"
		case o.TLS == nil && o.Clear != "":
			row.Outside = "in clear: " + o.Clear
		case o.TLS == nil:
			row.Outside = "in clear"
		}
		rows = append(rows, row)
	}
	return rows
}

func (g *Guard) refusalRows() []refusalRow {
	now := g.cfg.Now()
	rows := []refusalRow{}
	for _, e := range g.news.newest(&g.news.refusals) {
		t := time.Unix(0, e.Time)
		rows = append(rows, refusalRow{
			t, e.Text(event.Front), e.Peer.Value, e.Text(event.Operation), e.Text(event.Destination), e.Text(event.Reason), e.Int(event.Count),
			e.Int(event.Enforced) == 1, whenOf(t, now),
		})
	}
	return rows
}

func (g *Guard) emergencyRows(events []event.Event) []EmergencyState {
	now := g.cfg.Now()
	rows := []EmergencyState{}
	for _, e := range events {
		t := time.Unix(0, e.Time)
		row := EmergencyState{
			Time: t, Device: e.Device.Value, Front: e.Text(event.Front), Actor: e.Text(event.Actor), Target: e.Text(event.Target),
			Reason: e.Text(event.Reason), Outcome: "refused or closed", When: whenOf(t, now),
		}
		if event.Result(e.Int(event.Outcome)) == event.Succeeded {
			row.Outcome = "opened"
		}
		if n := e.Int(event.NotAfter); n != 0 {
			row.Until = time.Unix(n, 0)
			row.Left = left(row.Until.Sub(now))
		}
		rows = append(rows, row)
	}
	return rows
}

// openRows are the emergencies that are open now.
func (g *Guard) openRows() []EmergencyState {
	now := g.cfg.Now()
	rows := []EmergencyState{}
	for _, e := range g.emergencies() {
		why, at := g.news.why(e.device, e.actor)
		rows = append(rows, EmergencyState{
			Time: at, Device: e.device, Actor: e.actor, Target: e.device, Reason: why, Outcome: "open", Until: e.until,
			When: whenOf(at, now), Left: left(e.until.Sub(now)),
		})
	}
	return rows
}

func ip(address string) device.Address { return device.Address{Kind: device.IP, Value: address} }

// commandWords says a command in a few words: "set-infusion-rate norepinephrine 0.8 ug/kg/min".
func commandWords(c *device.Command) string {
	return strings.Join(strings.Fields(strings.Join([]string{c.Verb.String(), c.Drug, words(c.Value)}, " ")), " ")
}

// The pages.
type (
	messagePage struct {
		frame
		Text string
	}
	loginPage struct {
		frame
		To, Wrong string
	}
	todayPage struct {
		frame
		Answer, Lead, Mood string
		Emergencies        []EmergencyState
		Held               []HeldState
		Doubts             []DoubtState
		Devices            []DeviceState
		Verdicts           []verdictRow
		Fronts             []frontRow
		Refusals           []refusalRow
		Trouble            []string
		Clock              []string
	}
	heldPage struct {
		frame
		Held   HeldState
		Device DeviceState
	}
	doubtPage struct {
		frame
		Doubt  DoubtState
		Device DeviceState
	}
	devicePage struct {
		frame
		Device   DeviceState
		Verdicts []verdictRow
	}
	verdictsPage struct {
		frame
		Verdicts []verdictRow
	}
	refusalsPage struct {
		frame
		Refusals []refusalRow
	}
)

const todayRows = 12 // of verdicts and refusals on the first page

func (p *page) today(w http.ResponseWriter, r *http.Request, v *viewer) error {
	g := p.g
	t := &todayPage{
		frame: p.frame(v, "Guard"), Emergencies: g.openRows(), Held: g.heldRows(v), Doubts: g.doubtRows(), Devices: g.deviceRows(),
		Verdicts: g.verdictRows(todayRows), Fronts: g.frontRows(), Refusals: g.refusalRows(), Trouble: g.Unready(),
	}
	t.Refusals = t.Refusals[:min(len(t.Refusals), todayRows)]
	if t.Paused = r.URL.Query().Has("pause"); !t.Paused {
		t.Renew = renewEvery
	}
	v.Flash = p.sessions.said(r)
	for _, d := range t.Devices {
		if d.ClockDoubt != "" && !slices.Contains(t.Clock, d.ClockDoubt) {
			t.Clock = append(t.Clock, d.ClockDoubt)
		}
	}
	t.say()
	return p.render(w, http.StatusOK, "today", t)
}

// say writes the sentence that answers the question.
func (t *todayPage) say() {
	var parts []string
	if n := len(t.Emergencies); n > 0 {
		parts = append(parts, counted(n, "emergency session is", "emergency sessions are")+" open")
		t.Mood = "allow-emergency"
	}
	if n := len(t.Held); n > 0 {
		parts = append(parts, counted(n, "command is", "commands are")+" waiting for a clinician")
		t.Mood = cmp.Or(t.Mood, "hold")
	}
	if n := len(t.Doubts); n > 0 {
		parts = append(parts, "of "+counted(n, "dose", "doses")+" nobody knows whether "+map[bool]string{true: "it was", false: "they were"}[n == 1]+" given")
		t.Mood = cmp.Or(t.Mood, "hold")
	}
	if n := len(t.Trouble); n > 0 {
		parts = append(parts, counted(n, "thing is", "things are")+" not as it should be with the guard itself")
		t.Mood = cmp.Or(t.Mood, "deny")
	}
	if len(parts) == 0 {
		parts = []string{"nothing is waiting"}
		t.Mood = "allow"
	}
	for i, s := range parts {
		parts[i] = strings.ToUpper(s[:1]) + s[1:] + "."
	}
	t.Answer = strings.Join(parts, " ")
	enforcing := 0
	for _, d := range t.Devices {
		if d.Enforcing {
			enforcing++
		}
	}
	t.Lead = fmt.Sprintf("%s guarded here; of %s the limits are enforced, the others are only observed. A held command is refused, never delivered late, when nobody confirms it in time.",
		counted(len(t.Devices), "device is", "devices are"), strconv.Itoa(enforcing))
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + more
}

func (p *page) held(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if _, err := p.found(r); err != nil {
		return err
	}
	t := &heldPage{frame: p.frame(v, "Waiting")}
	for _, h := range p.g.heldRows(v) {
		if h.ID == r.PathValue("id") {
			t.Held = h
		}
	}
	d, _ := p.g.conf.Load().Device(t.Held.Device)
	t.Device = p.g.deviceRow(&d)
	return p.render(w, http.StatusOK, "held", t)
}

func (p *page) doubt(w http.ResponseWriter, r *http.Request, v *viewer) error {
	t := &doubtPage{frame: p.frame(v, "In doubt")}
	for _, d := range p.g.doubtRows() {
		if strconv.FormatUint(d.ID, 10) == r.PathValue("id") {
			t.Doubt = d
			dev, _ := p.g.conf.Load().Device(d.Device)
			dev.ID = d.Device
			t.Device = p.g.deviceRow(&dev)
			return p.render(w, http.StatusOK, "doubt", t)
		}
	}
	return &statusError{http.StatusGone, "no such dose is in doubt: somebody has settled it, or the device has. Nothing was done now"}
}

func (p *page) device(w http.ResponseWriter, r *http.Request, v *viewer) error {
	d, ok := p.g.conf.Load().Device(r.PathValue("id"))
	if !ok {
		return &statusError{http.StatusNotFound, "no device of this id is guarded here"}
	}
	t := &devicePage{frame: p.frame(v, d.ID), Device: p.g.deviceRow(&d)}
	for _, x := range p.g.verdictRows(0) {
		if x.Device == d.ID {
			t.Verdicts = append(t.Verdicts, x)
		}
	}
	return p.render(w, http.StatusOK, "device", t)
}

func (p *page) verdicts(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return p.render(w, http.StatusOK, "verdicts", &verdictsPage{p.frame(v, "Verdicts"), p.g.verdictRows(0)})
}

func (p *page) refusals(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return p.render(w, http.StatusOK, "refusals", &refusalsPage{p.frame(v, "Refusals"), p.g.refusalRows()})
}
