// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// unchecked are the parts of CycloneDX of which only the place is checked.
var unchecked = []string{
	"modelCard", "data", "cryptoProperties", "formulation", "declarations", "definitions", "signature", "patentAssertions", "licensing",
	"$schema", "identity", "occurrences", "callstack", "address", "governance", "proofOfConcept", "credits", "annotator", "expressionDetails", "lifecycles",
}

// TestMutations changes one thing in every valid document, many times over, and
// compares our verdict with that of CycloneDX's JSON schema.
func TestMutations(t *testing.T) {
	schema := schemas(t)
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 2))
	tried, refused := 0, 0
	kinds := map[string]int{}
	corpus(t, func(file, format string, data []byte) {
		v := strings.TrimSuffix(strings.TrimPrefix(format, "CycloneDX-"), "-json")
		if schema[v] == nil || !strings.HasSuffix(format, "-json") || len(data) > 30_000 {
			return
		}
		if _, err := Read(bytes.NewReader(data)); err != nil {
			return
		}
		for range 100 {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			where := mutate(rng, doc, nil)
			if where == nil || slices.ContainsFunc(where, func(s string) bool { return slices.Contains(unchecked, s) }) || where[len(where)-1] == "specVersion" {
				continue
			}
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			want := schema[v].Validate(doc)
			_, got := Read(bytes.NewReader(text))
			tried++
			if want != nil {
				refused++
			}
			if (want == nil) == (got == nil) || errors.Is(got, errDefined) {
				continue
			}
			reason := strings.ReplaceAll(errorText(want), "\n", " ")
			k := where[len(where)-1] + errorText(got)
			if kinds[k]++; kinds[k] < 3 {
				t.Errorf("%s: after a change of %s: the schema says %.300s; we say %v", file, strings.Join(where, "."), reason, got)
			}
		}
	})
	t.Logf("%d changes, %d of them against the schema", tried, refused)
}

func errorText(err error) string {
	if err == nil {
		return "valid"
	}
	return err.Error()
}

// mutate changes one value inside doc and says where; nil when it met nothing
// to change.
func mutate(rng *rand.Rand, doc any, path []string) []string {
	other := func() any {
		return []any{"", "other", "library", json.Number("3"), json.Number("-1"), json.Number("1.5"), strings.Repeat("ä", 1030), true, nil, []any{}, map[string]any{}, []any{"a", "a"}, map[string]any{"name": "a"}}[rng.IntN(13)]
	}
	switch d := doc.(type) {
	case map[string]any:
		keys := make([]string, 0, len(d))
		for k := range d {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if len(keys) == 0 {
			return nil
		}
		k := keys[rng.IntN(len(keys))]
		here := append(slices.Clone(path), k)
		switch n := rng.IntN(10); {
		case n < 6:
			if w := mutate(rng, d[k], here); w != nil {
				return w
			}
			d[k] = other()
		case n == 6:
			delete(d, k)
		case n == 7:
			d[k] = other()
		case n == 8:
			d["x"+k] = d[k]
			delete(d, k)
		default:
			name := []string{"name", "version", "bom-ref", "type", "url", "tags", "omniborId", "licenses", "expression", "acknowledgement", "provides", "properties", "hashes", "text", "manufacturer", "isExternal", "versionRange", "trustZone"}[rng.IntN(18)]
			if slices.Contains(keys, name) {
				return nil
			}
			d[name] = other()
			return append(slices.Clone(path), name)
		}
		return here
	case []any:
		if len(d) == 0 {
			return nil
		}
		i := rng.IntN(len(d))
		if w := mutate(rng, d[i], path); w != nil {
			return w
		}
		if _, ok := d[i].(string); ok && rng.IntN(2) == 0 {
			d[i] = d[(i+1)%len(d)] // twice the same
			return path
		}
		d[i] = other()
		return path
	}
	return nil
}
