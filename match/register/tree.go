// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of YAML and JSON. A device is a map with a list of addresses,
// perhaps within an identity: three deep. The YAML parser takes time with the
// square of the nesting, which is why that is counted before.
const (
	maxDepth     = 8
	maxIndent    = 64
	maxLineBytes = 16 << 10
)

var (
	errDeep    = errors.New("nested deeper than a list of devices is")
	errJSON    = errors.New("not JSON from here on")
	errYAML    = errors.New("not YAML from here on")
	errNotMap  = errors.New("a device is a map of keys and values")
	errMuch    = errors.New("more values than a device has")
	errAnchors = errors.New("YAML that a list of devices does without: anchors, aliases, tags, directives, '? ' keys")
	errTab     = errors.New("a tab before the text; YAML is indented with spaces")
	errLine    = errors.New("a line longer than 16 KiB")
)

// listKeys are the keys under which a list of devices may stand.
var listKeys = []string{"devices", "register", "entries", "assets", "equipment", "inventory"}

// A treeReader reads JSON token by token, and knows where it is.
type treeReader struct {
	b     []byte
	dec   *json.Decoder
	off   int
	line  int
	start int // of the line
	cells []cell
}

// place returns line and column of the next token, or of where the rest is no
// JSON.
func (t *treeReader) place() (line, column int) {
	off := int(t.dec.InputOffset())
	for off < len(t.b) && strings.IndexByte(" \t\r\n,:", t.b[off]) >= 0 {
		off++
	}
	for ; t.off < off && t.off < len(t.b); t.off++ {
		if t.b[t.off] == '\n' {
			t.line++
			t.start = t.off + 1
		}
	}
	return t.line, t.off - t.start + 1
}

// fail says that the rest is no JSON, without the message of package json,
// which repeats a character of it.
func (t *treeReader) fail(err error) error {
	line, column := t.place()
	return &Problem{line, column, "", err}
}

// value reads one value into cells.
func (t *treeReader) value(heading string, depth int) error {
	if depth > maxDepth {
		return t.fail(errDeep)
	}
	line, column := t.place()
	tok, err := t.dec.Token()
	if err != nil {
		return t.fail(errJSON)
	}
	scalar := ""
	switch v := tok.(type) {
	case json.Delim:
		first := len(t.cells)
		for t.dec.More() {
			key := heading
			if v == '{' {
				k, err := t.dec.Token()
				if err != nil {
					return t.fail(errJSON)
				}
				key, _ = k.(string)
			}
			if err := t.value(key, depth+1); err != nil {
				return err
			}
		}
		if _, err := t.dec.Token(); err != nil {
			return t.fail(errJSON)
		}
		if v == '{' {
			t.cells = kindAndValue(t.cells, first)
		}
		return nil
	case json.Number:
		scalar = v.String()
	case string:
		scalar = v
	case bool:
		scalar = "no"
		if v {
			scalar = "yes"
		}
	}
	if scalar != "" && len(t.cells) <= maxColumns {
		t.cells = append(t.cells, cell{heading, scalar, line, column})
	}
	return nil
}

// kindAndValue makes of {kind: mac, value: X} one cell, whose heading is mac.
func kindAndValue(cells []cell, first int) []cell {
	if len(cells) != first+2 {
		return cells
	}
	a, b := cells[first], cells[first+1]
	if h := plain(a.heading); h == "value" || h == "address" {
		a, b = b, a
	}
	if h := plain(a.heading); h != "kind" && h != "type" {
		return cells
	}
	if h := plain(b.heading); h != "value" && h != "address" {
		return cells
	}
	b.heading = a.value
	return append(cells[:first], b)
}

func (l *list) readJSON(b []byte) error {
	t := &treeReader{b: b, dec: json.NewDecoder(bytes.NewReader(b)), line: 1}
	t.dec.UseNumber()
	tok, err := t.dec.Token()
	if err != nil {
		return t.fail(errJSON)
	}
	if tok == json.Delim('[') {
		if err := l.elements(t); err != nil {
			return err
		}
	} else if tok != json.Delim('{') {
		return ErrNotList
	}
	found := tok == json.Delim('[')
	for tok == json.Delim('{') && t.dec.More() {
		k, err := t.dec.Token()
		if err != nil {
			return t.fail(errJSON)
		}
		key, _ := k.(string)
		switch {
		case key == "myelin": // an answer of ours has devices, too
			return ErrNotList
		case !found && slices.Contains(listKeys, plain(key)):
			if open, err := t.dec.Token(); err != nil {
				return t.fail(errJSON)
			} else if open != json.Delim('[') {
				return ErrNotList
			}
			found = true
			if err := l.elements(t); err != nil {
				return err
			}
		default:
			t.cells = t.cells[:0]
			if err := t.value("", 0); err != nil {
				return err
			}
		}
	}
	if !found || !l.isList() {
		return ErrNotList
	}
	return nil
}

// elements reads the devices of an open array.
func (l *list) elements(t *treeReader) error {
	for t.dec.More() {
		line, column := t.place()
		isMap := t.off < len(t.b) && t.b[t.off] == '{'
		t.cells = t.cells[:0]
		if err := t.value("", 0); err != nil {
			return err
		}
		l.device(line, column, isMap, t.cells)
	}
	if _, err := t.dec.Token(); err != nil {
		return t.fail(errJSON)
	}
	return nil
}

