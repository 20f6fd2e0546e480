// Calls every operation with the Java client (okhttp-gson) of openapi-generator: java Scenario URL
import com.google.gson.JsonNull;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.Configuration;
import org.openapitools.client.api.*;
import org.openapitools.client.model.*;
import org.openapitools.client.model.Error;

public class Scenario {
  interface Call<T> {
    T run() throws ApiException;
  }

  static void same(Object found, Object expected) {
    if (!Objects.equals(found, expected)) throw new AssertionError(found + " instead of " + expected);
  }

  /** Runs a call that must be refused, and returns the error as the client's own type. */
  static <T> Error refused(int status, String code, Call<T> call) throws Exception {
    try {
      call.run();
    } catch (ApiException refusal) {
      same(refusal.getCode(), status);
      Error error = Error.fromJson(refusal.getResponseBody());
      same(error.getError().getCode().getValue(), code);
      return error;
    }
    throw new AssertionError("not refused with " + code);
  }

  static Transaction transaction(List<?>... ops) {
    return new Transaction().ops(Arrays.stream(ops).map(op -> new ArrayList<Object>(op)).collect(Collectors.toList()));
  }

  /** Reads a stream up to a line with this text. */
  static void readUntil(okhttp3.Call call, String text) throws Exception {
    try (okhttp3.Response stream = call.execute()) {
      BufferedReader reader = new BufferedReader(new InputStreamReader(stream.body().byteStream()));
      while (!reader.readLine().contains(text)) continue;
    }
  }

  static List<Object> list(Object... parts) {
    return Arrays.asList(parts);
  }

