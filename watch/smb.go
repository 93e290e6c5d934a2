// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/dcerpc"
	"github.com/myelin-health/myelin/proto/netbios"
	"github.com/myelin-health/myelin/proto/smb"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of what is remembered of one conversation: at most 6 KiB, but
// half a KiB where nothing is opened. What is beyond them replaces the oldest.
const (
	maxSMBTrees   = 8
	maxSMBFiles   = 8
	maxSMBPending = 32
	maxSMBNames   = 6
)

// A smbFile is an open file or pipe that matters.
type smbFile struct {
	id    smb.FileID
	class smbClass
	calls rpcCalls // of a pipe
}

// A smbClass is what an open file is to us.
type smbClass uint8

const (
	smbOther   smbClass = iota
	smbPipe             // a named pipe, in which DCE/RPC may be spoken
	smbProgram          // an executable on an administrator's share
)

// A smbPending is a request whose answer is needed.
type smbPending struct {
	id    uint64 // MessageId, or MID and PID of version 1
	kind  smbKind
	share smb.ShareClass
	class smbClass
	file  smb.FileID
}

type smbKind uint8

const (
	smbNone smbKind = iota
	smbTreeConnect
	smbCreate
	smbRead
	smbSessionSetup2 // TRANS2_SESSION_SETUP, the implant's call
)

// A smbTree is a connected share.
type smbTree struct {
	id    uint32
	share smb.ShareClass
	known bool
}

// A smbObserver follows one conversation of SMB, of any version.
type smbObserver struct {
	synced  [2]bool
	version string // noted
	scheme  string // of the login under way
	trees   [maxSMBTrees]smbTree
	nTrees  int
	files   []smbFile           // at most maxSMBFiles
	nFiles  int                 // replaced so far
	pending []smbPending        // at most maxSMBPending
	nPend   int                 // replaced so far
	names   [maxSMBNames]string // noted: names and systems
	nNames  int
	tx      smb.Transactions
	shapes  uint16 // noted: bit per smb.Shape
	copied  bool   // noted: a program was copied
	psexec  bool   // noted
	rpc     bool   // noted
	plain   bool   // version 1: passwords in clear were agreed on
}

func (o *smbObserver) held() int {
	return cap(o.files)*sizeOf[smbFile]() + cap(o.pending)*sizeOf[smbPending]()
}

func newSMBObserver() observer { return new(smbObserver) }

func (o *smbObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		rest := b[n:]
		if !o.synced[x.From] {
			switch smb.Recognise(rest) {
			case wire.NeedMore:
				return n
			case wire.NoMatch:
				return len(b) // in the middle of a message: the next segment may begin one
			}
			o.synced[x.From] = true
		}
		f, err := smb.ParseFrame(rest)
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err == nil && f.Type == smb.SessionMessage && len(rest) >= smb.FrameHeader+4 && !smb.IsSMB(rest[smb.FrameHeader:]):
			err = &wire.SyntaxError{Proto: "smb", Field: "ProtocolId", Off: smb.FrameHeader, Err: wire.ErrInvalid}
		}
		if err != nil {
			x.malformed(n, err)
			o.synced[x.From] = false
			return len(b)
		}
		m := rest[smb.FrameHeader:]
		if len(m) < f.Head(m) {
			return n
		}
		m = m[:f.Head(m)]
		if err := o.message(x, n+smb.FrameHeader, f, m); err != nil && !(len(m) < f.Length && errors.Is(err, wire.ErrTruncated)) {
			x.malformed(n+smb.FrameHeader, err)
		}
		n += smb.FrameHeader + f.Length
	}
	return n
}

func (o *smbObserver) gap(x *exchange, n int) bool {
	o.synced[x.From] = false
	return true
}

func (o *smbObserver) close(x *exchange) {
	for i := range o.files {
		o.files[i].calls.close(x)
	}
}

// message looks at one message, of which m is the beginning.
func (o *smbObserver) message(x *exchange, off int, f smb.Frame, m []byte) error {
	switch {
	case f.Type == smb.SessionRequest:
		called, calling, err := netbios.ParseSessionRequest(m)
		if err == nil {
			o.host(x, off, x.From, calling.Text())
			if called.Suffix() == netbios.FileServer && string(called.Text()) != "*SMBSERVER" {
				o.host(x, off, x.From.Other(), called.Text())
			}
		}
		return err
	case f.Type != smb.SessionMessage:
	case smb.Is1(m):
		return o.message1(x, off, m)
	case smb.Is2(m):
		return o.message2(x, off, m)
	case smb.IsEncrypted(m):
		o.speaks(x, off, "3, encrypted", device.Encrypted|device.Authenticated)
	default:
		o.shape(x, off, smb.CompressedShape(m, f.Length))
	}
	return nil
}

