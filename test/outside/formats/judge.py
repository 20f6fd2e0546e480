"""Compares a node's index, its checkpoints and its log backup with its log: python judge.py '{"index", "log", "store", "digest", "chains"}'"""

import asyncio
import json
import sys
import tempfile

import backup
import checkpoint
import logs
from compare import differences, read_index
from fold import Fold
from json_text import parse
from rows import digest, is_deletion, outcomes_in, state, stem, version_revision


def birth_of(messages):
    return parse(messages[0][2].split(b"\n", 1)[1].decode())["birth"]


def fold_of(messages, name, rows, last=None):
    """Returns the fold up to a transaction. `rows`: an index, for reasons that docs/internals/log-format.md leaves to nodes."""
    fold = Fold(birth_of(messages)["log"], name)
    outcomes = outcomes_in(rows)
    for at, (position, nanoseconds, payload) in enumerate(messages):
        if last is not None and fold.tx_id >= last:
            break
        if position == 1 and at > 0:
            fold.go_on(birth_of(messages[at:]))
        outcome = outcomes.get(b"t" + (position + fold.log["offset"]).to_bytes(8, "big"))
        fold.apply(position, nanoseconds, payload, outcome and outcome[19:])
    return fold


def chains_of(fold, told):
    """Returns a sentence for each wrong value of the chains in `told`."""
    wrong = []
    for value in told:
        history, effects = fold.chains.at(value["txId"])
        if (history.hex(), effects.hex()) != (value["history"], value["effects"]):
            wrong.append(f"the chains at {value['txId']} are wrong")
    return wrong


def reads_of(fold, reads):
    """Returns a sentence for each wrong read as of a transaction (docs/internals/index-format.md, "As of"). Bounds allow 410."""
    wrong = []
    for read in reads:
        own = stem(read["bucket"], read["key"])
        past = [*fold.versions.get(own, {}).values(), *([fold.newest[own]] if own in fold.newest else [])]
        until = [value for value in past if version_revision(value) <= read["at"]]
        value = max(until, key=version_revision) if until else None
        expected = (404,) if value is None or is_deletion(value) else (200, value[22:].hex(), f'"{version_revision(value)}"')
        found = (200, read["document"], read["etag"]) if read["status"] == 200 else (read["status"],)
        is_gone = found == (410,) and any(one.history(read["bucket"]) for one in fold.all_policies)
        if found != expected and not is_gone:
            wrong.append(f"as of {read['at']} {read['bucket']} {read['key']!r} is {found}, not {expected}")
    return wrong


def judge_index(messages, name, rows):
    found = state(rows[b"mstate"]) if b"mstate" in rows else None
    if found is None:
        return ["the state row cannot be read"], None, 0
    fold = fold_of(messages, name, rows, found["txId"])
    wrong, gone = differences(fold, rows)
    return wrong, fold, gone


def judge_checkpoint(store, checkpoint_name, messages, name):
    value = checkpoint.manifest(store, checkpoint_name)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.unpack(store, value, folder)
        rows = read_index(folder)
    wrong, fold, _ = judge_index(messages, name, rows)
    said = (value["log"], value["txId"], value["anchor"]["sha256"], value["documents"])
    if said != (fold.log, fold.tx_id, fold.sha256, fold.documents):
        wrong.append("the manifest differs from its index")
    return wrong + chains_of(fold, value["chains"])


def read_part(place, stream):
    return asyncio.run(logs.jetstream(place, stream)) if place.startswith("nats://") else logs.embedded(place)[0]


def judge_backups(store, places, stream):
    """Returns a sentence for each log whose backup does not hold its messages, and the number of segments."""
    wrong, count = [], 0
    for place in places:
        part = read_part(place, stream)
        found, segments = backup.read_backup(store, birth_of(part)["log"])
        count += segments
        if found != part:
            wrong.append(f"the backup of {birth_of(part)['log']} holds {len(found)} messages, which are not the {len(part)} of the log")
    return wrong, count


def read_log(places, stream):
    """Returns the messages of a log, or of several, each of which continues the previous one."""
    messages = []
    for place in places:
        part = read_part(place, stream)
        # Messages of the older log beyond the anchor belong to no history.
        messages = messages[: int(birth_of(part)["offset"])] + part
    return messages


def main(task):
    messages = read_log(task["log"], task["name"])
    rows = read_index(task["index"])
    wrong, fold, gone = judge_index(messages, task["name"], rows)
    if digest(rows, fold.log["id"], fold.tx_id) != task["digest"]:
        wrong.append("the node's digest is wrong")
    wrong += chains_of(fold, task["chains"]) + reads_of(fold, task["reads"])
    names = checkpoint.names(task["store"])
    for one in names:
        wrong += [f"{one}: {why}" for why in judge_checkpoint(task["store"], one, messages, task["name"])]
    if not names:
        wrong.append("there is no checkpoint")
    wrong_backups, segments = judge_backups(task["store"], task["log"], task["name"])
    wrong += wrong_backups
    kinds = {key[:1].decode() for key in rows}
    outcomes = [fold.outcomes[key][4] for key in fold.outcomes]
    counts = [outcomes.count(kind) for kind in range(3)]
    refused = [value[19:] for value in fold.outcomes.values() if value[19:].startswith(b"TX_INVALID")]
    print(
        f"{len(messages)} messages ({counts[0]} committed, {counts[1]} aborted, {len(refused)} of them refused for {len(set(refused))} reasons, {counts[2]} duplicates),"
        f" {len(rows)} rows of {len(kinds)} kinds, {gone} removed by bounds, {len(names)} checkpoints, {segments} segments: {len(wrong)} wrong"
    )
    for line in wrong[:20]:
        print(f"  {line}")
    return not wrong


if __name__ == "__main__":
    sys.exit(0 if main(json.loads(sys.argv[1])) else 1)
