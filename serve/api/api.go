// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package api is the interface of programs: JSON under /api/v1, described by OpenAPI
// 3.1 at /api/v1/openapi.json, with problems as RFC 9457 has them.
//
// Who asks sends a token as "Authorization: Bearer". Lists are walked by the cursor
// "next". What has an ETag is changed with If-Match, so that nobody overwrites what
// somebody else just changed. A write with an Idempotency-Key is done once, however
// often it is sent within a day.
//
// The paths and fields of version 1 stay; new fields may come.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/update"
	"github.com/myelin-health/myelin/store"
)

// A Config is what the API is given.
type Config struct {
	Store   *store.Store
	Access  *access.Access
	Add     func(ctx context.Context, by, name string, content []byte) (*store.Document, bool, error) // takes in a document; nil: nobody can send one
	Updates *update.Service                                                                           // nil: there are none
	Spool   string                                                                                    // folder of large bodies while they come; "" is the system's
	Most    int64                                                                                     // bytes of a document
	Now     func() time.Time                                                                          // nil: the machine's clock
	Log     *slog.Logger                                                                              // nil: nothing is logged
	Version string
}

// An API answers programs.
type API struct {
	Config
	mux    *http.ServeMux
	huma   huma.API
	routes []access.Route
	spec   []byte
	large  chan struct{} // bodies above mostHeld that are in memory
}

// New makes the API.
func New(c Config) (*API, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{Config: c, mux: http.NewServeMux(), large: make(chan struct{}, mostLarge)}
	h := huma.DefaultConfig("Myelin", "1")
	h.Info.Description = "Devices, findings, verdicts and documents of a hospital. Myelin is no medical device; no therapy may depend on what it says."
	h.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	h.OpenAPIPath, h.DocsPath, h.SchemasPath, h.CreateHooks = "", "", "", nil
	h.RejectUnknownQueryParameters = true
	h.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "A token of Settings. Its scopes are read, triage, ingest, update and admin; it may do nothing that its person may not."}}
	h.Servers = []*huma.Server{{URL: "/"}}
	a.huma = humago.New(a.mux, h)
	a.devices()
	a.splits()
	a.findings()
	a.guards()
	a.documents()
	a.updates()
	a.tokens()
	var err error
	if a.spec, err = json.Marshal(a.huma.OpenAPI()); err != nil {
		return nil, err
	}
	a.routes = append(a.routes, access.Route{Pattern: "GET /api/v1/openapi.json", Needs: access.Anyone, Handle: func(w http.ResponseWriter, _ *http.Request, _ *access.Principal) error {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, err := w.Write(a.spec)
		return err
	}})
	return a, nil
}

// Routes is the table of what programs can ask.
func (a *API) Routes() []access.Route { return a.routes }

// An operation is a row of the table, with what its description says.
type operation struct {
	id, method, path string
	needs            access.Permission
	says             string
	status           int // of success; 0 is 200
	most             int64
	once             bool // takes an Idempotency-Key
}

// mostBody bounds a body that is JSON.
const mostBody = 64 << 10

// add adds an operation.
func add[I, O any](a *API, op operation, f func(ctx context.Context, who *access.Principal, in *I) (*O, error)) {
	most := op.most
	if most == 0 {
		most = mostBody
	}
	scope := access.Permissions[op.needs].Scope
	o := huma.Operation{
		OperationID: op.id, Method: op.method, Path: "/api/v1" + op.path, Summary: op.says, DefaultStatus: op.status, MaxBodyBytes: most + 1, // huma refuses as much as this
		Description: "Needs: " + access.Permissions[op.needs].Name + "; of a token, the scope " + scope + ".",
		Security:    []map[string][]string{{"token": {scope}}}, Errors: []int{400, 401, 403, 404, 409, 412, 413, 422, 428, 500},
		Tags: []string{strings.Split(op.path, "/")[1]},
	}
	if op.once {
		one, most := 1, maxKey
		o.Parameters = append(o.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Description: "A key of the program's own: what is sent again under it within a day is not done again.",
			Schema: &huma.Schema{Type: "string", MinLength: &one, MaxLength: &most},
		})
	}
	huma.Register(a.huma, o, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, access.Of(ctx), in)
		if err != nil {
			return nil, a.problem(op.id, err)
		}
		return out, nil
	})
	handle := func(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
		a.mux.ServeHTTP(w, r)
		return nil
	}
	if op.once {
		handle = a.once(most, handle)
	} else if op.method != http.MethodGet {
		inner := handle
		handle = func(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
			if r.Header.Get(idempotencyKey) != "" {
				return &access.Error{Status: http.StatusBadRequest, Text: "This takes no Idempotency-Key: a secret is told once, and not kept."}
			}
			return inner(w, r, who)
		}
	}
	if most > mostHeld {
		handle = a.spooled(handle)
	}
	a.routes = append(a.routes, access.Route{Pattern: op.method + " /api/v1" + op.path, Needs: op.needs, Most: most + 1, Handle: handle})
}

