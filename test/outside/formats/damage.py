"""Tests the judge: it must report a changed byte anywhere. python damage.py '{"index", "log", "store", "name", "seed"}'"""

import json
import os
import random as randoms
import shutil
import sys
import tempfile

import plyvel

import backup
import checkpoint
import logs
from compare import differences, read_index
from judge import birth_of, fold_of, judge_checkpoint, judge_index, read_log

TRIES = 12


def changed(data, random, begin=0):
    at = random.randrange(begin, len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def is_reported(judge):
    try:
        return bool(judge())
    except Exception:
        return True


def messages_of(messages, rows, name, random):
    at = random.randrange(1, len(messages))
    position, nanoseconds, payload = messages[at]
    kinds = [(position, nanoseconds + 10**6, payload)]
    if payload:
        kinds.append((position, nanoseconds, changed(payload, random)))
    other = messages[:at] + [random.choice(kinds)] + messages[at + 1 :]
    return is_reported(lambda: judge_index(other, name, rows)[0])


def rows_of(fold, rows, random):
    # The log does not decide what a node has purged so far, which is therefore not compared.
    compared = [key for key in rows if key != b"mpurged" and key[:1] != b"y"]
    kind = random.choice(sorted({key[:1] for key in compared}))
    key = random.choice([key for key in compared if key[:1] == kind])
    other = dict(rows)
    value = other.pop(key)
    way = random.randrange(3)
    if way == 0:
        other[changed(key, random)] = value
    elif way == 1 and value:
        other[key] = changed(value, random)
    return is_reported(lambda: differences(fold, other)[0])


def files_of(store, messages, name, random):
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(store, f"{folder}/store")
        one = random.choice(checkpoint.names(copy))
        path = f"{copy}/{one}{random.choice(('.json', '.tar'))}"
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(random.choice((changed(data, random), data[:-1], data + b"\0")))
        return is_reported(lambda: judge_checkpoint(copy, one, messages, name))


def segment_of(store, log_id, random):
    with tempfile.TemporaryDirectory() as scratch:
        folder = shutil.copytree(f"{store}/{backup.folder_of(log_id)}", f"{scratch}/{backup.folder_of(log_id)}")
        one = random.choice(sorted(name for name in os.listdir(folder) if name.endswith(".segment")))
        with open(f"{folder}/{one}", "rb") as file:
            data = file.read()
        other = f"{int(one[:16]) + 1:016}{one[16:]}" if random.random() < 0.2 else one
        with open(f"{folder}/{other}", "wb") as file:
            file.write(data if other != one else random.choice((changed(data, random), data[:-1], data + b"\n")))
        return is_reported(lambda: backup.read_segment(f"{folder}/{other}", log_id) and False)


def log_of(folder, random):
    with tempfile.TemporaryDirectory() as scratch, plyvel.DB(shutil.copytree(folder, f"{scratch}/log")) as database:
        rows = dict(database)
    # Without its first messages it would be a trimmed log, and without its last batch a shorter one.
    key = random.choice(sorted(key for key in rows if len(key) == 8)[1:-1])
    other = {**rows, key: changed(rows[key], random, 8)}
    if random.random() < 0.3:
        del other[key]
    return is_reported(lambda: logs.read_embedded(other) and False)


def main(task):
    random = randoms.Random(task["seed"])
    messages = read_log(task["log"], task["name"])
    rows = read_index(task["index"])
    fold = fold_of(messages, task["name"], rows)
    kinds = {
        "a log's message": lambda: messages_of(messages, rows, task["name"], random),
        "an index's row": lambda: rows_of(fold, rows, random),
        "a checkpoint's file": lambda: files_of(task["store"], messages, task["name"], random),
        "a segment": lambda: segment_of(task["store"], birth_of(messages)["log"], random),
    }
    if os.path.isdir(task["log"][-1]):
        kinds["an embedded log's row"] = lambda: log_of(task["log"][-1], random)
    missed = [what for what, is_found in kinds.items() for _ in range(TRIES) if not is_found()]
    print(f"{TRIES} changes of each of {', '.join(kinds)}: {len(missed)} not reported {missed or ''}")
    return not missed


if __name__ == "__main__":
    sys.exit(0 if main(json.loads(sys.argv[1])) else 1)
