"""Two models score nearly the same texts, and what `compare` finds is what plain Python finds in the published rows."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import Built, lively
from support.checkpoints.fitted_once import InFloat32
from support.commands import invoke
from support.jobs import Outcome, Score, many_texts, write_parquet

from model.bundle import seal
from pipeline.bundling.sealing import copy_files, described
from pipeline.commands.comparing.dates import find_dates
from pipeline.commands.comparing.job import CompareJob
from transforms.outputs.comparison.compare import compare
from transforms.outputs.comparison.found import Ids, Labelled, Right, Valued

ROWS = 60
ONLY_A, OTHER_TEXT, COPIES = 7, 2, 5
_DIFFERENT = many_texts(ROWS - COPIES)
TEXTS = [*_DIFFERENT[:10], *_DIFFERENT[20 : 20 + COPIES], *_DIFFERENT[10:]]
Pairs = Mapping[str, tuple[dict[str, Any], dict[str, Any]]]


def of_other_weights(built: Built, folder: Path, task: str, seed: int) -> Path:
    """The bundle with other weights, or those of a task that has as many outputs; its graph of tokens is the same."""
    assert built.config is not None
    folder.mkdir()
    copy_files(built.bundle, folder)
    shutil.rmtree(folder / "scoring")
    classifier = lively(built.config, max(1, len(built.labels)), seed)
    activation = "sigmoid" if task == "multilabel" else None
    InFloat32.from_classifier(classifier, built.config, activation).export(folder / "scoring")
    description = {
        key: value for key, value in described(built.bundle).items() if key not in ("activation", "thresholds")
    }
    seal(folder, {**description, "task": task})
    return folder


def nights(run_job: Score, a: Path, b: Path, folder: Path, kept: Mapping[str, list[Any]]) -> tuple[Outcome, Outcome]:
    """Both models score: the second one fewer rows, of which some have another text. The first one keeps columns."""
    ids = [f"r{row}" for row in range(ROWS)]
    old = write_parquet(folder / "old.parquet", {"id": ids, "text": TEXTS, **kept})
    changed = ["my weather is a song"] * OTHER_TEXT + TEXTS[OTHER_TEXT : ROWS - ONLY_A]
    new = write_parquet(folder / "new.parquet", {"id": ids[: ROWS - ONLY_A], "text": changed})
    usual: dict[str, Any] = {"max_dead_fraction": 0.0}
    return (
        run_job(old, bundle=str(a), output=folder / "a", keep=[*kept], **usual),
        run_job(new, bundle=str(b), output=folder / "b", **usual),
    )


def compared(folder: Path, outcomes: tuple[Outcome, Outcome], gold: str) -> tuple[Labelled | Valued, Pairs]:
    """What `compare` finds, and the rows of both by id, without those whose text is another one."""
    a, b = find_dates(CompareJob(a=str(folder / "a"), b=str(folder / "b")))
    found = compare(a.side, b.side, ROWS, gold=gold, rows_at_once=20)
    one, other = ({row["id"]: row for row in outcome.rows()} for outcome in outcomes)
    both = {id_: (one[id_], other[id_]) for id_ in one.keys() & other.keys()}
    pairs = {id_: pair for id_, pair in both.items() if pair[0]["text_hash"] == pair[1]["text_hash"]}
    texts = len({row["text_hash"] for row, _ in pairs.values()})
    assert texts == len(pairs) - COPIES
    assert found.ids == Ids(
        both=ROWS - ONLY_A - OTHER_TEXT, only_a=ONLY_A, only_b=0, repeated=0, other_text=OTHER_TEXT, texts=texts
    )
    return found, pairs


def right_ones(are: list[tuple[bool, bool]]) -> Right:
    return Right(
        rows=len(are),
        both=are.count((True, True)),
        only_a=are.count((True, False)),
        only_b=are.count((False, True)),
    )


def test_one_label_a_text(run_job: Score, classes: Built, tmp_path: Path) -> None:
    challenger = of_other_weights(classes, tmp_path / "challenger", "classification", 8)
    gold = [None if row % 10 == 0 else "" if row % 10 == 1 else classes.labels[row % 3] for row in range(ROWS)]
    outcomes = nights(run_job, classes.path, challenger, tmp_path, {"gold": gold, "labels": [["x"]] * ROWS})
    found, pairs = compared(tmp_path, outcomes, "gold")
    assert isinstance(found, Labelled)
    changed = sum(a["label"] != b["label"] for a, b in pairs.values())
    assert 0 < changed == found.changed
    moved = [float(b["probability"]) - float(a["probability"]) for a, b in pairs.values()]
    assert found.differences.mean == pytest.approx(np.mean(moved), abs=1e-9)
    known = [(a["label"] == a["gold"], b["label"] == a["gold"]) for a, b in pairs.values() if a["gold"]]
    assert found.right == right_ones(known)
    code, shown, _ = invoke("compare", tmp_path / "a", tmp_path / "b", "--label-column", "gold")
    assert code == 0
    assert f"{OTHER_TEXT} ids have another text in B and are left out" in shown
    assert f"{changed} of {len(pairs)} texts have another label in B" in shown
    assert "copies count like texts of their own" in shown
    assert all(text not in shown for text in TEXTS)


def test_several_labels_a_text(run_job: Score, classes: Built, tmp_path: Path) -> None:
    a, b = (of_other_weights(classes, tmp_path / f"bundle-{seed}", "multilabel", seed) for seed in (7, 8))
    gold = [None if row % 10 == 0 else [*classes.labels[: row % 3]] for row in range(ROWS)]
    outcomes = nights(run_job, a, b, tmp_path, {"label": gold, "probability": [0.5] * ROWS})
    found, pairs = compared(tmp_path, outcomes, "label")
    assert isinstance(found, Labelled)
    sets = {id_: tuple({entry["label"] for entry in row["labels"]} for row in pair) for id_, pair in pairs.items()}
    assert found.several
    assert 0 < sum(one != other for one, other in sets.values()) == found.changed
    right = {id_: pair[0]["label"] for id_, pair in pairs.items()}
    known = [
        (one == {*right[id_]}, other == {*right[id_]}) for id_, (one, other) in sets.items() if right[id_] is not None
    ]
    assert found.right == right_ones(known)


def test_a_value_a_text(run_job: Score, regression: Built, tmp_path: Path) -> None:
    challenger = of_other_weights(regression, tmp_path / "challenger", "regression", 8)
    gold = [None if row % 10 == 0 else row / 20 for row in range(ROWS)]
    kept = {"label": gold, "probability": [0.5] * ROWS}
    outcomes = nights(run_job, regression.path, challenger, tmp_path, kept)
    found, pairs = compared(tmp_path, outcomes, "label")
    assert isinstance(found, Valued)
    moved = np.array([b["value"] - a["value"] for a, b in pairs.values()])
    assert found.mean == pytest.approx(moved.mean(), abs=1e-6)
    assert found.rms == pytest.approx(np.sqrt(np.mean(moved**2)), abs=1e-6)
    assert found.nearness is not None
    known = [(a["value"] - a["label"], b["value"] - a["label"]) for a, b in pairs.values() if a["label"] is not None]
    nearer = [abs(one) < abs(other) for one, other in known]
    assert (found.nearness.rows, found.nearness.nearer_a) == (len(known), sum(nearer))
    assert found.nearness.rms_b == pytest.approx(np.sqrt(np.mean([other**2 for _, other in known])), abs=1e-6)
