// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

// The fleet of a large group of hospitals.
const (
	benchDevices    = 100_000
	benchModels     = 250 // with eight versions each: 2,000 products
	benchVersions   = 8
	benchComponents = 650
	benchLibraries  = 12_000 // different packages in all of them
)

// benchBOM is a generated bill of materials: one in six components has a
// version that no other product has, the others are drawn from what is common.
// An earlier version of a model has mostly the same packages.
func benchBOM(model, v int) *sbom.Document {
	r := rand.New(rand.NewPCG(uint64(model), 1))
	kinds := []string{"golang/github.com/acme", "npm", "pypi", "maven/org.acme", "deb/debian"}
	d := &sbom.Document{
		Serial: fmt.Sprintf("urn:uuid:%d-%d", model, v), Supplier: fmt.Sprintf("Maker %d", model%40),
		Components: []sbom.Component{{Name: fmt.Sprintf("Device M%d", 1000+model), Version: fmt.Sprintf("%d.0", v), Parent: -1}},
	}
	for i := range benchComponents {
		n := int(r.ExpFloat64() * benchLibraries / 5) // few are in nearly all, most in few
		minor := r.IntN(6)
		if i%6 == 0 {
			minor = 10 + v + benchVersions*model
		}
		name, ver := fmt.Sprintf("lib%d", n), fmt.Sprintf("1.%d.%d", minor, n%10)
		c := sbom.Component{Name: name, Version: ver, PURL: fmt.Sprintf("pkg:%s/%s@%s", kinds[n%len(kinds)], name, ver)}
		if i%10 == 0 {
			c.CPEs = []string{fmt.Sprintf("cpe:2.3:a:acme:%s:%s:*:*:*:*:*:*:*", name, ver)}
		}
		d.Components = append(d.Components, c)
	}
	return d
}

func benchIndex() *Index {
	x := NewIndex(nil)
	for m := range benchModels {
		for v := range benchVersions {
			x.AddSBOM(benchBOM(m, v))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range benchDevices {
		m := r.IntN(benchModels)
		x.AddDevice(&register.Entry{ID: fmt.Sprintf("device-%d", i), Made: fmt.Sprintf("20%02d-%02d-01", 10+i%16, 1+i%12), Identity: device.Identity{
			Manufacturer: fmt.Sprintf("Maker %d", m%40), Model: fmt.Sprintf("Device M%d", 1000+m), Version: fmt.Sprintf("%d.0", r.IntN(benchVersions)),
		}})
	}
	return x
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkIndex builds the index of 100,000 devices of 2,000 products of 650
// components from parsed documents, and tells how much memory it has.
func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		empty := heap()
		x := benchIndex()
		b.ReportMetric(float64(heap()-empty)/1e6, "MB")
		b.ReportMetric(float64(x.Stats().Components), "components")
		runtime.KeepAlive(x)
	}
}

// BenchmarkAffected asks for one advisory: about packages that are in many
// products, and about a manufacturer's models with ranges and dates.
func BenchmarkAffected(b *testing.B) {
	x := benchIndex()
	component := about("CVE-2026-1", nil,
		advisory.Statement{Product: advisory.Product{Ecosystem: "npm", Package: "lib1", HasRange: true, Range: before(version.NPM, "1.4.0")}},
		advisory.Statement{Product: advisory.Product{Ecosystem: "Go", Package: "github.com/acme/lib5", HasRange: true, Range: before(version.Go, "1.4.0")}},
	)
	product := &advisory.Document{ID: "ICSMA-26-001-01"}
	for i := range 10 {
		v := advisory.Vulnerability{ID: fmt.Sprintf("CVE-2026-%d", 100+i)}
		for m := range 20 {
			p := advisory.Product{Manufacturer: "Maker 3, Inc.", Name: fmt.Sprintf("Device M%d", 1003+40*m), Version: "< 5.0", Text: version.ParseText("< 5.0")}
			v.Statements = append(v.Statements, advisory.Statement{Product: p, Status: advisory.Affected})
		}
		product.Vulnerabilities = append(product.Vulnerabilities, v)
	}
	dates := advisory.Product{Manufacturer: "Maker 3", Name: "Device M1003", Version: "distributed < april 1, 2018", Text: version.ParseText("distributed < april 1, 2018")}
	for _, bench := range []struct {
		name string
		doc  *advisory.Document
	}{{"component", component}, {"product", product}, {"dates", about("CVE-2026-2", nil, advisory.Statement{Product: dates})}} {
		b.Run(bench.name, func(b *testing.B) {
			var devices uint64
			for b.Loop() {
				devices = 0
				for _, h := range x.Affected(bench.doc) {
					devices += h.Devices.GetCardinality()
				}
			}
			if devices == 0 {
				b.Error("nothing is affected")
			}
			b.ReportMetric(float64(devices), "devices")
		})
	}
}

// BenchmarkAddSBOM adds one bill of materials to the whole index.
func BenchmarkAddSBOM(b *testing.B) {
	x := benchIndex()
	d := benchBOM(7, 3)
	for b.Loop() {
		x.AddSBOM(d) // replaces the one that is there
	}
}
