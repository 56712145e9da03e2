"""Pretrained parameters: the .params format, the bundled files, the zoo, damage."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gluon_nst.backend import mx
from gluon_nst.errors import ParametersError, RecipeError, UsageError
from gluon_nst.parameters import list_parameters, load_parameters, verify_parameters
from gluon_nst.parameters import zoo as model_zoo
from gluon_nst.parameters.names import FEATURE_INDICES
from gluon_nst.parameters.ndarray_file import read_ndarrays, serialize_ndarrays

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "gluon_nst" / "weights"
# Simonyan and Zisserman 2014, table 1: output channels of each convolution.
VGG19 = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
VGG16 = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
NAMES = ("vgg19-normalised", "vgg16-torchvision")


def arrays_of(outputs: list[int], count: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the first convolutions, each filled with its own number."""
    inputs = [3, *outputs]
    return [
        (np.full((out, inputs[i], 3, 3), i + 0.5, np.float32), np.full(out, -i - 0.5, np.float32))
        for i, out in enumerate(outputs[:count])
    ]


def write_params(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.write_bytes(serialize_ndarrays(arrays))
    return path


def partial_vgg19(path: Path, name: str = "features.{index}.{kind}") -> Path:
    """A zoo-like file: the first eight convolutions, enough to tell the networks apart, and a classifier."""
    named = {"classifier.0.weight": np.zeros((2, 3), np.float32)}
    for i, (index, pair) in enumerate(zip([0, 2, 5, 7, 10, 12, 14, 16], arrays_of(VGG19, 8), strict=True)):
        for kind, array in zip(("weight", "bias"), pair, strict=True):
            named[name.format(index=index, number=i, kind=kind)] = array
    return write_params(path, named)


# --- the file format -------------------------------------------------------------------------------------


def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    kinds = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    return {f"a.{kind}": (rng.normal(size=(2, 3, 1)) * 50).astype(kind) for kind in kinds}


def test_reads_what_mxnet_writes(tmp_path: Path) -> None:
    expected = samples()
    path = str(tmp_path / "a.params")
    mx.nd.save(path, {name: mx.nd.from_numpy(array, False) for name, array in expected.items()})
    found = read_ndarrays(Path(path))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_writes_the_bytes_that_mxnet_writes(tmp_path: Path) -> None:
    arrays = samples()
    path = tmp_path / "a.params"
    mx.nd.save(str(path), {name: mx.nd.from_numpy(array, False) for name, array in arrays.items()})
    assert serialize_ndarrays(arrays) == path.read_bytes()


def test_nameless_arrays_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    mx.nd.save(str(path), [mx.nd.ones(2), mx.nd.zeros(1)])
    assert {name: array.tolist() for name, array in read_ndarrays(path).items()} == {"0": [1, 1], "1": [0]}


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<Ii2q", 0xF993FAC8, 2, 2, 3),  # MXNet 0.11 to 0.12: no storage type
        struct.pack("<I2I", 2, 2, 3),  # before: ndim and uint32 sides
    ],
)
def test_reads_older_files_as_mxnet_does(tmp_path: Path, head: bytes) -> None:
    numbers = np.arange(6, dtype=np.float32)
    array = head + struct.pack("<3i", 1, 0, 0) + numbers.tobytes()
    path = tmp_path / "old.params"
    path.write_bytes(struct.pack("<3Q", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 2) + b"ab")
    np.testing.assert_array_equal(read_ndarrays(path)["ab"], numbers.reshape(2, 3))
    np.testing.assert_array_equal(mx.nd.load(str(path))["ab"].asnumpy(), numbers.reshape(2, 3))


def test_every_truncation_is_reported(tmp_path: Path) -> None:
    content = serialize_ndarrays({"one": np.zeros((2, 2), np.float32), "two": np.zeros(3, np.float16)})
    path = tmp_path / "cut.params"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ParametersError):
            read_ndarrays(path)


def test_no_damage_escapes_as_a_foreign_error(tmp_path: Path) -> None:
    content = serialize_ndarrays({"one": np.zeros((2, 2), np.float32), "two": np.zeros(3, np.float16)})
    rng = np.random.default_rng(2)
    path = tmp_path / "damaged.params"
    refused = 0
    for _ in range(600):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(damaged)
        try:
            read_ndarrays(path)
        except ParametersError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


