"""Sends a node varied requests: python drive.py '{"url", "nats", "name", "seed", "history"}'. Prints what the node reports at the end."""

import asyncio
import json
import random as randoms
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import nats

import frame
import values

STEPS = 300
BATCH = 300
STRANGE = 5
READS = 100


class Node:
    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None, is_json=True):
        data = body if not is_json or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("content-type", "application/json" if is_json else "application/x-ndjson")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def must(self, method, path, body=None, is_json=True):
        status, answer = self.ask(method, path, body, is_json)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer


def save(node):
    status, answer = node.ask("POST", "/api/v1/checkpoints?await=true")
    if status >= 300:
        raise RuntimeError(f"POST /api/v1/checkpoints: {status} {answer}")


async def strange(connection, name, random, log_id, last):
    """Publishes a message that no node would write."""
    body = values.lines(random)
    by = random.choice((None, None, b"me", b"x" * 65, b"a b"))
    payload = frame.write(body, random.choice((log_id,) * 9 + ("another",)), random.randbytes(8), by)
    kind = random.random()
    if kind < 0.05:
        at = random.randrange(len(payload))
        payload = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
    elif kind < 0.1:
        payload = random.choice((b"", b"hello", b"cairn/1 00000000\n{}", payload[:50], payload[:51], payload.upper()))
    elif kind < 0.2 and last:
        payload = random.choice(last)
    last.append(payload)
    await connection.jetstream().publish(f"{name}.tx", payload)


def read(node, random, tx_id):
    """Reads a document as of a transaction: returns its bytes in hexadecimal digits, and its revision."""
    bucket, key = random.choice(values.BUCKETS), values.key(random)
    namespace, name = key.split("/", 1) if "/" in key else ("default", key)
    at = random.randrange(1, tx_id + 1)
    query = urllib.parse.urlencode({"key": f"{namespace}/{name}", "as-of": at})
    said = {"bucket": bucket, "key": f"{namespace}/{name}", "at": at}
    try:
        with urllib.request.urlopen(f"{node.url}/api/v1/{bucket}?{query}", timeout=60) as answer:
            text = answer.read()
            # docs/http.md: a response ends with a line break, which is not part of its value.
            if text[-1:] != b"\n":
                raise RuntimeError(f"{said} was answered without a line break: {text!r}")
            return {**said, "status": 200, "document": text[:-1].hex(), "etag": answer.headers["etag"]}
    except urllib.error.HTTPError as refused:
        return {**said, "status": refused.code}


def batch(random, count):
    said = (values.transaction(random) for _ in range(count))
    # Each line has a different key, so that none is refused, which would end the batch.
    return [{**one, "ops": one["ops"][:1], "id": f"b-{random.getrandbits(64)}"} for one in said]


def submit(node, transactions):
    body = b"\n".join(json.dumps(one).encode() for one in transactions)
    node.must("POST", "/api/v1/tx/batch?await=true", body, is_json=False)


def configure(node, random, history):
    """Sets policies twice, with a few transactions after each, while documents are scanned."""
    first = values.policies(random, history)
    second = values.policies(random, history)
    second["expire"]["jobs"] = first["expire"]["jobs"]
    for one in (first, second):
        submit(node, [{"ops": [["configure", one]]}] + [values.during_a_scan(random) for _ in range(random.randrange(6))])


def on_queues(node, random, epochs):
    """Submits a transaction on queues, and notes the epochs that it begins."""
    said = values.queue_transaction(random, epochs)
    status, answer = node.ask("POST", "/api/v1/tx?await=true", said)
    if status not in (200, 400, 409):
        raise RuntimeError(f"POST /api/v1/tx: {status} {answer}")
    if status == 200 and answer["committed"]:
        for op, queue, *rest in said["ops"]:
            if op in ("claim", "drain"):
                epochs.setdefault((queue, rest[0]), []).append(answer["txId"])


