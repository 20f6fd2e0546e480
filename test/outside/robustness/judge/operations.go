package main

import (
	"math"

	"github.com/anishathalye/porcupine"
	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
)

// The client of all reads of the past.
const reader = math.MaxInt32

// The operations of all clients, in the order in which they began.
func (t *timeline) operations(h history) report.ClientReport {
	operations := []porcupine.Operation{}
	past := []porcupine.Operation{}
	unnamed := []int{}
	end := int64(0)
	for _, o := range h.Operations {
		end = max(end, o.Return)
		made := porcupine.Operation{ClientId: o.Client, Call: o.Call, Return: o.Return}
		switch {
		case o.Kind == "write":
			request := t.request(o.Steps)
			made.Input, made.Output = request, t.writeResponse(o, request)
		case o.Of == "linearizable":
			made.Input, made.Output = rangeRequest(o, 0), t.rangeResponse(o, t.revisionAfter(o.TxID))
			if o.TxID == 0 {
				unnamed = append(unnamed, len(operations))
			}
		default:
			response := t.rangeResponse(o, t.last())
			revision := t.revisionAfter(o.TxID)
			if o.Of == "current" && o.Key != "" {
				// It may be of a later state than that of the transaction that it names, but of none before.
				revision = t.earliest(modelKey(o.Key), response.Range.KVs, revision)
			}
			made.Input, made.Output = rangeRequest(o, revision), response
			past = append(past, made)
			continue
		}
		operations = append(operations, made)
	}
	t.nameRevisions(operations, unnamed)
	// A response of etcd also contains the newest revision. Cairn's does not if it is as of an earlier transaction.
	// Its content does not depend on when it is read, so that the end of the history, where the newest revision is
	// known, is a time as good as any.
	for n, made := range past {
		made.ClientId, made.Call, made.Return = reader, end+int64(2*n)+1, end+int64(2*n)+2
		operations = append(operations, made)
	}
	return report.ClientReport{KeyValue: operations}
}

func (t *timeline) writeResponse(o operation, request model.EtcdRequest) model.MaybeEtcdResponse {
	txID := t.first(o.Answer.TxID)
	revision := t.revisionAfter(txID)
	switch o.Answer.Kind {
	case "unknown":
		return model.MaybeEtcdResponse{Error: "unknown outcome"}
	case "stored":
		return model.MaybeEtcdResponse{Persisted: true, PersistedRevision: revision}
	case "conflict":
		// The response does not name the transaction, but a conditional write puts a unique value.
		for _, s := range o.Steps {
			if logged, isLogged := t.ofValue[s.Value]; isLogged && s.Op == "put" {
				return txnResponse(true, []model.EtcdOperationResult{}, t.revisionAfter(logged))
			}
		}
		return txnResponse(true, []model.EtcdOperationResult{}, math.MaxInt32)
	}
	if !o.Answer.Committed {
		return txnResponse(true, []model.EtcdOperationResult{}, revision)
	}
	results := []model.EtcdOperationResult{}
	for _, one := range request.Txn.OperationsOnSuccess {
		result := model.EtcdOperationResult{}
		if one.Type == model.DeleteOperation {
			isDeleted := t.existedBefore(txID, one.Delete.Key)
			if o.Answer.Existed != nil {
				isDeleted = *o.Answer.Existed
			}
			if isDeleted {
				result.Deleted = 1
			}
		}
		results = append(results, result)
	}
	return txnResponse(false, results, revision)
}

func txnResponse(isFailed bool, results []model.EtcdOperationResult, revision int64) model.MaybeEtcdResponse {
	txn := &model.TxnResponse{Failure: isFailed, Results: results}
	return model.MaybeEtcdResponse{EtcdResponse: model.EtcdResponse{Txn: txn, Revision: revision}}
}

func rangeRequest(o operation, revision int64) model.EtcdRequest {
	options := model.RangeOptions{Start: "/", End: "0"}
	if o.Key != "" {
		options = model.RangeOptions{Start: modelKey(o.Key)}
	} else if o.Namespace != "" {
		options = model.RangeOptions{Start: "/" + o.Namespace + "/", End: "/" + o.Namespace + "0"}
	}
	return model.EtcdRequest{Type: model.Range, Range: &model.RangeRequest{RangeOptions: options, Revision: revision}}
}

func (t *timeline) rangeResponse(o operation, revision int64) model.MaybeEtcdResponse {
	found := &model.RangeResponse{KVs: []model.KeyValue{}, Count: int64(len(o.Documents))}
	for _, d := range o.Documents {
		key := modelKey(d.Key)
		found.KVs = append(found.KVs, model.KeyValue{Key: key, ValueRevision: t.valueRevision(key, d.Value, d.Revision)})
	}
	return model.MaybeEtcdResponse{EtcdResponse: model.EtcdResponse{Range: found, Revision: revision}}
}

// Names a revision in responses to linearizable reads of a key, which name no transaction: the earliest one that the
// responses before the read allow and at which the key was as the read found it. If any revision is right, this one is.
func (t *timeline) nameRevisions(operations []porcupine.Operation, unnamed []int) {
	// Operations are in the order in which they began, so that all reads that ended before this one have a revision.
	for _, n := range unnamed {
		read := operations[n]
		from := int64(1)
		for _, other := range operations {
			if other.Return < read.Call {
				from = max(from, revisionOf(other.Output.(model.MaybeEtcdResponse)))
			}
		}
		response := read.Output.(model.MaybeEtcdResponse)
		response.Revision = t.earliest(read.Input.(model.EtcdRequest).Range.Start, response.Range.KVs, from)
		operations[n].Output = response
	}
}

// The earliest revision from `from` on at which a key was as it was found; `from`, which the validator then refuses, if
// there is none.
func (t *timeline) earliest(key string, found []model.KeyValue, from int64) int64 {
	for revision := from; revision <= t.last(); revision++ {
		if isFound(found, t.valueAt(key, revision)) {
			return revision
		}
	}
	return from
}

func revisionOf(response model.MaybeEtcdResponse) int64 {
	return max(response.Revision, response.PersistedRevision)
}

func isFound(found []model.KeyValue, value *model.ValueRevision) bool {
	if value == nil {
		return len(found) == 0
	}
	return len(found) == 1 && found[0].ValueRevision == *value
}
