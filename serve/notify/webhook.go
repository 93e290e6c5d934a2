// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Webhook is told by HTTPS, or HTTP on this machine: the message as JSON, signed.
// A redirect is not followed: it is a failure.
type Webhook struct {
	ID     string
	URL    string
	Secret []byte      // at least 16 bytes; the sealed setting of the wiring
	TLS    *tls.Config // nil: the machine's roots
	Now    func() time.Time

	client *http.Client
}

const (
	minSecret  = 16
	maxAnswer  = 64 << 10 // bytes of an answer that are read, so that the connection can be used again
	SignedWith = "Myelin-Signature"
	SignedAt   = "Myelin-Timestamp"
)

// NewWebhook checks a webhook.
func NewWebhook(h Webhook) (*Webhook, error) {
	u, err := url.Parse(h.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: its address cannot be read", h.ID)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !local), u.Host == "", u.User != nil:
		return nil, fmt.Errorf("webhook %s: want https, or http on this machine, without a login in the address", h.ID)
	case len(h.Secret) < minSecret:
		return nil, fmt.Errorf("webhook %s: its secret has fewer than %d bytes", h.ID, minSecret)
	}
	if h.Now == nil {
		h.Now = time.Now
	}
	h.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: h.TLS, MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 32 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       sendTime,
	}
	return &h, nil
}

// Name is under which its position is kept.
func (h *Webhook) Name() string { return "webhook " + h.ID }

// Sign is the signature of a body at a time: the HMAC-SHA-256 of the time in seconds, a
// dot, and the body.
func Sign(secret []byte, at string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(at + "."))
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

// Send posts a message.
func (h *Webhook) Send(ctx context.Context, m *Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(h.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "myelin")
	r.Header.Set(SignedAt, at)
	r.Header.Set(SignedWith, Sign(h.Secret, at, body))
	resp, err := h.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address may have a secret in it
		}
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests && s != http.StatusUnauthorized && s != http.StatusForbidden && s != http.StatusNotFound:
		return &RefusedError{"it answered " + strconv.Itoa(s)}
	default:
		return fmt.Errorf("it answered %d", s)
	}
}
