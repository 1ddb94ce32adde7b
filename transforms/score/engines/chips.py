"""What kind of processor a machine has, as far as precisions depend on it."""

import functools
import os
import platform
from collections.abc import Collection
from dataclasses import dataclass

_X86 = {
    "amx": {"amx_bf16", "amx_tile"},
    "avx512_bf16": {"avx512_bf16"},
    "avx512_vnni": {"avx512_vnni"},
    "avx512": {"avx512f"},
    "avx2_vnni": {"avx_vnni"},
    "avx2": {"avx2"},
}
"""Class -> the flags of Linux that a chip of it has, the most able first."""
_ARM = {"arm_bf16": {"bf16"}, "arm": {"asimd"}}
OTHER, GPU = "other", "gpu"
CLASSES = (*_X86, *_ARM, OTHER, GPU)
"""Every class of chips; a GPU is one of its own."""
BFLOAT16 = ("amx", "avx512_bf16")
"""Classes of chips on which OpenVINO computes in bfloat16."""
EIGHT_BIT = ("avx512_bf16", "avx512_vnni", "avx2_vnni")
"""Classes of chips on which OpenVINO computes in int8 and gains by it; on amx, bfloat16 is as fast."""
_CEILING = {"avx512_core_vnni": "avx512_vnni", "avx512_core": "avx512", "avx2_vnni": "avx2_vnni", "avx2": "avx2"}
_CEILING |= {"avx512_core_bf16": "avx512_bf16", "avx": OTHER, "sse41": OTHER}
_CEILING |= {"avx512_core_fp16": "avx512_bf16", "avx10_1_512": "avx512_bf16", "avx2_vnni_2": "avx2_vnni"}
"""What ONEDNN_MAX_CPU_ISA leaves of a chip, for both engines."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """`kind` is one of CLASSES, `name` what its maker calls it."""

    kind: str
    name: str


@functools.cache
def find_chip() -> Chip:
    """The processor of this machine; of a class that nothing is known of where the system does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            said = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        said = {}
    about = {key.strip().lower(): value.strip() for key, value in said.items()}
    flags = (about.get("flags") or about.get("features") or "").split()
    name = about.get("model name") or platform.processor() or platform.machine()
    return Chip(kind=class_of(flags, os.environ.get("ONEDNN_MAX_CPU_ISA", "")), name=name)


def class_of(flags: Collection[str], ceiling: str = "") -> str:
    """The class of a chip with these flags, of which oneDNN may use what `ceiling` says (all by default)."""
    known = {**_X86, **_ARM}
    found = next((kind for kind, needed in known.items() if needed <= set(flags)), OTHER)
    most = _CEILING.get(ceiling.lower())
    if most is None or found not in _X86:
        return found
    # The most able come first: what stands behind the ceiling is below it.
    order = [*_X86, OTHER]
    return order[max(order.index(found), order.index(most))]
