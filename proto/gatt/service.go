// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import "github.com/myelin-health/myelin/device"

// A ServiceInfo is what is known of a service.
type ServiceInfo struct {
	UUID    UUID
	Name    string
	Class   string         // of that device, where neither name nor therapy says it
	Therapy device.Therapy // of the device that offers it; NoTherapy where any may

	// Medical: a medical device offers it. Worn: so does one that is implanted
	// or worn on the body, whose identity is patient data.
	Medical, Worn bool

	// Level is the level of LE security mode 1 that the profile asks for at
	// least (Vol 3 Part C section 10.2.1), 0 where it asks for none or is not
	// known. Source says where it asks. With IfBonded it asks only of devices
	// that bond: below the level, patient data is exposed, but no rule broken.
	Level    int
	Source   string
	IfBonded bool

	// Sealed: the vendor protects what is sent above the link, by means that a
	// capture does not show. The bytes are opaque, and a write of them on a weak
	// link is not yet an unauthenticated command.
	Sealed bool

	// Update: it installs firmware.
	Update bool
}

// Marks say what access to a characteristic can do.
type Marks uint8

// The marks.
const (
	MarkTherapy       Marks = 1 << iota // T: a write can change the therapy, or what the patient is warned of
	MarkMeasurement                     // M: it carries measurements or health history
	MarkConfiguration                   // C: a write configures the device
	MarkIdentity                        // it names the device or the person
)

// A CharacteristicInfo is what is known of a characteristic.
type CharacteristicInfo struct {
	UUID    UUID
	Name    string
	Service UUID // where it stands; zero where it stands in several
	Marks   Marks
}

// Assigned numbers that the code below needs by name.
const (
	uuidPrimary        = 0x2800
	uuidSecondary      = 0x2801
	uuidInclude        = 0x2802
	uuidCharacteristic = 0x2803
	uuidCCCD           = 0x2902

	svcGlucose    = 0x1808
	svcHeartRate  = 0x180d
	svcOximeter   = 0x1822
	svcCGM        = 0x181f
	svcInsulin    = 0x183a
	svcDeviceInfo = 0x180a

	chrDeviceName        = 0x2a00
	chrServiceChanged    = 0x2a05
	chrGlucose           = 0x2a18
	chrBatteryLevel      = 0x2a19
	chrTemperature       = 0x2a1c
	chrTemperatureType   = 0x2a1d
	chrInterimTemp       = 0x2a1e
	chrInterval          = 0x2a21
	chrSystemID          = 0x2a23
	chrModel             = 0x2a24
	chrSerial            = 0x2a25
	chrFirmware          = 0x2a26
	chrHardware          = 0x2a27
	chrSoftware          = 0x2a28
	chrManufacturer      = 0x2a29
	chrRegulatory        = 0x2a2a
	chrCurrentTime       = 0x2a2b
	chrGlucoseContext    = 0x2a34
	chrBloodPressure     = 0x2a35
	chrCuffPressure      = 0x2a36
	chrHeartRate         = 0x2a37
	chrSensorLocation    = 0x2a38
	chrHeartRateControl  = 0x2a39
	chrBloodFeature      = 0x2a49
	chrPnPID             = 0x2a50
	chrGlucoseFeature    = 0x2a51
	chrRecordAccess      = 0x2a52
	chrSpotCheck         = 0x2a5e
	chrContinuousOx      = 0x2a5f
	chrOximeterFeature   = 0x2a60
	chrBirthDate         = 0x2a85
	chrEmail             = 0x2a87
	chrFirstName         = 0x2a8a
	chrGender            = 0x2a8c
	chrLastName          = 0x2a90
	chrUserIndex         = 0x2a9a
	chrBodyFeature       = 0x2a9b
	chrBodyComposition   = 0x2a9c
	chrWeight            = 0x2a9d
	chrWeightFeature     = 0x2a9e
	chrUserControl       = 0x2a9f
	chrBondControl       = 0x2aa4
	chrBondFeature       = 0x2aa5
	chrCGMMeasurement    = 0x2aa7
	chrCGMFeature        = 0x2aa8
	chrCGMStatus         = 0x2aa9
	chrCGMSessionStart   = 0x2aaa
	chrCGMSessionRunTime = 0x2aab
	chrCGMControl        = 0x2aac
	chrIDDStatusChanged  = 0x2b20
	chrIDDStatus         = 0x2b21
	chrIDDAnnunciation   = 0x2b22
	chrIDDFeatures       = 0x2b23
	chrIDDStatusReader   = 0x2b24
	chrIDDCommand        = 0x2b25
	chrIDDCommandData    = 0x2b26
	chrIDDRecordAccess   = 0x2b27
	chrIDDHistory        = 0x2b28
	chrEnhancedBlood     = 0x2b34
	chrEnhancedCuff      = 0x2b35
	chrUDI               = 0x2bff
)

