# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0

# The long runs. `go test ./...` needs none of this.

.PHONY: test fuzz chaos soak bench ward docs

test:
	go test ./...

# A minute for every parser.
fuzz:
	bash .ci/fuzz 100000 60

# Kills the guard 200 times under load, and then takes its disk away; kills for five
# minutes each the servers of a hospital, its sensors and its cluster's nodes.
chaos:
	go run ./trial chaos -kills 200
	go run ./trial disk
	go run ./trial hospital -for 5m
	go run ./trial hospital -for 5m -cluster

# Uses the guard for ten minutes, on 200 connections.
soak:
	go run ./trial soak -for 10m -connections 200

# One run beside the peers that are installed; see docs/PERFORMANCE.md.
bench:
	go run ./bench
	go test ./store/sqlite -run '^$$' -bench Store -timeout 1h -v
	go test ./serve -run '^$$' -bench Server -benchtime 20s -timeout 1h -v
	go test ./patch/rollout -run '^$$' -bench . -v
	go test ./serve/update -run '^$$' -bench Poll -benchtime 1x -timeout 1h -v
	go test ./patch/rollout -run '^$$' -bench 'Gates|Fleet' -benchtime 3x -timeout 1h
	-bash patch/delta/testdata/pairs.sh
	go test ./patch/delta -run '^$$' -bench Peers -benchtime 1x -timeout 1h -v

# Makes the sample ward again, with dcmtk and Orthanc.
ward:
	go run ./cmd/myelin sim ward --out testdata/ward

docs:
	go run ./cmd/myelin kinds --format markdown > docs/kinds.md
