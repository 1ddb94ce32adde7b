"""What a process keeps of loaded bundles: the same object for the same fingerprint, and only the newest few."""

import threading
import time

import pytest

from transforms.stores import loaded
from transforms.stores.loaded import KEPT, once_a_process


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_loaded", type(loaded._loaded)())


def test_the_same_fingerprint_is_loaded_once_and_another_one_by_itself() -> None:
    first = once_a_process("scoring", "a", object)
    assert once_a_process("scoring", "a", object) is first
    assert once_a_process("scoring", "b", object) is not first
    assert once_a_process("preprocessing", "a", object) is not first


def test_only_the_newest_few_are_kept() -> None:
    first = once_a_process("scoring", "0", object)
    for number in range(1, KEPT):
        once_a_process("scoring", str(number), object)
        assert once_a_process("scoring", "0", object) is first
    for number in range(KEPT):
        once_a_process("scoring", f"later {number}", object)
    assert once_a_process("scoring", "0", object) is not first


def test_threads_that_ask_at_once_load_once() -> None:
    loads: list[object] = []

    def load() -> object:
        loads.append(time.sleep(0.05))
        return object()

    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(once_a_process("scoring", "a", load))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == len({id(one) for one in found}) == 1


def test_what_cannot_be_loaded_is_tried_again() -> None:
    def fail() -> object:
        raise OSError

    with pytest.raises(OSError):
        once_a_process("scoring", "a", fail)
    assert once_a_process("scoring", "a", lambda: 5) == 5
