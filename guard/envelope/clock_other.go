// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package envelope

import (
	"strconv"
	"time"
)

var started = time.Now()

// ReadClock is what this machine's clocks say. Where nothing tells one start of the
// machine from another each process counts as one: doses age by what it sees.
func ReadClock() Reading {
	now := time.Now()
	return Reading{Wall: now.UnixNano(), Uptime: int64(now.Sub(started)), Boot: strconv.FormatInt(started.UnixNano(), 10)}
}
