// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strconv"
	"strings"
)

// A mdcKind is a row of the table of device types of ISO/IEEE 11073-10101.
type mdcKind struct {
	refid   string // the reference id, or what it begins with
	code    uint32 // context-free code; 0 where none was seen in a published message or table
	class   string
	therapy Therapy
}

// mdcKinds: of two rows whose reference ids fit, the longer counts. Codes of
// partition 1 come in fours: the type, and as a whole system (_MDS), as one
// virtual device (_VMD) and as one channel (_CHAN) of it; the row has the first
// of them. Codes of partition 8 are the specialisations of the personal health
// devices (HL7 PHD implementation guide, DeviceTypes11073MDC).
var mdcKinds = []mdcKind{
	{"MDC_DEV_PUMP_INFUS", 69984, "infusion pump", DrugInfusion},        // in PCD messages: 69985 MDS, 69986 VMD
	{"MDC_DEV_PUMP_INFUS_LVP", 70048, "infusion pump", DrugInfusion},    // doubt: seen in one maker's messages
	{"MDC_DEV_PUMP_INFUS_SYRINGE", 70052, "syringe pump", DrugInfusion}, // doubt: seen in one maker's messages
	{"MDC_DEV_PUMP_INFUS_PCA", 0, "patient-controlled analgesia pump", DrugInfusion},
	{"MDC_DEV_PUMP", 0, "infusion pump", DrugInfusion},
	{"MDC_DEV_SYS_PT_VENT", 70000, "ventilator", Ventilation}, // HL7 PoCD examples: 70001 MDS
	{"MDC_DEV_REGUL_VOL_VENT", 0, "ventilator", Ventilation},
	{"MDC_DEV_SYS_ANESTH", 0, "anaesthesia machine", Anaesthesia},
	{"MDC_DEV_MON_PHYSIO_MULTI_PARAM", 69964, "patient monitor", Monitoring},   // in PCD messages: 69965 MDS
	{"MDC_DEV_METER_PHYSIO_MULTI_PARAM", 69836, "patient monitor", Monitoring}, // in PCD messages: 69837 MDS
	{"MDC_DEV_MON_PT_PHYSIO_MULTI_PARAM", 0, "patient monitor", Monitoring},
	{"MDC_DEV_METER_PRESS_BLD", 69852, "blood pressure monitor", Monitoring},    // 69854 VMD
	{"MDC_DEV_PRESS_BLD_NONINV", 70684, "blood pressure monitor", Monitoring},   // 70686 VMD
	{"MDC_DEV_ECG", 69796, "electrocardiograph", Monitoring},                    // 69798 VMD
	{"MDC_DEV_ECG_RESP", 70664, "electrocardiograph", Monitoring},               // 70666 VMD
	{"MDC_DEV_ANALY_BLD_CHEM_MULTI_PARAM", 69684, "blood analyser", Laboratory}, // 69686 VMD
	{"MDC_DEV_ANALY_SAT_O2", 0, "pulse oximeter", Monitoring},                   // sources disagree on the code
	{"MDC_DEV_MON", 0, "patient monitor", Monitoring},
	{"MDC_DEV_METER", 0, "patient monitor", Monitoring},

	{"MDC_DEV_SPEC_PROFILE_PULS_OXIM", 528388, "pulse oximeter", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_MIN_ECG", 528390, "electrocardiograph", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_BP", 528391, "blood pressure monitor", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_TEMP", 528392, "thermometer", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_RESP_RATE", 528397, "respiration monitor", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_SCALE", 528399, "weighing scale", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_GLUCOSE", 528401, "glucose meter", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_COAG", 528402, "coagulation meter", Laboratory},
	{"MDC_DEV_SPEC_PROFILE_INSULIN_PUMP", 528403, "insulin pump", InsulinInfusion},
	{"MDC_DEV_SPEC_PROFILE_URINE", 528406, "urine analyser", Laboratory},
	{"MDC_DEV_SPEC_PROFILE_SABTE", 528408, "sleep apnoea therapy device", Ventilation},
	{"MDC_DEV_SPEC_PROFILE_CGM", 528409, "continuous glucose monitor", Monitoring},
	{"MDC_DEV_SPEC_PROFILE_SPIRO", 528413, "spirometer", Monitoring},
}

// KindOfMDC returns what a device type of ISO/IEEE 11073-10101 is, given as
// reference id ("MDC_DEV_PUMP_INFUS_VMD") or context-free code ("69986"); ""
// when it is not in the table.
func KindOfMDC(code string) (class string, t Therapy) {
	if n, err := strconv.ParseUint(code, 10, 32); err == nil {
		if n>>16 == 1 {
			n &^= 3 // the type of a system, a virtual device or a channel
		}
		for i := range mdcKinds {
			if k := &mdcKinds[i]; k.code == uint32(n) && k.code != 0 {
				return k.class, k.therapy
			}
		}
		return "", NoTherapy
	}
	var best mdcKind
	for _, k := range mdcKinds {
		rest, ok := strings.CutPrefix(code, k.refid)
		if ok && (rest == "" || rest[0] == '_') && len(k.refid) > len(best.refid) {
			best = k
		}
	}
	return best.class, best.therapy
}

// modalities are the defined terms of DICOM PS3.3 section C.7.3.1.1.1 that name
// a device. Those of documents that any workstation makes (SR, KO, PR, SEG ...)
// are not here: they say nothing about the device.
var modalities = map[string]struct {
	class   string
	therapy Therapy
}{
	"CT": {"CT scanner", Imaging}, "MR": {"MRI scanner", Imaging}, "PT": {"PET scanner", Imaging}, "NM": {"gamma camera", Imaging},
	"US": {"ultrasound", Imaging}, "IVUS": {"intravascular ultrasound", Imaging}, "BDUS": {"ultrasound", Imaging},
	"XA": {"angiography system", Imaging}, "RF": {"fluoroscopy system", Imaging},
	"CR": {"X-ray system", Imaging}, "DX": {"X-ray system", Imaging}, "RG": {"X-ray system", Imaging}, "DG": {"X-ray system", Imaging},
	"MG": {"mammography system", Imaging}, "BMD": {"bone densitometer", Imaging},
	"IO": {"dental X-ray system", Imaging}, "PX": {"dental X-ray system", Imaging},
	"ES": {"endoscope", Imaging}, "XC": {"camera", Imaging}, "DMS": {"dermoscope", Imaging}, "TG": {"thermograph", Imaging},
	"GM": {"microscope", Imaging}, "SM": {"slide scanner", Laboratory},
	"OP": {"ophthalmic camera", Imaging}, "OPT": {"ophthalmic tomograph", Imaging}, "OCT": {"optical tomograph", Imaging}, "IVOCT": {"intravascular tomograph", Imaging},
	"OPM": {"ophthalmic mapper", Imaging}, "OPV": {"visual field analyser", Imaging}, "OAM": {"ophthalmic biometer", Imaging},
	"AR": {"autorefractor", Imaging}, "KER": {"keratometer", Imaging}, "LEN": {"lensmeter", Imaging}, "SRF": {"refractor", Imaging}, "VA": {"visual acuity device", Imaging},
	"ECG": {"electrocardiograph", Monitoring}, "EEG": {"electroencephalograph", Monitoring}, "EMG": {"electromyograph", Monitoring}, "EOG": {"electrooculograph", Monitoring},
	"EPS": {"electrophysiology system", Monitoring}, "HD": {"haemodynamics system", Monitoring}, "RESP": {"respiration monitor", Monitoring},
	"RTIMAGE": {"radiotherapy system", Radiotherapy}, "RTDOSE": {"radiotherapy system", Radiotherapy}, "RTSTRUCT": {"radiotherapy system", Radiotherapy},
	"RTPLAN": {"radiotherapy system", Radiotherapy}, "RTRECORD": {"radiotherapy system", Radiotherapy}, "RTRAD": {"radiotherapy system", Radiotherapy},
	"RTINTENT": {"radiotherapy system", Radiotherapy}, "RTSEGANN": {"radiotherapy system", Radiotherapy},
	"HC": {"film printer", Imaging}, "FID": {"surgical navigation", Imaging},
}

// KindOfModality returns what a device of a DICOM modality is ("CT"); "" for
// modalities that name no device.
func KindOfModality(modality string) (class string, t Therapy) {
	m := modalities[strings.TrimRight(modality, " ")] // values of VR CS are padded
	return m.class, m.therapy
}
