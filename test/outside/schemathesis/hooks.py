# Adjusts generated requests where OpenAPI cannot express what a node accepts, each with its reason. Only parameters that are valid are
# changed; what violates the schema is sent as it was generated.
import json
import os
import random
import re

import requests
import schemathesis
from hypothesis import strategies as st

NODE = os.environ["CAIRN_URL"]
chance = random.Random(int(os.environ.get("CAIRN_SEED", "1")))
some = chance.choice


def prepare():
    """Defines an indexed field, and returns a cursor that the node issued."""
    rules = {"indexes": {"jobs": ["state"]}}
    assert requests.put(f"{NODE}/api/v1/policies", json=rules).ok
    for op in ("put", "evict"):
        ops = [[op, "gone", f"g{n}", *([n] if op == "put" else [])] for n in range(5)]
        ops += [["put", "jobs", f"j{n}", {"state": "running"}] for n in range(5) if op == "put"]
        assert requests.post(f"{NODE}/api/v1/tx?await=true", json={"ops": ops}).ok
    page = requests.get(f"{NODE}/api/v1/tx/evictions?limit=2")
    return page.links["next"]["url"].split("cursor=")[1]


EVICTIONS_CURSOR = prepare()

INDEXED = {"where": ["state:running"], "order": "-state"}

# Formats that only this API has.
TIMES = ["2026-11-20T06:12:26.123Z", "2024-02-29T00:00:00+01:00", "2020-01-01"]
schemathesis.openapi.format("cursor", st.just("none"))
schemathesis.openapi.format("indexed-field", st.just("state:running"))
schemathesis.openapi.format("field-order", st.just("-state"))


def text(most, least=0):
    return "".join(some("aZ0 /:ü🐙\n\"'") for _ in range(chance.randint(least, most)))


def key():
    return some(["", "team/", "t t/"]) + text(12, 1).strip("/") + "x"


