// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// partsOfBOM is how many components a bill of materials has.
const partsOfBOM = 650

// An osvRecord is what the generator takes from a record: which package, and
// versions that somebody names.
type osvRecord struct {
	ID       string `json:"id"`
	Affected []struct {
		Package struct{ Name, Ecosystem string } `json:"package"`
		Ranges  []struct {
			Type   string              `json:"type"`
			Events []map[string]string `json:"events"`
		} `json:"ranges"`
		Versions []string `json:"versions"`
	} `json:"affected"`
}

// A supplied package, with versions at which something begins or ends.
type supplied struct {
	ecosystem, name string
	versions        []string
}

// packages reads the packages of OSV's records, a line each, and packs the
// records as osv-scanner wants to have them: cache/osv-scanner/ECOSYSTEM/all.zip.
// commits are those of the [spot] of a package and a record that names a range of
// commits before ranges of versions.
func packages(files []string, cache string) (out []supplied, commits map[string]bool, err error) {
	at := map[string]int{}
	commits = map[string]bool{}
	zips := map[string]*zip.Writer{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var r osvRecord
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", file, err)
			}
			stored := map[string]bool{}
			for _, a := range r.Affected {
				eco := a.Package.Ecosystem
				key := eco + "\x00" + a.Package.Name
				i, ok := at[key]
				if !ok {
					i = len(out)
					at[key] = i
					out = append(out, supplied{ecosystem: eco, name: a.Package.Name})
				}
				p := &out[i]
				for n, x := range a.Ranges {
					if x.Type == "GIT" {
						if n == 0 {
							commits[spot(a.Package.Name, r.ID)] = true
						}
						continue
					}
					for _, e := range x.Events {
						for what, v := range e {
							if v != "0" && what != "limit" {
								p.versions = append(p.versions, v)
							}
						}
					}
				}
				p.versions = append(p.versions, a.Versions[:min(len(a.Versions), 4)]...)
				slices.Sort(p.versions)
				p.versions = slices.Compact(p.versions)
				if stored[eco] {
					continue
				}
				stored[eco] = true
				if zips[eco] == nil {
					dir := filepath.Join(cache, "osv-scanner", eco)
					if err := os.MkdirAll(dir, 0o755); err != nil {
						return nil, nil, err
					}
					z, err := os.Create(filepath.Join(dir, "all.zip"))
					if err != nil {
						return nil, nil, err
					}
					defer z.Close()
					zips[eco] = zip.NewWriter(z)
				}
				w, err := zips[eco].Create(r.ID + ".json")
				if err != nil {
					return nil, nil, err
				}
				if _, err := w.Write(lines.Bytes()); err != nil {
					return nil, nil, err
				}
			}
		}
		if err := lines.Err(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	for _, z := range zips {
		err = errors.Join(err, z.Close())
	}
	return out, commits, err
}

