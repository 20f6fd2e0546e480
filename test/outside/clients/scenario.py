# Calls every operation with the Python client of openapi-generator: scenario.py URL
import sys
import time
from datetime import datetime

import cairn
from cairn.rest import ApiException

node = cairn.ApiClient(cairn.Configuration(host=sys.argv[1]))
documents = cairn.DocumentsApi(node)
transactions = cairn.TransactionsApi(node)
events = cairn.EventsApi(node)
policies = cairn.PoliciesApi(node)
queues = cairn.QueuesApi(node)
checkpoints = cairn.CheckpointsApi(node)
itself = cairn.NodeApi(node)


def same(found, expected):
    assert found == expected, f"{found!r} instead of {expected!r}"


def refused(status, code, call):
    """Runs a call that must be refused, and returns the error as the client's own type."""
    try:
        call()
    except ApiException as refusal:
        same(refusal.status, status)
        assert isinstance(refusal.data, cairn.Error), repr(refusal.data)
        same(refusal.data.error.code, code)
        return refusal.data
    raise AssertionError(f"not refused with {code}")


# The node.
same(itself.get_live().live, True)
same(itself.get_ready().phase, "ready")
status = itself.get_status()
same((status.phase, status.failure, status.progress, status.stalled), ("ready", None, None, None))
assert "cairn_" in itself.get_metrics()
same([one.node for one in itself.get_cluster(timeout="PT1S").nodes], [status.node])
same(itself.get_open_api()["openapi"], "3.0.3")

# Documents are written, read, compared and set, and removed, at each of the three kinds of address.
new = documents.put_document_with_http_info("pods", "team a", "web/0?", {"cpu": 2})
same((new.status_code, new.data.existed), (201, False))
same(documents.get_document("pods", "team a", "web/0?"), {"cpu": 2})
read = documents.get_document_with_http_info("pods", "team a", "web/0?")
same(read.headers["etag"], f'"{new.data.tx_id}"')
changed = documents.put_document("pods", "team a", "web/0?", [1, "ü", None], if_match=read.headers["etag"])
same(changed.existed, True)
refused(412, "CONFLICT", lambda: documents.put_document("pods", "team a", "web/0?", 3, if_match='"1"'))
versions = documents.get_document("pods", "team a", "web/0?", history=True)
same([version["revision"] for version in versions], [changed.tx_id, new.data.tx_id])
same(documents.get_document("pods", "team a", "web/0?", as_of=str(new.data.tx_id)), {"cpu": 2})
accepted = documents.put_default_document_with_http_info("pods", "web", "text", var_await=False)
same((accepted.status_code, accepted.data.existed), (202, None))
same(documents.get_default_document("pods", "web", min_tx=accepted.data.tx_id), "text")
documents.put_document_by_key("pods", "default/a/../b", 7)
same(documents.get_document_by_key("pods", "default/a/../b"), 7)
same(documents.delete_document_by_key("pods", "default/a/../b").existed, True)
refused(404, "NOT_FOUND", lambda: documents.get_document_by_key("pods", "default/a/../b"))
same(documents.delete_default_document("pods", "web").existed, True)
same(documents.delete_document_with_http_info("pods", "team a", "web/0?", var_await=False).status_code, 202)

# Null as a document: the client sends no body for None, so null is sent as a string or within an operation.
refused(400, "TX_INVALID", lambda: documents.put_default_document("pods", "nothing", None))
documents.put_default_document("pods", "nothing", "null", _content_type="text/plain")
same(documents.get_default_document("pods", "nothing"), None)

