"""The fold of a log, which an index must equal (docs/internals/index-format.md, "Applying a transaction"). compare.py handles history bounds.

It keeps all outcomes, because nodes keep those of the newest 2,000,000 transactions, and it reads shorter logs."""

import bisect
import json

import frame
import message
import policies
from chains import Chains
from expiry import Expiry
from frame import Refused
from json_text import field_of, ordered_text, parse
from queues import RETIRING, Aborted, Queues
from rows import INDEX_VERSION, is_deletion, number, part, sealed, sealed_json, short, stem, version_revision, version_sum, version_value

COMMITTED, ABORTED, DUPLICATE = range(3)
REMEMBERED = 1_000_000
EVENTS_BESIDES, EVENTS_KEPT = 100, 100_000
TRANSACTION_BYTES = 64 * 2**20
TOO_LARGE = b"TX_TOO_LARGE: the present documents of its keys have more than 64 MiB together; nothing was changed, split the transaction"


class Fold:
    def __init__(self, log_id, name):
        self.log = {"id": log_id, "name": name, "offset": 0}
        self.tx_id, self.time, self.largest = 0, 0, 0
        self.sha256, self.mark = "0" * 64, "0" * 12
        self.newest, self.versions = {}, {}
        """By stem: the value of a key's current version, and those of the earlier versions by revision."""
        self.buckets = {}
        self.outcomes, self.times, self.submissions = {}, {}, {}
        self.documents = self.written = 0
        self.evictions = {}
        self.expiry = Expiry(self)
        self.events, self.event_keys, self.events_from = {}, [], None
        """`events_from`: the time before which there is no event; None until there is one."""
        self.policies, self.all_policies = None, []
        self.chains = Chains()
        self.queues, self.retired = Queues(self), {}
        """`retired`: by bucket, the last transaction that removed rows of a retired shard."""

    def go_on(self, birth):
        """Continues the fold with the log that continues the current one."""
        anchor = birth["continues"]["anchor"]
        if (birth["continues"]["log"], anchor["txId"], anchor["sha256"]) != (self.log["id"], self.tx_id, self.sha256):
            raise ValueError("the log does not continue the one before it")
        self.log = {**self.log, "id": birth["log"], "offset": int(birth["offset"])}

    def apply(self, position, nanoseconds, payload, told=None):
        """Applies the next message. `told`: the outcome's reason on a node, for reasons that docs/internals/log-format.md leaves to nodes."""
        self.tx_id = position + self.log["offset"]
        self.time = max(self.time, nanoseconds // 10**6)
        self.times[self.tx_id] = self.time
        self.written = 0
        in_force = self.policies
        self.expiry.begin(in_force)
        self.named, self.touched = set(), set()
        taken = self.queues.next_slice()
        kind, text = self._outcome(position, payload, told)
        if in_force is not None and in_force.rules:
            self.expiry.end(in_force)
        if taken is not None:
            self.queues.remove(taken)
        key = b"t" + number(self.tx_id)
        mark = frame.identity(payload, nanoseconds)[6:]
        self.mark = mark.hex()
        self.outcomes[key] = sealed(key, bytes([kind]) + number(self.time) + mark + text)
        self.sha256 = frame.anchor(position, nanoseconds, payload)
        self.chains.add(payload, nanoseconds, self.outcomes[key], self.written, self.documents)

    def _outcome(self, position, payload, told):
        try:
            said = message.decode(payload)
            self.named = {stem(one.bucket, one.key) for one in said.ops if one.bucket and "/" in (one.key or "")}
            if said.tag != frame.log_tag(self.log["id"]):
                raise Refused("the message was written for another log")
            if said.birth is not None and position != 1:
                raise Refused("only the first message of a log is its birth record")
        except Refused as refused:
            reason = f"TX_INVALID: {refused}".encode()
            is_free = told is not None and str(refused) == policies.ANY_REASON and told.startswith(b"TX_INVALID: ")
            return ABORTED, told if is_free else reason
        if said.birth is not None:
            return COMMITTED, b""
        if said.id is not None:
            content = frame.content_hash(payload)
            first, first_content = self.submissions.get(said.id, (-REMEMBERED, b""))
            if first >= self.tx_id - REMEMBERED:
                if first_content == content:
                    return DUPLICATE, b"%d" % first
                return ABORTED, b"CONFLICT: transaction %d has the same id and another content" % first
            self.submissions[said.id] = (self.tx_id, content)
        if self._is_too_large(said.ops):
            return ABORTED, TOO_LARGE
        conflict = self._conflict(said.ops)
        if conflict is not None:
            return ABORTED, f"CONFLICT: {conflict}".encode()
        is_on_queue = any(one.bucket and self._queue_policy(one.bucket) for one in said.ops)
        queues = self.queues.copy() if is_on_queue else self.queues
        try:
            queues.apply(said.ops, self._queue_policy)
            self._check_queues(queues, said.ops)
        except Aborted as aborted:
            return ABORTED, f"CONFLICT: {aborted}".encode()
        self._commit(said.ops, queues)
        shards = json.dumps(queues.enqueued, separators=(",", ":")).encode()
        return COMMITTED, said.line + (b"\n" + shards if queues.enqueued else b"")

    def _queue_policy(self, bucket):
        return self.policies.queues.get(bucket) if self.policies else None

    def _check_queues(self, queues, ops):
        for one in ops:
            if one.op == "configure":
                before = self.policies.queues if self.policies else {}
                queues.check_policies(before, parse(one.document.decode()).get("queues", {}), ops)

    def _is_too_large(self, ops):
        keys = set()
        for one in ops:
            if one.op in ("put", "delete", "match", "evict"):
                keys.add(stem(one.bucket, one.key))
                if one.op == "evict" and self._queue_policy(one.bucket) is not None:
                    keys.update(own for own in self.queues.keys_of(one) if own in self.newest and not is_deletion(self.newest[own]))
            elif one.op == "move" and self._queue_policy(one.bucket) is not None:
                name = one.key.split("/", 1)[1]
                keys.update((stem(one.bucket, one.key), stem(one.bucket, f"{one.shard}/{name}")))
        found = [self.newest[own] for own in keys if own in self.newest]
        size = sum(len(value) for value in found if not is_deletion(value))
        return len(keys) > 1 and size > TRANSACTION_BYTES

    def _conflict(self, ops):
        for one in ops:
            if one.op != "match":
                continue
            found = self.newest.get(stem(one.bucket, one.key))
            revision = None if found is None or is_deletion(found) else version_revision(found)
            if revision != one.revision:
                return f"{one.bucket} {one.key} is " + ("absent" if revision is None else f"at revision {revision}")
        revision = self.policies.revision if self.policies else None
        for one in ops:
            if one.op == "configure" and one.has_revision and one.revision != revision:
                return "the policies are " + ("not set" if revision is None else f"at revision {revision}")
        return None

    def _commit(self, ops, queues):
        events = []
        policies_set = None
        writes = {}
        for at, own, document in queues.writes:
            writes.setdefault(at, []).append((own, document))
        for at, one in enumerate(ops):
            if one.bucket and one.op not in ("match", "evict") and self._queue_policy(one.bucket) is not None:
                for own, document in writes.get(at, ()):
                    self.write(own, document)
                continue
            if one.op == "event":
                events.append(one.document)
            elif one.op == "configure":
                policies_set = one.document
            elif one.op == "evict" and self._queue_policy(one.bucket) is not None:
                retiring = self.queues.keys_of(one, RETIRING)
                for own in self.queues.keys_of(one):
                    if own in self.newest or self.versions.get(own) or own in retiring:
                        self._evict(own, one)
                self._evict(stem(one.bucket, one.key), one)
            elif one.op != "match":
                getattr(self, f"_{one.op}")(stem(one.bucket, one.key), one)
        self.queues = queues
        self._record(events)
        if policies_set is not None:
            self.policies = policies.Policies(parse(policies_set.decode()), self.tx_id, self.policies)
            self.all_policies.append(self.policies)

    def _put(self, own, one):
        self.write(own, one.document)
        rule = self.policies.rules.get(one.bucket) if self.policies else None
        if rule is not None:
            self.expiry.note(own, rule, self.newest[own])

    def _delete(self, own, _):
        if own in self.newest and not is_deletion(self.newest[own]):
            self.write(own, None)

    def _evict(self, own, _):
        if own in self.newest:
            self.count(own, self.newest.pop(own), -1)
        self.versions.pop(own, None)
        self.evictions[b"x" + number(self.tx_id) + own] = number(self.time)
        self.touched.add(own)

    def write(self, own, document):
        before = self.newest.get(own)
        if before is not None:
            self.versions.setdefault(own, {})[version_revision(before)] = before
            self.count(own, before, -1)
        value = version_value(own, self.tx_id, self.time, document)
        if document is not None:
            self.largest = max(self.largest, len(value))
        self.newest[own] = value
        self.count(own, value, 1)
        self.written += version_sum(value)
        self.touched.add(own)

    def count(self, own, value, by):
        counts = self.buckets.setdefault(own[: own.index(0)], [0, 0])
        counts[1 if is_deletion(value) else 0] += by
        if not is_deletion(value):
            self.documents += by

    def _record(self, events):
        if not events:
            return
        begin = self.events_from or 0
        added, removed = [], None
        for place, event in enumerate(events):
            time = parse(event.decode()).get("time")
            at = self.time * 10**6 if time is None else int(time)
            key = b"e" + number(at) + number(self.tx_id) + short(place)
            self.events[key] = sealed(key, event)
            bisect.insort(self.event_keys, key)
            added.append(key)
        bound = self.policies.value.get("events", {}) if self.policies else {}
        keep, age = policies.bound_of(bound, EVENTS_KEPT)
        oldest = 0 if age >= self.time else (self.time - age) * 10**6
        for _ in range(len(events) + EVENTS_BESIDES):
            is_old = self.event_keys and int.from_bytes(self.event_keys[0][1:9], "big") < oldest
            if not self.event_keys or (len(self.event_keys) <= keep and not is_old):
                break
            removed = self.event_keys.pop(0)
            del self.events[removed]
        left = [key for key in added if removed is None or key > removed]
        times = [int.from_bytes(key[1:9], "big") // 10**6 for key in left]
        latest = 0 if removed is None else int.from_bytes(removed[1:9], "big") // 10**6
        self.events_from = min([max(begin, latest), *times])

    def rows(self):
        """Returns all rows except the state's, each outcome in a row of its own."""
        rows = dict(self.outcomes)
        for own, value in self.newest.items():
            rows[(b"d" if is_deletion(value) else b"c") + own] = value
        for own, values in self.versions.items():
            for revision, value in values.items():
                rows[b"h" + own + number(revision)] = value
        for name, (first, content) in self.submissions.items():
            for key, value in ((b"i" + name.encode(), number(first) + content), (b"j" + number(first), name.encode())):
                rows[key] = sealed(key, value)
        for key, time in self.evictions.items():
            rows[key] = sealed(key, time)
        for bucket, (documents, tombstones) in self.buckets.items():
            removed = [self.retired.get(bucket, 0)] * 2
            rows[b"n" + bucket] = sealed_json(b"n" + bucket, [documents, tombstones, *removed])
        return {**rows, **self.queues.rows(), **self.expiry.rows(), **self.events, **self._fields(), **self.chains.rows()}

    def _fields(self):
        rows, counts = {}, {}
        for index, bucket, field in self.policies.indexes if self.policies else ():
            begin = bucket.encode() + b"\0"
            for own, value in self.newest.items():
                if not own.startswith(begin) or is_deletion(value):
                    continue
                text = field_of(parse(value[22:].decode()), field.split("."), ordered_text)
                if text is not None:
                    rows[b"f" + short(index) + part(text) + own[len(begin) :]] = b""
                    key = b"v" + short(index) + text.encode()
                    counts[key] = counts.get(key, 0) + 1
        return {**rows, **{key: sealed(key, number(count)) for key, count in counts.items()}}

    def state(self):
        """Returns the state row's members, except those of history bounds."""
        state = {"version": INDEX_VERSION, "log": self.log, "txId": self.tx_id, "time": self.time}
        state.update(mark=self.mark, sha256=self.sha256, documents=self.documents, largest=self.largest)
        if self.events_from is not None:
            state.update(events=len(self.event_keys), eventsFrom=self.events_from)
        if self.expiry.due_from is not None:
            state["dueFrom"] = self.expiry.due_from
        if self.queues.retiring:
            state["retiring"] = [{"queue": queue, "shard": shard} for queue, shard in self.queues.retiring]
        if self.policies:
            indexes = [{"id": index, "bucket": bucket, "field": field} for index, bucket, field in self.policies.indexes]
            scan = [{"bucket": bucket, "after": after} for bucket, after in self.policies.scan]
            value = json.loads(json.dumps(self.policies.value))
            state["policies"] = {"revision": self.policies.revision, "value": value, "indexes": indexes}
            state["policies"].update(nextIndex=self.policies.next_index, scan=scan)
        return state