# --- bundled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "outputs"), [("vgg19", VGG19), ("vgg16", VGG16)])
def test_bundled_parameters_have_the_published_shapes(network: str, outputs: list[int]) -> None:
    parameters = load_parameters("bundled", network)
    weights = [array for name, array in parameters.arrays.items() if name.endswith("weight")]
    assert [array.shape for array in weights] == list(
        zip(outputs, [3, *outputs[:-1]], [3] * len(outputs), [3] * len(outputs), strict=True)
    )
    assert [a.shape for n, a in parameters.arrays.items() if n.endswith("bias")] == [
        (out,) for out in outputs
    ]
    assert all(array.dtype == np.float32 for array in parameters.arrays.values())
    assert list(parameters.arrays)[:2] == ["conv1_1.weight", "conv1_1.bias"]
    with pytest.raises(ValueError, match="read-only"):
        weights[0][0] = 0


@pytest.mark.parametrize("name", NAMES)
def test_bundled_records_tell_the_truth(name: str) -> None:
    record = {record.name: record for record in list_parameters()}[name]
    content = (WEIGHTS / f"{name}.params").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert (record.file, record.preprocessing) == (f"{name}.params", "rgb-imagenet")
    parameters = load_parameters(f"bundled:{name}", record.network)
    assert (parameters.source, parameters.sha256) == (f"bundled:{name}", record.sha256)
    assert (parameters.activations, parameters.license) == (record.activations, record.license)
    assert record.license
    assert record.authors
    notice = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert record.file in notice


def test_each_network_has_its_bundled_file() -> None:
    assert load_parameters(network="vgg19", layers_up_to="conv1_1").activations == "unit-mean"
    assert load_parameters(network="vgg16", layers_up_to="conv1_1").activations == "torchvision"


@pytest.mark.parametrize("name", NAMES)
def test_bundled_file_is_what_the_zoo_block_saves_and_loads(name: str, tmp_path: Path) -> None:
    network = name[:5]
    whole = getattr(mx.gluon.model_zoo.vision, network)().features
    features = mx.gluon.nn.HybridSequential()
    for block in whole:
        if isinstance(block, mx.gluon.nn.Dense):
            break
        features.add(block)
    features.cast("float16")
    features.load_parameters(str(WEIGHTS / f"{name}.params"))
    for key, array in load_parameters("bundled", network).arrays.items():
        layer, kind = key.split(".")
        gluon = getattr(features[FEATURE_INDICES[network][layer]], kind).data()
        np.testing.assert_array_equal(gluon.asnumpy(), array)
    saved = tmp_path / "saved.params"
    features.save_parameters(str(saved))
    assert saved.read_bytes() == (WEIGHTS / f"{name}.params").read_bytes()


def test_bundled_files_can_be_made_again(tmp_path: Path) -> None:
    source = ROOT.parent / "shared" / "weights"
    if not source.is_dir():
        pytest.skip("the files that the bundled ones were made from are not here")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import convert_weights
    finally:
        sys.path.pop(0)
    for record in convert_weights.RECORDS:
        convert_weights.convert(source, record, tmp_path)
    for name in NAMES:
        for made in (f"{name}.params", f"{name}.json"):
            assert (tmp_path / made).read_bytes() == (WEIGHTS / made).read_bytes()


