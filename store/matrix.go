// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
)

// A Cell of the matrix of harm and decision: open findings.
type Cell struct {
	Harm, Decision string
	Count          int
}

// Matrix counts open findings by harm and decision, and devices with one to act on.
func (s *Store) Matrix(ctx context.Context) (cells []Cell, act int, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT harm, decision, sum(n) FROM finding_cube WHERE state IN ('open', 'acknowledged') GROUP BY harm, decision HAVING sum(n) > 0")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var c Cell
		if err := rows.Scan(&c.Harm, &c.Decision, &c.Count); err != nil {
			return nil, 0, err
		}
		cells = append(cells, c)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return cells, act, s.read.QueryRowContext(ctx, "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM device_count WHERE worst = 'act'").Scan(&act)
}