// maxSMBCompound bounds the messages of a compound that are looked at.
const maxSMBCompound = 16

func (o *smbObserver) message2(x *exchange, off int, b []byte) error {
	for range maxSMBCompound {
		var m smb.Message2
		err := m.Parse(b)
		if err == nil {
			if m.Response {
				err = o.response2(x, off, &m)
			} else {
				err = o.request2(x, off, &m)
			}
		}
		if err != nil || m.NextCommand == 0 || m.NextCommand >= len(b) {
			return err
		}
		b, off = b[m.NextCommand:], off+m.NextCommand
	}
	return nil
}

func (o *smbObserver) request2(x *exchange, off int, m *smb.Message2) error {
	switch m.Command {
	case smb.Negotiate:
		n, err := m.Negotiate()
		o.shape(x, off, n.Shape())
		return err
	case smb.SessionSetup:
		token, err := m.SessionSetup()
		o.token(x, off, token)
		return err
	case smb.TreeConnect:
		path, err := m.TreeConnect()
		o.expect(smbPending{id: m.MessageID, kind: smbTreeConnect, share: smb.ClassifyShare(path)})
		return err
	case smb.Create:
		name, _, err := m.Create()
		if err == nil {
			o.creates(x, off, m.MessageID, m.TreeID, name)
		}
		return err
	case smb.Write:
		id, data, err := m.Write()
		if err == nil {
			o.writes(x, off, id, data)
		}
		return err
	case smb.Read:
		if id, err := m.ReadFile(); err == nil && o.file(id) != nil {
			o.expect(smbPending{id: m.MessageID, kind: smbRead, file: id})
		}
	case smb.IOCTL:
		code, id, data, err := m.IOCTL()
		if err == nil && code == smb.FSCTLPipeTransceive {
			o.writes(x, off, id, data)
		}
		return err
	}
	return nil
}

func (o *smbObserver) response2(x *exchange, off int, m *smb.Message2) error {
	if m.Status == smb.StatusPending {
		return nil
	}
	if m.Command == smb.SessionSetup {
		if m.Status == smb.StatusSuccess || m.Status == smb.StatusMoreProcessingRequired {
			token, err := m.SessionSetup()
			o.token(x, off, token)
			if err != nil {
				return err
			}
		}
		o.login(x, off, m.Status, m.Status == 0 && m.SessionFlags()&3 != 0)
		return nil
	}
	p := o.answered(m.MessageID)
	if m.Status != smb.StatusSuccess {
		return nil
	}
	switch m.Command {
	case smb.Negotiate:
		n, err := m.Negotiate()
		o.speaks(x, off, n.Dialect.String(), 0)
		return err
	case smb.TreeConnect:
		if p.kind == smbTreeConnect {
			o.connected(m.TreeID, p.share)
		}
	case smb.Create:
		if p.kind == smbCreate && p.class != smbOther {
			id, err := m.Created()
			if err != nil {
				return err
			}
			o.opened(x, id, p.class)
		}
	case smb.Read:
		if p.kind == smbRead {
			data, err := m.ReadData()
			o.reads(x, off, p.file, data)
			return err
		}
	case smb.IOCTL:
		code, id, data, err := m.IOCTL()
		if err == nil && code == smb.FSCTLPipeTransceive {
			o.reads(x, off, id, data)
		}
		return err
	}
	return nil
}

func (o *smbObserver) message1(x *exchange, off int, b []byte) error {
	var m smb.Message1
	if err := m.Parse(b); err != nil {
		return err
	}
	if m.Command != smb.ComNegotiate {
		o.speaks(x, off, "1", 0)
	}
	id := uint64(m.MID) | uint64(m.PID)<<16
	if m.Response {
		o.response1(x, off, id, &m)
		return nil
	}
	for more := true; more; more = m.Next() {
		o.request1(x, off, id, &m)
	}
	return nil
}

