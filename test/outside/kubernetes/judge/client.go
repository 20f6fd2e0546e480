package judge

import (
	"context"
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

// client is the part of etcd's client that the store uses, on a bucket.
type client struct {
	bucket
	// reads counts the reads of keys.
	reads atomic.Uint64
}

var _ kubernetes.Interface = (*client)(nil)

// forStore returns etcd's client with this one in place of its connection. What the store does not use is nil.
func (c *client) forStore(ctx context.Context) *kubernetes.Client {
	whole := clientv3.NewCtxClient(ctx)
	whole.KV = rangeReader{client: c}
	whole.Watcher = watcher{client: c}
	whole.Lease = leases{client: c}
	return &kubernetes.Client{Client: whole, Kubernetes: c}
}

func (c *client) Get(ctx context.Context, key string, opts kubernetes.GetOptions) (kubernetes.GetResponse, error) {
	c.reads.Add(1)
	found, revision, err := c.get(ctx, key, opts.Revision)
	return kubernetes.GetResponse{KV: found, Revision: revision}, err
}

func (c *client) List(ctx context.Context, prefix string, opts kubernetes.ListOptions) (kubernetes.ListResponse, error) {
	c.reads.Add(1)
	from := prefix
	if opts.Continue != "" {
		from = opts.Continue
	}
	listed, err := c.list(ctx, from, clientv3.GetPrefixRangeEnd(prefix), opts.Revision, opts.Limit)
	return kubernetes.ListResponse{Kvs: listed.found, Count: listed.count, Revision: listed.revision}, err
}

func (c *client) Count(ctx context.Context, prefix string, _ kubernetes.CountOptions) (int64, error) {
	listed, err := c.list(ctx, prefix, clientv3.GetPrefixRangeEnd(prefix), 0, 1)
	return listed.count, err
}

func (c *client) OptimisticPut(
	ctx context.Context, key string, value []byte, expected int64, opts kubernetes.PutOptions,
) (kubernetes.PutResponse, error) {
	put := &stored{Value: string(value), Lease: int64(opts.LeaseID)}
	revision, err := c.write(ctx, key, expected, put)
	if err != nil || revision != 0 {
		return kubernetes.PutResponse{Succeeded: revision != 0, Revision: revision}, err
	}
	found, revision, err := c.get(ctx, key, 0)
	return kubernetes.PutResponse{KV: found, Revision: revision}, err
}

func (c *client) OptimisticDelete(
	ctx context.Context, key string, expected int64, _ kubernetes.DeleteOptions,
) (kubernetes.DeleteResponse, error) {
	revision, err := c.write(ctx, key, expected, nil)
	if err != nil || revision != 0 {
		return kubernetes.DeleteResponse{Succeeded: revision != 0, Revision: revision}, err
	}
	found, revision, err := c.get(ctx, key, 0)
	return kubernetes.DeleteResponse{KV: found, Revision: revision}, err
}

// rangeReader reads the keys with which a watch begins. It returns all of them at once.
type rangeReader struct {
	clientv3.KV
	client *client
}

func (r rangeReader) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	from, to, _ := rangeOf(key, opts)
	initial, err := r.client.follow(ctx, from, to)
	return &clientv3.GetResponse{
		Header: &pb.ResponseHeader{Revision: initial.revision},
		Kvs:    initial.found,
		Count:  initial.count,
	}, err
}

// rangeOf returns the first key, and the key behind the last one, of an operation.
func rangeOf(key string, opts []clientv3.OpOption) (from, to string, op clientv3.Op) {
	op = clientv3.OpGet(key, opts...)
	if end := op.RangeBytes(); len(end) > 0 {
		return key, string(end), op
	}
	return key, key + "\x00", op
}

// leases are times to live. A bucket has one rule of expiry, so it has only one time to live at a time.
type leases struct {
	clientv3.Lease
	client *client
}

func (l leases) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	rule := map[string]any{
		"when":  map[string]any{"lease": fmt.Sprint(ttl)},
		"after": fmt.Sprintf("PT%dS", ttl),
	}
	err := l.client.configure(ctx, map[string]any{"expire": map[string]any{l.client.name: rule}})
	return &clientv3.LeaseGrantResponse{ID: clientv3.LeaseID(ttl), TTL: ttl}, err
}
