"""Networks that tests of this folder import."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.exported_rows import MakeTiny
from support.checkpoints.exports import Tiny, stored_case, write_export, write_words
from support.checkpoints.imports import job

from model.bundle import Bundle
from pipeline.bundling.importing import import_model


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """The bundles of the stored cases, each imported once, for pairs."""

    @functools.cache
    def imported(name: str) -> Bundle:
        case = stored_case(name)
        return import_model(job(case.path, tmp_path_factory.mktemp(name), max_tokens=18, **case.flags)).bundle

    return imported


@pytest.fixture
def tiny(tmp_path: Path) -> MakeTiny:
    """Imports a tiny network, or raises what the import raises."""

    def imported(network: Tiny | None = None, flags: dict[str, Any] | None = None, **settings: Any) -> Bundle:
        vocabulary = write_words(tmp_path)
        path = write_export(tmp_path / "export", network, **settings)
        usual = {"as_exported": True, "vocabulary": str(vocabulary), "labels": "a,b,c", "outputs_are": "logits"}
        given = {key: value for key, value in {**usual, **(flags or {})}.items() if value is not None}
        return import_model(job(path, tmp_path, **given)).bundle

    return imported
