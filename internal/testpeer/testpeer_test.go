// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"fmt"
	"testing"
)

// watched is a test that says how it ended.
type watched struct {
	testing.TB
	said string
}

func (w *watched) Skipf(format string, args ...any) {
	w.said = "skipped: " + fmt.Sprintf(format, args...)
}

func (w *watched) Fatalf(format string, args ...any) {
	w.said = "failed: " + fmt.Sprintf(format, args...)
}

// TestMissing skips what has no peer, and fails in CI.
func TestMissing(t *testing.T) {
	for in, want := range map[string]string{"": "skipped", "true": "failed"} {
		t.Setenv("CI", in)
		w := &watched{TB: t}
		Tool(w, "no-such-program", "no-such-package")
		if want += ": no-such-program is not installed: apt-get install no-such-package"; w.said != want {
			t.Errorf("CI=%q: %q, not %q", in, w.said, want)
		}
	}
}
