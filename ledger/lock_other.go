// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package ledger

import (
	"errors"
	"os"
)

// lock refuses: without a lock that ends with the process two could write.
func lock(string) (*os.File, error) { return nil, errors.ErrUnsupported }
