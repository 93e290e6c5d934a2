// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxRecordBytes bounds one record of an authority's file. Those of openFDA
// list every establishment that makes such a device, and have up to 1 MiB.
const maxRecordBytes = 8 << 20

var (
	errFeed   = errors.New("none of the authorities' files of devices")
	errRecord = errors.New("a record larger than any of the authorities'")
)

// A RecordsError says that some records of a file were not as documented. The
// others were read.
type RecordsError struct {
	Count int // of these records
	First int // number of the first, from 1; of a delimited file the line
}

func (e *RecordsError) Error() string {
	return fmt.Sprintf("%d records are not as documented, the first is number %d", e.Count, e.First)
}

func (e *RecordsError) bad(number int) {
	if e.Count++; e.Count == 1 {
		e.First = number
	}
}

func (e *RecordsError) orNil() error {
	if e.Count == 0 {
		return nil
	}
	return e
}

// A meter ends a reader that goes on for too long within one record.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errRecord
	}
	n, err := m.r.Read(b)
	m.left -= n
	return n, err
}

// records reads the records of JSON: those under "results", as openFDA has
// them, an array of them, or one alone. The file is never held as a whole.
func records[T any](r io.Reader, each func(*T)) error {
	m := &meter{r, maxRecordBytes}
	dec := json.NewDecoder(m)
	var bad RecordsError
	n := 0
	array := func() error {
		for dec.More() {
			m.left = maxRecordBytes
			var v T
			n++
			var wrong *json.UnmarshalTypeError
			switch err := dec.Decode(&v); {
			case errors.As(err, &wrong):
				bad.bad(n)
			case err != nil:
				return cause(err, n)
			default:
				each(&v)
			}
		}
		_, err := dec.Token()
		return cause(err, n)
	}
	tok, err := dec.Token()
	switch {
	case err != nil:
		return errFeed
	case tok == json.Delim('['):
		if err := array(); err != nil {
			return err
		}
		return bad.orNil()
	case tok != json.Delim('{'):
		return errFeed
	}
	alone := map[string]json.RawMessage{}
	size := 0
	for dec.More() {
		m.left = maxRecordBytes
		k, err := dec.Token()
		if err != nil {
			return cause(err, n)
		}
		if k == "results" {
			if open, err := dec.Token(); err != nil || open != json.Delim('[') {
				return errFeed
			}
			if err := array(); err != nil {
				return err
			}
			return bad.orNil() // what follows says nothing of devices
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return cause(err, n)
		}
		if size += len(raw); size > maxRecordBytes {
			return errRecord
		}
		alone[k.(string)] = raw
	}
	if _, err := dec.Token(); err != nil {
		return cause(err, n)
	}
	b, _ := json.Marshal(alone) // of parts that were read
	var v T
	if json.Unmarshal(b, &v) != nil {
		bad.bad(1)
		return &bad
	}
	each(&v)
	return nil
}

// cause is an error without the text of package json, which repeats a character
// of what it read.
func cause(err error, n int) error {
	if err == nil || errors.Is(err, errRecord) {
		return err
	}
	return fmt.Errorf("not JSON after record %d", n)
}

// texts is a list of texts, or one text.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(t))
	}
	var s string
	err := json.Unmarshal(b, &s)
	if s != "" {
		*t = texts{s}
	}
	return err
}