# Transactions.
body = cairn.Transaction(ops=[["put", "pods", "nothing", None], ["put", "pods", "b", 1.5]], id="deploy-17")
stored = transactions.submit_transaction_with_http_info(body)
same((stored.status_code, stored.data.committed, stored.data.tx_time), (202, None, None))
outcome = transactions.get_transaction(stored.data.tx_id, timeout="PT5S")
same((outcome.committed, type(outcome.tx_time)), (True, datetime))
same(documents.get_default_document("pods", "nothing"), None)
again = transactions.submit_transaction(body, var_await=True)
same(again.duplicate_of or again.tx_id, stored.data.tx_id)
other = cairn.Transaction(ops=[["delete", "pods", "b"]], id="deploy-17")
refused(409, "CONFLICT", lambda: transactions.submit_transaction(other))
lost = cairn.Transaction(ops=[["match", "pods", "b", None], ["evict", "pods", "b"]])
same(transactions.submit_transaction(lost, var_await=True).committed, False)
transactions.submit_transaction(cairn.Transaction(ops=[["evict", "pods", "nothing"]]), var_await=True)
same([one.name for one in transactions.list_evictions()], ["nothing"])
refused(404, "NOT_FOUND", lambda: transactions.get_transaction(999_999))

# Batches: one transaction per line.
lines = [cairn.Transaction(ops=[["put", "many", f"{i:03}", i]]).to_json() for i in range(250)]
batch = transactions.submit_batch("\n".join(lines), var_await=True)
same((batch.accepted, batch.last_tx_id - batch.first_tx_id), (250, 249))
same(transactions.submit_batch_with_http_info("\n", first_line=7).data.first_tx_id, None)
failed = refused(400, "TX_INVALID", lambda: transactions.submit_batch(f"{lines[0]}\n{{", first_line=501))
same((failed.line, failed.accepted), (502, 1))

# Lists of several pages: the cursor is in the Link header.
found, cursor = [], None
while True:
    page = documents.list_documents_with_http_info("many", limit=100, cursor=cursor)
    found += [document.document for document in page.data]
    link = page.headers.get("link")
    if link is None:
        break
    cursor = link.split("cursor=")[1].split(">")[0]
same(found, list(range(250)))
same([one.name for one in documents.list_documents("many", prefix="24", namespace="default")][0], "240")
ranged = documents.list_documents("many", var_from="default/010", to="default/012")
same([one.name for one in ranged], ["010", "011"])

# Policies and their effects.
before = policies.get_policies()
same((before.revision, before.file), (None, None))
rules = cairn.Policies(
    indexes={"jobs": ["state"]},
    expire={"jobs": cairn.ExpireRule(when={"state": "done"}, after=cairn.PolicyDuration("P30D"))},
    history={"jobs": cairn.HistoryBound(keep=10, var_for=cairn.PolicyDuration(604_800_000))},
    events=cairn.EventsBound(keep=1000),
    queues={
        "deliveries": cairn.Queue(
            shards=2, cap=10, terminal={"state": ["done"]}, lease=cairn.PolicyDuration("PT30S")
        )
    },
)
applied = policies.put_policies_with_http_info(rules, if_none_match="*")
refused(412, "CONFLICT", lambda: policies.put_policies(rules, if_none_match="*"))
now = policies.get_policies()
same((now.revision, now.policies.to_dict()), (applied.data.tx_id, rules.to_dict()))
same(policies.put_policies_with_http_info(now.policies, var_await=False).status_code, 202)
running = documents.put_default_document("jobs", "j1", {"state": "running"})
same([one.name for one in documents.list_documents("jobs", where=["state:running"])], ["j1"])
buckets = {bucket.name: bucket for bucket in documents.list_buckets()}
same((buckets["many"].documents, buckets["jobs"].fields["state"].counts), (250, {"running": 1}))
query = cairn.IndexQuery(sql="select name from jobs where state = ?", args=["running"])
rows = documents.query_index("jobs", query, min_tx=running.tx_id)
same((rows.columns, rows.rows, rows.more), (["name"], [["j1"]], False))
refused(404, "NOT_FOUND", lambda: documents.query_index("nothing", query))

