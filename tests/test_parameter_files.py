"""Parameters of other programs: reading them safely, and bringing them to the zoo's preprocessing."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from scipy.signal import correlate2d

from gluon_nst.backend import mx
from gluon_nst.errors import OutputError, ParametersError, UsageError
from gluon_nst.parameters import importing, load_parameters, torch_file
from gluon_nst.parameters.files import FORMATS, read_arrays
from gluon_nst.parameters.importing import fold_caffe_preprocessing, import_parameters
from gluon_nst.parameters.ndarray_file import read_ndarrays
from gluon_nst.parameters.torch_file import read_torch

# The first eight convolutions of VGG19, which VGG16 does not share, by their place in `features`.
LAYERS = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14}
LAYERS |= {"conv3_4": 16}
CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
VGG16 = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"]
VGG16_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)

Arrays = dict[str, np.ndarray]


def random_arrays(layers: list[str], dtype: str = "float32") -> Arrays:
    """Weights and biases by this package's names."""
    rng, inputs, arrays = np.random.default_rng(3), 3, {}
    for layer in layers:
        outputs = CHANNELS[layer[4]]
        arrays[f"{layer}.weight"] = (rng.random((outputs, inputs, 3, 3), np.float32) - 0.5).astype(dtype)
        arrays[f"{layer}.bias"] = (rng.random(outputs, np.float32) - 0.5).astype(dtype)
        inputs = outputs
    return arrays


@pytest.fixture(scope="module")
def ours() -> Arrays:
    return random_arrays(list(LAYERS))


def as_torch(arrays: Arrays) -> Arrays:
    """The same by torchvision's names, with a classifier."""
    named = {f"features.{LAYERS[name[:7]]}.{name[8:]}": array for name, array in arrays.items()}
    return {
        **named,
        "classifier.0.weight": np.zeros((4, 5), np.float32),
        "classifier.0.bias": np.zeros(4, "f4"),
    }


# --- PyTorch's own format, written without PyTorch ---------------------------------------------------------


class Storage:
    def __init__(self, key: str, kind: str, numbers: np.ndarray) -> None:
        self.key, self.kind, self.numbers = key, kind, numbers