def retire(node, random):
    """Fills a shard of a queue with more rows than one transaction removes, drains it, and retires it."""
    queue = random.choice(("w-2", "w-2", "work"))
    active = []
    for _ in range(2):
        status, found = node.ask("GET", f"/api/v1/queues/{queue}?linearizable=true")
        if status != 200:
            return
        active = [one["shard"] for one in found["shards"] if one["state"] == "active"]
        names = [f"r{random.getrandbits(40)}" for _ in range(300 if queue == "w-2" else 4)]
        submit(node, [{"ops": [["enqueue", queue, name, random.choice((values.DONE,) * 9 + ({},))]]} for name in names])
    if not active:
        return
    shard = random.choice(active)
    status, answer = node.ask("POST", "/api/v1/tx?await=true", {"ops": [["drain", queue, shard, {"as": "retire"}]]})
    if status != 200 or not answer["committed"]:
        return
    epoch = answer["txId"]
    open_ones = node.must("GET", f"/api/v1/queues/{queue}/shards/{shard}/open?limit=1000")
    ops = [["put", queue, f"{shard}/{one['name']}", values.DONE, {"epoch": epoch}] for one in open_ones if random.random() < 0.5]
    others = [one["name"] for one in open_ones if ["put", queue, f"{shard}/{one['name']}", values.DONE, {"epoch": epoch}] not in ops]
    to = [one for one in active if one != shard]
    ops += [["move", queue, f"{shard}/{name}", to[0] if to else 1 - shard, epoch] for name in others]
    if not to and others:
        submit(node, [{"ops": [["claim", queue, 1 - shard, {"as": "retire"}]]}])
    submit(node, [{"ops": [*ops, ["retire", queue, shard, epoch]]}])
    submit(node, [values.during_a_scan(random) for _ in range(random.randrange(6))])


async def main(task):
    random = randoms.Random(task["seed"])
    node = Node(task["url"])
    log_id = node.must("GET", "/status")["log"]["id"]
    connection = await nats.connect(task["nats"]) if task["nats"] else None
    # The same bounds for the node's whole life: other bounds would remove other versions.
    bounds = {"pods": random.choice(values.HISTORIES), "jobs": random.choice(values.HISTORIES)}
    history = bounds if task["history"] else None
    last, epochs = [], {}
    # A bucket becomes a queue only while it is empty.
    submit(node, [{"ops": [["configure", {"queues": values.QUEUES}]]}])
    for step in range(STEPS):
        kind = random.random()
        if step % 70 == 30:
            submit(node, values.flood(random))
        elif step % 70 in (35, 60):
            configure(node, random, history)
        elif step == STEPS // 2:
            save(node)
        elif step % 70 in (45, 69):
            retire(node, random)
        elif kind < 0.03 or (task["history"] and kind < 0.06):
            submit(node, batch(random, BATCH))
        elif kind < 0.45 and connection:
            for _ in range(STRANGE):
                await strange(connection, task["name"], random, log_id, last)
        elif kind < 0.75:
            on_queues(node, random, epochs)
        else:
            status, answer = node.ask("POST", "/api/v1/tx", values.transaction(random))
            if status not in (202, 400, 409):
                raise RuntimeError(f"POST /api/v1/tx: {status} {answer}")
    if connection:
        await connection.close()
    # The requests end while documents are being scanned.
    last_policies = {"indexes": {"jobs": ["state"]}, "expire": {"jobs": {"after": 10**9 + random.randrange(10**6)}}}
    last_policies["queues"] = node.must("GET", "/api/v1/policies")["policies"].get("queues", {})
    submit(node, [*values.flood(random), {"ops": [["configure", last_policies]]}, {"ops": [["put", "pods", "end", 1]]}])
    while any(field["counts"] is None for one in node.must("GET", "/api/v1/buckets?linearizable=true") for field in one.get("fields", {}).values()):
        time.sleep(0.05)
    save(node)
    index = node.must("GET", "/status")["index"]
    said = {"digest": node.must("GET", "/api/v1/digest")["digest"], "chains": index["chains"]}
    print(json.dumps({**said, "reads": [read(node, random, index["txId"]) for _ in range(READS)]}))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
