"""Random keys, documents and messages of all kinds, from a seed."""

import json
import struct

BUCKETS = ("pods", "jobs", "x-1")
NAMES = ("a", "b", "a/b", "ü/ß", "zero\0byte", "\0", "\0\0x", "日本", "😀", "e\u0301", "a b+c%2F", "..", "\u007f", "\ufeff", "\uffff")
STATES = ("done", "running", 3, 3.5, "3", True, None, "", "x" * 1025, "\0", "ä\0", "\ud800", 1e15, -0.0, 1e-7, 123456789.25, [], {"a": 1})


def key(random):
    namespace = random.choice(("", "default/", "default/", "ns/", "n\0s/", "ä/"))
    name = random.choice(NAMES) if random.random() < 0.5 else f"k{random.randrange(30)}"
    return namespace + name if namespace else name.replace("/", "-")


def value(random, deep=0):
    kind = random.randrange(9 if deep < 4 else 6)
    if kind == 0:
        return random.choice((0, -1, 1, 2**53 - 1, -(2**53) + 1, random.randrange(10**9)))
    if kind == 1:
        number = struct.unpack(">d", random.randbytes(8))[0]
        return number if abs(number) < 2**53 else 0.5
    if kind == 2:
        return random.choice((True, False, None))
    if kind < 6:
        return "".join(chr(random.choice((0, 9, 10, 13, 34, 92, 127, 0x2028, 0xE9, 0x4E2D, 0x1F600, 65))) for _ in range(random.randrange(12)))
    if kind == 6:
        return [value(random, deep + 1) for _ in range(random.randrange(4))]
    names = random.sample(("b", "a", "2", "10", "1", "é", "a.b", "__proto__", "01"), random.randrange(4))
    return {name: value(random, deep + 1) for name in names}


def document(random):
    if random.random() < 0.3:
        return value(random)
    return {"state": random.choice(STATES), "spec": {"node": random.choice(STATES)}, "v": value(random)}


def event(random):
    one = {"object": random.choice(("pod/a", "ä\0")), "reason": "R"}
    if random.random() < 0.5:
        one["time"] = str(random.choice((0, 2**63 - 1, random.randrange(10**18, 2 * 10**18))))
    if random.random() < 0.5:
        one["message"] = "m" * random.randrange(40)
    return one


def operation(random):
    bucket, name = random.choice(BUCKETS), key(random)
    kind = random.random()
    if kind < 0.62:
        return ["put", bucket, name, document(random)]
    if kind < 0.8:
        return ["delete", bucket, name]
    if kind < 0.86:
        return ["match", bucket, name, random.choice((None, random.randrange(1, 400)))]
    if kind < 0.9:
        return ["evict", "x-1", name]
    return ["event", event(random)]


def transaction(random):
    """Returns a transaction that HTTP accepts, unless it writes a key twice."""
    said = {"ops": [operation(random) for _ in range(random.choice((1, 1, 1, 2, 5)))]}
    if random.random() < 0.2:
        said["id"] = random.choice(("again", "ä 1", f"id-{random.randrange(40)}"))
    return said


def flood(random):
    """Yields transactions with more documents and events than policies examine with one transaction."""
    for place in range(450):
        yield {"ops": [["put", "jobs", f"w{place:03}", {"state": random.choice(("done", "done", 3, "running"))}]]}
    yield {"ops": [["event", event(random)] for _ in range(350)]}


QUEUES = {
    "work": {"shards": 3, "cap": 6, "terminal": {"state": ["done", 3]}, "lease": "PT0.1S"},
    "w-2": {"shards": 2, "cap": 400, "terminal": {"state": "done", "spec.node": [True, "3"]}, "lease": "PT1H"},
}
ENTRIES = ("e/1", "ü", "zero\0byte", "\0", "日本", "a b", *(f"e{place}" for place in range(20)))
DONE = {"state": "done", "spec": {"node": True}}