class Tensor:
    """Pickles as PyTorch's tensors do: a call of the function that views a storage."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage, self.view = storage, (offset, shape, stride)

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, *self.view, False, OrderedDict())


def whole(key: str, array: np.ndarray) -> Tensor:
    kinds = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage"}
    storage = Storage(key, kinds[str(array.dtype)], array.ravel())
    steps = [step // array.itemsize for step in np.ascontiguousarray(array).strides]
    return Tensor(storage, 0, array.shape, tuple(steps))


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The names that a state dict refers to; there is nothing behind them."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def define(module: types.ModuleType, name: str, made: Any) -> None:
        made.__module__, made.__name__, made.__qualname__ = module.__name__, name, name
        setattr(module, name, made)

    for name in ("FloatStorage", "HalfStorage", "DoubleStorage", "LongStorage"):
        define(package, name, type(name, (), {}))
    define(utils, "_rebuild_tensor_v2", lambda *_: None)
    define(utils, "_rebuild_parameter", lambda *_: None)
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return package


class Pickler(pickle.Pickler):
    def __init__(self, file: Any, protocol: int, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, item: Any) -> Any:
        if not isinstance(item, Storage):
            return None
        self.storages[item.key] = item
        kind = getattr(sys.modules["torch"], item.kind)
        note = ("storage", kind, item.key, "cpu", item.numbers.size)
        return (*note, None) if self.legacy else note


def save_zip(path: Path, state: Any, *, byteorder: bytes | None = b"little", protocol: int = 2) -> Path:
    pickled = io.BytesIO()
    pickler = Pickler(pickled, protocol, legacy=False)
    pickler.dump(state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
        for key, storage in pickler.storages.items():
            archive.writestr(f"archive/data/{key}", storage.numbers.tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def save_legacy(path: Path, state: Any) -> Path:
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(part, file, 2)
        pickler = Pickler(file, 2, legacy=True)
        pickler.dump(state)
        pickle.dump(list(pickler.storages), file, 2)
        for storage in pickler.storages.values():
            file.write(struct.pack("<q", storage.numbers.size) + storage.numbers.tobytes())
    return path


Save = Callable[[Path, Any], Path]


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_tensors_are_views_of_storages(tmp_path: Path, torch: types.ModuleType, save: Save) -> None:
    numbers = np.arange(24, dtype=np.float32)
    storage = Storage("7", "FloatStorage", numbers)
    state = OrderedDict(
        whole=Tensor(storage, 0, (24,), (1,)),
        part=Tensor(storage, 5, (3,), (1,)),
        turned=Tensor(storage, 0, (1, 2, 3, 4), (24, 1, 8, 2)),
        half=whole("8", np.array([1.5, -2], np.float16)),
        matrix=whole("9", np.zeros((2, 2), np.float32)),
        epoch=3,
    )
    state._metadata = OrderedDict(version=1)  # as Module.state_dict() has
    found = read_torch(save(tmp_path / "a.pth", state))
    assert list(found) == ["whole", "part", "turned", "half"]
    np.testing.assert_array_equal(found["whole"], numbers)
    np.testing.assert_array_equal(found["part"], [5, 6, 7])
    expected = [[[[k * 1 + i * 8 + j * 2 for j in range(4)] for i in range(3)] for k in range(2)]]
    np.testing.assert_array_equal(found["turned"], expected)
    np.testing.assert_array_equal(found["half"], [1.5, -2])


def test_a_checkpoint_with_parameters_in_a_newer_pickle(tmp_path: Path, torch: types.ModuleType) -> None:
    class Parameter:
        def __reduce__(self) -> tuple[Any, ...]:
            rebuild = sys.modules["torch._utils"]._rebuild_parameter
            return rebuild, (whole("0", np.array([1, 2], np.float64)), True, OrderedDict())

    path = save_zip(
        tmp_path / "a.pt", {"epoch": 1, "state_dict": {"a": Parameter()}}, byteorder=None, protocol=4
    )
    np.testing.assert_array_equal(read_torch(path)["a"], [1, 2])


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("where", ["top", "value", "key", "shape"])
def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, torch: types.ModuleType, save: Save, where: str
) -> None:
    marker = tmp_path / "it-ran"
    call = Call(os.mkdir, str(marker))
    state = {
        "top": call,
        "value": {"a": call},
        "key": {call: 1},
        "shape": {"a": Tensor(Storage("0", "FloatStorage", np.zeros(1, "f4")), 0, call, (1,))},
    }[where]
    path = save(tmp_path / "evil.pth", state)
    with pytest.raises(ParametersError, match=r"evil\.pth .* it asks for \w+\.mkdir"):
        read_torch(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(call))  # the same call does run where it is let
    assert marker.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cbuiltins\neval\n(Vprint(1)\ntR.",
        b"c__builtin__\ngetattr\n.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n__builtins__\n.",
        b"\x80\x04\x8c\x0bcollections\x8c\x17OrderedDict.fromkeys.x\x93.",
        b"\x82\x01.",  # a name from the registry of extensions
        # set something on a stand-in, in both ways that a pickle has
        b"ctorch._utils\n_rebuild_tensor_v2\n}Vx\nI1\nsb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}Vx\nI1\nstb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}V__class__\nccollections\nOrderedDict\nstb.",
        b"ccollections\nOrderedDict\n(N}Vfromkeys\nI1\nstb.",
        # a tensor whose storage is no storage; a reference to something else
        b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n(I1\nt(I1\ntI00\nNtR.",
        b"(Vmodule\nctorch\nFloatStorage\nV0\nVcpu\nI1\ntQ.",
        b"Vstorage\nQ.",
        b"I1\nr\xff\xff\xff\xff.",  # remembered as number 4294967295: must not fill the memory
        b"I1\n.",
        b"N.",
        b"",
        b"garbage",
        b"\x80\x02" + b"(" * 5000,
    ],
)
def test_no_trick_gets_through(tmp_path: Path, pickled: bytes) -> None:
    path = tmp_path / "evil.pth"
    before = dict(torch_file._ALLOWED)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    with pytest.raises(ParametersError, match="no PyTorch state dict that can be read safely") as caught:
        read_torch(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(pickled)
    with pytest.raises(ParametersError, match="no PyTorch state dict"):
        read_torch(path)
    assert before == torch_file._ALLOWED
    assert OrderedDict.fromkeys("a") == {"a": None}


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (22, (3,), (1,)),
        (0, (25,), (1,)),
        (0, (2, 2, 2, 2), (1, 1, 1, 30)),
        (-1, (2,), (1,)),
        (0, (3,), (-1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(
    tmp_path: Path,
    torch: types.ModuleType,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
) -> None:
    tensor = Tensor(Storage("0", "FloatStorage", np.zeros(24, "f4")), offset, shape, stride)
    for save in (save_zip, save_legacy):
        with pytest.raises(ParametersError, match="no PyTorch state dict"):
            read_torch(save(tmp_path / "a.pth", {"a": tensor}))


def test_other_archives_are_refused(tmp_path: Path, torch: types.ModuleType) -> None:
    state = {"a": whole("0", np.zeros(2, np.float32))}
    with pytest.raises(ParametersError, match="big-endian"):
        read_torch(save_zip(tmp_path / "a.pth", state, byteorder=b"big"))
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        archive.writestr("readme", b"")
    with pytest.raises(ParametersError, match=r"0 files data\.pkl"):
        read_torch(tmp_path / "b.pth")
    with zipfile.ZipFile(tmp_path / "c.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 25))
    with pytest.raises(ParametersError, match=r"33554432 bytes, more than"):
        read_torch(tmp_path / "c.pth")


def test_a_legacy_file_cut_short(tmp_path: Path, torch: types.ModuleType) -> None:
    path = save_legacy(tmp_path / "a.pth", {"a": whole("0", np.arange(5, dtype=np.float32))})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ParametersError):
            read_torch(path)


# --- each format through the whole import ------------------------------------------------------------------


def write_npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)


def write_safetensors(path: Path, arrays: Arrays) -> None:
    safetensors.numpy.save_file(as_torch(arrays), path)


def write_torch(save: Save) -> Callable[[Path, Arrays], None]:
    def write(path: Path, arrays: Arrays) -> None:
        save(path, OrderedDict((name, whole(name, array)) for name, array in as_torch(arrays).items()))

    return write


def write_keras(name: str) -> Callable[[Path, Arrays], None]:
    """Keras's layout: height, width, in, out; `name` is the data set's name inside the layer's group."""

    def write(path: Path, arrays: Arrays) -> None:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                layer = f"block{key[4]}_conv{key[6]}"
                words = {"kernel": "kernel", "W": "W"} if array.ndim == 4 else {"kernel": "bias", "W": "b"}
                turned = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
                file[f"{layer}/{name.format(layer=layer, **words)}"] = turned
            file["fc1/fc1/kernel:0"] = np.zeros((5, 4), np.float32)
            file["block5_pool/nothing"] = np.zeros(1, np.float32)

    return write


