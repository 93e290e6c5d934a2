// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"strconv"
	"strings"
	"time"
)

// A Syslog server is told over TCP with octet counting (RFC 6587 section 3.4.1), by TLS
// (RFC 5425) unless it is on this machine.
type Syslog struct {
	ID, Address string
	Form        string      // of the text: "" in words, "cef", "ocsf"
	TLS         *tls.Config // nil: in clear, on this machine
	Host        string      // this server's name
	Version     string
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Check says what is wrong with it.
func (s *Syslog) Check() error {
	switch {
	case s.TLS == nil && !loopback(s.Address):
		return fmt.Errorf("syslog %s: want TLS, or an address of this machine", s.ID)
	case s.Form != "" && s.Form != "cef" && s.Form != "ocsf":
		return fmt.Errorf("syslog %s: its form is none of cef and ocsf", s.ID)
	}
	return nil
}

// Name is under which its position is kept.
func (s *Syslog) Name() string { return "syslog " + s.ID }

// Send writes a message on a connection of its own and waits until the other side has
// closed it: syslog has no answer, and what is only written may be lost.
func (s *Syslog) Send(ctx context.Context, m *Message) error {
	if err := s.Check(); err != nil {
		return err
	}
	body := line(m.about().Title)
	switch s.Form {
	case "cef":
		body = CEF(m, s.Version)
	case "ocsf":
		b, err := OCSF(m, s.Version)
		if err != nil {
			return err
		}
		body = string(b)
	}
	c, err := dial(ctx, s.Address, s.TLS)
	if err != nil {
		return err
	}
	defer c.Close()
	text := appendSyslog(nil, m, s.Host, body)
	if _, err := c.Write(append(strconv.AppendInt(nil, int64(len(text)), 10), append([]byte{' '}, text...)...)); err != nil {
		return err
	}
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		if err := w.CloseWrite(); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, net.ErrClosed) || isReset(err) {
			return err
		}
	}
	return nil
}

// isReset reports whether the other side threw away what it was sent.
func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection reset")
}

func dial(ctx context.Context, address string, config *tls.Config) (c net.Conn, err error) {
	if config == nil {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	} else {
		c, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		c.SetDeadline(end)
	}
	return c, nil
}

// A Mail is sent by a relay (RFC 5321), with STARTTLS unless it is on this machine.
type Mail struct {
	ID, Relay       string // host and port
	From            string
	To              []string
	Login, Password string
	TLS             *tls.Config // its ServerName is the relay's
}

// Name is under which its position is kept.
func (m *Mail) Name() string { return "mail " + m.ID }

// Send sends a message.
func (m *Mail) Send(ctx context.Context, n *Message) error {
	host, _, err := net.SplitHostPort(m.Relay)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, m.Relay, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if !loopback(m.Relay) || m.TLS != nil {
		config := m.TLS
		if config == nil {
			config = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		}
		if err := c.StartTLS(config); err != nil {
			return err
		}
	}
	if m.Login != "" {
		if err := c.Auth(smtp.PlainAuth("", m.Login, m.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.text(n)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// text is the mail: what a packet said stands in no line of its head but encoded.
func (m *Mail) text(n *Message) []byte {
	var b strings.Builder
	head := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	head("From", line(m.From))
	head("To", line(strings.Join(m.To, ", ")))
	head("Subject", mime.QEncoding.Encode("utf-8", line(fmt.Sprintf("[%s] %s", n.about().Decision, n.about().Title))))
	head("Date", n.Time.Format(time.RFC1123Z))
	head("Message-ID", fmt.Sprintf("<%d.%s@myelin.invalid>", n.ID, word(n.about().ID, 64)))
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=utf-8")
	head("Content-Transfer-Encoding", "8bit")
	b.WriteString("\r\n")
	for _, l := range []string{n.about().Title, "Decision: " + n.about().Decision + "; harm: " + n.about().Harm + "; state: " + n.about().State, "Device: " + n.about().Device, "What to do: " + n.about().Advice, n.Link} {
		b.WriteString(line(l) + "\r\n")
	}
	return []byte(b.String())
}
