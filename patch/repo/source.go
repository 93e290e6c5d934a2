// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// A Source is where metadata or targets are read from. Nothing that it says is
// believed.
type Source interface {
	// Open opens what has a name, such as "3.root.json": a relative path, escaped as
	// in a URL. The error is [fs.ErrNotExist] if the source has no such thing, and
	// only then. Reads end when ctx does.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// HTTP reads from a web server below a base URL. It follows no redirect: a mirror
// serves itself what it is asked for.
type HTTP struct {
	Base   string
	Client *http.Client // nil is one of its own, with the environment's proxy
}

var ownClient = &http.Client{
	Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ResponseHeaderTimeout: 30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // bytes as served, and no bombs
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (h HTTP) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(h.Base, "/")+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	client := h.Client
	if client == nil {
		client = ownClient
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("%s: the server says %s", name, resp.Status)
		if resp.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
		}
		return nil, err
	}
	return resp.Body, nil
}

// Dir reads from a folder, such as a stick's. Give it an [os.Root]'s FS, which
// follows no link to the outside.
type Dir struct{ FS fs.FS }

func (d Dir) Open(_ context.Context, name string) (io.ReadCloser, error) {
	name = path.Clean(name)
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	// What is no file could keep a reader for ever.
	st, err := fs.Stat(d.FS, name)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New(name + ": not a file")
	}
	return d.FS.Open(name)
}
