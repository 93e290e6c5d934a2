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
	TherapyLimitLoosened
	AlarmMasked
	ClosedLoopInputUnprotected
	RadioWakeFlood

	PHIInClear
	BulkRecordAccess
	RecordsToUnexpectedPeer
	BLEIdentityInAdvertising
	BLETrackableAddress

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
	BLEEncryptionSkipped

	CredentialsInClear
	WeakTLS
	CertificateInvalid
	LegacyOS
	InsecureService
	DefaultCredentialSeen
	MalformedMessage
	BLEMedicalServiceUnencrypted
	BLEBelowProfileLevel
	BLEPairingJustWorks
	BLEPairingLegacy
	BLEKeySizeWeak
	BLEKeyStaticOrZero
	BLEFirmwareUpdateUnprotected

	VulnerableProduct
	VulnerableComponent
	KnownExploited
	RecalledProduct
	UnsupportedProduct
	UnsupportedComponent
	MDS2Contradicted
	MDS2CapabilityUnused
	SBOMMissing
	SBOMIncomplete

	DeviceDefendsItself

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
	KnownWeakness            // somebody published that it is weak, or its papers lack what is needed to know
	GoodNews                 // something that protects was seen at work
)

var groups = [...]string{"", "manipulated therapy", "patient data", "way into the network", "weak by design or age", "known weaknesses and papers", "good news"}

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
	Reach        Reach  // where an advisory's CVSS vector says more, package risk takes it from there
	Exploitation string // none, public poc, active
	Automatable  bool
	Total        bool     // technical impact: total control of the device's part concerned, else partial
	Unexpected   bool     // claims an expectation: low confidence and never act without a baseline
	CWE          []string // of the kind; an advisory names its own, see [Finding]
	Attack       []string // MITRE ATT&CK technique ids, Enterprise and ICS
	References   []string

	// Of what was heard on a radio, where nothing can be done at a switch; "" is
	// the same as on a network.
	AirTitle, AirAdvice string
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
		AirTitle:   "Anybody within radio range could change this therapy",
		AirAdvice:  "Check the settings at the device, against the prescription. Ask the manufacturer for firmware that proves who sends a command; until then keep remote control switched off where the device allows it.",
	},
	TherapyCommandUnexpectedSender: {
		Name: "therapy-command-unexpected-sender", Title: "A therapy command came from a sender that is not expected", Group: ManipulatedTherapy,
		Why:    "A command that changes a therapy came from another station than the one that gave such commands before, perhaps under its name, or from one that the baseline does not have.",
		Advice: "Check the therapy at the bedside now, against the prescription. Then find out who uses the sending station; if nobody can say, take it off the network.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true, Unexpected: true,
		CWE: []string{"CWE-290", "CWE-345"}, Attack: []string{"T0855", "T0836", "T0848"},
		References: []string{"IHE PCD TF-2 section 3.3"},
		AirAdvice:  "Check the therapy at the device now, and ask the patient whether the other phone or programmer is hers. If it is not, remove it from the device's list of paired phones.",
	},
	TherapyCommandReplayed: {
		Name: "therapy-command-replayed", Title: "A therapy command came a second time, from another place", Group: ManipulatedTherapy,
		Why:    "A message that must be fresh (its control id, counter or tag was used and answered before) came again from another sender. Somebody may be repeating recorded commands.",
		Advice: "Check the therapy at the bedside now. Block the sending station, and keep the capture for the investigation.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true,
		CWE: []string{"CWE-294"}, Attack: []string{"T0855", "T0856"},
		References: []string{"HL7 v2.6 section 2.9.2", "CVE-2018-14781", "BSAM-AP-05"},
		AirTitle:   "A therapy command was recorded and sent again",
		AirAdvice:  "Check the therapy and the settings at the device now. Keep the patient away from where this was heard, keep the capture, and call the manufacturer.",
	},
	TherapyLimitLoosened: {
		Name: "therapy-limit-loosened", Title: "A limit that protects the patient was set to allow more", Group: ManipulatedTherapy,
		Why:    "A device refuses what is above its own limits: the largest bolus, the highest rate. Whoever raises the limit first has every later command accepted.",
		Advice: "Ask the patient or the clinic who changed this limit, and set it back if nobody did. Look at what was given since.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: true,
		CWE: []string{"CWE-732", "CWE-269"}, Attack: []string{"T0836", "T0838"},
		References: []string{"Insulin Delivery Service 1.0.2 (Set Max Bolus Amount)", "IEC 60601-2-24"},
	},
	AlarmMasked: {
		Name: "alarm-masked", Title: "An alarm was switched off or widened", Group: ManipulatedTherapy,
		Why:    "An alarm that does not sound is help that does not come: alarms were switched off, their limits were moved outwards, or the measuring was stopped. A confirmation or a snooze for a limited time is normal, and is not meant here.",
		Advice: "Ask the patient whether she changed her alarms, and set them back if she did not. Until then measure by hand.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: false, Total: false,
		CWE: []string{"CWE-223", "CWE-778"}, Attack: []string{"T0878", "T0838"},
		References: []string{"Continuous Glucose Monitoring Service 1.0.2 section 3.9", "IEC 60601-1-8"},
	},
	ClosedLoopInputUnprotected: {
		Name: "closed-loop-input-unprotected", Title: "Anybody near could send false glucose values that dose insulin", Group: ManipulatedTherapy,
		Why:    "Glucose values, or a calibration that shifts them, came over a link that proves nothing about their sender. Where a pump doses by them, a false value is a false dose.",
		Advice: "Ask the manufacturer for a sensor link with authenticated pairing. Until then the patient checks with a finger-prick before she trusts an unusual value, and knows how to switch automatic dosing off.",
		Reach:  ReachDevice, Exploitation: "public poc", Automatable: false, Total: true,
		CWE: []string{"CWE-306", "CWE-345"}, Attack: []string{"T0856", "T0836"},
		References: []string{"Li, Raghunathan, Jha: Hijacking an Insulin Pump, IEEE Healthcom 2011", "Continuous Glucose Monitoring Service 1.0.2 table 3.1"},
	},
	RadioWakeFlood: {
		Name: "radio-wake-flood", Title: "A device in a body is woken again and again, which empties its battery", Group: ManipulatedTherapy,
		Why:    "Each wake-up costs energy that a surgeon has to put back: an implant whose battery is empty has to be replaced. A programmer wakes a device a few times in a session.",
		Advice: "Find the transmitter with the radio's field strength, and keep the patient away from it. Have the implant's battery checked at its next interrogation.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: true, Total: false,
		CWE: []string{"CWE-400", "CWE-770"}, Attack: []string{"T0814"},
		References: []string{"Halperin et al., IEEE S&P 2008", "CVE-2017-12714"},
	},

	PHIInClear: {
		Name: "phi-in-clear", Title: "Patient data crosses the network readable by anybody", Group: PatientData,
		Why:    "Names, record numbers or results were sent without encryption. Everybody on the path can read and copy them.",
		Advice: "Ask the manufacturer for the TLS setting of this interface (DICOM TLS, MLLP over TLS, HTTPS) and switch it on at both ends. Until then keep both ends in a network of their own.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-319"}, Attack: []string{"T1040", "T0842"},
		References: []string{"DICOM PS3.15 annex B", "IHE ITI TF-2 section 3.19", "45 CFR 164.312(e)"},
		AirTitle:   "Patient data goes over the air readable by anybody near",
		AirAdvice:  "Ask the manufacturer for a version that encrypts its radio link. Until then pair and read out the device only where nobody else is near.",
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
	BLEIdentityInAdvertising: {
		Name: "ble-identity-in-advertising", Title: "The device shouts a name or serial number to everybody near", Group: PatientData,
		Why:    "What a body-worn device advertises can be read from some ten metres away, and more with an antenna. A name or serial number tells who is ill, with what, and where she goes.",
		Advice: "Ask the manufacturer for advertising without serial number and personal name. Until then give the device no name that tells of a person, where it lets you.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-359", "CWE-201"}, Attack: []string{"T1040", "T0842"},
		References: []string{"Core Specification Supplement part A section 1.2", "BSAM-DI-03", "BSAM-DI-04"},
	},
	BLETrackableAddress: {
		Name: "ble-trackable-address", Title: "The device has one address for ever, by which its wearer can be followed", Group: PatientData,
		Why:    "A public or static address is the same at home, at work and on the street: whoever hears it twice knows that the same person was there.",
		Advice: "Ask the manufacturer for resolvable private addresses. There is nothing that the patient or the ward could change.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-359"}, Attack: []string{"T1040", "T0842"},
		References: []string{"Bluetooth Core 5.4 Vol 6 Part B section 1.3", "Vol 3 Part C section 10.7", "BSAM-DI-06"},
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
	BLEEncryptionSkipped: {
		Name: "ble-encryption-skipped", Title: "Bluetooth packets have the shape of a known attack", Group: WayIn,
		Why:    "The packets have the shape of a published attack on Bluetooth chips: encryption that starts without the proof of the key, with a key of zeros or of an impossible size, or packets that lock the device up. A device that goes along can be controlled, or stops. Which chip a device has, and so whether it goes along, a capture does not show.",
		Advice: "Check that the device still works. Ask its manufacturer whether the Bluetooth chip is open to this, by the CVE where one is named, and keep the phone or computer that sent this away from it.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: true, Total: true,
		CWE: []string{"CWE-287", "CWE-358", "CWE-1395"}, Attack: []string{"T1210", "T0866", "T0814"},
		References: []string{"SweynTooth (Garbelini et al., USENIX ATC 2020)", "FDA safety communication of 3 March 2020", "BSAM-IG-02"},
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
	BLEMedicalServiceUnencrypted: {
		Name: "ble-medical-service-unencrypted", Title: "A medical Bluetooth service was used without encryption", Group: Weakness,
		Why:    "Measurements or settings went over the air without encryption: everybody within some ten metres can read them, and can usually send them, too.",
		Advice: "Pair the device with its phone or monitor again, and ask the manufacturer why it accepts a link that is not encrypted.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-319", "CWE-311"}, Attack: []string{"T1040", "T0842"},
		References: []string{"Bluetooth Core 5.4 Vol 3 Part C section 10.2.1", "BSAM-EN-02"},
	},
	BLEBelowProfileLevel: {
		Name: "ble-below-profile-level", Title: "A medical Bluetooth service is less protected than its own standard asks", Group: Weakness,
		Why:    "The service's standard names the level of security that it has to be used with, because of what it does. The link had less, and the device went along.",
		Advice: "Ask the manufacturer for firmware that enforces the level of the profile. Until then pair only at home or in the clinic, with nobody else near.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-287", "CWE-1188"}, Attack: []string{"T1557", "T0830"},
		References: []string{"Insulin Delivery Profile 1.0.2 section 6", "Continuous Glucose Monitoring Service 1.0.2 table 3.1", "Glucose Profile 1.0.1", "BSAM-SE-03"},
	},
	BLEPairingJustWorks: {
		Name: "ble-pairing-just-works", Title: "A medical device was paired without proof of who is on the other side", Group: Weakness,
		Why:    "Just Works is pairing in which nobody compares or types anything: whoever is near at that moment can be the one who is paired, or sit between the two.",
		Advice: "Look at the device's list of paired phones and remove those that the patient does not know. Pair again only where nobody else is near, and ask the manufacturer for pairing with a code.",
		Reach:  ReachFoothold, Exploitation: "public poc", Automatable: false, Total: true,
		CWE: []string{"CWE-287", "CWE-300"}, Attack: []string{"T1557", "T0830"},
		References: []string{"Bluetooth Core 5.4 Vol 3 Part H section 2.3.5.1", "BSAM-PA-05"},
	},
	BLEPairingLegacy: {
		Name: "ble-pairing-legacy", Title: "Pairing by the old method, whose key listeners find out", Group: Weakness,
		Why:    "Legacy pairing has no key agreement: who records it finds the key in seconds, and reads and writes from then on.",
		Advice: "Ask the manufacturer for LE Secure Connections, on both sides. Until then pair only where nobody can listen, and pair anew after it was done elsewhere.",
		Reach:  ReachFoothold, Exploitation: "public poc", Automatable: false, Total: true,
		CWE: []string{"CWE-326", "CWE-327"}, Attack: []string{"T1040", "T1557", "T0842"},
		References: []string{"Bluetooth Core 5.4 Vol 3 Part H section 2.3.5", "Ryan: Bluetooth, With Low Energy Comes Low Security, USENIX WOOT 2013", "BSAM-PA-04"},
	},
	BLEKeySizeWeak: {
		Name: "ble-key-size-weak", Title: "The key of a medical Bluetooth link has the wrong size", Group: Weakness,
		Why:    "Sixteen octets are the full size of a key. One below that can be searched for; a size outside seven to sixteen is an attack on the chip.",
		Advice: "Ask the manufacturer for firmware that refuses keys below sixteen octets.",
		Reach:  ReachFoothold, Exploitation: "public poc", Automatable: false, Total: false,
		CWE: []string{"CWE-326"}, Attack: []string{"T1040", "T1557"},
		References: []string{"Bluetooth Core 5.4 Vol 3 Part H section 2.3.4", "Antonioli et al.: Key Negotiation Downgrade Attacks on Bluetooth Low Energy, 2020", "BSAM-EN-03"},
	},
	BLEKeyStaticOrZero: {
		Name: "ble-key-static-or-zero", Title: "The key of a medical Bluetooth link protects nothing", Group: Weakness,
		Why:    "A key that is zero, that several devices share, or that somebody could read while it was handed over protects nothing: who knows it reads and writes everything.",
		Advice: "Remove the pairing on both sides and pair anew, where nobody can listen. If the key is the same again, ask the manufacturer for a fix and do not rely on this link.",
		Reach:  ReachDevice, Exploitation: "public poc", Automatable: true, Total: true,
		CWE: []string{"CWE-321", "CWE-1394"}, Attack: []string{"T1552", "T1557"},
		References: []string{"CVE-2019-19194", "Bluetooth Core 5.4 Vol 3 Part H section 2.4.2"},
	},
	BLEFirmwareUpdateUnprotected: {
		Name: "ble-firmware-update-unprotected", Title: "Firmware could be sent to this device over a link that proves nothing", Group: Weakness,
		Why:    "The device's service for firmware updates was used over a link without authentication. Unless the device checks a signature itself, which a capture does not show, whoever is near could replace its program.",
		Advice: "Ask the manufacturer whether the device verifies a signature before it runs an update, and whether the update mode needs a button on the device.",
		Reach:  ReachDevice, Exploitation: "none", Automatable: false, Total: true,
		CWE: []string{"CWE-494", "CWE-306"}, Attack: []string{"T0839", "T0857", "T1195.002"},
		References: []string{"IEC 81001-5-1 section 5.3", "BSAM-AP-04"},
	},

	VulnerableProduct: {
		Name: "vulnerable-product", Title: "An advisory says that this product can be attacked", Group: KnownWeakness,
		Why:    "The manufacturer, or somebody who coordinates with manufacturers, published that this product in this version has a weakness, and by that how to look for it.",
		Advice: "Have clinical engineering install the fixed version that the advisory names. Until then do what it says instead, and allow only those stations to reach the device that care needs.",
		Reach:  ReachDevice, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1357"}, Attack: []string{"T0866", "T1210"},
		References: []string{"CSAF 2.0 section 4.4 (security advisory)", "FDA Postmarket Management of Cybersecurity in Medical Devices (2016)"},
	},
	VulnerableComponent: {
		Name: "vulnerable-component", Title: "A part of this device's software has a published weakness", Group: KnownWeakness,
		Why:    "The device's bill of materials names a piece of software in a version with a published weakness. Whether the device uses the weak part only its manufacturer can say; until she does, it counts.",
		Advice: "Ask the manufacturer for an update, or for a statement (VEX) that the device is not affected. Until then allow only those stations to reach the device that care needs.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1395"}, Attack: []string{"T0866", "T1210"},
		References: []string{"NTIA minimum elements for an SBOM (2021)", "FDA Cybersecurity in Medical Devices (2023), section V.A.4"},
	},
	KnownExploited: {
		Name: "known-exploited", Title: "Attackers use this weakness, and this device has it", Group: KnownWeakness,
		Why:    "CISA lists the weakness as used in real attacks. Nobody needs to find out any more how it is done, and programs look for it day and night.",
		Advice: "Cut the device off from everything that care does not need. Then ask the manufacturer for the update, and have it installed before all others.",
		Reach:  ReachDevice, Exploitation: "active", Automatable: true, Total: true,
		CWE: []string{"CWE-1395"}, Attack: []string{"T1210", "T1190", "T0866"},
		References: []string{"CISA Known Exploited Vulnerabilities", "CISA BOD 22-01", "CISA BOD 26-04"},
	},
	RecalledProduct: {
		Name: "recalled-product", Title: "The manufacturer recalled this product", Group: KnownWeakness,
		Why:    "A recall says that the product can hurt patients as it is. It may be for its software, its hardware or its labels, and is often for some lots or serial numbers only.",
		Advice: "Compare the device's lot and serial number with the recall notice, and do what it says. If the device is concerned, plan with the physician before it is taken away from a patient.",
		Reach:  ReachDevice, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-440"}, Attack: []string{"T0880"},
		References: []string{"21 CFR part 7, subpart C", "21 CFR part 806", "openFDA device recall"},
	},
	UnsupportedProduct: {
		Name: "unsupported-product", Title: "The manufacturer does not support this product any more", Group: KnownWeakness,
		Why:    "Holes that are found from now on stay open, and nobody has to say that they exist.",
		Advice: "Plan its replacement with the manufacturer. Until then put it behind a firewall that lets through only what care needs.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1277"}, Attack: []string{"T1210", "T0866"},
		References: []string{"IMDRF/CYBER WG/N70 (legacy devices)", "IEC 81001-5-1 section 6.1"},
	},
	UnsupportedComponent: {
		Name: "unsupported-component", Title: "A part of this device's software gets no updates any more", Group: KnownWeakness,
		Why:    "The bill of materials names a piece of software whose support has ended. Holes that are found in it stay open until the manufacturer takes another one.",
		Advice: "Ask the manufacturer when this part is replaced, and what protects it until then.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1104"}, Attack: []string{"T1210", "T0866"},
		References: []string{"FDA Cybersecurity in Medical Devices (2023), section V.A.4"},
	},
	MDS2Contradicted: {
		Name: "mds2-contradicted", Title: "The device does what its manufacturer's statement denies", Group: KnownWeakness,
		Why:    "The manufacturer's disclosure statement (MDS2) says that the device cannot do something, and it was seen doing it. Whoever planned its protection by that statement planned for another device.",
		Advice: "Send the packet named here and the line of the statement to the manufacturer, and ask which of them is wrong. Until then protect the device by what was seen.",
		Reach:  ReachFoothold, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1059", "CWE-912"}, Attack: []string{"T0885", "T0886"},
		References: []string{"ANSI/NEMA HN 1-2019 (MDS2)"},
	},
	MDS2CapabilityUnused: {
		Name: "mds2-capability-unused", Title: "A protection that this device has is not switched on", Group: KnownWeakness,
		Why:    "The manufacturer's disclosure statement (MDS2) says that the device can encrypt what it sends, and it was seen sending in clear.",
		Advice: "Ask the manufacturer how the protection is switched on, and have clinical engineering do it at both ends at the next maintenance.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: true, Total: false,
		CWE: []string{"CWE-319", "CWE-1188"}, Attack: []string{"T1040", "T0842"},
		References: []string{"ANSI/NEMA HN 1-2019 (MDS2), sections TXCF and TXIG"},
	},
	SBOMMissing: {
		Name: "sbom-missing", Title: "Nobody told what software this device is made of", Group: KnownWeakness,
		Why:    "Without a bill of materials (SBOM) nobody can say whether the next published weakness is in this device, and all have to wait for its manufacturer.",
		Advice: "Ask the manufacturer for the SBOM in CycloneDX or SPDX, and put the file beside the others.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1059"}, Attack: []string{"T0862", "T1195"},
		References: []string{"Section 524B(b)(3) FD&C Act", "NTIA minimum elements for an SBOM (2021)"},
	},
	SBOMIncomplete: {
		Name: "sbom-incomplete", Title: "The list of this device's software lacks what is needed to use it", Group: KnownWeakness,
		Why:    "The bill of materials (SBOM) lacks versions, names of suppliers, identifiers or dates of support. What it leaves out cannot be compared with what is published.",
		Advice: "Send the manufacturer the list of what is missing, and ask for a complete SBOM.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-1059"}, Attack: []string{"T0862", "T1195"},
		References: []string{"NTIA minimum elements for an SBOM (2021)", "FDA Cybersecurity in Medical Devices (2023), section V.A.4"},
	},

	DeviceDefendsItself: {
		Name: "device-defends-itself", Title: "The device refused what was not protected well enough", Group: GoodNews,
		Why:    "The device answered that it wants encryption, authentication, a larger key or authorization first. So it enforces its protection itself, and does not rely on the phone.",
		Advice: "Nothing to do. If the same station is refused again and again, ask whose it is.",
		Reach:  ReachNothing, Exploitation: "none", Automatable: false, Total: false,
		CWE: []string{"CWE-287"}, Attack: []string{"T0842"},
		References: []string{"Bluetooth Core 5.4 Vol 3 Part F section 3.4.1.1"},
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