# A queue, from an entry to the end of its shard.
entry = cairn.NewEntry(name="d1", document={"state": "new"})
enqueued = queues.enqueue_with_http_info("deliveries", entry)
same((enqueued.status_code, enqueued.data.shard), (201, 0))
refused(409, "CONFLICT", lambda: queues.enqueue("deliveries", entry))
claimed = queues.claim_shard("deliveries", 0, cairn.ShardClaim(var_as="a"))
same(claimed.epoch, claimed.tx_id)
refused(409, "CONFLICT", lambda: queues.claim_shard("deliveries", 0, cairn.ShardClaim(var_as="b")))
hold = cairn.ShardHold(epoch=claimed.epoch, var_as="a")
same(queues.renew_shard("deliveries", 0, hold).epoch, claimed.epoch)
same([one.document for one in queues.list_open_entries("deliveries", 0)], [{"state": "new"}])
found = queues.get_entry("deliveries", "d1")
same((found.shard, found.open, found.moved, found.created_tx), (0, True, None, enqueued.data.tx_id))
refused(404, "NOT_FOUND", lambda: queues.get_entry("deliveries", "d2"))
same(queues.get_queue("deliveries").shards[0].holder.var_as, "a")
same([(one.name, one.open, one.spare) for one in queues.list_queues()], [("deliveries", 1, 1)])
refused(404, "NOT_FOUND", lambda: queues.get_queue("pods"))
queues.release_shard("deliveries", 0, hold)
refused(409, "CONFLICT", lambda: queues.renew_shard("deliveries", 0, hold))
drained = queues.drain_shard("deliveries", 0, cairn.ShardClaim(var_as="a"))
hold = cairn.ShardHold(epoch=drained.epoch, var_as="a")
refused(409, "CONFLICT", lambda: queues.retire_shard("deliveries", 0, hold))
finish = ["put", "deliveries", "0/d1", {"state": "done"}, hold.to_dict()]
same(transactions.submit_transaction(cairn.Transaction(ops=[finish]), var_await=True).committed, True)
same(queues.retire_shard_with_http_info("deliveries", 0, hold).status_code, 200)

# Events.
event = cairn.EventRecord(object="pod/web-0", reason="Scheduled", message="to n1")
first = events.record_event(event)
assert first.id.endswith(f"-{first.tx_id}-0"), first
second = events.record_event_with_http_info(event, var_await=False)
same((second.status_code, second.data.id), (202, None))
listed = events.list_events(object="pod/web-0", min_tx=second.data.tx_id)
same([one.tx_id for one in listed], [second.data.tx_id, first.tx_id])
same([one.id for one in events.list_events(before=listed[0].id)], [first.id])

def read_until(stream, text):
    """Reads a stream, which is endless, up to a line with this text."""
    while text not in (line := stream.readline()):
        assert line != b"", f"no {text!r}"
    stream.close()


last = transactions.get_transaction(new.data.tx_id - 1)
read_until(documents.watch_without_preload_content(bucket="pods", var_from=last.position), b'"cpu"')
refused(400, "REQUEST_INVALID", lambda: documents.follow(var_from="7"))
read_until(documents.follow_without_preload_content(bucket="jobs"), b'"running"')
refused(410, "WATCH_COMPACTED", lambda: documents.watch(var_from="2-000000000000"))

# Checkpoints.
begun = checkpoints.save_checkpoint_with_http_info()
same((begun.status_code, begun.data.begun, begun.data.name), (202, True, None))
while True:
    try:
        saved = checkpoints.save_checkpoint(var_await=True)
        break
    except ApiException as busy:
        same(busy.data.error.code, "CHECKPOINT_RUNNING")
        time.sleep(0.2)
assert saved.name is not None or saved.skipped == "unchanged", saved
names = [one.name for one in checkpoints.list_checkpoints()]
verified = checkpoints.verify_checkpoint("newest")
assert verified.name in names, verified
same(itself.get_digest().digest[:7], "sha256:")
status = itself.get_status()
same(status.checkpoints.last_verified.name, verified.name)
print("python: all answers as expected")
