"""What --max-memory may be, and what it comes to."""

from __future__ import annotations

import pytest

from gluon_nst.errors import UsageError
from gluon_nst.launch.slots import cpu_slots, gpu_slots
from gluon_nst.memory_limit import SHARE_VARIABLE, parse_memory_limit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GB", 6 * 10**9), ("6 g", 6 * 10**9), ("1.5G", 1.5 * 10**9), ("500M", 5 * 10**8), ("2GiB", 2**31),
        ("7KiB", 7 * 2**10), ("123456", 123456), ("1T", 10**12),
    ],
)  # fmt: skip
def test_a_size_is_one_whatever_there_is(text, size):
    assert parse_memory_limit(text).of(None) == parse_memory_limit(text).of(10) == size


def test_a_share_is_of_what_there_is():
    assert parse_memory_limit("80%").of(1000) == 800
    assert parse_memory_limit("").of(1000) == 900
    assert parse_memory_limit("80%").of(None) is None


@pytest.mark.parametrize("text", ["6 apples", "0", "-1GB", "101%", "0%", "50%B", "GB", "1e9"])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(UsageError, match=r"max-memory.*6GB"):
        parse_memory_limit(text)


def test_workers_of_one_machine_share_it(monkeypatch):
    (share,) = {slot.environment[SHARE_VARIABLE] for slot in cpu_slots("node", 4, range(8))}
    monkeypatch.setenv(SHARE_VARIABLE, share)
    assert parse_memory_limit("").of(1000) == 225
    assert parse_memory_limit("80%").of(1000) == 800, "what is asked for counts"
    assert parse_memory_limit("300").of(1000) == 300


def test_workers_on_gpus_have_memory_of_their_own():
    assert not [
        slot for slot in gpu_slots("node", [frozenset()] * 4, range(8)) if SHARE_VARIABLE in slot.environment
    ]
