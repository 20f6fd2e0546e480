// Calls every operation with the Go client of openapi-generator: scenario URL
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/you/cairn"
)

var ctx = context.Background()

// same panics unless found equals expected.
func same(what string, found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%s: %#v instead of %#v", what, found, expected))
	}
}

// of returns the response of a call that must succeed; ofStatus also checks its status.
func of[T any](answer T, _ *http.Response, err error) T {
	var refused *cairn.GenericOpenAPIError
	if errors.As(err, &refused) {
		panic(fmt.Sprintf("%v: %s", err, refused.Body()))
	}
	if err != nil {
		panic(err)
	}
	return answer
}

func ofStatus[T any](status int) func(T, *http.Response, error) T {
	return func(answer T, response *http.Response, err error) T {
		of(answer, response, err)
		same("status", response.StatusCode, status)
		return answer
	}
}

// refused returns the error of a call that must be refused, as the client's own type.
func refused[T any](status int, code string) func(T, *http.Response, error) cairn.Error {
	return func(_ T, response *http.Response, err error) cairn.Error {
		var refusal *cairn.GenericOpenAPIError
		if !errors.As(err, &refusal) {
			panic(fmt.Sprintf("not refused with %s: %v", code, err))
		}
		reported, isTyped := refusal.Model().(cairn.Error)
		same("a typed error", isTyped, true)
		same("refusal", []any{response.StatusCode, reported.Error.Code}, []any{status, code})
		return reported
	}
}

// readUntil reads a stream up to a line with this text.
func readUntil(path, text string) {
	stream, err := http.Get(os.Args[1] + path)
	if err != nil {
		panic(err)
	}
	defer stream.Body.Close()
	for reader := bufio.NewScanner(stream.Body); reader.Scan(); {
		if strings.Contains(reader.Text(), text) {
			return
		}
	}
	panic("no " + text + " in " + path)
}