def numbers_kept(value):
    """Replaces numbers that JavaScript would change, which nodes refuse (docs/http.md): no schema can say "any value whose numbers ..."."""
    if isinstance(value, dict):
        return {name: numbers_kept(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [numbers_kept(inner) for inner in value]
    isNumber = isinstance(value, (int, float)) and not isinstance(value, bool)
    return 1.5 if isNumber and abs(value) >= 2**53 else value


def operation(event):
    """Returns an operation: operations are tuples of several kinds, which OpenAPI 3.0 cannot describe."""
    bucket = some(["pods", "jobs", "of-many"])
    document = some([None, True, 7, 1.25, text(20), [1, {"a": []}], {"state": text(5)}])
    return some([
        ["put", bucket, key(), document],
        ["delete", bucket, key()],
        ["match", bucket, key(), some([None, 1, 2**53 - 1])],
        ["evict", bucket, key()],
        ["event", event],
    ])


def transaction(given):
    event = {"object": text(20, 1), "reason": text(9, 1), "time": str(chance.randint(0, 2**62))}
    ops = [operation(event) for _ in range(chance.randint(1, 4))]
    # A transaction may write a key only once.
    once = {f"{op[1]} {op[2] if '/' in str(op[2:3]) else 'default/' + str(op[2:3])}": op for op in ops}
    return {**given, "ops": list(once.values())}


def policies(given):
    """Returns policies: OpenAPI 3.0 has no pattern for keys, such as names of buckets and fields, nor for durations longer than 0."""
    duration = some(["P30D", "PT1.5H", 60_000])
    made = {
        "expire": {"pods": {"after": duration, "when": {"a.b": some(["x", 7, True, ["x", "y"]])}}},
        "history": {"pods": some([{"keep": 0}, {"for": duration}, {"keep": 3, "for": duration}])},
        "events": some([{"keep": 1}, {"for": duration}]),
        "outcomes": some([{"keep": 2_000_000}, {"for": duration}]),
    }
    return {"indexes": {"jobs": ["state"]}, **{name: made[name] for name in given if name in made}}


def query_of_index(given):
    """Returns a query: a schema of an array or an object becomes a type of its own in generated clients, which is awkward to use."""
    return {**given, "args": some([[], [1, "a", None], {}, {"n": 1}])}


BODIES = {"submitTransaction": transaction, "putPolicies": policies, "queryIndex": query_of_index}


def bytes_of(value, most):
    """Cuts a string to `most` bytes of UTF-8, since OpenAPI counts characters."""
    return value.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def is_valid_timeout(case, value):
    (timeout,) = [one for one in case.operation.definition.raw["parameters"] if one.get("name") == "timeout"]
    return isinstance(value, str) and re.fullmatch(timeout["schema"]["pattern"], value) is not None


def headers_of(case, *names):
    return [name for name in case.headers or {} if name.lower() in names]


@schemathesis.hook
def before_call(context, case, kwargs):
    name = case.operation.definition.raw["operationId"]
    query = case.query = case.query or {}
    # A node would wait for a future transaction until the request's timeout, but none is written.
    waits = name == "getTransaction" or ("min-tx" in query or "as-of" in query) and name != "watch"
    if waits:
        query.setdefault("timeout", "PT0.02S")
    # A request that is meant to be invalid in another parameter may still have a valid timeout, of up to an hour.
    if waits and is_valid_timeout(case, query["timeout"]):
        query["timeout"] = some(["PT0.02S", "20"])
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # No pattern describes which days exist, and the time must be in the log's past.
    if "as-of" in query:
        query["as-of"] = some(["2", "5", *TIMES])
    # Some parameters of a document are only for its history, others only for the document itself.
    if query.get("history") in (True, "true"):
        query.pop("as-of", None)
        for header in headers_of(case, "if-match"):
            del case.headers[header]
    elif "history" in query or not name.startswith("list"):
        query.pop("limit", None)
    # A cursor must come from a node, for the same list.
    if query.pop("cursor", None) is not None and name == "listEvictions":
        query["cursor"] = EVICTIONS_CURSOR
    # Only some buckets have indexed fields.
    if "where" in query or "order" in query:
        case.path_parameters["bucket"] = "jobs"
        query.update({name: value for name, value in INDEXED.items() if name in query})
    # No pattern limits the length of a duration: heartbeats are between 0.1 s and an hour apart.
    if "heartbeat" in query:
        query["heartbeat"] = some(["PT0.1S", "PT10S", "500", "PT1H"])
    if case.method != "GET":
        # A write has one precondition: no schema can say that one header excludes another.
        for header in headers_of(case, "if-match", "if-none-match")[1:]:
            del case.headers[header]
        # schemathesis generates headers of letters and digits only, even if the pattern has none.
        for header in headers_of(case, "if-none-match"):
            case.headers[header] = "*"
    # A read cannot be both stale and linearizable.
    if "stale" in query:
        query.pop("linearizable", None)
    if name == "submitBatch":
        case.body = "\n".join(json.dumps(transaction({})) for _ in range(chance.randint(0, 3)))
    elif name in BODIES and isinstance(case.body, dict):
        case.body = BODIES[name](case.body)
    elif name.startswith("put") or name == "enqueue":
        kept = numbers_kept(case.body)
        # schemathesis examines a body again after a hook has set it, and then treats null as a missing body.
        if kept != case.body:
            case.body = kept


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # OpenAPI before 3.2 has no schema for a single event of a stream (itemSchema), only for its whole text.
    if failure.code == "ST108":
        return False
    # A requested wait that has ended is answered with 504 by design, or with 503 if it was for a store (docs/http.md).
    asked = response.status_code in (503, 504) and "timeout" in (case.query or {})
    return not (asked and response.json()["error"]["code"] in ("TX_TIMEOUT", "STORE_UNREACHABLE", "LOG_UNREACHABLE"))
