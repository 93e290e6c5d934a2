// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import "context"

// A bareResult is what the attacks of a row did to the unprotected device.
type bareResult struct {
	realism   string
	succeeded bool
	how       string
}

func (b *bareResult) word() string {
	if b.succeeded {
		return "succeeded"
	}
	return "failed"
}

func attackNames() []string { return nil }

func (w *world) bare(ctx context.Context, row *Row) (*bareResult, error) {
	return &bareResult{realism: "wire"}, nil
}

// attackAt runs the row's attacks against what listens at an address.
func (w *world) attackAt(ctx context.Context, row *Row, addr string) error { return nil }
