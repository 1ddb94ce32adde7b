"""A scoring graph with its products in int8, made by NNCF from rows of tokens.

An optional dependency (the extra `quantize`), needed where a bundle is made and nowhere else.
"""

import contextlib
import importlib.util
import io
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from transforms.score.macro_batch import Ragged
from transforms.score.windows import one_by_one

INSTALL = "pip install 'bert-batch[quantize]'"


def is_installed() -> bool:
    """Whether NNCF and OpenVINO are there; they are not imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("nncf", "openvino"))


def quantize(graph: str, rows: Ragged, folder: Path) -> int:
    """Writes `model.xml` and `model.bin`: the SavedModel `graph` with weights and inputs of its products in int8.

    Ranges of inputs are those that `rows` have, each looked at alone, without padding; of texts with windows those of
    as many windows as there are texts. What is no product stays float32. Post-training quantization with SmoothQuant
    and bias correction, NNCF's for transformers. Returns how many rows were looked at.
    """
    nncf = _nncf()
    import openvino

    rows = _as_many(one_by_one(rows), len(rows.first_segment))
    model = openvino.Core().read_model(graph)
    items = [_inputs(rows, row) for row in range(len(rows.first_segment))]
    # It draws bars on stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        made = nncf.quantize(model, nncf.Dataset(items), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(items))
    folder.mkdir(parents=True)
    openvino.save_model(made, str(folder / "model.xml"), compress_to_fp16=False)
    return len(items)


def _as_many(rows: Ragged, most: int) -> Ragged:
    """At most so many, evenly from all of them."""
    count = len(rows.first_segment)
    return rows if count <= most else rows.take(np.arange(most) * count // most)


def _nncf() -> Any:
    # Else it reports to its makers that it is used. It is read when the package is imported.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def _inputs(rows: Ragged, row: int) -> dict[str, Any]:
    one = rows.slice(slice(row, row + 1))
    lengths = np.array([len(one.values)], np.int32)
    return {"tokens": one.values[np.newaxis].astype(np.int32), "lengths": lengths, "first_segment": one.first_segment}
