// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/finding"
)

// severity is a decision on the scale of syslog (RFC 5424 section 6.2.1), CEF (0 to 10)
// and OCSF (severity_id).
func severity(d finding.Decision) (syslog, cef, ocsf int) {
	switch d {
	case finding.Act:
		return 2, 10, 5
	case finding.Attend:
		return 3, 7, 4
	case finding.TrackStar:
		return 4, 4, 3
	}
	return 5, 2, 2
}

// appendSyslog writes a message of RFC 5424: facility 13, log audit.
func appendSyslog(dst []byte, m *Message, host, body string) []byte {
	s, _, _ := severity(m.about().decision)
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(13*8+s), 10)
	dst = append(dst, ">1 "...)
	dst = m.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, ' ')
	dst = append(dst, word(host, 255)...)
	dst = append(dst, " myelin - "...)
	dst = append(dst, word(m.What, 32)...)
	dst = append(dst, " [finding@32473"...)
	for _, p := range [...][2]string{
		{"id", m.about().ID}, {"notice", strconv.FormatInt(m.ID, 10)}, {"kind", m.about().Kind}, {"decision", m.about().Decision}, {"harm", m.about().Harm}, {"state", m.about().State}, {"device", m.about().Device},
	} {
		dst = append(dst, ' ')
		dst = append(dst, p[0]...)
		dst = append(dst, `="`...)
		dst = append(dst, parameter.Replace(line(p[1]))...) // section 6.3.3
		dst = append(dst, '"')
	}
	dst = append(dst, "] \xef\xbb\xbf"...) // section 6.4: UTF-8
	return append(dst, body...)
}

var (
	parameter = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)
	cefHead   = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`)
)

// word is a text as RFC 5424 has them in its header: PRINTUSASCII, or "-".
func word(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// line is a text without what would begin another line.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 32 || r == 127 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// CEF is a message in ArcSight's Common Event Format, version 0.
func CEF(m *Message, version string) string {
	_, s, _ := severity(m.about().decision)
	var b strings.Builder
	b.WriteString("CEF:0")
	for _, h := range [...]string{"Myelin", "myelin", version, m.about().Kind, m.about().Title, strconv.Itoa(s)} {
		b.WriteString("|" + cefHead.Replace(line(h)))
	}
	b.WriteByte('|')
	fields := [][2]string{
		{"rt", strconv.FormatInt(m.Time.UnixMilli(), 10)},
		{"externalId", m.about().ID},
		{"act", m.What},
		{"dvchost", m.Site},
		{"deviceExternalId", m.about().Device},
		{"cs1Label", "decision"},
		{"cs1", m.about().Decision},
		{"cs2Label", "harm"},
		{"cs2", m.about().Harm},
		{"cs3Label", "state"},
		{"cs3", m.about().State},
	}
	if m.ID != 0 { // in a list that is exported nothing has one
		fields = append(fields, [2]string{"cn1Label", "notice"}, [2]string{"cn1", strconv.FormatInt(m.ID, 10)})
	}
	for i, e := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e[0] + "=" + cefValue.Replace(line(e[1])))
	}
	return b.String()
}

// OCSF is a message as the Detection Finding (class 2004) of the Open Cybersecurity
// Schema Framework 1.3.0.
func OCSF(m *Message, version string) ([]byte, error) {
	_, _, s := severity(m.about().decision)
	type object = map[string]any
	activity, status := 1, 1 // Create, New
	if m.What != "new" {
		activity = 2 // Update
	}
	switch m.about().State {
	case "acknowledged":
		status = 2 // In Progress
	case "mitigated", "fixed":
		status = 4 // Resolved
	case "false-positive":
		status = 3 // Suppressed
	}
	info := object{"uid": m.about().ID, "title": m.about().Title, "types": []string{m.about().Kind}, "product_uid": "myelin"}
	if !m.about().First.IsZero() {
		info["first_seen_time"], info["last_seen_time"] = m.about().First.UnixMilli(), m.about().Last.UnixMilli()
	}
	meta := object{"version": "1.3.0", "product": object{"name": "Myelin", "vendor_name": "Myelin", "version": version}}
	if m.ID != 0 { // in a list that is exported nothing has one, and what is the same is taken for one event
		meta["uid"] = strconv.FormatInt(m.ID, 10)
	}
	out := object{
		"category_uid": 2, "class_uid": 2004, "activity_id": activity, "type_uid": 200400 + activity, "severity_id": s, "status_id": status, "time": m.Time.UnixMilli(),
		"metadata": meta, "finding_info": info, "unmapped": object{"decision": m.about().Decision, "harm": m.about().Harm, "site": m.Site},
	}
	if m.about().Device != "" {
		out["resources"] = []object{{"uid": m.about().Device, "type": "medical device"}}
	}
	if m.about().Advice != "" {
		out["remediation"] = object{"desc": m.about().Advice}
	}
	var weak []object
	for _, cve := range m.about().CVE {
		weak = append(weak, object{"cve": object{"uid": cve}})
	}
	if weak != nil {
		out["vulnerabilities"] = weak
	}
	return json.Marshal(out)
}
