// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// What osv-scanner 2.3.5 makes of some records, each found out by changing a
// record until the answer changed.
const (
	commitsFirst = "osv-scanner looks at listed versions and no ranges where a record names commits before versions"
	endsAnew     = "osv-scanner ends at a version at which a record's range both ends and begins anew"
	spelling     = "osv-scanner takes no dots and runs of dashes in names of PyPI for a dash, as PEP 503 does"
	capitals     = "osv-scanner puts package URLs of Go in lower case, and looks for them among names that have capitals"
)

// packages reads the packages of OSV's records, a line each, and packs the
// records as osv-scanner wants to have them: cache/osv-scanner/ECOSYSTEM/all.zip.
// reasons say, by [spot], why osv-scanner may pass over a package in a record.
func packages(files []string, cache string) (out []supplied, reasons map[string]string, err error) {
	at := map[string]int{}
	reasons = map[string]string{}
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
				if eco == "Go" && p.name != strings.ToLower(p.name) {
					reasons[spot(p.name, r.ID)] = capitals
				}
				for n, x := range a.Ranges {
					if x.Type == "GIT" {
						if n == 0 {
							reasons[spot(p.name, r.ID)] = commitsFirst
						}
						continue
					}
					begins, ends := map[string]bool{}, map[string]bool{}
					for _, e := range x.Events {
						begins[e["introduced"]], ends[e["fixed"]] = true, true
						if v := cmp.Or(e["introduced"], e["fixed"]); begins[v] && ends[v] {
							reasons[spot(p.name, r.ID)] = endsAnew
						}
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
	return out, reasons, err
}

// A part is a package in one version.
type part struct {
	ecosystem, name, version string
	digest                   uint64
}

// bom writes the bill of materials of the n-th product: every third part is a
// package of which something was published, at a version that a record names or
// near it.
func bom(n int, known []supplied) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	parts := make([]part, partsOfBOM)
	seen := map[int]bool{}
	for i := range parts {
		p := &parts[i]
		p.ecosystem, p.name = "Go", fmt.Sprintf("example.org/team%d/module%d", random.IntN(500), random.IntN(4000))
		p.version = fmt.Sprintf("v%d.%d.%d", random.IntN(3), random.IntN(20), random.IntN(9))
		if i%3 == 0 {
			k := random.IntN(len(known))
			for seen[k] {
				k = random.IntN(len(known))
			}
			seen[k] = true
			from := &known[k]
			if p.ecosystem, p.name = from.ecosystem, from.name; p.ecosystem == "PyPI" {
				p.version = strings.TrimPrefix(p.version, "v")
			}
			if len(from.versions) > 0 && random.IntN(3) > 0 {
				if p.version = from.versions[random.IntN(len(from.versions))]; p.ecosystem == "Go" && !strings.HasPrefix(p.version, "v") {
					p.version = "v" + p.version
				}
			}
		}
		p.digest = random.Uint64()
	}
	return write(n, parts)
}

func write(n int, parts []part) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"bomFormat":"CycloneDX","specVersion":"1.5","serialNumber":"urn:uuid:00000000-0000-4000-8000-%012d","version":1,"metadata":{"timestamp":"2026-03-03T07:00:00Z","component":{"type":"device","bom-ref":"product","supplier":{"name":"Bench Medical"},"name":"Product %d","version":"1.%d"}},"components":[`, n, n, n)
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(',')
		}
		kind := map[string]string{"Go": "golang", "PyPI": "pypi"}[p.ecosystem]
		purl := "pkg:" + kind + "/" + strings.ToLower(p.name) + "@" + strings.NewReplacer("+", "%2B", "!", "%21").Replace(p.version)
		fmt.Fprintf(&b, `{"type":"library","bom-ref":"%d","name":%q,"version":%q,"purl":%q,"licenses":[{"license":{"id":"MIT"}}],"hashes":[{"alg":"SHA-256","content":"%064x"}]}`, i, p.name, p.version, purl, p.digest)
	}
	b.WriteString("]}\n")
	return b.Bytes()
}

// odd are packages at versions that are hard to put in an order, and under
// other spellings of their names: what comes before and after each version that
// records name, and what is none.
func odd(known []supplied) (parts []part) {
	for _, p := range known {
		names, after := []string{p.name}, []string{"", "-rc.1", "-alpha", "-0.20200101000000-abcdef012345", "+incompatible"}
		if p.ecosystem == "PyPI" {
			after = []string{"", "rc1", ".dev1", ".post1", "+local.1", ".0", ".0.1"}
			for _, dash := range []string{"-", "_", ".", "__"} {
				names = append(names, strings.NewReplacer("-", dash, "_", dash, ".", dash).Replace(p.name))
			}
		}
		step := 1 + len(p.versions)/6
		for i := 0; i < len(p.versions); i += step {
			v := p.versions[i]
			add := func(version string) {
				parts = append(parts, part{ecosystem: p.ecosystem, name: names[len(parts)%len(names)], version: version})
			}
			for _, s := range after {
				if p.ecosystem == "Go" && s != "" && !strings.HasPrefix(v, "v") {
					v = "v" + v
				}
				add(v + s)
			}
			if p.ecosystem == "PyPI" {
				add("v" + v)
				add("1!" + v)
			}
		}
	}
	return parts
}

// know measures the matching of bills of materials against OSV's records beside
// osv-scanner, where it is installed, and compares what both found: in bills as
// they are, and then in one large heap of odd versions, which is not timed.
func know(dir, program, data, only string, boms, runs int) error {
	files, err := filepath.Glob(filepath.Join(data, "*.jsonl"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no OSV records (*.jsonl) in %s", data)
	}
	cache := filepath.Join(dir, "cache")
	known, reasons, err := packages(files, cache)
	if err != nil {
		return err
	}
	os.Setenv("OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY", cache)
	both := func(folder string) (mine, other command) {
		mine = command{name: "myelin --jobs 1", out: folder + ".myelin.json"}
		mine.args = append([]string{program, "assess", "--format", "json", "--jobs", "1", folder}, files...)
		other = command{name: "osv-scanner --offline", out: folder + ".osv.json", once: true}
		other.args = []string{"osv-scanner", "scan", "source", "--offline", "--format", "json", "--verbosity", "error", "-r", folder}
		return mine, other
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
	fmt.Printf("\n%d bills of materials of %d components, %d packages that records name\n", boms, partsOfBOM, len(known))
	mine, other := both(folder)
	if err := run(folder, uint64(boms), only, runs, []command{mine, other}); err != nil {
		return err
	}
	if _, err := exec.LookPath("osv-scanner"); err != nil || only != "" {
		return nil
	}
	if err := agree(mine.out, other.out, reasons); err != nil {
		return err
	}
	folder = filepath.Join(dir, "odd")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	parts := odd(known)
	for n, some := range slices.Collect(slices.Chunk(parts, partsOfBOM)) {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d.cdx.json", n)), write(n, some), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d components with odd versions and spellings\n", len(parts))
	mine, other = both(folder)
	for _, c := range []command{mine, other} {
		if _, err := measure(c); err != nil {
			return err
		}
	}
	return agree(mine.out, other.out, reasons)
}

var dashes = regexp.MustCompile(`[-_.]+`)

// folded is a package's name in the spelling that stands for all of it: of PyPI
// dots and dashes are one (PEP 503). Go's names have a host before a slash.
func folded(name string) string {
	if name = strings.ToLower(name); strings.Contains(name, "/") {
		return name
	}
	return dashes.ReplaceAllString(name, "-")
}

// spot is a package and a record that is about it.
func spot(name, id string) string { return folded(name) + " " + id }

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
	spelled // by Myelin, and otherwise than "_" for "-"
)

// agree prints what one of the two found and the other did not, and why. What
// Myelin leaves to a person is not a claim, and counted apart.
func agree(ours, theirs string, reasons map[string]string) error {
	mine, err := os.ReadFile(ours)
	if err != nil {
		return err
	}
	other, err := os.ReadFile(theirs)
	if err != nil {
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
		version = strings.ToLower(strings.TrimPrefix(version, "v"))
		found[claim{product, spot(name, id), folded(name), version}] |= by
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
		if name != folded(name) {
			by |= spelled
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
		case by&byMyelin != 0 && reasons[c.spot] != "":
			class = "by myelin alone: " + reasons[c.spot]
		case by&byMyelin != 0 && by&spelled != 0:
			class = "by myelin alone: " + spelling
		case by&byMyelin != 0:
			class = "by myelin alone: not explained"
		case by&byPeer != 0 && by&toReview != 0:
			class = "by osv-scanner, left to a person by myelin: the version is none of its ecosystem's"
		case by&byPeer != 0:
			class = "by osv-scanner alone: not explained"
		default:
			class = "left to a person by myelin: the version is none of its ecosystem's"
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
