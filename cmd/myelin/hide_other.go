// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"errors"
	"os"
)

// hideInput is not known for this system: what is typed would be shown.
func hideInput(*os.File) (restore func(), err error) {
	return nil, errors.New("a password cannot be typed unseen here; give it by standard input")
}