func main() {
	configuration := cairn.NewConfiguration()
	configuration.Servers = cairn.ServerConfigurations{{URL: os.Args[1]}}
	client := cairn.NewAPIClient(configuration)
	documents, transactions := client.DocumentsAPI, client.TransactionsAPI
	policies, queues := client.PoliciesAPI, client.QueuesAPI
	checkpoints, itself := client.CheckpointsAPI, client.NodeAPI

	// The node.
	same("live", of(itself.GetLive(ctx).Execute()).Live, true)
	same("ready", of(itself.GetReady(ctx).Execute()).Phase, "ready")
	status := of(itself.GetStatus(ctx).Execute())
	same("status", []any{status.Phase, status.GetFailure().Code, status.Progress.Get() == nil}, []any{"ready", "", true})
	same("metrics", strings.Contains(of(itself.GetMetrics(ctx).Execute()), "cairn_"), true)
	same("cluster", of(itself.GetCluster(ctx).Timeout("PT1S").Execute()).Nodes[0].Node, status.Node)
	same("openapi", of(itself.GetOpenApi(ctx).Execute())["openapi"], "3.0.3")

	// Documents are written, read, compared and set, and removed, at each of the three kinds of address.
	two := map[string]any{"cpu": 2.0}
	written := ofStatus[*cairn.Written](201)(documents.PutDocument(ctx, "pods", "team a", "web/0?").Body(two).Execute())
	same("existed", written.GetExisted(), false)
	read, response, err := documents.GetDocument(ctx, "pods", "team a", "web/0?").Execute()
	same("document", of(read, response, err), any(two))
	etag := response.Header.Get("ETag")
	list := []any{1.0, "ü", nil}
	changed := of(documents.PutDocument(ctx, "pods", "team a", "web/0?").Body(list).IfMatch(etag).Execute())
	same("existed", changed.GetExisted(), true)
	lost := documents.PutDocument(ctx, "pods", "team a", "web/0?").Body(3).IfMatch(`"1"`)
	refused[*cairn.Written](412, "CONFLICT")(lost.Execute())
	versions := of(documents.GetDocument(ctx, "pods", "team a", "web/0?").History(true).Execute()).([]any)
	same("versions", len(versions), 2)
	past := documents.GetDocument(ctx, "pods", "team a", "web/0?").AsOf(fmt.Sprint(written.TxId))
	same("the past", of(past.Execute()), any(two))
	accepted := ofStatus[*cairn.Written](202)(documents.PutDefaultDocument(ctx, "pods", "web").Body("text").Await(false).Execute())
	same("existed", accepted.Existed.IsSet(), false)
	same("read", of(documents.GetDefaultDocument(ctx, "pods", "web").MinTx(accepted.TxId).Execute()), any("text"))
	of(documents.PutDocumentByKey(ctx, "pods").Key("default/a/../b").Body(7).Execute())
	same("by key", of(documents.GetDocumentByKey(ctx, "pods").Key("default/a/../b").Execute()), any(7.0))
	same("deleted", of(documents.DeleteDocumentByKey(ctx, "pods").Key("default/a/../b").Execute()).GetExisted(), true)
	refused[any](404, "NOT_FOUND")(documents.GetDocumentByKey(ctx, "pods").Key("default/a/../b").Execute())
	same("deleted", of(documents.DeleteDefaultDocument(ctx, "pods", "web").Execute()).GetExisted(), true)
	ofStatus[*cairn.Written](202)(documents.DeleteDocument(ctx, "pods", "team a", "web/0?").Await(false).Execute())

	// null is a document like any other.
	of(documents.PutDefaultDocument(ctx, "pods", "nothing").Body(nil).Execute())
	same("null", of(documents.GetDefaultDocument(ctx, "pods", "nothing").Execute()), nil)

	// Transactions.
	body := *cairn.NewTransaction([][]any{{"put", "pods", "nothing", nil}, {"put", "pods", "b", 1.5}})
	body.SetId("deploy-17")
	stored := ofStatus[*cairn.Outcome](202)(transactions.SubmitTransaction(ctx).Transaction(body).Execute())
	same("stored", []bool{stored.HasCommitted(), stored.HasTxTime()}, []bool{false, false})
	outcome := of(transactions.GetTransaction(ctx, stored.TxId).Timeout("PT5S").Execute())
	same("outcome", []bool{outcome.GetCommitted(), outcome.TxTime.Before(time.Now().Add(time.Hour))}, []bool{true, true})
	body.SetOps([][]any{{"delete", "pods", "b"}})
	refused[*cairn.Outcome](409, "CONFLICT")(transactions.SubmitTransaction(ctx).Transaction(body).Execute())
	aborted := *cairn.NewTransaction([][]any{{"match", "pods", "b", nil}, {"evict", "pods", "b"}})
	same("aborted", of(transactions.SubmitTransaction(ctx).Transaction(aborted).Await(true).Execute()).GetCommitted(), false)
	evict := *cairn.NewTransaction([][]any{{"evict", "pods", "nothing"}})
	of(transactions.SubmitTransaction(ctx).Transaction(evict).Await(true).Execute())
	evictions := of(transactions.ListEvictions(ctx).Execute())
	same("evictions", []any{len(evictions), evictions[0].Name}, []any{1, "nothing"})
	refused[*cairn.Outcome](404, "NOT_FOUND")(transactions.GetTransaction(ctx, 999_999).Execute())

	// Batches: one transaction per line.
	var lines []string
	for i := range 250 {
		line, _ := json.Marshal(cairn.NewTransaction([][]any{{"put", "many", fmt.Sprintf("%03d", i), i}}))
		lines = append(lines, string(line))
	}
	batch := of(transactions.SubmitBatch(ctx).Body(strings.Join(lines, "\n")).Await(true).Execute())
	same("batch", []int64{batch.Accepted, batch.GetLastTxId() - batch.GetFirstTxId()}, []int64{250, 249})
	empty := ofStatus[*cairn.BatchResult](202)(transactions.SubmitBatch(ctx).Body("\n").FirstLine(7).Execute())
	same("an empty batch", empty.FirstTxId.Get() == nil, true)
	broken := transactions.SubmitBatch(ctx).Body(lines[0] + "\n{").FirstLine(501)
	failed := refused[*cairn.BatchResult](400, "TX_INVALID")(broken.Execute())
	same("the line", []int64{failed.GetLine(), failed.GetAccepted()}, []int64{502, 1})

	// Lists of several pages: the cursor is in the Link header.
	var found []any
	for cursor := ""; ; {
		request := documents.ListDocuments(ctx, "many").Limit(100)
		if cursor != "" {
			request = request.Cursor(cursor)
		}
		page, response, err := request.Execute()
		for _, document := range of(page, response, err) {
			found = append(found, document.Document)
		}
		link, _, isMore := strings.Cut(strings.TrimPrefix(response.Header.Get("Link"), "<"), ">")
		if !isMore {
			break
		}
		next, _ := url.Parse(link)
		cursor = next.Query().Get("cursor")
	}
	same("pages", []any{len(found), found[249]}, []any{250, 249.0})

	// Policies and their effects.
	before := of(policies.GetPolicies(ctx).Execute())
	same("none", before.Revision.Get() == nil && before.File.Get() == nil, true)
	rules := cairn.NewPolicies()
	month, week := "P30D", 604_800_000.0
	after := cairn.PolicyDuration{String: &month}
	done := map[string]any{"state": "done"}
	keep := int32(10)
	rules.SetIndexes(map[string][]string{"jobs": {"state"}})
	rules.SetExpire(map[string]cairn.ExpireRule{"jobs": {When: done, After: after}})
	rules.SetHistory(map[string]cairn.HistoryBound{"jobs": {Keep: &keep, For: &cairn.PolicyDuration{Float64: &week}}})
	lease := "PT30S"
	terminal := map[string]any{"state": []any{"done"}}
	rules.SetQueues(map[string]cairn.Queue{"deliveries": *cairn.NewQueue(2, 10, terminal, cairn.PolicyDuration{String: &lease})})
	applied := of(policies.PutPolicies(ctx).Policies(*rules).IfNoneMatch("*").Execute())
	refused[*cairn.Submitted](412, "CONFLICT")(policies.PutPolicies(ctx).Policies(*rules).IfNoneMatch("*").Execute())
	now := of(policies.GetPolicies(ctx).Execute())
	same("policies", []any{now.GetRevision(), now.Policies}, []any{applied.TxId, *rules})
	ofStatus[*cairn.Submitted](202)(policies.PutPolicies(ctx).Policies(now.Policies).Await(false).Execute())
	running := of(documents.PutDefaultDocument(ctx, "jobs", "j1").Body(map[string]any{"state": "running"}).Execute())
	same("where", of(documents.ListDocuments(ctx, "jobs").Where([]string{"state:running"}).Execute())[0].Name, "j1")
	for _, bucket := range of(documents.ListBuckets(ctx).Execute()) {
		if bucket.Name == "jobs" {
			same("counts", bucket.Fields["state"].Counts, map[string]int64{"running": 1})
		}
	}

	query := cairn.IndexQuery{Sql: "select name from jobs where state = ?", Args: []any{"running"}}
	rows := of(documents.QueryIndex(ctx, "jobs").IndexQuery(query).MinTx(running.TxId).Execute())
	same("rows", []any{rows.Columns, rows.Rows, rows.More}, []any{[]string{"name"}, [][]any{{"j1"}}, false})
	refused[*cairn.QueryResult](404, "NOT_FOUND")(documents.QueryIndex(ctx, "nothing").IndexQuery(query).Execute())

	// A queue, from an entry to the end of its shard.
	entry := *cairn.NewNewEntry(map[string]any{"state": "new"})
	entry.SetName("d1")
	enqueued := ofStatus[*cairn.Enqueued](201)(queues.Enqueue(ctx, "deliveries").NewEntry(entry).Execute())
	same("shard", enqueued.GetShard(), int64(0))
	refused[*cairn.Enqueued](409, "CONFLICT")(queues.Enqueue(ctx, "deliveries").NewEntry(entry).Execute())
	a, b := *cairn.NewShardClaim("a"), *cairn.NewShardClaim("b")
	claimed := of(queues.ClaimShard(ctx, "deliveries", 0).ShardClaim(a).Execute())
	same("epoch", claimed.GetEpoch(), claimed.TxId)
	refused[*cairn.ShardChanged](409, "CONFLICT")(queues.ClaimShard(ctx, "deliveries", 0).ShardClaim(b).Execute())
	hold := *cairn.NewShardHold(claimed.GetEpoch())
	hold.SetAs("a")
	same("renewed", of(queues.RenewShard(ctx, "deliveries", 0).ShardHold(hold).Execute()).GetEpoch(), hold.Epoch)
	open := of(queues.ListOpenEntries(ctx, "deliveries", 0).Execute())
	same("open", []any{len(open), open[0].Document}, []any{1, map[string]any{"state": "new"}})
	stands := of(queues.GetEntry(ctx, "deliveries").Name("d1").Execute())
	same("entry", []any{stands.Shard, stands.Open, stands.CreatedTx}, []any{int64(0), true, enqueued.TxId})
	refused[*cairn.QueueEntry](404, "NOT_FOUND")(queues.GetEntry(ctx, "deliveries").Name("d2").Execute())
	held := of(queues.GetQueue(ctx, "deliveries").Execute()).Shards[0]
	same("holder", held.Holder.Get().As, "a")
	same("queues", of(queues.ListQueues(ctx).Execute())[0].Name, "deliveries")
	refused[*cairn.QueueStatus](404, "NOT_FOUND")(queues.GetQueue(ctx, "pods").Execute())
	of(queues.ReleaseShard(ctx, "deliveries", 0).ShardHold(hold).Execute())
	refused[*cairn.ShardChanged](409, "CONFLICT")(queues.RenewShard(ctx, "deliveries", 0).ShardHold(hold).Execute())
	hold.Epoch = of(queues.DrainShard(ctx, "deliveries", 0).ShardClaim(a).Execute()).GetEpoch()
	refused[*cairn.ShardChanged](409, "CONFLICT")(queues.RetireShard(ctx, "deliveries", 0).ShardHold(hold).Execute())
	finish := *cairn.NewTransaction([][]any{{"put", "deliveries", "0/d1", done, hold}})
	same("finished", of(transactions.SubmitTransaction(ctx).Transaction(finish).Await(true).Execute()).GetCommitted(), true)
	ofStatus[*cairn.ShardChanged](200)(queues.RetireShard(ctx, "deliveries", 0).ShardHold(hold).Execute())

	// Events.
	event := *cairn.NewEventRecord("pod/web-0", "Scheduled")
	first := ofStatus[*cairn.EventWritten](201)(client.EventsAPI.RecordEvent(ctx).EventRecord(event).Execute())
	second := ofStatus[*cairn.EventWritten](202)(client.EventsAPI.RecordEvent(ctx).EventRecord(event).Await(false).Execute())
	same("an id", []bool{first.HasId(), second.HasId()}, []bool{true, false})
	listed := of(client.EventsAPI.ListEvents(ctx).Object("pod/web-0").MinTx(second.TxId).Execute())
	same("events", []int64{listed[0].TxId, listed[1].TxId}, []int64{second.TxId, first.TxId})
	same("older", of(client.EventsAPI.ListEvents(ctx).Before(listed[0].Id).Execute())[0].Id, first.GetId())

	// Streams are endless, and this client returns only complete responses, so they are read without it.
	refused[string](410, "WATCH_COMPACTED")(documents.Watch(ctx).From("2-000000000000").Execute())
	last := of(transactions.GetTransaction(ctx, written.TxId-1).Execute())
	readUntil("/api/v1/watch?bucket=pods&from="+last.GetPosition(), `"cpu"`)
	refused[string](400, "REQUEST_INVALID")(documents.Follow(ctx).From("7").Execute())
	readUntil("/api/v1/follow?bucket=jobs", `"running"`)

	// Checkpoints.
	begun := ofStatus[*cairn.SavedCheckpoint](202)(checkpoints.SaveCheckpoint(ctx).Execute())
	same("begun", []bool{begun.GetBegun(), begun.HasName()}, []bool{true, false})
	for {
		saved, response, err := checkpoints.SaveCheckpoint(ctx).Await(true).Execute()
		if err == nil {
			same("saved", saved.HasName() || saved.GetSkipped() == "unchanged", true)
			break
		}
		refused[*cairn.SavedCheckpoint](409, "CHECKPOINT_RUNNING")(saved, response, err)
		time.Sleep(200 * time.Millisecond)
	}
	verified := of(checkpoints.VerifyCheckpoint(ctx, "newest").Execute())
	same("listed", of(checkpoints.ListCheckpoints(ctx).Execute())[0].Name, verified.Name)
	same("digest", strings.HasPrefix(of(itself.GetDigest(ctx).Execute()).Digest, "sha256:"), true)
	status = of(itself.GetStatus(ctx).Execute())
	same("verified", status.Checkpoints.LastVerified.Get().Name, verified.Name)
	fmt.Println("go: all answers as expected")
}
