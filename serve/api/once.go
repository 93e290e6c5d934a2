// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/serve/access"
)

const (
	idempotencyKey = "Idempotency-Key"
	maxKey         = 255 // characters
	keyLife        = 24 * time.Hour
)

// told is an answer as it is kept.
type told struct {
	Status int
	Header map[string]string
	Body   []byte
}

// kept are the headers of an answer that are kept with it.
var kept = [...]string{"Content-Type", "Etag", "Location"}

// once answers a write under a key that was answered before as it was then. The key
// is of its person and path; another request under it is refused. What failed by our
// fault, or by another who was faster, is done again.
func (a *API) once(most int64, handle access.Handler) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
		key := r.Header.Get(idempotencyKey)
		if key == "" {
			return handle(w, r, who)
		}
		if len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return &access.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("An Idempotency-Key has 1 to %d printable characters of ASCII.", maxKey)}
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h := sha256.New()
		for _, s := range [...]string{r.Method, r.URL.RequestURI(), r.Header.Get("If-Match"), r.Header.Get("Content-Type")} {
			fmt.Fprintf(h, "%d %s\n", len(s), s)
		}
		h.Write(body)
		sum := h.Sum(nil)
		name := sha256.Sum256([]byte(strconv.FormatInt(who.Person.ID, 10) + "\n" + key))
		ctx, at := r.Context(), fmt.Sprintf("%x", name)
		have, err := a.Store.BeginAnswer(ctx, at, sum)
		switch {
		case err != nil:
			return err
		case have != nil && !bytes.Equal(have.Sum, sum):
			return &access.Error{Status: http.StatusUnprocessableEntity, Text: "This Idempotency-Key was sent with another request."}
		case have != nil && have.Done == nil:
			return &access.Error{Status: http.StatusConflict, Text: "The same request is being answered. Ask again in a moment."}
		case have != nil:
			var t told
			if err := json.Unmarshal(have.Done, &t); err != nil {
				return err
			}
			for k, v := range t.Header {
				w.Header().Set(k, v)
			}
			w.Header().Set("Idempotent-Replayed", "true")
			w.WriteHeader(t.Status)
			_, err := w.Write(t.Body)
			return err
		}
		rec := &recorder{header: http.Header{}, status: http.StatusOK}
		err = handle(rec, r, who)
		var done []byte
		if err == nil && rec.status < http.StatusInternalServerError && rec.status != http.StatusConflict && rec.status != http.StatusPreconditionFailed {
			t := told{rec.status, map[string]string{}, rec.body.Bytes()}
			for _, k := range kept {
				if v := rec.header.Get(k); v != "" {
					t.Header[k] = v
				}
			}
			done, _ = json.Marshal(&t)
		}
		if err := errors.Join(err, a.Store.KeepAnswer(ctx, at, done, keyLife)); err != nil {
			return err
		}
		for k, v := range rec.header {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.status)
		_, err = w.Write(rec.body.Bytes())
		return err
	}
}

// A recorder holds an answer until it is kept: what a program was told has to be
// what it is told again.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