func (o *smbObserver) request1(x *exchange, off int, id uint64, m *smb.Message1) {
	shape := o.tx.Shape(m)
	o.shape(x, off, shape)
	switch m.Command {
	case smb.ComSessionSetupAndX:
		s := m.Session()
		switch {
		case len(s.Token) > 0:
			o.token(x, off, s.Token)
		case s.Anonymous:
			o.scheme = "anonymous"
		case o.plain:
			o.scheme = "user-pass"
		default:
			o.scheme = "ntlm"
		}
		o.system(x, off, x.From, s)
	case smb.ComTreeConnectAndX:
		o.expect(smbPending{id: id, kind: smbTreeConnect, share: smb.ClassifyShare(m.TreeConnect())})
	case smb.ComNTCreateAndX:
		o.creates(x, off, id, uint32(m.TID), m.Create())
	case smb.ComWriteAndX:
		fid, data := m.Write()
		o.writes(x, off, fileID1(fid), data)
	case smb.ComReadAndX:
		if fid := fileID1(m.ReadFile()); o.file(fid) != nil {
			o.expect(smbPending{id: id, kind: smbRead, file: fid})
		}
	case smb.ComTransaction:
		if t := m.Transaction(); t.Function == smb.TransTransactNmpipe {
			fid := fileID1(t.FID)
			o.writes(x, off, fid, t.Data)
			o.expect(smbPending{id: id, kind: smbRead, file: fid})
		}
	case smb.ComTransaction2:
		if shape == smb.ReservedSubcommand {
			o.expect(smbPending{id: id + 0x10, kind: smbSessionSetup2})
		}
	}
}

func (o *smbObserver) response1(x *exchange, off int, id uint64, m *smb.Message1) {
	switch m.Command {
	case smb.ComNegotiate:
		if n := m.Negotiated(); n.Index != 0xffff {
			o.plain = n.PlainPassword
			o.speaks(x, off, "1", 0)
		}
		return
	case smb.ComSessionSetupAndX:
		s := m.Session()
		o.token(x, off, s.Token)
		o.system(x, off, x.From, s)
		o.login(x, off, m.Status, false)
		return
	}
	p := o.answered(id)
	switch {
	case p.kind == smbSessionSetup2 && m.Command == smb.ComTransaction2:
		// Only the implant answers with a MID of 0x10 more: it is there, and
		// does what it is told.
		x.note(event.RemoteExecSeen, off, flow.Client, event.Text(event.Protocol, "smb"),
			event.Text(event.Method, "DoublePulsar implant"), event.Int(event.Outcome, event.Succeeded))
	case m.Status != smb.StatusSuccess:
	case p.kind == smbTreeConnect && m.Command == smb.ComTreeConnectAndX:
		o.connected(uint32(m.TID), p.share)
	case p.kind == smbCreate && m.Command == smb.ComNTCreateAndX && p.class != smbOther:
		o.opened(x, fileID1(m.Created()), p.class)
	case p.kind == smbRead && m.Command == smb.ComReadAndX:
		o.reads(x, off, p.file, m.ReadData())
	case p.kind == smbRead && m.Command == smb.ComTransaction:
		o.reads(x, off, p.file, m.TransactionData())
	}
}

// fileID1 is a FID of version 1 as a FileID.
func fileID1(fid uint16) smb.FileID { return smb.FileID{byte(fid), byte(fid >> 8)} }

// speaks notes the version, when it is another than before.
func (o *smbObserver) speaks(x *exchange, off int, version string, p device.Protection) {
	if version == "" || version == o.version {
		return
	}
	o.version = version
	x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "smb"),
		event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
		event.Text(event.Version, version), event.Int(event.Protection, p))
}

// shape notes the shape of an attack, once.
func (o *smbObserver) shape(x *exchange, off int, s smb.Shape) {
	if s == smb.NoShape || o.shapes&(1<<s) != 0 {
		return
	}
	o.shapes |= 1 << s
	x.note(event.ExploitSeen, off, x.From, event.Text(event.Protocol, "smb"),
		event.Text(event.Shape, smb.Shapes[s].Says), event.Text(event.CVE, smb.Shapes[s].CVE))
}

// token looks at a security token of x.From.
func (o *smbObserver) token(x *exchange, off int, token []byte) {
	b := smb.FindNTLM(token)
	if b == nil {
		if x.From == flow.Client && smb.IsKerberos(token) {
			o.scheme = "kerberos"
		}
		return
	}
	n, err := smb.ParseNTLM(b)
	if err != nil {
		if !errors.Is(err, wire.ErrTruncated) { // the token may be cut
			x.malformed(off, err)
		}
		return
	}
	if n.Type == smb.NTLMAuthenticate {
		o.scheme = "anonymous"
		if n.HasUser {
			o.scheme = "ntlm"
		}
	}
	var buf [128]byte
	o.host(x, off, x.From, n.Computer.Cut(32).AppendUTF8(buf[:0]))
	o.host(x, off, x.From, n.DNSName.Cut(64).AppendUTF8(buf[:0]))
	if os := n.Version.Windows(); os != "" && o.once(os, x.From) {
		x.note(event.IdentitySeen, off, x.From, event.Text(event.OS, os))
	}
}

