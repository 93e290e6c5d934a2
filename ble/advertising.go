// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// An Advertisement is what an advertiser sends at one time.
type Advertisement struct {
	Advertiser   Address
	Identity     Address // the advertiser's identity, when Advertiser is resolvable and its key is in the captures; else as Advertiser
	Target       Address // of directed advertising
	Connectable  bool
	Scannable    bool
	ScanResponse bool // Data answers a scan request
	Extended     bool // by the PDUs of version 5.0
	SID          uint8
	RSSI         int8   // dBm; 0 when not known
	Incomplete   bool   // there was more data, which the capture does not have
	Data         []byte // AD structures
}
