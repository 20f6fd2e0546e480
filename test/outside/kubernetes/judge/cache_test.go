package judge

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// cached is Kubernetes' watch cache in front of a store: one watch feeds any number of lists and watches.
type cached struct {
	*cacher.CacheDelegator
	store *store
}

type keyFunc func(prefix string, object runtime.Object) (string, error)

func newCached(t *testing.T, keyOf keyFunc) *cached {
	below := newStore(t)
	made, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage:             below,
		Versioner:           below.Versioner(),
		GroupResource:       schema.GroupResource{Resource: "pods"},
		EventsHistoryWindow: cacher.DefaultEventFreshDuration,
		ResourcePrefix:      "/pods/",
		KeyFunc:             func(object runtime.Object) (string, error) { return keyOf("/pods/", object) },
		GetAttrsFunc:        attributesOf,
		NewFunc:             newPod,
		NewListFunc:         newPodList,
		IndexerFuncs: storage.IndexerFuncs{
			"spec.nodeName": func(object runtime.Object) string { return object.(*example.Pod).Spec.NodeName },
		},
		Indexers: &cache.Indexers{
			"f:spec.nodeName":      func(object any) ([]string, error) { return []string{object.(*example.Pod).Spec.NodeName}, nil },
			"f:metadata.namespace": func(object any) ([]string, error) { return []string{object.(*example.Pod).Namespace}, nil },
		},
		Codec: codec,
		Clock: clock.RealClock{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	delegator := cacher.NewCacheDelegator(made, below)
	t.Cleanup(func() {
		delegator.Stop()
		made.Stop()
	})
	return &cached{CacheDelegator: delegator, store: below}
}

// Create returns once the cache has reached the revision, as some tests expect.
func (c *cached) Create(ctx context.Context, key string, object, out runtime.Object, ttl uint64) error {
	if err := c.CacheDelegator.Create(ctx, key, object, out, ttl); err != nil || out == nil {
		return err
	}
	reached := storage.GetOptions{ResourceVersion: out.(*example.Pod).ResourceVersion, IgnoreNotFound: true}
	return c.Get(ctx, key, reached, newPod())
}

func attributesOf(object runtime.Object) (labels.Set, fields.Set, error) {
	pod := object.(*example.Pod)
	return pod.Labels, fields.Set{
		"metadata.name":      pod.Name,
		"metadata.namespace": pod.Namespace,
		"spec.nodeName":      pod.Spec.NodeName,
		"spec.restartPolicy": string(pod.Spec.RestartPolicy),
		"status.phase":       string(pod.Status.Phase),
	}, nil
}

// cachedSpecials are the tests with other parameters that concern what the cache adds.
var cachedSpecials = []struct {
	test any
	run  func(ctx context.Context, t *testing.T, c *cached)
}{
	{storagetesting.RunTestConsistentList, func(ctx context.Context, t *testing.T, c *cached) {
		storagetesting.RunTestConsistentList(ctx, t, c, c.store.increaseRevision, true, true, true)
	}},
	{storagetesting.RunTestGetListNonRecursive, func(ctx context.Context, t *testing.T, c *cached) {
		storagetesting.RunTestGetListNonRecursive(ctx, t, c.store.increaseRevision, c)
	}},
	{storagetesting.RunTestListContinuation, func(ctx context.Context, t *testing.T, c *cached) {
		storagetesting.RunTestListContinuation(ctx, t, c, nil)
	}},
	{storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion, func(ctx context.Context, t *testing.T, c *cached) {
		storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion(ctx, t, c)
	}},
	{storagetesting.RunTestWatchDispatchBookmarkEvents, func(ctx context.Context, t *testing.T, c *cached) {
		storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, c, true)
	}},
}

func TestCache(t *testing.T) {
	for _, test := range plain {
		name := nameOfTest(test)
		keyOf := keyFunc(storage.NamespaceKeyFunc)
		switch name {
		case "RunTestClusterScopedWatch":
			keyOf = storage.NoNamespaceKeyFunc
		case "RunTestWatchContextCancel":
			// Kubernetes does not run this one with its cache either.
			continue
		case "RunWatchSemantics":
			// It watches from revision 1, from which a cache has changes only if it is as old as the log.
			continue
		}
		t.Run(name, func(t *testing.T) { test(t.Context(), t, newCached(t, keyOf)) })
	}
	for _, one := range cachedSpecials {
		t.Run(nameOfTest(one.test), func(t *testing.T) { one.run(t.Context(), t, newCached(t, storage.NamespaceKeyFunc)) })
	}
}
