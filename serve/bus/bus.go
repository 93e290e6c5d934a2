// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package bus carries what sensors and guards send into the store, and what servers
// tell each other. It is NATS with JetStream: a server of its own in this process,
// which listens nowhere, or a cluster that several servers of Myelin share.
//
//	obs.0 .. obs.15  batches, by the hash of the device: a stream on disk
//	aside.0 ..       batches that the store does not take: a stream on disk
//	live             what changed ([News]): to whoever listens now
//	guard.ID.do      what a clinician decided ([Decision]): asked and answered
//
// [Bus.Put] returns when a batch is on the disk (of most nodes of a cluster). A
// consumer of each subject writes it into the store, in one transaction with its
// number, and acknowledges it then. Only one message of a subject is under way at a
// time, so that the order of a device is kept whichever of the servers writes, and
// any of them can be killed: another has its message again after half a minute, and a
// store that had it knows its number. A bus with a server of its own is written by
// this process alone: there a batch is not taken apart.
//
// This API follows the server and may change.
package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/myelin-health/myelin/store"
)

// A Config is what a bus is given.
type Config struct {
	Dir         string        // of the server in this process
	Servers     []string      // of a cluster: nats://host:4222; none: the server in this process
	Credentials string        // file of this server's user there (nkey and JWT), or ""
	TLS         *tls.Config   // of the connection to a cluster; nil: as the addresses say
	Replicas    int           // nodes of a cluster that keep a batch; 0 is 3
	MaxBytes    int64         // that wait for the store; 0 is 1 GiB. Beyond, sensors keep what they have
	AckWait     time.Duration // after which another server has a message again; 0 is 30 s
	Store       *store.Store
	Name        string       // of this server, for the cluster's logs
	Log         *slog.Logger // nil: nothing is logged
}

const (
	shards       = 16
	maxPayload   = store.MaxBatchBytes + 1<<20
	startTime    = 10 * time.Second
	pullTime     = 5 * time.Second // after which a server that lost its node asks again
	tryMin       = 50 * time.Millisecond
	tryMax       = 5 * time.Second
	triesAside   = 12 // of writing a batch, while the store takes others: about half a minute
	asideBytes   = 64 << 20
	maxNews      = 1000
	decisionTime = 10 * time.Second
)

// A Bus is open until [Bus.Close]. Its methods may be called from several goroutines.
type Bus struct {
	cfg    Config
	parts  int // that a batch is taken apart into
	server *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

// Open starts the server in this process, or connects to a cluster, and makes the streams.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 30 * time.Second
	}
	b := &Bus{cfg: cfg, parts: shards}
	if err := b.open(ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("the bus: %w", err)
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context) (err error) {
	ctx, stop := context.WithTimeout(ctx, startTime)
	defer stop()
	options := []nats.Option{
		nats.Name("myelin " + b.cfg.Name), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.cfg.Log.Warn("bus", "err", err) }),
	}
	address := strings.Join(b.cfg.Servers, ",")
	replicas := 1
	if len(b.cfg.Servers) == 0 {
		if err := b.embed(); err != nil {
			return err
		}
		b.parts = 1
		options = append(options, nats.InProcessServer(b.server))
	} else {
		if replicas = b.cfg.Replicas; replicas == 0 {
			replicas = 3
		}
		if b.cfg.Credentials != "" {
			options = append(options, nats.UserCredentials(b.cfg.Credentials))
		}
		if b.cfg.TLS != nil {
			options = append(options, nats.Secure(b.cfg.TLS))
		}
	}
	if b.nc, err = nats.Connect(address, options...); err != nil {
		return err
	}
	if n := b.nc.MaxPayload(); n < maxPayload {
		return fmt.Errorf("a message has at most %d bytes there; set max_payload to %d", n, maxPayload)
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		return err
	}
	for _, s := range []jetstream.StreamConfig{
		{Name: "obs", Subjects: []string{"obs.*"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: b.cfg.MaxBytes},
		{Name: "aside", Subjects: []string{"aside.*"}, Discard: jetstream.DiscardOld, MaxBytes: asideBytes},
	} {
		s.Storage, s.Replicas = jetstream.FileStorage, replicas
		for {
			one, stop := context.WithTimeout(ctx, startTime/5)
			_, err := b.js.CreateOrUpdateStream(one, s)
			stop()
			if err == nil {
				break
			}
			if !starting(err) || ctx.Err() != nil {
				return fmt.Errorf("stream %s: %w", s.Name, err)
			}
			wait(ctx, 100*time.Millisecond)
		}
	}
	return nil
}

