"""Where int8 is computed, and what is said where it is not: without a network."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.bundles import Built

from model.bundle import INT8, OPENVINO, Bundle
from pipeline.errors import ConfigError
from pipeline.jobs.bundle import check_precision
from pipeline.jobs.config import JobConfig
from pipeline.runners import computing
from pipeline.runners.computing import choose_for
from transforms.errors import EngineError, RecordError
from transforms.score.certificates import certificate
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines import choice, openvino_scorer
from transforms.score.engines.chips import BFLOAT16, CLASSES, EIGHT_BIT, Chip
from transforms.score.engines.choice import Place, choose, load_scorer

CPU = Device(kind="cpu")


@pytest.fixture
def bundle(classes: Built) -> Bundle:
    return replace(classes.bundle, precisions=(*classes.bundle.precisions, INT8))


@pytest.fixture(autouse=True)
def computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "computes", lambda precision: True)
    for module in (choice, openvino_scorer):
        monkeypatch.setattr(module, "is_installed", lambda: True)


def place(kind: str | None, *, here: bool = True) -> Place:
    return Place(device=CPU if here else None, chip=None if kind is None else Chip(kind=kind, name="Chip 1"))


@pytest.mark.parametrize("kind", CLASSES)
def test_where_int8_gains_nothing_it_is_refused_and_the_better_precision_named(bundle: Bundle, kind: str) -> None:
    if kind in EIGHT_BIT:
        for here in (True, False):
            found = choose(bundle, INT8, place(kind, here=here))
            assert (found.engine, found.precision, found.chip) == (OPENVINO, INT8, kind)
        return
    better = "float16" if kind == "gpu" else "bfloat16" if kind in BFLOAT16 else "float32"
    for here in (True, False):
        where = place(kind, here=here) if kind != "gpu" else Place(device=Device(kind="gpu"), chip=None)
        with pytest.raises(ValueError, match=f"take {better}"):
            choose(bundle, INT8, where)


def test_without_the_chip_or_the_extra_it_is_refused_with_the_way_out(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"bundle": str(bundle.path), "input": str(tmp_path), "output": str(tmp_path / "out"), "precision": "int8"}
    with pytest.raises(ConfigError, match=r"--precision int8: the chips .* with --chip \(avx512_bf16, avx512_vnni"):
        choose_for(JobConfig(runner="portable", **given), bundle)

    def torn(*_: object) -> None:
        raise RecordError("torn")

    # What cannot be read is said, and ends no night.
    with monkeypatch.context() as patch:
        patch.setattr(certificate, "read_certificates", torn)
        assert choose_for(JobConfig(runner="portable", chip="avx2_vnni", **given), bundle).notes == ("torn",)
    found = choose_for(JobConfig(runner="portable", chip="avx2_vnni", **given), bundle)
    assert (found.engine, found.precision, found.chip) == ("openvino", "int8", "avx2_vnni")
    (note,) = found.notes
    assert note.startswith("no certificate in int8 passed for class avx2_vnni; `bert-batch certify --precision int8`")
    monkeypatch.setattr(computing, "place_of", lambda *_: place("avx512_vnni"))
    assert choose_for(JobConfig(**given), bundle).precision == "int8"
    monkeypatch.setattr(choice, "is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"only OpenVINO computes it.*pip install 'bert-batch\[openvino\]'"):
        choose_for(JobConfig(**given), bundle)


def test_a_bundle_without_it_names_what_makes_one(classes: Built) -> None:
    with pytest.raises(ConfigError, match="float16 only; `bert-batch quantize` makes one"):
        check_precision(classes.bundle, "b", "int8")
    with pytest.raises(ConfigError, match="only; make the bundle anew with this version, then `bert-batch quantize`"):
        check_precision(replace(classes.bundle, engines=("tensorflow",)), "b", "int8")
    with pytest.raises(ConfigError, match="only; make the bundle anew with this version, or leave the flag out"):
        check_precision(replace(classes.bundle, precisions=("float32",)), "b", "bfloat16")
    with pytest.raises(EngineError, match="has no graph for it; `bert-batch quantize` makes one"):
        load_scorer(classes.bundle, Compute(precision=INT8, engine=OPENVINO), CPU)


def test_a_worker_of_another_class_than_the_plans_ends_the_run_and_names_both(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_scorer, "find_chip", lambda: Chip(kind="avx512_bf16", name="Chip 1"))
    for precision in (INT8, "bfloat16", "float32"):
        compute = Compute(precision=precision, engine=OPENVINO, chip="avx512_vnni")
        with pytest.raises(EngineError, match=r"of class avx512_vnni, .* Chip 1 \(class avx512_bf16\)"):
            load_scorer(bundle, compute, CPU)
