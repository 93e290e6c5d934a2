// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A reader reads one item, and knows where in the envelope it is.
type reader struct {
	cbor.Reader
	path string
	base int
}

// newReader checks that b, which begins base bytes into the envelope, is one item
// of the profile.
func newReader(b []byte, base int, path string) (reader, error) {
	r, err := cbor.Parse(b)
	x := reader{r, path, base}
	if err != nil {
		return x, x.wrap(err)
	}
	return x, nil
}

// wrap turns an error of internal/cbor into one of this package.
func (r *reader) wrap(err error) error {
	var s *cbor.SyntaxError
	if errors.As(err, &s) {
		return &SyntaxError{r.path, r.base + s.Off, s.Err}
	}
	return err
}

// bad reports what is wrong at an offset within the reader's item.
func (r *reader) bad(at int, err error, why string) error {
	if r.Err() != nil {
		return r.wrap(r.Err()) // which came first
	}
	return &SyntaxError{r.path, r.base + at, fmt.Errorf("%w: %s", err, why)}
}

// err is the first failure of the reader.
func (r *reader) err() error {
	if r.Err() != nil {
		return r.wrap(r.Err())
	}
	return nil
}

// done is err, and a failure when something is left.
func (r *reader) done() error {
	if r.Done() != nil {
		return r.wrap(r.Err())
	}
	return nil
}

// at is where the reader is, in bytes from the start of the envelope.
func (r *reader) at() int { return r.base + r.Off() }

// bytes reads a byte string, and says where its content begins.
func (r *reader) bytes() (b []byte, off int) {
	b = r.Bytes()
	return b, r.at() - len(b)
}

// nested reads a byte string that has one item in it.
func (r *reader) nested(name string) (reader, error) {
	b, off := r.bytes()
	if err := r.err(); err != nil {
		return reader{}, err
	}
	return newReader(b, off, r.path+"/"+name)
}

// count bounds the length of an array or map that was read.
func (r *reader) count(n, least, most int) error {
	if err := r.err(); err != nil {
		return err
	}
	if n < least {
		return r.bad(r.Off(), ErrStructure, "fewer than "+strconv.Itoa(least)+" entries")
	}
	if n > most {
		return r.bad(r.Off(), ErrLimit, "more than "+strconv.Itoa(most)+" entries")
	}
	return nil
}
