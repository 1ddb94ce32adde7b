"""What computes a job: the engine, the precision, and the chips as far as they are known where it is planned."""

from dataclasses import replace
from typing import TYPE_CHECKING

from model.bundle import Bundle
from pipeline.errors import ConfigError, cause
from pipeline.jobs.config import LOCAL, JobConfig
from pipeline.runners.silence import quiet_stderr
from transforms.errors import RecordError

if TYPE_CHECKING:
    # With it comes TensorFlow.
    from transforms.score.engines.choice import Choice, Place


def choose_for(job: JobConfig, bundle: Bundle, needs_gpu: bool = False) -> "Choice":
    """Engine and precision of the job, decided here once; raises ConfigError.

    What workers elsewhere compute on is not known here. Without --chip TensorFlow computes there, which every worker
    has, in the precision that is asked for, or that each of them takes by its device.
    """
    with quiet_stderr():
        from transforms.score.engines.choice import choose

    place = place_of(job, needs_gpu)
    if job.precision == "fastest":
        return fastest_for(job, bundle, place)
    try:
        found = choose(bundle, None if job.precision == "auto" else job.precision, place)
    except ValueError as error:
        raise ConfigError(f"--precision {job.precision}: {error}") from error
    if job.precision == "int8" and (note := _not_certified(job, bundle, place)):
        return replace(found, notes=(*found.notes, note))
    return found


def _not_certified(job: JobConfig, bundle: Bundle, place: "Place") -> str | None:
    """What a job in int8 without a certificate that passed is told; never a reason to fail."""
    from transforms.score.certificates.certificate import read_certificates
    from transforms.score.certificates.statistics import PASSED

    try:
        made = read_certificates(job.bundle, bundle, str(place.kind))
    except RecordError as error:
        return str(error)
    except Exception as error:
        return f"the certificates cannot be read: {cause(error)}"
    if any(one.precision == job.precision and one.judged(job.max_changed_labels).verdict == PASSED for one in made):
        return None
    return f"no certificate in int8 passed for class {place.kind}; `bert-batch certify --precision int8` makes one"


def fastest_for(job: JobConfig, bundle: Bundle, place: "Place") -> "Choice":
    """The fastest precision that a certificate allows; raises ConfigError where the chips are not known."""
    from transforms.score.certificates.certificate import others, read_certificates
    from transforms.score.engines.choice import choose_fastest

    if place.kind is None:
        raise ConfigError(
            f"--precision fastest with --runner {job.runner}: the chips of the workers are not known here; say their "
            "class with --chip, as `bert-batch certify` shows it on one of them, or say the precision itself"
        )
    found = read_certificates(job.bundle, bundle, place.kind)
    return choose_fastest(bundle, found, job.max_changed_labels, place, others(job.bundle, bundle))


def fastest_told(job: JobConfig, bundle: Bundle, needs_gpu: bool = False) -> str:
    """What --precision fastest would take for a job, and what that would bring; or why nothing can be said."""
    try:
        choice = fastest_for(job, bundle, place_of(job, needs_gpu))
    except (ConfigError, RecordError) as error:
        return str(error)
    except Exception as error:
        # It is asked for its worth alone: where the folder cannot be listed, the job can go on all the same.
        return f"the certificates cannot be read: {cause(error)}"
    return choice.notes[0]


def place_of(job: JobConfig, needs_gpu: bool = False) -> "Place":
    """Where the job is computed; raises ConfigError if --chip is not what this machine has."""
    with quiet_stderr():
        from transforms.score.devices import find_device  # Imports TensorFlow.
        from transforms.score.engines.chips import GPU, Chip, find_chip
        from transforms.score.engines.choice import Place

    if job.runner not in LOCAL:
        if needs_gpu and job.chip not in (None, GPU):
            raise ConfigError(f"--chip {job.chip}: these workers score on a GPU; leave the flag out")
        kind = GPU if needs_gpu else job.chip
        return Place(device=None, chip=None if kind is None else Chip(kind=kind, name="the chip of the workers"))
    place = Place(device=find_device(), chip=find_chip())
    if job.chip not in (None, place.kind):
        assert place.chip is not None
        raise ConfigError(
            f"--chip {job.chip}: this machine computes on class {place.kind} ({place.chip.name}); the flag is for "
            "workers elsewhere: leave it out"
        )
    return place
