"""The bundle of a job, and whether the two fit."""

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from model.bundle import Bundle


def bundle_of(job: JobConfig) -> "Bundle":
    """The verified bundle that the job names; raises BundleError, or ConfigError if the job does not fit it."""
    from transforms.stores.bundles import BundleReference, open_pinned_bundle

    # Checked first: a bundle that does not fit is not copied to this machine.
    fingerprint = describe_for(job).fingerprint
    return open_pinned_bundle(BundleReference(path=job.bundle, fingerprint=fingerprint))


def describe_for(job: JobConfig) -> "Bundle":
    """The same from `bundle.json` alone: the other files of the bundle are not read."""
    from transforms.stores.bundles import describe_bundle

    return _fits(describe_bundle(job.bundle), job)


def _fits(bundle: "Bundle", job: JobConfig) -> "Bundle":
    if not bundle.fingerprint.startswith(job.bundle_fingerprint):
        raise ConfigError(f"{job.bundle}: is bundle {bundle.fingerprint}, not the {job.bundle_fingerprint} of the job")
    if bundle.segments == 2 and job.text_pair_column is None:
        raise ConfigError(
            f"{job.bundle}: scores pairs of texts; name the column of the second text with --text-pair-column"
        )
    if bundle.segments == 1 and job.text_pair_column is not None:
        raise ConfigError(
            f"--text-pair-column {job.text_pair_column!r}: {job.bundle} scores single texts; leave the flag out, "
            "or choose a bundle trained on pairs"
        )
    if job.threshold is not None and bundle.task != "multilabel":
        raise ConfigError(
            f"--threshold {job.threshold:g}: {job.bundle} is a {bundle.task}; the flag is for bundles of several "
            "labels a text: leave it out"
        )
    if job.min_probability is not None:
        _check_decision(bundle, job)
    if job.embeddings is not None and not bundle.embedding_width:
        from model.bundle import AS_EXPORTED

        why = "as no bundle of an earlier version does; import or train the model again with this version"
        if bundle.graph == AS_EXPORTED:
            why = "because it is as its maker exported it; import a checkpoint of the model"
        raise ConfigError(
            f"--embeddings {job.embeddings}: the graph of {job.bundle} gives none, {why}, or leave the flag out"
        )
    if job.precision not in ("auto", "fastest"):
        check_precision(bundle, job.bundle, job.precision)
    return bundle


def _check_decision(bundle: "Bundle", job: JobConfig) -> None:
    from transforms.batches.score_columns import ABSTAIN

    flag = f"--min-probability {job.min_probability:g}: {job.bundle}"
    if bundle.task != "classification":
        instead = (
            "--threshold says which labels it gives" if bundle.task == "multilabel" else "its values are no labels"
        )
        raise ConfigError(f"{flag} is a {bundle.task}; {instead}: leave the flag out")
    if ABSTAIN in bundle.labels:
        raise ConfigError(
            f"{flag} has a label {ABSTAIN!r}, from which no row that is not decided could be told; leave the flag out"
        )


def thresholds_of(job: JobConfig, bundle: "Bundle") -> tuple[float, ...]:
    """The probability from which each label is given: of the job, else of the bundle; empty where texts have one."""
    return bundle.thresholds if job.threshold is None else (job.threshold,) * len(bundle.thresholds)


def embedding_of(job: JobConfig, bundle: "Bundle") -> "pa.FixedSizeListType | None":
    """The type of the column `embedding`, None where the job asks for none."""
    from transforms.batches.score_columns import embedding_type

    return None if job.embeddings is None else embedding_type(job.embeddings, bundle.embedding_width)


def check_precision(bundle: "Bundle", path: str, precision: str) -> None:
    """Raises ConfigError if the bundle at `path` does not have the precision."""
    from model.bundle import AS_EXPORTED

    if precision in bundle.precisions:
        return
    if bundle.graph == AS_EXPORTED:
        raise ConfigError(
            f"--precision {precision}: {path} holds a network as exported, which TensorFlow computes in float32, on "
            "CPUs and GPUs; there is no other precision to choose, measure or make"
        )
    way_out = "make the bundle anew with this version, or leave the flag out"
    if precision == "int8":
        # What quantize reads is in no bundle of an earlier version.
        first = "" if "openvino" in bundle.engines else "make the bundle anew with this version, then "
        way_out = f"{first}`bert-batch quantize` makes one that has it"
    raise ConfigError(f"--precision {precision}: {path} has {', '.join(bundle.precisions)} only; {way_out}")
