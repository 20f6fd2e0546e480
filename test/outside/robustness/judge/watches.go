package main

import (
	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
)

// What watchers received. Each keeps a copy of the documents, from which follows what a change replaced.
func (t *timeline) watches(h history) []report.ClientReport {
	reports := []report.ClientReport{}
	for n, w := range h.Watches {
		documents := map[string]model.ValueRevision{}
		for _, d := range w.Base {
			key := modelKey(d.Key)
			documents[key] = t.valueRevision(key, d.Value, d.Revision)
		}
		prefix := "/"
		if w.Namespace != "" {
			prefix = "/" + w.Namespace + "/"
		}
		one := report.ClientReport{ClientID: n + 1}
		for _, c := range w.Connections {
			made := model.WatchOperation{Request: model.WatchRequest{
				Key: prefix, Revision: t.revisionAfter(c.FromTxID) + 1, WithPrefix: true, WithProgressNotify: true, WithPrevKV: true,
			}}
			for _, e := range c.Events {
				made.Responses = append(made.Responses, t.watchResponse(e, documents))
			}
			one.Watch = append(one.Watch, made)
		}
		reports = append(reports, one)
	}
	return reports
}

// Converts an event, and applies it to the watcher's copy.
func (t *timeline) watchResponse(e event, documents map[string]model.ValueRevision) model.WatchResponse {
	if e.IsProgress {
		return model.WatchResponse{IsProgressNotify: true, Revision: t.revisionAfter(e.TxID)}
	}
	response := model.WatchResponse{Revision: t.revisionOfEvent(e.TxID)}
	for _, c := range e.Changes {
		key := modelKey(c.Key)
		made := model.WatchEvent{}
		made.Revision, made.Key = t.revisionOfEvent(c.Revision), key
		if previous, isKnown := documents[key]; isKnown {
			made.PrevValue = &previous
		}
		if c.Op == "put" {
			made.Type, made.Value, made.IsCreate = model.PutOperation, model.ToValueOrHash(c.Value), made.PrevValue == nil
			documents[key] = t.valueRevision(key, c.Value, c.Revision)
		} else {
			made.Type = model.DeleteOperation
			delete(documents, key)
		}
		response.Events = append(response.Events, made)
	}
	return response
}

// The validator looks up the state before every event, so that an event that nothing wrote comes after the last one.
func (t *timeline) revisionOfEvent(txID int64) int64 {
	return min(t.revisionWritten(txID), t.last()+1)
}