// CCCD is the Client Characteristic Configuration descriptor: a write of it
// turns notifications or indications on or off.
var CCCD = UUID16(uuidCCCD)

// Vendor UUIDs that differ in a few digits.
const (
	medtronic  = "-0000-1000-0000-009132591325"
	tandem     = "-9F77-4E5C-8064-AAE2C24838B9"
	dexcom     = "-849E-531C-C594-30F1F86A4EA5"
	libre3     = "-EF89-11E9-81B4-2A2AE2DBCCE4"
	omnipod    = "-E3ED-4464-8B7E-751E03D0DC5F"
	nordicUART = "-B5A3-F393-E0A9-E50E24DCCA9E"
	nordicDFU  = "-F315-4F60-9FB8-838830DAEA50"
	legacyDFU  = "-1212-EFDE-1523-785FEABCD123"
	miBand     = "-0000-3512-2118-0009AF100700"
	tiOAD      = "-0451-4000-B000-000000000000"
)

// services is the table of services. Names and numbers are the SIG's and the
// Nordic numbers database's, the vendors' those of public reverse engineering.
//
// Doubt, for what was remembered and not read: the levels of HTP, WSP, BCS and
// UDS.
var services = [...]ServiceInfo{
	{UUID: UUID16(0x1800), Name: "Generic Access"},
	{UUID: UUID16(0x1801), Name: "Generic Attribute"},
	{UUID: UUID16(0x1805), Name: "Current Time"},
	{UUID: UUID16(svcDeviceInfo), Name: "Device Information"},
	{UUID: UUID16(0x180f), Name: "Battery"},

	{UUID: UUID16(svcGlucose), Name: "Glucose", Class: "glucose meter", Therapy: device.Monitoring, Medical: true, Level: 2, Source: "GLP 1.0.1"},
	{UUID: UUID16(0x1809), Name: "Health Thermometer", Therapy: device.Monitoring, Medical: true, Level: 2, Source: "HTP"},
	{UUID: UUID16(svcHeartRate), Name: "Heart Rate", Therapy: device.Monitoring, Medical: true, Worn: true, Level: 2, Source: "HRP 1.0", IfBonded: true},
	{UUID: UUID16(0x1810), Name: "Blood Pressure", Therapy: device.Monitoring, Medical: true, Level: 2, Source: "BLP 1.1.1"},
	{UUID: UUID16(svcOximeter), Name: "Pulse Oximeter", Therapy: device.Monitoring, Medical: true, Worn: true, Level: 2, Source: "PLXP 1.0.1"},
	{UUID: UUID16(svcCGM), Name: "Continuous Glucose Monitoring", Therapy: device.Monitoring, Medical: true, Worn: true, Level: 3, Source: "CGMS 1.0.2 table 3.1"},
	{UUID: UUID16(svcInsulin), Name: "Insulin Delivery", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Level: 3, Source: "IDP 1.0.2 section 6"},
	{UUID: UUID16(0x181e), Name: "Bond Management"}, // IDP 1.0.2: its level should be that of the Insulin Delivery service beside it
	{UUID: UUID16(0x181d), Name: "Weight Scale", Class: "weight scale", Therapy: device.Monitoring, Medical: true, Level: 2, Source: "WSP", IfBonded: true},
	{UUID: UUID16(0x181b), Name: "Body Composition", Class: "body composition scale", Therapy: device.Monitoring, Medical: true, Level: 2, Source: "BCS", IfBonded: true},
	{UUID: UUID16(0x181c), Name: "User Data", Medical: true, Level: 2, Source: "UDS"},
	{UUID: UUID16(0x183e), Name: "Physical Activity Monitor", Therapy: device.Monitoring, Medical: true, Worn: true},
	{UUID: UUID16(0x1854), Name: "Hearing Access", Therapy: device.Hearing, Medical: true, Worn: true, Level: 2, Source: "HAP 1.0 section 8.1"},
	{UUID: UUID16(0x183c), Name: "Emergency Configuration", Medical: true, Worn: true},

	{UUID: UUID16(0xfdfb), Name: "Tandem pump", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000100" + medtronic), Name: "Medtronic insulin delivery", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000300" + medtronic), Name: "Medtronic history", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000500" + medtronic), Name: "Medtronic NOS", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000600" + medtronic), Name: "Medtronic certificates", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000700" + medtronic), Name: "Medtronic secure session", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("00000800" + medtronic), Name: "Medtronic firmware update", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true, Update: true},
	{UUID: UUID16(0xfe82), Name: "Medtronic key exchange", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: UUID16(0xfe81), Name: "Medtronic key exchange, older", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("980C2F36-BDE3-11E4-8DFC-AA07A5B093DB"), Name: "Medtronic pump SSO", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("4484FAE0-BE34-11E4-851E-0002A5D5C51B"), Name: "Medtronic connection management", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},
	{UUID: known("F8083532" + dexcom), Name: "Dexcom sensor", Therapy: device.Monitoring, Medical: true, Worn: true, Sealed: true},
	{UUID: known("F8084532" + dexcom), Name: "Dexcom sensor, second", Therapy: device.Monitoring, Medical: true, Worn: true, Sealed: true},
	{UUID: UUID16(0xfde3), Name: "Abbott Libre 2", Therapy: device.Monitoring, Medical: true, Worn: true, Sealed: true},
	{UUID: known("089810CC" + libre3), Name: "Abbott Libre 3", Therapy: device.Monitoring, Medical: true, Worn: true, Sealed: true},
	{UUID: known("1A7E4024" + omnipod), Name: "Omnipod DASH", Therapy: device.InsulinInfusion, Medical: true, Worn: true, Sealed: true},

	// Wearables: measurements of a healthy life, in vendors' own forms.
	{UUID: UUID16(0xfee0), Name: "Mi Band", Worn: true, Sealed: true},
	{UUID: UUID16(0xfee1), Name: "Mi Band, second", Worn: true, Sealed: true},
	{UUID: known("00001530" + miBand), Name: "Mi Band firmware update", Worn: true, Update: true},
	{UUID: UUID16(0x0af0), Name: "fitness watch", Worn: true}, // these two numbers are not assigned: seen in captures
	{UUID: UUID16(0x190a), Name: "fitness band", Worn: true},

	// A pipe for bytes; what they are depends on the device.
	{UUID: known("6E400001" + nordicUART), Name: "Nordic UART", Sealed: true},

	{UUID: UUID16(0xfe59), Name: "Nordic Secure DFU", Update: true},
	{UUID: known("00001530" + legacyDFU), Name: "Nordic legacy DFU", Update: true},
	{UUID: known("F000FFC0" + tiOAD), Name: "TI OAD", Update: true},
	{UUID: UUID16(0xfef5), Name: "Dialog SUOTA", Update: true},
	{UUID: known("1D14D6EE-FD63-4FA1-BFA4-8F47B42119F0"), Name: "Silicon Labs OTA", Update: true},
	{UUID: known("8D53DC1D-1DB7-4CD3-868B-8A527460AA84"), Name: "MCUmgr", Update: true},
}