def queues(random):
    """Returns policies of queues, which differ a little each time."""
    said = json.loads(json.dumps(QUEUES))
    work = said["work"]
    if random.random() < 0.5:
        work["cap"] = random.randrange(3, 9)
    if random.random() < 0.3:
        work["shards"] = random.randrange(2, 5)
    if random.random() < 0.2:
        work["terminal"] = {"state": "done"}
    if random.random() < 0.05:
        del said["w-2"]
    if random.random() < 0.05:
        said["x-1"] = said["work"]
    return said


def queue_operation(random, epochs):
    """Returns an operation on a queue. `epochs`: by queue and shard, the transactions that claimed it."""
    queue = random.choice(("work",) * 12 + ("w-2",) * 4 + ("pods",))
    shard, name = random.randrange(4), random.choice(ENTRIES)
    known = epochs.get((queue, shard), [1])
    epoch = known[-1] if random.random() < 0.85 else random.choice((*known, known[-1] + 1))
    holder = random.choice((None, None, "d", "e", "\u00fc"))
    key, with_epoch = f"{shard}/{name}", {"epoch": epoch}
    if holder is not None:
        with_epoch["as"] = holder
        epoch = dict(with_epoch)
    done = random.choice((DONE, DONE, document(random)))
    return random.choice(
        [["enqueue", queue, name, done], ["enqueue", queue, name, {"state": "open"}]] * 3
        + [["put", queue, key, done, with_epoch]] * 4
        + [["put", queue, key, {"state": 3}], ["delete", queue, key, with_epoch], ["delete", queue, key], ["evict", queue, key]]
        + [["claim", queue, shard, {"as": random.choice(("a", "ü \"b\""))}]] * 3
        + [["drain", queue, shard, {"as": "d"}], ["drain", queue, shard, {"as": "d"}], ["release", queue, shard, epoch]]
        + [["renew", queue, shard, epoch], ["put", queue, f"0{key}", 1], ["put", queue, "x/y", 1], ["match", queue, key, None]]
        + [["move", queue, key, random.randrange(4), epoch]] * 4
        + [["retire", queue, shard, epoch]] * 2
    )


def queue_transaction(random, epochs):
    return {"ops": [queue_operation(random, epochs) for _ in range(random.choice((1, 1, 1, 1, 2, 4)))]}


def during_a_scan(random):
    """Returns a transaction on documents that are being scanned."""
    place = f"w{random.randrange(450):03}"
    kind = random.choice(("put", "delete", "match", "match"))
    rest = {"put": [{"state": "done"}], "delete": [], "match": [random.choice((None, 3))]}[kind]
    return {"ops": [[kind, "jobs", place, *rest], ["put", "x-1", "beside", 1]]}


HISTORIES = ({"keep": 1}, {"keep": 0}, {"for": "PT1S"}, {"keep": 2, "for": "PT30S"})


def policies(random, history):
    fields = random.sample(("state", "spec.node", "v", "spec"), random.randrange(1, 4))
    rule = {"when": {"state": ["done", 3]}, "after": random.choice(("PT0.2S", "PT0,05S", 300, 120.5, "P1D"))}
    said = {"indexes": {"pods": fields, "jobs": ["state"]}, "expire": {"jobs": rule}}
    if random.random() < 0.5:
        said["expire"]["pods"] = {"when": {"v": [0, "", True]}, "after": 60}
    if random.random() < 0.7:
        said["events"] = random.choice(({"keep": 5}, {"for": "PT1S"}, {"keep": 20, "for": "P1D"}))
    if random.random() < 0.3:
        said["outcomes"] = random.choice(({"keep": 2_000_000}, {"for": "PT1S"}))
    said["queues"] = queues(random)
    if history is not None:
        said["history"] = history
    return said


def lines(random):
    """Returns the bytes after the first line of a foreign message; most of them are slightly wrong."""
    header = random.choice((random.choice(HEADERS), {"ops": [["put", "pods", key(random)]]}, {"ops": [["event"]]}, {"ops": [["configure"]]}))
    listed = header.get("ops") or []
    needed = sum(isinstance(one, list) and one[:1] in (["put"], ["enqueue"], ["event"], ["configure"]) for one in listed)
    text = json.dumps(header)
    if random.random() < 0.2:
        text = random.choice((text.replace(" ", " \t\r"), text + " x", "\ufeff" + text, "[" * 400, "", text[:-1] + ', "id": "a", "id": "a"}'))
    body = [text.encode()]
    body += [random.choice(DOCUMENTS) for _ in range(needed + random.choice((0,) * 8 + (-1, 1)))]
    return b"\n".join(body)


