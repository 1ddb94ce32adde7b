"""Job files as people write them, and as nobody should."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, YamlFileError
from pipeline.jobs.config import load_job
from pipeline.jobs.yaml_file import MAX_BYTES, read_mapping

REST = "bundle: b\ninput: x\noutput: y\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (REST + "top_k: 1\nkeep: all\ntop_k: 2\n", "key 'top_k' stands twice, in lines 4 and 6"),
        (REST + "rename:\n  a: b\n  'a': c\n", "key 'a' stands twice, in lines 5 and 6"),
        (REST.encode("utf-16"), "is UTF-16, as Windows PowerShell writes it; save it as UTF-8"),
        (REST.encode("utf-16-le"), "is UTF-16, as Windows PowerShell writes it; save it as UTF-8"),
        ("bundle: Füße".encode("latin-1"), "is not UTF-8; save it as such"),
        (bytes(range(1, 256)), "is not UTF-8; save it as such"),
        (BOMB, "its aliases stand for more than 10,000 values"),
        ("a: &a [*a]\n", "has an alias inside of what it stands for, line 1"),
        ("a: " + "[" * 50_000, "is nested more than 20 deep, line 1"),
        ("a: " + "{b: " * 50_000, "is nested more than 20 deep, line 1"),
        ("a: [" + "x, " * 60_000 + "]", "has more than 10,000 values"),
        ("a:\n\tb: c\n", "is not YAML: found character '\\t' that cannot start any token, line 2, column 1"),
        ("- a\n- b\n", "is not a mapping of keys to values"),
        ("false\n", "is not a mapping of keys to values"),
        ("yes: 1\n", "key True is no name; in YAML yes, no, on and off are true and false"),
        ("? [a]\n: b\n", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not YAML"),
        ("date: 2026-02-30\n", "cannot be read as YAML (ValueError)"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("#" * (MAX_BYTES + 1), f"has more than {MAX_BYTES:,} bytes"),
    ],
)
def test_what_is_no_job_file_is_one_line_that_names_it(content: str | bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    with pytest.raises(ConfigError) as error:
        load_job(str(file), {})
    assert str(error.value).startswith(f"--job {file}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("output: 2024", "key 'output' is 2024: it must be a text; put it into quotes"),
        ("input: [a, 7]", "key 'input.1' is 7: it must be a text; put it into quotes"),
        ("input: null", "key 'input' is None: it has no value; give one, or leave the key out"),
        ("bundle:", "key 'bundle' is None: it has no value; give one, or leave the key out"),
        ("bundle: 2026-11-21", "key 'bundle' is datetime.date(2026, 11, 21): it must be a text; put it into quotes"),
        ("date: yes", "key 'date' is True: it must be a text; put it into quotes"),
        ("date: 20261121", "key 'date' is 20261121: it must be a text; put it into quotes"),
        ("keep: no", "key 'keep' is False: it must be a text; put it into quotes"),
        ("rename: x", "key 'rename' is 'x': Input should be a valid dictionary"),
        ("rename: {a: 1}", "key 'rename.a' is 1: it must be a text; put it into quotes"),
        ("workers: 0", "key 'workers' is 0: Input should be greater than or equal to 1"),
        ("top_k: many", "key 'top_k' is 'many': "),
    ],
)
def test_a_value_of_another_kind_is_named_with_key_and_file(lines: str, said: str, tmp_path: Path) -> None:
    file, key = tmp_path / "job.yaml", lines.partition(":")[0]
    rest = [line for line in REST.splitlines() if not line.startswith(key + ":")]
    file.write_text("\n".join([*rest, lines]))
    with pytest.raises(ConfigError) as error:
        load_job(str(file), {})
    assert f"{file}: {said}" in str(error.value)


def test_a_flag_is_named_as_a_flag_although_the_file_has_the_key(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(REST + "top_k: 3\n")
    with pytest.raises(ConfigError, match=r"^--top-k 0: "):
        load_job(str(file), {"top_k": 0})


def test_a_folder_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no", "there is no such file")):
        with pytest.raises(ConfigError, match=f"--job {path}: {said}"):
            load_job(str(path), {})


def test_what_people_write_is_read(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(
        b"\xef\xbb\xbfbase: &base {a: x, b: y}\nnames: {<<: *base, b: z}\nagain: *base\nnothing:\nday: 2026-11-21\n"
    )
    found = read_mapping(str(file))
    assert found["names"] == {"a": "x", "b": "z"}
    assert found["again"] == {"a": "x", "b": "y"}
    assert found["nothing"] is None
    file.write_text("# nothing yet\n")
    assert read_mapping(str(file)) == {}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_mapping_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    try:
        found = read_mapping(str(file))
    except YamlFileError:
        return
    assert all(isinstance(key, str) for key in found)
