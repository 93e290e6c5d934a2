// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"strings"
	"testing"
)

func ExampleKindOfMDC() {
	fmt.Println(KindOfMDC("69986"))
	fmt.Println(KindOfMDC("MDC_DEV_SYS_PT_VENT_MDS"))
	// Output:
	// infusion pump drug infusion
	// ventilator ventilation
}

func ExampleKindOfModality() {
	fmt.Println(KindOfModality("CT"))
	// Output: CT scanner imaging
}

func TestKindOfMDC(t *testing.T) {
	for _, test := range []struct {
		codes, class string
		therapy      Therapy
	}{
		{"69984 69985 69986 69987 MDC_DEV_PUMP_INFUS_MDS MDC_DEV_PUMP_INFUS_VMD MDC_DEV_PUMP_INFUS_CHAN_DELIVERY", "infusion pump", DrugInfusion},
		{"70053 70054 MDC_DEV_PUMP_INFUS_SYRINGE_VMD", "syringe pump", DrugInfusion},
		{"70049 MDC_DEV_PUMP_INFUS_LVP_MDS", "infusion pump", DrugInfusion},
		{"MDC_DEV_PUMP_INFUS_PCA_VMD", "patient-controlled analgesia pump", DrugInfusion},
		{"70001 70002 MDC_DEV_SYS_PT_VENT_VMD", "ventilator", Ventilation},
		{"MDC_DEV_SYS_ANESTH_MDS", "anaesthesia machine", Anaesthesia},
		{"69965 69837 MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS MDC_DEV_METER_TEMP_VMD", "patient monitor", Monitoring},
		{"69854 70686 MDC_DEV_PRESS_BLD_NONINV_CHAN", "blood pressure monitor", Monitoring},
		{"528403 MDC_DEV_SPEC_PROFILE_INSULIN_PUMP", "insulin pump", InsulinInfusion},
		{"528409", "continuous glucose monitor", Monitoring},
		{"528388", "pulse oximeter", Monitoring},

		{"0 1 4450 65536 528384 528389 528400 135522 4294967295 99999999999 -1 69986x MDC_DEV MDC_DEV_ MDC_DEV_PUMPS MDC_DIM_MILLI_L mdc_dev_pump", "", NoTherapy},
	} {
		for _, code := range strings.Fields(test.codes) {
			if class, therapy := KindOfMDC(code); class != test.class || therapy != test.therapy {
				t.Errorf("%s is %q, %v; want %q, %v", code, class, therapy, test.class, test.therapy)
			}
		}
	}
	if class, _ := KindOfMDC(""); class != "" {
		t.Errorf("nothing is %q", class)
	}
	seen := map[uint32]string{}
	for _, k := range mdcKinds {
		if k.class == "" || k.therapy == NoTherapy || k.code>>16 == 1 && k.code&3 != 0 || k.code != 0 && seen[k.code] != "" {
			t.Errorf("%s: its row is wrong: %+v", k.refid, k)
		}
		seen[k.code] = k.refid
	}
}

func TestKindOfModality(t *testing.T) {
	for modality, want := range map[string]Therapy{
		"CT": Imaging, "MR": Imaging, "US ": Imaging, "XA": Imaging, "CR": Imaging, "DX": Imaging, "NM": Imaging, "PT": Imaging,
		"RTIMAGE ": Radiotherapy, "RTPLAN": Radiotherapy, "ECG": Monitoring, "SM": Laboratory,
		"SR": NoTherapy, "KO": NoTherapy, "PR": NoTherapy, "SEG": NoTherapy, "OT": NoTherapy, "": NoTherapy, "ct": NoTherapy, "XX": NoTherapy,
	} {
		if class, got := KindOfModality(modality); got != want || (class == "") != (want == NoTherapy) {
			t.Errorf("%q is %q, %v; want %v", modality, class, got, want)
		}
	}
}
