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
    head = json.loads(rows[b"\xff"])
    if head["format"] != 1:
        raise Damaged(f"its format is {head['format']}")
    messages = []
    for key, value in sorted(rows.items()):
        if len(key) == 8 and key[0] == 0:
            position = int.from_bytes(key, "big")
            if messages and position != messages[-1][0] + 1:
                raise Damaged(f"message {messages[-1][0] + 1} is missing")
            messages.append((position, int.from_bytes(value[:8], "big") * 10**6, value[8:]))
            # Only nodes write to an embedded log, so every message must be readable.
            frame.read(value[8:])
        elif key[:1] == b"\2" and len(key) == 9:
            if value[:8] != rows[key[1:]][:8]:
                raise Damaged("the time of an id is not that of its message")
        elif key == b"\3":
            if zlib.crc32(value[:12]).to_bytes(4, "big") != value[12:]:
                raise Damaged("the checksum of the last batch is wrong")
        elif key != b"\xff":
            raise Damaged(f"there is no row such as {key.hex()}")
    if int.from_bytes(rows[b"\3"][:8], "big") != messages[-1][0]:
        raise Damaged("the last batch does not end where the log does")
    return messages, head["id"]
