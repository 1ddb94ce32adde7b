"""What may be deleted of an output: the only module that calls a store's `delete` and `prune`.

A file is deleted only if its name is one that a run gives (transforms/outputs/names.py) *and* the output knows that
run: its plan or its verdict is in `_runs/<id>`, or a manifest names it. All other files belong to somebody else and
stay. Links are never followed: nothing behind a link is listed or deleted; a link with one of our own names is itself
removed. `clean` keeps the verdict of a run for a while, so that the output still knows the run if a slow publisher
copies a part.
"""

from collections.abc import Callable, Iterable, Sequence

from transforms.outputs import names
from transforms.stores.choose import each, store_for
from transforms.stores.paths import below, join

Knows = Callable[[str], bool]
IS_A_LINK = (
    "is a link, where the output has a folder of its own: nothing is written, listed or deleted behind it. Put a "
    "folder in its place, or give as --output where everything really is"
)


def listed(output: str, folder: str = "", begin: str = "") -> list[str]:
    """Whole paths of the files and links below a folder of the output; none if a link is on the way to it."""
    store, path = store_for(output), join(output, folder)
    return [] if store.link_on(path, output) else store.list(path, begin)


def known_by(output: str, named: Iterable[str] = ()) -> Knows:
    """Whether the output knows a run, by its id: `named` are those that its manifests name."""
    store, found = store_for(output), dict.fromkeys(named, True)

    def knows(run_id: str) -> bool:
        if run_id not in found:
            folder = join(output, names.RUNS, run_id)
            there = (join(folder, name) for name in ("plan.parquet", "verdict.json"))
            found[run_id] = not store.link_on(folder, output) and any(store.stat(path) for path in there)
        return found[run_id]

    return knows


def owner(output: str, path: str) -> str | None:
    """The run that a file belongs to by its name; None for a file of somebody else."""
    found = below(path, output)
    return None if found is None else names.owner(found)


def delete(output: str, paths: Iterable[str], named: Iterable[str] = ()) -> list[str]:
    """Deletes those of the files that belong to runs the output knows, verdicts last; gives those that it deleted.

    `named`: see `known_by`.
    """
    store, knows = store_for(output), known_by(output, named)
    ours = [path for path in paths if (run_id := owner(output, path)) is not None and knows(run_id)]
    # No link on the way; the file itself may be one.
    ours = [path for path in ours if store.link_on(path.rpartition("/")[0], output) is None]
    # As long as the verdict is there the output knows the run, so that an interrupted deletion can be repeated.
    last = [path for path in ours if path.endswith("/verdict.json")]
    each(store.delete, [path for path in ours if path not in last])
    each(store.delete, last)
    return ours


def prune(output: str, folder: str) -> None:
    """Removes an empty folder of a run."""
    store = store_for(output)
    if below(folder.rstrip("/"), join(output, names.RUNS)) and not store.link_on(folder, output):
        store.prune(folder)


def delete_heartbeats(folder: str, paths: Iterable[str], *, prune: bool = True) -> None:
    """Deletes heartbeats (runs/heartbeats.py) in `folder`, and the folder (`prune`) if nothing else is in it."""
    store = store_for(folder)
    for path in paths:
        if names.is_heartbeat(below(path, folder)):
            store.delete(path)
    if prune:
        store.prune(folder)


def in_the_way(output: str, date: str) -> str | None:
    """The first link in the place of a folder that the output has for `date` (ISO) or for runs; None without one.

    Files of the date would be written behind it, outside the output, and could never be deleted.
    """
    store = store_for(output)
    folders = (names.RUNS, names.DEAD_LETTERS, f"dt={date}", f"{names.DEAD_LETTERS}/dt={date}")
    return next((link for folder in folders if (link := store.link_on(join(output, folder), output))), None)


def foreign(output: str, named: Iterable[str]) -> list[str]:
    """Files in the folders of the output that are not ours, as paths below it: no command deletes them.

    `named` are the runs that manifests name. A link to a folder is one entry, whatever lies behind it.
    """
    found = (*listed(output, begin="dt="), *listed(output, begin=names.RUNS), *listed(output, begin=names.DEAD_LETTERS))
    paths = [path for path in (below(path, output) for path in found) if path and not names.is_manifest(path)]
    owners = [names.owner(path) for path in paths]
    there = {run for path, run in zip(paths, owners, strict=True) if run and makes_known([path])} | {*named}
    return [path for path, run in zip(paths, owners, strict=True) if run not in there and names.is_own_place(path)]


def makes_known(files: Iterable[str]) -> bool:
    """Whether the output knows the run that has these files in its folder."""
    return any(path.endswith(("/plan.parquet", "/verdict.json")) for path in files)


def examples(paths: Sequence[str], count: int = 3) -> str:
    """How many files there are and the first ones, for a person; control characters are escaped."""
    some = ", ".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in path) for path in paths[:count])
    more = ", …" if len(paths) > count else ""
    return f"{len(paths):,} {'file' if len(paths) == 1 else 'files'} ({some}{more})"
