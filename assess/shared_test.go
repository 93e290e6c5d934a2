// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/wire"
)

// captures is the folder of real captures beside the project.
const captures = "../../shared/captures"

func assessFile(t testing.TB, path string) *report.Assessment {
	t.Helper()
	a, err := Run(context.Background(), []string{path}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// spoken maps the words of the manifest to protocols.
var spoken = []struct{ word, protocol string }{
	{"DICOM", "dicom"},
	{"HL7", "hl7"},
	{"SDC", "sdc"},
	{"TLS", "tls"},
	{"SSLv2", "tls"},
	{"SMB", "smb"},
	{"RDP", "rdp"},
	{"Telnet", "telnet"},
	{"FTP", "ftp"},
	{"MQTT", "mqtt"},
	{"Modbus", "modbus"},
	{"BACnet", "bacnet"},
	{"SNMP", "snmp"},
	{"DNS", "dns"},
	{"DHCP", "dhcp"},
	{"SSH", "ssh"},
	// Not asked for by name, but read as well.
	{"HTTP", "http"},
	{"LDAP", "ldap"},
	{"Kerberos", "kerberos"},
	{"VNC", "vnc"},
	{"NetBIOS", "netbios"},
	{"Syslog", "syslog"},
	{"CoAP", "coap"},
	{"SSDP", "ssdp"},
}

// absent are protocols that the manifest names and the capture does not hold,
// as tshark and nDPI agree.
var absent = map[string]string{
	"ndpi-os_detected.pcapng": "http", // one QUIC packet
	"ndpi-upnp.pcap":          "ssdp", // WS-Discovery only
}

// inferred are protocols inside TLS, which only the registered port tells.
var inferred = map[string]string{"real-dcmtk-echo-store-tls.pcap": "dicom"}

// elsewhere writes the capture at path again, with every TCP and UDP port moved
// to one that no protocol has registered.
func elsewhere(t *testing.T, path string) string {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := capture.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	if err := r.ReadFrame(&f); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := capture.NewWriter(&out, f.Link)
	if err != nil {
		t.Fatal(err)
	}
	for be := binary.BigEndian; err == nil; err = r.ReadFrame(&f) {
		var p wire.Packet
		b := bytes.Clone(f.Data)
		if p.Decode(f.Link, b); p.HasPorts {
			header := b[:p.PayloadOff]
			if i := bytes.LastIndex(header, be.AppendUint16(be.AppendUint16(nil, p.SrcPort), p.DstPort)); i >= 0 {
				be.PutUint16(header[i:], p.SrcPort^0x5555)
				be.PutUint16(header[i+2:], p.DstPort^0x5555)
			}
		}
		f.Data = b
		if err := w.WriteFrame(&f); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "elsewhere.pcap")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// protocols are what was spoken.
func protocols(a *report.Assessment) []string {
	var have []string
	for _, s := range a.Sessions {
		have = append(have, s.Protocol)
	}
	slices.Sort(have)
	return slices.Compact(have)
}

// TestEveryCapture reads every capture of the manifest and finds the protocols
// that it names, on whatever port.
func TestEveryCapture(t *testing.T) {
	f, err := os.Open(filepath.Join(captures, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("the captures beside the project are not there: ", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // header
	for lines.Scan() {
		cols := strings.Split(lines.Text(), "\t")
		t.Run(cols[0], func(t *testing.T) {
			path := filepath.Join(captures, cols[0])
			a := assessFile(t, path)
			if a.Stats.Packets == 0 || a.Inputs[0].Error != "" {
				t.Errorf("inputs %+v", a.Inputs)
			}
			have, moved := protocols(a), protocols(assessFile(t, elsewhere(t, path)))
			for _, s := range spoken {
				if !strings.Contains(cols[1], s.word) || absent[cols[0]] == s.protocol {
					continue
				}
				if !slices.Contains(have, s.protocol) {
					t.Errorf("the manifest says %q; %s is not among %v; %v", cols[1], s.protocol, have, a.Stats.Lost)
				}
				if !slices.Contains(moved, s.protocol) && inferred[cols[0]] != s.protocol {
					t.Errorf("on other ports %s is not among %v", s.protocol, moved)
				}
			}
			if testing.Verbose() {
				for _, f := range a.Findings {
					t.Logf("%-7s %-30s %s x%d %v", f.Decision, f.Kind, f.Title, f.Count, f.Peer)
				}
				t.Log(have, a.Stats.Lost)
			}
		})
	}
}

// attacks are the captures of attacks, with what has to be found in them.
var attacks = map[string]finding.Kind{
	"cs-synscan.pcapng":                                         finding.ScanVertical,
	"ndpi-synscan.pcap":                                         finding.ScanVertical,
	"ndpi-WebattackRCE.pcap":                                    finding.ExploitAttempt,
	"ndpi-log4j-webapp-exploit.pcap":                            finding.ExploitAttempt,
	"ndpi-dns-tunnel-iodine.pcap":                               finding.DNSTunnel,
	"ndpi-dns-exf.pcap":                                         finding.DNSTunnel,
	"zeek-bruteforce.pcap":                                      finding.BruteForce,
	"zeek-heartbleed-success.pcap":                              finding.ExploitAttempt,
	"zeek-SMBGhost.pcap":                                        finding.ExploitAttempt,
	"sv-smb2-07-20171220_smb_psexec_add_user.pcap":              finding.LateralMovement,
	"sv-issue-3341-tcphdr-01-urgent11_cve_2019_12260.pcap":      finding.ExploitAttempt,
	"sv-krb5-kerberoasting-kerberoast.pcap":                     finding.ExploitAttempt,
	"zeek-tls-expired-cert.pcap":                                finding.CertificateInvalid,
	"ndpi-selfsigned.pcap":                                      finding.CertificateInvalid,
	"zeek-ssl-v2.pcap":                                          finding.WeakTLS,
	"zeek-tls1_1.pcap":                                          finding.WeakTLS,
	"ndpi-tls-rdn-extract.pcap":                                 finding.WeakTLS,
	"ndpi-http_auth.pcap":                                       finding.CredentialsInClear,
	"ndpi-ftp.pcap":                                             finding.InsecureService, // its login is anonymous: no secret
	"sv-mqtt31-pub-userpass-input.pcap":                         finding.CredentialsInClear,
	"zeek-simpleauth.pcap":                                      finding.CredentialsInClear,
	"ndpi-telnet.pcap":                                          finding.CredentialsInClear,
	"ndpi-smbv1.pcap":                                           finding.InsecureService,
	"sv-snmp-v2c-get-SNMPv2c_get_requests.pcap":                 finding.InsecureService,
	"zeek-rdp-proprietary-encryption.pcap":                      finding.InsecureService,
	"tapirx-HL7-ADT.pcap":                                       finding.PHIInClear,
	"tapirx-HL7-ORU.pcap":                                       finding.PHIInClear,
	"real-dcmtk-echo-store-plain.pcap":                          finding.PHIInClear,
	"real-dcmtk-bulk-ct.pcap":                                   finding.PHIInClear,
	"real-sdc11073-discovery-getmdib-subscribe-setcontext.pcap": finding.TherapyCommandUnauthenticated,
	"ndpi-malformed_dns.pcap":                                   finding.MalformedMessage,
}

func TestAttacks(t *testing.T) {
	for name, kind := range attacks {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(captures, name)
			if _, err := os.Stat(path); err != nil {
				t.Skip("the captures beside the project are not there: ", err)
			}
			a := assessFile(t, path)
			if !slices.ContainsFunc(a.Findings, func(f finding.Finding) bool { return f.Kind == kind }) {
				var kinds []string
				for _, f := range a.Findings {
					kinds = append(kinds, f.Kind.String())
				}
				t.Errorf("no %s; there is %v", kind, kinds)
			}
		})
	}
}

// clean are captures of normal work: they may show what is weak by design or
// age, and patient data in clear, but nobody is on the way into the network.
var clean = []string{
	"cs-dhcp_nolease_initialization.pcapng", "cs-dns_axfr.pcapng", "cs-ip_frag_source.pcapng", "cs-passiveosfingerprinting.pcapng",
	"cs-tcp_retransmissions.pcapng", "cs-tcp_zerowindowdead.pcapng", "iti-modbus_test.pcap", "iti-s7comm_clean.pcap",
	"ndpi-6in4tunnel.pcap", "ndpi-bacnet.pcap", "ndpi-coap_mqtt.pcap", "ndpi-dnp3.pcap", "ndpi-dtls.pcap", "ndpi-ethernetIP.pcap",
	"ndpi-gre.pcapng", "ndpi-hart_ip.pcap", "ndpi-hl7.pcap", "ndpi-iec60780-5-104.pcap", "ndpi-iphone.pcap", "ndpi-kerberos.pcap",
	"ndpi-knxip.pcapng", "ndpi-modbus.pcap", "ndpi-mqtt.pcap", "ndpi-mssql_tds.pcap", "ndpi-netbios.pcap", "ndpi-opc-ua.pcap",
	"ndpi-os_detected.pcapng", "ndpi-pgsql.pcap", "ndpi-rdp.pcap", "ndpi-rdp3.pcap", "ndpi-rdp_over_tls.pcap", "ndpi-s7comm.pcap",
	"ndpi-selfsigned.pcap", "ndpi-smb_deletefile.pcap", "ndpi-snmp.pcap", "ndpi-soap.pcap", "ndpi-ssh.pcap",
	"ndpi-syslog.pcap", "ndpi-telnet.pcap", "ndpi-tls-rdn-extract.pcap", "ndpi-tls_cipher_lens.pcap", "ndpi-tls_esni_sni_both.pcap",
	"ndpi-tplink_shp.pcap", "ndpi-upnp.pcap", "ndpi-vxlan.pcap", "ndpi-windowsupdate_over_http.pcap",
	"real-dcmtk-bulk-ct.pcap", "real-dcmtk-echo-store-plain.pcap", "real-dcmtk-echo-store-tls.pcap", "real-dcmtk-reject-abort.pcap",
	"real-pythonhl7-mllp-pcd01-adt.pcap", "real-sdc11073-discovery-getmdib-subscribe-setcontext.pcap",
	"sv-mqtt-pub-rules-mqtt5_pub_jpeg.pcap", "sv-snmp-v2c-get-SNMPv2c_get_requests.pcap", "sv-telnet-01-telnet.pcap",
	"tapirx-HL7-ADT-UDI-OBX.pcap", "tapirx-HL7-ADT.pcap", "tapirx-HL7-ORU.pcap", "tapirx-dicom_arq_1_find_testclient.pcap",
	"tapirx-dicom_arq_2_get_testclient.pcap", "zeek-dhcp.pcap", "zeek-mdns.pcap", "zeek-modbusSmall.pcap",
	"zeek-mqtt.pcap", "zeek-rdp-to-ssl.pcap", "zeek-simpleauth.pcap", "zeek-smb1.pcap", "zeek-smb2.pcap", "zeek-smb2readwrite.pcap",
	"zeek-snmpwalk-short.pcap", "zeek-tls13_wolfssl.pcap", "zeek-tls1_1.pcap", "zeek-vncmac.pcap",
}

func TestCleanCaptures(t *testing.T) {
	for _, name := range clean {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(captures, name)
			if _, err := os.Stat(path); err != nil {
				t.Skip("the captures beside the project are not there: ", err)
			}
			for _, f := range assessFile(t, path).Findings {
				if finding.Kinds[f.Kind].Group == finding.WayIn {
					t.Errorf("%s: %s (%s) %v", f.Kind, f.Title, f.Confidence, f.Sightings)
				}
			}
		})
	}
}
