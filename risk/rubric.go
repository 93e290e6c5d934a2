// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"fmt"
	"strings"
)

// A Rubric holds the answers to the questions of MITRE's Rubric for Applying
// CVSS to Medical Devices (2020; FDA qualified it as a medical device
// development tool), in the order of [Questions]. The zero byte is a question
// without an answer, which counts as unknown, and unknown as the worse answer.
//
// Written it is a vector like CVSS's, "XAVN:Y/XAVT:N/...", that stands beside
// the CVSS vector. Y, N and U (unknown) answer what is asked with yes or no; H,
// L, N and U say how much is lost.
type Rubric [questions]byte

// A Question is one of the rubric's.
type Question struct {
	Name    string // XAVN
	Text    string // in our words
	Answers string // the letters that answer it
}

const (
	yesOrNo   = "YNU"
	howMuch   = "HLNU"
	questions = 31
)

// The places of the questions that lead to AV, AC, PR, UI and S.
const (
	xavn = iota
	xavt
	xavw
	xavr
	xavp
	xavpa
	xacl
	xprl
	xprz
	xprs
	xui
	xs
	xcpm
	losses // from here on six kinds times C, I and A
)

// kinds are the kinds of data or function that the rubric asks for, and
// properties what can be lost of each.
var (
	kinds = [...]struct{ letter, text string }{
		{"P", "patient data"},
		{"D", "diagnosis and monitoring"},
		{"T", "delivery of therapy"},
		{"W", "clinical workflow"},
		{"S", "passwords, keys and other private data of the system"},
		{"O", "other critical data or functions"},
	}
	properties = [...]struct{ letter, text string }{
		{"C", "what can be read of %s?"},
		{"I", "what can be altered of %s?"},
		{"A", "what can be made unavailable of %s?"},
	}
)

// Questions are the rubric's questions.
var Questions = func() (q [questions]Question) {
	copy(q[:], []Question{
		xavn:  {"XAVN", "can it be used over any network or other communication?", yesOrNo},
		xavt:  {"XAVT", "is that an IP network?", yesOrNo},
		xavw:  {"XAVW", "is it wireless?", yesOrNo},
		xavr:  {"XAVR", "is its range 3 metres or less?", yesOrNo},
		xavp:  {"XAVP", "must the attacker touch the device?", yesOrNo},
		xavpa: {"XAVPA", "is that through its user interface?", yesOrNo},
		xacl:  {"XACL", "can it be tried at will, without special circumstances or another attack first?", yesOrNo},
		xprl:  {"XPRL", "does the device know several users or roles with different rights?", yesOrNo},
		xprz:  {"XPRZ", "must the attacker be authorised first?", yesOrNo},
		xprs:  {"XPRS", "as an administrator or the system?", yesOrNo},
		xui:   {"XUI", "must somebody else do something?", yesOrNo},
		xs:    {"XS", "can it affect what is under another authority?", yesOrNo},
		xcpm:  {"XCPM", "can data of 500 or more patients be read?", yesOrNo},
	})
	for p, property := range properties {
		for k, kind := range kinds {
			q[losses+p*len(kinds)+k] = Question{"X" + property.letter + kind.letter, fmt.Sprintf(property.text, kind.text), howMuch}
		}
	}
	return q
}()

// maxRubric bounds a vector: 31 questions with names of at most five letters.
const maxRubric = 31 * 8

// ParseRubric reads a vector of answers. Their order does not matter. The error
// tells the question, not the input.
func ParseRubric(vector string) (Rubric, error) {
	var r Rubric
	if len(vector) > maxRubric {
		return Rubric{}, fmt.Errorf("rubric: %d bytes, more than %d", len(vector), maxRubric)
	}
	n := 0
	for part := range strings.SplitSeq(vector, "/") {
		n++
		name, answer, _ := strings.Cut(part, ":")
		i := 0
		for i < questions && Questions[i].Name != name {
			i++
		}
		switch {
		case i == questions:
			return Rubric{}, fmt.Errorf("rubric: answer %d is to none of its questions", n)
		case len(answer) != 1 || !strings.Contains(Questions[i].Answers, answer):
			return Rubric{}, fmt.Errorf("rubric: %s has no such answer", name)
		case r[i] != 0:
			return Rubric{}, fmt.Errorf("rubric: %s is answered twice", name)
		}
		r[i] = answer[0]
	}
	return r, nil
}

// String writes the answers as a vector, in the order of [Questions].
func (r Rubric) String() string {
	var b strings.Builder
	for i, answer := range r {
		if answer == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(Questions[i].Name + ":" + string(answer))
	}
	return b.String()
}

// yes and no report what is answered for sure; unknown is neither.
func (r *Rubric) yes(i int) bool { return r[i] == 'Y' }
func (r *Rubric) no(i int) bool  { return r[i] == 'N' }

// CVSS derives the vector of version 3.0, on which the rubric is built, by its
// decision flow.
//
//	XAVN no: XAVP yes AV:P, else AV:L
//	XAVT no: XAVW no AV:L; XAVR yes AV:L, else AV:A
//	         else AV:N
//	XACL no AC:H, else AC:L
//	XPRL yes and XPRZ yes: XPRS yes PR:H, else PR:L
//	         else PR:N
//	XUI yes UI:R, else UI:N
//	XS no S:U, else S:C
//	C, I, A the worst of its six, where XCP counts as L when XCPM is no
func (r Rubric) CVSS() string {
	letter := func(worse bool, a, b string) string {
		if worse {
			return a
		}
		return b
	}
	av := "N"
	switch {
	case r.no(xavn):
		av = letter(r.yes(xavp), "P", "L")
	case r.no(xavt):
		av = letter(r.no(xavw) || r.yes(xavr), "L", "A")
	}
	pr := "N"
	if r.yes(xprl) && r.yes(xprz) {
		pr = letter(r.yes(xprs), "H", "L")
	}
	v := "CVSS:3.0/AV:" + av + "/AC:" + letter(r.no(xacl), "H", "L") + "/PR:" + pr +
		"/UI:" + letter(r.yes(xui), "R", "N") + "/S:" + letter(r.no(xs), "U", "C")
	for p, property := range properties {
		var worst Level
		for k := range kinds {
			worst = max(worst, r.loss(p, k))
		}
		v += "/" + property.letter + ":" + [...]string{"N", "L", "H"}[worst]
	}
	return v
}

// The places of properties and kinds that a harm follows from.
const (
	confidentiality, integrity, availability = 0, 1, 2
	patientData, diagnosis, therapy          = 0, 1, 2
)

// loss is what is lost of a property of a kind.
func (r *Rubric) loss(property, kind int) Level {
	switch r[losses+property*len(kinds)+kind] {
	case 'N':
		return NoLoss
	case 'L':
		return SomeLoss
	}
	if property == confidentiality && kind == patientData && r.no(xcpm) {
		return SomeLoss
	}
	return AllLoss
}

// Body is how much of diagnosis, monitoring or therapy can be altered or made
// unavailable: what reaches the patient's body, and not her data.
func (r Rubric) Body() Level {
	return max(r.loss(integrity, therapy), r.loss(availability, therapy), r.loss(integrity, diagnosis), r.loss(availability, diagnosis))
}
