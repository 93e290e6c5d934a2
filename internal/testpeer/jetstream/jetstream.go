// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package jetstream starts nodes of a NATS cluster with JetStream on loopback, each in a
// folder of its own, for tests and trials of several servers.
//
// This API follows the server and may change.
package jetstream

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/myelin-health/myelin/internal/loopback"
)

// A Node is one of a cluster's.
type Node struct {
	Name, Dir string
	Listen    string   // where servers of Myelin find it
	Route     string   // where the other nodes do
	Routes    []string // of all nodes
}

const (
	nodes      = 3
	maxPayload = 8 << 20
	mostStored = 4 << 30 // whatever the disk has free
	startTime  = 30 * time.Second
)

// Three are the nodes of a cluster in a folder. They keep their addresses when they
// start again.
func Three(dir string) ([]Node, error) {
	all := make([]Node, nodes)
	var routes []string
	for i := range all {
		n := &all[i]
		n.Name = fmt.Sprintf("n%d", i)
		n.Dir = filepath.Join(dir, n.Name)
		for _, a := range []*string{&n.Listen, &n.Route} {
			var err error
			if *a, err = loopback.Free("tcp"); err != nil {
				return nil, err
			}
		}
		routes = append(routes, n.Route)
	}
	for i := range all {
		all[i].Routes = routes
	}
	return all, nil
}

// URL is what a configuration names.
func (n *Node) URL() string { return "nats://" + n.Listen }

// Start starts it in this process.
func (n *Node) Start() (*server.Server, error) {
	host, port, err := split(n.Listen)
	if err != nil {
		return nil, err
	}
	between, route, err := split(n.Route)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: n.Name, Host: host, Port: port, NoSigs: true, NoLog: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: n.Dir, SyncAlways: true, JetStreamMaxStore: mostStored,
		Cluster: server.ClusterOpts{Name: "hospital", Host: between, Port: route},
	}
	for _, r := range n.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(startTime) {
		s.Shutdown()
		return nil, fmt.Errorf("node %s does not start at %s", n.Name, n.Listen)
	}
	return s, nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}
