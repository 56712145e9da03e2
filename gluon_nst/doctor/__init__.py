"""What this machine has, what will be used, what is missing and how to get it.

The doctor must work where MXNet does not, so nothing here loads MXNet or talks to a GPU: both are done in
processes of their own (`gluon_nst.probe`), whose death is a finding like any other.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gluon_nst import machine
from gluon_nst._version import __version__
from gluon_nst.doctor import diagnosis, gpu_diagnosis
from gluon_nst.doctor.diagnosis import Finding
from gluon_nst.errors import GluonNSTError
from gluon_nst.gpu_driver import Driver, Gpu, driver_from
from gluon_nst.mxnet_builds import clash, cuda_wheel, importable, installed_builds
from gluon_nst.probe import Reply, call_apart
from gluon_nst.vgg_layers import NETWORKS

__all__ = ["Finding", "as_mapping", "examine", "usable"]

_REINSTALL = "pip install --force-reinstall --no-deps gluon-nst"


def examine(networks: Sequence[str] = NETWORKS) -> tuple[Finding, ...]:
    """Look at everything that gluon_nst needs.

    Parameters
    ----------
    networks
        Networks whose bundled parameters are read in full.

    Returns
    -------
    tuple of Finding
        In the order in which they are best read. It takes a few seconds; nothing is changed, and no error
        is raised for what is found.
    """
    installed = installed_builds()
    there = importable() and not clash(installed)
    reply = call_apart("gluon_nst.doctor.mxnet_check:check_mxnet") if there else Reply({})
    mxnet = reply.answer or {}
    return (
        *_software(),
        *diagnosis.distribution_findings(installed, there),
        *((diagnosis.mxnet_finding(mxnet.get("version", ""), reply.failure, installed),) if there else ()),
        *_cpu_findings(mxnet),
        *_gpu_findings(installed, mxnet),
        *(_parameters_finding(network) for network in networks),
        _scratch_finding(),
    )


def usable(findings: Sequence[Finding]) -> bool:
    """Return whether gluon_nst can do its work: no finding is a problem."""
    return all(finding.state != "problem" for finding in findings)


def as_mapping(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return ``{"usable": bool, "findings": [{"topic", "state", "text", "remedy"}, ...]}``, for JSON."""
    return {
        "usable": usable(findings),
        "findings": [
            {"topic": each.topic, "state": each.state, "text": each.text, "remedy": each.remedy}
            for each in findings
        ],
    }


def _software() -> Iterator[Finding]:
    yield Finding("gluon_nst", "ok", __version__)
    yield diagnosis.python_finding(tuple(sys.version_info[:3]))
    yield diagnosis.numpy_finding(_version_of("numpy"))
    yield diagnosis.dask_finding(_version_of("dask"), _version_of("distributed"))


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_findings(mxnet: Mapping[str, Any]) -> Iterator[Finding]:
    cores, quota = machine.cpu_cores(), machine.cpu_quota()
    sets, precision = machine.instruction_sets(), mxnet.get("precision", "")
    yield diagnosis.cpu_finding(machine.cpu_model(), cores, quota, sets, precision)
    if "threads" in mxnet:
        yield diagnosis.threads_finding(mxnet["threads"], cores, quota)
    yield diagnosis.memory_finding(machine.available_memory())


def _gpu_findings(installed: Mapping[str, str], mxnet: Mapping[str, Any]) -> Iterator[Finding]:
    reply = call_apart("gluon_nst.gpu_driver:describe_driver")
    driver = Driver((0, 0), (), reply.failure) if reply.failure else None
    driver = driver_from(reply.answer) if reply.answer else driver
    yield gpu_diagnosis.driver_finding(driver, installed)
    wheel, gpus = cuda_wheel(installed), driver.gpus if driver else ()
    own_build = bool(mxnet.get("cuda")) and not wheel
    yield from (gpu_diagnosis.chip_finding(gpu, installed, own_build) for gpu in gpus)
    if wheel:
        yield from _library_findings()
    able = [gpu for gpu in gpus if gpu_diagnosis.wheel_has_code(gpu)]
    if wheel and able:
        yield _fusion_finding(able)
    if gpus and mxnet.get("cuda"):
        yield _gpu_computation(mxnet["gpus"])


def _library_findings() -> tuple[Finding, ...]:
    reply = call_apart("gluon_nst.cuda_libraries:missing_libraries")
    if reply.failure:
        return (Finding("CUDA libraries", "problem", f"they could not be looked for: {reply.failure}"),)
    return gpu_diagnosis.library_findings(reply.answer)


def _fusion_finding(gpus: Sequence[Gpu]) -> Finding:
    reply = call_apart("gluon_nst.fusion:fusion_trouble", [gpu.capability for gpu in gpus])
    trouble, remedy = reply.answer or (reply.failure, "export MXNET_USE_FUSION=0")
    return gpu_diagnosis.fusion_finding(trouble, remedy, os.environ.get("MXNET_USE_FUSION"))


def _gpu_computation(count: int) -> Finding:
    """Judge the first computation on every GPU that MXNet sees."""
    if not count:
        return Finding("GPU", "problem", "MXNet sees no GPU, though the driver does", "--device cpu")
    reply = call_apart("gluon_nst.doctor.mxnet_check:compute_on", [f"gpu:{index}" for index in range(count)])
    if reply.failure:
        return Finding("GPU", "problem", f"MXNet does not compute on it: {reply.failure}", "--device cpu")
    return Finding("GPU", "ok", f"MXNet computes on {'it' if count == 1 else f'all {count}'}")


def _parameters_finding(network: str) -> Finding:
    topic = f"parameters of {network}"
    try:
        from gluon_nst.parameters import verify_parameters  # needs numpy

        report = verify_parameters("bundled", network)
    except (GluonNSTError, ImportError, OSError) as error:
        return Finding(topic, "problem", str(error), _REINSTALL)
    if not report.ok:
        return Finding(topic, "problem", " ".join(report.problems), _REINSTALL)
    text = f"{report.source}, {report.convolutions} convolutions, sha256 {report.sha256[:12]}..."
    return Finding(topic, "ok", f"{text} as it must be")


def _scratch_finding() -> Finding:
    try:
        folder = tempfile.gettempdir()
        return diagnosis.scratch_finding(folder, shutil.disk_usage(folder).free)
    except OSError as error:
        return diagnosis.scratch_finding(str(error.filename or "the folder for temporary files"), None)
