"""A tiny network in every form of signature is scored as it is, in jobs too."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.exported_rows import ROWS, MakeTiny, plain, scored, slow_but
from support.checkpoints.exports import (
    VOCABULARY,
    Tiny,
    mean_with_padding,
    sigmoid,
    softmax,
)
from support.jobs import Score, write_parquet

from pipeline.errors import RunFailedError
from transforms.score import macro_batch

FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "int64": ({"types": dict.fromkeys(("ids", "mask", "types"), tf.int64)}, {}),
    "a mask of floats": ({"types": {"mask": tf.float32}}, {}),
    "other names": (
        {"names": {"mask": "a", "types": "b", "ids": "c"}},
        {"inputs": "ids=c,mask=a,types=b"},
    ),
    "names of transformers": ({"names": {"ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}}, {}),
    "no types": ({"names": {"ids": "input_ids", "mask": "attention_mask"}}, {}),
    "ids alone": ({"names": {"ids": "input_word_ids"}}, {}),
    "a name that says logits": ({"output": "logits"}, {"outputs_are": None}),
    "one of two outputs": ({"more": lambda found: {"b": -found}}, {"outputs_are": "scores=logits"}),
    "another signature": ({"signature": "mine"}, {"signature": "mine"}),
}


@pytest.mark.parametrize("form", slow_but(FORMS, ("int64", "other names", "no types", "ids alone")))
def test_every_form_of_signature_gives_what_the_network_gives(form: str, tiny: MakeTiny) -> None:
    settings, flags = FORMS[form]
    bundle = tiny(None, flags, **settings)
    assert bundle.max_tokens == 48
    np.testing.assert_allclose(scored(bundle, ROWS), plain(Tiny(), ROWS), rtol=0, atol=1e-5)


def test_a_value_may_be_a_number_a_row_without_a_second_axis(tiny: MakeTiny) -> None:
    network = Tiny(1, logits=lambda it, rows, mask: it.sound(rows, mask)[:, 0])
    bundle = tiny(network, {"labels": None})
    assert (bundle.task, bundle.activation) == ("regression", "none")
    np.testing.assert_allclose(scored(bundle, ROWS, "value"), plain(Tiny(1), ROWS)[:, 0], rtol=0, atol=1e-5)


def test_long_texts_have_windows_here_too(tiny: MakeTiny, run_job: Score, tmp_path: Path) -> None:
    bundle = tiny(None, {"long_texts": "windows", "max_tokens": 8})
    words = (tmp_path / "vocab.txt").read_text().split()[8:28]
    file = write_parquet(tmp_path / "in.parquet", {"id": ["long", "short"], "text": [" ".join(words), words[0]]})
    found = {row["id"]: row for row in run_job(file, bundle=str(bundle.path)).rows()}
    ids = [[2, *range(8 + start, 8 + min(start + 6, 20)), 3] for start in range(0, 20, 6)]
    for name, windows in (("long", ids), ("short", [[2, 8, 3]])):
        expected = tf.nn.softmax(plain(Tiny(), windows).mean(axis=0)).numpy()
        by_label = {entry["label"]: entry["probability"] for entry in found[name]["probabilities"]}
        np.testing.assert_allclose([by_label[label] for label in bundle.labels], expected, rtol=0, atol=1e-5)
        assert found[name]["windows"] == len(windows)


def test_probabilities_are_taken_as_they_are_of_every_task(tiny: MakeTiny, tmp_path: Path) -> None:
    wanted = plain(Tiny(), ROWS)
    for logits, task, activation in ((softmax, None, "softmax"), (sigmoid, "multilabel", "sigmoid")):
        bundle = tiny(
            Tiny(logits=logits),
            {"outputs_are": "probabilities", "task": task, "output": str(tmp_path / activation)},
        )
        function = tf.nn.softmax if activation == "softmax" else tf.sigmoid
        assert bundle.activation == activation
        np.testing.assert_allclose(scored(bundle, ROWS, "probabilities"), function(wanted), rtol=0, atol=1e-6)
    one = tiny(Tiny(1, logits=sigmoid), {"outputs_are": "probabilities", "labels": None, "output": str(tmp_path / "v")})
    assert (one.task, one.activation) == ("regression", "sigmoid")
    np.testing.assert_allclose(scored(one, ROWS, "value"), tf.sigmoid(plain(Tiny(1), ROWS)[:, 0]), rtol=0, atol=1e-6)


def test_what_is_asked_for_against_appearances_is_noted(tiny: MakeTiny) -> None:
    bundle = tiny(Tiny(logits=softmax))
    assert any("taken for logits as asked, although every trial row adds up to 1" in n for n in bundle.origin["notes"])


def test_sigmoids_that_are_said_to_be_logits_are_noted(tiny: MakeTiny) -> None:
    bundle = tiny(Tiny(logits=sigmoid))
    assert any("although every trial row has only numbers from 0 to 1" in note for note in bundle.origin["notes"])


def test_one_logit_of_which_nothing_says_what_it_is_is_shown_as_it_is_with_a_note(tiny: MakeTiny) -> None:
    bundle = tiny(Tiny(1), {"labels": None})
    assert bundle.activation == "none"
    assert any("nothing says what the model's maker shows" in note for note in bundle.origin["notes"])


def test_a_mask_that_a_network_of_a_fixed_length_never_reads_is_noted_and_padding_counts(
    tiny: MakeTiny,
) -> None:
    network = Tiny(logits=mean_with_padding)
    network.types.assign(tf.zeros_like(network.types))
    bundle = tiny(network, length=20)
    assert any("the network does not read it, so [PAD] counts" in note for note in bundle.origin["notes"])
    row = [2, 7, 9, 3]
    padded = tf.constant([row + [0] * 16], tf.int32)
    wanted = network(padded, tf.ones_like(padded), tf.zeros_like(padded))
    np.testing.assert_allclose(scored(bundle, [row]), wanted, rtol=0, atol=1e-5)


def test_pairs_without_type_ids_are_noted(tiny: MakeTiny) -> None:
    bundle = tiny(None, {"segments": 2}, names={"ids": "input_ids", "mask": "attention_mask"})
    assert any("[SEP] alone tells the second text" in note for note in bundle.origin["notes"])


def words(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 12 words of the vocabulary, no two alike."""
    rng = np.random.default_rng(seed)
    known = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(VOCABULARY - 5)]
    return [" ".join([*rng.choice(known, rng.integers(1, 10)), known[i % 50], known[i // 50]]) for i in range(count)]


def by_id(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, float]]]:
    return {r["id"]: sorted((p["label"], round(p["probability"], 5)) for p in r["probabilities"]) for r in rows}


def test_only_new_takes_scores_over_and_a_run_that_died_is_gone_on_with(
    tiny: MakeTiny, run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 10)
    bundle = tiny(Tiny(logits=softmax), {"outputs_are": "probabilities"})
    texts, early = words(60), dt.datetime(2026, 11, 21, 2, tzinfo=dt.UTC)
    ids = [f"r{i}" for i in range(60)]
    settings: dict[str, Any] = {"bundle": str(bundle.path), "output": tmp_path / "out"}
    first = write_parquet(tmp_path / "1.parquet", {"id": ids, "text": texts})
    run_job(first, date="2026-11-20", now=early, keep_text_digests=True, **settings)
    # One row of each split is another one.
    changed = [words(60, 9)[i] if i % 10 == 3 else texts[i] for i in range(60)]
    files = [
        write_parquet(tmp_path / f"2-{i}.parquet", {"id": ids[i : i + 10], "text": changed[i : i + 10]})
        for i in range(0, 60, 10)
    ]
    late, calls, score_all = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC), [0], macro_batch._score_all

    def gone(*more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise RuntimeError("the machine is gone")
        return score_all(*more)

    monkeypatch.setattr(macro_batch, "_score_all", gone)
    with pytest.raises(RunFailedError):
        run_job(files, now=late, only_new=True, **settings)
    calls[0] = 9
    night = run_job(files, now=late + dt.timedelta(hours=1), only_new=True, **settings)
    assert {row["run_id"][:16] for row in night.rows() if row["id"] == "r3"} == {"20261122T020000Z"}
    counts = night.manifest["counts"]
    assert (counts["read"], counts["scored"], counts["skipped"], counts["dead"]) == (60, 6, 54, 0)
    assert night.manifest["splits_taken_over"] >= 1
    full = run_job(files, now=late, bundle=str(bundle.path), output=tmp_path / "full")
    assert by_id(night.rows()) == by_id(full.rows())


def refuses_a_word(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Only real rows have two of them: every token of a trial is another one, as far as the vocabulary goes."""
    same = tf.reduce_all(
        tf.abs(rows - network.positions[: tf.shape(rows)[1]] - network.words[50] - network.types[0]) < 1e-5, -1
    )
    with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_sum(tf.cast(same, tf.int32), -1), 6)]):
        return network.sound(rows, mask)


def test_a_row_on_which_the_network_fails_is_a_dead_letter_and_the_others_are_scored(
    tiny: MakeTiny, run_job: Score, tmp_path: Path
) -> None:
    bundle = tiny(Tiny(logits=refuses_a_word))
    word = json.dumps((tmp_path / "vocab.txt").read_text().split()[50]).strip('"')
    texts = [*words(40), " ".join([word] * 7)]
    rows = {"id": [f"r{i}" for i in range(41)], "text": texts}
    outcome = run_job(write_parquet(tmp_path / "in.parquet", rows), bundle=str(bundle.path))
    assert outcome.codes() == {"r40": "not_scored"}
    assert len(outcome.rows()) == 40
