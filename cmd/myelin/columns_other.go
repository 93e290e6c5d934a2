// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package main

import "os"

// columnsOf returns how wide a terminal is, or 0 where nobody can say.
func columnsOf(*os.File) int { return 0 }
