"""A bundle is exactly what was sealed, or it is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bundles import Built
from support.commands import invoke

from model.bundle import _SINCE, AS_EXPORTED, FORMAT, FUSED, Bundle, BundleError, fingerprint, seal


@pytest.fixture
def copy(classes: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(classes.path, tmp_path / "bundle"))


def edit(content: dict[str, object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        found = json.loads((path / "bundle.json").read_text())
        (path / "bundle.json").write_text(json.dumps({**found, **content}))

    return change


def flip(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray((path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (path / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            flip("scoring/variables/variables.data-00000-of-00001"),
            "scoring/variables/variables.data-00000-of-00001: was",
        ),
        (flip("transform_fn/assets/vocab.txt"), "transform_fn/assets/vocab.txt: was changed"),
        (lambda path: (path / "scoring/saved_model.pb").unlink(), "scoring/saved_model.pb: is missing"),
        (lambda path: (path / "notes.txt").write_text("x"), "notes.txt: does not belong"),
        (lambda path: (path / "bundle.json").unlink(), "is no bundle"),
        (lambda path: (path / "bundle.json").write_text("{"), "bundle.json: is not JSON"),
        (edit({"labels": ["book", "play", "rate"]}), "bundle.json: was edited"),
        (edit({"max_tokens": 32}), "bundle.json: was edited"),
        (edit({"extra": 1}), "'extra' is missing or not known"),
        (edit({"format": 6}), "format 6; this version reads formats 1 to 5: score it with the version of bert-batch"),
        (edit({"format": 0}), "format 0; this version reads formats 1 to 5: restore the bundle"),
        (edit({"format": True}), "format True; this version reads"),
        (edit({"format": "3"}), "format '3'; this version reads"),
        (edit({"format": None}), "format None; this version reads"),
        # Format 1 had no activation, 2 no engines, 3 no thresholds, 4 no width, graph and long texts; 5 has all.
        (edit({"format": 1}), "'activation' is missing or not known"),
        (edit({"format": 2}), "'embedding_width' is missing or not known"),
        (edit({"format": 3}), "'embedding_width' is missing or not known"),
        (edit({"format": 4}), "'embedding_width' is missing or not known"),
        (edit({"activation": "none"}), "bundle.json: was edited"),
    ],
)
def test_a_damaged_or_edited_bundle_is_refused_by_the_name_of_the_file(
    copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises(BundleError) as error:
        Bundle.load(copy)
    assert message in str(error.value)


def test_when_and_with_what_a_bundle_was_built_does_not_change_its_fingerprint(copy: Path) -> None:
    before = Bundle.load(copy)
    found = json.loads((copy / "bundle.json").read_text())
    for key in ("format", "files", "fingerprint"):
        del found[key]
    after = seal(copy, {**found, "created": "2030-01-01T00:00:00+00:00", "versions": {"python": "4"}})
    assert after.fingerprint == before.fingerprint
    assert seal(copy, {**found, "max_tokens": 32}).fingerprint != before.fingerprint


def test_a_bundle_loads_from_another_place(copy: Path, classes: Built) -> None:
    assert Bundle.load(copy).reference == classes.bundle.reference


@pytest.mark.parametrize(
    ("task", "activation", "expected"),
    [
        ("classification", None, "softmax"),
        ("classification", "softmax", "softmax"),
        ("regression", None, "none"),
        ("regression", "sigmoid", "sigmoid"),
        ("regression", "softmax", None),
        ("classification", "sigmoid", None),
        ("classification", "none", None),
    ],
)
def test_a_bundle_says_what_makes_its_numbers(
    copy: Path, task: str, activation: str | None, expected: str | None
) -> None:
    found = json.loads((copy / "bundle.json").read_text()) | {"task": task, "labels": []}
    for key in ("format", "files", "fingerprint", "activation"):
        del found[key]
    description = found if activation is None else found | {"activation": activation}
    if expected is None:
        with pytest.raises(BundleError, match=f"activation is '{activation}', which no {task} has"):
            seal(copy, description)
    else:
        assert (seal(copy, description).activation, Bundle.load(copy).format) == (expected, FORMAT)


def test_a_newer_format_ends_a_command_with_2(copy: Path) -> None:
    edit({"format": FORMAT + 1})(copy)
    code, _, err = invoke("inspect", copy)
    assert (code, f"{copy}: has bundle format {FORMAT + 1}" in err, err.count("\n")) == (2, True, 1)


def as_of_format(copy: Path, number: int) -> Bundle:
    """The bundle as a version of that format would have written it; its fingerprint is that of its own file."""
    found = json.loads((copy / "bundle.json").read_text())
    for key, first in _SINCE.items():
        if first > number:
            del found[key]
    found["format"] = number
    found["fingerprint"] = fingerprint(found)
    (copy / "bundle.json").write_text(json.dumps(found))
    bundle = Bundle.load(copy)
    assert (bundle.format, bundle.fingerprint) == (number, found["fingerprint"])
    return bundle


def test_a_bundle_of_format_2_is_read_and_only_tensorflow_computes_it(copy: Path) -> None:
    assert Bundle.load(copy).engines == ("tensorflow", "openvino")
    assert as_of_format(copy, 2).engines == ("tensorflow",)


def test_a_bundle_of_format_3_is_read_and_has_no_thresholds(copy: Path) -> None:
    assert as_of_format(copy, 3).thresholds == ()


def test_a_bundle_of_format_4_has_the_fused_graph_without_embeddings_and_cuts_long_texts(copy: Path) -> None:
    found = as_of_format(copy, 4)
    assert (found.graph, found.embedding_width, found.long_texts, found.windows) == (FUSED, 0, {}, False)


def test_whose_graph_a_bundle_has_is_one_of_two(copy: Path) -> None:
    found = json.loads((copy / "bundle.json").read_text())
    kept = {key: value for key, value in found.items() if key not in ("format", "files", "fingerprint")}
    assert seal(copy, {**kept, "graph": AS_EXPORTED}).graph == AS_EXPORTED
    with pytest.raises(BundleError, match="is no description of a bundle"):
        seal(copy, {**kept, "graph": "another"})


@pytest.mark.parametrize("width", [-1, 1.5, "32", None, True])
def test_a_width_of_embeddings_that_is_none_is_refused(copy: Path, width: object) -> None:
    found = json.loads((copy / "bundle.json").read_text()) | {"embedding_width": width}
    found["fingerprint"] = fingerprint(found)
    (copy / "bundle.json").write_text(json.dumps(found))
    with pytest.raises(BundleError, match="is no description of a bundle"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"how": "middle"}, "long texts are 'middle'"),
        ({"how": "tail", "more": 1}, "described by 'how', 'more'"),
        (
            {"how": "windows", "stride": 62, "by": "mean", "max_windows": 256},
            "windows of 64 tokens hold 62 of the text",
        ),
        ({"how": "windows", "stride": 1, "by": "mean", "max_windows": 0}, "max_windows of windows is 0"),
    ],
)
def test_a_bundle_that_says_of_long_texts_what_cannot_be_is_refused(
    copy: Path, said: dict[str, object], message: str
) -> None:
    found = json.loads((copy / "bundle.json").read_text())
    for key in ("format", "files", "fingerprint"):
        del found[key]
    with pytest.raises(BundleError, match=message):
        seal(copy, {**found, "long_texts": said})


def test_what_a_bundle_says_of_long_texts_is_a_part_of_its_fingerprint(copy: Path) -> None:
    found = json.loads((copy / "bundle.json").read_text())
    before = found["fingerprint"]
    for key in ("format", "files", "fingerprint"):
        del found[key]
    sealed = seal(copy, {**found, "long_texts": {"how": "tail"}})
    assert (sealed.long_texts, sealed.windows, sealed.fingerprint != before) == ({"how": "tail"}, False, True)
