"""Certificates: what is kept, believed, and taken by --precision fastest."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.bundles import Built

from model.bundle import Bundle
from transforms.errors import RecordError
from transforms.score.certificates.certificate import (
    Certificate,
    others,
    read_certificates,
    write_certificate,
)
from transforms.score.devices import Device
from transforms.score.engines import choice as choices
from transforms.score.engines.chips import CLASSES, Chip, class_of
from transforms.score.engines.choice import Place, choose, choose_fastest

CPU, GPU = Device(kind="cpu"), Device(kind="gpu", memory=2**34)
AMX, OLD = Chip(kind="amx", name="Xeon 6"), Chip(kind="avx2", name="Old Chip")


def certificate(bundle: str = "test@" + "0" * 64, **changes: Any) -> Certificate:
    content = {
        "bundle": bundle,
        "task": "classification",
        "precision": "bfloat16",
        "engine": "openvino",
        "chip": {"kind": "amx", "name": "Xeon 6"},
        "versions": {"openvino": "2026.4.1"},
        "created": "2026-11-30T00:00:00+00:00",
        "rows": 5_000,
        "copies": 0,
        "left_out": 0,
        "changed": {"labels": 5, "share": 0.001, "low": 0.0004, "high": 0.0023},
        "probabilities": {"largest": 0.01, "mean": 0.001},
        "values": None,
        "gold": None,
        "texts_per_second": {"plain": 100.0, "other": 370.0},
        "limit": 0.01,
        "verdict": "passed",
        "rows_missing": 0,
    }
    return Certificate.model_validate({**content, **changes})


def changed(labels: int, rows: int = 5_000) -> dict[str, Any]:
    return {"rows": rows, "changed": {"labels": labels, "share": labels / rows, "low": 0.0, "high": 1.0}}


@pytest.fixture
def bundle(classes: Built) -> Bundle:
    return classes.bundle


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose OpenVINO computes bfloat16, whatever this one has."""
    monkeypatch.setattr(choices, "is_installed", lambda: True)
    monkeypatch.setattr(choices, "computes", lambda precision: True)


def test_a_certificate_lies_beside_its_bundle_and_is_read_for_its_class_of_chips(bundle: Bundle, output: str) -> None:
    place = f"{output}/bundles/snips"
    mine = certificate(bundle.reference)
    path = write_certificate(place + "/", mine)
    assert path == f"{place}.certificates/{bundle.fingerprint}-bfloat16-openvino-amx.json"
    write_certificate(place, certificate(bundle.reference, chip={"kind": "avx2", "name": "Old Chip"}))
    write_certificate(place, certificate("test@" + "f" * 64))
    assert read_certificates(place, bundle, "amx") == [mine]
    assert read_certificates(place, bundle, "avx512_bf16") == []
    assert others(place, bundle)
    assert not others(f"{output}/elsewhere", bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (certificate("test@" + "f" * 64).model_dump(mode="json"), "is the certificate of another bundle, test@ffff"),
        ({"precision": "float16"}, "of another precision, engine or chip"),
        ({"format": 2}, "is no certificate that this version knows"),
        ({"changed": {"labels": 9_999, "share": 0.1, "low": 0, "high": 1}}, "is no certificate"),
        ({"changed": None}, "is no certificate"),
        (None, "is no certificate"),
    ],
)
def test_what_a_file_says_that_its_name_does_not_is_refused(
    bundle: Bundle, tmp_path: Path, content: dict[str, Any] | None, message: str
) -> None:
    path = Path(write_certificate(str(tmp_path / "b"), certificate(bundle.reference)))
    found = json.loads(path.read_text())
    path.write_text("[" if content is None else json.dumps({**found, **content}))
    with pytest.raises(RecordError, match=message) as raised:
        read_certificates(str(tmp_path / "b"), bundle, "amx")
    assert str(path) in str(raised.value)


HERE = Place(device=CPU, chip=AMX)


def elsewhere(kind: str | None) -> Place:
    return Place(device=None, chip=None if kind is None else Chip(kind=kind, name="the chip of the workers"))


@pytest.mark.parametrize(
    ("place", "wanted", "engine", "precision", "note"),
    [
        (HERE, None, "tensorflow", "float32", None),
        (HERE, "float32", "tensorflow", "float32", None),
        (HERE, "float16", "tensorflow", "float16", None),
        (HERE, "bfloat16", "openvino", "bfloat16", None),
        (Place(device=CPU, chip=OLD), "bfloat16", "tensorflow", "bfloat16", "Old Chip (class avx2) has no instruct"),
        (Place(device=GPU, chip=AMX), "bfloat16", "tensorflow", "bfloat16", None),
        (Place(device=GPU, chip=AMX), None, "tensorflow", "float16", None),
        (elsewhere(None), None, "tensorflow", None, None),
        (elsewhere(None), "bfloat16", "tensorflow", "bfloat16", "chips of the workers are not known here; --chip"),
        (elsewhere("amx"), "bfloat16", "openvino", "bfloat16", None),
        (elsewhere("avx512_bf16"), "bfloat16", "openvino", "bfloat16", None),
        (elsewhere("avx2"), "bfloat16", "tensorflow", "bfloat16", "the chip of the workers (class avx2) has no"),
        (elsewhere("gpu"), "bfloat16", "tensorflow", "bfloat16", None),
        (elsewhere("amx"), "float32", "tensorflow", "float32", None),
    ],
)
def test_bfloat16_is_openvinos_where_the_chip_computes_it(
    bundle: Bundle, place: Place, wanted: str | None, engine: str, precision: str | None, note: str | None
) -> None:
    found = choose(bundle, wanted, place)
    assert (found.engine, found.precision, len(found.notes)) == (engine, precision, 0 if note is None else 1)
    assert note is None or note in found.notes[0]


