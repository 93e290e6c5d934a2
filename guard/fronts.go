// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"maps"
	"slices"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// A kind is a kind of front: how its part of guard.yaml is read, how it is made,
// and how allow-lists are proposed from what it learned.
type kind struct {
	keys    []string // of its section
	alone   bool     // two of one name cannot run side by side: the old one stops first
	read    func(r *strictyaml.Reader, s *strictyaml.Section, dir string) front.Policy
	make    func(env *front.Env, p front.Policy) front.Front
	propose func(uses []front.Counted) []string // lines of its section
}

// kinds is the one table of kinds of front.
var kinds = map[string]kind{}

func kindNames() []string { return slices.Sorted(maps.Keys(kinds)) }

// kindOf makes a row of the table.
func kindOf[P front.Policy, F front.Front](keys []string, read func(*strictyaml.Reader, *strictyaml.Section, string) P, make func(*front.Env, P) F, propose func([]front.Counted) []string) kind {
	return kind{
		keys: slices.Concat(front.Keys, keys),
		read: func(r *strictyaml.Reader, s *strictyaml.Section, dir string) front.Policy {
			p := read(r, s, dir)
			if r.Err() != nil {
				return nil
			}
			return p
		},
		make:    func(env *front.Env, p front.Policy) front.Front { return make(env, p.(P)) },
		propose: propose,
	}
}
