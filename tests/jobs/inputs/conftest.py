"""What the plan says of inputs."""

from pathlib import Path
from typing import Any

import pytest
from support.bundles import Built
from support.files.bad_files import Refusal
from support.jobs import NOW, prepared

from pipeline.jobs.config import JobConfig
from transforms.errors import PlanError


@pytest.fixture
def refusal(tmp_path: Path, classes: Built) -> Refusal:
    """What the plan says of an input it refuses; nothing is written."""

    def refuse(*files: Path, error: type[Exception] = PlanError, **settings: Any) -> str:
        job = JobConfig(
            bundle=str(classes.path), input=[str(file) for file in files], output=str(tmp_path / "out"), **settings
        )
        with pytest.raises(error) as caught:
            prepared(job, NOW)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    return refuse
