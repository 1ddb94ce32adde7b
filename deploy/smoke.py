"""Checks an installation, first of all an image: `python deploy/smoke.py [cpu|gpu]`. Exit code 0, or 1 and why.

What the pipeline imports is there, three texts are scored with the demo bundle; for `cpu` OpenVINO finds its plugin,
for `gpu` TensorFlow sees one and computes on it. Without an argument the image's own target is checked.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

IMPORTS = ("apache_beam.io.gcp.gcsio", "tensorflow_text", "tensorflow_transform", "tfx_bsl", "pipeline.commands.app")
TEXTS = {
    "will it rain tomorrow in Paris": "GetWeather",
    "book a table for two at seven": "BookRestaurant",
    "play some jazz by Miles Davis": "PlayMusic",
}


class SmokeError(Exception):
    """This installation cannot do its work."""


def imports() -> str:
    """Imports what workers import."""
    for name in IMPORTS:
        importlib.import_module(name)
    return f"{len(IMPORTS)} imports"


def openvino() -> str:
    """Asks OpenVINO what it computes in on this chip; the image for GPUs has none, and is built without a GPU too."""
    if os.environ.get("BERT_BATCH_TARGET") == "gpu":
        return "not in this image"
    from transforms.score.engines.openvino_scorer import capabilities

    return ", ".join(capabilities())


def gpu() -> str:
    """Multiplies two matrices on the first GPU; raises SmokeError if TensorFlow sees none or does not compute there."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        why = "" if tf.test.is_built_with_cuda() else ": this TensorFlow is built without CUDA"
        raise SmokeError(
            f"TensorFlow sees no GPU{why}; needed are an image with TARGET=gpu, a machine with a GPU and its driver "
            f"(LD_LIBRARY_PATH is {os.environ.get('LD_LIBRARY_PATH', '')!r})"
        )
    for device in devices:
        tf.config.experimental.set_memory_growth(device, True)
    with tf.device("/GPU:0"):
        ones = tf.ones([256, 256])
        product = tf.matmul(ones, ones)
    if "GPU" not in product.device or float(product[0, 0]) != 256.0:
        raise SmokeError(f"a product of matrices came from {product.device or 'nowhere'} as {float(product[0, 0])}")
    details = tf.config.experimental.get_device_details(devices[0])
    build = tf.sysconfig.get_build_info()
    return f"{details.get('device_name', devices[0].name)}, CUDA {build['cuda_version']}"


def scores() -> str:
    """Scores three texts with the demo bundle and looks at their labels; raises SmokeError if one is wrong."""
    import pyarrow.parquet as pq

    from pipeline.commands.demo import shipped
    from pipeline.jobs.config import JobConfig
    from pipeline.scoring import score
    from pipeline.terminal.console import quiet_libraries

    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.jsonl"
        texts.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in TEXTS), encoding="utf-8")
        bundle = str(shipped() / "bundle")
        verdict = score(JobConfig(bundle=bundle, input=(str(texts),), output=(f"{folder}/scored",)))
        rows = [row for file in Path(verdict.folder).glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    found = {row["id"]: row["label"] for row in rows}
    if found != TEXTS:
        raise SmokeError(f"the demo bundle gave the labels {sorted(found.values())}, not {sorted(TEXTS.values())}")
    return f"{len(found)} texts scored"


CHECKS: dict[str, tuple[Callable[[], str], ...]] = {"cpu": (imports, openvino, scores), "gpu": (imports, gpu, scores)}


def main() -> int:
    """Runs the checks of a target, and stops at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", choices=CHECKS, default=os.environ.get("BERT_BATCH_TARGET", "cpu"))
    for check in CHECKS[parser.parse_args().target]:
        try:
            print(f"ok {check.__name__}: {check()}", flush=True)
        except Exception as error:
            print(f"FAILED {check.__name__}: {error}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    from pipeline.commands.start import end_of_process

    end_of_process(lambda: sys.exit(main()))
