// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/event"
)

// modbusADU puts an MBAP header before unit, function code and data.
func modbusADU(unitAndPDU string) []byte {
	return []byte("\x00\x01\x00\x00\x00" + string(rune(len(unitAndPDU))) + unitAndPDU)
}

func TestModbusObserver(t *testing.T) {
	identity := "\x2b\x0e\x01\x01\x00\x00\x03\x00\x05Norra\x01\x04FL50\x02\x052.1.4"
	named := "\x2b\x0e\x02\x02\x00\x00\x01\x05\x08Flow 500"
	said := func(model string) string {
		return fmt.Sprintf("identity-seen 10.20.3.10 %d=Norra %d=%s %d=2.1.4", event.Manufacturer, event.Model, model, event.Version)
	}
	malformed := func(field, reason string) string {
		return fmt.Sprintf("malformed-seen 10.20.3.10 %d=modbus %d=%s %d=%s", event.Protocol, event.Field, field, event.Reason, reason)
	}
	ask := client(modbusADU("\xff\x2b\x0e\x01\x00"))
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{"identity", []piece{ask, server(modbusADU("\xff" + identity)), ask, server(modbusADU("\xff" + identity))}, []string{said("FL50")}},
		{"identity in two answers", []piece{ask, server(modbusADU("\xff" + identity)), ask, server(modbusADU("\xff" + named))}, []string{said("FL50"), said("Flow 500")}},
		{"another unit behind the gateway", []piece{ask, server(modbusADU("\x01" + identity)), ask, server(modbusADU("\x02" + named))}, []string{said("FL50")}},
		{"writes say nothing", []piece{client(modbusADU("\xff\x06\x00\x01\x00\x03")), server(modbusADU("\xff\x06\x00\x01\x00\x03"))}, nil},
		{"count beyond", []piece{server(modbusADU("\xff\x03\x06\x00\x01")), server(modbusADU("\xff\x03\x02\x00\x01"))}, []string{malformed("Data", "invalid value")}},
		{"identity cut", []piece{server(modbusADU("\xff\x2b\x0e\x01\x01\x00\x00\x03\x00\x05Norra"))}, []string{malformed("Object Id", "truncated")}},
		{"sync lost", []piece{server([]byte("\x00\x01\x00\x00\x00\x00\xff\x03")), server(modbusADU("\xff" + identity))}, []string{malformed("Length", "invalid value")}},
	} {
		inAnyCut(t, tt.name, newModbusObserver, tt.pieces, tt.want...)
	}
}

func TestModbusCaptures(t *testing.T) {
	for name, conversations := range map[string]int{
		"ndpi-modbus.pcap": 1, "zeek-modbusBig.pcap": 1, "iti-modbus_test.pcap": 5,
	} {
		tells(t, name, map[string]int{"modbus": conversations})
	}
	if n := recorded(t, "zeek-modbusSmall.pcap")["modbus"]; n == 0 {
		t.Error("zeek-modbusSmall.pcap: no Modbus")
	}
	if n := recorded(t, "zeek-fuzz-1011.pcap")["modbus"]; n == 0 {
		t.Error("zeek-fuzz-1011.pcap: no Modbus")
	}
}