def test_nothing_here_loads_mxnet() -> None:
    code = (
        "import sys; from gluon_nst.parameters import load_parameters, verify_parameters, list_parameters\n"
        "load_parameters(); verify_parameters(network='vgg16'); list_parameters()\n"
        "assert not {'mxnet', 'distributed', 'h5py', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


# --- selection, and settings that cannot be meant --------------------------------------------------------


@pytest.mark.parametrize(("layer", "last", "count"), [("relu4_2", "conv4_2", 10), ("conv1_1", "conv1_1", 1)])
def test_layers_up_to_cuts_behind_the_layer(layer: str, last: str, count: int) -> None:
    arrays = load_parameters(layers_up_to=layer).arrays
    assert list(arrays)[-1] == f"{last}.bias"
    assert len(arrays) == 2 * count


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'vgg19'"):
        load_parameters(network="vgg91")
    with pytest.raises(RecipeError, match="conv3_4"):
        load_parameters(network="vgg16", layers_up_to="conv3_4")
    with pytest.raises(ParametersError, match="vgg16-torchvision"):
        load_parameters("bundled:vgg16-torchvison", "vgg16")
    with pytest.raises(ParametersError, match="no such file"):
        load_parameters("bundeld")
    with pytest.raises(ParametersError, match="holds vgg16, not vgg19"):
        load_parameters("bundled:vgg16-torchvision", "vgg19")
    with pytest.raises(ParametersError, match="zoo:vgg16 is not vgg19"):
        load_parameters("zoo:vgg16", "vgg19")


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["features.{index}.{kind}", "{index}.{kind}", "vgg0_conv{number}_{kind}", "conv{number}_{kind}"]
)
def test_every_naming_of_the_zoo_is_read(tmp_path: Path, name: str) -> None:
    path = partial_vgg19(tmp_path / "mine.params", name)
    parameters = load_parameters(str(path))
    assert len(parameters.arrays) == 16
    # each convolution was filled with its own number
    assert [float(array.flat[0]) for array in parameters.arrays.values()] == [
        sign * (i + 0.5) for i in range(8) for sign in (1, -1)
    ]
    assert (parameters.source, parameters.activations) == ("file:mine.params", "unknown")
    assert parameters.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_network_is_named(tmp_path: Path) -> None:
    path = partial_vgg19(tmp_path / "mine.params")
    with pytest.raises(ParametersError, match=r"mine\.params holds vgg19, not vgg16"):
        load_parameters(str(path), "vgg16")


def test_a_file_that_ends_early_serves_the_layers_it_has(tmp_path: Path) -> None:
    path = partial_vgg19(tmp_path / "mine.params")
    assert len(load_parameters(str(path), layers_up_to="relu3_1").arrays) == 10
    with pytest.raises(ParametersError, match="ends before conv4_1"):
        load_parameters(str(path), layers_up_to="relu4_1")


def change(pairs: dict[str, np.ndarray | None]) -> Callable[[Path], Path]:
    def apply(path: Path) -> Path:
        arrays = {**read_ndarrays(partial_vgg19(path)), **pairs}
        return write_params(path.with_name("bad.params"), {n: a for n, a in arrays.items() if a is not None})

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change({"features.5.weight": None}), r"features\.5|conv2_1\.weight is missing"),
        (change({"features.5.bias": None}), r"conv2_1\.bias is missing"),
        (change({"features.5.weight": None, "features.5.bias": None}), "it lacks conv2_1"),
        (change({"features.5.bias": np.zeros(64, np.float32)}), r"conv2_1\.bias is \(64,\), not \(128,\)"),
        (change({"features.5.bias": np.zeros(128, np.int32)}), r"conv2_1\.bias as int32"),
        (change({"features.5.bias": np.full(128, np.nan, np.float32)}), r"conv2_1\.bias holds .* not finite"),
        (change({"features.5.bias": np.full(128, 1e39, np.float64)}), r"conv2_1\.bias holds .* not finite"),
        (change({"extra.weight": np.zeros((4, 4, 1, 1), np.float32)}), "holds 9 convolutions"),
        (change({"features.0.running_mean": np.zeros(3), "x.weight": np.zeros((1, 1, 1, 1))}), "batch norm"),
    ],
)
def test_a_wrong_file_is_described(tmp_path: Path, spoil: Callable[[Path], Path], message: str) -> None:
    path = spoil(tmp_path / "mine.params")
    with pytest.raises(ParametersError, match=message) as caught:
        load_parameters(str(path))
    assert "bad.params" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_params_file_at_all(tmp_path: Path) -> None:
    path = tmp_path / "net.params"
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(ParametersError, match=r"no MXNet \.params file"):
        load_parameters(str(path))
    path.write_bytes(b"")
    with pytest.raises(ParametersError, match="Cannot read"):
        load_parameters(str(path))


# --- fingerprints ----------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for ending in (".params", ".json"):
        shutil.copy(WEIGHTS / f"vgg16-torchvision{ending}", tmp_path)
    return tmp_path / "vgg16-torchvision.params"


def test_a_record_beside_a_file_is_used(copied: Path) -> None:
    parameters = load_parameters(str(copied), "vgg16", layers_up_to="conv1_1")
    assert (parameters.source, parameters.activations) == ("file:vgg16-torchvision.params", "torchvision")
    assert verify_parameters(str(copied), "vgg16").ok


