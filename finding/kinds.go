// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package finding

// A Kind is what is wrong. The zero Kind is none.
type Kind uint8

// The kinds. Everything about each stands in [Kinds].
const (
	NoKind Kind = iota

	TherapyCommandUnauthenticated
	TherapyCommandUnexpectedSender
	TherapyCommandReplayed

	PHIInClear
	BulkRecordAccess
	RecordsToUnexpectedPeer

	ScanHorizontal
	ScanVertical
	BruteForce
	LateralMovement
	ExploitAttempt
	ARPSpoofing
	RogueDHCP
	DNSTunnel
	Beaconing
	UnexpectedExternalPeer
	GuardBypassed
	SegmentOverlap

	CredentialsInClear
	WeakTLS
	CertificateInvalid
	LegacyOS
	InsecureService
	DefaultCredentialSeen
	MalformedMessage

	kindCount
)

// A Group is what a kind of finding is about.
type Group uint8

// The groups, in the order in which a report shows them.
const (
	NoGroup            Group = iota
	ManipulatedTherapy       // somebody can change, or changed, what a device does to a body
	PatientData              // records or readings leave for where they should not
	WayIn                    // a device is used, or attacked, as a way into the network
	Weakness                 // weak by design or by age
)

var groups = [...]string{"", "manipulated therapy", "patient data", "way into the network", "weak by design or age"}

func (g Group) String() string {
	if int(g) < len(groups) {
		return groups[g]
	}
	return ""
}

// Reach is what a kind of finding lets happen, and so whose harm it has.
type Reach uint8

// The reaches.
const (
	ReachNothing  Reach = iota // disclosure or nuisance: a privacy finding, or none
	ReachDevice                // a command, an alarm or an input of a closed loop: the device's own harm
	ReachFoothold              // a step towards the device: one severity below its harm
)

// A KindInfo describes a kind of finding. The first three SSVC answers stand
// here; mission and well-being follow from the harm, exposure from the place.
type KindInfo struct {
	Name         string
	Title        string // what a nurse manager reads
	Group        Group
	Why          string // rationale: how it can hurt
	Advice       string // what to do, in one or two sentences
	Reach        Reach
	Exploitation string // none, public poc, active
	Automatable  bool
	Total        bool // technical impact: total control of the device's part concerned, else partial
	Unexpected   bool // claims an expectation: low confidence and never act without a baseline
	CWE          []string
	Attack       []string // MITRE ATT&CK technique ids, Enterprise and ICS
	References   []string
}

