// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

// ParseText reads what an advisory says about versions in its own words.
func ParseText(s string) Text { return Text{Why: "not read yet"} }

// cutDate reads "2006", "2006-01" or "2006-01-02".
func cutDate(s string) (date string, precision int, ok bool) {
	form := "0000-00-00"
	if len(s) != 4 && len(s) != 7 && len(s) != 10 {
		return "", 0, false
	}
	for i := range s {
		if isDigit(s[i]) != (form[i] == '0') || form[i] == '-' && s[i] != '-' {
			return "", 0, false
		}
	}
	return s, (len(s) - 1) / 3, true
}