// characteristics is the table of characteristics.
var characteristics = [...]CharacteristicInfo{
	{UUID16(chrDeviceName), "Device Name", UUID16(0x1800), MarkIdentity},
	{UUID16(0x2a01), "Appearance", UUID16(0x1800), 0},
	{UUID16(chrServiceChanged), "Service Changed", UUID16(0x1801), 0},
	{UUID16(chrCurrentTime), "Current Time", UUID16(0x1805), MarkTherapy}, // on a pump a write shifts the basal profile
	{UUID16(chrBatteryLevel), "Battery Level", UUID16(0x180f), 0},

	{UUID16(chrManufacturer), "Manufacturer Name String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrModel), "Model Number String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrSerial), "Serial Number String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrFirmware), "Firmware Revision String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrHardware), "Hardware Revision String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrSoftware), "Software Revision String", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrSystemID), "System ID", UUID16(svcDeviceInfo), MarkIdentity},
	{UUID16(chrRegulatory), "IEEE 11073-20601 Regulatory Certification Data List", UUID16(svcDeviceInfo), 0},
	{UUID16(chrPnPID), "PnP ID", UUID16(svcDeviceInfo), 0},
	{UUID16(chrUDI), "UDI for Medical Devices", UUID16(svcDeviceInfo), MarkIdentity},

	{UUID16(chrGlucose), "Glucose Measurement", UUID16(svcGlucose), MarkMeasurement},
	{UUID16(chrGlucoseContext), "Glucose Measurement Context", UUID16(svcGlucose), MarkMeasurement},
	{UUID16(chrGlucoseFeature), "Glucose Feature", UUID16(svcGlucose), 0},
	{UUID16(chrRecordAccess), "Record Access Control Point", UUID{}, MarkTherapy}, // it deletes records
	{UUID16(chrTemperature), "Temperature Measurement", UUID16(0x1809), MarkMeasurement},
	{UUID16(chrTemperatureType), "Temperature Type", UUID16(0x1809), 0},
	{UUID16(chrInterimTemp), "Intermediate Temperature", UUID16(0x1809), MarkMeasurement},
	{UUID16(chrInterval), "Measurement Interval", UUID16(0x1809), MarkConfiguration},
	{UUID16(chrHeartRate), "Heart Rate Measurement", UUID16(svcHeartRate), MarkMeasurement},
	{UUID16(chrSensorLocation), "Body Sensor Location", UUID16(svcHeartRate), 0},
	{UUID16(chrHeartRateControl), "Heart Rate Control Point", UUID16(svcHeartRate), MarkConfiguration},
	{UUID16(chrBloodPressure), "Blood Pressure Measurement", UUID16(0x1810), MarkMeasurement},
	{UUID16(chrCuffPressure), "Intermediate Cuff Pressure", UUID16(0x1810), MarkMeasurement},
	{UUID16(chrBloodFeature), "Blood Pressure Feature", UUID16(0x1810), 0},
	{UUID16(chrEnhancedBlood), "Enhanced Blood Pressure Measurement", UUID16(0x1810), MarkMeasurement},
	{UUID16(chrEnhancedCuff), "Enhanced Intermediate Cuff Pressure", UUID16(0x1810), MarkMeasurement},
	{UUID16(chrSpotCheck), "PLX Spot-Check Measurement", UUID16(svcOximeter), MarkMeasurement},
	{UUID16(chrContinuousOx), "PLX Continuous Measurement", UUID16(svcOximeter), MarkMeasurement},
	{UUID16(chrOximeterFeature), "PLX Features", UUID16(svcOximeter), 0},
	{UUID16(chrWeight), "Weight Measurement", UUID16(0x181d), MarkMeasurement},
	{UUID16(chrWeightFeature), "Weight Scale Feature", UUID16(0x181d), 0},
	{UUID16(chrBodyComposition), "Body Composition Measurement", UUID16(0x181b), MarkMeasurement},
	{UUID16(chrBodyFeature), "Body Composition Feature", UUID16(0x181b), 0},

	{UUID16(chrCGMMeasurement), "CGM Measurement", UUID16(svcCGM), MarkMeasurement},
	{UUID16(chrCGMFeature), "CGM Feature", UUID16(svcCGM), 0},
	{UUID16(chrCGMStatus), "CGM Status", UUID16(svcCGM), MarkMeasurement},
	{UUID16(chrCGMSessionStart), "CGM Session Start Time", UUID16(svcCGM), MarkTherapy},
	{UUID16(chrCGMSessionRunTime), "CGM Session Run Time", UUID16(svcCGM), 0},
	{UUID16(chrCGMControl), "CGM Specific Ops Control Point", UUID16(svcCGM), MarkTherapy},

	{UUID16(chrIDDStatusChanged), "IDD Status Changed", UUID16(svcInsulin), MarkMeasurement},
	{UUID16(chrIDDStatus), "IDD Status", UUID16(svcInsulin), MarkMeasurement},
	{UUID16(chrIDDAnnunciation), "IDD Annunciation Status", UUID16(svcInsulin), MarkMeasurement},
	{UUID16(chrIDDFeatures), "IDD Features", UUID16(svcInsulin), MarkConfiguration},
	{UUID16(chrIDDStatusReader), "IDD Status Reader Control Point", UUID16(svcInsulin), MarkMeasurement},
	{UUID16(chrIDDCommand), "IDD Command Control Point", UUID16(svcInsulin), MarkTherapy},
	{UUID16(chrIDDCommandData), "IDD Command Data", UUID16(svcInsulin), MarkMeasurement},
	{UUID16(chrIDDRecordAccess), "IDD Record Access Control Point", UUID16(svcInsulin), MarkMeasurement | MarkTherapy},
	{UUID16(chrIDDHistory), "IDD History Data", UUID16(svcInsulin), MarkMeasurement},

	{UUID16(chrBondControl), "Bond Management Control Point", UUID16(0x181e), MarkTherapy},
	{UUID16(chrBondFeature), "Bond Management Feature", UUID16(0x181e), 0},

	{UUID16(0x2a80), "Age", UUID16(0x181c), MarkMeasurement},
	{UUID16(chrBirthDate), "Date of Birth", UUID16(0x181c), MarkIdentity},
	{UUID16(chrEmail), "Email Address", UUID16(0x181c), MarkIdentity},
	{UUID16(chrFirstName), "First Name", UUID16(0x181c), MarkIdentity},
	{UUID16(chrGender), "Gender", UUID16(0x181c), MarkMeasurement},
	{UUID16(chrLastName), "Last Name", UUID16(0x181c), MarkIdentity},
	{UUID16(0x2a8e), "Height", UUID16(0x181c), MarkMeasurement},
	{UUID16(0x2a98), "Weight", UUID16(0x181c), MarkMeasurement},
	{UUID16(0x2a99), "Database Change Increment", UUID16(0x181c), 0},
	{UUID16(chrUserIndex), "User Index", UUID16(0x181c), 0},
	{UUID16(chrUserControl), "User Control Point", UUID16(0x181c), MarkTherapy}, // it deletes a person's data

	{UUID16(0x2b3b), "Physical Activity Monitor Features", UUID16(0x183e), 0},
	{UUID16(0x2b3c), "General Activity Instantaneous Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b3d), "General Activity Summary Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b3e), "CardioRespiratory Activity Instantaneous Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b3f), "CardioRespiratory Activity Summary Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b40), "Step Counter Activity Summary Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b41), "Sleep Activity Instantaneous Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b42), "Sleep Activity Summary Data", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b43), "Physical Activity Monitor Control Point", UUID16(0x183e), MarkConfiguration},
	{UUID16(0x2b44), "Activity Current Session", UUID16(0x183e), MarkMeasurement},
	{UUID16(0x2b45), "Physical Activity Session Descriptor", UUID16(0x183e), MarkMeasurement},

	{UUID16(0x2b2d), "Emergency ID", UUID16(0x183c), MarkIdentity},
	{UUID16(0x2bda), "Hearing Aid Features", UUID16(0x1854), 0},
	{UUID16(0x2bdb), "Hearing Aid Preset Control Point", UUID16(0x1854), MarkTherapy},
	{UUID16(0x2b7e), "Volume Control Point", UUID16(0x1844), MarkTherapy},

	{known("7B83FFF6" + tandem), "Tandem status", UUID16(0xfdfb), MarkMeasurement},
	{known("7B83FFF7" + tandem), "Tandem qualifying events", UUID16(0xfdfb), MarkMeasurement},
	{known("7B83FFF8" + tandem), "Tandem history", UUID16(0xfdfb), MarkMeasurement},
	{known("7B83FFF9" + tandem), "Tandem authorization", UUID16(0xfdfb), 0},
	{known("7B83FFFC" + tandem), "Tandem control", UUID16(0xfdfb), MarkTherapy},
	{known("7B83FFFD" + tandem), "Tandem control stream", UUID16(0xfdfb), MarkTherapy},

	{known("00000101" + medtronic), "Medtronic IDD status changed", known("00000100" + medtronic), MarkMeasurement},
	{known("00000102" + medtronic), "Medtronic IDD status", known("00000100" + medtronic), MarkMeasurement},
	{known("00000103" + medtronic), "Medtronic IDD annunciation status", known("00000100" + medtronic), MarkMeasurement},
	{known("00000104" + medtronic), "Medtronic IDD features", known("00000100" + medtronic), MarkConfiguration},
	{known("00000105" + medtronic), "Medtronic IDD status reader", known("00000100" + medtronic), MarkMeasurement},
	{known("00000106" + medtronic), "Medtronic IDD command", known("00000100" + medtronic), MarkTherapy},
	{known("00000107" + medtronic), "Medtronic IDD command data", known("00000100" + medtronic), MarkMeasurement},
	{known("00000108" + medtronic), "Medtronic IDD record access", known("00000100" + medtronic), MarkMeasurement | MarkTherapy},
	{known("00000109" + medtronic), "Medtronic secure control", known("00000100" + medtronic), MarkTherapy},

	{known("F8083533" + dexcom), "Dexcom communication", known("F8083532" + dexcom), MarkMeasurement},
	{known("F8083534" + dexcom), "Dexcom control", known("F8083532" + dexcom), MarkTherapy | MarkMeasurement},
	{known("F8083535" + dexcom), "Dexcom authentication", known("F8083532" + dexcom), 0},
	{known("F8083536" + dexcom), "Dexcom backfill", known("F8083532" + dexcom), MarkMeasurement},
	{known("F8083538" + dexcom), "Dexcom J-PAKE", known("F8083532" + dexcom), 0},

	{UUID16(0xf001), "Libre 2 login", UUID16(0xfde3), 0},
	{UUID16(0xf002), "Libre 2 data", UUID16(0xfde3), MarkMeasurement},
	{known("08981338" + libre3), "Libre 3 control", known("089810CC" + libre3), MarkTherapy},
	{known("08981482" + libre3), "Libre 3 status", known("089810CC" + libre3), MarkMeasurement},
	{known("0898177A" + libre3), "Libre 3 reading", known("089810CC" + libre3), MarkMeasurement},
	{known("0898195A" + libre3), "Libre 3 history", known("089810CC" + libre3), MarkMeasurement},
	{known("08981AB8" + libre3), "Libre 3 clinical data", known("089810CC" + libre3), MarkMeasurement},
	{known("08981BEE" + libre3), "Libre 3 events", known("089810CC" + libre3), MarkMeasurement},
	{known("08981D24" + libre3), "Libre 3 factory data", known("089810CC" + libre3), 0},
	{known("0898203A" + libre3), "Libre 3 security", known("089810CC" + libre3), 0},
	{known("08982198" + libre3), "Libre 3 security commands", known("089810CC" + libre3), 0},
	{known("089822CE" + libre3), "Libre 3 challenge", known("089810CC" + libre3), 0},
	{known("089823FA" + libre3), "Libre 3 certificate", known("089810CC" + libre3), 0},

	{known("1A7E2441" + omnipod), "Omnipod DASH command", known("1A7E4024" + omnipod), MarkTherapy},
	{known("1A7E2442" + omnipod), "Omnipod DASH data", known("1A7E4024" + omnipod), MarkTherapy | MarkMeasurement},

	{known("00000009" + miBand), "Mi Band authentication", UUID16(0xfee1), 0},

	{known("6E400002" + nordicUART), "Nordic UART RX", known("6E400001" + nordicUART), 0},
	{known("6E400003" + nordicUART), "Nordic UART TX", known("6E400001" + nordicUART), 0},

	{known("8EC90001" + nordicDFU), "DFU Control Point", UUID16(0xfe59), MarkTherapy},
	{known("8EC90002" + nordicDFU), "DFU Packet", UUID16(0xfe59), MarkTherapy},
	{known("8EC90003" + nordicDFU), "Buttonless DFU without bonds", UUID16(0xfe59), MarkTherapy},
	{known("8EC90004" + nordicDFU), "Buttonless DFU with bonds", UUID16(0xfe59), MarkTherapy},
	{known("00001531" + legacyDFU), "Legacy DFU control point", known("00001530" + legacyDFU), MarkTherapy},
	{known("00001532" + legacyDFU), "Legacy DFU packet", known("00001530" + legacyDFU), MarkTherapy},
}

var (
	serviceByUUID        = index(services[:], func(s *ServiceInfo) UUID { return s.UUID })
	characteristicByUUID = index(characteristics[:], func(c *CharacteristicInfo) UUID { return c.UUID })
)

func index[T any](table []T, key func(*T) UUID) map[UUID]*T {
	m := make(map[UUID]*T, len(table))
	for i := range table {
		m[key(&table[i])] = &table[i]
	}
	return m
}

// Service returns what is known of a service.
func Service(u UUID) (ServiceInfo, bool) {
	if s := serviceByUUID[u]; s != nil {
		return *s, true
	}
	return ServiceInfo{UUID: u}, false
}

// Characteristic returns what is known of a characteristic.
func Characteristic(u UUID) (CharacteristicInfo, bool) {
	if c := characteristicByUUID[u]; c != nil {
		return *c, true
	}
	return CharacteristicInfo{UUID: u}, false
}
