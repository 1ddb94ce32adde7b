"""Which two published dates the arguments of `compare` name."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.commands.comparing.job import CompareJob
from pipeline.errors import ConfigError
from pipeline.jobs.dates import logical_date
from pipeline.jobs.outputs import absolute
from transforms.errors import RecordError
from transforms.outputs.comparison.sides import Side
from transforms.outputs.names import DATE_FOLDER
from transforms.runs.history import is_expired, read_manifests
from transforms.runs.run import date_folder
from transforms.stores.paths import join

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published date of an output, with its manifest."""

    output: str
    date: str
    manifest: Mapping[str, Any]

    @property
    def rows(self) -> int:
        return sum(part["rows"] for part in self.manifest["files"])

    @property
    def side(self) -> Side:
        """As it is compared: by the files of its manifest."""
        name = date_folder(self.output, dt.date.fromisoformat(self.date))
        files = self.manifest["files"]
        parts = tuple(join(self.output, part["path"]) for part in files)
        return Side(name=name, parts=parts, rows=tuple(part["rows"] for part in files))


def find_dates(job: CompareJob) -> tuple[Published, Published]:
    """A and B. An output stands for `--date`, else for the date of the other one, else for the newest of both.

    Raises ConfigError where a date is not published, or no date is in both; RecordError for a damaged manifest.
    """
    places = [_Place.of(path) for path in (job.a, job.b)]
    named = {place.date for place in places if place.date}
    if job.date is not None:
        if None not in (place.date for place in places):
            raise ConfigError(f"--date {job.date!r}: both folders are of a date already; leave it out, or name outputs")
        wanted = logical_date(job.date, "UTC", dt.datetime.now(dt.UTC)).isoformat()
    else:
        wanted = max(named) if named else _newest(places)
    a, b = (place.published(place.date or wanted) for place in places)
    return a, b


@dataclass(frozen=True, kw_only=True)
class _Place:
    """An output, the manifests of its dates, and the date that its path names, if it is one of a date."""

    path: str
    output: str
    date: str | None
    manifests: Any

    @classmethod
    def of(cls, path: str) -> "_Place":
        folder = absolute(path)
        above, _, last = folder.rpartition("/")
        named = DATE_FOLDER.fullmatch(last)
        output = above if named else folder
        return cls(path=path, output=output, date=named and named[1], manifests=read_manifests(output))

    @property
    def dates(self) -> list[str]:
        found = [*self.manifests.published]
        if not found and (expired := [*self.manifests.read]):
            raise ConfigError(
                f"{self.path}: the rows of all its dates were deleted for their age ({_listed(expired)}); "
                "score one again"
            )
        if not found and not self.manifests.broken:
            raise ConfigError(
                f"{self.path}: nothing is published there; give an output of `score`, or the folder dt=<date> in it"
            )
        return found

    def published(self, date: str) -> Published:
        if problem := self.manifests.broken.get(date):
            raise RecordError(problem)
        found = self.manifests.read.get(date)
        if found is not None and is_expired(found):
            known = [*self.manifests.published]
            raise ConfigError(f"{self.path}: the rows of {date} were deleted for their age; {_others(known)}")
        known = self.dates
        if found is None:
            raise ConfigError(f"{self.path}: {date} is not published there; {_others(known)}")
        return Published(output=self.output, date=date, manifest=found)


def _newest(places: list[_Place]) -> str:
    a, b = (place.dates for place in places)
    if both := set(a) & set(b):
        return max(both)
    told = ", ".join(f"{place.path} has {_listed(dates)}" for place, dates in zip(places, (a, b), strict=True))
    raise ConfigError(f"no date is published in both: {told}; name the folders dt=<date> of two dates")


def _others(dates: list[str]) -> str:
    return f"name another date: {_listed(dates)}" if dates else "no other date is there"


def _listed(dates: list[str]) -> str:
    newest = ", ".join(sorted(dates)[-_SHOWN:])
    return f"{len(dates):,} dates, the last ones {newest}" if len(dates) > _SHOWN else newest or "none"
