"""Quantizing on one page: a bundle and rows of one's own -> the same bundle with a graph in int8, under a new name."""

import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from model.bundle import AS_EXPORTED, INT8, OPENVINO, Bundle, seal
from pipeline.bundling.certify_job import QuantizeJob
from pipeline.bundling.certifying import check_pairs, read_tokens
from pipeline.bundling.sealing import copy_files, described, move_bundle
from pipeline.errors import ConfigError
from pipeline.jobs.bundle import check_precision
from transforms.read.plan_files import plan_inputs
from transforms.score.engines.openvino_scorer import Compiled, computes
from transforms.score.engines.quantize import INSTALL, is_installed, quantize
from transforms.stores.bundles import open_bundle


def quantize_bundle(job: QuantizeJob) -> Bundle:
    """Makes the new bundle, whole or not at all; raises ConfigError, BundleError, PlanError, NoInputError.

    All of the bundle it comes from is in it: float32 stays what a certificate compares with. `origin` names that
    bundle and the number of rows.
    """
    if not is_installed():
        raise ConfigError(f"quantize needs NNCF, which is not installed; {INSTALL}")
    bundle = open_bundle(job.bundle)
    if INT8 not in bundle.precisions and bundle.graph == AS_EXPORTED:
        check_precision(bundle, job.bundle, INT8)
    if OPENVINO not in bundle.engines:
        raise ConfigError(
            f"{job.bundle}: has no graph that OpenVINO reads, it is of an earlier version; make the bundle anew"
        )
    if INT8 in bundle.precisions:
        raise ConfigError(f"{job.bundle}: has int8 already; give the bundle that it was made from")
    check_pairs(job, bundle)
    plan = plan_inputs(job.input, job.columns(bundle.task), file_format=job.format, dialect=job.dialect)
    rows = read_tokens(plan, bundle, job.rows)
    if not rows.lengths:
        raise ConfigError(f"--input {', '.join(job.input)}: has no row with a text in column {job.text_column!r}")
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp) / "bundle"
        copy_files(bundle, folder)
        looked_at = quantize(bundle.scoring, rows.ragged, folder / INT8)
        if computes(INT8):
            # Raises EngineError for a graph without products in int8.
            Compiled(str(folder / INT8 / "model.xml"), INT8)
        description = {
            **described(bundle),
            "precisions": [*bundle.precisions, INT8],
            "origin": {**bundle.origin, "quantized_from": bundle.reference, "quantized_with_rows": looked_at},
            "versions": {**bundle.versions, **{package: version(package) for package in ("openvino", "nncf")}},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        seal(folder, description)
        move_bundle(folder, Path(job.output))
    return Bundle.load(job.output)
