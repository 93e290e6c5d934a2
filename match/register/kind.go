// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// A Kind is what a file is to this package.
type Kind uint8

// The kinds of file.
const (
	NoKind             Kind = iota
	DeviceList              // [Read]
	GUDIDFile               // [GUDID.Read]
	ClassificationFile      // [ReadClassification]
	RecallFile              // [ReadRecalls]
	MDS2File                // [ReadMDS2]; any workbook may be one
)

var kinds = [...]string{"", "register", "gudid", "product-codes", "recalls", "mds2"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// Detect tells what a file is by its first bytes, of which 4 KiB are enough and
// 64 KiB are looked at. The name counts for nothing but that a workbook's ends
// with .xlsx or .xlsm, as other documents are packed in the same way.
func Detect(head []byte, name string) Kind {
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		if low := strings.ToLower(name); strings.HasSuffix(low, ".xlsx") || strings.HasSuffix(low, ".xlsm") || bytes.Contains(head, []byte("xl/w")) {
			return MDS2File
		}
		return NoKind
	}
	head = head[:min(len(head), maxHeadBytes)]
	for range utf8.UTFMax { // a letter that the end of head cuts
		if r, n := utf8.DecodeLastRune(head); r != utf8.RuneError || n != 1 {
			break
		}
		head = head[:len(head)-1]
	}
	b, err := text(head)
	if err != nil {
		return NoKind
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(b, " \t\r\n"), []byte("\n"))
	if first, _, ok := bytes.Cut(line, []byte("|")); ok && strings.EqualFold(strings.Trim(string(first), `" `), "PrimaryDI") {
		return GUDIDFile
	}
	switch formOf(b) {
	case inJSON:
		if k := kindOfJSON(b); k != NoKind {
			return k
		}
		l := &list{ids: map[string]bool{}, serials: map[string]bool{}, columns: map[string]*known{}}
		if err := l.readJSON(b); err == nil || l.isList() {
			return DeviceList
		}
	case inCSV, inYAML:
		return DeviceList
	}
	return NoKind
}

// kindOfJSON looks at the keys of the authorities' files.
func kindOfJSON(b []byte) Kind {
	dec := json.NewDecoder(bytes.NewReader(b))
	keys := map[string]bool{}
	for {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		if k, ok := tok.(string); ok && bytes.HasPrefix(bytes.TrimLeft(b[dec.InputOffset():], " \t\r\n"), []byte(":")) {
			keys[k] = true
		}
	}
	switch {
	case keys["gudid"] && keys["device"], keys["brand_name"] && keys["identifiers"] && keys["company_name"]:
		return GUDIDFile
	case keys["product_code"] && keys["device_name"] && (keys["implant_flag"] || keys["life_sustain_support_flag"]):
		return ClassificationFile
	case keys["product_description"] && (keys["code_info"] || keys["product_res_number"] || keys["recall_number"]):
		return RecallFile
	}
	return NoKind
}
