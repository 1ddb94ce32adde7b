"""The certificate of a bundle in another precision than float32, and the folder beside the bundle that holds it."""

from typing import Annotated, Literal

import pydantic

from model.bundle import Bundle
from transforms.errors import RecordError
from transforms.outputs import records
from transforms.score.certificates.statistics import Judgement, judge_rms, judge_share
from transforms.stores.choose import store_for
from transforms.stores.paths import absolute, join

_Count = Annotated[int, pydantic.Field(ge=0)]
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]
_Number = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class ChipOfCertificate(_Part):
    """The machine that measured. `kind` is one of chips.CLASSES."""

    kind: str
    name: str


class Changed(_Part):
    """Labels that are others than in float32, their share, and its interval."""

    labels: _Count
    share: _Share
    low: _Share
    high: _Share


class Probabilities(_Part):
    """Of each row the largest change of a probability: the largest and the mean of them."""

    largest: _Number
    mean: _Number


class Values(_Part):
    """Of a regression: the RMS difference, the spread (standard deviation) of the values, and how large it is of that.

    `deviation` is the standard deviation of the squared differences; `largest` and `mean` are of the differences.
    """

    rms: _Number
    deviation: _Number
    spread: _Number
    share: _Number | None = None
    largest: _Number
    mean: _Number


class Gold(_Part):
    """Against labels that are known to be right: `plain` is float32, `other` the precision of the certificate.

    `p` is that of McNemar's test. Of a regression there are Pearson's correlations, and no counts.
    """

    rows: _Count
    plain: float | None = None
    other: float | None = None
    only_plain: _Count | None = None
    only_other: _Count | None = None
    p: _Share | None = None


class Speed(_Part):
    """Texts a second, of the model alone."""

    plain: _Number
    other: _Number


class Certificate(_Part):
    """What `rows` different texts showed; `copies` and `left_out` (dead letters) were not counted.

    `limit`, `verdict` and `rows_missing` are as the command that made it was asked; `judged` asks again.
    """

    format: Literal[1] = 1
    bundle: str
    task: Literal["classification", "multilabel", "regression"]
    precision: str
    engine: str
    chip: ChipOfCertificate
    versions: dict[str, str]
    created: str
    rows: _Count
    copies: _Count
    left_out: _Count
    changed: Changed | None = None
    probabilities: Probabilities | None = None
    values: Values | None = None
    gold: Gold | None = None
    texts_per_second: Speed
    limit: _Share
    verdict: str = ""
    rows_missing: int | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Certificate":
        if (self.changed is None) != (self.task == "regression") or (self.values is None) == (self.changed is None):
            raise ValueError("has neither labels nor values, or both")
        if self.changed is not None and self.changed.labels > self.rows:
            raise ValueError("has more changed labels than rows")
        return self

    @property
    def times(self) -> float:
        """How many times as fast as float32."""
        plain, other = self.texts_per_second.plain, self.texts_per_second.other
        return other / plain if plain else 0.0

    def judged(self, limit: float) -> Judgement:
        """Whether at most the share `limit` of the labels changes; of a regression, whether RMS is at most that share
        of the spread."""
        if self.changed is not None:
            return judge_share(self.changed.labels, self.rows, limit)
        assert self.values is not None
        return judge_rms(self.values.rms, self.values.deviation, self.rows, limit * self.values.spread)

    @property
    def name(self) -> str:
        """Of its file."""
        fingerprint = self.bundle.rsplit("@", 1)[-1]
        return f"{fingerprint}-{self.precision}-{self.engine}-{self.chip.kind}.json"


def folder_of(bundle_path: str) -> str:
    """The folder of the certificates of the bundle at a path, local or `gs://`."""
    return absolute(bundle_path).rstrip("/") + ".certificates"


def write_certificate(bundle_path: str, certificate: Certificate) -> str:
    """Writes it beside the bundle, in place of an earlier one of the same kind, and gives the path of its file."""
    path = join(folder_of(bundle_path), certificate.name)
    store_for(path).write(path, (certificate.model_dump_json(indent=1, exclude_none=True) + "\n").encode())
    return path


def read_certificates(bundle_path: str, bundle: Bundle, kind: str) -> list[Certificate]:
    """Those of this very bundle for chips of the class `kind`; raises RecordError for one that says something else."""
    folder = folder_of(bundle_path)
    paths = store_for(folder).list(folder, bundle.fingerprint)
    return [_read(path, bundle) for path in paths if path.endswith(f"-{kind}.json")]


def others(bundle_path: str, bundle: Bundle) -> bool:
    """Whether certificates of other bundles lie there: of one that was at this path before."""
    folder = folder_of(bundle_path)
    paths = store_for(folder).list(folder)
    return any(not path.rsplit("/", 1)[-1].startswith(bundle.fingerprint) for path in paths)


def _read(path: str, bundle: Bundle) -> Certificate:
    way_out = "certify the bundle again"
    try:
        found = Certificate.model_validate_json(records.read(path) or b"")
    except pydantic.ValidationError as error:
        raise RecordError(f"{path}: is no certificate that this version knows; {way_out}") from error
    if found.bundle.rsplit("@", 1)[-1] != bundle.fingerprint:
        raise RecordError(f"{path}: is the certificate of another bundle, {found.bundle[:60]}; {way_out}")
    if found.name != path.rsplit("/", 1)[-1]:
        raise RecordError(f"{path}: is the certificate of another precision, engine or chip; {way_out}")
    return found
