"""Calling a function in a Python of its own, so that what kills that process is told instead of suffered.

A build of MXNet that does not fit the machine may die of a signal while it is imported or computes, and a
broken GPU driver may never come back. Neither can be caught in the process that it happens in.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

__all__ = ["Reply", "call_apart"]

# Sets the line with the answer apart from what the called function prints.
_MARK = "gluon_nst answer: "

# The parent's sys.path is taken over as it is: the child must find the modules that the program would find.
# os._exit leaves without the shutdown of libraries, which is not what is asked about.
_CHILD = f"""
import importlib, json, os, sys
sys.path[:], target, arguments = json.loads(sys.stdin.read())
try:
    module, _, name = target.partition(":")
    reply = getattr(importlib.import_module(module), name)(*arguments), ""
except Exception as error:
    kind = type(error)
    told = (str(error).strip().splitlines() or [""])[0]
    reply = None, told if kind.__module__ == "gluon_nst.errors" else kind.__name__ + ": " + told
print("\\n" + {_MARK!r} + json.dumps(reply), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Reply:
    """What came back: the function's result, or how it failed ("" if it did not)."""

    answer: Any
    failure: str = ""


def call_apart(target: str, *arguments: Any, timeout: float = 120.0) -> Reply:
    """Call a function in a fresh process of the same Python, and wait for it.

    Parameters
    ----------
    target
        "module:function".
    arguments
        What JSON can carry; so must be the function's result.
    timeout
        Seconds after which the process is killed.

    Returns
    -------
    Reply
        `failure` names the exception, the signal or the exit status that the call ended with, in one line.
    """
    # -X faulthandler: MXNet would otherwise turn a segmentation fault into a plain exit.
    command = [sys.executable, "-X", "faulthandler", "-c", _CHILD]
    try:
        done = subprocess.run(
            command, input=json.dumps([sys.path, target, arguments]), timeout=timeout,
            capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Reply(None, f"no answer within {timeout:g} seconds")
    except OSError as error:
        return Reply(None, f"{sys.executable} could not be started: {error}")
    return _reply(done)


def _reply(done: subprocess.CompletedProcess[str]) -> Reply:
    if done.returncode < 0:
        return Reply(None, f"killed by {_signal_name(-done.returncode)}")
    marked = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not marked:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return Reply(None, f"ended with status {done.returncode}: {last}")
    return Reply(*json.loads(marked[-1].removeprefix(_MARK)))


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"
