"""GPUs that Dataflow cannot give, that would idle, or that stand in the wrong place: each fault alone."""

import pytest
from apache_beam.transforms.resources import parse_resource_hints
from support.deploy.options import GOOD, HINT, ONE, POOL, problems

GPU_ALONE = "type:nvidia-l4;count:1;install-nvidia-driver"
NO_MACHINE = "has the GPU nvidia-l4, which is on g2-standard-* machines only, not on n1-*, the default of Dataflow"
FORM = (
    "is no single GPU with its driver; write type:GPU;count:1;machine_type:MACHINE;install-nvidia-driver, or …:5xx for "
    "a newer driver: a worker scores on one GPU, and sees none without a driver"
)
EXCLUDE = (
    "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
    "give every worker a GPU (placement all), or only the scoring step's (placement score)"
)
FLEXRS = "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
PROCESSES = (
    f"{ONE} is missing: every processor would have a process with a model of its own, all on the same GPU; add it"
)
GPUS = "known are nvidia-l4, nvidia-tesla-t4, nvidia-tesla-a100, nvidia-a100-80gb"

ACCELERATORS = {
    "a part misspelt": ("type:nvidia-l4;cout:1;machine_type:g2-standard-4;install-nvidia-driver", FORM),
    "the driver misspelt": ("type:nvidia-l4;count:1;machine_type:g2-standard-4;install_nvidia_driver", FORM),
    "no driver": ("type:nvidia-l4;count:1;machine_type:g2-standard-4", FORM),
    "another driver": (HINT + ":535", FORM),
    "a driver that is not said": (HINT + ":", FORM),
    "spaces": (HINT.replace(";count", "; count"), FORM),
    "commas": (HINT.replace(";", ","), FORM),
    "a last semicolon": (HINT + ";", FORM),
    "a part twice": (HINT + ";count:1", FORM),
    "no whole number": (HINT.replace("count:1", "count:one"), FORM),
    "none": (HINT.replace("count:1", "count:0"), FORM),
    "nothing": ("", FORM),
    "GPUs that nothing is scored on": (
        HINT.replace("count:1", "count:4").replace("g2-standard-4", "g2-standard-48"),
        FORM,
    ),
    "a value for what has none": (HINT + ";use_nvidia_mps:1", FORM),
    "one process, which shares the GPU with itself": (HINT + ";use_nvidia_mps", FORM),
    "a GPU misspelt": (HINT.replace("nvidia-l4", "nvidia-l44"), f"has the unknown GPU type 'nvidia-l44'; {GPUS}"),
    "the old name of a GPU": (HINT.replace("nvidia-l4", "nvidia-t4"), f"has the unknown GPU type 'nvidia-t4'; {GPUS}"),
    "an L4 without a machine": (GPU_ALONE, NO_MACHINE),
    "eight L4, one of which is used": (
        HINT.replace("g2-standard-4", "g2-standard-96"),
        "asks for one GPU, and 'g2-standard-96' has several, which all cost money; take a machine with one",
    ),
    "two A100, one of which is used": (
        "type:nvidia-tesla-a100;count:1;machine_type:a2-highgpu-2g;install-nvidia-driver",
        "asks for one GPU, and 'a2-highgpu-2g' has several, which all cost money; take a machine with one",
    ),
    "an L4 on n1": (
        HINT.replace("g2-standard-4", "n1-standard-4"),
        "has the GPU nvidia-l4, which is on g2-standard-* machines only, not on 'n1-standard-4'",
    ),
    "a T4 on g2": (
        HINT.replace("nvidia-l4", "nvidia-tesla-t4"),
        "has the GPU nvidia-tesla-t4, which is on n1-* machines only, not on 'g2-standard-4'",
    ),
    "a T4 on n2": (
        "type:nvidia-tesla-t4;count:1;machine_type:n2-standard-4;install-nvidia-driver",
        "has the GPU nvidia-tesla-t4, which is on n1-* machines only, not on 'n2-standard-4'",
    ),
    "an A100 of 80 GB on the machine of 40 GB": (
        "type:nvidia-a100-80gb;count:1;machine_type:a2-highgpu-1g;install-nvidia-driver",
        "has the GPU nvidia-a100-80gb, which is on a2-ultragpu-* machines only, not on 'a2-highgpu-1g'",
    ),
}


@pytest.mark.parametrize("case", ACCELERATORS)
def test_an_accelerator_that_dataflow_cannot_give(case: str) -> None:
    text, line = ACCELERATORS[case]
    found = problems([*GOOD, ONE], {"accelerator": text})
    assert found == [f"accelerator hint {text!r}: {line}"]
    # The same hint for every step.
    assert problems([*GOOD, ONE, f"--resource_hints=accelerator={text}"]) == found


