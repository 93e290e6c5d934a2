// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package guard puts the fronts of the guard together: it reads guard.yaml, runs
// the fronts, takes over changes of the file without dropping a connection, and
// has the page at which clinicians decide on what waits for them.
//
// guard.yaml is strict YAML; names of files in it are relative to its folder:
//
//	guard: 1
//	site: St. Ada Hospital, ICU
//	state: state                   # folder: doses, what was learned, the fronts' own files
//	ledger: {folder: ledger, key: ledger.key}
//	page:
//	  listen: 10.20.3.2:8443
//	  address: https://guard.icu.ada.example:8443/
//	  tls: {certificate: page.pem, key: page.key}
//	  monitors: [10.20.1.9]        # who reads /healthz and /metrics without a login; else this machine alone
//	people:
//	  - {id: mh, role: prescriber, password: "$argon2id$...", actors: [prog-1]}
//	devices:
//	  - {id: pump-3, therapy: drug infusion, envelope: pump-3.yaml}
//	fronts:
//	  - name: gw-icu
//	    kind: hl7                  # dicom, hl7, coap, http, tcp, egress; each has keys of its own
//	    device: gw-icu
//	    protects: server
//	    listen: {address: "10.20.3.2:24000", tls: {certificate: gw.pem, key: gw.key, authorities: ca.pem}}
//	    forward: 10.20.3.10:24000
//	    bypass: connect the engine to 10.20.3.10 port 24000, and call the clinical engineer
//
// This API follows the server and may change.
package guard
