// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package match

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

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

func benchIndex(add func(*Index, *sbom.Document)) *Index {
	x := NewIndex(nil)
	for m := range benchModels {
		for v := range benchVersions {
			add(x, benchBOM(m, v))
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

func benchAdd(x *Index, d *sbom.Document) { x.AddSBOM(d) }

// written is a document as CycloneDX.
func written(d *sbom.Document) []byte {
	var out bytes.Buffer
	one := func(c *sbom.Component, kind string) {
		fmt.Fprintf(&out, `{"type":%q,"name":%q,"version":%q`, kind, c.Name, c.Version)
		if c.PURL != "" {
			fmt.Fprintf(&out, `,"purl":%q,"licenses":[{"license":{"id":"MIT"}}],"hashes":[{"alg":"SHA-256","content":"%064x"}]`, c.PURL, len(c.PURL))
		}
		for _, name := range c.CPEs {
			fmt.Fprintf(&out, `,"cpe":%q`, name)
		}
		out.WriteByte('}')
	}
	fmt.Fprintf(&out, `{"bomFormat":"CycloneDX","specVersion":"1.4","version":1,"metadata":{"supplier":{"name":%q},"component":`, d.Supplier)
	one(&d.Components[0], "device")
	out.WriteString(`},"components":[`)
	for i := range d.Components[1:] {
		if i > 0 {
			out.WriteByte(',')
		}
		one(&d.Components[i+1], "library")
	}
	out.WriteString("]}")
	return out.Bytes()
}

// cpu is the time that the program has worked: what it waits for others is not
// in it.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIndex reads 2,000 documents and builds the index of 100,000 devices
// from them, and tells how much memory it has.
func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		empty := heap()
		x := benchIndex(func(x *Index, d *sbom.Document) {
			b.StopTimer()
			doc := written(d)
			b.StartTimer()
			d, err := sbom.Read(bytes.NewReader(doc))
			if err != nil {
				b.Fatal(err)
			}
			x.AddSBOM(d)
		})
		b.ReportMetric(float64(heap()-empty)/1e6, "MB")
		b.ReportMetric(float64(x.Stats().Components), "components")
		runtime.KeepAlive(x)
	}
}

// BenchmarkAffected asks for one advisory: about packages that are in many
// products, and about a manufacturer's models with ranges and dates.
func BenchmarkAffected(b *testing.B) {
	x := benchIndex(benchAdd)
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
			began := cpu()
			for b.Loop() {
				devices = 0
				for _, h := range x.Affected(bench.doc) {
					devices += h.Devices.GetCardinality()
				}
			}
			if devices == 0 {
				b.Error("nothing is affected")
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(devices), "devices")
		})
	}
}

// BenchmarkAddSBOM adds one more bill of materials to the whole index, of a
// product that is new.
func BenchmarkAddSBOM(b *testing.B) {
	x := benchIndex(benchAdd)
	var worked time.Duration
	for n := benchModels; b.Loop(); n++ {
		b.StopTimer()
		d := benchBOM(n, 0)
		began := cpu()
		b.StartTimer()
		x.AddSBOM(d)
		worked += cpu() - began
	}
	b.ReportMetric(float64(worked)/float64(b.N), "cpu-ns/op")
}

// BenchmarkVersions adds a thousand versions of one product, each with its bill
// of materials, before a thousand others of as many products.
func BenchmarkVersions(b *testing.B) {
	for b.Loop() {
		x := NewIndex(nil)
		for i := range 2000 {
			model := "Flow 500"
			if i >= 1000 {
				model = fmt.Sprintf("Flow %d", i)
			}
			v := fmt.Sprintf("1.%d", i)
			x.AddSBOM(&sbom.Document{Serial: fmt.Sprintf("urn:%d", i), Supplier: "Adamed", Components: []sbom.Component{{Name: model, Version: v}}})
		}
	}
}
