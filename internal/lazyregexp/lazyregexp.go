// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package lazyregexp compiles a regular expression when it is first used: the
// program starts for many a job that needs none.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns what compiles an expression once, when it is first called. It
// panics then when the expression is wrong, as regexp.MustCompile does.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
