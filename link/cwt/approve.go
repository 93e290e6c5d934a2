// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// requestOf is encoded claims without the approvals: what people approve.
func requestOf(claims []byte) ([]byte, error) {
	r, err := cbor.Parse(claims)
	if err != nil {
		return nil, bad("claims", err)
	}
	var b []byte
	n, left := 0, r.Map()
	for ; left > 0 && r.Err() == nil; left-- {
		at := r
		key, value := r.Raw(), r.Raw()
		if at.Next() == cbor.NegInt && at.Int() == claimApprovals {
			continue
		}
		n++
		b = append(append(b, key...), value...)
	}
	if err := r.Done(); err != nil {
		return nil, bad("claims", err)
	}
	return append(cbor.AppendMap(nil, n), b...), nil
}

// Approve signs a request for a break-glass token, as [Authority.Request] makes it:
// the approval of one person, who has read with [ParseClaims] what it states.
func Approve(request []byte, approver cose.Signer, kid []byte) ([]byte, error) {
	c, err := ParseClaims(request)
	if err != nil {
		return nil, err
	}
	if c.Emergency == nil || c.Approvals != nil {
		return nil, bad("break-glass", ErrForm)
	}
	m := cose.Sign1{Protected: cose.Headers{KID: kid}, Payload: request, Detached: true, Untagged: true}
	if err := m.Sign(approver, approvalContext); err != nil {
		return nil, bad("approvals", err)
	}
	return m.Append(nil)
}
