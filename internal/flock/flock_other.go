// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package flock

import (
	"errors"
	"os"
)

// Take refuses: without a lock that ends with the process two could write.
func Take(string) (*os.File, error) { return nil, errors.ErrUnsupported }
