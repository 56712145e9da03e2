"""Settings of the tests of the core."""

from __future__ import annotations

import os

# The images are so small that threads cost more than they bring, and on a busy machine far more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
