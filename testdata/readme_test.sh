#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0

# Runs the commands of the README (its blocks of ```sh) in a fresh clone of what
# is committed, holds what they print to its blocks of ```text, and looks for
# the files that the documents link to. With README_SKIP_TESTS=1 it leaves out
# `go test ./...`, for those who have just run that.
set -euo pipefail
cd "$(dirname "$0")/.."

clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone -q . "$clone/myelin"
cd "$clone/myelin"

blocks() { # of a language, joined
	awk -v fence='```' -v language="$1" '
		$0 == fence language { inside = 1; next }
		$0 == fence { inside = 0 }
		inside' README.md
}

# lives runs the demo until its morning is over, and interrupts it.
lives() {
	setsid bash -c "exec $1" >>"$out" 2>"$clone/err" </dev/null &
	local demo=$! over=1
	for _ in $(seq 600); do
		if grep -q "the morning is over" "$clone/err"; then
			over=0
			break
		fi
		kill -0 "$demo" 2>/dev/null || break
		sleep 0.5
	done
	kill -INT -- "-$demo" 2>/dev/null || true
	wait "$demo" || true # what go run says of an interrupt
	return $over
}

out=$clone/out
failed=0
while IFS= read -r command; do
	if [ "$command" = "go test ./..." ] && [ "${README_SKIP_TESTS:-}" = 1 ]; then
		continue
	fi
	echo "README: $command"
	if [[ $command == *"serve --demo" ]]; then # goes on until somebody ends it
		if ! lives "$command"; then
			echo "README: failed: $command" >&2
			tail -n 40 "$clone/err" >&2
			failed=1
		fi
		continue
	fi
	if ! bash -euo pipefail -c "$command" >>"$out" 2>"$clone/err" </dev/null; then
		echo "README: failed: $command" >&2
		tail -n 40 "$clone/err" "$out" >&2
		failed=1
	fi
done < <(blocks sh)
[ -s "$out" ] || { echo "README: no command printed anything" >&2; failed=1; }

while IFS= read -r line; do
	if ! grep -qxF -- "$line" "$out"; then
		echo "README: no command prints: $line" >&2
		failed=1
	fi
done < <(blocks text)

for page in README.md CONTRIBUTING.md SECURITY.md docs/*.md testdata/ward/README.md; do
	while IFS= read -r link; do
		case $link in http*:* | mailto:* | '#'*) continue ;; esac
		if [ ! -e "$(dirname "$page")/${link%%#*}" ]; then
			echo "$page: links to $link, which is not there" >&2
			failed=1
		fi
	done < <(grep -oE '\]\([^) ]+\)' "$page" | sed 's/^](//; s/)$//')
done
exit $failed
