"""Bundles that earlier versions made are read, and score as they did: with their own graphs, tokenizer included."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import DATA, ROOT

from model.bundle import FORMAT, Bundle, seal
from transforms.featurize.step import TransformGraph
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.choice import load_scorer

BUNDLES = DATA / "bundles"
NAMES = ["huggingface", "huggingface_pairs", "model_garden_pairs", "regression"]
SNIPS = ROOT / "examples" / "snips" / "bundle"


def stored(name: str) -> dict[str, Any]:
    """What the commit that made the bundle gave for some rows."""
    return json.loads((BUNDLES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_of_format_1_gives_the_tokens_and_the_scores_of_its_time(name: str) -> None:
    bundle, expected = Bundle.load(BUNDLES / name), stored(name)
    assert (bundle.format, bundle.fingerprint) == (1, expected["fingerprint"])
    columns = zip(*expected["rows"], strict=True)
    tokens = TransformGraph(str(bundle.path), bundle.segments)(*(np.array([t.encode() for t in c]) for c in columns))
    rows = [part.tolist() for part in np.split(tokens.values, tokens.offsets[1:-1])]
    assert rows == expected["tokens"]
    assert tokens.first_segment.tolist() == expected["first_segment"]
    model = load_scorer(bundle, Compute(precision="float32"), Device(kind="cpu"))
    found = model(tokens.values, np.diff(tokens.offsets).astype(np.int32), tokens.first_segment)
    wanted = expected["value" if bundle.task == "regression" else "probabilities"]
    # The graph is the old one, bit for bit (its checksum says so); another CPU may round a product otherwise.
    np.testing.assert_allclose(found, np.array(wanted).reshape(found.shape), rtol=0, atol=1e-6)
    assert np.ptp(found, axis=0).max() > 0.005, "a model that always says the same would prove nothing"


@pytest.mark.parametrize(
    ("path", "activation"),
    [(BUNDLES / "huggingface_pairs", "softmax"), (BUNDLES / "regression", "none"), (SNIPS, "softmax")],
)
def test_what_format_1_does_not_say_is_what_its_graphs_do(path: Path, activation: str) -> None:
    bundle = Bundle.describe(path)
    assert (bundle.format, bundle.activation) == (1, activation)
    assert bundle.tokenizer.get("truncator", "round_robin") == "round_robin"


def test_a_bundle_of_format_1_made_anew_is_of_the_newest_format_and_another_one(tmp_path: Path) -> None:
    path = Path(shutil.copytree(BUNDLES / "regression", tmp_path / "bundle"))
    found = json.loads((path / "bundle.json").read_text())
    again = seal(path, {key: found[key] for key in found.keys() - {"format", "files", "fingerprint"}})
    assert (again.format, again.activation, again.engines) == (FORMAT, "none", ("tensorflow",))
    assert again.fingerprint != found["fingerprint"]
