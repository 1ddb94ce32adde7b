"""The images of others by digest: what requirements/images.txt records, and whether deploy/ builds on exactly that.

    python -m deploy.lint.images        (`make lock-images`)

looks the digest of every tag up and writes it wherever the image is named. Needs a registry within reach, and docker.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "requirements/images.txt"
NAMED_IN = ("deploy/Dockerfile", "deploy/cloudbuild.yaml")
UNKNOWN = "unknown"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[a-z0-9][\w./-]*:[\w][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image by its tag. `variable` is the ARG of the Dockerfile, None if only Cloud Build uses it.

    `digest` is None where nobody has looked it up.
    """

    variable: str | None
    tagged: str
    digest: str | None

    @property
    def reference(self) -> str:
        """What deploy/ must name: with the digest wherever it is known."""
        return f"{self.tagged}@{self.digest}" if self.digest else self.tagged


def recorded(text: str) -> list[Image]:
    """The lines of the record; raises ValueError for one that is none."""
    found = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 3 or not _TAGGED.fullmatch(parts[1]) or parts[1].endswith(":latest"):
            raise ValueError(f"{line!r}: write VARIABLE image:tag digest, and no `latest`")
        if parts[2] != UNKNOWN and not _DIGEST.fullmatch(parts[2]):
            raise ValueError(f"{line!r}: a digest is sha256: and 64 hexadecimal digits, or {UNKNOWN}")
        digest = None if parts[2] == UNKNOWN else parts[2]
        found.append(Image(variable=None if parts[0] == "-" else parts[0], tagged=parts[1], digest=digest))
    return found


def problems(record: str, dockerfile: str, cloud_build: str) -> Iterator[str]:
    """Where the Dockerfile and cloudbuild.yaml name something else than the record says."""
    try:
        images = recorded(record)
    except ValueError as error:
        yield f"{RECORD.name}: {error}"
        return
    arguments = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", dockerfile, re.MULTILINE))
    stages = set(re.findall(r"^FROM .* AS (\w+)$", dockerfile, re.MULTILINE))
    used = set()
    for base in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE):
        variable = base.removeprefix("${").removesuffix("}")
        if base in stages:
            continue
        if base != f"${{{variable}}}" or variable not in arguments:
            yield f"Dockerfile: FROM {base} is no ${{…_IMAGE}} with a default; the record could not pin it"
        used.add(variable)
    by_variable = {image.variable: image for image in images if image.variable}
    for variable, reference in arguments.items():
        image = by_variable.get(variable)
        if image is None:
            yield f"Dockerfile: {variable} is not in {RECORD.name}"
        elif reference != image.reference:
            yield f"Dockerfile: {variable} is {reference}, but {RECORD.name} says {image.reference}"
    steps = set(re.findall(r"^ +name: (\S+)$", cloud_build, re.MULTILINE))
    references = {image.reference for image in images if image.variable is None}
    for name in sorted(steps - references):
        yield f"cloudbuild.yaml: a step runs {name}, which is not how {RECORD.name} names it"
    for image in images:
        is_used = image.variable in used & arguments.keys() if image.variable else image.reference in steps
        if not is_used:
            yield f"{RECORD.name}: nothing builds on {image.reference}; take the line out"


def unpinned(record: str) -> list[str]:
    """The images that nobody has looked up yet."""
    return [image.tagged for image in recorded(record) if image.digest is None]


def pinned(text: str, image: Image, digest: str) -> str:
    """A file with `digest` behind the image's tag, wherever the image is named."""
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError(f"{image.tagged}: {digest!r} is no digest")
    with_digest = re.compile(re.escape(image.tagged) + r"(@sha256:[0-9a-f]{64})?(?![\w.@-])")
    return with_digest.sub(f"{image.tagged}@{digest}", text)


def look_up(tagged: str) -> str:
    """The digest that the registry has for a tag now; raises CalledProcessError if it does not say."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", tagged]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Looks every digest up, then writes the record and the files; nothing is written unless all were found."""
    record = RECORD.read_text(encoding="utf-8")
    try:
        found = {image: look_up(image.tagged) for image in recorded(record)}
        files = {ROOT / name: (ROOT / name).read_text(encoding="utf-8") for name in NAMED_IN}
        for image, digest in found.items():
            files = {file: pinned(text, image, digest) for file, text in files.items()}
            line = re.compile(rf"^(\S+ {re.escape(image.tagged)}) \S+$", re.MULTILINE)
            record = line.sub(rf"\1 {digest}", record)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
        print(f"no digest was written: {said}")
        return 1
    for file, text in {**files, RECORD: record}.items():
        file.write_text(text, encoding="utf-8")
    print("".join(f"{image.tagged}@{digest}\n" for image, digest in found.items()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
