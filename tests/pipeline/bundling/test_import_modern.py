"""Folders as people have them today: shards, half precision, tokenizer.json alone, accents that are kept."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.containers import SINGLE, shards
from support.checkpoints.imports import hugging_face, job, probabilities, softmax
from support.checkpoints.tokenizer_files import settings_json, tokenizer_json
from support.commands import DATA
from support.jobs import Score, write_parquet
from support.plain_tokenizer import makers, token_ids

from model.checkpoints.detect import load
from pipeline.bundling.importing import import_model
from pipeline.bundling.training import tokenizer_of
from pipeline.bundling.training_job import training_job
from transforms.featurize.step import TransformGraph

HF = DATA / "hf_pairs"


def as_transformers_5_writes_it(tmp_path: Path) -> Path:
    """No vocab.txt, and the weights in two files."""
    folder = Path(shutil.copytree(HF / "model", tmp_path / "model"))
    (folder / "vocab.txt").unlink()
    shards(folder, 2)
    return folder


def test_a_folder_without_vocab_txt_scores_as_transformers_5(run_job: Score, tmp_path: Path) -> None:
    done = import_model(job(as_transformers_5_writes_it(tmp_path), tmp_path))
    assert done.bundle.tokenizer == {"flavour": "huggingface", "lower_case": True}
    assert done.bundle.origin["layout"] == "Hugging Face folder, weights in 2 files"
    texts = json.loads((HF / "texts.json").read_text(encoding="utf-8"))
    stored = json.loads((HF / "ids.json").read_text(encoding="utf-8"))
    assert done.bundle.max_tokens == stored["max_length"]
    found = TransformGraph(str(done.bundle.path))(np.array([text.encode() for text in texts], object))
    rows = [row.tolist() for row in np.split(found.values, found.offsets[1:-1])]
    assert rows == stored["input_ids"]
    # A blank text is a dead letter here.
    kept = [i for i, text in enumerate(texts) if text.strip()]
    assert len(kept) > 20
    file = write_parquet(
        tmp_path / "in.parquet", {"id": [str(i) for i in range(len(kept))], "text": [texts[i] for i in kept]}
    )
    scored = run_job(file, bundle=str(done.bundle.path), top_k=12, max_dead_fraction=1.0).rows()
    expected = softmax(np.load(HF / "logits.npy")[kept])
    np.testing.assert_allclose(probabilities(scored, done.bundle.labels), expected, rtol=0, atol=1e-6)


def test_a_training_from_such_a_folder_has_its_vocabulary(tmp_path: Path) -> None:
    folder = as_transformers_5_writes_it(tmp_path)
    tokens = load(folder).vocabulary
    assert tokens == tuple((HF / "model" / "vocab.txt").read_text(encoding="utf-8").splitlines())


# === Accents ===


def with_vocabulary_of_accents(folder: Path, lower_case: bool, strips: bool) -> list[str]:
    """Letters with accents in the place of others, as vocab.txt and tokenizer_config.json say it."""
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokens[-6:] = ["é", "É", "E", "##é", "##É", "i̇"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case, "strip_accents": strips}))
    return tokens


def only_vocab_txt(folder: Path, tokens: list[str], lower_case: bool, strips: bool) -> None:
    """The files are there."""


def only_tokenizer_json(folder: Path, tokens: list[str], lower_case: bool, strips: bool) -> None:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    options = {"normalizer__lowercase": lower_case, "normalizer__strip_accents": strips}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(model__vocab=vocabulary, **options)))
    settings = settings_json(do_lower_case=lower_case, strip_accents=strips)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").unlink()


@pytest.mark.parametrize("write", [only_vocab_txt, only_tokenizer_json])
@pytest.mark.parametrize("lower_case", [True, False])
def test_a_model_whose_accents_do_not_go_with_its_case_has_a_bundle_that_does_the_same(
    tmp_path: Path, lower_case: bool, write: Callable[..., None]
) -> None:
    strips = not lower_case
    folder = hugging_face(tmp_path)
    tokens = with_vocabulary_of_accents(folder, lower_case, strips)
    write(folder, tokens, lower_case, strips)
    bundle = import_model(job(folder, tmp_path)).bundle
    described = {"flavour": "huggingface", "lower_case": lower_case, "strip_accents": strips}
    assert bundle.tokenizer == described
    texts = ["É e é E", "ÉÉ eé", "İ", "a É, e\u0301"]
    ids = {token: i for i, token in enumerate(tokens)}
    expected, usual = (
        [token_ids(text, ids, makers()["huggingface"], lower_case=lower_case, strip_accents=s) for text in texts]
        for s in (strips, None)
    )
    found = TransformGraph(str(bundle.path))(np.array([text.encode() for text in texts], object))
    assert [row.tolist()[1:-1] for row in np.split(found.values, found.offsets[1:-1])] == expected
    assert expected != usual
    assert not [note for note in bundle.origin["notes"] if "lower case" in note]
    given = {"input": ["rows.csv"], "output": str(tmp_path / "b"), "name": "n", "max_tokens": 16}
    assert tokenizer_of(training_job({**given, "encoder": str(folder)})).described == described


def test_another_tokenizer_has_no_accents_of_its_own(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    with_vocabulary_of_accents(folder, True, False)
    with pytest.raises(ValueError, match="the tokenizer model_garden strips accents exactly when it folds case"):
        import_model(job(folder, tmp_path, tokenizer="model_garden"))
    assert (folder / SINGLE).is_file()
    assert not (tmp_path / "bundle").exists()
