// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"encoding/base64"
)

// A Scheme is how a request proves who sends it.
type Scheme uint8

// The schemes that are told apart.
const (
	NoScheme    Scheme = iota
	Basic              // RFC 7617: name and password, in clear on a clear channel
	Digest             // RFC 7616
	Bearer             // RFC 6750
	NTLM               // MS-NTHT, also inside Negotiate
	Negotiate          // RFC 4559
	Form               // a password among the fields of a form
	OtherScheme        // any other of the IANA registry, or none of it
)

var schemes = [...]string{"", "basic", "digest", "bearer", "ntlm", "negotiate", "form", "other"}

func (s Scheme) String() string { return schemes[s] }

// Credentials returns what the request says in Authorization, or failing that
// in Proxy-Authorization (RFC 9110 section 11.6.2). NTLM and Negotiate take
// several requests; ok is false for those that only open the exchange. The
// token is a secret: hash it or forget it.
func (h *Head) Credentials() (s Scheme, token []byte, ok bool) {
	v := h.Get("Authorization")
	if v == nil {
		v = h.Get("Proxy-Authorization")
	}
	if len(v) == 0 {
		return NoScheme, nil, false
	}
	name, token, _ := bytes.Cut(v, []byte(" "))
	token = trimSpace(token)
	s = OtherScheme
	for i := Basic; i <= Negotiate; i++ {
		if equalFold(name, schemes[i]) {
			s = i
		}
	}
	if s == NTLM || s == Negotiate {
		// MS-NLMP section 2.2.1: "NTLMSSP\0" and the message type in base 64;
		// type 3 is the one that proves something.
		const ntlm = "TlRMTVNTUAA"
		if bytes.HasPrefix(token, []byte(ntlm)) {
			return NTLM, token, len(token) > len(ntlm) && token[len(ntlm)] == 'D'
		}
	}
	return s, token, len(token) > 0
}

// maxBasic is the longest Basic token looked into: no well-known pair is
// longer than 32 bytes.
const maxBasic = 64

// WellKnown reports whether a Basic token holds a name and password that a
// maker ships and a manual prints.
func WellKnown(token []byte) bool {
	var buf [maxBasic]byte
	if len(token) > base64.StdEncoding.EncodedLen(len(buf)) {
		return false
	}
	n, err := base64.StdEncoding.Decode(buf[:], token)
	if err != nil {
		n, err = base64.RawStdEncoding.Decode(buf[:], token)
	}
	if err != nil {
		return false
	}
	for _, p := range &wellKnown {
		if string(buf[:n]) == p {
			return true
		}
	}
	return false
}

// wellKnown are names and passwords that products are shipped with: embedded
// web pages, cameras, printers, application servers, and the archives and
// interface engines of hospitals.
var wellKnown = [...]string{
	"admin:", "admin:admin", "admin:password", "admin:1234", "admin:12345", "admin:123456", "admin:1111",
	"admin:admin123", "admin:default", "admin:changeme", "admin:changeit", "admin:pass", "admin:system",
	"admin:888888", "888888:888888", "666666:666666", "Admin:Admin", "ADMIN:ADMIN",
	"administrator:", "administrator:password", "administrator:administrator", "Administrator:admin",
	"root:", "root:root", "root:admin", "root:password", "root:pass", "root:toor", "root:1234", "root:calvin",
	"user:user", "user:password", "guest:", "guest:guest", "test:test", "demo:demo",
	"service:service", "support:support", "operator:operator", "monitor:monitor", "tech:tech", "field:service",
	"tomcat:tomcat", "tomcat:s3cret", "manager:manager", "both:tomcat", "role1:tomcat",
	"orthanc:orthanc", "dcm4chee:dcm4chee", "pacs:pacs", "dicom:dicom",
	"elastic:changeme", "ubnt:ubnt", "cisco:cisco", "pi:raspberry", "sa:", "USERID:PASSW0RD", "scott:tiger",
}

// passwordFields are names of form fields that hold a password.
var passwordFields = [...]string{"password", "passwd", "passwort", "pwd", "pass", "pw", "passcode", "kennwort", "j_password", "user_password", "login_password"}

// HasPassword reports whether a form (application/x-www-form-urlencoded) has
// a field that is named like a password and is not empty.
func HasPassword(form []byte) bool {
	for more := true; more; { // each turn passes an ampersand
		var pair []byte
		pair, form, more = bytes.Cut(form, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		if len(trimSpace(value)) == 0 {
			continue
		}
		for _, p := range &passwordFields {
			if equalFold(name, p) {
				return true
			}
		}
	}
	return false
}
