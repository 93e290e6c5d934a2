// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const shared = "../../../shared/"

// corpus calls f for each file of ../shared/sboms that claims to be a bill of
// materials, with the format that the list of files gives.
func corpus(t testing.TB, f func(name, format string, data []byte)) {
	t.Helper()
	list, err := os.ReadFile(shared + "sboms/MANIFEST.tsv")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared/sboms is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		cells := strings.Split(line, "\t")
		if cells[0] == "file" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(shared+"sboms", cells[0]))
		if err != nil {
			t.Fatal(err)
		}
		f(cells[0], cells[1], data)
	}
}

// schemas compiles CycloneDX's JSON schemas, 1.4 to 1.7; it returns an empty
// list where they are not here.
func schemas(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	dir := shared + "schemas/cyclonedx/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("../shared/schemas is not here")
	}
	c := jsonschema.NewCompiler()
	c.RegisterFormat(&jsonschema.Format{Name: "iri-reference", Validate: func(any) error { return nil }})
	c.RegisterFormat(&jsonschema.Format{Name: "idn-email", Validate: func(any) error { return nil }})
	c.AssertFormat()
	for _, name := range []string{"bom-1.4", "bom-1.5", "bom-1.6", "bom-1.7", "spdx", "jsf-0.82", "cryptography-defs"} {
		f, err := os.Open(dir + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+name+".schema.json", doc); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]*jsonschema.Schema{}
	for _, v := range []string{"1.4", "1.5", "1.6", "1.7"} {
		s, err := c.Compile("http://cyclonedx.org/schema/bom-" + v + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		out[v] = s
	}
	return out
}

// TestLicences holds the module's list against that of CycloneDX.
func TestLicences(t *testing.T) {
	data, err := os.ReadFile(shared + "schemas/cyclonedx/spdx.schema.json")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared/schemas is not here")
	}
	var list struct{ Enum []string }
	if err := json.Unmarshal(data, &list); err != nil || len(list.Enum) == 0 {
		t.Fatal(len(list.Enum), err)
	}
	for _, id := range list.Enum {
		if !licences()[id] {
			t.Errorf("%s is not known", id)
		}
	}
	if licences()["Apache-2"] || licences()["apache-2.0"] {
		t.Error("what is near an identifier is taken for it")
	}
}

// differs are the files that we judge otherwise than their name or the schema
// does, with the reason.
var differs = map[string]string{}

// TestCorpus reads every document of ../shared/sboms: the valid ones are read,
// and those that their name or CycloneDX's JSON schema calls invalid are
// refused with a place.
func TestCorpus(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	schema := schemas(t)
	read, refused := 0, 0
	corpus(t, func(file, format string, data []byte) {
		if !strings.HasPrefix(format, "CycloneDX") && !strings.HasPrefix(format, "SPDX") {
			if _, err := Read(bytes.NewReader(data)); err == nil {
				t.Errorf("%s: read, though it is no bill of materials", file)
			}
			return
		}
		valid := !strings.Contains(file, "spec-tests/") || !strings.HasPrefix(filepath.Base(file), "invalid-")
		by := "name"
		if v := strings.TrimSuffix(strings.TrimPrefix(format, "CycloneDX-"), "-json"); schema[v] != nil && strings.HasSuffix(format, "-json") {
			by = "schema"
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema[v].Validate(doc); (err == nil) != valid {
				by += " against name"
				valid = err == nil && valid
			}
		}
		d, err := Read(bytes.NewReader(data))
		if (err == nil) != valid && differs[file] == "" {
			t.Errorf("%s (%s): valid by %s: %v, but we say %v", file, format, by, valid, err)
		}
		if (err == nil) == valid && differs[file] != "" {
			t.Errorf("%s: no longer differs", file)
		}
		var e *Error
		if err != nil {
			refused++
			if !errors.As(err, &e) {
				t.Errorf("%s: not an *Error: %v", file, err)
			}
			fmt.Fprintf(w, "%s\trefused\t%v\n", file, err)
			return
		}
		read++
		fmt.Fprintf(w, "%s\t%s\t%d components\n", file, d.SpecVersion, len(d.Components))
	})
	for f := range differs {
		if _, err := os.Stat(shared + "sboms/" + f); err != nil {
			t.Error(err)
		}
	}
	w.Flush()
	t.Logf("%d read, %d refused", read, refused)
	if testing.Verbose() {
		t.Log("\n" + table.String())
	}
}
