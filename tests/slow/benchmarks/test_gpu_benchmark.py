"""benchmarks/gpu on a CPU with tiny sizes: what crosses to another machine, what is measured, what is reported."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.commands import ROOT

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import export, report
from benchmarks.gpu.bert_weights import layer_weights
from benchmarks.gpu.measure import TOLERANCE, About, Figures, Results, measure, wrong
from benchmarks.gpu.tensorflow_runtime import assign, new_graph, tensors, variables_of
from benchmarks.gpu.workload import Array, Program, Rows, Workload, difference, draw, flop, references
from transforms.score.micro_batches import TOKEN_BUDGET, static_shape


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    gpu.main(["export", str(folder), "--sizes", "tiny"])
    return folder


@pytest.fixture(scope="module")
def workload(exported: Path) -> Workload:
    return Workload.load(exported)


def far_side(code: str, *arguments: str) -> str:
    """What `code` prints on a machine that has neither TensorFlow nor this project's packages."""
    missing = "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'pyarrow', 'model', 'transforms')))"
    command = [sys.executable, "-c", f"{missing}\n{code}", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_sizes_are_those_of_production() -> None:
    base = export.SIZES["base"]
    assert base.token_budget == TOKEN_BUDGET["gpu"]
    programs = list(export._programs(base))
    shapes = {(program.rows, program.width) for program in programs if program.precision == "float16"}
    for width in base.widths:
        assert static_shape(base.token_budget // width, width, base.token_budget) in shapes
    assert {rows * width for rows, width in shapes if width == base.curve_width} == set(base.budgets)
    assert len({program.name for program in programs}) == len(programs)


def test_both_sides_draw_the_same_weights_and_rows(exported: Path, workload: Workload) -> None:
    assert {file.suffix for file in exported.iterdir()} == {".json", ".npz", ".stablehlo"}
    graph = new_graph(export.SIZES["tiny"].config)
    variables = dict(variables_of(graph))
    assign(variables, workload)
    here = {name: float(np.sum(variables[name].numpy(), dtype=np.float64)) for name in variables}
    rows = workload.draw_rows(32, 25, 8)
    code = """
import json, pathlib
import numpy as np
import benchmarks.gpu.__main__
from benchmarks.gpu.workload import Workload
workload = Workload.load(pathlib.Path(sys.argv[1]))
sums = {name: float(np.sum(values, dtype=np.float64)) for name, values in workload.draw_weights().items()}
print(json.dumps([sums, workload.draw_rows(32, 25, 8).tokens.tolist(), workload.fingerprint]))
"""
    assert json.loads(far_side(code, str(exported))) == [here, rows.tokens.tolist(), workload.fingerprint]
    assert rows.lengths.min() >= 25
    assert rows.lengths.max() <= 32
    assert ((rows.first_segment >= 1) & (rows.first_segment <= rows.lengths)).all()
    np.testing.assert_array_equal(workload.draw_rows(32, 25, 99).first(8).tokens, rows.tokens)


def test_the_numbers_never_change() -> None:
    assert draw(1, "words", 3).tolist() == [13_257_557, 2_122_098, 1_710_731]


def test_what_is_not_of_this_export_is_refused(workload: Workload, exported: Path, tmp_path: Path) -> None:
    first, *rest = workload.weights
    changed = replace(workload, weights=(replace(first, spread=0.5), *rest))
    with pytest.raises(
        ValueError, match=rf"{first.name}: drawn from seed 1 its checksum is \d+, where it was exported"
    ):
        changed.draw_weights()
    with pytest.raises(ValueError, match=r"workload.json is not there; write it with `python -m benchmarks.gpu export"):
        Workload.load(tmp_path)
    program = workload.programs[0]
    assert program.read(exported)
    with pytest.raises(ValueError, match="is not of the same export"):
        replace(program, checksum=1).read(exported)


def test_an_ordinary_bert_has_the_same_operations(workload: Workload) -> None:
    """The competitor's weights are rearranged ones of the exported function."""
    weights = workload.draw_weights()
    layers = [layer_weights(workload, weights, index) for index in range(workload.config["num_layers"])]
    kernels = [pair[0] for layer in layers for pair in vars(layer).values() if pair[0].ndim == 2]
    kernels += [weights["pooler/kernel"], weights["out/kernel"]]
    in_layers = sum(kernel.size for kernel in kernels[:-2])
    attention = 2 * 2 * 32 * workload.config["hidden_size"] * len(layers)
    expected = 8 * 32 * (2 * in_layers + attention) + 8 * 2 * sum(kernel.size for kernel in kernels[-2:])
    assert flop(workload, 8, 32, whole_last_layer=True) == expected
    # XLA counts 111.8 million for all operations of this program.
    assert flop(workload, 8, 32, whole_last_layer=False) == pytest.approx(111.8e6, rel=0.05)


def test_export_and_measure_through_tensorflow(
    exported: Path, workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported / "measured-tensorflow.json"
    command = ["measure", str(exported), "--runtime", "tensorflow"]
    gpu.main([*command, "--precision", "float32"])
    gpu.main([*command, "--precision", "float32", "--precision", "float16", "--limit", "0"])
    assert "4 programs are left; the same command goes on with float16-16x16" in capsys.readouterr().out
    gpu.main([*command, "--precision", "float32", "--precision", "float16"])
    printed = capsys.readouterr().out
    results = Results.load(file)
    wanted = [program for program in workload.programs if program.precision != "bfloat16"]
    assert {figures.name for figures in results.measured} == {program.name for program in wanted}
    assert "float32" not in printed  # Measured already.
    assert results.about.kind == "cpu"
    for figures in results.measured:
        assert figures.seconds >= figures.best > 0
        assert (figures.peak_bytes, figures.failed) == (None, "")
        assert 0 < figures.error < {"float32": 1e-4, "float16": 1e-2}[figures.precision]
    gpu.main(["report", str(exported)])
    text = capsys.readouterr().out
    assert "NOT figures of a GPU" in text
    assert re.search(r"\| float16 \| 8 x 32 \| 256 \| [\d.]+ \| [\d,]+ \| .* \| n/a \| \d\.\de-\d\d \|", text)
    assert re.search(r"The smallest budget with 95% of the best speed is \d+\.", text)
    assert "bfloat16" not in text


class Pretender:
    """A Runtime that gives what it is told, by width."""

    whole_last_layer = False
    about = About(runtime="pretended", device="none", kind="cpu", versions={})

    def __init__(self, score: Callable[[Rows], Array]) -> None:
        self._score = score

    def multiply(self, precision: str, side: int) -> Callable[[], object]:
        return lambda: None

    def compile(self, program: Program) -> Callable[[Rows], Array]:
        return self._score

    def forget_peak(self) -> None: ...

    def peak_bytes(self) -> int | None:
        return 3 * 2**20


def test_a_wrong_result_is_told_and_a_failure_costs_only_its_shape(
    exported: Path, workload: Workload, tmp_path: Path
) -> None:
    right = references(exported)

    def score(rows: Rows) -> Array:
        if rows.tokens.shape[1] == 16:
            raise MemoryError("16 GB wanted\nand a stack")
        return np.resize(right[32], (len(rows.tokens), 2)) if len(rows.tokens) > 4 else np.zeros((4, 2), np.float32)

    def run(runtime: Pretender, **more: object) -> dict[str, Figures]:
        file = tmp_path / "measured.json"
        figures = measure(runtime, workload, exported, file, precisions=["float16"], **more)
        return {one.name: one for one in figures}

    assert run(Pretender(score), limit=-1) == {}
    found = run(Pretender(score))
    assert found["float16-16x16"].failed == "MemoryError: 16 GB wanted"
    assert {name for name, figures in found.items() if wrong(figures)} == {
        "float16-16x16",
        "float16-4x32",
    }
    assert found["float16-8x32"].peak_bytes == 3 * 2**20
    # What failed is tried again, the rest is not.
    again = run(Pretender(lambda rows: np.full((len(rows.tokens), 2), np.nan, np.float32)))
    assert {name: figures.failed for name, figures in again.items()} == {
        "float16-16x16": "ValueError: logits that are not finite"
    }
    other = Pretender(score)
    other.about = replace(other.about, device="another")
    with pytest.raises(ValueError, match=r"holds figures of pretended on none for .*\(--results\)"):
        run(other)


def test_the_comparison_notices_a_missing_mask(exported: Path, workload: Workload) -> None:
    graph = new_graph(export.SIZES["tiny"].config)
    assign(dict(variables_of(graph)), workload)
    rows = workload.draw_rows(32, 25, 16)
    right = references(exported)[32]
    for changes in ({"lengths": np.full_like(rows.lengths, 32)}, {"first_segment": rows.lengths}):
        logits = graph.logits(**tensors(replace(rows, **changes))).numpy()
        assert difference(logits, right) > TOLERANCE["float16"], changes
    half = graph.logits(**tensors(rows), dtype=tf.bfloat16).numpy()
    assert difference(half, right) < TOLERANCE["bfloat16"]


@pytest.mark.parametrize(
    ("package", "command", "message"),
    [
        ("jax", ["measure", "--runtime", "jax"], r"the package jax is not installed.*pip install 'jax\[cuda13\]'"),
        ("torch", ["competitor"], r"the package torch is not installed.*pip install torch"),
        ("tensorflow", ["export"], r"the package tensorflow is not installed.*requirements/dev.txt"),
    ],
)
def test_a_missing_package_is_named(
    package: str, command: list[str], message: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("tensorflow_runtime", "torch_runtime", "jax_runtime", "export"):
        monkeypatch.delitem(sys.modules, f"benchmarks.gpu.{module}", raising=False)
    with pytest.raises(SystemExit, match=message):
        gpu.main([command[0], str(exported), *command[1:]])


def results_of(runtime: str, kind: str, milliseconds: dict[int, float], **changes: object) -> Results:
    """As if measured: width 128, milliseconds by rows."""
    about = About(runtime=runtime, device="A GPU", kind=kind, versions={"torch": "1"} if runtime == "rival" else {})
    measured = [
        Figures(precision="float16", rows=rows, width=128, flop=1e12, peak=1e15, seconds=ms / 1e3, error=1e-3)
        for rows, ms in milliseconds.items()
    ]
    fields = {"sizes": "base", "token_budget": 65_536, "curve_width": 128, "product": 8_192, "exported": "nobody"}
    return Results(**{**fields, "about": about, "workload": "w", "date": "2026-11-25", "measured": measured, **changes})


def test_the_report_names_a_budget_and_compares_on_one_device_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "GPU_REPORT", tmp_path / "GPU.md")
    ours, theirs = tmp_path / "measured-ours.json", tmp_path / "measured-rival.json"
    results_of("ours", "gpu", {64: 2.0, 512: 10.0, 2_048: 39.0}).save(ours)
    results_of("rival", "gpu", {512: 15.0, 64: 1.0}).save(theirs)
    gpu.main(["report", str(tmp_path)])
    text = (tmp_path / "GPU.md").read_text(encoding="utf-8")
    assert "| float16 | 512 x 128 | 65,536 | 10.000 | 6,553,600 | 100.00 | 10.0% of 1000.00 | n/a | 1.0e-03 |" in text
    assert "The smallest budget with 95% of the best speed is 65,536. Production's, 65,536, reaches 97.5%." in text
    assert "| float16 | 512 x 128 | 6,553,600 | 4,369,067 | 1.50 |" in text
    far = results_of("rival", "gpu", {512: 15.0})
    far.about = replace(far.about, device="Another GPU")
    assert "theirs" not in report.markdown([Results.load(ours), far])


def test_only_a_gpu_gets_into_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "GPU_REPORT", tmp_path / "GPU.md")
    unfit = [
        (results_of("ours", "cpu", {512: 10.0}), "BERT-base on a CPU"),
        (results_of("ours", "gpu", {512: 10.0}, sizes="tiny"), "BERT-tiny on a GPU"),
    ]
    for results, what in unfit:
        results.save(tmp_path / "measured-ours.json")
        gpu.main(["report", str(tmp_path)])
        assert "512 x 128" in capsys.readouterr().out
        with pytest.raises(SystemExit, match=f"GPU.md is for BERT-base on a GPU, not for {what}"):
            gpu.main(["report", str(tmp_path), "--output", str(tmp_path / "GPU.md")])
    assert not (tmp_path / "GPU.md").exists()
    with pytest.raises(SystemExit, match=r"no results in .*nowhere"):
        gpu.main(["report", str(tmp_path / "nowhere")])
    results_of("ours", "gpu", {512: 10.0}, workload="another").save(tmp_path / "measured-others.json")
    with pytest.raises(SystemExit, match="different workloads"):
        gpu.main(["report", str(tmp_path)])
