// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix || solaris || aix

package envelope

import (
	"errors"
	"os"
)

// lock is not known here, and a journal that two processes write forgets doses.
func lock(string) (*os.File, error) {
	return nil, errors.New("envelope: no journal of doses on this system: files cannot be locked")
}
