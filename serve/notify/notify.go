// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package notify tells systems outside what changed: webhooks, syslog (RFC 5424, with
// CEF or OCSF in it) and e-mail. What is told is in the store's notices, which are
// written in the transaction of what they tell; a receiver's position among them is
// kept after it has one. So each receiver has all of them at least once, and those of
// a finding in their order, whenever a server is killed. docs/notify.md has the forms.
//
// This API follows the server and may change.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// A Message is what receivers are told: docs/notify.md has each field.
type Message struct {
	Version int       `json:"version"`
	ID      int64     `json:"id"` // grows; the same when it is sent again
	What    string    `json:"what"`
	Time    time.Time `json:"time"`
	Site    string    `json:"site"`
	Link    string    `json:"link,omitempty"`
	Finding Finding   `json:"finding,omitzero"`
	Command *Command  `json:"command,omitempty"` // of "held" and "emergency", which have no finding
	Update  *Update   `json:"update,omitempty"`  // of "rollout-halted", "update-ended" and "update-silent", which have none either
}

// An Update is what a message says of an update that went wrong: a roll-out was halted,
// a device lost its function or its settings, or does not say how its update ended.
type Update struct {
	Rollout string `json:"rollout"`
	Device  string `json:"device,omitempty"`
	Version string `json:"version,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	By      string `json:"by,omitempty"` // who halted it; nothing: it did so itself
	Why     string `json:"why,omitempty"`
	Final   bool   `json:"final,omitempty"` // no roll-out ever offers the release again
}

// A Command is what a message says of a command that waits at a guard for a clinician,
// or of an emergency that somebody opened there: not for how much, nor who asked.
type Command struct {
	Guard   string    `json:"guard"`
	ID      string    `json:"id"` // at the guard; of an emergency the number of the verdict
	Device  string    `json:"device"`
	Verb    string    `json:"verb,omitempty"`
	Effect  string    `json:"effect,omitempty"`
	Asked   time.Time `json:"asked,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

// about is what a message is of in forms that know findings alone.
func (m *Message) about() *Finding {
	if u := m.Update; u != nil {
		f := &Finding{ID: u.Rollout, Kind: m.What, Decision: finding.Act.String(), State: store.Open, Device: u.Device, First: m.Time, Last: m.Time, decision: finding.Act}
		switch m.What {
		case "rollout-halted":
			f.Title, f.Advice = "A roll-out of updates was halted: "+u.Why, "Nothing more is installed. See to the devices that were updated already, and say on the page of the roll-out what is to become of it."
		case "update-silent":
			f.ID += "/" + u.Device
			f.Title, f.Advice = "A device does not say how its update ended", "See at the device that therapy is given as before."
		default:
			f.ID += "/" + u.Device
			f.Title, f.Advice = "A device was updated: "+u.Outcome, "See to the patient and the device at once; its settings were saved before the update."
		}
		return f
	}
	c := m.Command
	if c == nil {
		return &m.Finding
	}
	f := &Finding{ID: c.Guard + "/" + c.ID, Kind: "command-held", Decision: finding.Act.String(), State: store.Open, Device: c.Device, First: c.Asked, Last: c.Asked, decision: finding.Act}
	if m.What == "emergency" {
		f.Kind, f.Title, f.Advice = "emergency-opened", "An emergency was opened at a guard", "See that the emergency is one, and that it is closed when it is over."
		return f
	}
	f.Title = "A command waits for a clinician: " + c.Verb
	f.Advice = "A clinician confirms or refuses it on the page Guard before " + c.Expires.Format(time.RFC3339) + "; then it is refused by itself."
	return f
}

// A Finding is what a message says of it. No patient data is in it.
type Finding struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	Title      string    `json:"title"`
	Decision   string    `json:"decision"`
	Harm       string    `json:"harm"`
	State      string    `json:"state"`
	Certainty  string    `json:"certainty,omitempty"`
	Device     string    `json:"device,omitempty"`
	Product    string    `json:"product,omitempty"`
	Protocol   string    `json:"protocol,omitempty"`
	CVE        []string  `json:"cve,omitempty"`
	Advisories []string  `json:"advisories,omitempty"`
	Advice     string    `json:"advice,omitempty"`
	Count      uint64    `json:"count"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	decision   finding.Decision
}

// A Receiver is a system outside.
type Receiver interface {
	Name() string // under which its position is kept
	// Send tells a message. A [*RefusedError] is not tried for ever.
	Send(ctx context.Context, m *Message) error
}

// A RefusedError is what a receiver says that does not want a message, as it is.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// A Config is what notify is given.
type Config struct {
	Store     *store.Store
	Receivers []Receiver
	Holder    string // this server among those of the store: one of them sends
	Site      string
	URL       string        // of the server, for links; "" is none
	Settle    time.Duration // that a notice waits: on PostgreSQL one of a lower number may come yet
	Now       func() time.Time
	Log       *slog.Logger
	// After waits before the next try; nil: the machine's clock does.
	After func(ctx context.Context, d time.Duration)
}

// The bounds of sending.
const (
	look      = time.Second // for notices
	lease     = time.Minute
	sendTime  = 20 * time.Second // of one message
	firstWait = time.Second
	lastWait  = 5 * time.Minute
	refusals  = 5 // after which a message that is refused is passed over, and logged
)

// Run sends until ctx is done.
func Run(ctx context.Context, c Config) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.After == nil {
		c.After = func(ctx context.Context, d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		}
	}
	var all sync.WaitGroup
	for _, r := range c.Receivers {
		all.Go(func() { c.serve(ctx, r) })
	}
	all.Wait()
}

// serve sends to one receiver.
func (c *Config) serve(ctx context.Context, r Receiver) {
	wait, refused := firstWait, 0
	for ctx.Err() == nil {
		n, err := c.some(ctx, r, &refused)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if n > 0 { // it is there, and does not take everything at once
				wait = firstWait
			}
			c.Log.Warn("a receiver has not been told; tried again", "receiver", r.Name(), "err", err, "in", wait)
			c.After(ctx, wait)
			wait = min(2*wait, lastWait)
		case n == 0:
			c.After(ctx, look)
			wait = firstWait
		default:
			wait = firstWait
		}
	}
}

// some sends what there is, in its order, and keeps the position after each.
func (c *Config) some(ctx context.Context, r Receiver, refused *int) (n int, err error) {
	key := "notify " + r.Name()
	if mine, err := c.Store.Lease(ctx, key, c.Holder, lease); err != nil || !mine {
		return 0, err
	}
	kept, err := c.Store.Setting(ctx, key)
	if err != nil {
		return 0, err
	}
	var at int64
	if kept != nil {
		if at, err = strconv.ParseInt(string(kept), 10, 64); err != nil {
			return 0, fmt.Errorf("%s: its position: %w", r.Name(), err)
		}
	}
	list, err := c.Store.Notices(ctx, at, 100)
	if err != nil {
		return 0, err
	}
	for i := range list {
		if c.Now().Sub(time.Unix(0, list[i].At)) < c.Settle {
			break
		}
		m, err := c.message(&list[i])
		if err == nil {
			send, cancel := context.WithTimeout(ctx, sendTime)
			err = r.Send(send, m)
			cancel()
		} else {
			err = &RefusedError{err.Error()}
		}
		var no *RefusedError
		switch {
		case errors.As(err, &no) && *refused+1 >= refusals:
			c.Log.Error("a receiver refuses a message, which is passed over", "receiver", r.Name(), "message", list[i].Seq, "err", err)
		case errors.As(err, &no):
			*refused++
			return n, err
		case err != nil:
			return n, err
		}
		*refused = 0
		next := strconv.AppendInt(nil, list[i].Seq, 10)
		if err := c.Store.SetSetting(ctx, key, kept, next); err != nil {
			return n, err
		}
		kept, n = next, n+1
		if mine, err := c.Store.Lease(ctx, key, c.Holder, lease); err != nil || !mine {
			return n, err
		}
	}
	return n, nil
}

func (c *Config) message(n *store.Notice) (*Message, error) {
	switch n.What {
	case event.RolloutHalted.String(), event.UpdateEnded.String(), event.UpdateSilent.String():
		var u store.UpdateNotice
		if err := json.Unmarshal(n.Body, &u); err != nil {
			return nil, fmt.Errorf("notice %d: %w", n.Seq, err)
		}
		m := &Message{Version: 1, ID: n.Seq, What: n.What, Time: at(n.At), Site: c.Site, Update: &Update{u.Rollout, u.Device, u.Version, u.Outcome, u.By, u.Why, u.Final}}
		if c.URL != "" {
			m.Link = c.URL + "/updates/" + url.PathEscape(u.Rollout)
		}
		return m, nil
	}
	if n.What == "held" || n.What == "emergency" {
		var h store.Held
		if err := json.Unmarshal(n.Body, &h); err != nil {
			return nil, fmt.Errorf("notice %d: %w", n.Seq, err)
		}
		m := &Message{Version: 1, ID: n.Seq, What: n.What, Time: at(n.At), Site: c.Site, Command: &Command{h.Guard, h.ID, h.Device, h.Verb, h.Effect, at(h.Asked), at(h.Expires)}}
		if c.URL != "" {
			m.Link = c.URL + "/guard"
			if n.What == "held" {
				m.Link += "/" + url.PathEscape(h.Guard) + "/held/" + url.PathEscape(h.ID)
			}
		}
		return m, nil
	}
	var f finding.Finding
	if err := json.Unmarshal(n.Body, &f); err != nil {
		return nil, fmt.Errorf("notice %d: %w", n.Seq, err)
	}
	m := MessageOf(&f, c.Site)
	m.ID, m.What, m.Time = n.Seq, n.What, at(n.At)
	if c.URL != "" {
		m.Link = c.URL + "/findings/" + url.PathEscape(f.ID)
	}
	return m, nil
}

// MessageOf is a message that says of a finding how it is.
func MessageOf(f *finding.Finding, site string) *Message {
	return &Message{Version: 1, What: "changed", Time: at(f.Last), Site: site, Finding: Finding{
		ID: f.ID, Kind: f.Kind.String(), Title: f.Title, Decision: f.Decision.String(), Harm: f.Harm.String(), State: f.State, Certainty: f.Certainty, Device: f.Device,
		Product: f.Product, Protocol: f.Protocol, CVE: f.CVE, Advisories: f.Advisories, Advice: f.Advice, Count: f.Count, First: at(f.First), Last: at(f.Last), decision: f.Decision,
	}}
}

func at(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
