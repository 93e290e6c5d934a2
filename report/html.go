// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"html/template"
	"io"
)

// HTML writes the assessment as one self-contained page without script.
func HTML(w io.Writer, a *Assessment) error {
	_, err := fmt.Fprintf(w, "<!doctype html>\n<title>Myelin</title>\n<p>%s</p>\n", template.HTMLEscapeString(Answer(a)))
	return err
}
