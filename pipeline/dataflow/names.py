"""How names of Google Cloud are written. Each function says what is wrong with one, and the way out, or None."""

import re
import unicodedata
from collections.abc import Mapping

from pipeline.dataflow.secret_values import shown

IMAGE_PYTHON = "3.11"
"""The minor version of Python in the image of deploy/Dockerfile."""
MAX_JOB_NAME = 1024
MAX_LABELS = 64
ARM_FAMILIES = ("t2a-", "c4a-", "n4a-", "a4x-")
N1_SIZES = (1, 2, 4, 8, 16, 32, 64, 96)
DIGEST = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9._:/]*@sha256:[0-9a-f]{64}")
_GS_FOLDER = re.compile(r"gs://[a-z0-9][-_a-z0-9.]{1,220}[a-z0-9](/[^\s\x00-\x1f]*)?")
_IN_BUCKET = re.compile(r"gs://(?P<bucket>[a-z0-9][-_a-z0-9.]{1,220}[a-z0-9])(?:/|$)")
_SERVICE_ACCOUNTS = re.compile(
    r"[a-z][-a-z0-9]{4,28}[a-z0-9]@[-a-z0-9.]+\.iam\.gserviceaccount\.com"
    r"|[0-9]+-compute@developer\.gserviceaccount\.com"
    r"|[-a-z0-9.]+@appspot\.gserviceaccount\.com"
)
_KMS_KEY = re.compile(r"projects/[^/\s]+/locations/([^/\s]+)/keyRings/[^/\s]+/cryptoKeys/[^/\s]+")
_SUBNETWORK = re.compile(
    r"(?:https://www\.googleapis\.com/compute/v1/projects/[^/\s]+/)?regions/([^/\s]+)/subnetworks/[^/\s]+"
)


def project_problem(value: str) -> str | None:
    """Of a project id."""
    if value.isdigit():
        return "is the number of a project; give its id, such as my-project"
    if not re.fullmatch(r"[a-z][-a-z0-9:.]+[a-z0-9]", value):
        return "is no project id; it has a-z, 0-9 and -, begins with a letter and does not end with -"
    return None


def region_problem(value: str) -> str | None:
    """Of a region."""
    if re.fullmatch(r"[a-z]+-[a-z]+[0-9]+-[a-z]", value):
        return f"is a zone; give its region, {value[:-2]}"
    if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", value):
        return "is no region; give one such as us-central1"
    return None


def job_name_problem(value: str) -> str | None:
    """Of the name of a Dataflow job."""
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
        return "is no job name; use a-z, 0-9 and -, begin with a letter and do not end with -"
    if len(value) > MAX_JOB_NAME:
        return f"is longer than the {MAX_JOB_NAME} characters of a job name; shorten it"
    return None


def job_name_prefix_problem(value: str) -> str | None:
    """Of what a date is appended to, to name a job."""
    problem = job_name_problem(value)
    if problem is None and len(value) > MAX_JOB_NAME - len("-20261121"):
        return "leaves no room for the date; shorten it"
    return problem


def machine_problem(value: str) -> str | None:
    """Of a machine type."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", value):
        return "is no machine type; give one such as n2-standard-4"
    if value.startswith(ARM_FAMILIES):
        return "has Arm processors, on which the image does not run; take an x86 machine such as n2-standard-4"
    shape = re.fullmatch(r"([a-z0-9]+)-(?:standard|highmem|highcpu)-(.+)", value)
    if shape is None:
        return None
    size = re.fullmatch(r"([1-9][0-9]{0,2})(?:-.+|metal)?", shape[2])
    if size is None:
        return f"does not exist; a number of processors stands after {value.removesuffix(shape[2])}"
    if shape[1] == "n1" and int(size[1]) not in N1_SIZES:
        return f"does not exist; n1 machines come as {', '.join(map(str, N1_SIZES))}"
    if int(size[1]) > 1 and int(size[1]) % 2:
        return "does not exist; a machine has one processor or an even number of them"
    return None


def bucket_of(path: str) -> str | None:
    """The bucket of a gs:// path or pattern, None if it is no such path."""
    match = _IN_BUCKET.match(path)
    return None if match is None else match["bucket"]


def gs_problem(value: str) -> str | None:
    """Of a gs:// bucket or folder."""
    if not _GS_FOLDER.fullmatch(value):
        return "is no gs:// folder; give one such as gs://my-bucket/temp"
    return None


def gs_folder_problem(value: str) -> str | None:
    """Of a gs:// folder as Beam wants it, which does not take a bucket for its uppermost folder."""
    if value == f"gs://{bucket_of(value)}":
        return f"is a bucket and no folder; write {value}/"
    return gs_problem(value)


def image_problem(value: str) -> str | None:
    """Of a container image."""
    if DIGEST.fullmatch(value):
        return None
    if value.endswith(":latest"):
        return "is whatever was pushed last; name the image by digest: IMAGE@sha256:<64 hex digits>"
    return "has no digest, so another image can take its place midway; name it IMAGE@sha256:<64 hex digits>"


def label_problems(labels: Mapping[str, str]) -> list[str]:
    """Of all labels together; each line names its label."""
    problems = []
    if len(labels) > MAX_LABELS:
        problems.append(f"are {len(labels)} labels; {MAX_LABELS} are the most")
    for key, value in labels.items():
        if not (_letter(key[:1]) and all(map(_label_character, key)) and _short(key)):
            problems.append(
                f"key {shown(key)}: begin with a lowercase letter, then letters, digits, - and _, at most 63"
            )
        if not (all(map(_label_character, value)) and _short(value)):
            problems.append(
                f"{shown(key)}: its value has other than lowercase letters, digits, - and _, or more than 63"
            )
    return problems


def _letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character) in ("Ll", "Lo")


def _label_character(character: str) -> bool:
    return character in "-_" or _letter(character) or unicodedata.category(character).startswith("N")


def _short(text: str) -> bool:
    return len(text) <= 63 and len(text.encode()) <= 128


def service_account_problem(value: str) -> str | None:
    """Of the address of a service account."""
    if not _SERVICE_ACCOUNTS.fullmatch(value):
        return "is no service account; give one such as scorer@my-project.iam.gserviceaccount.com"
    return None


def kms_key_problem(value: str, region: str | None) -> str | None:
    """Of the name of a key, which lies in the job's region."""
    match = _KMS_KEY.fullmatch(value)
    if match is None:
        return "is no key; write projects/P/locations/REGION/keyRings/R/cryptoKeys/K"
    return _elsewhere("key", match[1], region)


def subnetwork_problem(value: str, region: str | None) -> str | None:
    """Of the name of a subnetwork, which lies in the job's region."""
    match = _SUBNETWORK.fullmatch(value)
    if match is None:
        return "is no subnetwork; write regions/REGION/subnetworks/NAME, or its whole https:// name"
    return _elsewhere("subnetwork", match[1], region)


def _elsewhere(thing: str, there: str, region: str | None) -> str | None:
    if region is None or there == region:
        return None
    return f"lies in {there}, the job runs in {region}: take a {thing} in {region}, or another region"