HEADERS = [
    {"ops": [["delete", "pods", "k1"]]},
    {"ops": [["delete", "pods", "k1"]], "id": "again"},
    {"ops": [["delete", "pods", "k1"]], "id": ""},
    {"ops": [["delete", "pods", "k1"]], "id": 5},
    {"ops": [["delete", "pods", "k1"]], "id": "\ud800"},
    {"ops": [["delete", "pods", "k1"]], "by": "me"},
    {"ops": []},
    {"ops": [], "id": "b"},
    {"ops": {}},
    {},
    {"ops": [["put", "pods", "tw"], ["put", "pods", "default/tw"]]},
    {"ops": [["put", "pods", "m"], ["match", "pods", "m", None]]},
    {"ops": [["match", "pods", "k1", 7.0], ["match", "pods", "k2", 1e300]]},
    {"ops": [["match", "pods", "k1", 0]]},
    {"ops": [["match", "pods", "k1", "7"]]},
    {"ops": [["match", "pods", "k1"]]},
    {"ops": [["evict", "x-1", "k1", 1]]},
    {"ops": [["put", "tx", "k1"]]},
    {"ops": [["put", "Pods", "k1"]]},
    {"ops": [["put", "ä" * 100 + "😀" * 10, "k1"]]},
    {"ops": [["put", "p" * 254, "k1"]]},
    {"ops": [["put", 1, "k1"]]},
    {"ops": [["put", "pods", None]]},
    {"ops": [["put", "pods", "/x"]]},
    {"ops": [["put", "pods", "n" * 254 + "/x"]]},
    {"ops": [["put", "pods", "x/" + "ä" * 513]]},
    {"ops": [["put", "pods", "x/\ud800"]]},
    {"ops": [["put", "pods", "k" * 400], ["put", "pods", "k" * 400]]},
    {"ops": [["put", "pods", "k" * 282 + "😀" * 9], ["delete", "pods", "k" * 282 + "😀" * 9]]},
    {"ops": [["drop", "pods", "k1"]]},
    {"ops": [["x" * 79 + "😀"]]},
    {"ops": [[]]},
    {"ops": ["put"]},
    {"ops": [["put", "pods", "k1", 1]]},
    {"ops": [["event", 1]]},
    {"ops": [["event"]]},
    {"ops": [["event"], ["event"], ["put", "pods", "k2"], ["event"]]},
    {"ops": [["configure"], ["configure"]]},
    {"ops": [["configure", 1]]},
    {"ops": [["configure", 1, 2]]},
    {"ops": [["configure", -1]]},
    {"ops": [["claim", "work", 0, {"as": "s"}]]},
    {"ops": [["claim", "work", 1024, {"as": "s"}]]},
    {"ops": [["claim", "work", "0", {"as": "s"}]]},
    {"ops": [["claim", "work", 0.0, {"as": ""}]]},
    {"ops": [["claim", "work", 0, {"as": "\ud800"}]]},
    {"ops": [["claim", "work", 0, {"as": "s", "by": 1}]]},
    {"ops": [["claim", "work", 0, "s"]]},
    {"ops": [["claim", "work", 0]]},
    {"ops": [["claim", "Work", 0, {"as": "s"}]]},
    {"ops": [["drain", "work", 1, {"as": "s"}], ["renew", "work", 1.0, 5]]},
    {"ops": [["claim", "work", 0, {"as": "s"}], ["enqueue", "work", "of two"], ["put", "work", "0/and"]]},
    {"ops": [["renew", "work", 0, 0]]},
    {"ops": [["renew", "work", 0, None]]},
    {"ops": [["release", "work", 0, 2.5]]},
    {"ops": [["retire", "work", -1, 5]]},
    {"ops": [["enqueue", "work", "strange"]]},
    {"ops": [["enqueue", "work", "a/b"], ["enqueue", "work", "a/b"]]},
    {"ops": [["enqueue", "work", ""]]},
    {"ops": [["enqueue", "work", 5]]},
    {"ops": [["enqueue", "work", "ä" * 513]]},
    {"ops": [["enqueue", "work", "\ud800"]]},
    {"ops": [["enqueue", "work", "a", {}]]},
    {"ops": [["enqueue", "queues", "a"]]},
    {"ops": [["move", "work", "a", 1, 5]]},
    {"ops": [["move", "work", "0/a", 1024, 5]]},
    {"ops": [["move", "work", "0/a", 1]]},
    {"ops": [["move", "work", "0/a", 1, "5"]]},
    {"ops": [["move", "work", "0/a", 1, 5], ["move", "work", "0/a", 2, 5]]},
    {"ops": [["put", "work", "0/a", {"epoch": 5}], ["delete", "work", "0/b", {"epoch": 5}]]},
    {"ops": [["put", "work", "0/a", {"epoch": 5}], ["delete", "work", "0/a", {"epoch": 5}]]},
    {"ops": [["put", "work", "0/a", {}]]},
    {"ops": [["put", "work", "0/a", {"epoch": 0}]]},
    {"ops": [["delete", "work", "a", {"epoch": 5}]]},
    {"ops": [["delete", "work", "0/a", {"epoch": 5, "as": 1}]]},
    {"ops": [["delete", "work", "0/a", {"epoch": 5, "as": ""}]]},
    {"ops": [["delete", "work", "0/a", {"epoch": 0, "as": "x"}]]},
    {"ops": [["delete", "work", "0/a", {"epoch": 5, "as": "x", "of": 1}]]},
    {"ops": [["renew", "work", 0, {"epoch": 5, "as": "x"}]]},
    {"ops": [["renew", "work", 0, {"epoch": 5, "as": "\ud800"}]]},
    {"ops": [["renew", "work", 0, {"epoch": 5}]]},
    {"ops": [["move", "work", "0/a", 1, {"epoch": -1, "as": "x"}]]},
    {"ops": [["delete", "work", "0/a", 5]]},
    {"ops": [["put", "pods", "0/a", {"epoch": 5}]]},
    {"birth": {"log": "x", "offset": 0}},
    {"birth": 5},
    {"birth": {"log": "x", "offset": 0}, "ops": []},
]

