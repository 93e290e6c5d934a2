// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/wire"
)

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// What lies beside captures is packed as they are, and any content comes out,
// be it empty or as short as no magic number.
func TestUnpack(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", "PrimaryDI|brandName", `{"bomFormat":"CycloneDX"}` + strings.Repeat(" ", 1<<20)} {
		for name, b := range map[string][]byte{
			"plain": []byte(text), "gzip": gzipped([]byte(text)), "zstd": z.EncodeAll([]byte(text), nil),
			"twice": z.EncodeAll(gzipped([]byte(text)), nil),
		} {
			if name == "zstd" && text == "" {
				continue // which is packed as nothing
			}
			r, err := Unpack(bytes.NewReader(b))
			if err != nil {
				t.Errorf("%s of %d bytes: %v", name, len(text), err)
				continue
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != text {
				t.Errorf("%s of %d bytes: %d bytes, %v", name, len(text), len(got), err)
			}
		}
	}
	if _, err := Unpack(bytes.NewReader(gzipped(gzipped(gzipped([]byte("x")))))); !errors.Is(err, ErrFormat) {
		t.Errorf("packed three times: %v", err)
	}
	whole := gzipped([]byte("this is cut"))
	for n := 4; n < len(whole); n++ {
		r, err := Unpack(bytes.NewReader(whole[:n]))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("the first %d bytes of gzip: %v", n, err)
		}
	}
}
