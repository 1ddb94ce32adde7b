"""What is printed of a certificate, by `bert-batch certify` and by a training."""

from collections.abc import Iterator

from pipeline.bundling.certifying import Certified
from pipeline.bundling.training import Trained
from pipeline.terminal.console import emit, out
from transforms.score.certificates.certificate import Certificate


def show_certificate(certified: Certified) -> None:
    """Prints what was measured, the verdict, and where it is written."""
    found = certified.certificate
    out.print(f"bundle    {found.bundle}")
    out.print(
        f"compared  float32 and {found.precision} by {found.engine}, on {found.chip.name} (class {found.chip.kind})"
    )
    for note in certified.choice.notes:
        out.print(f"          {note}")
    left_out = f"{found.copies:,} copies and {found.left_out:,} without a score left out"
    out.print(f"rows      {found.rows:,} different ones, {left_out}")
    for name, line in _measured(found):
        out.print(f"{name:<9} {line}")
    out.print(f"verdict   {_verdict(found)}")
    out.print(f"written   {certified.path}")


def show_trained(trained: Trained, log_format: str) -> None:
    """Prints what the held-out rows of a training said about bfloat16, in a line or two."""
    certified = trained.certified
    if log_format == "json":
        found = None if certified is None else certified.certificate.model_dump(mode="json")
        path = None if certified is None else certified.path
        emit("certificate", path=path, certificate=found, problem=trained.not_certified or None)
    elif certified is None:
        out.print(f"bfloat16  not certified: {trained.not_certified}")
    else:
        made = certified.certificate
        out.print(f"bfloat16  {made.rows:,} held-out rows, {made.engine}, class {made.chip.kind}: {_verdict(made)}")
        out.print(f"written   {certified.path}")


def _measured(found: Certificate) -> Iterator[tuple[str, str]]:
    if (changed := found.changed) is not None:
        between = f"between {changed.low:.2%} and {changed.high:.2%}, with 95 % confidence"
        yield "labels", f"{changed.labels:,} changed, {changed.share:.2%}: {between}"
    if (moved := found.probabilities) is not None:
        yield "moved", f"a probability by {moved.largest:.4f} at most, by {moved.mean:.5f} in the mean of the rows"
    if (values := found.values) is not None:
        share = "" if values.share is None else f", {values.share:.2%} of their spread ({values.spread:.4g})"
        yield "values", f"moved by {values.rms:.3g} (RMS){share}, {values.largest:.3g} at most"
    speed = found.texts_per_second
    yield "speed", f"{speed.other:,.0f} texts/s, {found.times:.2f} times float32 ({speed.plain:,.0f})"
    if (gold := found.gold) is not None:
        both = [("-" if one is None else f"{one:.4f}") for one in (gold.plain, gold.other)]
        if gold.p is None:
            yield "right", f"correlation {both[0]} in float32, {both[1]} in {found.precision} ({gold.rows:,} rows)"
        else:
            yield "right", f"{both[0]} of {gold.rows:,} in float32, {both[1]} in {found.precision}"
            alone = f"{gold.only_plain:,} right in float32 alone, {gold.only_other:,} in {found.precision} alone"
            yield "", f"{alone}; McNemar's test: p = {gold.p:.3g}"


def _verdict(found: Certificate) -> str:
    what = "labels change" if found.changed is not None else "of the spread is the RMS difference"
    said = f"{found.verdict}: at most {found.limit:.2%} {what}"
    if found.verdict == "passed":
        return said
    if found.verdict == "failed":
        return f"failed: more than {found.limit:.2%} {what}"
    missing = found.rows_missing
    more = "no number of rows would decide it at this share" if missing is None else f"{missing:,} more rows would"
    return f"undecided whether at most {found.limit:.2%} {what}: {more}"
