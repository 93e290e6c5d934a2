// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	mirror "github.com/myelin-health/myelin/sim/ward"
	"github.com/myelin-health/myelin/watch"
)

// TestIntroduced holds that what is said of medical devices alone is said of one that only the register knows
// as such, with its harm.
func TestIntroduced(t *testing.T) {
	var pcap strings.Builder
	err := mirror.Mirror(&pcap, []mirror.Conversation{{
		Client: netip.MustParseAddr("10.20.9.4"), Server: netip.MustParseAddrPort("198.51.100.66:80"),
		Said: []mirror.Said{{Bytes: []byte("GET /studio.img HTTP/1.1\r\nHost: updates\r\n\r\n")}, {Answer: true, Bytes: []byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	const register = "Asset tag,Manufacturer,Model,Product code,IP address\nprog-1,Halden Cardio,Studio,%,10.20.9.4\n"
	for code, want := range map[string]device.Harm{"OSR": device.Catastrophic, "": device.NoHarm} {
		files := map[string]string{"mirror.pcap": pcap.String(), "register.csv": strings.Replace(register, "%", code, 1)}
		a := assessFiles(t, Config{Baseline: new(watch.Baseline)}, files)
		harm, found := device.NoHarm, false
		for _, f := range a.Findings {
			if f.Kind == finding.UnexpectedExternalPeer {
				harm, found = f.Harm, true
			}
		}
		if found != (want != device.NoHarm) || found && harm == device.NoHarm {
			t.Errorf("product code %q: found %v, harm %v", code, found, harm)
		}
	}
}
