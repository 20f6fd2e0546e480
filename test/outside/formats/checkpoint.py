"""Checks a checkpoint in a folder as docs/internals/checkpoint-format.md requires ("Required checks when reading")."""

import hashlib
import json
import os
import re
import tarfile

from logs import Damaged

NAME = re.compile(r"checkpoint-(0|[1-9]\d{0,15})-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z)-[0-9a-f]{8}")
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def need(condition, why):
    if not condition:
        raise Damaged(why)


def names(store):
    """Returns the names of all checkpoints, newest first."""
    found = [file[: -len(".json")] for file in os.listdir(store) if file.endswith(".json")]
    matched = [match for match in map(NAME.fullmatch, found) if match]
    return [match[0] for match in sorted(matched, key=lambda match: (int(match[1]), match[2]), reverse=True)]


def manifest(store, name):
    with open(f"{store}/{name}.json", encoding="utf-8", newline="") as file:
        text = file.read()
    checked, _, _ = text.rpartition(',\n "sha256"')
    sha256 = hashlib.sha256(checked.encode()).hexdigest()
    need(text == f'{checked},\n "sha256": "{sha256}"\n}}\n', "the manifest's checksum is wrong")
    value = json.loads(text)
    tx_id, taken_at = NAME.fullmatch(name).groups()
    need(value["txId"] == int(tx_id) and value["anchor"]["txId"] == value["txId"], "its name does not match its transaction")
    need(value["takenAt"].replace(":", "-") == taken_at, "its name does not match its time")
    need(value["archive"]["name"] == f"{name}.tar", "it names another archive")
    listed = [file["name"] for file in value["files"]]
    need(len(set(listed)) == len(listed) and all(map(PLAIN.fullmatch, listed)), "its file names are not plain, or are repeated")
    need(listed == sorted(listed), "its file names are not in order")
    need(len(value["chains"]) <= 250 and all(one["txId"] <= value["txId"] for one in value["chains"]), "its chains continue beyond it")
    need(value["format"]["archive"] in ("tar/1", "tar+gzip/1"), "the format of its archive is unknown")
    return value


def unpack(store, value, folder):
    """Unpacks the archive and checks every byte of it."""
    path = f"{store}/{value['archive']['name']}"
    need(os.path.getsize(path) == value["archive"]["bytes"], "the archive's size is wrong")
    left = {file["name"]: file for file in value["files"]}
    mode = "r:gz" if value["format"]["archive"] == "tar+gzip/1" else "r:"
    with tarfile.open(path, mode) as archive:
        for entry in archive:
            listed = left.pop(entry.name, None)
            need(entry.isreg() and listed is not None, f"{entry.name} is not in the manifest")
            need((entry.mode, entry.uid, entry.gid, entry.mtime) == (0o644, 0, 0, 0), f"{entry.name} has an owner or a time")
            content = archive.extractfile(entry).read()
            need(len(content) == listed["bytes"], f"the size of {entry.name} is wrong")
            need(hashlib.sha256(content).hexdigest() == listed["sha256"], f"the SHA-256 of {entry.name} is wrong")
            with open(f"{folder}/{entry.name}", "wb") as file:
                file.write(content)
    need(not left, f"{', '.join(left)} is not in the archive")