const (
	mostHeld  = 1 << 20 // bytes of a body that is in memory while it comes
	mostLarge = 2       // larger ones that are in memory at once
)

// spooled has a body on the disk while it comes, however slowly, and then in memory when
// it is its turn.
func (a *API) spooled(inner access.Handler) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
		f, err := os.CreateTemp(a.Spool, "body-*")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := io.Copy(f, r.Body); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		select {
		case a.large <- struct{}{}:
			defer func() { <-a.large }()
		case <-r.Context().Done():
			return r.Context().Err()
		}
		r.Body = f
		return inner(w, r, who)
	}
}

// problem is the one place where errors become statuses. What is ours is logged, and
// nobody is told more of it.
func (a *API) problem(id string, err error) error {
	var said *access.Error
	var already huma.StatusError
	switch {
	case errors.As(err, &said):
		return huma.NewError(said.Status, said.Text)
	case errors.As(err, &already):
		return err
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("there is nothing here")
	case errors.Is(err, store.ErrConflict):
		return huma.Error412PreconditionFailed("somebody changed it meanwhile; read it again")
	case errors.Is(err, store.ErrCursor):
		return huma.Error400BadRequest(err.Error())
	}
	a.Log.Error("a request failed", "operation", id, "err", err)
	return huma.Error500InternalServerError("internal error")
}

// A Page is which part of a list is asked for.
type Page struct {
	Cursor string `query:"cursor" maxLength:"2000" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (p Page) of() store.Page { return store.Page{After: p.Cursor, Limit: p.Limit} }

// A list is a page of rows.
type list[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"cursor of the page that follows"`
	Total int    `json:"total" doc:"of the whole list"`
	More  bool   `json:"more,omitempty" doc:"there are more than total, which were not counted"`
}

type listed[T any] struct{ Body list[T] }

// listOf turns rows into what is told of them.
func listOf[R, T any](l *store.List[R], f func(*R) T) *listed[T] {
	out := &listed[T]{list[T]{Items: []T{}, Next: l.Next, Total: l.Total, More: l.More}}
	for i := range l.Rows {
		out.Body.Items = append(out.Body.Items, f(&l.Rows[i]))
	}
	return out
}

// at tells a time; never is nothing.
func at(n int64) *time.Time {
	if n == 0 {
		return nil
	}
	t := time.Unix(0, n).UTC()
	return &t
}

// etag names what is told, and which version of what people decided that is.
func etag(version int64, told any) string {
	b, _ := json.Marshal(told)
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf(`"%d-%x"`, version, h.Sum64())
}

// errPrecondition asks for If-Match.
var errPrecondition = huma.NewError(http.StatusPreconditionRequired, `send If-Match with the ETag that you read, or "*"`)

// matched reads the version of an If-Match: what sensors say meanwhile does not count,
// what people decide does. 0 is any.
func matched(ifMatch string) (int64, error) {
	if ifMatch == "" {
		return 0, errPrecondition
	}
	if ifMatch == "*" {
		return 0, nil
	}
	tag, ok := strings.CutPrefix(ifMatch, `"`)
	version, _, dash := strings.Cut(tag, "-")
	n, err := strconv.ParseInt(version, 10, 64)
	if !ok || !dash || err != nil || n <= 0 {
		return 0, huma.Error412PreconditionFailed("that is no ETag of this")
	}
	return n, nil
}

// unchanged answers a conditional request: who has it already needs no body.
func unchanged(ifNoneMatch, tag string) error {
	for t := range strings.SplitSeq(ifNoneMatch, ",") {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == tag || t == "*" {
			return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {tag}})
		}
	}
	return nil
}
