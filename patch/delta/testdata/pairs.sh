#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0

# Fetches the pairs of firmware of pairs.txt: from the Debian mirror that this machine uses
# (its pool has versions of several releases, until they are superseded), and from npm.
# Each file is kept under its SHA-256. What cannot be had is said, and left out.
set -euo pipefail
list=$(dirname "$0")/pairs.txt
cache=${MYELIN_PAIRS:-${XDG_CACHE_HOME:-$HOME/.cache}/myelin-pairs}
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1)

# fetch puts a package's files below $work/PACKAGE.
fetch() {
	local into="$work/${1//\//-}" file
	[ ! -d "$into" ] || return 0
	mkdir "$into"
	case $1 in
	deb:*)
		file=${1#deb:}
		/usr/lib/apt/apt-helper -q -o APT::Sandbox::User=root download-file "${mirror}pool/main/${file//\~/%7e}" "$into.deb" >/dev/null
		dpkg-deb -x "$into.deb" "$into"
		;;
	npm:*)
		(cd "$into" && npm pack --silent "${1#npm:}" >/dev/null && tar -xzf ./*.tgz)
		;;
	esac
}

while read -r pair package file digest; do
	[ "${pair:0:1}" != "#" ] || continue
	[ ! -f "$cache/$digest" ] || continue
	into="$work/${package//\//-}"
	if ! (fetch "$package"); then
		echo "$pair: $package is not to be had" >&2
		continue
	fi
	if [ "$file" = "${file#*!}" ]; then
		cp "$into/$file" "$work/file"
	else
		python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' "$into/${file%!*}" "${file#*!}" >"$work/file"
	fi
	if echo "$digest  $work/file" | sha256sum --check --quiet; then
		mv "$work/file" "$cache/$digest"
	fi
done <"$list"
