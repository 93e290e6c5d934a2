// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7_test

// The messages of the sample ward, Tuesday 3 March 2026.
const (
	pcd01 = "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|CastorEHR|StAda|20260303070000+0100||ORU^R01^ORU_R01|gw-1|P|2.6|||AL|NE|||||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO\r" +
		"PID|||SA-1004^^^StAda^MR||Petrov^Dana^^^^^L||19620917|F\r" +
		"PV1||I|ICU^3^3\r" +
		"OBR|1|ord-77^CastorEHR|o-1^FlowLink^ACDE48FFFE000310^EUI-64|2222^Noradrenaline|||20260303070000+0100\r" +
		"OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0|||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r" +
		"PRT|1|UC||EQUIP|||||| (01)00643169001763(21)N3^^2.16.840.1.113883.3.3719^ISO\r" +
		"OBX|2|ST|531970^MDC_ID_MODEL_MANUFACTURER^MDC|1.0.0.1|Norra Medical||||||R\r" +
		"OBX|3|ST|531969^MDC_ID_MODEL_NUMBER^MDC|1.0.0.2|Flow 500||||||R\r" +
		"OBX|4|ST|531975^MDC_ID_PROD_SPEC_SW^MDC|1.0.0.3|2.1.4||||||R\r" +
		"OBX|5||69986^MDC_DEV_PUMP_INFUS_VMD^MDC|1.1.0.0|||||||X\r" +
		"OBX|6|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.2.4|10.5|265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM|||||R\r" +
		"OBX|7|NM|157924^MDC_RATE_DOSE^MDC|1.1.2.5|0.2|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM|||||R\r"
	pcd03 = ""
	pcd04 = ""
	rrg   = ""
)