WRITERS = [
    ("a.npz", write_npz, "rgb", "unknown"),
    ("a.safetensors", write_safetensors, "rgb", "torchvision"),
    ("a.pth", write_torch(save_zip), "rgb", "torchvision"),
    ("a.pt", write_torch(save_legacy), "rgb", "torchvision"),
    ("a.h5", write_keras("{layer}/{kernel}:0"), "caffe-bgr", "caffe"),
    ("a.h5", write_keras("{layer}_{W}_1:0"), "caffe-bgr", "caffe"),  # the files of 2016
]


@pytest.mark.parametrize(("name", "write", "preprocessing", "activations"), WRITERS)
def test_every_format_arrives_whole(
    name: str,
    write: Callable[[Path, Arrays], None],
    preprocessing: str,
    activations: str,
    ours: Arrays,
    tmp_path: Path,
    torch: types.ModuleType,
) -> None:
    source = tmp_path / name
    write(source, ours)
    record = import_parameters(source, tmp_path / "mine.params", preprocessing=preprocessing)
    parameters = load_parameters(str(tmp_path / "mine.params"), "vgg19")
    assert list(parameters.arrays) == list(ours)
    for key, array in ours.items():
        if preprocessing == "rgb" or not key.startswith("conv1_1"):
            np.testing.assert_array_equal(parameters.arrays[key], array)
    assert (parameters.source, parameters.activations) == ("file:mine.params", activations)
    assert parameters.sha256 == record.sha256
    assert record.sha256 == hashlib.sha256((tmp_path / "mine.params").read_bytes()).hexdigest()
    assert record.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (record.network, record.dtype, record.name) == ("vgg19", "float32", "mine")
    assert source.name in record.origin
    assert str(tmp_path) not in record.to_json()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "mine.json", "mine.params"])


