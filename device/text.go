// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import "fmt"

// Enumerations are written and read as their words, in JSON and elsewhere, so that
// what one version wrote another can read. A word that is not known is an error.

// MarshalText returns the word.
func (k AddressKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a word.
func (k *AddressKind) UnmarshalText(b []byte) error {
	return word(k, "kind of address", addressKinds[:], b)
}

// MarshalText returns the word.
func (c Confidence) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a word.
func (c *Confidence) UnmarshalText(b []byte) error { return word(c, "confidence", confidences[:], b) }

// MarshalText returns the word.
func (t Therapy) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a word.
func (t *Therapy) UnmarshalText(b []byte) error { return word(t, "therapy", therapies[:], b) }

// MarshalText returns the word.
func (h Harm) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads a word.
func (h *Harm) UnmarshalText(b []byte) error { return word(h, "harm", harms[:], b) }

// word reads a word of a table, of which the empty one stands first.
func word[T ~uint8](v *T, what string, table []string, b []byte) error {
	i, ok := parse(table, string(b))
	if !ok && len(b) > 0 {
		return fmt.Errorf("%s %q is not known", what, b)
	}
	*v = T(i)
	return nil
}
