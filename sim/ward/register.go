// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/myelin-health/myelin/sim/radio"
)

// A listed is a row of the hospital's own list of devices, as clinical
// engineering keeps it.
type listed struct {
	tag, maker, model, version, serial string
	di                                 string // GTIN of the GS1 prefix 952, which is for examples, without its check digit
	code                               string // FDA product code, where there is one
	class, therapy                     string
	ward, place                        string
	at                                 *host
	aet, eui                           string
	made                               string
}

// devices are the hospital's list. Those that patients carry have a number in
// place of a name, and nobody wrote down where they live.
var devices = []listed{
	{"pump-3", "Norra Medical", "Flow 500", pump3.version, pump3.serial, "0952100000050", "FRN", "infusion pump", "drug infusion", "ICU", "Bed 3", nil, "", euiPump3, "2021-06-14"},
	{"pump-4", "Norra Medical", "Flow 500", pump4.version, pump4.serial, "0952100000050", "FRN", "infusion pump", "drug infusion", "ICU", "Bed 4", nil, "", euiPump4, "2023-11-02"},
	{"gw-icu", "Norra Medical", "FlowLink", "1.8", "FL-000812", "0952100000060", "PHC", "infusion pump gateway", "drug infusion", "ICU", "Station 3", gwICU, "", euiGW, "2020-02-20"},
	{"mon-3", "Veltis", "M9", "5.0", "VM9-004413", "0952100000110", "", "patient monitor", "monitoring", "ICU", "Bed 3", mon3, "", "", "2022-03-08"},
	{"vent-3", "Aeris", "V2", "3.3", "AV2-000932", "0952100000210", "CBK", "ventilator", "ventilation", "ICU", "Bed 3", vent3, "", "", "2022-09-30"},
	{"ct-1", "Lumen Imaging", "Helia 64", "11.0", "H64-00217", "0952100000310", "", "CT scanner", "imaging", "Radiology", "Room 8.1", ct1, ctTitle, "", "2013-05-17"},
	{"pacs", "Orthanc", "Orthanc", "1.10.1", "", "", "", "archive", "records", "Radiology", "Server room", pacs, pacsTitle, "", ""},
	{"ehr", "Castor", "Castor EHR", "9.2", "", "", "", "hospital information system", "records", "IT", "Server room", ehr, risTitle, euiEHR, ""},
	{"lab-1", "Corvus Dx", "BG200", "1.2", "BG200-1107", "0952100000410", "", "blood gas analyser", "laboratory", "Laboratory", "Room 5.2", lab1, "", euiLab, "2018-10-11"},
	{"icd-1", "Halden Cardio", "Rhythm S", "4.2", radio.ICDSerial, "0952100000510", "NIK", "", "", "Cardiology", "", nil, "", "", "2024-01"},
	{"ipump-1", "Okapi Health", "Dose One", "1.9", radio.PumpSerial, "0952100000610", "OZP", "", "", "Endocrinology", "", nil, "", "", "2025-02"},
	{"stim-1", "Tessel Neuro", "Calm", "3.0", fmt.Sprintf("%08x", radio.StimulatorSerial), "0952100000710", "LGW", "", "", "Neurology", "", nil, "", "", "2023-07"},
	{"home-1", "Halden Cardio", "HomeLink", "2.0", "", "0952100000520", "OSR", "home monitor", "", "Cardiology", "", nil, "", "", ""},
	{"prog-1", "Halden Cardio", "Studio", "7", "HS7-000133", "0952100000530", "OSR", "clinician programmer", "", "Cardiology", "Room 9.4", programmer, "", "", "2022-12-01"},
}

// udi is the UDI of a row, as its label is printed for people.
func (l *listed) udi() string {
	if l.di == "" {
		return ""
	}
	sum := 0
	for i := range len(l.di) { // GS1 General Specifications section 7.9: weights 3 and 1 from the right
		sum += int(l.di[i]-'0') * []int{3, 1}[(len(l.di)-1-i)%2]
	}
	s := fmt.Sprintf("(01)%s%d", l.di, (10-sum%10)%10)
	if l.serial != "" {
		s += "(21)" + l.serial
	}
	return s
}

// RegisterFile is the hospital's list of devices, as CSV.
func RegisterFile() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	head := "Asset tag,Manufacturer,Model,Software version,Serial number,UDI,Product code,Device type,Therapy,Ward,Location,IP address,MAC address,AE title,Host name,EUI-64,Date of manufacture"
	w.Write(strings.Split(head, ","))
	for _, l := range devices {
		var ip, mac, name string
		if l.at != nil {
			ip, name = l.at.ip.String(), l.at.fqdn()
			mac = strings.ToUpper(net.HardwareAddr(l.at.mac[:]).String())
		}
		w.Write([]string{l.tag, l.maker, l.model, l.version, l.serial, l.udi(), l.code, l.class, l.therapy, l.ward, l.place, ip, mac, l.aet, name, l.eui, l.made})
	}
	w.Flush() // into memory: cannot fail
	return b.Bytes()
}

// written writes what people wrote down.
func written(dir string) error {
	return os.WriteFile(filepath.Join(dir, "register.csv"), RegisterFile(), 0o644)
}
