"""A process that really runs out of memory: OpenVINO computes wrong shapes afterwards, so it is compiled anew."""

import sys
from pathlib import Path

import numpy as np
from support.bundles import Built
from support.commands import run_command

SCRIPT = """
import resource, sys
import numpy as np
from model.bundle import Bundle
from support.scorers import ragged
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.choice import load_scorer
from transforms.score.macro_batch import score_rows

bundle, count = Bundle.describe(sys.argv[1]), int(sys.argv[2])
# A budget that takes all rows at once.
compute = Compute(precision="float32", engine="openvino", token_budget=1 << 24)
rows = ragged([([2, *(10 + (i >> shift) % 64 for shift in (0, 6, 12))], 1) for i in range(count)])
plain = load_scorer(bundle, Compute(precision="float32"), Device(kind="cpu"))
wanted = score_rows(rows, plain).outputs
scorer = load_scorer(bundle, compute, Device(kind="cpu"))
score_rows(rows.slice(slice(0, 8)), scorer)
size = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = size + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = score_rows(rows, scorer)
print(int(found.failed.sum()), scorer.token_budget < 1 << 24, float(np.abs(found.outputs - wanted).max()))
"""


def test_rows_are_all_scored_with_a_smaller_budget(classes: Built, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).resolve().parents[3]
    said = run_command([sys.executable, str(script), str(classes.path), "200000"], PYTHONPATH=f"{root}:{root}/tests")
    failed, halved, difference = said.split()
    assert (failed, halved) == ("0", "True")
    assert np.float64(difference) <= 1e-5
