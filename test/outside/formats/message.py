"""Decodes a message, or finds the reason why it is rejected (docs/internals/log-format.md, "Outcomes and reasons")."""

import re

import frame
import policies
from frame import Refused
from json_text import byte_length, cut_units, is_document, is_well_formed, parse, stringify

HELD = ("claim", "renew", "release", "drain", "retire")
RESERVED = {"tx", "events", "watch", "buckets", "checkpoints", "digest", "policies", "queues"}
PARTS = {"delete": 3, "match": 4, "evict": 3, "claim": 4, "renew": 4, "release": 4, "drain": 4, "retire": 4, "enqueue": 3, "move": 5}
EPOCH = "an epoch is a positive integer: the id of the transaction that claimed or began to drain the shard"
EVENT = {"object": 1536, "reason": 256, "message": 16384, "bucket": 253, "time": 19, "type": 64, "source": 256}
NEEDED = ("object", "reason")


class Message:
    """`birth`, or `ops` (each name, bucket, namespace, name, revision, document), `id`, and `line`, the second line."""

    def __init__(self, tag, birth=None, ops=(), id=None, line=b""):
        self.tag, self.birth, self.ops, self.id, self.line = tag, birth, ops, id, line


class Operation:
    def __init__(self, op, bucket=None, key=None, revision=None, has_revision=False):
        self.op, self.bucket, self.key = op, bucket, key
        self.revision, self.has_revision, self.document = revision, has_revision, None
        self.shard = self.epoch = self.holder = None


def decode(payload):
    """Returns a Message, or raises Refused with the reason as it is in the outcome."""
    try:
        return _decode(payload)
    except Refused as refused:
        reason, is_longer = cut_units(str(refused), 300)
        if is_longer:
            reason = "".join(char if is_well_formed(char) else "\ufffd" for char in reason) + "…"
        raise Refused(reason) from None


def _decode(payload):
    tag, _, body = frame.read(payload)
    try:
        payload[17:].decode()
    except UnicodeDecodeError:
        raise Refused("the message is not UTF-8") from None
    line, *documents = body.split(b"\n")
    header = _header(line)
    if "birth" in header:
        if len(header) > 1 or documents or not _is_birth(header["birth"]):
            raise Refused("it is no birth record")
        return Message(tag, birth=header["birth"])
    listed = header.get("ops")
    if not isinstance(listed, list):
        raise Refused("the message has no operations")
    if not listed and "id" in header:
        raise Refused("the message has an id and no operations")
    if "id" in header:
        _check_id(header["id"])
    ops, written = [], set()
    for parts in listed:
        operation = _operation(parts)
        changed = _changed_once(operation)
        if changed is not None:
            if changed in written:
                raise Refused(f"{changed} is changed twice")
            written.add(changed)
        if operation.op in ("put", "delete", "evict", "configure"):
            key = (operation.bucket, operation.key)
            if key in written:
                named = f"{operation.bucket} {operation.key} is written twice"
                raise Refused("the policies are set twice" if operation.op == "configure" else named)
            written.add(key)
        if operation.op in ("put", "enqueue", "event", "configure"):
            if not documents:
                raise Refused("the message lacks a document")
            operation.document = documents.pop(0)
            _check_document(operation)
        ops.append(operation)
    if documents:
        raise Refused("something follows the last document")
    return Message(tag, ops=ops, id=header.get("id"), line=line)


def _header(line):
    try:
        header = parse(line.decode())
    except ValueError:
        header = None
    if not isinstance(header, dict) or not set(header) <= {"ops", "id", "birth"}:
        raise Refused("the line of operations is not readable")
    return header


def is_whole(value, least=0):
    return isinstance(value, float) and value.is_integer() and least <= value <= 2**53 - 1


def _is_birth(birth):
    if not isinstance(birth, dict) or not isinstance(birth.get("log"), str) or not is_whole(birth.get("offset")):
        return False
    if "continues" not in birth:
        return True
    continues = birth["continues"]
    anchor = continues.get("anchor") if isinstance(continues, dict) else None
    return (
        isinstance(anchor, dict)
        and isinstance(continues.get("log"), str)
        and isinstance(anchor.get("sha256"), str)
        and anchor.get("txId") == birth["offset"]
    )


def _check_id(value):
    if not isinstance(value, str) or not 1 <= byte_length(value) <= 256:
        raise Refused("id is text of 1 to 256 bytes")
    if not is_well_formed(value):
        raise Refused("id must be valid Unicode")


def quote(text):
    cut, is_longer = cut_units(text, 80)
    return stringify(cut + "…" if is_longer else text)