def test_one_changed_bit_is_noticed(copied: Path) -> None:
    with copied.open("r+b") as file:
        file.seek(20_000_000)
        byte = file.read(1)[0]
        file.seek(20_000_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ParametersError, match="damaged or was replaced"):
        load_parameters(str(copied), "vgg16")
    report = verify_parameters(str(copied), "vgg16")
    assert not report.ok
    assert report.sha256 != report.expected_sha256
    assert report.convolutions == 13
    assert len(report.problems) == 1


def test_verify_lists_every_problem(tmp_path: Path) -> None:
    path = change({"features.5.bias": np.full(128, np.inf, np.float32)})(tmp_path / "mine.params")
    record = json.loads((WEIGHTS / "vgg19-normalised.json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    report = verify_parameters(str(path))
    assert ["sha256" in problem for problem in report.problems] == [True, False]
    assert "not finite" in report.problems[1]


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}', "AGAIN", "UNITS", "SCALE"])
def test_a_strange_record_is_refused(copied: Path, content: str) -> None:
    record = json.loads(copied.with_suffix(".json").read_text(encoding="utf-8"))
    changed = {
        "AGAIN": {**record, "more": 1},
        "UNITS": {**record, "preprocessing": "caffe-bgr"},
        "SCALE": {**record, "activations": "huge"},
    }
    text = json.dumps(changed[content]) if content in changed else content
    copied.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(ParametersError, match="no record of parameters"):
        load_parameters(str(copied), "vgg16")


# --- the zoo ---------------------------------------------------------------------------------------------


class Mirror:
    """A web server on this machine that answers every request in the same way and counts them."""

    def __init__(self, status: int, body: bytes) -> None:
        self.paths: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.paths.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def serve(status: int, body: bytes) -> Iterator[Mirror]:
    mirror = Mirror(status, body)
    thread = threading.Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home" / "models"


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"", "HTTP Error 404"),
        (503, b"later", "HTTP Error 503"),
        (200, b"<html>this bucket is closed</html>", "not a zip file"),
        (200, zipped("readme.txt", b""), "no item named"),
        (200, zipped("vgg19-ad2f660d.params", b"other numbers"), "another SHA-1"),
    ],
)
def test_a_zoo_that_gives_something_else(
    status: int,
    body: bytes,
    reason: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home.mkdir(parents=True)
    (home / "vgg19-ad2f660d.params").write_bytes(b"half a file")
    with serve(status, body) as mirror:
        monkeypatch.setenv("MXNET_GLUON_REPO", f"http://{mirror.host}/mirror/")
        with pytest.raises(ParametersError, match=reason) as caught:
            load_parameters("zoo")
    assert mirror.paths == ["/mirror/gluon/models/vgg19-ad2f660d.zip"]
    message = str(caught.value)
    assert "\n" not in message
    for word in (mirror.host, "--weights bundled", "weights import", str(home)):
        assert word in message
    assert [path.name for path in home.iterdir()] == ["vgg19-ad2f660d.params"]
    assert (home / "vgg19-ad2f660d.params").read_bytes() == b"half a file"
    assert capfd.readouterr() == ("", "")


def test_a_zoo_that_refuses_to_be_called(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("MXNET_GLUON_REPO", f"http://me:secret@{host}")
    with pytest.raises(ParametersError, match=rf"zoo at {host} .*vgg16-e660d456") as caught:
        load_parameters("zoo", "vgg16")
    assert "secret" not in str(caught.value)


def test_a_zoo_that_never_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_zoo, "_SILENCE", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MXNET_GLUON_REPO", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ParametersError, match="timed out"):
            load_parameters("zoo")


def test_a_zoo_that_works(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's own file is not to be had in a test, so MXNet is told the SHA-1 of a smaller one."""
    content = partial_vgg19(tmp_path / "small.params").read_bytes()
    sha1 = hashlib.sha1(content).hexdigest()
    store = mx.gluon.model_zoo.model_store
    monkeypatch.setitem(store._model_sha1, "vgg19", sha1)
    name = f"vgg19-{sha1[:8]}"
    with serve(200, zipped(f"{name}.params", content)) as mirror:
        monkeypatch.setenv("MXNET_GLUON_REPO", f"http://{mirror.host}")
        for _ in range(2):
            parameters = load_parameters("zoo", layers_up_to="conv3_4")
    assert mirror.paths == [f"/gluon/models/{name}.zip"]
    assert (parameters.source, parameters.sha256) == ("zoo:vgg19", hashlib.sha256(content).hexdigest())
    assert len(parameters.arrays) == 16
    assert [path.name for path in home.iterdir()] == [f"{name}.params"]
