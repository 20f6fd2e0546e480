package judge

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watcher watches keys with GET /api/v1/watch.
type watcher struct {
	client *client
}

var _ clientv3.Watcher = watcher{}

// RequestProgress needs to do nothing, because heartbeats are frequent.
func (watcher) RequestProgress(context.Context) error { return nil }

func (watcher) Close() error { return nil }

// heartbeat is the time between notifications of progress.
const heartbeat = "PT0.1S"

// event is an event of GET /api/v1/watch or /api/v1/follow.
type event struct {
	kind     string
	TxID     int64    `json:"txId"`
	Ahead    bool     `json:"ahead"`
	Complete bool     `json:"complete"`
	Changes  []change `json:"changes"`
}

type change struct {
	document
	Op string `json:"op"`
}

// Watch sends the changes of a range of keys from a revision on.
func (w watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	responses := make(chan clientv3.WatchResponse)
	go func() {
		defer close(responses)
		send := func(response clientv3.WatchResponse) error {
			select {
			case responses <- response:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		switch err := w.run(ctx, key, opts, send); {
		case ctx.Err() != nil:
			// A canceled watch ends without an error.
		case err == rpctypes.ErrCompacted || isGone(err):
			// The store needs only some revision.
			_ = send(clientv3.WatchResponse{Canceled: true, CompactRevision: 1})
		case err != nil:
			_ = send(clientv3.WatchResponse{Canceled: true, CancelReason: err.Error()})
		}
	}()
	return responses
}

func (w watcher) run(
	ctx context.Context, key string, opts []clientv3.OpOption, send func(clientv3.WatchResponse) error,
) error {
	from, to, op := rangeOf(key, opts)
	begin, err := w.beginning(ctx, key, op.Rev())
	if err != nil {
		return err
	}
	query := url.Values{"bucket": {w.client.name}, "namespace": {namespace}, "from": {begin}, "heartbeat": {heartbeat}}
	response, err := w.client.send(ctx, http.MethodGet, "/api/v1/watch?"+query.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	stream := bufio.NewReader(response.Body)
	for {
		next, err := readEvent(stream)
		if err != nil || next.kind == "cutoff" {
			return err
		}
		events, err := w.events(ctx, next, from, to, op.Rev())
		if err != nil {
			return err
		}
		isProgress := next.kind == "heartbeat" && op.IsProgressNotify() && !next.Ahead
		if len(events) == 0 && !isProgress {
			continue
		}
		header := &pb.ResponseHeader{Revision: next.TxID}
		if err := send(clientv3.WatchResponse{Header: header, Events: events}); err != nil {
			return err
		}
	}
}

// beginning returns the position from which a watch sends changes from a revision on (0: from now on), and those
// between that and now if the revision is in the future.
func (w watcher) beginning(ctx context.Context, key string, revision int64) (string, error) {
	now, err := w.client.list(ctx, key, key+"\x00", 0, 0)
	if err != nil || revision == 0 || revision-1 >= now.revision {
		return now.position, err
	}
	return w.client.position(ctx, revision-1)
}

// follow returns the documents with which GET /api/v1/follow begins, once they are exactly those of a revision.
func (b bucket) follow(ctx context.Context, from, to string) (keys, error) {
	query := url.Values{"bucket": {b.name}, "namespace": {namespace}}
	response, err := b.send(ctx, http.MethodGet, "/api/v1/follow?"+query.Encode(), nil, nil)
	if err != nil {
		return keys{}, err
	}
	defer response.Body.Close()
	stream := bufio.NewReader(response.Body)
	found := map[string]*mvccpb.KeyValue{}
	for {
		next, err := readEvent(stream)
		if err != nil {
			return keys{}, err
		}
		for _, change := range next.Changes {
			key := "/" + change.Name
			switch {
			case change.Op == "clear":
				clear(found)
			case change.Op == "delete":
				delete(found, key)
			case key >= from && key < to:
				found[key] = change.keyValue()
			}
		}
		if !next.Complete {
			continue
		}
		initial := keys{revision: next.TxID, count: int64(len(found))}
		for _, key := range slices.Sorted(maps.Keys(found)) {
			initial.found = append(initial.found, found[key])
		}
		return initial, nil
	}
}

// readEvent reads a server-sent event.
func readEvent(stream *bufio.Reader) (event, error) {
	next := event{}
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			return next, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			next.kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &next); err != nil {
				return next, err
			}
		case "":
			return next, nil
		}
	}
}

// events returns the changes of keys in a range. Unlike etcd, Cairn does not send what was there before.
func (w watcher) events(ctx context.Context, next event, from, to string, begin int64) ([]*clientv3.Event, error) {
	events := []*clientv3.Event{}
	for _, change := range next.Changes {
		key := "/" + change.Name
		if key < from || key >= to || change.Revision < begin {
			continue
		}
		made := &clientv3.Event{Type: mvccpb.PUT, Kv: change.keyValue()}
		before, _, err := w.client.get(ctx, key, change.Revision-1)
		if err != nil {
			return nil, err
		}
		made.PrevKv = before
		if before != nil {
			made.Kv.CreateRevision = before.ModRevision
		}
		if change.Op == "delete" {
			made.Type = mvccpb.DELETE
			made.Kv.Value = nil
		}
		events = append(events, made)
	}
	return events, nil
}