// login notes how a login ended.
func (o *smbObserver) login(x *exchange, off int, status uint32, guest bool) {
	if status == smb.StatusMoreProcessingRequired || o.scheme == "" {
		return
	}
	outcome := event.Failed
	if status == smb.StatusSuccess {
		outcome = event.Succeeded
		if guest && o.scheme == "ntlm" {
			o.scheme = "guest"
		}
	}
	x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "smb"), event.Text(event.Scheme, o.scheme),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()))
	o.scheme = ""
}

// oldWindows are the names that old systems give themselves in a session
// set-up of version 1, with those that people use.
var oldWindows = [...]struct{ says, os string }{
	{"Windows NT 1381", "Windows NT 4.0"},
	{"Windows 4.0", "Windows 95 or 98"},
	{"Windows 5.0", "Windows 2000"},
	{"Windows 5.1", "Windows XP"},
	{"Windows 2002", "Windows XP"},
	{"Windows .NET", "Windows Server 2003"},
}

// systemWords are those of which systems and their editions are made, besides
// numbers. What else somebody put there may be anything.
var systemWords = [...]string{
	"Windows", "Unix", "Samba", "Mac", "OS", "OS/2", "NT", "CE", "XP", "Vista", "Me", "Server", "Service", "Pack", "R2", ".NET", "(R)",
	"Professional", "Pro", "Ultimate", "Enterprise", "Home", "Basic", "Premium", "Starter", "Business", "Education", "Workstations", "for", "Embedded",
	"POSReady", "Standard", "Standalone", "Datacenter", "Web", "Edition", "Essentials", "Foundation", "Storage", "Evaluation", "Small", "N", "LTSC", "LTSB", "2019", "without", "Hyper-V",
}

// systemName returns text up to the first word that is none of a system's.
func systemName(text []byte) []byte {
	n := 0
	for n < len(text) {
		end := n + 1 + bytes.IndexByte(append(text[n+1:len(text):len(text)], ' '), ' ')
		word := bytes.TrimSpace(text[n:end])
		digits := len(bytes.Trim(word, "0123456789.")) == 0
		if !digits && !slices.Contains(systemWords[:], string(word)) {
			break
		}
		n = end
	}
	return text[:n]
}

// system notes what a session set-up of version 1 says of its sender's system.
func (o *smbObserver) system(x *exchange, off int, side flow.Side, s smb.Session) {
	var buf [192]byte
	text := systemName(s.NativeOS.Cut(64).AppendUTF8(buf[:0]))
	if len(text) == 0 {
		return
	}
	if s.NativeOS.Is("Unix") && s.NativeLanMan.HasPrefix("Samba") {
		var buf [96]byte
		maker := s.NativeLanMan.Cut(24).AppendUTF8(buf[:0])
		if i := bytes.IndexByte(maker, '-'); i >= 0 {
			maker = maker[:i] // "Samba 4.5.16-Debian"
		}
		text = append(text, " ("...)
		text = append(append(text, systemName(maker)...), ')')
	}
	os := x.text(text)
	for _, w := range &oldWindows {
		if s.NativeOS.HasPrefix(w.says) {
			os = w.os
		}
	}
	if o.once(os, side) {
		x.note(event.IdentitySeen, off, side, event.Text(event.OS, os))
	}
}

// host notes a name of a side, once.
func (o *smbObserver) host(x *exchange, off int, side flow.Side, name []byte) {
	if len(name) == 0 {
		return
	}
	text := x.text(name)
	if text != "" && o.once(text, side) {
		x.note(event.NameSeen, off, side, event.Int(event.AddressKind, device.Host), event.Text(event.Name, text), event.Text(event.Protocol, "smb"))
	}
}

// once reports whether text was not noted of side before. Beyond the bound
// nothing is new.
func (o *smbObserver) once(text string, side flow.Side) bool {
	for i := range o.nNames {
		if o.names[i][1:] == text && o.names[i][0] == byte('0'+side) {
			return false
		}
	}
	if o.nNames == maxSMBNames {
		return false
	}
	o.names[o.nNames] = string('0'+rune(side)) + text
	o.nNames++
	return true
}

