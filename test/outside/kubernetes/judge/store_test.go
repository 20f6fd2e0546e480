package judge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
)

const valuePrefix = "test!"

var (
	scheme = runtime.NewScheme()
	codec  = apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion)
)

func init() {
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
}

func newPod() runtime.Object     { return &example.Pod{} }
func newPodList() runtime.Object { return &example.PodList{} }

// store is Kubernetes' store in a bucket of its own. Tests exchange its transformer.
type store struct {
	storage.Interface
	client      *client
	transformer *exchangeable
}

var (
	_       storagetesting.InterfaceWithPrefixTransformer   = (*store)(nil)
	_       storagetesting.InterfaceWithTransformerOverride = (*store)(nil)
	buckets atomic.Int64
)

func newStore(t *testing.T) *store {
	name := fmt.Sprintf("test-%d-%d", os.Getpid(), buckets.Add(1))
	made := &store{client: &client{bucket: bucket{url: os.Getenv("CAIRN_URL"), name: name}}}
	made.transformer = &exchangeable{}
	made.transformer.exchange(storagetesting.NewPrefixTransformer([]byte(valuePrefix), false))
	leaseConfig := etcd3.NewDefaultLeaseManagerConfig()
	leaseConfig.ReuseDurationSeconds = 1
	versioner := storage.APIObjectVersioner{}
	kept, err := etcd3.New(
		made.client.forStore(t.Context()), nil, codec,
		newPod, newPodList, "", "/pods/", schema.GroupResource{Resource: "pods"},
		made.transformer, leaseConfig, etcd3.NewDefaultDecoder(codec, versioner), versioner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kept.Close)
	made.Interface = kept
	return made
}

func (s *store) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	copied := *s.transformer.now().(*storagetesting.PrefixTransformer)
	return s.transformer.exchange(modify(&copied))
}

func (s *store) UpdateTransformer(modify storagetesting.TransformerModifier) func() {
	return s.transformer.exchange(modify(s.transformer.now()))
}

// setFailing makes the transformer fail, or undoes that.
func (s *store) setFailing() func(bool) {
	working := s.transformer.now()
	return func(isFailing bool) {
		s.transformer.exchange(working)
		if isFailing {
			s.transformer.exchange(failing{working})
		}
	}
}

// checkStored checks the document of a key.
func (s *store) checkStored(ctx context.Context, t *testing.T, key string) {
	found, _, err := s.client.get(ctx, key, 0)
	if err != nil || found == nil {
		t.Fatalf("there is no document for %s: %v", key, err)
	}
	decoded, err := runtime.Decode(codec, found.Value[len(valuePrefix):])
	if err != nil {
		t.Fatalf("%s is %s: %v", key, found.Value, err)
	}
	if pod := decoded.(*example.Pod); pod.ResourceVersion != "" || pod.SelfLink != "" {
		t.Errorf("the stored object has a version or a link: %s", found.Value)
	}
}

// checkReads checks that a list reads each object once, and doubles the size of its pages.
func (s *store) checkReads(t *testing.T, pageSize, objects uint64) {
	prefixed := s.transformer.now().(*storagetesting.PrefixTransformer)
	if transformed := prefixed.GetReadsAndReset(); transformed != objects {
		t.Errorf("%d objects were read instead of %d", transformed, objects)
	}
	expected := uint64(1)
	for sum := uint64(1); pageSize != 0 && sum < objects; expected++ {
		pageSize = min(pageSize*2, 10_000)
		sum += pageSize
	}
	if reads := s.client.reads.Swap(0); reads != expected {
		t.Errorf("there were %d reads instead of %d", reads, expected)
	}
}

func (s *store) increaseRevision(ctx context.Context, t *testing.T) int64 {
	revision, err := s.client.submit(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// boundHistory sets a policy that bounds history, which is one transaction.
func (s *store) boundHistory(ctx context.Context, t *testing.T, _ string) {
	bound := map[string]any{s.client.name: map[string]any{"keep": 0}}
	if err := s.client.configure(ctx, map[string]any{"history": bound}); err != nil {
		t.Fatal(err)
	}
}

// compact bounds history, and submits transactions until what was before a revision is gone, if a list needs it. The
// versions that the last 1,000 transactions superseded are kept.
func (s *store) compact(ctx context.Context, t *testing.T, resourceVersion string) {
	s.boundHistory(ctx, t, resourceVersion)
	revision, err := s.Versioner().ParseResourceVersion(resourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	for submitted, step := 0, 256; submitted < 2048 && err == nil; submitted += step {
		if _, err := s.client.submit(ctx, step); err != nil {
			t.Fatal(err)
		}
		_, err = s.client.list(ctx, "/pods/", "/pods0", int64(revision)-1, 0)
	}
}

// passTime lets the clock of the log advance: documents expire with transactions.
func (s *store) passTime(t *testing.T) {
	go func() {
		for ctx := t.Context(); ctx.Err() == nil; {
			_, _ = s.client.submit(ctx, 1)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
}

// keys returns all keys of the store, by which it estimates sizes.
func (s *store) keys(ctx context.Context) ([]string, error) {
	listed, err := s.client.list(ctx, "/pods/", "/pods0", 0, 0)
	names := make([]string, len(listed.found))
	for i, one := range listed.found {
		names[i] = string(one.Key)
	}
	return names, err
}

// exchangeable is a transformer that can be exchanged while a store uses it.
type exchangeable struct {
	current atomic.Pointer[value.Transformer]
}

func (e *exchangeable) now() value.Transformer { return *e.current.Load() }

// exchange returns a function that undoes the exchange.
func (e *exchangeable) exchange(next value.Transformer) func() {
	before := e.current.Swap(&next)
	return func() { e.current.Store(before) }
}

func (e *exchangeable) TransformFromStorage(ctx context.Context, data []byte, about value.Context) ([]byte, bool, error) {
	return e.now().TransformFromStorage(ctx, data, about)
}

func (e *exchangeable) TransformToStorage(ctx context.Context, data []byte, about value.Context) ([]byte, error) {
	return e.now().TransformToStorage(ctx, data, about)
}

// failing is a transformer that cannot read anything.
type failing struct{ value.Transformer }

func (failing) TransformFromStorage(context.Context, []byte, value.Context) ([]byte, bool, error) {
	return nil, false, errors.New("the data cannot be read")
}

// corruption returns the error with which Kubernetes reports an object that cannot be read.
func corruption() error {
	_, _, err := etcd3.WithCorruptObjErrorHandlingTransformer(failing{}).TransformFromStorage(nil, nil, nil)
	return err
}
