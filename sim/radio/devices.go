// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// The people who wear the devices, of the ward's story, and what the devices
// know of them. Nothing here is real.
const (
	AnnaName, annaRecord, annaBorn = "Anna Lindqvist", "STA-104233", 19580214
	CleoName, cleoBorn             = "Cleo Marchetti", 19741109
	BenName                        = "Ben Okafor"
	physician                      = "Mira Holm"

	pumpSerial     = "OH1-7731409"
	classicSerial  = 0x3b1f06
	podSerial      = 0x1f0c9a52
	podSequence    = 80417355
	sensorSerial   = 0x0a77c1
	icdSerial      = "RS4-550218"
	icdAddress     = 0x5e2b90d4
	wandSerial     = 0x4471c9
	stimSerial     = 0x71c05be3
	strapSerial    = "PL-2208417"
	meterSerial    = "OM-4410927"
	scaleSerial    = "WI-9030664"
	readerSerial   = "RD-118204"
	benPhone       = "Ben's phone"
	strangersPhone = "Kit's phone"
)

// What others know of the devices and their patients too: a hospital's list, and
// live devices of the same story. All of it is patient data.
const (
	PumpSerial       = pumpSerial
	ICDSerial        = icdSerial
	StimulatorSerial = stimSerial

	ICDAddress    = icdAddress
	WandSerial    = wandSerial
	ClassicSerial = classicSerial
	PodSerial     = podSerial
	PodSequence   = podSequence
	SensorSerial  = sensorSerial
	AnnaRecord    = annaRecord
	AnnaBorn      = annaBorn
	CleoBorn      = cleoBorn
	Physician     = physician
)

// address writes one as people do.
func address(kind ble.AddressKind, s string) ble.Address {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		panic(err) // ours
	}
	return ble.Address{Bytes: [6]byte(b), Kind: kind}
}

// Identity addresses. Public ones are of the range for documentation (RFC 7042
// section 2.1.2), the others are random.
var (
	pumpAddress     = address(ble.StaticRandom, "C7:31:40:9E:5B:12")
	bootAddress     = address(ble.StaticRandom, "C7:31:40:9E:5B:13") // of the pump's boot loader
	icdBLEAddress   = address(ble.StaticRandom, "E2:0F:55:02:18:A6")
	strapAddress    = address(ble.Public, "00:00:5E:00:53:84")
	meterAddress    = address(ble.Public, "00:00:5E:00:53:92")
	scaleAddress    = address(ble.Public, "00:00:5E:00:53:A9")
	readerAddress   = address(ble.Public, "00:00:5E:00:53:C4")
	benAddress      = address(ble.Public, "00:00:5E:00:53:B1")
	strangerAddress = address(ble.Public, "00:00:5E:00:53:D3")
	monitorAddress  = address(ble.Public, "00:00:5E:00:53:E7")
)

// Secrets returns every text of the recordings that nobody may tell: names,
// birth dates, record numbers, and of what is worn serial numbers, addresses
// and the names of phones. Comparing is to ignore case.
func Secrets() []string {
	out := []string{
		AnnaName, "Lindqvist", annaRecord, annaRecord[3:], fmt.Sprint(annaBorn), CleoName, "Marchetti", fmt.Sprint(cleoBorn),
		BenName, "Okafor", physician, pumpSerial, strings.TrimPrefix(pumpSerial, "OH1-"), icdSerial, strapSerial, strings.TrimPrefix(strapSerial, "PL-"),
		meterSerial, strings.TrimPrefix(meterSerial, "OM-"), scaleSerial, strings.TrimPrefix(scaleSerial, "WI-"), readerSerial, strings.TrimPrefix(readerSerial, "RD-"),
		benPhone, strangersPhone, fmt.Sprint(podSequence), pin,
	}
	for _, n := range []uint32{podSerial, icdAddress, stimSerial} {
		out = append(out, fmt.Sprintf("%08x", n), fmt.Sprint(n))
	}
	for _, n := range []uint32{classicSerial, sensorSerial, wandSerial} {
		out = append(out, fmt.Sprintf("%06x", n), fmt.Sprint(n))
	}
	for _, a := range []ble.Address{pumpAddress, bootAddress, icdBLEAddress, strapAddress, meterAddress, scaleAddress, readerAddress, benAddress, strangerAddress, monitorAddress} {
		for _, b := range [][]byte{a.Bytes[:], toolbox.Reversed(a.Bytes[:])} {
			plain := hex.EncodeToString(b)
			out = append(out, plain)
			for _, by := range []string{":", "-"} {
				parts := make([]string, len(b))
				for i := range b {
					parts[i] = plain[2*i : 2*i+2]
				}
				out = append(out, strings.Join(parts, by))
			}
		}
	}
	return out
}