  public static void main(String[] args) throws Exception {
    ApiClient node = Configuration.getDefaultApiClient().setBasePath(args[0]);
    DocumentsApi documents = new DocumentsApi(node);
    TransactionsApi transactions = new TransactionsApi(node);
    PoliciesApi policies = new PoliciesApi(node);
    EventsApi events = new EventsApi(node);
    QueuesApi queues = new QueuesApi(node);
    CheckpointsApi checkpoints = new CheckpointsApi(node);
    NodeApi itself = new NodeApi(node);

    // The node.
    same(itself.getLive().getLive(), true);
    same(itself.getReady().getPhase(), "ready");
    same(itself.getStatus().getFailure(), null);
    same(itself.getMetrics().contains("cairn_"), true);
    same(itself.getCluster("PT1S").getNodes().get(0).getNode(), itself.getStatus().getNode());
    same(((Map<?, ?>) itself.getOpenApi()).get("openapi"), "3.0.3");

    // Documents are written, read, compared and set, and removed, at each of the three kinds of address.
    Map<String, Object> two = Map.of("cpu", 2.0);
    ApiResponse<Written> written =
        documents.putDocumentWithHttpInfo("pods", "team a", "web/0?", two, null, null, null, null);
    same(list(written.getStatusCode(), written.getData().getExisted()), list(201, false));
    ApiResponse<Object> read = documents.getDocumentWithHttpInfo(
        "pods", "team a", "web/0?", null, null, null, null, null, null, null, null, null, null);
    same(read.getData(), two);
    String etag = read.getHeaders().get("etag").get(0);
    List<Object> other = list(1.0, "ü", null);
    same(documents.putDocument("pods", "team a", "web/0?", other, null, null, etag, null).getExisted(), true);
    refused(412, "CONFLICT",
        () -> documents.putDocument("pods", "team a", "web/0?", 3, null, null, "\"1\"", null));
    Object versions = documents.getDocument(
        "pods", "team a", "web/0?", null, null, null, null, null, null, null, true, null, null);
    same(((List<?>) versions).size(), 2);
    String before = String.valueOf(written.getData().getTxId());
    same(documents.getDocument("pods", "team a", "web/0?", null, null, null, null, null, null, before, null, null, null), two);
    ApiResponse<Written> accepted =
        documents.putDefaultDocumentWithHttpInfo("pods", "web", "text", false, null, null, null);
    same(list(accepted.getStatusCode(), accepted.getData().getExisted()), list(202, null));
    Long at = accepted.getData().getTxId();
    same(documents.getDefaultDocument("pods", "web", at, null, null, null, null, null, null, null, null, null), "text");
    documents.putDocumentByKey("pods", "default/a/../b", 7, null, null, null, null);
    Call<Object> byKey = () -> documents.getDocumentByKey(
        "pods", "default/a/../b", null, null, null, null, null, null, null, null, null, null);
    same(byKey.run(), 7.0);
    same(documents.deleteDocumentByKey("pods", "default/a/../b", null, null, null, null).getExisted(), true);
    refused(404, "NOT_FOUND", byKey);
    same(documents.deleteDefaultDocument("pods", "web", null, null, null, null).getExisted(), true);
    same(documents.deleteDocumentWithHttpInfo("pods", "team a", "web/0?", false, null, null, null).getStatusCode(), 202);

    // Null as a document: the client refuses to send a request without a body, but accepts a JSON null as its body.
    documents.putDefaultDocument("pods", "nothing", JsonNull.INSTANCE, null, null, null, null);
    Call<Object> nothing = () -> documents.getDefaultDocument(
        "pods", "nothing", null, null, null, null, null, null, null, null, null, null);
    same(nothing.run(), null);

    // Transactions.
    Transaction body = transaction(list("put", "pods", "nothing", null), list("put", "pods", "b", 1.5)).id("deploy-17");
    ApiResponse<Outcome> stored = transactions.submitTransactionWithHttpInfo(body, null, null);
    same(list(stored.getStatusCode(), stored.getData().getCommitted()), list(202, null));
    same(transactions.getTransaction(stored.getData().getTxId(), null, null, null, "PT5S", null).getCommitted(), true);
    same(nothing.run(), null);
    refused(409, "CONFLICT",
        () -> transactions.submitTransaction(transaction(list("delete", "pods", "b")).id("deploy-17"), null, null));
    Transaction lost = transaction(list("match", "pods", "b", null), list("evict", "pods", "b"));
    same(transactions.submitTransaction(lost, true, null).getCommitted(), false);
    transactions.submitTransaction(transaction(list("evict", "pods", "nothing")), true, null);
    same(transactions.listEvictions(null, null, null, null, null, null).get(0).getName(), "nothing");
    refused(404, "NOT_FOUND", () -> transactions.getTransaction(999_999L, null, null, null, null, null));

    // Batches: one transaction per line.
    List<String> lines = IntStream.range(0, 250)
        .mapToObj(i -> transaction(list("put", "many", String.format("%03d", i), i)).toJson())
        .collect(Collectors.toList());
    BatchResult batch = transactions.submitBatch(String.join("\n", lines), true, null, null);
    same(list(batch.getAccepted(), batch.getLastTxId() - batch.getFirstTxId()), list(250L, 249L));
    same(transactions.submitBatch("\n", null, null, 7L).getFirstTxId(), null);
    Error failed = refused(400, "TX_INVALID",
        () -> transactions.submitBatch(lines.get(0) + "\n{", null, null, 501L));
    same(list(failed.getLine(), failed.getAccepted()), list(502L, 1L));

    // Lists of several pages: the cursor is in the Link header.
    List<Object> found = new ArrayList<>();
    for (String cursor = null; ; ) {
      ApiResponse<List<Document>> page = documents.listDocumentsWithHttpInfo(
          "many", null, null, null, null, 100, cursor, null, null, null, null, null, null, null);
      for (Document document : page.getData()) found.add(document.getDocument());
      List<String> link = page.getHeaders().get("link");
      if (link == null) break;
      cursor = URLDecoder.decode(link.get(0).split("cursor=")[1].split(">")[0], StandardCharsets.UTF_8);
    }
    same(list(found.size(), found.get(249)), list(250, 249.0));

    // Policies and their effects.
    same(policies.getPolicies(null, null, null, null).getRevision(), null);
    Policies rules = new Policies()
        .indexes(Map.of("jobs", Set.of("state")))
        .expire(Map.of("jobs", new ExpireRule().when(Map.of("state", "done")).after(new PolicyDuration("P30D"))))
        .history(Map.of("jobs", new HistoryBound().keep(10)._for(new PolicyDuration("P7D"))))
        .events(new EventsBound().keep(1000))
        .queues(Map.of("deliveries", new Queue().shards(2).cap(10)
            .terminal(Map.of("state", list("done"))).lease(new PolicyDuration("PT30S"))));
    Long applied = policies.putPolicies(rules, null, null, null, "*").getTxId();
    refused(412, "CONFLICT", () -> policies.putPolicies(rules, null, null, null, "*"));
    PolicyState now = policies.getPolicies(null, null, null, null);
    same(list(now.getRevision(), now.getPolicies()), list(applied, rules));
    same(policies.putPoliciesWithHttpInfo(now.getPolicies(), false, null, null, null).getStatusCode(), 202);
    Written running = documents.putDefaultDocument("jobs", "j1", Map.of("state", "running"), null, null, null, null);
    same(documents.listDocuments("jobs", null, null, null, null, null, null, null, null, "default/j1", null, null, List.of("state:running"), "-state").get(0).getName(), "j1");
    for (Bucket bucket : documents.listBuckets(null, null, null, null))
      if (bucket.getName().equals("jobs"))
        same(bucket.getFields().get("state").getCounts(), Map.of("running", 1L));
    IndexQuery query = new IndexQuery().sql("select name from jobs where state = ?").args(list("running"));
    QueryResult rows = documents.queryIndex("jobs", query, running.getTxId(), null);
    same(list(rows.getColumns(), rows.getRows(), rows.getMore()), list(list("name"), list(list("j1")), false));
    refused(404, "NOT_FOUND", () -> documents.queryIndex("nothing", query, null, null));

    // A queue, from an entry to the end of its shard.
    NewEntry entry = new NewEntry().name("d1").document(Map.of("state", "new"));
    ApiResponse<Enqueued> enqueued = queues.enqueueWithHttpInfo("deliveries", entry, null, null);
    same(list(enqueued.getStatusCode(), enqueued.getData().getShard()), list(201, 0L));
    refused(409, "CONFLICT", () -> queues.enqueue("deliveries", entry, null, null));
    ShardClaim a = new ShardClaim().as("a");
    ShardChanged claimed = queues.claimShard("deliveries", 0, a, null, null);
    same(claimed.getEpoch(), claimed.getTxId());
    refused(409, "CONFLICT", () -> queues.claimShard("deliveries", 0, new ShardClaim().as("b"), null, null));
    ShardHold hold = new ShardHold().epoch(claimed.getEpoch()).as("a");
    same(queues.renewShard("deliveries", 0, hold, null, null).getEpoch(), claimed.getEpoch());
    same(queues.listOpenEntries("deliveries", 0, null, null, null, null, null, null).get(0).getDocument(), entry.getDocument());
    QueueEntry stands = queues.getEntry("deliveries", "d1", null, null, null, null);
    same(list(stands.getShard(), stands.getOpen(), stands.getMoved()), list(0L, true, null));
    refused(404, "NOT_FOUND", () -> queues.getEntry("deliveries", "d2", null, null, null, null));
    same(queues.getQueue("deliveries", null, null, null, null).getShards().get(0).getHolder().getAs(), "a");
    same(queues.listQueues(null, null, null, null).get(0).getName(), "deliveries");
    refused(404, "NOT_FOUND", () -> queues.getQueue("pods", null, null, null, null));
    queues.releaseShard("deliveries", 0, hold, null, null);
    refused(409, "CONFLICT", () -> queues.renewShard("deliveries", 0, hold, null, null));
    ShardHold drain = new ShardHold().epoch(queues.drainShard("deliveries", 0, a, null, null).getEpoch()).as("a");
    refused(409, "CONFLICT", () -> queues.retireShard("deliveries", 0, drain, null, null));
    Transaction finish = transaction(list("put", "deliveries", "0/d1", Map.of("state", "done"), drain));
    same(transactions.submitTransaction(finish, true, null).getCommitted(), true);
    same(queues.retireShardWithHttpInfo("deliveries", 0, drain, null, null).getStatusCode(), 200);

    // Events.
    EventRecord event = new EventRecord()._object("pod/web-0").reason("Scheduled");
    EventWritten first = events.recordEvent(event, null, null);
    ApiResponse<EventWritten> second = events.recordEventWithHttpInfo(event, false, null);
    same(list(second.getStatusCode(), second.getData().getId()), list(202, null));
    List<RecordedEvent> listed =
        events.listEvents(second.getData().getTxId(), null, null, null, null, null, "pod/web-0", null);
    same(listed.get(1).getId(), first.getId());
    same(events.listEvents(null, null, null, null, null, null, null, listed.get(0).getId()).get(0).getId(), first.getId());

    // Streams are endless, so they are read line by line.
    String last = transactions.getTransaction(Long.parseLong(before) - 1, null, null, null, null, null).getPosition();
    readUntil(documents.watchCall("pods", null, last, null, null, null), "\"cpu\"");
    refused(400, "REQUEST_INVALID", () -> documents.follow(null, null, "7", null, null));
    readUntil(documents.followCall("jobs", null, null, null, null, null), "\"running\"");
    refused(410, "WATCH_COMPACTED", () -> documents.watch(null, null, "2-000000000000", null, null));

    // Checkpoints.
    ApiResponse<SavedCheckpoint> begun = checkpoints.saveCheckpointWithHttpInfo(null);
    same(list(begun.getStatusCode(), begun.getData().getBegun(), begun.getData().getName()), list(202, true, null));
    for (SavedCheckpoint saved = null; saved == null; ) {
      try {
        saved = checkpoints.saveCheckpoint(true);
        same(saved.getName() != null || "unchanged".equals(saved.getSkipped()), true);
      } catch (ApiException busy) {
        same(Error.fromJson(busy.getResponseBody()).getError().getCode().getValue(), "CHECKPOINT_RUNNING");
        Thread.sleep(200);
      }
    }
    Verified verified = checkpoints.verifyCheckpoint("newest");
    same(checkpoints.listCheckpoints(null, null, null, null).get(0).getName(), verified.getName());
    same(itself.getDigest(null, null, null, null).getDigest().startsWith("sha256:"), true);
    same(itself.getStatus().getCheckpoints().getLastVerified().getName(), verified.getName());
    System.out.println("java: all answers as expected");
    System.exit(0);
  }
}
