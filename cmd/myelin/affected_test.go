// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What there was no room for is said, and fails: an answer that is not whole is
// no all-clear.
func TestAffectedLeftOut(t *testing.T) {
	bill := filepath.Join(t.TempDir(), "many.cdx.json")
	var parts []string
	for i := range 520 {
		parts = append(parts, fmt.Sprintf(`{"type": "library", "name": "lwip", "version": "2.%d"}`, i))
	}
	text := `{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": {"type": "device", "name": "FlowLink", "version": "1.8"}}, "components": [` + strings.Join(parts, ",") + `]}`
	if err := os.WriteFile(bill, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		"text": "\nthere was no room for\n  8: components of bills of materials that list hundreds of one name\n",
		"json": `"components of bills of materials that list hundreds of one name": 8`,
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), []string{"affected", "lwip", "--format", format, bill}, strings.NewReader(""), &out, &errs); code != exitError || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, no %q in %.300s\n%s", format, code, want, &out, &errs)
		}
	}
}

// A name may be anything, and a terminal does what it is told.
func TestAffectedPlainJSON(t *testing.T) {
	list := filepath.Join(t.TempDir(), "devices.csv")
	if err := os.WriteFile(list, []byte("ID,Manufacturer,Model,Version\npump\u202e3,Adamed,Flow 500,2.1.4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"affected", "Flow 500", "--format", "json", list}, strings.NewReader(""), &out, &errs); code != exitDone || !strings.Contains(out.String(), "\"pump\ufffd3\"") {
		t.Errorf("exit %d, %s\n%s", code, &out, &errs)
	}
}
