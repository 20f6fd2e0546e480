"""Reads the messages of a log: position, time in nanoseconds, bytes (docs/internals/log-format.md, "On NATS JetStream" and "Embedded")."""

import json
import shutil
import tempfile
import zlib

import nats
import plyvel

import frame


class Damaged(Exception):
    """The data differs from the written data."""


async def jetstream(url, stream):
    """Returns the messages of a stream."""
    connection = await nats.connect(url)
    try:
        context = connection.jetstream()
        info = await context.stream_info(stream)
        subscription = await context.subscribe(f"{stream}.tx", ordered_consumer=True)
        messages = []
        while not messages or messages[-1][0] < info.state.last_seq:
            one = await subscription.next_msg(timeout=30)
            tokens = one.reply.split(".")
            if len(tokens) > 11:
                tokens.pop()
            position, nanoseconds = int(tokens[-4]), int(tokens[-2])
            if messages and position != messages[-1][0] + 1:
                raise Damaged(f"message {messages[-1][0] + 1} is missing")
            messages.append((position, nanoseconds, one.data))
        return messages
    finally:
        await connection.close()


def embedded(folder):
    """Returns the messages and the log id. Works on a copy of the folder, since LevelDB writes to a database when it opens it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(folder, f"{scratch}/log")
        with plyvel.DB(copy, paranoid_checks=True) as database:
            return read_embedded(dict(database))


def read_embedded(rows):
    """Returns the messages and the log id from the rows of an embedded log."""
    head = json.loads(rows[b"\0"])
    if head["format"] != 2:
        raise Damaged(f"its format is {head['format']}")
    messages, following = [], 0
    for key, value in sorted(rows.items()):
        if key == b"\0":
            continue
        is_removal = key == b"\0\0"
        if not is_removal and not (len(key) == 8 and key[0] == 0):
            raise Damaged(f"there is no row such as {key.hex()}")
        position = int.from_bytes(key, "big")
        if messages and position != messages[-1][0] + 1:
            raise Damaged(f"message {messages[-1][0] + 1} is missing")
        content = value[8:]
        if is_removal or position >= head["endsFrom"]:
            content, end = value[8:-12], value[-12:]
            if zlib.crc32(end[:8]).to_bytes(4, "big") != end[8:]:
                raise Damaged(f"the end of row {key.hex()} is wrong")
            if messages and following not in (0, int.from_bytes(end[:4], "big") + 1):
                raise Damaged(f"row {key.hex()} does not continue its batch")
            following = int.from_bytes(end[:4], "big")
        if is_removal:
            continue
        messages.append((position, int.from_bytes(value[:8], "big") * 10**6, content))
        # Only nodes write to an embedded log, so every message must be readable.
        frame.read(content)
    if following != 0:
        raise Damaged("the log ends inside a batch")
    if b"\0\0" in rows and int.from_bytes(rows[b"\0\0"][:8], "big") > messages[-1][0]:
        raise Damaged("the log ends before the last position that it recorded")
    return messages, head["id"]
