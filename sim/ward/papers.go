// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"os"
	"path/filepath"
)

// papers writes what the makers hand over: bills of materials of three products
// and Norra Medical's advisory. The makers' own parts are invented; of the parts
// of others nothing is claimed.
func papers(dir string) error {
	for _, p := range paperFiles {
		if err := os.WriteFile(filepath.Join(dir, p.name), []byte(p.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var paperFiles = []struct{ name, text string }{
	{"flow-500-2.1.4.cdx.json", `{
  "bomFormat": "CycloneDX",
  "specVersion": "1.6",
  "serialNumber": "urn:uuid:7b0c6d1e-2140-4a6e-9d51-0f5a00002104",
  "version": 1,
  "metadata": {
    "timestamp": "2025-06-12T09:00:00Z",
    "authors": [{"name": "Norra Medical product security", "email": "psirt@norra.example"}],
    "supplier": {"name": "Norra Medical", "url": ["https://norra.example"]},
    "component": {"type": "device", "bom-ref": "flow-500", "supplier": {"name": "Norra Medical"}, "name": "Flow 500", "version": "2.1.4", "cpe": "cpe:2.3:h:norra:flow_500:2.1.4:*:*:*:*:*:*:*"}
  },
  "components": [
    {"type": "firmware", "bom-ref": "flow-os", "supplier": {"name": "Norra Medical"}, "name": "flow-os", "version": "2.1.4", "purl": "pkg:generic/norra/flow-os@2.1.4"},
    {"type": "operating-system", "bom-ref": "freertos", "supplier": {"name": "FreeRTOS"}, "name": "FreeRTOS-Kernel", "version": "11.1.0", "purl": "pkg:github/freertos/freertos-kernel@v11.1.0"},
    {"type": "library", "bom-ref": "lwip", "supplier": {"name": "lwIP"}, "name": "lwip", "version": "2.2.0", "purl": "pkg:generic/lwip@2.2.0"}
  ],
  "dependencies": [
    {"ref": "flow-500", "dependsOn": ["flow-os"]},
    {"ref": "flow-os", "dependsOn": ["freertos", "lwip"]},
    {"ref": "freertos", "dependsOn": []},
    {"ref": "lwip", "dependsOn": []}
  ]
}
`},
	{"flow-500-2.2.0.spdx.json", `{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "Flow 500 2.2.0",
  "documentNamespace": "https://norra.example/sbom/flow-500-2.2.0",
  "creationInfo": {"created": "2026-02-20T09:00:00Z", "creators": ["Organization: Norra Medical (psirt@norra.example)"]},
  "packages": [
    {"SPDXID": "SPDXRef-flow-500", "name": "Flow 500", "versionInfo": "2.2.0", "supplier": "Organization: Norra Medical", "downloadLocation": "NOASSERTION", "primaryPackagePurpose": "DEVICE", "externalRefs": [{"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:h:norra:flow_500:2.2.0:*:*:*:*:*:*:*"}]},
    {"SPDXID": "SPDXRef-flow-os", "name": "flow-os", "versionInfo": "2.2.0", "supplier": "Organization: Norra Medical", "downloadLocation": "NOASSERTION", "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:generic/norra/flow-os@2.2.0"}]},
    {"SPDXID": "SPDXRef-freertos", "name": "FreeRTOS-Kernel", "versionInfo": "11.1.0", "supplier": "Organization: FreeRTOS", "downloadLocation": "NOASSERTION", "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:github/freertos/freertos-kernel@v11.1.0"}]},
    {"SPDXID": "SPDXRef-northtls", "name": "northtls", "versionInfo": "1.4.2", "supplier": "Organization: Northwind TLS", "downloadLocation": "NOASSERTION", "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:generic/northtls@1.4.2"}]}
  ],
  "relationships": [
    {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-flow-500"},
    {"spdxElementId": "SPDXRef-flow-500", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "SPDXRef-flow-os"},
    {"spdxElementId": "SPDXRef-flow-os", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "SPDXRef-freertos"},
    {"spdxElementId": "SPDXRef-flow-os", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "SPDXRef-northtls"}
  ]
}
`},
	{"flowlink-1.8.cdx.json", `{
  "bomFormat": "CycloneDX",
  "specVersion": "1.5",
  "serialNumber": "urn:uuid:7b0c6d1e-1800-4a6e-9d51-0f5a00000108",
  "version": 1,
  "metadata": {
    "timestamp": "2024-03-04T09:00:00Z",
    "authors": [{"name": "Norra Medical product security", "email": "psirt@norra.example"}],
    "supplier": {"name": "Norra Medical", "url": ["https://norra.example"]},
    "component": {"type": "device", "bom-ref": "flowlink", "supplier": {"name": "Norra Medical"}, "name": "FlowLink", "version": "1.8"}
  },
  "components": [
    {"type": "application", "bom-ref": "flowlink-hl7", "supplier": {"name": "Norra Medical"}, "name": "flowlink-hl7", "version": "1.8", "purl": "pkg:generic/norra/flowlink-hl7@1.8"},
    {"type": "library", "bom-ref": "northtls", "supplier": {"name": "Northwind TLS"}, "name": "northtls", "version": "1.4.1", "purl": "pkg:generic/northtls@1.4.1"},
    {"type": "library", "bom-ref": "zlib", "supplier": {"name": "zlib"}, "name": "zlib", "version": "1.3.1", "purl": "pkg:generic/zlib@1.3.1"}
  ],
  "dependencies": [
    {"ref": "flowlink", "dependsOn": ["flowlink-hl7"]},
    {"ref": "flowlink-hl7", "dependsOn": ["northtls", "zlib"]},
    {"ref": "northtls", "dependsOn": []},
    {"ref": "zlib", "dependsOn": []}
  ]
}
`},
	{"ada-2026-01.csaf.json", `{
  "document": {
    "category": "csaf_security_advisory",
    "csaf_version": "2.0",
    "distribution": {"tlp": {"label": "WHITE"}},
    "lang": "en",
    "notes": [
      {"category": "summary", "title": "Summary", "text": "Flow 500 before 2.2.0 accepts infusion orders without authentication. FlowLink 1.8 contains a TLS library with a memory error."},
      {"category": "legal_disclaimer", "title": "Invented", "text": "Maker, products and weaknesses are invented: this advisory belongs to a sample hospital."}
    ],
    "publisher": {"category": "vendor", "name": "Norra Medical", "namespace": "https://norra.example", "contact_details": "psirt@norra.example"},
    "title": "Norra Medical Flow 500 and FlowLink",
    "tracking": {
      "current_release_date": "2026-02-24T09:00:00Z",
      "id": "ADA-2026-01",
      "initial_release_date": "2026-02-24T09:00:00Z",
      "revision_history": [{"date": "2026-02-24T09:00:00Z", "number": "1", "summary": "First release."}],
      "status": "final",
      "version": "1"
    }
  },
  "product_tree": {
    "branches": [
      {
        "category": "vendor",
        "name": "Norra Medical",
        "branches": [
          {
            "category": "product_name",
            "name": "Flow 500",
            "branches": [
              {"category": "product_version_range", "name": "vers:generic/<2.2.0", "product": {"product_id": "FLOW-OLD", "name": "Norra Medical Flow 500 before 2.2.0"}},
              {"category": "product_version", "name": "2.2.0", "product": {"product_id": "FLOW-2.2.0", "name": "Norra Medical Flow 500 2.2.0"}}
            ]
          },
          {
            "category": "product_name",
            "name": "FlowLink",
            "branches": [
              {"category": "product_version", "name": "1.8", "product": {"product_id": "LINK-1.8", "name": "Norra Medical FlowLink 1.8"}}
            ]
          }
        ]
      },
      {
        "category": "vendor",
        "name": "Northwind TLS",
        "branches": [
          {
            "category": "product_name",
            "name": "northtls",
            "branches": [
              {"category": "product_version", "name": "1.4.1", "product": {"product_id": "TLS-1.4.1", "name": "northtls 1.4.1", "product_identification_helper": {"purl": "pkg:generic/northtls@1.4.1"}}}
            ]
          }
        ]
      }
    ],
    "relationships": [
      {"category": "default_component_of", "product_reference": "TLS-1.4.1", "relates_to_product_reference": "LINK-1.8", "full_product_name": {"product_id": "TLS-IN-LINK", "name": "northtls 1.4.1 as part of Norra Medical FlowLink 1.8"}}
    ]
  },
  "vulnerabilities": [
    {
      "title": "Infusion orders are accepted from anybody",
      "ids": [{"system_name": "Norra Medical PSIRT", "text": "ADA-2026-01-A"}],
      "cwe": {"id": "CWE-306", "name": "Missing Authentication for Critical Function"},
      "product_status": {"known_affected": ["FLOW-OLD"], "fixed": ["FLOW-2.2.0"]},
      "scores": [{"products": ["FLOW-OLD"], "cvss_v3": {"version": "3.1", "vectorString": "CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:H", "baseScore": 8.1, "baseSeverity": "HIGH"}}],
      "remediations": [
        {"category": "vendor_fix", "details": "Install Flow 500 version 2.2.0 when no infusion is running.", "product_ids": ["FLOW-OLD"], "url": "https://norra.example/flow-500/2.2.0"},
        {"category": "mitigation", "details": "Let only the ordering system reach the FlowLink gateway.", "product_ids": ["FLOW-OLD"]}
      ]
    },
    {
      "title": "Memory error in the TLS library of FlowLink",
      "ids": [{"system_name": "Norra Medical PSIRT", "text": "ADA-2026-01-B"}],
      "cwe": {"id": "CWE-787", "name": "Out-of-bounds Write"},
      "product_status": {"known_affected": ["TLS-IN-LINK"]},
      "scores": [{"products": ["TLS-IN-LINK"], "cvss_v3": {"version": "3.1", "vectorString": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 8.1, "baseSeverity": "HIGH"}}],
      "remediations": [
        {"category": "mitigation", "details": "Let only the ordering system reach the FlowLink gateway until FlowLink 1.9 is released.", "product_ids": ["TLS-IN-LINK"]}
      ]
    }
  ]
}
`},
}
