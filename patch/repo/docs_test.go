// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"os"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/patch/rollout"
)

// The release and the plan of docs/updates.md are ones that can be used.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/updates.md")
	if err != nil {
		t.Fatal(err)
	}
	release, plan := 0, 0
	for i, block := range strings.Split(string(b), "```") {
		src, ok := strings.CutPrefix(block, "yaml\n")
		if i%2 == 0 || !ok {
			continue
		}
		if strings.HasPrefix(src, "release: 1") {
			release++
			if _, err := ParseDescription("updates.md", []byte(src)); err != nil {
				t.Error(err)
			}
		} else {
			plan++
			if _, err := rollout.ParsePlan("updates.md", []byte(src)); err != nil {
				t.Error(err)
			}
		}
	}
	if release != 1 || plan != 1 {
		t.Errorf("%d releases and %d plans", release, plan)
	}
}
