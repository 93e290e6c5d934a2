// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/myelin-health/myelin"
)

// sensors of the ward, and the captures that each hears as one.
var sensors = []struct {
	name  string
	files []string
}{
	{"mirror port, core", []string{"core.pcap.gz", "icu.pcapng", "radiology.pcapng"}},
	{"receiver, waiting room", []string{"waiting-room.pcapng"}},
	{"receiver, cardiology", []string{"cardiology.jsonl"}},
}

// papers are the hospital's list of devices and what is published of them: they lie beside
// each sensor. The list is not for the server, as it may name what is on a patient.
var papers = []string{"register.csv", "ada-2026-01.csaf.json", "flow-500-2.1.4.cdx.json", "flow-500-2.2.0.spdx.json", "flowlink-1.8.cdx.json"}

func sample(name string) ([]byte, error) { return myelin.Sample.ReadFile("testdata/ward/" + name) }

const fast = 60 // times: 20 minutes in 20 seconds

// listen enrols the sensors, and lets them hear the morning. It returns while they do;
// heard has an error, or none, of each when it is over.
func (d *demo) listen(ctx context.Context) (heard chan error, err error) {
	for _, name := range papers {
		b, err := sample(name)
		if name == "register.csv" {
			b = append(b, benched...)
		}
		if err == nil {
			err = d.write("papers/"+name, b)
		}
		if err != nil {
			return nil, err
		}
	}
	heard = make(chan error, len(sensors))
	for i := range sensors {
		s, name := &sensors[i], fmt.Sprintf("sensor-%d", i+1)
		token, err := d.te.enrolment(ctx, "sensor", s.name)
		if err != nil {
			return nil, err
		}
		if err := d.write(name+".token", []byte(token)); err != nil {
			return nil, err
		}
		t, err := tapeOf(s.files...)
		if err != nil {
			return nil, err
		}
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { r.Close() }) // a sensor that ends reads no more
		args := []string{"sense", "-i", "-"}
		if i == 0 { // who the devices are that it hears
			args = append(args, "--papers", d.path("papers"))
		}
		d.beside(ctx, r, append(args, "--server", d.Sensors, "--state", d.path(name), "--enrol", "@"+d.path(name+".token"))...)
		d.all.Go(func() {
			defer w.Close()
			heard <- t.play(ctx, w, time.Now(), fast)
			<-ctx.Done() // it goes on to listen
		})
	}
	return heard, nil
}