def test_without_the_extra_tensorflow_computes_and_a_line_names_the_command(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "is_installed", lambda: False)
    found = choose(bundle, "bfloat16", HERE)
    assert (found.engine, found.precision) == ("tensorflow", "bfloat16")
    assert "OpenVINO is not installed" in found.notes[0]
    assert "pip install 'bert-batch[openvino]'" in found.notes[0]
    # Whether it is installed here says nothing of workers elsewhere.
    assert choose(bundle, "bfloat16", elsewhere("amx")).engine == "openvino"


def test_where_openvino_says_that_it_does_not_compute_it_tensorflow_does(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "computes", lambda precision: False)
    found = choose(bundle, "bfloat16", HERE)
    assert (found.engine, "OpenVINO does not compute it on Xeon 6" in found.notes[0]) == ("tensorflow", True)


def test_a_bundle_of_an_earlier_version_is_tensorflows_and_a_line_says_so() -> None:
    old: Any = SimpleNamespace(name="old", engines=("tensorflow",), precisions=("float32", "bfloat16"), graph="fused")
    found = choose(old, "bfloat16", HERE)
    assert found.engine == "tensorflow"
    assert "old has no graph that OpenVINO reads, it is of an earlier version" in found.notes[0]


def test_the_fastest_that_passed_is_taken_and_says_why(bundle: Bundle) -> None:
    slow = certificate(bundle.reference, engine="tensorflow", texts_per_second={"plain": 100, "other": 200})
    fast = certificate(bundle.reference)
    for order in ([slow, fast], [fast, slow]):
        found = choose_fastest(bundle, order, 0.01, HERE)
        assert (found.engine, found.precision) == ("openvino", "bfloat16")
        assert found.notes[0].startswith("bfloat16 in openvino is the fastest, 3.70 times float32: 5 of 5,000 labels")
    # TensorFlow computes everywhere.
    assert choose_fastest(bundle, [slow, fast], 0.01, Place(device=CPU, chip=OLD)).engine == "tensorflow"


@pytest.mark.parametrize(
    ("changes", "limit", "why"),
    [
        (changed(100), 0.01, "that of bfloat16 in openvino failed at 1.00%"),
        (changed(0, 300), 0.01, "that of bfloat16 in openvino undecided at 1.00%, 81 more rows would decide"),
        # It passed the limit it was made for.
        ({}, 0.001, "that of bfloat16 in openvino undecided at 0.10%"),
        ({"texts_per_second": {"plain": 100, "other": 90}}, 0.01, "it is 0.90 times as fast"),
        ({"precision": "int4", "engine": "tensorflow"}, 0.01, "int4 is not in the bundle"),
    ],
)
def test_else_it_is_float32_and_says_why(bundle: Bundle, changes: dict[str, Any], limit: float, why: str) -> None:
    found = choose_fastest(bundle, [certificate(bundle.reference, **changes)], limit, HERE)
    assert (found.engine, found.precision, len(found.notes)) == ("tensorflow", "float32", 1)
    assert why in found.notes[0]


def test_without_a_certificate_it_is_float32_and_says_how_to_make_one(bundle: Bundle) -> None:
    found = choose_fastest(bundle, [], 0.01, HERE)
    assert (found.precision, "there is none for chips of class amx; `bert-batch certify`" in found.notes[0]) == (
        "float32",
        True,
    )
    assert "only other bundles have one" in choose_fastest(bundle, [], 0.01, HERE, others=True).notes[0]


def test_a_certificate_for_openvino_is_of_no_use_where_there_is_none(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "is_installed", lambda: False)
    found = choose_fastest(bundle, [certificate(bundle.reference)], 0.01, HERE)
    assert (found.precision, "OpenVINO does not compute bfloat16 here" in found.notes[0]) == ("float32", True)


@pytest.mark.parametrize(
    ("flags", "ceiling", "kind"),
    [
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8", "", "amx"),
        ("avx2 avx512f avx512_vnni avx512_bf16", "", "avx512_bf16"),
        ("avx2 avx512f avx512_vnni", "", "avx512_vnni"),
        ("avx2 avx512f", "", "avx512"),
        ("avx2 avx_vnni", "", "avx2_vnni"),
        ("sse4_2 avx avx2 fma", "", "avx2"),
        ("sse4_2", "", "other"),
        ("fp asimd bf16", "", "arm_bf16"),
        ("fp asimd", "", "arm"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile", "AVX2", "avx2"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile", "AVX512_CORE_BF16", "avx512_bf16"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile", "AVX512_CORE_AMX", "amx"),
        ("avx2", "AVX512_CORE", "avx2"),
        ("avx2", "SSE41", "other"),
        ("fp asimd bf16", "AVX2", "arm_bf16"),
    ],
)
def test_the_class_of_a_chip_is_that_of_its_flags_within_onednns_limit(flags: str, ceiling: str, kind: str) -> None:
    assert class_of(flags.split(), ceiling) == kind
    assert kind in CLASSES
