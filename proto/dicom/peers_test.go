// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/internal/testpeer"
)

// associations are the A-ASSOCIATE-RQ and the A-ASSOCIATE-AC of the one
// conversation that went through p.
func associations(t *testing.T, p *testpeer.Proxy) (rq, ac Association) {
	t.Helper()
	said := p.Conversations()
	if len(said) != 1 {
		t.Fatalf("%d conversations, want 1", len(said))
	}
	var sent [2][]byte
	for _, part := range said[0].Pieces {
		from := 0
		if part.FromServer {
			from = 1
		}
		sent[from] = append(sent[from], part.Bytes...)
	}
	for i, a := range []*Association{&rq, &ac} {
		if n, err := a.Parse(sent[i]); err != nil || n == 0 || a.Type != AssociateRQ+PDUType(i) {
			t.Fatalf("%v: %d bytes, %v", a.Type, n, err)
		}
	}
	return rq, ac
}

// TestUserIdentityOfDCMTK has storescu prove itself in every way that it can
// (PS3.7 annex D.3.3.7).
func TestUserIdentityOfDCMTK(t *testing.T) {
	storescu := testpeer.DCMTK(t, "storescu")
	object := testpeer.DICOMObject(t, "(0008,0016) UI =CTImageStorage\n(0008,0018) UI [1.2.276.0.99999.1.1]\n", "+te")
	ticket := filepath.Join(t.TempDir(), "ticket")
	if err := os.WriteFile(ticket, []byte("invented"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args               []string
		typ                uint8
		password, response bool
	}{
		{nil, 0, false, false},
		{[]string{"--user", "svc01"}, UserName, false, false},
		{[]string{"--user", "svc01", "--password", "secret"}, UserNamePasscode, true, false},
		{[]string{"--user", "svc01", "--empty-password"}, UserNamePasscode, false, false},
		{[]string{"--user", "svc01", "--password", "secret", "--pos-response"}, UserNamePasscode, true, true},
		{[]string{"--kerberos", ticket}, KerberosTicket, false, false},
		{[]string{"--saml", ticket}, SAMLAssertion, false, false},
		{[]string{"--jwt", ticket}, JSONWebToken, false, false},
	} {
		p := testpeer.NewProxy(t, testpeer.Storescp(t))
		// It gives up when no positive response comes.
		_, err := testpeer.Try(t, t.TempDir(), storescu, append(tt.args, "-aet", "CT1", "-aec", "ADAPACS", "127.0.0.1", strconv.Itoa(p.Port), object)...)
		if (err != nil) != tt.response {
			t.Errorf("%v: %v", tt.args, err)
		}
		rq, ac := associations(t, p)
		if rq.UserIdentityType != tt.typ || rq.Password != tt.password || rq.PositiveResponse != tt.response {
			t.Errorf("%v: type %d, password %t, response wanted %t", tt.args, rq.UserIdentityType, rq.Password, rq.PositiveResponse)
		}
		if string(rq.CallingAETitle) != "CT1" || string(rq.CalledAETitle) != "ADAPACS" || len(rq.Roles) != 0 || ac.UserIdentityType != 0 {
			t.Errorf("%v: %+v, %+v", tt.args, rq, ac)
		}
		if !bytes.HasPrefix(rq.ImplementationVersionName, []byte("OFFIS_DCMTK_")) || !bytes.HasPrefix(rq.ImplementationClassUID, []byte("1.2.276.0.7230010.3.")) {
			t.Errorf("%v: implementation %q, %q", tt.args, rq.ImplementationVersionName, rq.ImplementationClassUID)
		}
	}
}

// TestRolesOfDCMTK has getscu ask to be who stores what it gets (PS3.7 annex
// D.3.3.4, PS3.4 section C.4.3), and two archives agree.
func TestRolesOfDCMTK(t *testing.T) {
	getscu := testpeer.DCMTK(t, "getscu")
	for name, start := range map[string]func() int{
		"dcmqrscp": func() int { return testpeer.Dcmqrscp(t, "ADAPACS", nil) },
		"Orthanc":  func() int { port, _ := testpeer.Orthanc(t, "ADAPACS", nil); return port },
	} {
		t.Run(name, func(t *testing.T) {
			p := testpeer.NewProxy(t, start())
			testpeer.Try(t, t.TempDir(), getscu, "-S", "-aet", "VIEW1", "-aec", "ADAPACS", "127.0.0.1", strconv.Itoa(p.Port), "-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3")
			rq, ac := associations(t, p)
			ct := Role{SOPClass: []byte(ctStorage), SCP: true}
			for _, a := range []*Association{&rq, &ac} {
				if !slices.ContainsFunc(a.Roles, func(r Role) bool { return cmp.Equal(r, ct) }) {
					t.Errorf("%v: no %+v among %+v", a.Type, ct, a.Roles)
				}
			}
		})
	}
}
