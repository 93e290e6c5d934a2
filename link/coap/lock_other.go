// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package coap

import (
	"errors"
	"os"
)

// lockFile has no lock here: sessions are not kept.
func lockFile(*os.File) error { return errors.ErrUnsupported }
