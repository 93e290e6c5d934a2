// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package netbios

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// The message types of the datagram service that carry user data (RFC 1002
// section 4.4.1).
const (
	DirectUnique = 0x10
	DirectGroup  = 0x11
	Broadcast    = 0x12
)

// datagramHeader is the header in front of the names (RFC 1002 section 4.4.2).
const datagramHeader = 14

// A Datagram is one message of the datagram service. Data aliases the input.
type Datagram struct {
	Type        uint8
	Source      Name
	Destination Name
	Data        []byte
}

// ParseDatagram reads one datagram of the datagram service.
func ParseDatagram(b []byte) (d Datagram, err error) {
	c := wire.NewCursor("netbios", b)
	d.Type = c.Uint8("MSG_TYPE")
	if d.Type < DirectUnique || d.Type > Broadcast {
		c.FailAt("MSG_TYPE", 0, wire.ErrInvalid)
	}
	c.Skip("FLAGS, DGM_ID, SOURCE_IP, SOURCE_PORT, DGM_LENGTH, PACKET_OFFSET", datagramHeader-1)
	d.Source = readName(&c, "SOURCE_NAME")
	d.Destination = readName(&c, "DESTINATION_NAME")
	d.Data = c.Rest()
	return d, c.Err()
}

// The commands of the browser protocol that announce a station (MS-BRWS
// section 2.2).
const (
	HostAnnouncement   = 0x01
	DomainAnnouncement = 0x0c
	LocalMaster        = 0x0f
)

// The bits of an announcement's ServerType told apart here (MS-BRWS section 2.2.1
// names them after those of MS-SRVS section 2.2.2.7).
const (
	TypeDomainController       = 0x00000008
	TypeBackupDomainController = 0x00000010
	TypeUnix                   = 0x00000800 // Samba sets it; its version number imitates Windows
)

// An Announcement is a station's, or a domain's, word about itself. ServerName
// aliases the input.
type Announcement struct {
	Command    uint8
	ServerName []byte
	Major      uint8 // version of the operating system
	Minor      uint8
	ServerType uint32
}

const (
	smbHeader = 32                 // MS-CIFS section 2.2.3.1
	mailslot  = `\MAILSLOT\BROWSE` // MS-BRWS section 2.1
)

// ParseAnnouncement reads an announcement from the data of a datagram: an
// SMB_COM_TRANSACTION that writes to the browser's mailslot. ok is false when
// it is something else.
func ParseAnnouncement(data []byte) (a Announcement, ok bool, err error) {
	if len(data) < smbHeader+35 || !bytes.HasPrefix(data, []byte("\xffSMB\x25")) || !bytes.Contains(data[smbHeader:min(len(data), 160)], []byte(mailslot)) {
		return a, false, nil
	}
	// DataOffset is the 13th word of the request (MS-CIFS section 2.2.4.33.1).
	off := int(data[smbHeader+1+24]) | int(data[smbHeader+1+25])<<8
	c := wire.NewCursor("netbios", data)
	c.Skip("DataOffset", off)
	a.Command = c.Uint8("Command")
	switch a.Command {
	case HostAnnouncement, DomainAnnouncement, LocalMaster:
	default:
		return a, false, c.Err()
	}
	c.Skip("UpdateCount, Periodicity", 5)
	a.ServerName = c.Bytes("ServerName", 16)
	if i := bytes.IndexByte(a.ServerName, 0); i >= 0 {
		a.ServerName = a.ServerName[:i:i]
	}
	a.Major, a.Minor = c.Uint8("OSVersionMajor"), c.Uint8("OSVersionMinor")
	a.ServerType = c.Uint32LE("ServerType")
	return a, c.Ok(), c.Err()
}

// OS names the operating system of a host announcement, or returns "".
func (a *Announcement) OS() string {
	if a.Command == DomainAnnouncement {
		return ""
	}
	if a.ServerType&TypeUnix != 0 {
		return "Unix (Samba)"
	}
	switch int(a.Major&0x0f)<<4 | int(a.Minor) { // the upper half of Major has other uses
	case 0x40:
		return "Windows NT 4.0"
	case 0x50:
		return "Windows 2000"
	case 0x51:
		return "Windows XP"
	case 0x52:
		return "Windows Server 2003"
	case 0x60:
		return "Windows Vista or Server 2008"
	case 0x61:
		return "Windows 7 or Server 2008 R2"
	case 0x62:
		return "Windows 8 or Server 2012"
	case 0x63:
		return "Windows 8.1 or Server 2012 R2"
	case 0xa0:
		return "Windows 10 or newer"
	}
	return ""
}