// pin is the pump's code that lets a phone delete bonds.
const pin = "PIN 73914"

// Numbers of the Bluetooth SIG.
var (
	svcGAP       = gatt.UUID16(0x1800)
	svcGATT      = gatt.UUID16(0x1801)
	svcDevice    = gatt.UUID16(0x180a)
	svcGlucose   = gatt.UUID16(0x1808)
	svcHeartRate = gatt.UUID16(0x180d)
	svcBattery   = gatt.UUID16(0x180f)
	svcBody      = gatt.UUID16(0x181b)
	svcWeight    = gatt.UUID16(0x181d)
	svcBond      = gatt.UUID16(0x181e)
	svcCGM       = gatt.UUID16(0x181f)
	svcInsulin   = gatt.UUID16(0x183a)

	chrName            = gatt.UUID16(0x2a00)
	chrAppearance      = gatt.UUID16(0x2a01)
	chrServiceChanged  = gatt.UUID16(0x2a05)
	chrGlucose         = gatt.UUID16(0x2a18)
	chrBattery         = gatt.UUID16(0x2a19)
	chrModel           = gatt.UUID16(0x2a24)
	chrSerial          = gatt.UUID16(0x2a25)
	chrFirmware        = gatt.UUID16(0x2a26)
	chrManufacturer    = gatt.UUID16(0x2a29)
	chrGlucoseContext  = gatt.UUID16(0x2a34)
	chrHeartRate       = gatt.UUID16(0x2a37)
	chrSensorLocation  = gatt.UUID16(0x2a38)
	chrGlucoseFeature  = gatt.UUID16(0x2a51)
	chrRecordAccess    = gatt.UUID16(0x2a52)
	chrBodyFeature     = gatt.UUID16(0x2a9b)
	chrBody            = gatt.UUID16(0x2a9c)
	chrWeight          = gatt.UUID16(0x2a9d)
	chrWeightFeature   = gatt.UUID16(0x2a9e)
	chrBondControl     = gatt.UUID16(0x2aa4)
	chrBondFeature     = gatt.UUID16(0x2aa5)
	chrCGMMeasurement  = gatt.UUID16(0x2aa7)
	chrCGMFeature      = gatt.UUID16(0x2aa8)
	chrCGMStatus       = gatt.UUID16(0x2aa9)
	chrCGMSessionStart = gatt.UUID16(0x2aaa)
	chrCGMRunTime      = gatt.UUID16(0x2aab)
	chrCGMControl      = gatt.UUID16(0x2aac)
	chrIDDChanged      = gatt.UUID16(0x2b20)
	chrIDDStatus       = gatt.UUID16(0x2b21)
	chrIDDAnnunciation = gatt.UUID16(0x2b22)
	chrIDDFeatures     = gatt.UUID16(0x2b23)
	chrIDDStatusReader = gatt.UUID16(0x2b24)
	chrIDDCommand      = gatt.UUID16(0x2b25)
	chrIDDCommandData  = gatt.UUID16(0x2b26)
	chrIDDRecordAccess = gatt.UUID16(0x2b27)
	chrIDDHistory      = gatt.UUID16(0x2b28)
)

// Halden's own service, with what is sealed above the link.
var (
	svcHalden = uuid("4A1B7A00-6C0E-4E3B-9A57-2F1D48A3C960")
	chrHalden = uuid("4A1B7A01-6C0E-4E3B-9A57-2F1D48A3C960")
)

func uuid(s string) gatt.UUID {
	u, err := gatt.ParseUUID(s)
	if err != nil {
		panic(err) // ours
	}
	return u
}

