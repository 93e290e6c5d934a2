// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/mail"
	"strings"
)

// A Setting is a receiver as it is kept, sealed: it has its secret.
type Setting struct {
	Kind    string   // "webhook", "syslog", "mail"
	ID      string   // chosen by who added it: letters, digits, "-"
	Address string   // of a webhook its URL, else host and port
	Form    string   `json:",omitempty"` // of syslog: "", "cef", "ocsf"
	From    string   `json:",omitempty"` // of mail
	To      []string `json:",omitempty"`
	Login   string   `json:",omitempty"`
	Secret  []byte   `json:",omitempty"` // of a webhook; the password of mail
}

// SettingName is under which they are kept, by access.Sealer.
const SettingName = "receivers"

// MaxReceivers is how many there may be.
const MaxReceivers = 20

// ParseSettings reads what is kept; nil is none.
func ParseSettings(b []byte) (list []Setting, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("the receivers that are kept: %w", err)
	}
	return list, nil
}

// Receiver makes the receiver, or says what is wrong with it.
func (s *Setting) Receiver(host, version string) (Receiver, error) {
	if s.ID == "" || len(s.ID) > 40 || strings.Trim(strings.ToLower(s.ID), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, fmt.Errorf("a name has at most 40 letters, digits and -")
	}
	server, _, err := net.SplitHostPort(s.Address)
	if s.Kind != "webhook" && (err != nil || server == "") {
		return nil, fmt.Errorf("%s %s: want host:port", s.Kind, s.ID)
	}
	switch s.Kind {
	case "webhook":
		return NewWebhook(Webhook{ID: s.ID, URL: s.Address, Secret: s.Secret})
	case "syslog":
		r := &Syslog{ID: s.ID, Address: s.Address, Form: s.Form, Host: host, Version: version}
		if !loopback(s.Address) {
			r.TLS = &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12}
		}
		return r, r.Check()
	case "mail":
		for _, a := range append([]string{s.From}, s.To...) {
			if p, err := mail.ParseAddress(a); err != nil || p.Address != a {
				return nil, fmt.Errorf("mail %s: an address cannot be read", s.ID)
			}
		}
		if len(s.To) == 0 || len(s.To) > 20 {
			return nil, fmt.Errorf("mail %s: want 1 to 20 addresses that it goes to", s.ID)
		}
		return &Mail{ID: s.ID, Relay: s.Address, From: s.From, To: s.To, Login: s.Login, Password: string(s.Secret)}, nil
	}
	return nil, fmt.Errorf("a receiver is a webhook, syslog or mail")
}
