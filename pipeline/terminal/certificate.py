"""What is printed of a certificate, by `bert-batch certify` and by a training."""

from collections.abc import Iterator

from pipeline.bundling.certifying import Certified
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


def show_trained(certified: Certified | str, log_format: str) -> None:
    """Prints what the held-out rows of a training said about a precision below float32, or why they did not."""
    if isinstance(certified, str):
        if log_format == "json":
            emit("certificate", path=None, certificate=None, problem=certified)
        else:
            out.print(f"certificate  none: {certified}")
        return
    made = certified.certificate
    if log_format == "json":
        emit("certificate", path=certified.path, certificate=made.model_dump(mode="json"), problem=None)
        return
    by = f"{made.precision} by {made.engine} on class {made.chip.kind}, {made.times:.2f} times as fast as float32"
    out.print(f"certificate  {by}; {made.rows:,} held-out rows: {_verdict(made)}")
    for note in certified.choice.notes:
        out.print(f"             {note}")
    out.print(f"             {certified.path}")


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
