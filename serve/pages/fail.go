// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// messagePage says why there is no page.
type messagePage struct {
	frame `json:"-"`
	Text  string
}

// A Problem is what programs are told of an error: RFC 9457.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Fail answers a request that went wrong, and reports whether the reason is ours:
// then somebody has to log it. It is the one place where errors become statuses.
func (p *Pages) Fail(w http.ResponseWriter, r *http.Request, err error) (ours bool) {
	who := access.Of(r.Context())
	var too *http.MaxBytesError
	var said *access.Error
	status, title, text := http.StatusInternalServerError, "Something went wrong here", "It was not your doing, and it is in the log. Nothing was changed; try again."
	switch {
	case errors.As(err, &said):
		status, title, text = said.Status, http.StatusText(said.Status), said.Text
	case errors.Is(err, store.ErrNotFound):
		status, title, text = http.StatusNotFound, "There is nothing here", "It may have been merged, removed or never been there. Search finds what is."
	case errors.Is(err, store.ErrConflict):
		status, title, text = http.StatusConflict, "Somebody changed it meanwhile", "Go back, look at what it is now, and do it again."
	case errors.Is(err, store.ErrCursor):
		status, title, text = http.StatusBadRequest, "There is no such list", err.Error()
	case errors.As(err, &too):
		status, title, text = http.StatusRequestEntityTooLarge, "That is too much", "At most "+strconv.FormatInt(too.Limit>>10, 10)+" KiB can be sent here."
	case errors.Is(err, access.ErrForbidden) && who.Person == nil && !program(r):
		to := r.URL.RequestURI()
		if r.Method != http.MethodGet {
			to = "/"
		}
		http.Redirect(w, r, "/sign-in?to="+url.QueryEscape(to), http.StatusSeeOther)
		return false
	case errors.Is(err, access.ErrForbidden) && who.Person == nil:
		w.Header().Set("WWW-Authenticate", "Bearer")
		status, title, text = http.StatusUnauthorized, "Who are you?", "Send a token of Settings as 'Authorization: Bearer TOKEN'."
	case errors.Is(err, access.ErrForbidden):
		status, title, text = http.StatusForbidden, "Your role does not allow this", "An administrator gives roles; Settings says which role may what."
	default:
		ours = true
	}
	h := w.Header()
	h.Del("Content-Disposition")
	h.Del("ETag")
	if program(r) {
		h.Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(&Problem{title, status, text})
		return ours
	}
	page := &messagePage{p.framed(r, who, title), text}
	page.status = status
	if err := p.show(w, r, "message", page); err != nil {
		return true
	}
	return ours
}

// program reports whether who asks is no browser.
func program(r *http.Request) bool { return wantsJSON(r) || strings.HasPrefix(r.URL.Path, "/api/") }
