// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
)

// DCMTK returns the path of one of DCMTK's programs, or skips the test.
func DCMTK(t TB, program string) string {
	t.Helper()
	return Tool(t, program, "dcmtk")
}

// DICOMObject makes a DICOM file out of a dump in the manner of dcmdump, and
// returns its path. args are dump2dcm's, such as the transfer syntax to write.
func DICOMObject(t TB, dump string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "object.txt"), filepath.Join(dir, "object.dcm")
	if err := os.WriteFile(in, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, dir, DCMTK(t, "dump2dcm"), append(args, in, out)...)
	return out
}

// Storescp starts DCMTK's storage SCP and returns its port. What it receives
// is thrown away.
func Storescp(t TB, args ...string) int {
	t.Helper()
	port := Port(t)
	args = append(args, "--ignore", strconv.Itoa(port))
	Start(t, t.TempDir(), port, DCMTK(t, "storescp"), args...)
	return port
}

// Dcmqrscp starts DCMTK's image archive with the AE title given, and returns
// its port. peers are the AE titles that it moves to, and their loopback ports.
func Dcmqrscp(t TB, aet string, peers map[string]int) int {
	t.Helper()
	dir, port := t.TempDir(), Port(t)
	hosts := ""
	for name, p := range peers {
		hosts += fmt.Sprintf("h%d = (%s, 127.0.0.1, %d)\n", p, name, p)
	}
	config := fmt.Sprintf("NetworkTCPPort = %d\nMaxPDUSize = 16384\nMaxAssociations = 16\n"+
		"HostTable BEGIN\n%sHostTable END\nVendorTable BEGIN\nVendorTable END\n"+
		"AETable BEGIN\n%s %s RW (500, 1024mb) ANY\nAETable END\n", port, hosts, aet, dir)
	file := filepath.Join(dir, "dcmqrscp.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// Not with --single-process: dcmqrscp 3.6.7 crashes after an association then.
	Start(t, dir, port, DCMTK(t, "dcmqrscp"), "-c", file)
	return port
}

// Orthanc starts an Orthanc with the AE title given, and returns the ports of
// its DICOM and HTTP servers. peers are as for [Dcmqrscp]; more has further
// options of its configuration.
func Orthanc(t TB, aet string, peers map[string]int, more ...map[string]any) (dicom, http int) {
	t.Helper()
	path := Tool(t, "Orthanc", "orthanc")
	dir := t.TempDir()
	dicom, http = Port(t), Port(t)
	modalities := map[string][]any{}
	for name, p := range peers {
		modalities[name] = []any{name, "127.0.0.1", p}
	}
	options := map[string]any{
		"Name": aet, "DicomAet": aet, "DicomPort": dicom, "HttpPort": http,
		"StorageDirectory": dir, "IndexDirectory": dir, "Plugins": []string{},
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false,
		"DicomCheckCalledAet": false, "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true,
		"DicomAlwaysAllowFind": true, "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true,
		"DicomModalities": modalities,
	}
	for _, m := range more {
		maps.Copy(options, m)
	}
	config, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	Start(t, dir, dicom, path, file)
	return dicom, http
}
