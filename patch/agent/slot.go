// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

// A slotWriter writes an image into a slot from its first byte on, block by block:
// each is erased just before it is written.
type slotWriter struct {
	f   Flash
	n   int64 // bytes that were given to it, from the slot's beginning
	buf []byte
}

// Write implements [io.Writer].
func (w *slotWriter) Write(b []byte) (int, error) {
	if w.buf == nil {
		w.buf = make([]byte, 0, w.f.Block())
	}
	if w.n+int64(len(b)) > w.f.Size() {
		return 0, errRoom
	}
	for k := 0; k < len(b); {
		n := min(cap(w.buf)-len(w.buf), len(b)-k)
		w.buf = append(w.buf, b[k:k+n]...)
		k += n
		w.n += int64(n)
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return k, err
			}
		}
	}
	return len(b), nil
}

// whole is up to where the image is in flash.
func (w *slotWriter) whole() int64 { return w.n - int64(len(w.buf)) }

// flush writes what is left of the last block.
func (w *slotWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	off := w.whole()
	if err := w.f.Erase(off); err != nil {
		return err
	}
	page := w.f.Page()
	n := (len(w.buf) + page - 1) / page * page
	b := w.buf[:n]
	erase(b[len(w.buf):])
	if err := w.f.Write(off, b); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	return nil
}
