// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package flock lets one process at a time have a file.
package flock

import "errors"

// ErrHeld says that another process has it.
var ErrHeld = errors.New("another process has it")
