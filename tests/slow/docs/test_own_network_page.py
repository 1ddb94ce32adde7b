"""The two examples of the page on networks of one's own do what it says."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.exports import cases
from support.checkpoints.imports import probabilities
from support.commands import invoke
from support.documents import page, scripts
from support.jobs import Outcome, write_parquet

from model.bundle import AS_EXPORTED, Bundle
from model.serving.exported.rows import Special, trial_rows
from model.serving.exported.trials import Trials

PAGE = page("models/own-network.md")
LABELS = ("bad", "good", "best")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page assumes: ALBERT as Model Garden saved it, its vocabulary, and texts."""
    case = cases() / "albert_list"
    shutil.copytree(case / "saved_model", tmp_path / "albert")
    shutil.copy(case / "vocab.txt", tmp_path)
    words = (tmp_path / "vocab.txt").read_text().split()[5:]
    texts = [" ".join(words[i : i + 1 + i % 7]) for i in range(20)]
    write_parquet(tmp_path / "texts.parquet", {"id": [str(i) for i in range(20)], "text": texts})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_network_of_the_script_is_bundled_and_scores_as_keras_does(folder: Path) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(script, "own-network.md", "exec"), names)
    bundle, model = Bundle.load(folder / "gated-bundle"), names["classifier"]
    assert (bundle.graph, bundle.labels, bundle.max_tokens) == (AS_EXPORTED, LABELS, 128)
    row = [2, 9, 30, 101, 3]
    lengths = tf.constant([5])
    score = tf.saved_model.load(bundle.scoring).signatures["score"]
    found = score(tokens=tf.constant(row), lengths=lengths, first_segment=lengths)["logits"]
    ids = tf.constant([row])
    given = {"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": tf.zeros_like(ids)}
    assert callable(model)
    np.testing.assert_allclose(found, model(given), rtol=0, atol=1e-5)


def test_albert_is_imported_and_scored_by_the_commands_that_stand_there(folder: Path) -> None:
    commands = [line.split() for line in scripts(PAGE).replace("\\\n", " ").splitlines()]
    assert [command[1] for command in commands] == ["import", "score"]
    code, out, err = invoke(*commands[0][1:])
    assert code == 0, err
    printed = [line for line in out.splitlines() if line.split(" ")[0] in ("read", "layout", "loaded", "note")]
    assert "\n".join(printed) in PAGE
    code, _, err = invoke(*commands[1][1:])
    assert code == 0, err
    verdict = Outcome(verdict=None, output=folder / "scored", date="2026-11-21")  # type: ignore[arg-type]
    assert verdict.manifest["graph"] == AS_EXPORTED
    rows = verdict.rows()
    loaded = tf.saved_model.load(str(folder / "albert")).signatures["serving_default"]
    tokens = (folder / "vocab.txt").read_text().split()
    words = tokens[5:]
    wanted = []
    for i in range(20):
        ids = tf.constant([[2, *(tokens.index(word) for word in words[i : i + 1 + i % 7]), 3]])
        given = {"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": tf.zeros_like(ids)}
        wanted.append(tf.nn.softmax(loaded(**given)["sentence_prediction"])[0].numpy())
    np.testing.assert_allclose(probabilities(rows, LABELS), wanted, rtol=0, atol=1e-6)


def test_every_trial_of_the_page_is_one_that_is_made() -> None:
    special = Special(start=2, end=3, pad=0)

    def score(tokens: np.ndarray, *_: np.ndarray) -> np.ndarray:
        return np.cumsum(tokens > 0, axis=1)[:, -1:].astype(np.float32)

    found = Trials(
        origin="it",
        score=score,
        behind=score,
        special=special,
        vocabulary=50,
        length=None,
    ).prove(trial_rows(special, 50, 20, pairs=False))
    assert set(re.findall(r"^\| `(\w+)`:", PAGE, re.MULTILINE)) == found.differences.keys()
