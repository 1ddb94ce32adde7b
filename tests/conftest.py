"""What every process of the tests does first; the fixtures that many tests share are in support/fixtures.py."""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from hypothesis import settings

# A machine that is busy is no fault of an example: none has a deadline. Elsewhere each run looks at other examples.
# Where a change waits to land, the same ones are looked at again: what hypothesis finds there by chance belongs to
# another change.
settings.register_profile("tests", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "tests")


def pytest_configure(config: pytest.Config) -> None:
    """Fixtures import TensorFlow and Beam; the process that only hands out tests needs neither."""
    option = config.getoption
    hands_out = option("dist", "no") != "no" and option("tx", None) and not option("collectonly")
    if not hands_out or hasattr(config, "workerinput"):
        # The collector would look at all objects of TensorFlow and Beam again and again: a tenth of all time.
        gc.disable()
        config.pluginmanager.import_plugin("support.fixtures")
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of tests/slow is slow; elsewhere single tests are marked, which need a process of their own."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).with_name("slow")):
            item.add_marker(pytest.mark.slow)
