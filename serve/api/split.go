// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// An Identity is a name that a device is known by.
type Identity struct {
	Number int64      `json:"number"`
	Site   string     `json:"site" doc:"\"\" everywhere"`
	Kind   string     `json:"kind"`
	Value  string     `json:"value"`
	Live   bool       `json:"live" doc:"no other device has it since"`
	Splits bool       `json:"splits" doc:"it can be split off"`
	First  *time.Time `json:"first,omitempty"`
	Last   *time.Time `json:"last,omitempty"`
}

func identityOf(i *store.Identity) Identity {
	return Identity{i.ID, i.Site, i.Kind, i.Value, i.Live, i.Splits(), at(i.First), at(i.Last)}
}

// A Split is a record of addresses that are another device than the one that sensors say
// them of.
type Split struct {
	Number   int64      `json:"number"`
	Kept     string     `json:"kept" doc:"device whose they were; \"\" for who may not see it"`
	Gone     string     `json:"gone" doc:"device that was made for them; \"\" for who may not see it"`
	Names    []Address  `json:"names" nullable:"false"`
	Reason   string     `json:"reason"`
	By       string     `json:"by"`
	At       *time.Time `json:"at,omitempty"`
	UndoneBy string     `json:"undone_by,omitempty"`
	Undone   *time.Time `json:"undone,omitempty"`
}

// splitsOf are the records of a device, as who asks may see them.
func (a *API) splitsOf(ctx context.Context, who *access.Principal, id string) ([]Split, error) {
	list, err := a.Store.SplitsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	out := []Split{}
	for _, s := range list {
		for _, id := range []*string{&s.Kept, &s.Gone} {
			if _, err := a.ownDevice(ctx, who, *id); errors.Is(err, store.ErrNotFound) {
				*id = ""
			} else if err != nil {
				return nil, err
			}
		}
		told := Split{s.ID, s.Kept, s.Gone, []Address{}, s.Why, s.By, at(s.At), s.UndoneBy, at(s.UndoneAt)}
		for _, n := range s.Names {
			told.Names = append(told.Names, Address{n.Kind, n.Value})
		}
		out = append(out, told)
	}
	return out, nil
}

type oneSplit struct{ Body Split }

// split tells one of them.
func (a *API) split(ctx context.Context, who *access.Principal, id string, number int64) (*oneSplit, error) {
	list, err := a.splitsOf(ctx, who, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(s Split) bool { return s.Number == number })
	if i < 0 {
		return nil, store.ErrNotFound // it is one of others
	}
	return &oneSplit{list[i]}, nil
}

func (a *API) splits() {
	type identities struct {
		Body struct {
			Identities []Identity `json:"identities" nullable:"false"`
			Splits     []Split    `json:"splits" nullable:"false" doc:"the newest first"`
		}
	}
	add(a, operation{id: "list-identities", method: http.MethodGet, path: "/devices/{id}/identities", needs: access.SeeDevices, says: "What a device is known by, and what was split off from it"},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID string `path:"id" maxLength:"200"`
		},
		) (*identities, error) {
			d, err := a.ownDevice(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			names, _, err := a.Store.Identities(ctx, d.ID)
			if err != nil {
				return nil, err
			}
			out := &identities{}
			out.Body.Identities = []Identity{}
			for i := range names {
				out.Body.Identities = append(out.Body.Identities, identityOf(&names[i]))
			}
			out.Body.Splits, err = a.splitsOf(ctx, who, d.ID)
			return out, err
		})
	add(a, operation{id: "split-device", method: http.MethodPost, path: "/devices/{id}/split", needs: access.EditDevices, says: "Make a device of its own of some of a device's addresses, whatever sensors say", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID   string `path:"id" maxLength:"200"`
			Body struct {
				Identities []int64 `json:"identities" minItems:"1" maxItems:"1000" nullable:"false" doc:"numbers of those that are another device"`
				Reason     string  `json:"reason" minLength:"1" maxLength:"2000"`
			}
		},
		) (*oneSplit, error) {
			d, err := a.ownDevice(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			var number int64
			var gone string
			err = a.Access.Act(who.Person.Login, "split device", d.ID, in.Body.Reason, func() (_ int, err error) {
				number, gone, err = a.Store.SplitDevice(ctx, d.ID, in.Body.Identities, who.Person.Login, in.Body.Reason)
				return len(in.Body.Identities), err
			})
			if errors.Is(err, store.ErrWhole) {
				return nil, huma.Error422UnprocessableEntity("leave the device an address, or a serial number")
			}
			if err != nil {
				return nil, err
			}
			return a.split(ctx, who, gone, number)
		})
	add(a, operation{id: "undo-split", method: http.MethodPost, path: "/devices/{id}/split/{number}/undo", needs: access.EditDevices, says: "Bring back what was split off", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID     string `path:"id" maxLength:"200"`
			Number int64  `path:"number"`
			Body   struct {
				Reason string `json:"reason" minLength:"1" maxLength:"2000"`
			}
		},
		) (*oneSplit, error) {
			d, err := a.ownDevice(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			s, err := a.split(ctx, who, d.ID, in.Number)
			if err != nil {
				return nil, err
			}
			if err := a.Access.Act(who.Person.Login, "undo split", s.Body.Kept+" "+s.Body.Gone, in.Body.Reason, func() (int, error) {
				return len(s.Body.Names), a.Store.UndoSplit(ctx, in.Number, who.Person.Login, in.Body.Reason)
			}); err != nil {
				return nil, err
			}
			if d, err = a.Store.Device(ctx, d.ID); err != nil { // it may be another one's now
				return nil, err
			}
			return a.split(ctx, who, d.ID, in.Number)
		})
}
