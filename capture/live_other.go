// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package capture

import (
	"errors"
	"fmt"
	"runtime"
)

// A Live reads frames from a network interface; only on Linux is there one.
type Live struct{}

// OpenLive returns an error that is [errors.ErrUnsupported]: interfaces are read
// on Linux only.
func OpenLive(iface string, cfg LiveConfig) (*Live, error) {
	return nil, fmt.Errorf("capture: interface %s: live capture on %s: %w", iface, runtime.GOOS, errors.ErrUnsupported)
}

func (*Live) ReadBatch(*Batch) error    { return errors.ErrUnsupported }
func (*Live) ReadFrame(*Frame) error    { return errors.ErrUnsupported }
func (*Live) Stats() (LiveStats, error) { return LiveStats{}, errors.ErrUnsupported }
func (*Live) Close() error              { return nil }
