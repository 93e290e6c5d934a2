// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package therapy

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFields holds the package's documentation to the encoding.
func TestFields(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if !strings.Contains(string(doc), fmt.Sprintf("%d %s", k, k)) {
			t.Errorf("%d %s is not in doc.go", k, k)
		}
	}
}
