"""Runs two publishers statement by statement in many orders, under snapshot isolation; for the emulators' Python.

DuckDB, as BigQuery, aborts one of two transactions that delete the same row, and neither of two that only insert. Reads
a JSON object from standard input: `setup`, `publishers` (the statements of each), `final` (a query), `orders`. Writes
what the query found after each order, without duplicates. An aborted publisher begins again when the other is done.
"""

import json
import random
import sys

import duckdb


def play(database: duckdb.DuckDBPyConnection, given: dict, order: list[int]) -> str:
    for (name,) in database.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        database.execute(f'DROP TABLE "{name}"')
    for statement in given["setup"]:
        database.execute(statement)
    publishers = given["publishers"]
    connections = [database.cursor() for _ in publishers]
    left, aborted = [list(statements) for statements in publishers], []
    for who in order:
        if who in aborted or not left[who]:
            continue
        try:
            connections[who].execute(left[who].pop(0))
        except duckdb.TransactionException:
            connections[who].rollback()
            aborted.append(who)
    for who in aborted:
        for statement in publishers[who]:
            connections[who].execute(statement)
    return str(database.execute(given["final"]).fetchall())


def main() -> None:
    given = json.load(sys.stdin)
    source, database = random.Random(1), duckdb.connect(config={"threads": 1})
    found = set()
    for _ in range(given["orders"]):
        order = [who for who, statements in enumerate(given["publishers"]) for _ in statements]
        source.shuffle(order)
        found.add(play(database, given, order))
    json.dump(sorted(found), sys.stdout)


if __name__ == "__main__":
    main()
