"""Which precision and how many tokens suit a device."""

import pytest

from transforms.devices import Device, find_device

ALL = ("float32", "bfloat16", "float16")
H100 = Device(kind="gpu", memory=78 * 1024**3)
T4 = Device(kind="gpu", memory=14 * 1024**3)


@pytest.mark.parametrize(
    ("device", "wanted", "exported", "precision"),
    [
        (Device(kind="cpu"), None, ALL, "float32"),
        (H100, None, ALL, "float16"),
        (H100, "bfloat16", ALL, "bfloat16"),
        (H100, None, ("float32",), "float32"),
        (H100, "float32", ALL, "float32"),
        (Device(kind="cpu"), "bfloat16", ALL, "bfloat16"),
    ],
)
def test_the_device_chooses_the_precision_unless_it_is_forced(
    device: Device, wanted: str | None, exported: tuple[str, ...], precision: str
) -> None:
    assert device.precision(wanted, exported) == precision


def test_a_precision_the_bundle_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16 is not in the bundle, which has float32"):
        H100.precision("bfloat16", ("float32",))


def test_the_budget_of_a_gpu_follows_its_free_memory() -> None:
    assert H100.token_budget == T4.token_budget == 65_536
    assert Device(kind="gpu", memory=7 * 1024**3).token_budget == 32_768
    assert Device(kind="gpu", memory=6 * 1024**3).token_budget == 16_384
    assert Device(kind="cpu").token_budget == 4_096


def test_this_machine_has_a_device() -> None:
    assert find_device().kind in ("cpu", "gpu")
