"""`bert-batch certify`, and --precision fastest, which takes what a certificate allows."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import Built
from support.commands import ROOT, invoke
from support.jobs import DATE, Outcome, Score, many_texts, write_parquet

from pipeline.bundling.certifying import TokenRows, _sampled
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.score.certificates.certificate import Certificate, write_certificate
from transforms.score.engines.chips import find_chip

SNIPS = ROOT / "examples" / "snips"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(60)], "text": many_texts(60)})


def numbers(outcome: Outcome) -> dict[str, dict[str, float]]:
    return {row["id"]: {p["label"]: p["probability"] for p in row["probabilities"]} for row in outcome.rows()}


def certificate_for(bundle: Any, **changes: Any) -> Certificate:
    """One that says that 3 of 5,000 labels change, for TensorFlow, which every machine has."""
    chip = find_chip()
    content = {
        "bundle": bundle.reference,
        "task": "classification",
        "precision": "bfloat16",
        "engine": "tensorflow",
        "chip": {"kind": chip.kind, "name": chip.name},
        "versions": {},
        "created": "2026-11-30T00:00:00+00:00",
        "rows": 5_000,
        "copies": 0,
        "left_out": 0,
        "changed": {"labels": 3, "share": 0.0006, "low": 0.0002, "high": 0.0018},
        "probabilities": None,
        "values": None,
        "gold": None,
        "texts_per_second": {"plain": 100.0, "other": 210.0},
        "limit": 0.01,
    }
    return Certificate.model_validate({**content, **changes})


def test_fastest_takes_what_a_certificate_allows_and_says_so(
    run_job: Score, classes: Built, file: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(classes.path, tmp_path / "bundle"))
    write_certificate(str(bundle), certificate_for(classes.bundle))
    settings = {"bundle": str(bundle), "precision": "fastest"}
    found = run_job(file, **settings)
    assert (found.manifest["precision"], found.manifest["engine"]) == ("bfloat16", "tensorflow")
    assert found.manifest["settings"]["precision"] == "fastest"
    strict = run_job(file, output=tmp_path / "strict", max_changed_labels=0.0005, **settings)
    assert strict.manifest["precision"] == "float32"
    moved = [abs(numbers(found)[name][label] - p) for name, row in numbers(strict).items() for label, p in row.items()]
    assert 0 < max(moved) < 0.05


def test_check_says_what_computes_and_what_the_fastest_would_bring(classes: Built, file: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(classes.path, tmp_path / "bundle"))
    flags = ("--bundle", bundle, "--input", file, "--output", tmp_path / "out", "--date", DATE)
    code, out, _ = invoke("check", *flags)
    kind = find_chip().kind
    assert (code, "computed in float32, by tensorflow\n" in out) == (0, True)
    assert f"fastest  float32, as no certificate allows more: there is none for chips of class {kind};" in out
    path = Path(write_certificate(str(bundle), certificate_for(classes.bundle)))
    _, out, _ = invoke("check", *flags)
    assert "fastest  bfloat16 in tensorflow is the fastest, 2.10 times float32: 3 of 5,000 labels changed" in out
    _, out, _ = invoke("check", *flags, "--precision", "fastest")
    assert "computed in bfloat16, by tensorflow\n         bfloat16 in tensorflow is the fastest, 2.10" in out
    # Renamed from that of another bundle.
    path.write_text(json.dumps({**json.loads(path.read_text()), "bundle": "test@" + "0" * 64}))
    code, _, err = invoke("check", *flags, "--precision", "fastest")
    assert (code, f"{path}: is the certificate of another bundle" in err) == (2, True)


def test_certify_measures_the_shipped_bundle_on_its_validation_rows(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(SNIPS / "bundle", tmp_path / "snips"))
    flags = ("--input", SNIPS / "validation.parquet", "--label-column", "label", "--rows", 300)
    code, out, err = invoke("certify", bundle, *flags)
    found = json.loads((bundle / "bundle.json").read_text())["fingerprint"]
    (path,) = Path(f"{bundle}.certificates").iterdir()
    assert path.name == f"{found}-bfloat16-tensorflow-{find_chip().kind}.json", err
    made = json.loads(path.read_text())
    assert made["rows"] + made["copies"] == 300
    assert made["gold"]["rows"] == made["rows"]
    # This chip or this bundle has no OpenVINO: a line says why.
    assert "bfloat16 is computed by TensorFlow: snips has no graph that OpenVINO reads" in out
    assert min(made["gold"]["plain"], made["gold"]["other"]) > 0.9
    # No label changed: below 1 % from 381 rows on.
    assert made["changed"]["labels"] == 0
    assert (code, made["verdict"], made["rows_missing"]) == (3, "undecided", 381 - made["rows"])
    assert f"undecided whether at most 1.00% labels change: {381 - made['rows']} more rows would" in out
    code, out, _ = invoke("certify", bundle, *flags, "--max-changed-labels", "0.05")
    assert (code, "verdict   passed: at most 5.00% labels change" in out) == (0, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--text-column", "nothing"), "has no column 'nothing'"),
        (("--label-column", "nothing"), "no column 'nothing' in the input"),
        (("--text-pair-column", "label"), "scores single texts; leave the flag out"),
        (("--precision", "int8"), "only; make the bundle anew with this version, then `bert-batch quantize` makes one"),
        (("--max-changed-labels", "1"), "--max-changed-labels"),
        (("--rows", "0"), "--rows"),
    ],
)
def test_certify_refuses_what_it_cannot_measure(flags: tuple[str, ...], message: str) -> None:
    code, _, err = invoke("certify", SNIPS / "bundle", "--input", SNIPS / "validation.parquet", *flags)
    assert (code, message in err) == (2, True), err
    assert not (SNIPS / "bundle.certificates").exists()


def test_rows_are_sampled_from_all_over_a_file_that_may_be_sorted(tmp_path: Path) -> None:
    rows = {"id": [f"r{i}" for i in range(1_000)], "text": [f"text {i}" for i in range(1_000)]}
    path = write_parquet(tmp_path / "in.parquet", rows)
    plan = plan_inputs((str(path),), ColumnsRequest(text="text", id="id"))
    for most, first in ((100, ["r0", "r10", "r20"]), (300, ["r0", "r4", "r7"]), (999, ["r0", "r2", "r3"])):
        ids = [i for batch in _sampled(plan, most, TokenRows()) for i in batch.column("id").to_pylist()]
        assert (ids[:3], len(ids), len({*ids})) == (first, most, most)
        # As many of each tenth of the file, to one row.
        tenths = np.bincount([int(i[1:]) // 100 for i in ids])
        assert tenths.max() - tenths.min() <= 1
    assert sum(batch.num_rows for batch in _sampled(plan, 5_000, TokenRows())) == 1_000
