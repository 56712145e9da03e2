"""The Gluon model zoo's pretrained VGG, through MXNet's own cache.

The zoo's files lie in ``$MXNET_HOME/models`` and are fetched from ``$MXNET_GLUON_REPO``. Naming and checking
are MXNet's (`mxnet.gluon.model_zoo.model_store`). The transfer is not: MXNet's waits for ever on a silent
host, tries five times and prints; and since MXNet was retired in 2023, its host cannot be counted on.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import Any

from gluon_nst.errors import ParametersError

__all__ = ["zoo_file"]

# A silent host is given up after this many seconds without a byte, not after that long in all.
_SILENCE = 20.0
_BLOCK = 1 << 20
# What a transfer and an archive can fail with.
_FAILURES = (
    OSError, http.client.HTTPException, zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError,
    RuntimeError,
)  # fmt: skip


def zoo_file(network: str) -> Path:
    """Return the zoo's file of pretrained parameters of `network`, fetching it if it is not there.

    The whole file's SHA-1, which MXNet carries, is checked every time.

    Raises
    ------
    ParametersError
        If it cannot be had: the host does not answer or sends something else.
    BackendError
        If MXNet, which knows the files' names and hashes, cannot be loaded.
    """
    from gluon_nst.backend import mx

    store = mx.gluon.model_zoo.model_store
    folder = Path(mx.base.data_dir(), "models").expanduser()
    short_hash: str = store.short_hash(network)
    path = folder / f"{network}-{short_hash}.params"
    url = _address(store, path.stem)
    try:
        if not _is_intact(path, short_hash):
            _fetch(url, path, short_hash)
        return Path(store.get_model_file(network, root=str(folder)))  # it is there: this only checks it
    except _FAILURES as error:
        raise _unavailable(url, path, error) from error


def _address(store: Any, name: str) -> str:
    host = os.environ.get("MXNET_GLUON_REPO") or store.apache_repo_url
    return f"{host.rstrip('/')}/gluon/models/{name}.zip"


def _is_intact(path: Path, short_hash: str) -> bool:
    """Tell whether a file is there and its SHA-1 begins with `short_hash`."""
    if not path.is_file():
        return False
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest().startswith(short_hash)


def _fetch(url: str, path: Path, short_hash: str) -> None:
    """Download and unpack one file of the zoo; it appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        packed = Path(folder, "packed.zip")
        _download(url, packed)
        with zipfile.ZipFile(packed) as archive:
            unpacked = Path(archive.extract(path.name, folder))
        if not _is_intact(unpacked, short_hash):
            raise ValueError("what it sent has another SHA-1")
        unpacked.replace(path)


def _download(url: str, target: Path) -> None:
    try:
        reply = urllib.request.urlopen(url, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise
    with reply, target.open("wb") as file:
        shutil.copyfileobj(reply, file, _BLOCK)


def _unavailable(url: str, path: Path, error: Exception) -> ParametersError:
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2] or url  # never the password of a mirror
    return ParametersError(
        f"The model zoo at {host} did not give {path.stem} ({_in_one_line(error)}); MXNet is retired and its "
        f"host may be gone. Use `--weights bundled`, put {path.name} into {path.parent}, name a mirror in "
        "MXNET_GLUON_REPO, or turn a file that you have into one with `gluon-nst weights import`."
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