func (o *smbObserver) expect(p smbPending) {
	if len(o.pending) < maxSMBPending {
		o.pending = append(o.pending, p)
		return
	}
	o.pending[o.nPend%maxSMBPending] = p
	o.nPend++
}

// answered takes the request with this id from those that wait.
func (o *smbObserver) answered(id uint64) (p smbPending) {
	for i := range o.pending {
		if o.pending[i].id == id && o.pending[i].kind != smbNone {
			p = o.pending[i]
			last := len(o.pending) - 1
			o.pending[i] = o.pending[last]
			o.pending = o.pending[:last]
			return p
		}
	}
	return p
}

func (o *smbObserver) connected(id uint32, share smb.ShareClass) {
	o.trees[o.nTrees%maxSMBTrees] = smbTree{id, share, true}
	o.nTrees++
}

// share returns the class of a tree; known is false when it was connected
// before the capture began, or too long ago.
func (o *smbObserver) share(id uint32) (class smb.ShareClass, known bool) {
	for i := min(o.nTrees, maxSMBTrees) - 1; i >= 0; i-- {
		if t := o.trees[i]; t.id == id && t.known {
			return t.share, true
		}
	}
	return smb.OtherShare, false
}

// psexecPipes begin the names of the pipes of programs that run commands for
// somebody else: PsExec and those that imitate it.
var psexecPipes = [...]string{"PSEXESVC", "RemCom_communicaton", "PAExec", "csexecsvc", "winexesvc"}

// creates looks at what is opened.
func (o *smbObserver) creates(x *exchange, off int, id uint64, tree uint32, name smb.String) {
	share, known := o.share(tree)
	p := smbPending{id: id, kind: smbCreate}
	if share == smb.PipeShare || !known {
		for _, pipe := range &psexecPipes {
			if name.Base().HasPrefix(pipe) && !smb.Executable(name) && !o.psexec {
				o.psexec = true
				x.note(event.RemoteExecSeen, off, x.From, event.Text(event.Protocol, "smb"), event.Text(event.Method, "PsExec pipe"))
			}
		}
	}
	switch {
	case share == smb.PipeShare:
		p.class = smbPipe
	case share == smb.AdminShare && smb.Executable(name):
		p.class = smbProgram
	}
	o.expect(p)
}

func (o *smbObserver) opened(x *exchange, id smb.FileID, class smbClass) {
	if f := o.file(id); f != nil { // a FID of version 1 is used again after its file was closed
		f.calls.close(x)
		*f = smbFile{id: id, class: class}
		return
	}
	if len(o.files) < maxSMBFiles {
		o.files = append(o.files, smbFile{id: id, class: class})
		return
	}
	f := &o.files[o.nFiles%maxSMBFiles]
	f.calls.close(x)
	*f = smbFile{id: id, class: class}
	o.nFiles++
}

func (o *smbObserver) file(id smb.FileID) *smbFile {
	for i := range o.files {
		if f := &o.files[i]; f.id == id && f.class != smbOther {
			return f
		}
	}
	return nil
}

// writes looks at what is written to a file or pipe.
func (o *smbObserver) writes(x *exchange, off int, id smb.FileID, data []byte) {
	f := o.file(id)
	if f != nil && f.class == smbProgram {
		if !o.copied {
			o.copied = true
			x.note(event.RemoteExecSeen, off, x.From, event.Text(event.Protocol, "smb"), event.Text(event.Method, "program copied to an administrator's share"))
		}
		return
	}
	var p dcerpc.PDU
	if dcerpc.Recognise(data) != wire.SureMatch || p.Parse(data) != nil {
		return
	}
	if f == nil { // opened before the capture began: a bind says that it is a pipe
		if p.Type != dcerpc.Bind {
			return
		}
		o.opened(x, id, smbPipe)
		f = o.file(id)
	}
	if !o.rpc {
		o.rpc = true
		x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "dcerpc"),
			event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port))
	}
	f.calls.pdu(x, off, &p)
}

// reads looks at what was read from a pipe.
func (o *smbObserver) reads(x *exchange, off int, id smb.FileID, data []byte) {
	var p dcerpc.PDU
	if f := o.file(id); f != nil && f.class == smbPipe && dcerpc.Recognise(data) == wire.SureMatch && p.Parse(data) == nil {
		f.calls.pdu(x, off, &p)
	}
}
