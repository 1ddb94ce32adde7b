"""Certifying on one page: rows of the user's own -> tokens -> scores in two precisions -> a certificate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.bundle import Bundle
from model.windows import Windows, joined
from pipeline.bundling.certify_job import GOLD, ROWS, CertifyJob, SampleJob
from pipeline.errors import ConfigError, cause
from pipeline.jobs.bundle import check_precision
from pipeline.jobs.outputs import check_writable
from transforms.batches.schemas import KEPT
from transforms.batches.texts import as_text
from transforms.errors import DeviceMemoryError, EngineError, RecordError
from transforms.featurize.step import TransformGraph, featurize
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.runs.plan import Plan
from transforms.score.certificates.certificate import Certificate, folder_of, write_certificate
from transforms.score.certificates.measure import certify
from transforms.score.devices import find_device
from transforms.score.engines.chips import BFLOAT16, GPU, Chip, find_chip
from transforms.score.engines.choice import Choice, Place, choose
from transforms.score.macro_batch import Ragged
from transforms.score.windows import windows_of
from transforms.stores.bundles import open_bundle
from transforms.stores.loaded import once_a_process
from transforms.validate import validate

if TYPE_CHECKING:
    from model.training.examples import Examples


@dataclass(frozen=True, kw_only=True)
class Certified:
    """A certificate, the path of its file, and why the engine is the one it is."""

    certificate: Certificate
    path: str
    choice: Choice


@dataclass
class TokenRows:
    """Tokens of rows, as they are read, with what is known to be right; `left_out` had no usable text."""

    values: list[npt.NDArray[np.int32]] = field(default_factory=list)
    lengths: list[npt.NDArray[np.int64]] = field(default_factory=list)
    first_segment: list[npt.NDArray[np.int32]] = field(default_factory=list)
    windows: list[Windows] = field(default_factory=list)
    gold: list[str | float | None] = field(default_factory=list)
    left_out: int = 0

    def add(self, tokens: pa.RecordBatch, most: int) -> int:
        """Takes the first rows of a RecordBatch of Tokens, `most` at most; says how many."""
        tokens = tokens.slice(0, most)
        column = tokens.column("tokens")
        self.values.append(column.flatten().to_numpy())
        self.lengths.append(np.diff(column.offsets.to_numpy()))
        self.first_segment.append(tokens.column("first_segment").to_numpy())
        if "windows" in tokens.schema.names:
            self.windows.append(windows_of(tokens.column("windows")))
        if KEPT + GOLD in tokens.schema.names:
            gold = tokens.column(KEPT + GOLD)
            self.gold += (gold if pa.types.is_floating(gold.type) else as_text(gold)).to_pylist()
        return int(tokens.num_rows)

    @property
    def ragged(self) -> Ragged:
        """All of them, one after the other."""
        ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self.lengths]))
        empty = np.empty(0, np.int32)
        first_segment = np.concatenate([empty, *self.first_segment])
        windows = joined(self.windows) if self.windows else None
        return Ragged(np.concatenate([empty, *self.values]), ends, first_segment, windows)


def certify_bundle(job: CertifyJob) -> Certified:
    """Measures, and writes the certificate beside the bundle; raises ConfigError, BundleError, PlanError, NoInputError.

    A certificate of the same bundle, precision, engine and class of chips is replaced.
    """
    bundle = open_bundle(job.bundle)
    check_pairs(job, bundle)
    check_labels_known(job, bundle)
    plan = plan_inputs(job.input, job.columns(bundle.task), file_format=job.format, dialect=job.dialect)
    rows = read_tokens(plan, bundle, job.rows)
    if not rows.lengths:
        raise ConfigError(f"--input {', '.join(job.input)}: has no row with a text in column {job.text_column!r}")
    return certify_rows(
        job.bundle,
        bundle,
        rows.ragged,
        gold=rows.gold or None,
        precision=job.precision,
        limit=job.max_changed_labels,
        left_out=rows.left_out,
    )


def certify_rows(
    path: str,
    bundle: Bundle,
    rows: Ragged,
    *,
    gold: Sequence[str | float | None] | None = None,
    precision: str | None = None,
    limit: float = 0.01,
    left_out: int = 0,
) -> Certified:
    """The certificate of the bundle at `path` from token rows, measured on this machine and written beside the bundle.

    `gold` is the right label, or value, of each row. `precision` None: bfloat16 on a CPU, float16 on a GPU. Raises
    ConfigError if the bundle does not have it, or nothing computes it here, ValueError without rows.
    """
    place = Place(device=find_device(), chip=find_chip())
    assert place.device is not None
    check_certificates_place(path)
    wanted = precision or ("float16" if place.kind == GPU else "bfloat16")
    check_precision(bundle, path, wanted)
    try:
        choice = choose(bundle, wanted, place)
    except ValueError as error:
        raise ConfigError(f"--precision {wanted}: {error}") from error
    certificate = certify(
        bundle,
        rows,
        choice,
        device=place.device,
        chip=chip_that_computes(place),
        limit=limit,
        gold=gold,
        left_out=left_out,
    )
    return Certified(certificate=certificate, path=write_certificate(path, certificate), choice=choice)


class HeldOut(NamedTuple):
    """Rows that a training held out, and the right label, or value, of each; None where a text has several labels."""

    rows: Ragged
    gold: Sequence[str | float] | None


def held_out_rows(examples: "Examples", labels: Sequence[str]) -> HeldOut:
    """Of many examples ROWS at most, evenly from all of them."""
    count = max(1, len(examples))
    examples = examples.take(np.flatnonzero(np.arange(len(examples)) * min(ROWS, count) % count < ROWS))
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), examples.lengths]), dtype=np.int64)
    gold = None if examples.targets.ndim > 1 else examples.targets.tolist()
    if labels and gold is not None:
        gold = [labels[target] for target in gold]
    return HeldOut(Ragged(examples.joined(), ends, examples.first_segment, examples.windows), gold)


def certify_held_out(path: str, bundle: Bundle, held_out: HeldOut) -> "Certified | str":
    """The certificate of a bundle that was just trained, or why there is none: the bundle is good without it.

    Where OpenVINO does not compute bfloat16 on a CPU nothing is measured: TensorFlow's is slower than float32 there.
    """
    place = Place(device=find_device(), chip=find_chip())
    assert place.chip is not None
    if place.kind not in (GPU, *BFLOAT16):
        return (
            f"bfloat16 would be no faster on {place.chip.name} (class {place.chip.kind}); `bert-batch certify` "
            "measures on a machine that scores"
        )
    try:
        return certify_rows(path, bundle, held_out.rows, gold=held_out.gold)
    except Exception as error:
        own = isinstance(error, (ConfigError, EngineError, DeviceMemoryError, RecordError))
        return f"{error if own else cause(error)}; `bert-batch certify` can be asked again"


def check_certificates_place(path: str) -> None:
    """Raises ConfigError if no certificate can be written beside the bundle at `path`: before minutes are spent."""
    try:
        check_writable(folder_of(path))
    except ValueError:
        raise ConfigError(
            f"{folder_of(path)}: cannot be written to, and certificates lie beside their bundle; copy the bundle to a "
            "folder of your own"
        ) from None


def chip_that_computes(place: Place) -> Chip:
    """The chip that a certificate names: that of this machine, or its GPU."""
    assert place.chip is not None
    return Chip(kind=GPU, name=GPU) if place.kind == GPU else place.chip


def read_tokens(plan: Plan, bundle: Bundle, most: int) -> TokenRows:
    """Tokens of about `most` rows, evenly from all over the input: files may be sorted."""
    found = TokenRows()
    windows = bundle.windows
    graph = once_a_process(
        "preprocessing", bundle.fingerprint, lambda: TransformGraph(str(bundle.path), bundle.segments, windows)
    )
    columns = replace(plan.columns, windows=windows)
    left = most
    for batch in _sampled(plan, most, found):
        texts, dead = validate(batch, columns)
        tokens, failed = featurize(texts, graph, columns)
        found.left_out += sum(one.num_rows for one in (dead, failed) if one is not None)
        left -= found.add(tokens, left) if tokens.num_rows else 0
        if left <= 0:
            break
    return found


def _sampled(plan: Plan, most: int, found: TokenRows) -> Iterator[pa.RecordBatch]:
    """`most` rows of the input at equal distances, or all; of what could not be read, the count goes to `found`."""
    seen, total = 0, max(1, plan.rows)
    for split in plan.splits:
        for piece in split.pieces:
            for rows, dead, _ in read_rows(piece, split.number, plan.columns):
                found.left_out += sum(batch.num_rows for batch in dead)
                for batch in rows:
                    places = np.arange(seen, seen + batch.num_rows, dtype=np.int64)
                    taken = np.flatnonzero(places * min(most, total) % total < most)
                    seen += batch.num_rows
                    if len(taken):
                        yield batch.take(pa.array(taken))


def check_labels_known(job: CertifyJob, bundle: Bundle) -> None:
    """Raises ConfigError for right labels of a bundle that gives several: what is right is no one label then."""
    if job.label_column is not None and bundle.task == "multilabel":
        raise ConfigError(
            f"--label-column {job.label_column}: {job.bundle} gives several labels a text, and is certified without "
            "right ones; leave the flag out"
        )


def check_pairs(job: SampleJob, bundle: Bundle) -> None:
    """Raises ConfigError if the job has one text for pairs, or two for single texts."""
    if (bundle.segments == 2) != (job.text_pair_column is not None):
        way_out = "name the second text with --text-pair-column" if bundle.segments == 2 else "leave the flag out"
        raise ConfigError(f"{job.bundle}: scores {'pairs' if bundle.segments == 2 else 'single texts'}; {way_out}")
