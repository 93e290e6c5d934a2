// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import "strings"

// A Syntax is how a transfer syntax encodes a data set (PS3.5 annex A).
type Syntax uint8

// The encodings. In a data set of UnknownSyntax the first element tells.
const (
	UnknownSyntax Syntax = iota
	ImplicitVRLittleEndian
	ExplicitVRLittleEndian
	ExplicitVRBigEndian
	DeflatedExplicitVRLittleEndian
)

// SyntaxOf returns how the transfer syntax with this UID encodes what is
// before the pixel data. All that encapsulate their pixel data are explicit VR
// little endian (PS3.5 section A.4), those that nobody has thought of yet as well.
func SyntaxOf(uid []byte) Syntax {
	switch string(uid) {
	case "":
		return UnknownSyntax
	case "1.2.840.10008.1.2",
		"1.2.840.113619.5.2": // GE's private one: little endian but for the pixel data
		return ImplicitVRLittleEndian
	case "1.2.840.10008.1.2.2":
		return ExplicitVRBigEndian
	case "1.2.840.10008.1.2.1.99",
		"1.2.840.10008.1.2.4.95",  // JPIP Referenced Deflate
		"1.2.840.10008.1.2.4.205": // JPIP HTJ2K Referenced Deflate
		return DeflatedExplicitVRLittleEndian
	}
	return ExplicitVRLittleEndian
}

// A Service is what a SOP class is for (PS3.4).
type Service uint8

// The services that are told apart.
const (
	OtherService Service = iota
	Verification
	Storage        // images, and whatever else is stored
	ResultStorage  // structured reports, waveforms, encapsulated documents
	QueryRetrieve  // patient and study root, composite instance retrieval
	Worklist       // modality worklist
	ProcedureStep  // modality performed procedure step
	StorageCommit  // storage commitment
	Printing       // print management
	UnifiedProcess // unified procedure step
)

// services has the longest prefix of several that fit first.
var services = [...]struct {
	prefix  string
	service Service
}{
	{"1.2.840.10008.1.1", Verification},
	{"1.2.840.10008.5.1.4.1.1.88.", ResultStorage},  // structured reports
	{"1.2.840.10008.5.1.4.1.1.9.", ResultStorage},   // waveforms
	{"1.2.840.10008.5.1.4.1.1.104.", ResultStorage}, // encapsulated documents
	{"1.2.840.10008.5.1.4.1.1.", Storage},
	{"1.2.840.10008.5.1.4.1.2.", QueryRetrieve},
	{"1.2.840.10008.5.1.4.31", Worklist},
	{"1.2.840.10008.3.1.2.3.3", ProcedureStep},
	{"1.2.840.10008.1.20.1", StorageCommit},
	{"1.2.840.10008.5.1.1.", Printing},
	{"1.2.840.10008.5.1.4.34.", UnifiedProcess},
}

// ServiceOf returns what the SOP class with this UID is for.
func ServiceOf(uid []byte) Service {
	for i := range services {
		p := services[i].prefix
		if strings.HasSuffix(p, ".") {
			if len(uid) > len(p) && string(uid[:len(p)]) == p {
				return services[i].service
			}
		} else if string(uid) == p {
			return services[i].service
		}
	}
	return OtherService
}
