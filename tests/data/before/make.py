"""Makes the output of this folder with the code of the checkout that it is started in; see ORIGIN.md."""

import json
import os
import subprocess
import sys
from pathlib import Path

TEXTS = ["play some jazz", "rate this book five stars", "what is the weather in paris", "add this song to my playlist"]
DATES = {
    "2026-11-17": ("", ()),
    "2026-11-19": ("before write_verdict", ()),
    "2026-11-20": ("before commit", ()),
    "2026-11-21": ("", ("--max-dead-fraction", "0")),
    "2026-11-22": ("before delete_staged", ()),
}
"""Date -> where its process is killed, and more flags. The next command would finish the last one."""
RECORD = """
import hashlib, os, sys, types
import transforms.plan as plan

def sha256(data):
    with open(os.environ["DIGESTED"], "wb") as file:
        file.write(data)
    return hashlib.sha256(data)

plan.hashlib = types.SimpleNamespace(sha256=sha256)
from pipeline.cli import app
app(sys.argv[1:])
"""
"""The command, and beside it what the digest of a plan is computed of."""


def main(folder: Path) -> None:
    (folder / "in").mkdir(parents=True)
    for date, (kill_at, flags) in DATES.items():
        rows = [{"id": f"{date}-{i}", "text": text} for i, text in enumerate(TEXTS)]
        rows.append({"id": f"{date}-bad", "text": ""})
        file = folder / "in" / f"{date}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.utime(file, ns=(0, 1_795_000_000_000_000_000))
        environment = {"BERT_BATCH_KILL_AT": kill_at, "DIGESTED": str(folder / f"digested-{date}.json")}
        job = ["--bundle", "examples/snips/bundle", "--input", f"{folder}/in/{{date}}.jsonl", "--date", date]
        budget = flags or ("--max-dead-fraction", "1")
        done = subprocess.run(
            [sys.executable, "-c", RECORD, "score", *job, "--output", str(folder / "out"), *budget],
            env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
            start_new_session=True,
            check=False,
        )
        print(date, done.returncode)
    for lock in (folder / "out").rglob(".*.lock"):
        lock.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
