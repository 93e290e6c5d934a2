// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package https is how an agent of patch/agent asks a server over HTTPS:
//
//	POST /update/v1/poll   a patch.State, signed, for a patch.Answer
//	GET  /update/v1/PATH   a file, from a byte on where a connection was cut (RFC 9110 section 14)
//
// It follows no redirect, takes no more than it asked for, and gives up what brings
// nothing for a while.
//
// This API follows the server and may change.
package https

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// contentType is of what is signed (RFC 9052 section 11.2).
const contentType = `application/cose; cose-type="cose-sign1"`

// patience is how long a server may bring nothing.
const patience = 30 * time.Second

// A Client asks one server. It is an agent.Server, for one goroutine, and is to be
// closed.
type Client struct {
	base   string
	client http.Client

	mu   sync.Mutex // guards what follows
	path string     // of the file that is open
	off  int64      // of its next byte
	body io.ReadCloser
	stop context.CancelFunc
}

// New makes a client of the server at a URL, as in "https://updates.example", over a
// transport, which has to verify who the server is. Nil is the usual one.
func New(base string, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%s: want the https:// URL of a server", u.Redacted())
	}
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = true
		transport = t
	}
	return &Client{
		base: strings.TrimSuffix(base, "/") + "/update/v1/",
		client: http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Poll implements agent.Server.
func (c *Client) Poll(ctx context.Context, state []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"poll", bytes.NewReader(state))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", contentType)
	r, err := c.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, status(r)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, patch.MaxMessage+1))
	if err == nil && len(b) > patch.MaxMessage {
		err = patch.ErrMessage
	}
	return b, err
}

// status is what a server says instead of an answer.
func status(r *http.Response) error {
	err := fmt.Errorf("the server says %q", r.Status)
	if r.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return err
}

// ReadAt implements agent.Server. What is read in order comes in one response, and
// with another request where that was cut off.
func (c *Client) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body == nil || c.path != path || c.off != off {
		c.shut()
		if err := c.open(ctx, path, off); err != nil {
			return 0, err
		}
	}
	// The request outlives this call, and must not wait longer than it.
	stop := c.stop
	ended := context.AfterFunc(ctx, stop)
	timer := time.AfterFunc(patience, stop)
	n, err := c.body.Read(p)
	timer.Stop()
	c.off += int64(n)
	if !ended() || err != nil {
		c.shut()
		err = errors.Join(err, ctx.Err())
	}
	if n > 0 && err != io.EOF {
		err = nil // what went wrong is found again
	}
	return n, err
}

// open asks for a file from a byte on.
func (c *Client) open(ctx context.Context, path string, off int64) error {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := context.AfterFunc(ctx, stop)
	defer ended()
	timer := time.AfterFunc(patience, stop)
	defer timer.Stop()
	q, err := http.NewRequestWithContext(own, http.MethodGet, c.base+(&url.URL{Path: path}).EscapedPath(), nil)
	if err != nil {
		stop()
		return err
	}
	if off > 0 {
		q.Header.Set("Range", "bytes="+strconv.FormatInt(off, 10)+"-")
	}
	r, err := c.client.Do(q)
	if err != nil {
		stop()
		return err
	}
	switch {
	case r.StatusCode == http.StatusOK && off == 0:
	case r.StatusCode == http.StatusPartialContent && off > 0 && strings.HasPrefix(r.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(off, 10)+"-"):
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable && off > 0:
		err = io.EOF
	case r.StatusCode == http.StatusOK || r.StatusCode == http.StatusPartialContent:
		err = errors.New("the server sends another part than was asked for")
	default:
		err = status(r)
	}
	if err != nil {
		r.Body.Close()
		stop()
		return err
	}
	c.path, c.off, c.body, c.stop = path, off, r.Body, stop
	return nil
}

// shut ends the response that is open.
func (c *Client) shut() {
	if c.body != nil {
		c.stop()
		c.body.Close()
		c.body = nil
	}
}

// Close implements [io.Closer].
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut()
	c.client.CloseIdleConnections()
	return nil
}