PLACEMENTS = {
    "both ways": ([ONE, POOL + GPU_ALONE, "--machine_type=g2-standard-4"], {"accelerator": HINT}, [EXCLUDE]),
    "memory as a hint beside the other way": (
        [ONE, POOL + GPU_ALONE, "--machine_type=g2-standard-4"],
        {"min_ram": "14GB"},
        [EXCLUDE],
    ),
    "hints and FlexRS": ([ONE, "--flexrs_goal=COST_OPTIMIZED"], {"accelerator": HINT}, [FLEXRS]),
    "memory as a hint and FlexRS": (["--flexrs_goal=COST_OPTIMIZED"], {"min_ram": "14GB"}, [FLEXRS]),
    "a GPU for all and FlexRS": (
        [ONE, "--flexrs_goal=COST_OPTIMIZED", POOL + GPU_ALONE, "--machine_type=g2-standard-4"],
        {},
        [FLEXRS],
    ),
    "several processes on the GPU of a step": ([], {"accelerator": HINT}, [PROCESSES]),
    "several processes on the GPU of a worker": (
        ["--experiments=use_runner_v2", "--machine_type=g2-standard-4", POOL + GPU_ALONE],
        {},
        [PROCESSES],
    ),
    "no machine for all": (
        [ONE, POOL + GPU_ALONE],
        {},
        [f"--dataflow_service_options worker_accelerator '{GPU_ALONE}': {NO_MACHINE}"],
    ),
    "a machine where Dataflow does not look for it": (
        [ONE, POOL + HINT, "--machine_type=g2-standard-4"],
        {},
        [
            f"--dataflow_service_options worker_accelerator '{HINT}': "
            "has a machine_type, which Dataflow does not read there; say --machine_type"
        ],
    ),
    "a pool of machines with eight GPUs": (
        [ONE, POOL + "type:nvidia-tesla-a100;count:1;install-nvidia-driver", "--machine_type=a2-highgpu-8g"],
        {},
        [
            "--dataflow_service_options worker_accelerator 'type:nvidia-tesla-a100;count:1;install-nvidia-driver': "
            "asks for one GPU, and 'a2-highgpu-8g' has several, which all cost money; take a machine with one"
        ],
    ),
    "as an experiment": (
        [ONE, f"--experiments=worker_accelerator={GPU_ALONE}", "--machine_type=n1-standard-4"],
        {},
        [
            f"--dataflow_service_options worker_accelerator '{GPU_ALONE}': "
            "has the GPU nvidia-l4, which is on g2-standard-* machines only, not on 'n1-standard-4'"
        ],
    ),
    "a GPU that nobody uses": (
        ["--machine_type=g2-standard-4"],
        {},
        [
            "--machine_type 'g2-standard-4': comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        ],
    ),
    "a GPU that nobody uses beside those of a step": (
        [ONE, "--machine_type=a2-highgpu-1g"],
        {"accelerator": HINT},
        [
            "--machine_type 'a2-highgpu-1g': comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        ],
    ),
    "memory without a unit": (
        [],
        {"min_ram": "14"},
        ["min_ram hint '14': is not a size; write a number and a unit, such as 14GB"],
    ),
    "the hint that sums up": (
        [ONE],
        {"accelerator": HINT, "max_active_bundles_per_worker": "1"},
        ["resource hint 'max_active_bundles_per_worker' is not known to work here; use accelerator and min_ram only"],
    ),
}


@pytest.mark.parametrize("case", PLACEMENTS)
def test_gpus_in_the_wrong_place(case: str) -> None:
    arguments, hints, lines = PLACEMENTS[case]
    assert problems([*GOOD, *arguments], hints) == lines


@pytest.mark.parametrize("unit", ["B", "MB", "GiB", " GB"])
@pytest.mark.parametrize("size", ["14", "0.5", "30", "31", "1000000"])
def test_sizes_of_memory_are_those_of_beam(size: str, unit: str) -> None:
    assert parse_resource_hints({"min_ram": size + unit})
    assert problems([*GOOD, f"--resource_hints=min_ram={size}{unit}"]) == []


@pytest.mark.parametrize("size", ["14", "1iB", "GB", "14 gigabytes"])
def test_what_beam_takes_for_no_size_is_refused_before(size: str) -> None:
    with pytest.raises(ValueError, match="invalid value"):
        parse_resource_hints({"min_ram": size})
    (line,) = problems(GOOD, {"min_ram": size})
    assert "is not a size" in line