// Kinds is the one table of kinds of finding. `myelin kinds` and its page of
// documentation are printed from it.
var Kinds = [kindCount]KindInfo{
	TherapyCommandUnauthenticated: {
		Name: "therapy-command-unauthenticated", Title: "Anybody on the network could change this therapy", Group: ManipulatedTherapy,
		Why:    "A command that changes a therapy crossed the network with nothing that proves who sent it. Whoever reaches the same link can send another one.",
		Advice: "Allow only the ordering system to reach this port (firewall or switch rule), and put the link under mutual TLS or behind a guard. Until then have every remote order confirmed at the bedside.",
		Reach:  ReachDevice, Exploitation: "public poc", Automatable: false, Total: true,
		CWE: []string{"CWE-306", "CWE-319"}, Attack: []string{"T0855", "T0831", "T1557"},
		References: []string{"IHE PCD TF-2 section 3.3", "IEEE 11073-20701 section 9", "FDA Cybersecurity in Medical Devices (2023), appendix 1.A"},
	},
	TherapyCommandUnexpectedSender: {
		Name: "therapy-command-unexpected-sender", Title: "A therapy command came from a sender that is not expected", Group: ManipulatedTherapy,
		Why:    "A command that changes a therapy came from another station than the one that gave such commands before, perhaps under its name, or from one that the baseline does not have.",
		Advice: "Check the therapy at the bedside now, against the prescription. Then find out who uses the sending station; if nobody can say, take it off the network.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true, Unexpected: true,
		CWE: []string{"CWE-290", "CWE-345"}, Attack: []string{"T0855", "T0836", "T0848"},
		References: []string{"IHE PCD TF-2 section 3.3"},
	},
	TherapyCommandReplayed: {
		Name: "therapy-command-replayed", Title: "A therapy command came a second time, from another place", Group: ManipulatedTherapy,
		Why:    "A message that must be fresh (its control id, counter or tag was used and answered before) came again from another sender. Somebody may be repeating recorded commands.",
		Advice: "Check the therapy at the bedside now. Block the sending station, and keep the capture for the investigation.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true,
		CWE: []string{"CWE-294"}, Attack: []string{"T0855", "T0856"},
		References: []string{"HL7 v2.6 section 2.9.2", "CVE-2018-14781"},
	},

	PHIInClear: {
		Name: "phi-in-clear", Title: "Patient data crosses the network readable by anybody", Group: PatientData,
		Why:    "Names, record numbers or results were sent without encryption. Everybody on the path can read and copy them.",
		Advice: "Ask the manufacturer for the TLS setting of this interface (DICOM TLS, MLLP over TLS, HTTPS) and switch it on at both ends. Until then keep both ends in a network of their own.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-319"}, Attack: []string{"T1040", "T0842"},
		References: []string{"DICOM PS3.15 annex B", "IHE ITI TF-2 section 3.19", "45 CFR 164.312(e)"},
	},
	BulkRecordAccess: {
		Name: "bulk-record-access", Title: "Records of many patients went to one station", Group: PatientData,
		Why:    "Within an hour one station received the records of more patients than care needs, and it is not known to keep records for others.",
		Advice: "Find out who ran this transfer and where the records went. If nobody knows, block the destination and start the data-breach procedure: the count of patients is in this finding.",
		Reach:  ReachNothing, Exploitation: "active", Automatable: true, Total: false, Unexpected: true,
		CWE: []string{"CWE-359"}, Attack: []string{"T1213", "T1119", "T1005"},
		References: []string{"DICOM PS3.4 annex C", "45 CFR 164.402"},
	},
	RecordsToUnexpectedPeer: {
		Name: "records-to-unexpected-peer", Title: "Records were sent, or were to be sent, to a place that is not expected", Group: PatientData,
		Why:    "Somebody asked for images or records to be sent to a third station that no allow-list or earlier capture has, or they went to an address outside the hospital.",
		Advice: "Ask the owner of the archive whether this destination is theirs. If not, remove it from the archive's list of destinations and block it.",
		Reach:  ReachNothing, Exploitation: "active", Automatable: false, Total: false, Unexpected: true,
		CWE: []string{"CWE-359"}, Attack: []string{"T1567", "T1048"},
		References: []string{"DICOM PS3.4 section C.4.2"},
	},

	ScanHorizontal: {
		Name: "scan-horizontal", Title: "A station tries many addresses", Group: WayIn,
		Why:    "One station tried the same service on many addresses, most of which did not answer. That is how one looks for victims, and how some inventory tools work. Fragile devices can fail from the scan alone.",
		Advice: "Find this station and ask its owner. If nobody owns it, take it off the network.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: true, Total: false,
		CWE: []string{"CWE-200"}, Attack: []string{"T1046", "T0846"},
		References: []string{"ATT&CK T1046"},
	},
	ScanVertical: {
		Name: "scan-vertical", Title: "A station tries many services of one device", Group: WayIn,
		Why:    "One station tried many ports of one device. That is how one looks for a way in, and how some inventory tools work. Fragile devices can fail from the scan alone.",
		Advice: "Find the scanning station and ask its owner; take it off the network if nobody owns it. Check that the scanned device still works.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: true, Total: false,
		CWE: []string{"CWE-200"}, Attack: []string{"T1046", "T0846"},
		References: []string{"ATT&CK T1046"},
	},
	BruteForce: {
		Name: "brute-force", Title: "Many logins were refused or ended at once, as when passwords are guessed", Group: WayIn,
		Why:    "Many logins failed, or ended at once, in a short time from one station. A program with an old password looks the same; but when a guess succeeds, the guesser has the device.",
		Advice: "Ask the owner of the station. If nobody knows of it, block it, change the password of the device, and switch off its login service if nobody needs it.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: true, Total: false,
		CWE: []string{"CWE-307"}, Attack: []string{"T1110", "T0859"},
		References: []string{"ATT&CK T1110"},
	},
	LateralMovement: {
		Name: "lateral-movement", Title: "This station controlled another one", Group: WayIn,
		Why:    "A program was started on a machine from another one, or a medical device opened a remote session. Administrators do the first and some makers' systems the second; an intruder who moves through the network does both.",
		Advice: "Ask who did this. If nobody can say, isolate the machine it came from and treat the machine it reached as compromised: what care needs goes on running, cut off from everything that it does not need.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true,
		CWE: []string{"CWE-284"}, Attack: []string{"T1021", "T1569.002", "T0886", "T0866"},
		References: []string{"ATT&CK T1021"},
	},
	ExploitAttempt: {
		Name: "exploit-attempt", Title: "Somebody tried a known way of breaking in", Group: WayIn,
		Why:    "The bytes have the shape of a published attack. Where it worked, the attacker now has the device, or an account.",
		Advice: "Find the sender and isolate it. If a CVE is named and the attacked device is not known to be patched against it, treat the device as compromised; if none is named, show the packet to your security team.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: true, Total: true,
		CWE: []string{"CWE-1395"}, Attack: []string{"T1210", "T1190", "T0866"},
		References: []string{"CISA Known Exploited Vulnerabilities"},
	},
	ARPSpoofing: {
		Name: "arp-spoofing", Title: "Two machines claim one network address", Group: WayIn,
		Why:    "Two hardware addresses claim one network address by turns. Whoever does so can read and change what is meant for the other, therapy orders included; a pair of machines that stand in for each other can look the same.",
		Advice: "Find both machines at the switch by the hardware addresses in the sightings, and unplug the one that does not belong there. Switch on dynamic ARP inspection for this network.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: false, Total: false,
		CWE: []string{"CWE-290"}, Attack: []string{"T1557.002", "T0830"},
		References: []string{"RFC 826"},
	},
	RogueDHCP: {
		Name: "rogue-dhcp", Title: "Two stations hand out network addresses", Group: WayIn,
		Why:    "A second DHCP server offers other settings in the same network. It can send devices to a false gateway or name server, or leave them without network.",
		Advice: "Find both servers at the switch, and unplug the one that is not yours. Switch on DHCP snooping.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: false, Total: false, Unexpected: true,
		CWE: []string{"CWE-290"}, Attack: []string{"T1557.003", "T0830"},
		References: []string{"RFC 2131"},
	},
	DNSTunnel: {
		Name: "dns-tunnel", Title: "Name look-ups that may carry data out", Group: WayIn,
		Why:    "A station asks for long, random-looking names of one domain. That is how data leaves, and commands enter, past a firewall; some security products ask like this, too.",
		Advice: "Find out which program of the station asks for this domain. If nobody knows, block the domain at the name server and isolate the station.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: true, Total: false,
		CWE: []string{"CWE-514"}, Attack: []string{"T1071.004", "T1572", "T1048", "T0884"},
		References: []string{"ATT&CK T1071.004"},
	},
	Beaconing: {
		Name: "beaconing", Title: "A station calls an outside address like clockwork", Group: WayIn,
		Why:    "A station opens the same small connection to the same outside address at even intervals. Malware asks for its orders like this; so do some harmless services.",
		Advice: "Ask the manufacturer whether the device should call this address. If not, block it and examine the device.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: true, Total: false, Unexpected: true,
		CWE: []string{"CWE-506"}, Attack: []string{"T1071", "T0884", "T0885"},
		References: []string{"ATT&CK T1071"},
	},
	UnexpectedExternalPeer: {
		Name: "unexpected-external-peer", Title: "A medical device talks to an address outside", Group: WayIn,
		Why:    "A medical device has a conversation with an address outside the hospital. It may be the maker's service; it may be somebody else.",
		Advice: "Ask the manufacturer for the list of addresses the device needs, allow these, and block the rest at the firewall.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false, Unexpected: true,
		CWE: []string{"CWE-923"}, Attack: []string{"T1071", "T0883"},
		References: []string{"ATT&CK T0883"},
	},
	GuardBypassed: {
		Name: "guard-bypassed", Title: "A station reaches a guarded device around its guard", Group: WayIn,
		Why:    "A device that should be reached through its guard only was spoken to directly. The guard cannot hold back what does not pass it.",
		Advice: "Close the direct path at the switch or firewall, so that only the guard's address reaches the device.",
		Reach:  ReachDevice, Exploitation: "none", Automatable: false, Total: true, Unexpected: true,
		CWE: []string{"CWE-288", "CWE-420"}, Attack: []string{"T0830", "T0886"},
		References: []string{"docs/THREATS.md"},
	},
	SegmentOverlap: {
		Name: "segment-overlap", Title: "The same bytes were sent twice, differently", Group: WayIn,
		Why:    "A part of a message came twice with different content. That happens when somebody injects packets or hides an attack from an inspecting firewall, and when a device on the path rewrites packets.",
		Advice: "Look at the two packets. If the network has no fault that explains them, look for the station that injects.",
		Reach:  ReachFoothold, Exploitation: "active", Automatable: false, Total: false,
		CWE: []string{"CWE-345", "CWE-436"}, Attack: []string{"T1557", "T0830"},
		References: []string{"RFC 1858", "RFC 3128", "RFC 9293 section 3.10.7.4"},
	},

	CredentialsInClear: {
		Name: "credentials-in-clear", Title: "A password crosses the network readable by anybody", Group: Weakness,
		Why:    "A name and password were sent without encryption. Everybody on the path can use them afterwards.",
		Advice: "Switch this service to its encrypted form (SFTP, HTTPS, SSH, LDAPS) or off, and change the password.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-319", "CWE-522"}, Attack: []string{"T1040", "T1552", "T0842"},
		References: []string{"RFC 4949"},
	},
	WeakTLS: {
		Name: "weak-tls", Title: "The encryption used is out of date", Group: Weakness,
		Why:    "The channel uses a protocol version or a cipher that is not to be used any more, because of published attacks. It keeps out the curious, and not every attacker.",
		Advice: "Ask the manufacturer for TLS 1.2 or newer with modern ciphers; until then keep the connection inside a protected network.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-326", "CWE-327"}, Attack: []string{"T1557", "T1040"},
		References: []string{"RFC 8996", "RFC 9325"},
	},
	CertificateInvalid: {
		Name: "certificate-invalid", Title: "A certificate that should not be trusted", Group: Weakness,
		Why:    "The certificate is expired, self-signed, weak or malformed. Unless the other side knows it by heart it cannot be sure to whom it speaks, and people get used to clicking warnings away.",
		Advice: "Have it renewed by the hospital's own certificate authority, and make the other side check it.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-295", "CWE-298"}, Attack: []string{"T1557"},
		References: []string{"RFC 5280 section 6"},
	},
	LegacyOS: {
		Name: "legacy-os", Title: "The operating system gets no security updates any more", Group: Weakness,
		Why:    "Holes found in this system are not closed any more, and programs that use them are public.",
		Advice: "Put the device behind a firewall that lets through only what it needs for care, and plan its replacement with the manufacturer.",
		Reach:  ReachFoothold, Exploitation: "public poc", Automatable: true, Total: true,
		CWE: []string{"CWE-1104"}, Attack: []string{"T1210", "T0866"},
		References: []string{"IMDRF/CYBER WG/N70 (legacy devices)"},
	},
	InsecureService: {
		Name: "insecure-service", Title: "A service that cannot be made secure is in use", Group: Weakness,
		Why:    "The service has no encryption or proof of who is there (SMB1, SSH1, Telnet, FTP, VNC or RDP without protection, SNMP before version 3).",
		Advice: "Switch the service off, or replace it by its secure form. Where the device cannot do without, allow it from one management station only.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-1188", "CWE-319"}, Attack: []string{"T1021", "T0885"},
		References: []string{"IEC 81001-5-1 section 5.3"},
	},
	DefaultCredentialSeen: {
		Name: "default-credential-seen", Title: "A maker's well-known password is in use", Group: Weakness,
		Why:    "The name and password are those that stand in the manual. Everybody who can read can log in.",
		Advice: "Change the password: today where the decision is act or attend, else at the next maintenance. If the device does not allow it, put it behind a firewall and ask the manufacturer.",
		Reach:  ReachDevice, Exploitation: "public poc", Automatable: true, Total: true,
		CWE: []string{"CWE-1392", "CWE-798"}, Attack: []string{"T1078.001", "T0812"},
		References: []string{"IEC 81001-5-1 section 5.3"},
	},
	MalformedMessage: {
		Name: "malformed-message", Title: "A message does not follow its format", Group: Weakness,
		Why:    "Broken messages come from broken software, or from somebody looking for a hole. Fragile devices fail on them.",
		Advice: "If it happens again, show the packet named here to the manufacturer of the sender.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-20"}, Attack: []string{"T1499"},
		References: []string{"docs/THREATS.md"},
	},
}

func (k Kind) String() string {
	if k < kindCount {
		return Kinds[k].Name
	}
	return ""
}

// ParseKind is the inverse of [Kind.String].
func ParseKind(s string) (Kind, bool) {
	for k := NoKind + 1; k < kindCount; k++ {
		if Kinds[k].Name == s {
			return k, true
		}
	}
	return NoKind, false
}
