#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0

# Makes everything secret that the sample needs: an authority, certificates, the
# keys of ledger and implant, the secret that the guard shares with each old
# device. For trying out only: in a hospital these come from its own authority.
#
#     ./certificates.sh [MYELIN]     MYELIN is the program; else myelin
set -euo pipefail
cd "$(dirname "$0")"
myelin=${1:-myelin}
umask 077
mkdir -p tls

if [ ! -e tls/ca.key ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=St. Ada sample authority" \
		-keyout tls/ca.key -out tls/ca.pem 2>/dev/null
fi
certificate() { # NAME DNS...
	local name=$1 alt=""
	shift
	for dns in "$@"; do alt="$alt,DNS:$dns"; done
	[ -e "tls/$name.pem" ] && return
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "tls/$name.key" -out "tls/$name.csr" 2>/dev/null
	openssl x509 -req -in "tls/$name.csr" -CA tls/ca.pem -CAkey tls/ca.key -CAcreateserial -days 30 -out "tls/$name.pem" \
		-extfile <(printf 'subjectAltName=IP:127.0.0.1%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$alt") 2>/dev/null
	rm "tls/$name.csr"
}
certificate guard guard.ada.example localhost
certificate ehr ehr.ada.example
certificate ct-1 ct-1.ada.example
certificate view-1 view-1.ada.example
certificate corvus corvus.ada.example

[ -e ledger.key ] || "$myelin" ledger key --name ada.example/guard --out ledger.key
[ -d clinic ] || "$myelin" link enrol --authority clinic --create clinic.ada.example
for key in icd-front pump-front stim-front hub-front monitor; do
	[ -e "$key.key" ] || "$myelin" link keygen --out "$key.key"
done
for secret in icd pump stim; do
	[ -e "$secret.secret" ] || openssl rand -hex 16 >"$secret.secret"
done
echo "made; now: $myelin guard check $(pwd)/guard.yaml" >&2