def test_the_result_is_a_gluon_file(ours: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ours)
    import_parameters(tmp_path / "a.npz", tmp_path / "a.params", dtype="float16")
    loaded = mx.nd.load(str(tmp_path / "a.params"))
    assert list(loaded) == [f"{i}.{kind}" for i in LAYERS.values() for kind in ("weight", "bias")]
    expected = ours["conv2_1.weight"].astype(np.float16)
    np.testing.assert_array_equal(loaded["5.weight"].asnumpy(), expected)
    again = import_parameters(tmp_path / "a.params", tmp_path / "b.params", dtype="float16")
    assert again.sha256 == hashlib.sha256((tmp_path / "a.params").read_bytes()).hexdigest()


def test_a_whole_vgg16(tmp_path: Path, torch: types.ModuleType) -> None:
    arrays = random_arrays([f"conv{name}" for name in VGG16], "float16")
    index = {f"conv{name}": i for name, i in zip(VGG16, VGG16_INDICES, strict=True)}
    state = {f"features.{index[key[:7]]}.{key[8:]}": whole(key, array) for key, array in arrays.items()}
    path = save_zip(tmp_path / "vgg16.pth", OrderedDict(state))
    record = import_parameters(path, tmp_path / "mine.params", preprocessing="rgb", dtype="float16")
    assert record.network == "vgg16"
    found = load_parameters(str(tmp_path / "mine.params"), "vgg16").arrays
    assert list(found) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
    with pytest.raises(ParametersError, match=r"vgg16\.pth holds vgg16, not vgg19"):
        import_parameters(path, tmp_path / "b.params", preprocessing="rgb", network="vgg19")
    with pytest.raises(ParametersError, match=r"mine\.params holds vgg16, not vgg19"):
        load_parameters(str(tmp_path / "mine.params"), "vgg19")


# --- preprocessing -----------------------------------------------------------------------------------------


