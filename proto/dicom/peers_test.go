// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/internal/testpeer"
)

// said is what client and server said in the one conversation that went through p.
func said(t *testing.T, p *testpeer.Proxy) (sent [2][]byte) {
	t.Helper()
	all := p.Conversations()
	if len(all) != 1 {
		t.Fatalf("%d conversations, want 1", len(all))
	}
	for _, part := range all[0].Pieces {
		from := 0
		if part.FromServer {
			from = 1
		}
		sent[from] = append(sent[from], part.Bytes...)
	}
	return sent
}

// associations are the A-ASSOCIATE-RQ and the A-ASSOCIATE-AC of the one
// conversation that went through p.
func associations(t *testing.T, p *testpeer.Proxy) (rq, ac Association) {
	t.Helper()
	sent := said(t, p)
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

// TestCancelOfDCMTK has findscu cancel after the first response (PS3.7 section
// 9.3.2.3): a message that has no SOP class and gets no response of its own.
func TestCancelOfDCMTK(t *testing.T) {
	port := testpeer.Dcmqrscp(t, "ADAPACS", nil)
	to := []string{"-aec", "ADAPACS", "127.0.0.1"}
	for i := range 3 {
		object := testpeer.DICOMObject(t, fmt.Sprintf("(0008,0016) UI =CTImageStorage\n(0008,0018) UI [1.2.276.0.99999.1.%d]\n"+
			"(0010,0010) PN [Lindqvist^Anna]\n(0010,0020) LO [ADA-%d]\n(0020,000d) UI [1.2.276.0.99999.2.%[1]d]\n(0020,000e) UI [1.2.276.0.99999.3.%[1]d]\n", i, i), "+te")
		testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, "storescu"), append(to, strconv.Itoa(port), object)...)
	}
	p := testpeer.NewProxy(t, port)
	testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, "findscu"), append(to, strconv.Itoa(p.Port), "-S", "--cancel", "1", "-k", "0008,0052=STUDY", "-k", "0020,000d")...)
	var r recorder
	replay(new(Stream), &r, said(t, p)[0], 0)
	i := slices.IndexFunc(r.lines, func(line string) bool { return strings.HasPrefix(line, "C-CANCEL-RQ in ") })
	if i < 0 || !slices.Contains(r.lines[i:], "A-RELEASE-RQ 0 0 0") || strings.Contains(strings.Join(r.lines, "\n"), "malformed") {
		t.Errorf("findscu said:\n%s", strings.Join(r.lines, "\n"))
	}
}
