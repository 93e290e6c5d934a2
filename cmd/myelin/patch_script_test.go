// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/myelin-health/myelin/patch/repo"
)

func scriptFirst(ts *testscript.TestScript, _ bool, args []string) {
	r, err := repo.OpenRepository(ts.MkAbs(args[0]))
	ts.Check(err)
	s, err := r.SignersOf(args[1])
	ts.Check(err)
	ts.Check(r.Close())
	ts.Setenv(args[2], s.Keys[0].ID)
}
