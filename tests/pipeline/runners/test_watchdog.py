"""When the command gives a worker process up: as pure functions of what was heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.runners.watchdog import GAP_SECONDS, START, Heard, listen, lost, problem, start_seconds
from transforms.runs import heartbeats

LIMIT = 10.0
steps = st.floats(0.1, GAP_SECONDS)


def hear(*looks: dict[str, str], elapsed: float = 1.0) -> Heard:
    heard = Heard()
    for look in looks:
        heard = listen(heard, look, elapsed)
    return heard


def names(heard: Heard, expected: int = 2) -> list[str]:
    return [worker.name for worker in lost(heard, expected, LIMIT)]


@given(st.lists(steps, min_size=1, max_size=60), st.integers(1, 3))
def test_processes_with_a_heartbeat_are_never_given_up(elapsed: list[float], period: int) -> None:
    heard = Heard()
    for number, seconds in enumerate(elapsed):
        # A new heartbeat at least every second look, which is 10 s at most.
        heard = listen(heard, {"a": str(number // min(period, 2)), "b": str(number)}, seconds)
        assert names(heard) == []


@given(st.lists(steps, min_size=1, max_size=20), st.lists(steps, min_size=1, max_size=60))
def test_one_that_falls_silent_is_given_up_as_soon_as_the_limit_has_passed(
    while_alive: list[float], silent: list[float]
) -> None:
    heard = Heard()
    for number, seconds in enumerate(while_alive):
        heard = listen(heard, {"a": str(number), "b": str(number)}, seconds)
    passed = 0.0
    for number, seconds in enumerate(silent):
        heard = listen(heard, {"a": str(len(while_alive) - 1), "b": f"more {number}"}, seconds)
        passed += seconds
        if abs(passed - LIMIT) > 1e-6:
            assert names(heard) == (["a"] if passed > LIMIT else [])


@given(st.floats(0, 1e9))
def test_a_listener_that_slept_has_heard_nobody_and_gives_nobody_up(gap: float) -> None:
    heard = listen(hear({"a": "1"}), {"a": "1"}, gap)
    assert names(heard, expected=1) == []


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5))
def test_each_process_that_began_since_takes_the_place_of_one(workers: int, died: int, new: int) -> None:
    died = min(died, workers)
    everyone = {f"old-{i}": "1" for i in range(workers)}
    heard = hear(everyone)
    for number in range(15):
        alive = {name: str(number) for name in [*everyone][died:]} | {f"new-{i}": str(number) for i in range(new)}
        heard = listen(heard, {**everyone, **alive}, 1.0)
    assert len(names(heard, expected=workers)) == max(0, died - new)


def test_a_process_that_began_late_takes_the_place_of_none_if_the_job_has_so_many() -> None:
    looks = [{"a": "1"}, {"a": "1", "b": "1"}, *({"a": "1", "b": str(i)} for i in range(12))]
    assert names(hear(*looks), expected=2) == ["a"]
    assert names(hear(*looks), expected=1) == []


def test_one_that_was_there_before_takes_no_place() -> None:
    looks = [{"a": "1", "b": "1", "c": "1"}, *({"a": "2", "b": str(i), "c": str(i)} for i in range(13))]
    assert names(hear(*looks), expected=1) == ["a"]


def test_a_heartbeat_that_is_gone_is_a_normal_end() -> None:
    heard = hear({"a": "1", "b": "1"}, *({"b": str(i)} for i in range(40)))
    assert names(heard) == []
    # A last heartbeat that crossed with the end is no new life.
    assert names(hear({"a": "1"}, {}, {"a": "2"}, {})) == []


def test_a_job_of_which_no_process_begins_is_given_up() -> None:
    looks = [dict[str, str]()] * 60
    assert problem(hear(*looks, elapsed=GAP_SECONDS), 1, 300) is None
    why = str(problem(hear(*looks, {}, elapsed=GAP_SECONDS), 1, 300))
    assert "no worker process has begun within 300 s" in why
    assert f"{START}=SECONDS waits longer, {START}=off for ever" in why
    assert problem(hear(*looks, {}, elapsed=GAP_SECONDS), 1, 306) is None


@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.integers(1, 60))
def test_a_process_that_never_had_a_heartbeat_is_given_up_that_long_after_the_first(
    before: int, begun: int, expected: int, start: int, after: int
) -> None:
    alive = [{f"w-{i}": str(number) for i in range(begun)} for number in range(after + 1)]
    why = problem(hear(*([dict[str, str]()] * before), *alive), expected, start)
    assert (why is not None) == (begun < expected and after > start)
    if why is not None:
        assert why.startswith(f"only {begun} of {expected} worker processes have begun within {start} s of the first")
        assert f"{START}=off" in why


def beats(**behaviour: str) -> list[dict[str, str]]:
    """Looks at heartbeats, one letter each 5 s: (b)eats, (p)ublishes, is silent (.), has ended or not begun (_)."""
    looks: list[dict[str, str]] = [{} for _ in max(behaviour.values(), key=len)]
    for name, letters in behaviour.items():
        for number, letter in enumerate(letters):
            new = {"b": f"{number}\n", "p": f"{number} {heartbeats.PUBLISHES}\n", ".": looks[number - 1].get(name, "")}
            if letter != "_":
                looks[number][name] = new[letter]
    return looks


@pytest.mark.parametrize(
    ("behaviour", "missing"),
    [
        # While one publishes no other need be heard, however long that takes, and whoever it is.
        ({"a": "b...............", "b": "bppppppppppppppp"}, []),
        ({"a": "b.......pppppppp", "b": "bpppppp........."}, []),
        # One that dies while it publishes is told alone.
        ({"a": "b.........", "b": "bpppppp..."}, ["b"]),
        ({"a": "bbbbbbbbbb", "b": "bpppppp..."}, ["b"]),
        # It has published, and has ended or not, and the job has not ended: soon the others are missed.
        ({"a": "b........", "b": "bpppppp__"}, []),
        ({"a": "b.........", "b": "bpppppp___"}, ["a"]),
        ({"a": "b.........", "b": "bppppppbbb"}, ["a"]),
        # The job begins anew in other processes after one published and ended, and one of them stands still.
        ({"a": "b.............", "b": "bpppppp_______", "c": "_______bbbbbbb", "d": "_______bbbbbbb"}, []),
        ({"a": "b.............", "b": "bpppppp_______", "c": "_______bbbbbbb", "d": "_______bbbb..."}, ["d"]),
        # After it died.
        ({"a": "b.............", "b": "bpppppp.......", "c": "_______bbbbbbb", "d": "_______bbbbbbb"}, []),
        # Publishing failed, and everything is read again where it was: one stands still, since then or since before.
        ({"a": "bbbbbbbbbbbb...", "b": "bppppppbbbbbbbb"}, ["a"]),
        ({"a": "bbb.......", "b": "bppppppbbb"}, ["a"]),
        ({"a": "bbbbbbbbbbb", "b": "bppppppb..."}, ["b"]),
        # `b` fails, `a` fails, `b` publishes again, lives or dies.
        ({"a": "bbbbbppppp........", "b": "bppppbbbbbpppppppp"}, []),
        ({"a": "bbbbbpppppbbbbbb", "b": "bppppbbbbbppp..."}, ["b"]),
        # Two are first heard to publish in the same look; one is dead. The other is waited for, not for ever.
        ({"a": "bp..........", "b": "bppppppppppp"}, []),
        ({"a": "bp........", "b": "bpppppp..."}, ["a", "b"]),
        ({"a": "bp........", "b": "bppppppbbb"}, ["a"]),
        # The runner gave `b` up, which still publishes; `a`, which does so anew, is missed once `b` is through.
        ({"a": "bbbbpp..........", "b": "bppppppppppppbbb"}, ["a"]),
    ],
)
def test_who_is_missed_while_a_run_is_published_and_after(behaviour: dict[str, str], missing: list[str]) -> None:
    looks = beats(**behaviour)
    # Three silent looks are 15 s, two the limit of 10.
    given_up = [names(hear(*looks[:end], elapsed=GAP_SECONDS)) for end in range(1, len(looks) + 1)]
    assert given_up == [*[[]] * (len(looks) - 1), missing]


def test_one_that_never_began_is_not_missed_while_another_publishes_but_after() -> None:
    published = beats(a="b" + 40 * "p")
    assert problem(hear(*published, elapsed=GAP_SECONDS), 2, 20) is None
    over = beats(a="b" + 40 * "p" + 5 * "b")
    assert problem(hear(*over[:-1], elapsed=GAP_SECONDS), 2, 20) is None
    assert "only 1 of 2 worker processes have begun" in str(problem(hear(*over, elapsed=GAP_SECONDS), 2, 20))


def test_in_a_job_with_work_for_one_a_process_that_begins_late_takes_the_place_of_none() -> None:
    looks = beats(a="bbb" + 10 * ".", b="____bbbbbbbbb")
    assert names(hear(*looks, elapsed=GAP_SECONDS), expected=2) == ["a"]
    assert "was not heard of for 50 s" in str(problem(hear(*looks, elapsed=GAP_SECONDS), 2, 300, needed=1))


def test_processes_that_began_and_ended_count_as_begun() -> None:
    assert problem(hear({"a": "1"}, {}, *({"b": str(i)} for i in range(20))), 2, 10) is None


def test_a_lost_process_is_told_with_the_way_out() -> None:
    why = str(problem(hear({"node-7.abc": "1"}, *([{"node-7.abc": "1"}] * 31)), 1, 300))
    assert "worker process node-7 (host-pid) was not heard of for 31 s" in why
    assert f"{START}=off" in why


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 300), (" 1800 ", 1800), ("0.5", 0.5), ("0", None), ("off", None), ("OFF", None)]
)
def test_how_long_processes_may_take_to_begin_is_an_environment_variable(value: str, seconds: float | None) -> None:
    assert start_seconds({START: value}) == seconds
    assert start_seconds({}) == 300


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "5m", "false"])
def test_a_time_to_begin_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{START}='{value}'.*`off`"):
        start_seconds({START: value})
