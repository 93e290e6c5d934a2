// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import "bytes"

type mark struct{ text, os string }

// agents are what User-Agent says of an operating system, the more particular
// first. The numbers of Windows NT are in Microsoft's "User-Agent string
// reference"; the second group is CryptoAPI and other parts of Windows, which
// name the system's own version. Browsers froze the version of macOS at 10.15
// and of Windows at 10.0, which Windows 11 kept too, so those name no more than
// a family.
var agents = [...]mark{
	{"Windows NT 10.0", "Windows 10 or newer"},
	{"Windows NT 6.4", "Windows 10 or newer"},
	{"Windows NT 6.3", "Windows 8.1"},
	{"Windows NT 6.2", "Windows 8"},
	{"Windows NT 6.1", "Windows 7"},
	{"Windows NT 6.0", "Windows Vista"},
	{"Windows NT 5.2", "Windows Server 2003"},
	{"Windows NT 5.1", "Windows XP"},
	{"Windows NT 5.0", "Windows 2000"},
	{"Windows NT 4.0", "Windows NT 4.0"},
	{"Windows 98", "Windows 98"},
	{"Windows 95", "Windows 95"},
	{"Windows CE", "Windows CE"},
	{"Windows Phone", "Windows Phone"},

	{"Microsoft-CryptoAPI/10.0", "Windows 10 or newer"},
	{"Microsoft-CryptoAPI/6.3", "Windows 8.1"},
	{"Microsoft-CryptoAPI/6.2", "Windows 8"},
	{"Microsoft-CryptoAPI/6.1", "Windows 7"},
	{"Microsoft-CryptoAPI/6.0", "Windows Vista"},
	{"Microsoft-CryptoAPI/5.131.2600", "Windows XP"},
	{"Microsoft-CryptoAPI/5.131.3790", "Windows Server 2003"},
	{"Windows-Update-Agent", "Windows"},
	{"Microsoft BITS", "Windows"},

	{"Android", "Android"},
	{"iPhone OS", "iOS"},
	{"CPU OS ", "iOS"},
	{"Mac OS X", "macOS"},
	{"CrOS ", "ChromeOS"},
	{"Ubuntu", "Ubuntu"},
	{"X11; Linux", "Linux"},
	{"Linux ", "Linux"},
}

// servers are what Server says. IIS has the version of the Windows it is part of.
var servers = [...]mark{
	{"Microsoft-IIS/5.0", "Windows 2000"},
	{"Microsoft-IIS/5.1", "Windows XP"},
	{"Microsoft-IIS/6.0", "Windows Server 2003"},
	{"Microsoft-IIS/7.0", "Windows Server 2008"},
	{"Microsoft-IIS/7.5", "Windows Server 2008 R2"},
	{"Microsoft-IIS/8.0", "Windows Server 2012"},
	{"Microsoft-IIS/8.5", "Windows Server 2012 R2"},
	{"Microsoft-IIS/", "Windows"},
	{"Microsoft-HTTPAPI/", "Windows"},
	{"Microsoft-WinCE/", "Windows CE"},
	{"Windows-CE", "Windows CE"},
	{"(Win32)", "Windows"},
	{"(Win64)", "Windows"},
	{"(Ubuntu)", "Ubuntu"},
	{"(Debian)", "Debian"},
	{"(CentOS)", "CentOS"},
	{"(Red Hat", "Red Hat Linux"},
	{"(Fedora)", "Fedora"},
	{"(FreeBSD)", "FreeBSD"},
	{"(Raspbian)", "Linux"},
	{"VxWorks", "VxWorks"},
	{"QNX", "QNX"},
}

// OS names the operating system that a message's sender claims, or "". It
// keeps silent about what came through a proxy, and about a client that calls
// itself a robot: those often send the name of somebody else's system.
func (h *Head) OS() string {
	if h.Get("Via") != nil || h.Get("X-Forwarded-For") != nil || h.Get("Forwarded") != nil {
		return ""
	}
	if !h.Request {
		return find(servers[:], h.Get("Server"))
	}
	agent := h.Get("User-Agent")
	if bytes.Contains(agent, []byte("bot")) || bytes.Contains(agent, []byte("compatible; Nmap")) || bytes.Contains(agent, []byte("(Evasions:")) {
		return ""
	}
	return find(agents[:], agent)
}

func find(marks []mark, value []byte) string {
	if len(value) < 4 {
		return ""
	}
	for _, m := range marks {
		if bytes.Contains(value, []byte(m.text)) {
			return m.os
		}
	}
	return ""
}
