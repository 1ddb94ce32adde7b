"""What tests of publishing into a table share."""

from pathlib import Path

import pytest
from support.cloud.table_publishing import Place


@pytest.fixture
def local(dataset: str, bucket_folder: str, tmp_path: Path) -> Place:
    """A table beside a local folder, where the swap of the manifest can be relied on."""
    return Place(home=str(tmp_path / "out"), table=f"{dataset}.scores", staging=bucket_folder)
