// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// maxFiles are downloads that go on at the same time: each has an open file.
const maxFiles = 512

// public reports whether a file may be had by anybody: nothing that hides, and of a site
// of patch/repo its repositories, not what devices said nor whom the site trusts.
func public(path string) bool {
	if !fs.ValidPath(path) || strings.ContainsAny(path, "\\\x00") {
		return false
	}
	parts := strings.Split(path, "/")
	return !slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(p, ".") || p == "trusted" }) &&
		parts[0] != "receipts" && parts[0] != "devices"
}

// file serves a file of DATA/updates, whole or in parts (Range): a device resumes what
// was cut. A folder is no file, and no list of what there is.
func (s *Service) file(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	select {
	case s.serving <- struct{}{}:
		defer func() { <-s.serving }()
	default:
		return later(w, http.StatusServiceUnavailable, "30", "too many files are read at once")
	}
	path := r.PathValue("path")
	if !public(path) {
		return store.ErrNotFound
	}
	f, err := s.files.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) {
		return store.ErrNotFound
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return store.ErrNotFound
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "public, max-age=60")
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// same reports whether the file at a path is the envelope of a release.
func (s *Service) same(at string, r *patch.Release) error {
	if !fs.ValidPath(at) {
		return wrong("The envelope is a file of the folder updates of the server: name it from there, with slashes.")
	}
	f, err := s.files.Open(at)
	if err != nil {
		return wrong("There is no such file in the folder updates of the server: " + at + ".")
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if n != r.Size || patch.Digest(h.Sum(nil)) != r.Envelope {
		return wrong("The file " + at + " is not the envelope of this release: its digest or its length differs.")
	}
	return nil
}
