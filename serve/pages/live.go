// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"time"

	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/live"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) liveRoutes() []access.Route {
	return []access.Route{{Pattern: "GET /live", Needs: access.SeeVerdicts, Handle: p.live}}
}

const stillTime = 5 * time.Second // to find out whether somebody is still signed in

// live streams what changed to a page that is open.
func (p *Pages) live(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if p.Live == nil {
		return store.ErrNotFound
	}
	err := p.Live.Serve(w, r, who.Person.ID, func() (bool, error) {
		ctx, stop := context.WithTimeout(r.Context(), stillTime)
		defer stop()
		return p.Access.Still(ctx, who)
	})
	if errors.Is(err, live.ErrFull) {
		w.Header().Set("Retry-After", "60")
		return &access.Error{Status: http.StatusServiceUnavailable, Text: err.Error()}
	}
	return err
}

// table writes a list as CSV.
func table(w http.ResponseWriter, name string, rows [][]string) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	out := csv.NewWriter(w)
	for _, row := range rows {
		for i, c := range row {
			row[i] = report.Cell(c)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