def convolve(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The plain definition with zero padding, one pair of channels at a time."""
    planes = [
        sum(correlate2d(plane, kernel, mode="same") for plane, kernel in zip(image, kernels, strict=True))
        for kernels in weight
    ]
    return np.stack(planes) + bias[:, None, None]


def test_folding_gives_the_same_feature_maps() -> None:
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 256, (3, 12, 15)).astype(float)
    weight, bias = rng.normal(size=(5, 3, 3, 3)), rng.normal(size=5)
    caffe = rgb[::-1] - np.array([103.939, 116.779, 123.68])[:, None, None]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    zoo = (rgb / 255 - mean[:, None, None]) / std[:, None, None]
    expected = convolve(caffe, weight, bias)
    found = convolve(zoo, *fold_caffe_preprocessing(weight, bias))
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], rtol=0, atol=1e-10)
    # In the frame the padding means colors that differ by (0.005, 0.499, 0.409) levels.
    bound = np.einsum("ocij,c->o", np.abs(weight[:, ::-1]), [0.0051, 0.4991, 0.4091])
    assert (np.abs(found - expected) <= bound[:, None, None]).all()
    assert np.abs(found - expected).max() > 1e-3


def test_keras_files_are_folded_without_being_told(ours: Arrays, tmp_path: Path) -> None:
    write_keras("{layer}/{kernel}:0")(tmp_path / "a.h5", ours)
    import_parameters(tmp_path / "a.h5", tmp_path / "a.params")
    found = load_parameters(str(tmp_path / "a.params")).arrays
    weight, bias = fold_caffe_preprocessing(ours["conv1_1.weight"], ours["conv1_1.bias"])
    np.testing.assert_allclose(found["conv1_1.weight"], weight, rtol=1e-6)
    np.testing.assert_allclose(found["conv1_1.bias"], bias, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(found["conv1_1.weight"], ours["conv1_1.weight"])


def test_a_torch_file_must_be_known_or_explained(
    ours: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, ours)
    with pytest.raises(ParametersError, match=r"say preprocessing rgb .* or caffe-bgr"):
        import_parameters(path, tmp_path / "a.params")
    assert not (tmp_path / "a.params").exists()
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(importing._KNOWN_FILES, prefix, "caffe-bgr")
    assert import_parameters(path, tmp_path / "a.params").activations == "caffe"


# --- what cannot be imported -------------------------------------------------------------------------------


def spoiled(ours: Arrays, **changes: np.ndarray | None) -> Arrays:
    arrays = {**ours, **{name.replace("__", "."): array for name, array in changes.items()}}
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "dtype", "message"),
    [
        ({"conv2_1__bias": np.full(128, np.nan)}, "float32", "conv2_1.bias .* not finite"),
        ({"conv2_1__bias": np.full(128, 1e5)}, "float16", "conv2_1.bias .* too large for float16"),
        ({"conv2_1__bias": None}, "float32", "8 convolutions whose names or shapes"),
        ({"conv3_4__weight": None, "conv3_4__bias": None}, "float32", "say which network"),
    ],
)
def test_wrong_numbers(
    changes: dict[str, np.ndarray | None], dtype: str, message: str, ours: Arrays, tmp_path: Path
) -> None:
    write_npz(tmp_path / "a.npz", spoiled(ours, **changes))
    with pytest.raises(ParametersError, match=message):
        import_parameters(tmp_path / "a.npz", tmp_path / "a.params", dtype=dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_short_file_of_a_named_network(ours: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", spoiled(ours, conv3_4__weight=None, conv3_4__bias=None))
    record = import_parameters(tmp_path / "a.npz", tmp_path / "a.params", network="vgg16")
    assert record.network == "vgg16"


def test_keras_files_of_theano_are_refused(ours: Arrays, tmp_path: Path) -> None:
    """They store (out, in, height, width), and turned by 180 degrees."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, array in ours.items():
            file[f"block{key[4]}_conv{key[6]}/{key}"] = array
    with pytest.raises(ParametersError, match=r"conv1_1\.weight is \(3, 3, 64, 3\)"):
        import_parameters(tmp_path / "a.h5", tmp_path / "a.params", network="vgg19")


@pytest.mark.parametrize("ending", FORMATS)
def test_damaged_and_missing_files(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    with pytest.raises(ParametersError, match="a"):
        read_arrays(path)
    for content in (b"", b"nonsense" * 9, b"PK\x03\x04" + b"nonsense" * 9):
        path.write_bytes(content)
        with pytest.raises(ParametersError) as caught:
            read_arrays(path)
        assert "\n" not in str(caught.value)


def test_bfloat16_is_named(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ParametersError, match="a is BF16, not F16"):
        read_arrays(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("name", "write"), [(name, write) for name, write, *_ in WRITERS if name != "a.pth"])
def test_no_damage_escapes_as_a_foreign_error(
    name: str, write: Callable[[Path, Arrays], None], tmp_path: Path, torch: types.ModuleType
) -> None:
    path = tmp_path / name
    write(path, {"conv1_1.weight": np.ones((1, 1, 1, 1), np.float32), "conv1_1.bias": np.ones(2, np.float32)})
    content, rng = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(80):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 3000), 2):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_arrays(path)
        except ParametersError:
            refused += 1
    assert refused


def test_unknown_kinds_and_pickled_numpy(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match=r"unknown kind \(\.caffemodel\)"):
        read_arrays(tmp_path / "vgg.caffemodel")
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ParametersError, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(("library", "ending"), [("h5py", ".h5"), ("safetensors", ".safetensors")])
def test_a_missing_library_is_named(
    library: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ParametersError, match=rf"needs {library}; run: pip install 'gluon-nst\[import\]'"):
        read_arrays(tmp_path / f"a{ending}")


def test_settings_that_cannot_be_meant(ours: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ours)
    source, target = tmp_path / "a.npz", tmp_path / "a.params"
    for settings in ({"network": "vgg11"}, {"preprocessing": "bgr"}, {"dtype": "bfloat16"}):
        with pytest.raises(UsageError, match="Choose one of"):
            import_parameters(source, target, **settings)
    with pytest.raises(UsageError, match=r"name it a\.params"):
        import_parameters(source, tmp_path / "a.npy")
    import_parameters(source, target)
    with pytest.raises(UsageError, match="The output is the input"):
        import_parameters(target, target)
    with pytest.raises(OutputError, match="Cannot write"):
        import_parameters(source, tmp_path / "nowhere" / "a.params")


def test_import_replaces_an_older_result(ours: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ours)
    target = tmp_path / "a.params"
    first = import_parameters(tmp_path / "a.npz", target)
    second = import_parameters(tmp_path / "a.npz", target, dtype="float16")
    assert first.sha256 != second.sha256
    assert load_parameters(str(target)).sha256 == second.sha256
    assert read_ndarrays(target)["0.weight"].dtype == np.float16