// starting says whether a stream cannot be made because the cluster has only just begun:
// without a leader it does not answer, or says so, and a leader that has not heard from
// its peers yet knows of no room on them.
func starting(err error) bool {
	var answer *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &answer) &&
		(answer.ErrorCode == jetstream.ErrorCode(server.JSClusterNoPeersErrF) || answer.ErrorCode == jetstream.ErrorCode(server.JSClusterNotAvailErr))
}

// embed starts a server in this process.
func (b *Bus) embed() error {
	dir, err := filepath.Abs(b.cfg.Dir)
	if err != nil {
		return err
	}
	b.server, err = server.NewServer(&server.Options{
		ServerName: "myelin", DontListen: true, NoSigs: true, NoLog: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: b.cfg.MaxBytes + asideBytes + 1<<20,
	})
	if err != nil {
		return err
	}
	b.server.Start()
	if !b.server.ReadyForConnections(startTime) {
		return errors.New("it does not start")
	}
	return nil
}

// Close ends the connection and the server in this process. [Bus.Run] has to have ended.
func (b *Bus) Close() {
	if b.nc != nil {
		b.nc.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// Ready says why nothing can be put on the bus now, or nil.
func (b *Bus) Ready() error {
	if !b.nc.IsConnected() {
		return errors.New("the bus is not connected")
	}
	return nil
}

// Waiting is how many messages wait for the store.
func (b *Bus) Waiting(ctx context.Context) (uint64, error) {
	s, err := b.js.Stream(ctx, "obs")
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.Msgs, nil
}

// Put puts a batch on the bus. When it returns without an error, the batch is durable.
// After an error the same batch can be put again: the store takes each part once.
func (b *Bus) Put(ctx context.Context, batch *store.Batch) error {
	var futures []jetstream.PubAckFuture
	for _, part := range split(batch, b.parts) {
		data, err := part.Encode()
		if err != nil {
			return err
		}
		if len(data) > store.MaxBatchBytes {
			return fmt.Errorf("%w: %d bytes", store.ErrBatch, len(data))
		}
		f, err := b.js.PublishAsync(fmt.Sprintf("obs.%d", part.Part), data)
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// shard is the part of a batch that something belongs to.
func shard(id string, parts int) int {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % uint32(parts))
}

// split takes a batch apart by device. What is of the sensor itself stays together, as
// do the events of a guard, whose order counts. The same batch is always taken apart
// in the same way.
func split(b *store.Batch, parts int) []*store.Batch {
	if parts == 1 {
		one := *b
		one.Part = 0
		return []*store.Batch{&one}
	}
	all := make([]*store.Batch, parts)
	of := func(id string) *store.Batch {
		i := shard(id, parts)
		if all[i] == nil {
			all[i] = &store.Batch{Sensor: b.Sensor, Sequence: b.Sequence, Part: i, Sent: b.Sent}
		}
		return all[i]
	}
	for _, o := range b.Observations {
		p := of(o.Client.Value)
		p.Observations = append(p.Observations, o)
	}
	for _, d := range b.Devices {
		p := of(d.ID)
		p.Devices = append(p.Devices, d)
	}
	for _, f := range b.Findings {
		p := of(f.Device)
		p.Findings = append(p.Findings, f)
	}
	own := of(b.Sensor)
	own.Events, own.Held, own.HeldToo, own.State, own.StateNews, own.Beat = b.Events, b.Held, b.HeldToo, b.State, b.StateNews, b.Beat
	out := all[:0]
	for _, p := range all {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

// Run writes what comes into the store, until ctx ends.
func (b *Bus) Run(ctx context.Context) error {
	configs := make([]jetstream.ConsumerConfig, 0, shards)
	if b.server != nil {
		// What was under way when the process was killed does not have to be waited for:
		// nobody else has it, and the stream has all that was not acknowledged.
		if err := b.js.DeleteConsumer(ctx, "obs", "store"); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("the bus: %w", err)
		}
		configs = append(configs, jetstream.ConsumerConfig{Durable: "store"})
	} else {
		for i := range shards {
			configs = append(configs, jetstream.ConsumerConfig{Durable: fmt.Sprintf("store-%d", i), FilterSubject: fmt.Sprintf("obs.%d", i)})
		}
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, c := range configs {
		c.AckPolicy, c.AckWait, c.MaxAckPending = jetstream.AckExplicitPolicy, b.cfg.AckWait, 1
		all.Go(func() { b.consume(ctx, c) })
	}
	<-ctx.Done()
	return nil
}

// consume writes the messages of a consumer, one after the other.
func (b *Bus) consume(ctx context.Context, cfg jetstream.ConsumerConfig) {
	for pause := tryMin; ctx.Err() == nil; pause = min(2*pause, tryMax) {
		consumer, err := b.js.CreateOrUpdateConsumer(ctx, "obs", cfg)
		if err == nil {
			var it jetstream.MessagesContext
			if it, err = consumer.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(pullTime)); err == nil {
				stop := context.AfterFunc(ctx, it.Stop)
				for err == nil {
					var m jetstream.Msg
					if m, err = it.Next(); err == nil {
						b.write(ctx, m)
						pause = tryMin
					}
				}
				stop()
				it.Stop()
			}
		}
		if ctx.Err() == nil {
			b.cfg.Log.Warn("the bus gives nothing to write", "consumer", cfg.Durable, "err", err)
			wait(ctx, pause)
		}
	}
}

// write writes a message into the store and acknowledges it. It tries for as long
// as the store takes nothing at all.
func (b *Bus) write(ctx context.Context, m jetstream.Msg) {
	batch, err := store.DecodeBatch(m.Data())
	if err != nil {
		b.aside(ctx, m, err)
		return
	}
	tries := 0
	for pause, told := tryMin, time.Now(); ctx.Err() == nil; pause = min(2*pause, tryMax) {
		w, err := b.cfg.Store.Write(ctx, batch)
		if err == nil {
			if err := m.Ack(); err != nil {
				b.cfg.Log.Warn("what was written is not acknowledged, and comes again", "err", err)
			}
			if w.Fresh {
				b.Tell(newsOf(w))
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, store.ErrNotFound) { // a sensor that was revoked
			b.aside(ctx, m, err)
			return
		}
		b.cfg.Log.Error("a batch could not be written, and is tried again", "sensor", batch.Sensor, "sequence", batch.Sequence, "err", err)
		if _, err := b.cfg.Store.Lease(ctx, "bus", b.cfg.Name, time.Second); err == nil { // it takes other things
			if tries++; tries >= triesAside {
				b.aside(ctx, m, fmt.Errorf("it was tried %d times", tries))
				return
			}
		}
		if time.Since(told) > b.cfg.AckWait/3 {
			m.InProgress()
			told = time.Now()
		}
		wait(ctx, pause)
	}
}

// aside keeps a message that the store does not take, and lets those behind it pass.
func (b *Bus) aside(ctx context.Context, m jetstream.Msg, why error) {
	b.cfg.Log.Error("a batch is set aside: the store does not take it", "subject", m.Subject(), "err", why)
	if _, err := b.js.Publish(ctx, strings.Replace(m.Subject(), "obs.", "aside.", 1), m.Data()); err != nil {
		b.cfg.Log.Error("it could not be set aside, and comes again", "err", err)
		return
	}
	m.Ack()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// News are what changed in the store, for pages that show it. Numbers and ids alone
// travel: who may see what stands behind them, is asked where it is shown.
type News struct {
	Findings []string `json:",omitempty"` // ids, at most 1,000
	Devices  []string `json:",omitempty"`
	Verdicts []int64  `json:",omitempty"` // their numbers
	Held     bool     `json:",omitempty"`
	More     bool     `json:",omitempty"` // there are more than are named
}

func newsOf(w *store.Written) *News {
	n := &News{Findings: w.Findings, Devices: w.Devices, Held: w.Held}
	for i := range w.Verdicts {
		n.Verdicts = append(n.Verdicts, w.Verdicts[i].Seq)
	}
	return n
}

// Tell tells all servers, this one too, what changed. Who does not listen now, or is
// slow, does not hear it.
func (b *Bus) Tell(n *News) {
	short := *n
	short.Findings, short.Devices, short.Verdicts = first(n.Findings, &short), first(n.Devices, &short), first(n.Verdicts, &short)
	if len(short.Findings)+len(short.Devices)+len(short.Verdicts) == 0 && !short.Held {
		return
	}
	data, err := json.Marshal(&short)
	if err == nil {
		err = b.nc.Publish("live", data)
	}
	if err != nil {
		b.cfg.Log.Warn("news are lost", "err", err)
	}
}

func first[T any](list []T, n *News) []T {
	if len(list) > maxNews {
		n.More = true
		return list[:maxNews]
	}
	return list
}

// Listen calls f, one call at a time, with what changed anywhere, until stop is called.
func (b *Bus) Listen(f func(*News)) (stop func(), err error) {
	s, err := b.nc.Subscribe("live", func(m *nats.Msg) {
		var n News
		if err := json.Unmarshal(m.Data, &n); err == nil {
			f(&n)
		}
	})
	if err != nil {
		return nil, err
	}
	return func() { s.Unsubscribe() }, nil
}

// A Decision is what a clinician decided on a command that a guard holds, or said of a
// dose in doubt.
type Decision struct {
	ID     string `json:"id"`    // store.Held's, or of the doubt
	Asked  int64  `json:"asked"` // store.Held's, or since when it is doubted: numbers may begin anew
	What   string `json:"what"`  // "confirm", "refuse"; "given", "not-given" of a dose in doubt
	By     string `json:"by"`    // login
	Role   string `json:"role"`  // "prescriber", "pharmacist", "nurse"
	Reason string `json:"reason,omitempty"`
}

// What comes of a [Decision].
var (
	ErrAway   = errors.New("the guard does not listen to this server now; its own page does")
	ErrSilent = errors.New("the guard has not answered: it may have done so or not; what it holds and its verdicts will tell")
)

// A Refusal is what a guard answers that does not do what was decided.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Decide asks a guard to do what a clinician decided, and returns when it has. Errors
// are [ErrAway], [ErrSilent] and [*Refusal].
func (b *Bus) Decide(ctx context.Context, guard string, d *Decision) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, decisionTime)
	defer stop()
	m, err := b.nc.RequestWithContext(ctx, "guard."+guard+".do", data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrAway
	case err != nil:
		return ErrSilent
	case len(m.Data) > 0:
		return &Refusal{string(m.Data)}
	}
	return nil
}

// Hear calls f with each decision for a guard, until stop is called. f answers later,
// once: "" is done, else why it was not.
func (b *Bus) Hear(guard string, f func(d *Decision, answer func(why string))) (stop func(), err error) {
	s, err := b.nc.Subscribe("guard."+guard+".do", func(m *nats.Msg) {
		var d Decision
		if err := json.Unmarshal(m.Data, &d); err != nil {
			m.Respond([]byte("the decision is not understood"))
			return
		}
		f(&d, func(why string) { m.Respond([]byte(why)) })
	})
	if err != nil {
		return nil, err
	}
	if err := b.nc.Flush(); err != nil { // from now on somebody hears it
		s.Unsubscribe()
		return nil, err
	}
	return func() { s.Unsubscribe() }, nil
}
