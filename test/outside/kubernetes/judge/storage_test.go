package judge

import (
	"context"
	"os"
	"reflect"
	goruntime "runtime"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

// plain are the tests that need nothing but a store.
var plain = []func(context.Context, *testing.T, storage.Interface){
	storagetesting.RunSendInitialEventsBackwardCompatibility,
	storagetesting.RunTestClusterScopedWatch,
	storagetesting.RunTestConditionalDelete,
	storagetesting.RunTestCreateWithKeyExist,
	storagetesting.RunTestDelayedWatchDelivery,
	storagetesting.RunTestDeleteTriggerWatch,
	storagetesting.RunTestDeleteWithConflict,
	storagetesting.RunTestDeleteWithSuggestion,
	storagetesting.RunTestDeleteWithSuggestionAndConflict,
	storagetesting.RunTestDeleteWithSuggestionOfDeletedObject,
	storagetesting.RunTestGet,
	storagetesting.RunTestGetListRecursivePrefix,
	storagetesting.RunTestGuaranteedUpdateWithConflict,
	storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict,
	storagetesting.RunTestKeySchema,
	storagetesting.RunTestListPaging,
	storagetesting.RunTestNamespaceScopedList,
	storagetesting.RunTestNamespaceScopedWatch,
	storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass,
	storagetesting.RunTestPreconditionalDeleteWithSuggestion,
	storagetesting.RunTestUnconditionalDelete,
	storagetesting.RunTestValidateDeletionWithOnlySuggestionValid,
	storagetesting.RunTestValidateDeletionWithSuggestion,
	storagetesting.RunTestWatch,
	storagetesting.RunTestWatchContextCancel,
	storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV,
	storagetesting.RunTestWatchFromNonZero,
	storagetesting.RunTestWatchInitializationSignal,
	storagetesting.RunTestWatcherTimeout,
	storagetesting.RunWatchListMatchSingle,
	storagetesting.RunWatchSemanticInitialEventsExtended,
	storagetesting.RunWatchSemantics,
}

// transforming are the tests that exchange the transformer of a store.
var transforming = []func(context.Context, *testing.T, storagetesting.InterfaceWithPrefixTransformer){
	storagetesting.RunTestGuaranteedUpdateChecksStoredData,
	storagetesting.RunTestListResourceVersionMatch,
	storagetesting.RunTestTransformationFailure,
	storagetesting.RunTestWatchError,
	storagetesting.RunWatchErrorIsBlockingFurtherEvents,
}

// special is a test with other parameters.
type special struct {
	test any
	run  func(ctx context.Context, t *testing.T, s *store)
}

var specials = []special{
	{storagetesting.RunTestCreate, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestCreate(ctx, t, s, s.checkStored)
	}},
	{storagetesting.RunTestGuaranteedUpdate, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestGuaranteedUpdate(ctx, t, s, s.checkStored)
	}},
	{storagetesting.RunTestCreateWithTTL, func(ctx context.Context, t *testing.T, s *store) {
		s.passTime(t)
		storagetesting.RunTestCreateWithTTL(ctx, t, s)
	}},
	{storagetesting.RunTestGuaranteedUpdateWithTTL, func(ctx context.Context, t *testing.T, s *store) {
		s.passTime(t)
		storagetesting.RunTestGuaranteedUpdateWithTTL(ctx, t, s)
	}},
	{storagetesting.RunTestList, func(ctx context.Context, t *testing.T, s *store) {
		// The test expects that the compaction is one revision.
		storagetesting.RunTestList(ctx, t, s, s.boundHistory, false, nil)
	}},
	{storagetesting.RunTestConsistentList, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestConsistentList(ctx, t, s, s.increaseRevision, false, true, false)
	}},
	{storagetesting.RunTestGetListNonRecursive, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestGetListNonRecursive(ctx, t, s.increaseRevision, s)
	}},
	{storagetesting.RunTestListContinuation, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestListContinuation(ctx, t, s, s.checkReads)
	}},
	{storagetesting.RunTestListContinuationWithFilter, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestListContinuationWithFilter(ctx, t, s, s.checkReads)
	}},
	{storagetesting.RunTestListPaginationRareObject, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestListPaginationRareObject(ctx, t, s, s.checkReads)
	}},
	{storagetesting.RunTestListInconsistentContinuation, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestListInconsistentContinuation(ctx, t, s, s.compact)
	}},
	{storagetesting.RunTestCompactRevision, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestCompactRevision(ctx, t, s, s.increaseRevision, s.compact)
	}},
	{storagetesting.RunTestWatchFromZero, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestWatchFromZero(ctx, t, s, s.compact)
	}},
	{storagetesting.RunOptionalTestProgressNotify, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunOptionalTestProgressNotify(ctx, t, s, s.increaseRevision)
	}},
	{storagetesting.RunTestWatchDispatchBookmarkEvents, func(ctx context.Context, t *testing.T, s *store) {
		// The store leaves bookmarks to the cache above it.
		storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, s, false)
	}},
	{storagetesting.RunTestStats, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestStats(ctx, t, s, codec, s.transformer, false)
		sized := newStore(t)
		if err := sized.EnableResourceSizeEstimation(sized.keys); err != nil {
			t.Fatal(err)
		}
		storagetesting.RunTestStats(ctx, t, sized, codec, sized.transformer, true)
	}},
	{storagetesting.RunTestGetListWithoutErrorAggregation, func(ctx context.Context, t *testing.T, _ *store) {
		gate := utilfeature.DefaultFeatureGate
		featuregatetesting.SetFeatureGateDuringTest(t, gate, features.AllowUnsafeMalformedObjectDeletion, false)
		storagetesting.RunTestGetListWithoutErrorAggregation(ctx, t, newStore(t), corruption())
	}},
	{storagetesting.RunTestGetListWithErrorAggregation, func(ctx context.Context, t *testing.T, s *store) {
		resource := schema.GroupResource{Resource: "pods"}
		s.Interface = etcd3.NewStoreWithUnsafeCorruptObjectDeletion(s.Interface, resource)
		storagetesting.RunTestGetListWithErrorAggregation(ctx, t, s, corruption())
	}},
	{storagetesting.RunTestWatchWithUnsafeDelete, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestWatchWithUnsafeDelete(ctx, t, s, corruption())
	}},
	{storagetesting.RunTestDeleteExpectedTransformOrDecodeError, func(ctx context.Context, t *testing.T, s *store) {
		storagetesting.RunTestDeleteExpectedTransformOrDecodeError(ctx, t, s, s.setFailing())
	}},
	{
		storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError,
		func(ctx context.Context, t *testing.T, s *store) {
			storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError(ctx, t, s, s.setFailing())
		},
	},
	{
		storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError,
		func(ctx context.Context, t *testing.T, s *store) {
			storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(ctx, t, s)
		},
	},
}

// support is what the store may expect of its client: progress of watches on request, but no lists as streams.
type support struct {
	feature.FeatureSupportChecker
}

func (support) Supports(asked storage.Feature) bool { return asked == storage.RequestWatchProgress }

func TestMain(m *testing.M) {
	feature.DefaultFeatureSupportChecker = support{feature.DefaultFeatureSupportChecker}
	os.Exit(m.Run())
}

func TestStore(t *testing.T) {
	for _, test := range plain {
		t.Run(nameOfTest(test), func(t *testing.T) { test(t.Context(), t, newStore(t)) })
	}
	for _, test := range transforming {
		t.Run(nameOfTest(test), func(t *testing.T) { test(t.Context(), t, newStore(t)) })
	}
	for _, one := range specials {
		t.Run(nameOfTest(one.test), func(t *testing.T) { one.run(t.Context(), t, newStore(t)) })
	}
}

func nameOfTest(test any) string {
	path := goruntime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return path[strings.LastIndex(path, ".")+1:]
}
