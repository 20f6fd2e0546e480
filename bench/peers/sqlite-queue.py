"""A queue in a table of SQLite, in one process: entries are put, claimed, finished.

Usage: python3 sqlite-queue.py FILE ENTRIES AT_ONCE
Prints the seconds that it took to put all entries and finish them, each change flushed to the disk with its commit.
AT_ONCE entries share each commit, as if that many callers had waited for it together.
"""

import sqlite3
import sys
import time

DOCUMENT = '{"state":"open","text":"%s"}' % ("x" * 280)


def main(file, entries, at_once):
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT UNIQUE, state TEXT, document TEXT)")
    db.execute("CREATE INDEX open_entries ON queue (id) WHERE state = 'open'")
    begin = time.monotonic()
    put = finished = 0
    while finished < entries:
        names = [(f"e{number}", DOCUMENT) for number in range(put, min(put + at_once, entries))]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO queue (name, state, document) VALUES (?, 'open', ?)", names)
        db.execute("COMMIT")
        put += len(names)
        db.execute("BEGIN IMMEDIATE")
        claimed = db.execute(
            "UPDATE queue SET state = 'claimed' WHERE id IN "
            "(SELECT id FROM queue WHERE state = 'open' ORDER BY id LIMIT ?) RETURNING id, document",
            (at_once,),
        ).fetchall()
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        db.executemany("UPDATE queue SET state = 'finished' WHERE id = ?", [(id,) for id, _ in claimed])
        db.execute("COMMIT")
        finished += len(claimed)
    print(time.monotonic() - begin)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