def _operation(parts):
    if not isinstance(parts, list):
        raise Refused("an operation is an array")
    op = parts[0] if parts else None
    if op == "event":
        if len(parts) != 1:
            raise Refused("event has 1 part in the log")
        return Operation(op)
    if op == "configure":
        if len(parts) > 2:
            raise Refused("configure has at most 2 parts")
        return Operation(op, revision=_revision(parts[-1]) if len(parts) == 2 else None, has_revision=len(parts) == 2)
    has_epoch = op in ("put", "delete") and len(parts) == 4 and isinstance(parts[3], dict)
    if op == "put":
        if len(parts) != 3 and not has_epoch:
            raise Refused("put has 3 parts in the log, and 4 for an entry of a queue")
    elif not isinstance(op, str):
        raise Refused("an operation begins with its name")
    elif op not in PARTS:
        raise Refused(f"unknown operation {quote(op)}; known are put, delete, match, evict, event, configure, claim, renew, release, enqueue, drain, move and retire")
    elif len(parts) != PARTS[op] and not has_epoch:
        raise Refused(f"{op} has {PARTS[op]} parts, this one has {len(parts)}")
    check_bucket(parts[1])
    if op in HELD or op in ("enqueue", "move"):
        return _of_queue(op, parts)
    key = _key(parts[2])
    if has_epoch:
        operation = Operation(op, parts[1], key)
        if set(parts[3]) not in ({"epoch"}, {"epoch", "as"}):
            raise Refused('the last part of a write is {"epoch": number} if there is one')
        operation.epoch = _epoch(parts[3]["epoch"])
        if "as" in parts[3]:
            operation.holder = _name(parts[3]["as"])
        return operation
    return Operation(op, parts[1], key, _revision(parts[3]) if op == "match" else None)


def _of_queue(op, parts):
    operation = Operation(op, parts[1])
    if op == "enqueue":
        if not isinstance(parts[2], str):
            raise Refused("the name of an entry is text")
        operation.key = _key(f"0/{parts[2]}")[2:]
        return operation
    if op == "move":
        if not isinstance(parts[2], str) or "/" not in parts[2]:
            raise Refused("the key of an entry is text: shard/name")
        operation.key = _key(parts[2])
    operation.shard = _shard(parts[3 if op == "move" else 2])
    if op in ("claim", "drain"):
        operation.holder = _holder(parts[3])
    elif isinstance(parts[-1], dict) and set(parts[-1]) == {"epoch", "as"}:
        operation.epoch, operation.holder = _epoch(parts[-1]["epoch"]), _name(parts[-1]["as"])
    else:
        operation.epoch = _epoch(parts[-1])
    return operation


def _shard(value):
    if not is_whole(value) or value > 1023:
        raise Refused("a shard is a whole number from 0 to 1023")
    return int(value)


def _holder(value):
    if not isinstance(value, dict) or set(value) != {"as"}:
        raise Refused('the last part is {"as": name}')
    return _name(value["as"])


def _name(value):
    if not isinstance(value, str) or not 1 <= byte_length(value) <= 256:
        raise Refused('"as" is text of 1 to 256 bytes')
    if not is_well_formed(value):
        raise Refused('"as" must be valid Unicode')
    return value


def _epoch(value):
    if not is_whole(value, 1):
        raise Refused(EPOCH)
    return int(value)


def _changed_once(one):
    if one.op in HELD:
        return f"{one.bucket} shard {one.shard}"
    return f"{one.bucket} {one.key}" if one.op in ("enqueue", "move") else None


def check_bucket(bucket):
    if not isinstance(bucket, str):
        raise Refused("a bucket is text")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", bucket):
        raise Refused(f"bucket {quote(bucket)} must match [a-z][a-z0-9-]*")
    if len(bucket) > 253:
        raise Refused("a bucket's name is at most 253 bytes")
    if bucket in RESERVED:
        raise Refused(f"the bucket name {quote(bucket)} is reserved")


def _key(key):
    if not isinstance(key, str):
        raise Refused("a key is text: namespace/name")
    namespace, name = key.split("/", 1) if "/" in key else ("default", key)
    if not 1 <= byte_length(namespace) <= 253:
        raise Refused(f"a namespace has 1 to 253 bytes, this one has {byte_length(namespace)}")
    if not 1 <= byte_length(name) <= 1024:
        raise Refused(f"a name has 1 to 1024 bytes of UTF-8, this one has {byte_length(name)}")
    if not is_well_formed(key):
        raise Refused("a key must be valid Unicode")
    return f"{namespace}/{name}"


def _revision(value):
    if value is None or is_whole(value, 1):
        return None if value is None else int(value)
    raise Refused("a revision to compare with is a positive integer or null (absent)")


def _check_document(operation):
    if not is_document(operation.document):
        raise Refused("a document is not JSON, or is nested too deeply")
    if operation.op == "event":
        _check_event(parse(operation.document.decode()))
    elif operation.op == "configure":
        policies.check(parse(operation.document.decode()))


def _check_event(event):
    if not isinstance(event, dict):
        raise Refused('an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}')
    for name in event:
        if name not in EVENT:
            raise Refused(f"an event has no {stringify(name)}; known are {', '.join(EVENT)}")
    for name, most in EVENT.items():
        if name not in event:
            if name in NEEDED:
                raise Refused(f"an event needs {name}")
            continue
        text = event[name]
        if not isinstance(text, str) or (name in NEEDED and text == ""):
            raise Refused(f"an event's {name} is text" + (": nanoseconds since 1970 in digits" if name == "time" else ""))
        if not is_well_formed(text):
            raise Refused(f"an event's {name} must be valid Unicode")
        if byte_length(text) > most:
            raise Refused(f"an event's {name} has at most {most} bytes")
    time = event.get("time")
    if time is not None and (not re.fullmatch(r"0|[1-9][0-9]*", time) or int(time) >= 2**63):
        raise Refused(f"an event's time is nanoseconds since 1970 in digits, not {stringify(time)}")
