// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// The bounds of a batch on its way to a server.
const (
	MaxBatchBytes   = 4 << 20
	MaxObservations = maxObservations
	MaxDevices      = 500
	MaxFindings     = 250
	MaxEvents       = 1000
	MaxHeld         = 512

	maxAddresses = 256  // of one device
	maxListed    = 4096 // CVE, peers, reasons of one finding
)

// ErrBatch is of a batch that no sensor of ours would send.
var ErrBatch = errors.New("not a batch")

// A wireBatch is a batch in JSON: its fields under their names, each event as
// [event.Append] writes it.
type wireBatch struct {
	*Batch
	Observations bounded[Observation]
	Devices      bounded[device.Device]
	Findings     bounded[finding.Finding]
	Held         bounded[Held]
	Events       bounded[json.RawMessage]
}

// bounded is a list of which no more is made than is let in.
type bounded[T any] []T

func (l *bounded[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	if string(b) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return ErrBatch
	}
	for d.More() {
		if len(*l) == MaxObservations {
			return fmt.Errorf("%w: a list of more than %d", ErrBatch, MaxObservations)
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return err
		}
		*l = append(*l, v)
	}
	return nil
}

// Encode writes a batch as it travels.
func (b *Batch) Encode() ([]byte, error) {
	w := wireBatch{Batch: b, Observations: b.Observations, Devices: b.Devices, Findings: b.Findings, Held: b.Held}
	for i := range b.Events {
		w.Events = append(w.Events, event.Append(nil, &b.Events[i]))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // events have one form only
	err := e.Encode(&w)
	return out.Bytes(), err
}

// DecodeBatch reads a batch from somebody who may be hostile. It has no more memory
// than some twenty times the bytes. NUL, which no database takes, becomes U+FFFD.
func DecodeBatch(b []byte) (*Batch, error) {
	if len(b) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes; at most %d", ErrBatch, len(b), MaxBatchBytes)
	}
	w := wireBatch{Batch: &Batch{}}
	if err := json.Unmarshal(noNUL(b), &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	out := w.Batch
	out.Observations, out.Devices, out.Findings, out.Held = w.Observations, w.Devices, w.Findings, w.Held
	if string(out.State) == "null" {
		out.State = nil
	}
	for _, raw := range w.Events {
		e, err := event.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBatch, err)
		}
		out.Events = append(out.Events, e)
	}
	return out, out.check()
}

// check holds the bounds of what stands in a batch.
func (b *Batch) check() error {
	switch {
	case b.Sequence == 0 || b.Sequence > 1<<62:
		return fmt.Errorf("%w: number %d", ErrBatch, b.Sequence)
	case len(b.State) > MaxStateBytes:
		return fmt.Errorf("%w: a state of %d bytes", ErrBatch, len(b.State))
	case len(b.Devices) > MaxDevices || len(b.Findings) > MaxFindings || len(b.Held) > MaxHeld:
		return fmt.Errorf("%w: %d devices, %d findings, %d held commands", ErrBatch, len(b.Devices), len(b.Findings), len(b.Held))
	}
	for i := range b.Observations {
		o := &b.Observations[i]
		if len(o.Client.Value) > maxText || len(o.Server.Value) > maxText || len(o.Protocol) > maxText || !counts(o.Count, o.Packets, o.Bytes) || o.Last < 0 || o.First < 0 {
			return fmt.Errorf("%w: observation %d", ErrBatch, i)
		}
	}
	for i := range b.Devices {
		if d := &b.Devices[i]; d.ID == "" || len(d.ID) > maxText || len(d.Addresses) > maxAddresses || len(d.Protocols) > maxAddresses {
			return fmt.Errorf("%w: device %d", ErrBatch, i)
		}
	}
	for i := range b.Findings {
		f := &b.Findings[i]
		if f.ID == "" || len(f.ID) > maxText || len(f.Sightings) > finding.MaxSightings || !counts(f.Count) ||
			max(len(f.CVE), len(f.CWE), len(f.Advisories), len(f.Peers), len(f.Why), len(f.CVSS), len(f.Opinions)) > maxListed {
			return fmt.Errorf("%w: finding %d", ErrBatch, i)
		}
	}
	return nil
}

// counts reports whether numbers have room where they are added up.
func counts(n ...uint64) bool {
	for _, v := range n {
		if v >= 1<<48 {
			return false
		}
	}
	return true
}

// noNUL replaces the escape of NUL in JSON.
func noNUL(b []byte) []byte {
	nul := []byte(`\u0000`)
	if !bytes.Contains(b, nul) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		switch {
		case bytes.HasPrefix(b[i:], nul):
			out = append(out, "\ufffd"...)
			i += len(nul)
		case b[i] == '\\' && i+1 < len(b):
			out = append(out, b[i], b[i+1])
			i += 2
		default:
			out = append(out, b[i])
			i++
		}
	}
	return out
}
