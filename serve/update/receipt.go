// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
)

// A Receipt is what became of a State that was carried here.
type Receipt struct {
	Device string `json:"device,omitempty"` // "" when nobody knows whose it is
	Count  uint64 `json:"count,omitempty"`
	Taken  bool   `json:"taken"`
	Why    string `json:"why,omitempty"` // it was not
}

// MaxReceipts is how many are taken in at once.
const MaxReceipts = 1000

// Receipts takes in States that devices signed where no network is, and a stick or a
// gateway carried, as if the devices had sent them. Their signatures and Counts are
// looked at as those of a poll; the answers go nowhere. Those of a device are taken in
// the order of their Counts, whatever the order of the list.
func (s *Service) Receipts(ctx context.Context, who *access.Principal, list [][]byte) (out []Receipt, err error) {
	if len(list) == 0 || len(list) > MaxReceipts {
		return nil, wrong(fmt.Sprintf("Between 1 and %d receipts are taken in at once.", MaxReceipts))
	}
	err = s.cfg.Act(who.Person.Login, "import receipts", fmt.Sprintf("%d receipts", len(list)), "", func() (n int, err error) {
		out, err = s.carried(ctx, list)
		for _, r := range out {
			if r.Taken {
				n++
			}
		}
		return n, err
	})
	return out, err
}

func (s *Service) carried(ctx context.Context, list [][]byte) ([]Receipt, error) {
	out := make([]Receipt, len(list))
	claims := make([]patch.State, len(list)) // which nobody has verified
	order := make([]int, len(list))
	for i, b := range list {
		order[i] = i
		if m, err := cose.ParseSign1(b); err == nil && patch.Parse(m.Payload, &claims[i]) != nil {
			claims[i] = patch.State{}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(claims[a].Count, claims[b].Count) })
	for _, i := range order {
		_, err := s.hear(ctx, list[i], s.cfg.Now())
		var said *access.Error
		errors.As(err, &said)
		switch {
		case err == nil:
			out[i].Taken = true
		case said != nil && said.Status < http.StatusInternalServerError:
			out[i].Why = said.Text
		default:
			return out, err
		}
		if err == nil || said.Status == http.StatusConflict || said.Status == http.StatusTooManyRequests { // its signature is right
			out[i].Device, out[i].Count = claims[i].Device, claims[i].Count
		}
	}
	return out, nil
}

// receiptsFolder is where a site of patch/repo, which the folder updates may be, has the
// receipts that sticks brought.
const receiptsFolder = ".receipts"

// found takes in the receipts of the folder updates that were not looked at yet.
func (s *Service) found(ctx context.Context) error {
	entries, err := fs.ReadDir(s.files.FS(), receiptsFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	var list [][]byte
	for _, e := range entries {
		if s.taken[e.Name()] || !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".cose") || len(list) == MaxReceipts {
			continue
		}
		f, err := s.files.Open(path.Join(receiptsFolder, e.Name()))
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(f, patch.MaxMessage+1))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		names, list = append(names, e.Name()), append(list, b)
	}
	said, err := s.carried(ctx, list)
	for i, r := range said {
		if s.taken[names[i]] = r.Taken || r.Why != ""; !r.Taken && r.Why != "" {
			s.cfg.Log.Warn("a receipt that was carried here is not taken", "file", names[i], "why", r.Why)
		}
		if strings.Contains(r.Why, tooOften) {
			delete(s.taken, names[i]) // the next time
		}
	}
	return err
}
