// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
)

// A watcher is what a sensor of the hospital is told.
type watcher struct {
	Number int
	Guard  bool
	Dir    string
	Server string
	Token  string
	From   int // item
}

// watch keeps items, some at once, and says the number of the last when they are kept,
// until standard input ends. Then it sends the rest.
func watch(ctx context.Context, doc string, out io.Writer) error {
	var w watcher
	if err := json.Unmarshal([]byte(doc), &w); err != nil {
		return err
	}
	c, err := uplink.Open(w.Dir, uplink.Config{Server: w.Server, Token: w.Token, Version: "trial"})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { c.Run(running) })
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for n := w.From; ; {
		select {
		case <-over:
			err := c.Drain(ctx)
			stop()
			all.Wait()
			return err
		case <-tick.C:
		}
		for range perKeep - 1 {
			if err := c.Put(w.item(n)); err != nil {
				return err
			}
			n++
		}
		if err := c.Keep(ctx, w.item(n)); err != nil {
			return err
		}
		fmt.Fprintln(out, n)
		n++
	}
}

// findingOf is the name of one of a sensor's findings.
func findingOf(sensor, n int) string {
	return finding.IDOf(finding.WeakTLS, fmt.Sprintf("%d-%d", sensor, n))
}

func host(sensor, net, n int) device.Address {
	return device.Address{Kind: device.IP, Value: fmt.Sprintf("10.%d.%d.%d", sensor, net, n)}
}

// item is what is seen at once. Of a guard it is a verdict that has the number as its
// time; of a sensor an observation that has it as its port, some that have not, and
// one thing wrong, which is at times worse.
func (w *watcher) item(n int) *store.Batch {
	if w.Guard {
		e := event.Event{Kind: event.VerdictGiven, Time: int64(n), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
		e.Add(event.Int(event.Verdict, device.Deny))
		return &store.Batch{Events: []event.Event{e}}
	}
	at := time.Now().UnixNano()
	id := fmt.Sprintf("dev-%d-%d", w.Number, n%perSensor)
	b := &store.Batch{
		Observations: []store.Observation{{Client: host(w.Number, 0, 1), Server: host(w.Number, 0, 2), Protocol: "hl7", Port: uint16(n), First: at, Last: at, Count: 1}},
		Devices:      []device.Device{{ID: id, Addresses: []device.Address{host(w.Number, 2, 1+n%perSensor)}}},
		Findings: []finding.Finding{{
			ID: findingOf(w.Number, n%perSensor), Kind: finding.WeakTLS, Title: "weak TLS", Device: id, Harm: device.Serious,
			Decision: finding.Decision(n / (visits * perSensor) % 4), Count: uint64(n), First: at, Last: at,
		}},
	}
	for i := range perItem {
		b.Observations = append(b.Observations, store.Observation{Client: host(w.Number, 1, 1+i), Server: host(w.Number, 0, 2), Protocol: "dicom", Port: 104, First: at, Last: at, Count: 1})
	}
	return b
}

// A Request is what an analyst asked for, and was told.
type Request struct {
	Key      string   // its comment and its reason
	IDs      []string // that it is about; none: it takes back the request with Undoes
	Undoes   int64
	Status   int   // of the answer; 0: there was none
	Triage   int64 // by which it can be taken back
	Changed  int
	Repeated int // how often it was sent after an answer that did not come
}

// An analyst triages by the interface for programs, at whichever server is there.
type analyst struct {
	h      *hospital
	number int
	rng    *rand.Rand
	done   []*Request
}

func newAnalyst(h *hospital, number int) *analyst {
	return &analyst{h: h, number: number, rng: rand.New(rand.NewPCG(h.cfg.seed, uint64(100+number)))}
}

const (
	mostChosen = 10
	asksAgain  = 3
)

var states = [...]string{store.Open, store.Acknowledged, store.Fixed, store.FalsePositive}

// work triages until ctx ends.
func (a *analyst) work(ctx context.Context) {
	var last int64
	for n := 0; ctx.Err() == nil; n++ {
		q := &Request{Key: fmt.Sprintf("t-%d-%d", a.number, n)}
		path, body := "", any(struct{}{})
		if last != 0 && a.rng.IntN(4) == 0 {
			q.Undoes, last = last, 0
			path = fmt.Sprintf("triages/%d/undo", q.Undoes)
		} else {
			sensor := 1 + a.rng.IntN(2)
			for _, i := range a.rng.Perm(perSensor)[:1+a.rng.IntN(mostChosen)] {
				q.IDs = append(q.IDs, findingOf(sensor, i))
			}
			d := map[string]any{"ids": q.IDs, "state": states[a.rng.IntN(len(states))], "comment": q.Key, "reason": q.Key}
			if d["state"] == store.FalsePositive {
				d["justification"] = "component_not_present"
			}
			if a.rng.IntN(3) == 0 {
				d["assignee"] = [...]string{"te", ""}[a.rng.IntN(2)]
			}
			path, body = "triages", d
		}
		doc, err := json.Marshal(body)
		if err != nil {
			panic(err) // of our own making
		}
		for ; q.Repeated < asksAgain; q.Repeated++ {
			if a.ask(ctx, q, path, doc); q.Status != 0 || ctx.Err() != nil {
				break
			}
			pause(ctx, 100*time.Millisecond)
		}
		if q.Status == http.StatusOK && q.Triage != 0 {
			last = q.Triage
		}
		a.done = append(a.done, q)
		pause(ctx, time.Duration(100+a.rng.IntN(600))*time.Millisecond)
	}
}

// ask sends a request to some server, with a key by which it is done once however often it is sent.
func (a *analyst) ask(ctx context.Context, q *Request, path string, doc []byte) {
	at := a.h.books.servers[a.rng.IntN(len(a.h.books.servers))]
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "https://"+at+"/api/v1/"+path, bytes.NewReader(doc))
	if err != nil {
		panic(err) // of our own making
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Idempotency-Key", q.Key)
	w, err := a.h.client.Do(r)
	if err != nil {
		return
	}
	defer w.Body.Close()
	var told struct {
		Triage  int64
		Changed int
	}
	err = json.NewDecoder(io.LimitReader(w.Body, 1<<20)).Decode(&told)
	if err != nil || w.StatusCode >= http.StatusInternalServerError {
		return
	}
	q.Status, q.Triage, q.Changed = w.StatusCode, told.Triage, told.Changed
}