DOCUMENTS = [
    b'{"state":"done","state":3}',
    b'{"state": 3e0, "spec": {"node": 1e400}}',
    b'{"state":"\\ud83d\\ude00","spec":{"node":"\\ud800"}}',
    b'{"st\\u0061te":"escaped"}',
    b'{"state":1e21,"spec":{"node":-1.5e-9}}',
    b" \t[1, 2.50, -0, 9007199254740993] ",
    b'"\\ud800"',
    b'"\\/"',
    b"1e400",
    b"{}\r",
    b"hello",
    b"",
    b"\xef\xbb\xbf1",
    b'"\xff"',
    b"NaN",
    b"01",
    b"[1,]",
    b"[" * 500 + b"]" * 500,
    b"[" * 501 + b"]" * 501,
    b'"\x01"',
    b'{"object":"o","reason":"r"}',
    b'{"object":"o","reason":"r","time":"01"}',
    b'{"object":"o","reason":"r","time":"9223372036854775808"}',
    b'{"object":"o","reason":"r","time":7}',
    b'{"object":"","reason":"r"}',
    b'{"object":"o"}',
    b'{"object":"o","reason":"\\ud800"}',
    b'{"object":"o","reason":"r","object":"p"}',
    b'{"object":"o","reason":"r","k\\n\\"\\u007f":1}',
    b'{"object":"' + b"o" * 1537 + b'","reason":"r"}',
    b'{"indexes":{"pods":["v","v"]}}',
    b'{"events":{"keep":7e0}}',
    b'{"expire":{"jobs":{"after":0}}}',
    b'{"expire":{"jobs":{"after":"P1M"}}}',
    b'{"events":{"keep":0}}',
]
