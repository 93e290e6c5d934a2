// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"net/netip"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/risk"
)

// decide gives a finding its decision, with the answers behind it. What claims
// an expectation that nobody stated is never "act".
func decide(f *finding.Finding, baseline bool) { risk.Settle(f, exposure(f), baseline) }

// exposure is open where the other side of the finding is outside the
// hospital, else controlled: a hospital's network is not the internet, and not
// a closed cabinet either.
func exposure(f *finding.Finding) risk.Exposure {
	if ip, err := netip.ParseAddr(f.Peer); err == nil && !inventory.Inside(ip) {
		return risk.Open
	}
	return risk.Controlled
}