// about adds what every device says of itself.
func (v *server) about(name, manufacturer, model, serial, firmware string, level int) {
	v.service(svcGAP)
	v.characteristic(chrName, propertyRead, 0, []byte(name), nil)
	v.characteristic(chrAppearance, propertyRead, 0, []byte{0, 0}, nil)
	v.service(svcGATT)
	v.characteristic(chrServiceChanged, propertyIndicate, 0, nil, nil)
	v.service(svcDevice)
	v.characteristic(chrManufacturer, propertyRead, 0, []byte(manufacturer), nil)
	v.characteristic(chrModel, propertyRead, 0, []byte(model), nil)
	v.characteristic(chrSerial, propertyRead, level, []byte(serial), nil)
	v.characteristic(chrFirmware, propertyRead, 0, []byte(firmware), nil)
	v.service(svcBattery)
	v.characteristic(chrBattery, propertyRead|propertyNotify, 0, []byte{83}, nil)
}

// introduce reads what a device says of itself.
func (l *link) introduce() {
	for _, u := range []gatt.UUID{chrName, chrManufacturer, chrModel, chrSerial, chrFirmware, chrBattery} {
		l.read(u)
	}
}

// advertisement is what a party tells everybody near. Its first service goes
// along, and its name unless it hides who it is.
func (p *party) advertisement(s *scene) ble.Advertisement {
	data := ble.AppendAD(nil, ble.ADFlags, []byte{6}) // general discoverable, no BR/EDR
	if p.service != (gatt.UUID{}) {
		data = ble.AppendAD(data, ble.ADAllServices16, p.service.AppendLE(nil))
	}
	if !p.private {
		data = ble.AppendAD(data, ble.ADName, []byte(p.name))
	}
	return ble.Advertisement{Advertiser: p.address(s), Connectable: true, Scannable: true, RSSI: -61, Data: data}
}

// phone makes a phone or monitor, whose addresses are private.
func (s *scene) phone(name string, identity ble.Address) *party {
	request, _ := featuresFor(ble.JustWorks, true)
	return &party{identity: identity, irk: s.key(), private: true, name: name, says: request}
}

func (s *scene) benPhone() *party { return s.phone(benPhone, benAddress) }
func (s *scene) stranger() *party { return s.phone(strangersPhone, strangerAddress) }

// strap makes a heart-rate strap. In its legacy form it knows no pairing; in
// the other it asks for an encrypted link.
func (s *scene) strap() *party {
	p := &party{identity: strapAddress, name: "Pulse Line", service: svcHeartRate}
	level := 0
	if s.form == Protected {
		p.private, p.irk, level = true, s.key(), 2
	}
	v := &server{}
	v.about("Pulse Line", "Velo Sport", "Pulse Line", strapSerial, "2.4", level)
	v.service(svcHeartRate)
	v.characteristic(chrHeartRate, propertyNotify, level, nil, nil)
	v.characteristic(chrSensorLocation, propertyRead, level, []byte{1}, nil)
	p.server = v.close()
	return p
}

// reader makes what a patient holds over her implant at home, and what an app of the
// maker reads. In its legacy form it asks no app who it is.
func (s *scene) reader() *party {
	p := &party{identity: readerAddress, name: "Reader S", service: svcHeartRate}
	level := 0
	if s.form == Protected {
		p.private, p.irk, level = true, s.key(), 3
	}
	v := &server{}
	v.about("Reader S", "Halden Cardio", "Reader S", readerSerial, "2.2", level)
	v.service(svcHeartRate)
	v.characteristic(chrHeartRate, propertyNotify, level, nil, nil)
	v.characteristic(chrSensorLocation, propertyRead, level, []byte{1}, nil)
	p.server = v.close()
	return p
}

// icd makes icd-anna as it speaks Bluetooth: with the monitor at home, in what
// its maker seals.
func (s *scene) icd() *party {
	p := &party{identity: icdBLEAddress, irk: s.key(), private: true, name: "Rhythm S", service: svcHeartRate}
	level := 0
	if s.form == Protected {
		level = 3
	}
	v := &server{}
	v.about("Rhythm S", "Halden Cardio", "Rhythm S", icdSerial, "4.2", level)
	v.service(svcHeartRate)
	v.characteristic(chrHeartRate, propertyNotify, level, nil, nil)
	v.service(svcHalden)
	v.characteristic(chrHalden, propertyWrite|propertyNotify, level, nil, func(l *link, b []byte) uint8 {
		l.later(func() { l.notify(chrHalden, s.random(len(b)+32)) })
		return 0
	})
	p.server = v.close()
	return p
}
