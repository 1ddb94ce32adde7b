"""Published dates made by hand, and what differs between two of them in plain Python."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.schemas import LABEL
from transforms.batches.score_columns import PROBABILITIES
from transforms.outputs.comparison.sides import Side

Row = dict[str, Any]
RUN_ID = "20261122T020000Z-0123ab"
STEPS = (0.01, 0.05, 0.1, 0.25, 0.5)


def schema(row: Row, kept: Mapping[str, pa.DataType]) -> pa.Schema:
    """Columns of a date with rows such as this one, as a job writes them: id, kept ones, the model's, and the rest."""
    kinds = {"label": LABEL, "probability": pa.float32(), "labels": PROBABILITIES, "value": pa.float32()}
    own = next((own for own in (("label", "probability"), ("labels",), ("value",)) if own[0] in row), ())
    results = {name: kinds[name] for name in own} | (
        {} if own == ("value",) or not own else {"probabilities": PROBABILITIES}
    )
    hashed = {"text_hash": pa.int64()} if "text_hash" in row else {}
    # A list, since kept columns may have names of other tasks.
    return pa.schema(
        [("id", pa.string()), *kept.items(), *results.items(), ("token_count", pa.int32()), *hashed.items()]
    )


def side(
    folder: Path,
    rows: Sequence[Row],
    like: Row,
    *,
    files: int = 2,
    gold: pa.DataType | None = None,
    kept: Mapping[str, pa.DataType] | None = None,
) -> Side:
    """The rows as a date in so many files; `like` is a row with the columns of its task, if there are none.

    `gold` is the type of a kept column of that name; `kept` are others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = {**({} if gold is None else {"gold": gold}), **(kept or {})}
    paths, counts = [], []
    for number in range(files):
        path, some = folder / f"part-{RUN_ID}-{number:05}.parquet", rows[number::files]
        pq.write_table(pa.Table.from_pylist(some, schema(like, columns)), path)
        paths.append(str(path))
        counts.append(len(some))
    return Side(name=str(folder), parts=tuple(paths), rows=tuple(counts))


def published(output: Path, date: str, rows: Sequence[Row], *, bundle: str = "b@0", **more: Any) -> Path:
    """An output in which a date has these rows, with a manifest."""
    made = side(output / f"dt={date}", rows, rows[0] if rows else {"label": "", "probability": 0.0}, **more)
    files = [
        {
            "path": f"dt={date}/{Path(path).name}",
            "rows": count,
            "bytes": 1,
            "checksum": "crc32c:00000000",
        }
        for path, count in zip(made.parts, made.rows, strict=True)
    ]
    manifest = {
        "sequence": 1,
        "run_id": RUN_ID,
        "logical_date": date,
        "finished": True,
        "bundle": bundle,
        "files": files,
        "dead_letters": [],
        "counts": {"read": len(rows), "scored": len(rows), "dead": 0},
    }
    (output / f"dt={date}" / "_manifest.json").write_text(json.dumps(manifest))
    return output


def joined(a: Sequence[Row], b: Sequence[Row]) -> tuple[dict[str, tuple[Row, Row]], tuple[int, int, int, int]]:
    """Rows of both by id, and how many ids are in both, in A alone, in B alone, more than once."""
    times = [Counter(row["id"] for row in rows) for rows in (a, b)]
    repeated = {id_ for counts in times for id_, count in counts.items() if count > 1}
    by_id = [{row["id"]: row for row in rows if row["id"] not in repeated} for rows in (a, b)]
    both = {id_: (row, by_id[1][id_]) for id_, row in by_id[0].items() if id_ in by_id[1]}
    return both, (len(both), len(by_id[0]) - len(both), len(by_id[1]) - len(both), len(repeated))


def bins(differences: Iterable[float]) -> list[int]:
    """Counts between the steps, on either side of 0."""
    counts = [0] * (2 * len(STEPS) + 1)
    for difference in differences:
        step = bisect_left(STEPS, abs(difference))
        counts[len(STEPS) + (step if difference > 0 else -step)] += 1
    return counts


def first(scores: Mapping[str, float], most: int) -> list[str]:
    """Ids with the largest scores."""
    return sorted(scores, key=lambda id_: (-scores[id_], id_))[:most]


def narrow(number: float) -> float:
    """As float32 has it."""
    return float(np.float32(number))


def counts(rows: Iterable[Any], known: Callable[[Any], bool]) -> int:
    """How many rows are so."""
    return sum(1 for row in rows if known(row))
