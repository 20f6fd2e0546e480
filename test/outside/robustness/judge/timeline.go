package main

import (
	"math"
	"sort"

	"go.etcd.io/etcd/tests/v3/robustness/model"
)

// A timeline maps transactions to the revisions of etcd's model, which begins at 1 and counts only transactions that
// change something in the bucket. The model itself decides, from the messages of the log, which ones these are.
type timeline struct {
	requests []model.EtcdRequest
	replay   *model.EtcdReplay
	lastTxID int64
	// The revision after each message, in the order of the log.
	after []point
	// The revision that a transaction wrote.
	written map[int64]int64
	// The first transaction with the idempotency id of a later one.
	firstOf map[int64]int64
	// The transaction that puts a value. Every put has a different one.
	ofValue map[string]int64
}

type point struct{ txID, revision int64 }

func newTimeline(h history) *timeline {
	t := &timeline{
		lastTxID: h.LastTxID,
		written:  map[int64]int64{},
		firstOf:  map[int64]int64{},
		ofValue:  map[string]int64{},
	}
	ofID := map[string]int64{}
	state := model.DeterministicModel(keysOf(h.Messages)).Init().(model.EtcdState)
	for _, m := range h.Messages {
		if first, isRepeated := ofID[m.ID]; isRepeated {
			t.firstOf[m.TxID] = first
			continue
		}
		if m.ID != "" {
			ofID[m.ID] = m.TxID
		}
		for _, s := range m.Steps {
			if s.Op == "put" {
				t.ofValue[s.Value] = m.TxID
			}
		}
		request := t.request(m.Steps)
		next, _ := state.Step(request)
		if next.Revision != state.Revision {
			t.written[m.TxID] = next.Revision
		}
		t.after = append(t.after, point{m.TxID, next.Revision})
		t.requests = append(t.requests, request)
		state = next
	}
	t.replay = model.NewReplay(t.requests)
	return t
}

func keysOf(messages []message) []string {
	isKey := map[string]bool{}
	keys := []string{}
	for _, m := range messages {
		for _, s := range m.Steps {
			if key := modelKey(s.Key); !isKey[key] {
				isKey[key] = true
				keys = append(keys, key)
			}
		}
	}
	sort.Strings(keys)
	return keys
}

// All keys of the model have the prefix /, so that the whole bucket is a range of it.
func modelKey(key string) string {
	return "/" + key
}

func (t *timeline) request(steps []step) model.EtcdRequest {
	txn := &model.TxnRequest{}
	for _, s := range steps {
		key := modelKey(s.Key)
		switch s.Op {
		case "match":
			condition := model.EtcdCondition{Key: key}
			if s.Revision != nil {
				condition.ExpectedRevision = t.revisionWritten(*s.Revision)
			}
			txn.Conditions = append(txn.Conditions, condition)
		case "put":
			put := model.PutOptions{Key: key, Value: model.ToValueOrHash(s.Value)}
			txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, model.EtcdOperation{Type: model.PutOperation, Put: put})
		case "delete":
			deletion := model.DeleteOptions{Key: key}
			txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, model.EtcdOperation{Type: model.DeleteOperation, Delete: deletion})
		default:
			panic("there is no operation " + s.Op)
		}
	}
	return model.EtcdRequest{Type: model.Txn, Txn: txn}
}

// The revision that a transaction wrote, or one that no state has if it wrote nothing.
func (t *timeline) revisionWritten(txID int64) int64 {
	if revision, isWritten := t.written[txID]; isWritten {
		return revision
	}
	return math.MaxInt32
}

// The transaction or, if it repeats another one, that one.
func (t *timeline) first(txID int64) int64 {
	if first, isRepeated := t.firstOf[txID]; isRepeated {
		return first
	}
	return txID
}

// The revision after a transaction. One that the log does not have is after all others.
func (t *timeline) revisionAfter(txID int64) int64 {
	if txID > t.lastTxID {
		return t.last() + 1
	}
	n := sort.Search(len(t.after), func(n int) bool { return t.after[n].txID > txID })
	if n == 0 {
		return 1
	}
	return t.after[n-1].revision
}

func (t *timeline) last() int64 {
	if len(t.after) == 0 {
		return 1
	}
	return t.after[len(t.after)-1].revision
}

// Whether a key had a value before a transaction. The response to a transaction does not tell whether it deleted one.
func (t *timeline) existedBefore(txID int64, key string) bool {
	return t.valueAt(key, t.revisionAfter(txID-1)) != nil
}

// The value of a key at a revision; nil if there is none.
func (t *timeline) valueAt(key string, revision int64) *model.ValueRevision {
	state, err := t.replay.StateForRevision(revision)
	if err != nil {
		return nil
	}
	value, _ := state.GetValue(key)
	return value
}

// A document as etcd would return it. Cairn does not count the versions of a key, so that the log's count is taken.
func (t *timeline) valueRevision(key, value string, txID int64) model.ValueRevision {
	found := model.ValueRevision{Value: model.ToValueOrHash(value), ModRevision: t.revisionWritten(txID)}
	if logged := t.valueAt(key, found.ModRevision); logged != nil {
		found.Version = logged.Version
	}
	return found
}
