// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

// Fields are the kinds of patient data that a message holds.
type Fields uint16

// The kinds of patient data.
const (
	Name Fields = 1 << iota
	BirthDate
	Sex
	RecordNumber
	Address
	Telephone
	Visit
	NationalID
	Result    // measurements, observations, diagnoses
	Ordered   // what is to be done or given
	Image     // pictures of a body
	StaffName // names of staff: personal data, not the patient's
)

// A datum is a field that holds data about somebody, and which of its
// components has to say something: a name of which only the type is given
// names nobody.
type datum struct {
	segment   string
	field     int
	component int // 0: any byte; n: component n or the one after it
	kind      Fields
}

// data is the table of such fields, by chapter and section of v2.7.
var data = [...]datum{
	{"PID", 2, 1, RecordNumber}, // 3.4.2
	{"PID", 3, 1, RecordNumber},
	{"PID", 4, 1, RecordNumber},
	{"PID", 5, 1, Name},
	{"PID", 6, 1, Name},
	{"PID", 7, 1, BirthDate},
	{"PID", 8, 1, Sex},
	{"PID", 9, 1, Name},
	{"PID", 11, 0, Address},
	{"PID", 12, 0, Address},
	{"PID", 13, 0, Telephone},
	{"PID", 14, 0, Telephone},
	{"PID", 18, 1, Visit}, // account
	{"PID", 19, 1, NationalID},
	{"PID", 20, 1, NationalID},
	{"PID", 21, 1, RecordNumber}, // the mother's
	{"PID", 23, 0, Address},      // place of birth
	{"MRG", 1, 1, RecordNumber},  // 3.4.9
	{"MRG", 7, 1, Name},
	{"NK1", 2, 1, Name}, // 3.4.5
	{"NK1", 4, 0, Address},
	{"NK1", 5, 0, Telephone},
	{"NK1", 6, 0, Telephone},
	{"NK1", 16, 1, BirthDate},
	{"NK1", 30, 1, Name},
	{"NK1", 31, 0, Telephone},
	{"NK1", 32, 0, Address},
	{"NK1", 37, 1, NationalID},
	{"PV1", 3, 1, Visit}, // 3.4.3
	{"PV1", 7, 2, StaffName},
	{"PV1", 8, 2, StaffName},
	{"PV1", 9, 2, StaffName},
	{"PV1", 17, 2, StaffName},
	{"PV1", 19, 1, Visit},
	{"PV1", 44, 1, Visit},
	{"PV1", 50, 1, Visit},
	{"AL1", 3, 1, Result}, // 3.4.6
	{"IAM", 3, 1, Result},
	{"DG1", 3, 1, Result}, // 6.5.2
	{"DG1", 4, 1, Result},
	{"PR1", 3, 1, Result},
	{"GT1", 3, 1, Name}, // 6.5.5
	{"GT1", 5, 0, Address},
	{"GT1", 6, 0, Telephone},
	{"GT1", 7, 0, Telephone},
	{"GT1", 8, 1, BirthDate},
	{"GT1", 12, 1, NationalID},
	{"IN1", 16, 1, Name}, // 6.5.6
	{"IN1", 18, 1, BirthDate},
	{"IN1", 19, 0, Address},
	{"IN1", 36, 1, RecordNumber},
	{"IN1", 49, 1, RecordNumber},
	{"IN2", 2, 1, NationalID},
	{"ORC", 2, 1, Ordered}, // 4.5.1
	{"ORC", 3, 1, Ordered},
	{"ORC", 12, 2, StaffName},
	{"OBR", 4, 1, Ordered}, // 7.4.1
	{"OBR", 16, 2, StaffName},
	{"OBR", 28, 2, StaffName},
	{"OBX", 5, 0, Result}, // 7.4.2
	{"OBX", 16, 2, StaffName},
	{"NTE", 3, 0, Result},
	{"RXO", 1, 1, Ordered}, // 4A.4
	{"RXE", 2, 1, Ordered},
	{"RXD", 2, 1, Ordered},
	{"RXG", 4, 1, Ordered},
	{"RXA", 5, 1, Ordered},
	{"QRD", 8, 1, RecordNumber}, // 5.10.5.3, who is asked about
	{"QPD", 3, 1, RecordNumber}, // 5.5.4, of the queries for patients in chapter 3
}

// PatientFields says which kinds of patient data the message holds. It looks
// at no more than which fields say something.
func PatientFields(m *Message) Fields {
	var found Fields
	for s := range m.Segments() {
		id := s.ID()
		for i := range data {
			d := &data[i]
			if d.segment != string(id) || found&d.kind != 0 && d.segment != "OBX" {
				continue
			}
			v := s.Field(d.field)
			if d.component > 0 && v.Component(d.component).IsEmpty() && v.Component(d.component+1).IsEmpty() ||
				d.component == 0 && v.IsEmpty() {
				continue
			}
			found |= d.kind
			if d.kind == Result && picture(s) {
				found |= Image
			}
			if d.kind == RecordNumber {
				found |= identifiers(v)
			}
		}
	}
	return found
}

// identifiers says what else a list of identifiers holds: national ids are
// told by their type (table 0203).
func identifiers(v Value) (found Fields) {
	for r := range v.Repetitions() {
		switch t := r.Component(5).b; {
		case len(t) == 5 && string(t[:2]) == "NN": // and a country
			found |= NationalID
		default:
			switch string(t) {
			case "SS", "NI", "PPN", "DL", "NH", "HC", "MC", "MA", "TAX":
				found |= NationalID
			case "VN", "AN":
				found |= Visit
			}
		}
	}
	return found
}

// picture reports whether OBX-5 is a picture sent as encapsulated data (v2.7
// section 2.A.24, table 0191).
func picture(s Segment) bool {
	if !s.Field(2).Is("ED") && !s.Field(2).Is("RP") {
		return false
	}
	kind := s.Field(5).Component(2)
	return kind.Is("IM") || equalFold(kind.b, "image")
}

// Subject returns the identifier of the patient that the message is about: of
// PID-3 the medical record number, else the first; else PID-2 or PID-4. It is
// patient data: it must not leave as text.
func Subject(m *Message) Value {
	pid := m.Segment("PID")
	var first Value
	for r := range pid.Field(3).Repetitions() {
		id := r.Component(1)
		if id.IsEmpty() {
			continue
		}
		if t := r.Component(5); t.Is("MR") {
			return id
		}
		if first.IsEmpty() {
			first = id
		}
	}
	for _, n := range [...]int{2, 4} {
		if first.IsEmpty() {
			first = pid.Field(n).Component(1)
		}
	}
	return first
}
