"""A preload under which the process of a worker dies while it proves itself, as often as the file `DYING` says."""

import os
import signal
from pathlib import Path


def dask_setup(worker):
    file = Path(os.environ["DYING"])
    if left := int(file.read_text()):
        file.write_text(str(left - 1))
        os.kill(os.getpid(), signal.SIGSEGV)
