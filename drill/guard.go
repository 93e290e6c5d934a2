// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"

	"github.com/myelin-health/myelin/report"
)

type guardCheck func(ctx context.Context, w *world, row *Row) (string, error)

var guardChecks = map[string]guardCheck{"attack": nil, "replay": nil, "stranger": nil, "absurd": nil, "rescue": nil, "wake": nil, "role": nil}

func guarded(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	return cell(report.DrillNotBuilt, ""), nil
}