// bom writes the bill of materials of the n-th product: every third part is a
// package of which something was published, at a version that a record names or
// near it.
func bom(n int, known []supplied) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"bomFormat":"CycloneDX","specVersion":"1.5","serialNumber":"urn:uuid:00000000-0000-4000-8000-%012d","version":1,"metadata":{"timestamp":"2026-03-03T07:00:00Z","component":{"type":"device","bom-ref":"product","supplier":{"name":"Bench Medical"},"name":"Product %d","version":"1.%d"}},"components":[`, n, n, n)
	seen := map[int]bool{}
	for i := range partsOfBOM {
		kind, name, v := "golang", fmt.Sprintf("example.org/team%d/module%d", random.IntN(500), random.IntN(4000)), fmt.Sprintf("v%d.%d.%d", random.IntN(3), random.IntN(20), random.IntN(9))
		if i%3 == 0 {
			k := random.IntN(len(known))
			for seen[k] {
				k = random.IntN(len(known))
			}
			seen[k] = true
			p := known[k]
			if name = p.name; p.ecosystem == "PyPI" {
				kind, v = "pypi", strings.TrimPrefix(v, "v")
			}
			if len(p.versions) > 0 && random.IntN(3) > 0 {
				if v = p.versions[random.IntN(len(p.versions))]; kind == "golang" && !strings.HasPrefix(v, "v") {
					v = "v" + v
				}
			}
		}
		if i > 0 {
			b.WriteByte(',')
		}
		purl := "pkg:" + kind + "/" + strings.ToLower(name) + "@" + strings.ReplaceAll(v, "+", "%2B")
		fmt.Fprintf(&b, `{"type":"library","bom-ref":"%d","name":%q,"version":%q,"purl":%q,"licenses":[{"license":{"id":"MIT"}}],"hashes":[{"alg":"SHA-256","content":"%064x"}]}`, i, name, v, purl, random.Uint64())
	}
	b.WriteString("]}\n")
	return b.Bytes()
}

// know measures the matching of bills of materials against OSV's records beside
// osv-scanner, where it is installed, and compares what both found.
func know(dir, program, data, only string, boms, runs int) error {
	files, err := filepath.Glob(filepath.Join(data, "*.jsonl"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no OSV records (*.jsonl) in %s", data)
	}
	cache := filepath.Join(dir, "cache")
	known, commits, err := packages(files, cache)
	if err != nil {
		return err
	}
	folder := filepath.Join(dir, "sboms")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for n := range boms {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d.cdx.json", n)), bom(n, known), 0o644); err != nil {
			return err
		}
	}
	os.Setenv("OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY", cache)
	fmt.Printf("\n%d bills of materials of %d components, %d packages that records name\n", boms, partsOfBOM, len(known))
	ours := append([]string{program, "assess", "--format", "json", "--jobs", "1", folder}, files...)
	theirs := []string{"osv-scanner", "scan", "source", "--offline", "--format", "json", "--verbosity", "error", "-r", folder}
	if err := run(folder, uint64(boms), only, runs, []command{{"myelin --jobs 1", ours}, {"osv-scanner --offline", theirs}}); err != nil {
		return err
	}
	if _, err := exec.LookPath("osv-scanner"); err != nil || only != "" {
		return nil
	}
	return agree(ours, theirs, commits)
}

// spot is a package and a record that is about it. Package URLs write "_" in
// names of PyPI as "-".
func spot(name, id string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-") + " " + id
}

// A claim is one record about one package of one product.
type claim struct {
	product             int
	spot, name, version string
}

// Who made a claim, in bits; Myelin's can be one that a person has to review.
const (
	byMyelin = 1 << iota
	byPeer
	toReview
)

// agree prints what one of the two found and the other did not, and why. What
// Myelin leaves to a person is not a claim, and counted apart.
func agree(ours, theirs []string, commits map[string]bool) error {
	mine, err := exec.Command(ours[0], ours[1:]...).Output()
	if len(mine) == 0 {
		return err
	}
	other, err := exec.Command(theirs[0], theirs[1:]...).Output() // whose status is 1 when it found something
	if len(other) == 0 {
		return err
	}
	var a struct {
		Findings []struct {
			Product, Component, Certainty string
			Advisories                    []string
		}
	}
	var b struct {
		Results []struct {
			Source   struct{ Path string }
			Packages []struct {
				Package         struct{ Name, Version string }
				Vulnerabilities []struct{ ID string }
			}
		}
	}
	if err := errors.Join(json.Unmarshal(mine, &a), json.Unmarshal(other, &b)); err != nil {
		return err
	}
	found := map[claim]int{}
	add := func(by, product int, name, version, id string) {
		name, version = strings.ToLower(name), strings.ToLower(strings.TrimPrefix(version, "v"))
		found[claim{product, spot(name, id), strings.ReplaceAll(name, "_", "-"), version}] |= by
	}
	for _, f := range a.Findings {
		var n int
		fmt.Sscanf(f.Product[strings.LastIndexByte(f.Product, '.')+1:], "%d", &n)
		name, version, _ := strings.Cut(f.Component, " ")
		_, name, _ = strings.Cut(name, "/") // behind pkg:TYPE
		by := byMyelin
		if f.Certainty == "review" {
			by = toReview
		}
		for _, id := range f.Advisories {
			add(by, n, name, version, id)
		}
	}
	for _, r := range b.Results {
		var n int
		fmt.Sscanf(filepath.Base(r.Source.Path), "%d", &n)
		for _, p := range r.Packages {
			for _, v := range p.Vulnerabilities {
				add(byPeer, n, p.Package.Name, p.Package.Version, v.ID)
			}
		}
	}
	classes := map[string][]string{}
	for c, by := range found {
		class := ""
		switch {
		case by&byMyelin != 0 && by&byPeer != 0:
			class = "found by both"
		case by&byMyelin != 0 && commits[c.spot]:
			class = "by myelin alone: differs because osv-scanner passes over a package whose record names a range of commits before the range of versions"
		case by&byMyelin != 0:
			class = "by myelin alone: differs, not explained"
		case by&byPeer != 0 && by&toReview != 0:
			class = "by osv-scanner, left to a person by myelin: the version cannot be compared"
		case by&byPeer != 0:
			class = "by osv-scanner alone: differs, not explained"
		default:
			class = "left to a person by myelin: the version cannot be compared"
		}
		classes[class] = append(classes[class], fmt.Sprintf("%d %s@%s %s", c.product, c.name, c.version, c.spot[strings.LastIndexByte(c.spot, ' ')+1:]))
	}
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		list := classes[class]
		fmt.Printf("%6d %s\n", len(list), class)
		if class == "found by both" {
			continue
		}
		slices.Sort(list)
		for _, what := range list[:min(len(list), 5)] {
			fmt.Printf("         %s\n", what)
		}
	}
	return nil
}
