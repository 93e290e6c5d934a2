// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package documents

import (
	"context"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/store"
)

// Names reports whether a document names one of some products, "maker model". What a
// product is made of is not for its maker's competitors.
func Names(d *store.Document, products []string) bool {
	return slices.ContainsFunc(d.Products, func(named string) bool {
		return slices.ContainsFunc(products, func(own string) bool { return named == own || strings.HasPrefix(named, own+" ") })
	})
}

// List lists documents as the store does, those alone that somebody sees; nil sees all
// of them. Of some, how many there are elsewhere is not told: Total is of these rows.
func List(ctx context.Context, s *store.Store, sees func(*store.Document) bool, kinds []string, words string, page store.Page) (*store.List[store.Document], error) {
	if sees == nil {
		return s.Documents(ctx, kinds, words, page)
	}
	out := &store.List[store.Document]{}
	for {
		l, err := s.Documents(ctx, kinds, words, page)
		if err != nil {
			return nil, err
		}
		for _, d := range l.Rows {
			if sees(&d) {
				out.Rows = append(out.Rows, d)
			}
		}
		out.Next, page.After = l.Next, l.Next
		if out.Total = len(out.Rows); out.Next == "" || out.Total > 0 {
			return out, nil
		}
	}
}
