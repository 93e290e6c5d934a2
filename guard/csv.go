// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// writeCSV writes the rows of a list: the columns are what JSON calls them, and a list
// in a row is in JSON.
func writeCSV(w http.ResponseWriter, name string, rows any) error {
	v := reflect.ValueOf(rows)
	var columns []int
	var head []string
	for i := range v.Type().Elem().NumField() {
		if word, _, _ := strings.Cut(v.Type().Elem().Field(i).Tag.Get("json"), ","); word != "-" {
			columns, head = append(columns, i), append(head, word)
		}
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	out := csv.NewWriter(w)
	out.Write(head)
	for i := range v.Len() {
		record := make([]string, len(columns))
		for at, column := range columns {
			cell, err := cellOf(v.Index(i).Field(column).Interface())
			if err != nil {
				return err
			}
			record[at] = cell
		}
		out.Write(record)
	}
	out.Flush()
	return out.Error()
}

// cellOf is a value in a table. A text that a spreadsheet would take for a formula, since
// anybody can send one, stands behind an apostrophe.
func cellOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			v = "'" + v
		}
		return v, nil
	case time.Time:
		if v.IsZero() {
			return "", nil
		}
		return v.UTC().Format(time.RFC3339), nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}