// device takes a device of YAML or JSON.
func (l *list) device(line, column int, isMap bool, cells []cell) bool {
	switch {
	case !isMap:
		l.problem(line, column, noField, errNotMap)
		return true
	case len(cells) > maxColumns:
		l.problem(line, column, noField, errMuch)
		return true
	}
	return l.row(line, cells)
}

// isList reports whether what was read names devices.
func (l *list) isList() bool {
	known, identifies := 0, false
	for _, k := range l.order {
		if k.field != noField {
			known++
		}
		identifies = identifies || k.field.identifies()
	}
	return known >= 2 && identifies
}

// looksLikeYAML reports whether the lines are of a list of devices: a few keys
// that are headings.
func looksLikeYAML(b []byte) bool {
	l := &list{columns: map[string]*known{}}
	begins := false
	n := 0
	for line := range bytes.Lines(b[:min(len(b), maxHeadBytes)]) {
		s := strings.TrimSpace(string(line))
		if s == "" || s[0] == '#' || s == "---" {
			continue
		}
		if n++; n > 64 {
			break
		}
		key, _, ok := strings.Cut(strings.TrimLeft(s, "- {"), ":")
		if n == 1 {
			begins = s[0] == '-' || ok && line[0] != ' ' && slices.Contains(listKeys, plain(key))
		}
		if ok && len(key) < 64 {
			l.heading(key)
		}
		for part := range strings.SplitSeq(s, ",") { // {id: pump-3, model: Flow 500}
			if key, _, ok := strings.Cut(strings.TrimSpace(part), ":"); ok && len(key) < 64 {
				l.heading(strings.TrimLeft(key, "- {"))
			}
		}
	}
	return begins && l.isList()
}

func (l *list) readYAML(b []byte) error {
	if len(b) > maxTreeBytes {
		return errTooLarge
	}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		body := bytes.TrimLeft(line, " ")
		indent := len(line) - len(body)
		switch {
		case len(line) > maxLineBytes:
			return &Problem{n, 0, "", errLine}
		case indent > maxIndent, bytes.HasPrefix(body, []byte("- - - ")):
			return &Problem{n, 0, "", errDeep}
		case len(body) > 0 && body[0] == '\t' && len(bytes.TrimSpace(body)) > 0:
			return &Problem{n, indent + 1, "", errTab}
		}
	}
	tokens := lexer.Tokenize(string(b))
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxDepth {
				return &Problem{t.Position.Line, t.Position.Column, "", errDeep}
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			return &Problem{t.Position.Line, t.Position.Column, "", errAnchors}
		}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		p := &Problem{1, 0, "", errYAML}
		var y yaml.Error
		if errors.As(err, &y) {
			if t := y.GetToken(); t != nil && t.Position != nil {
				p.Line, p.Column = t.Position.Line, t.Position.Column
			}
		}
		return p
	}
	if len(file.Docs) == 0 {
		return ErrNotList
	}
	root := file.Docs[0].Body
	for _, v := range pairs(root) {
		if slices.Contains(listKeys, plain(keyOf(v))) {
			root = v.Value
			break
		}
	}
	devices, ok := root.(*ast.SequenceNode)
	if !ok {
		return ErrNotList
	}
	var cells []cell
	for _, n := range devices.Values {
		line, column := position(n)
		if cells, ok = flatten(cells[:0], "", n, 0); !ok {
			return &Problem{line, column, "", errDeep}
		}
		if !l.device(line, column, pairs(n) != nil, cells) {
			break
		}
	}
	if !l.isList() {
		return ErrNotList
	}
	return nil
}

// flatten puts the scalars of a node into cells. It reports false when they are
// nested too deep.
func flatten(cells []cell, heading string, n ast.Node, depth int) ([]cell, bool) {
	if depth > maxDepth {
		return cells, false
	}
	if s, ok := scalar(n); ok {
		line, column := position(n)
		if s != "" && len(cells) <= maxColumns {
			cells = append(cells, cell{heading, s, line, column})
		}
		return cells, true
	}
	ok := true
	if s, is := n.(*ast.SequenceNode); is {
		for _, v := range s.Values {
			if cells, ok = flatten(cells, heading, v, depth+1); !ok {
				return cells, false
			}
		}
		return cells, true
	}
	first := len(cells)
	for _, v := range pairs(n) {
		if cells, ok = flatten(cells, keyOf(v), v.Value, depth+1); !ok {
			return cells, false
		}
	}
	return kindAndValue(cells, first), true
}

// pairs returns the keys and values of a map.
func pairs(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func keyOf(v *ast.MappingValueNode) string {
	s, _ := scalar(v.Key)
	return s
}

// scalar returns the text of a value as it was written, without quotes.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	case *ast.LiteralNode:
		if n.Value != nil {
			return n.Value.Value, true
		}
		return "", true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

// position is where a node begins. A block mapping's own token is the colon
// behind its first key.
func position(n ast.Node) (line, column int) {
	if v := pairs(n); len(v) > 0 && v[0].Key != nil {
		n = v[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 1, 1
}
