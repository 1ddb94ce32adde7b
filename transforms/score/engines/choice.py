"""Which engine computes a job, and in which precision: decided once, when the job is planned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.bundle import AS_EXPORTED, INT8, OPENVINO, TENSORFLOW, Bundle
from transforms.score.certificates.certificate import Certificate
from transforms.score.certificates.statistics import PASSED, UNDECIDED
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import BFLOAT16, EIGHT_BIT, GPU, Chip
from transforms.score.engines.openvino_scorer import INSTALL, OpenVinoScorer, computes, is_installed
from transforms.score.engines.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`precision` None: each worker takes that of its device. `notes`: a sentence each on what was not taken, or why.

    `chip` is the class of chips that OpenVINO is to compute on; TensorFlow computes on all.
    `certificate` is the one that a choice of the fastest precision rests on.
    """

    engine: str = TENSORFLOW
    precision: str | None = None
    notes: tuple[str, ...] = ()
    certificate: Certificate | None = None
    chip: str | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job is computed. `device` None: elsewhere, where nothing can be looked at from here.

    `chip` is that of this machine, or of the class that somebody named for machines elsewhere; None if nobody did.
    """

    device: Device | None
    chip: Chip | None

    @property
    def kind(self) -> str | None:
        """The class of the chips that compute, if it is known."""
        if self.device is not None and self.device.kind == GPU:
            return GPU
        return None if self.chip is None else self.chip.kind


def load_scorer(bundle: Bundle, compute: Compute, device: Device) -> Scorer:
    """The model of a bundle as `compute` describes it; raises EngineError if this process cannot compute so."""
    if compute.engine == OPENVINO:
        return OpenVinoScorer(bundle, compute, Device(kind="cpu"))
    from transforms.score.engines.tensorflow_scorer import TensorFlowScorer

    return TensorFlowScorer(bundle, compute, device)


def choose(bundle: Bundle, wanted: str | None, place: Place) -> Choice:
    """The engine for the precision that is `wanted` (None: by device): OpenVINO where it computes bfloat16 itself.

    Raises ValueError if the bundle does not have the precision, or nothing computes it there (int8 has one engine).
    """
    if bundle.graph == AS_EXPORTED and wanted in (None, "float32"):
        return Choice(precision="float32")  # On a GPU too, and where no worker is known.
    precision = wanted if place.device is None else place.device.precision(wanted, bundle.precisions)
    if precision == INT8:
        if (problem := _why_not_int8(place)) is not None:
            raise ValueError(problem)
        return Choice(engine=OPENVINO, precision=INT8, chip=place.kind)
    if precision != "bfloat16" or place.kind == GPU:
        return Choice(precision=precision)
    reason = _why_not_openvino(bundle, place)
    if reason is None:
        return Choice(engine=OPENVINO, precision=precision, chip=place.kind)
    return Choice(precision=precision, notes=(f"bfloat16 is computed by TensorFlow: {reason}",))


def _why_not_int8(place: Place) -> str | None:
    if place.kind == GPU:
        return "a GPU does not compute it; take float16"
    if place.chip is None:
        return f"the chips of the workers are not known here; say their class with --chip ({', '.join(EIGHT_BIT)})"
    if place.chip.kind not in EIGHT_BIT:
        better = "; take bfloat16, which is more exact" if place.chip.kind in BFLOAT16 else "; take float32"
        return f"{place.chip.name} (class {place.chip.kind}) is not expected to gain by it{better}"
    if place.device is None:
        return None
    if not is_installed():
        return f"only OpenVINO computes it, which is not installed; {INSTALL}"
    return None if computes(INT8) else f"OpenVINO does not compute it on {place.chip.name}"


def _why_not_openvino(bundle: Bundle, place: Place) -> str | None:
    if OPENVINO not in bundle.engines:
        return f"{bundle.name} has no graph that OpenVINO reads, it is of an earlier version; make the bundle anew"
    if place.chip is None:
        return "the chips of the workers are not known here; --chip names their class"
    if place.chip.kind not in BFLOAT16:
        return f"{place.chip.name} (class {place.chip.kind}) has no instructions for it, which OpenVINO needs"
    if place.device is None:
        return None  # A worker that has no OpenVINO, or another chip, ends the run.
    if not is_installed():
        return f"OpenVINO is not installed, which is about twice as fast; {INSTALL}"
    return None if computes("bfloat16") else f"OpenVINO does not compute it on {place.chip.name}"


def choose_fastest(
    bundle: Bundle, certificates: Sequence[Certificate], limit: float, place: Place, others: bool = False
) -> Choice:
    """The fastest precision of which a certificate for these chips says that at most the share `limit` changes.

    Else float32; `notes` say why. `others`: there are certificates of another bundle.
    """
    if bundle.graph == AS_EXPORTED:
        return Choice(precision="float32", notes=(f"float32: {bundle.name} holds its network as exported",))
    kind, notes = place.kind, []
    best: Choice | None = None
    for found in sorted(certificates, key=lambda one: -one.times):
        problem = _why_not(bundle, found, limit, place)
        if problem is not None:
            notes.append(problem)
        elif best is None:
            chip = kind if found.engine == OPENVINO else None
            best = Choice(engine=found.engine, precision=found.precision, certificate=found, chip=chip)
    if best is not None:
        why = f"{best.precision} in {best.engine} is the fastest, {told(best.certificate, limit)}"
        return replace(best, notes=(why, *notes))
    if not certificates:
        of = "only other bundles have one" if others else "there is none"
        notes.append(f"{of} for chips of class {kind}; `bert-batch certify` makes one")
    return Choice(precision="float32", notes=(f"float32, as no certificate allows more: {'; '.join(notes)}",))


def _why_not(bundle: Bundle, found: Certificate, limit: float, place: Place) -> str | None:
    verdict, missing = found.judged(limit)
    if verdict != PASSED:
        more = f", {missing:,} more rows would decide" if verdict == UNDECIDED and missing else ""
        return f"that of {found.precision} in {found.engine} {verdict} at {limit:.2%}{more}"
    if found.times <= 1:
        return f"that of {found.precision} in {found.engine} passed, but it is {found.times:.2f} times as fast"
    if found.precision not in bundle.precisions:
        return f"{found.precision} is not in the bundle"
    if found.precision == INT8 and (problem := _why_not_int8(place)) is not None:
        return f"int8: {problem}"
    if found.engine == OPENVINO and choose(bundle, found.precision, place).engine != OPENVINO:
        return f"OpenVINO does not compute {found.precision} here"
    return None


def told(certificate: Certificate | None, limit: float) -> str:
    """What a certificate says, in one sentence."""
    assert certificate is not None
    if certificate.changed is not None:
        changed = certificate.changed
        what = f"{changed.labels:,} of {certificate.rows:,} labels changed, at most {changed.high:.2%} by the interval"
    else:
        assert certificate.values is not None
        share = certificate.values.share
        what = f"RMS difference {0.0 if share is None else share:.2%} of the spread, {certificate.rows:,} rows"
    return f"{certificate.times:.2f} times float32: {what}, allowed are {limit:.2%}"
