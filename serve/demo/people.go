// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A browser is somebody at the server's pages.
type browser struct {
	server string
	client *http.Client
}

func (d *demo) browser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{d.Server, &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}}
}

// close leaves no connection behind.
func (b *browser) close() { b.client.CloseIdleConnections() }

// most is how much of an answer is read.
const most = 8 << 20

// ask sends a request; what comes back goes into answer as JSON, unless that is nil.
func (b *browser) ask(ctx context.Context, method, path, kind string, body []byte, answer any) error {
	q, err := http.NewRequestWithContext(ctx, method, b.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Accept", "application/json")
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	r, err := b.client.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, r.Status, text)
	}
	if answer != nil {
		return json.Unmarshal(text, answer)
	}
	return nil
}

func (b *browser) get(ctx context.Context, path string, answer any) error {
	return b.ask(ctx, http.MethodGet, path, "", nil, answer)
}

// send sends a form: names and values by turns.
func (b *browser) send(ctx context.Context, path string, answer any, fields ...string) error {
	v := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	return b.ask(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(v.Encode()), answer)
}

// upload sends files by the form of a page.
func (b *browser) upload(ctx context.Context, path string, files map[string][]byte) error {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, content := range files {
		part, err := w.CreateFormFile("file", name)
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.ask(ctx, http.MethodPost, path, w.FormDataContentType(), body.Bytes(), nil)
}

// signIn is somebody who signs in, and tries again where others tried too often.
func (d *demo) signIn(ctx context.Context, login string) (*browser, error) {
	b := d.browser()
	for began := time.Now(); ; {
		err := b.send(ctx, "/sign-in", nil, "login", login, "password", Password)
		if err == nil || ctx.Err() != nil || time.Since(began) > patience {
			return b, err
		}
		_ = awhile(ctx, time.Second)
	}
}

// arrive has the staff come in the way that people do: the first by the set-up link,
// everybody else by a link of their own. It returns the administrator.
func (d *demo) arrive(ctx context.Context) (*browser, error) {
	first := d.browser()
	defer first.close()
	if err := until(ctx, "the server answers", func() (bool, error) {
		err := first.get(ctx, "/healthz", nil)
		return err == nil, err
	}); err != nil {
		return nil, err
	}
	if err := first.send(ctx, d.SetUp, nil, "login", Staff[0].Login, "name", Staff[0].Name, "password", Password); err != nil {
		return nil, err
	}
	var admin *browser
	for i := range Staff[1:] {
		p := &Staff[i+1]
		var page struct{ Link string }
		if err := first.send(ctx, "/settings/people", &page, append(p.fields(), "login", p.Login)...); err != nil {
			return nil, err
		}
		link, err := url.Parse(page.Link)
		if err != nil {
			return nil, err
		}
		b := d.browser()
		if err := b.send(ctx, link.Path, nil, "password", Password); err != nil {
			return nil, err
		}
		if admin == nil {
			admin = b
		} else {
			b.close()
		}
	}
	// Nobody changes the own roles.
	var people struct {
		People []struct {
			ID    int64
			Login string
		}
	}
	if err := admin.get(ctx, "/settings/people", &people); err != nil {
		return nil, err
	}
	path := ""
	for _, p := range people.People {
		if p.Login == Staff[0].Login {
			path = "/settings/people/" + strconv.FormatInt(p.ID, 10)
		}
	}
	var page struct{ Edition int64 }
	if err := admin.get(ctx, path, &page); err != nil {
		return nil, err
	}
	return admin, admin.send(ctx, path, nil, append(Staff[0].fields(), "version", strconv.FormatInt(page.Edition, 10))...)
}

// fields are a person's in the form of the page People.
func (p *Person) fields() []string {
	out := []string{"name", p.Name, "clinical", p.clinical}
	for _, r := range p.roles {
		out = append(out, "role", r)
	}
	return out
}

// site is where all of it is.
const site = "St. Ada"

// enrolment makes the token by which a sensor or guard enrols, and returns it.
func (b *browser) enrolment(ctx context.Context, kind, name string) (string, error) {
	var page struct{ Token string }
	if err := b.send(ctx, "/settings/sensors", &page, "kind", kind, "name", name, "site", site); err != nil {
		return "", err
	}
	if page.Token == "" {
		return "", fmt.Errorf("no token for %s", name)
	}
	return page.Token, nil
}

// awhile waits, or until ctx ends.
func awhile(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// device finds a device by a part of its label.
func (b *browser) device(ctx context.Context, like string) (id string, err error) {
	var page struct{ Rows []struct{ ID, Name string } }
	if err := b.get(ctx, "/devices?q="+url.QueryEscape(like), &page); err != nil {
		return "", err
	}
	for _, r := range page.Rows {
		if strings.Contains(r.Name, like) {
			return r.ID, nil
		}
	}
	return "", fmt.Errorf("no device %s", like)
}
