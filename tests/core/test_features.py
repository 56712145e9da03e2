"""Feature maps and the gradient through the network, against the oracle's forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst.backend import autograd, mx, to_ndarray
from gluon_nst.errors import ImageSizeError, ParametersError, RecipeError
from gluon_nst.features import VGGFeatures
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.vgg_layers import CONVOLUTIONS, NETWORKS, layer_names
from tests.core.narrow import narrow_arrays, narrow_features, relative, smooth_picture
from tests.reference.vgg import backward, convolve, forward, max_pool

SEVERAL = ["relu1_1", "conv2_2", "relu3_1", "conv4_2", "relu4_2", "relu5_1"]


def random_image(count: int = 1, height: int = 33, width: int = 47, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, height, width)).astype(np.float32)


def maps_of(network: VGGFeatures, image: np.ndarray) -> dict[str, np.ndarray]:
    return {layer: features.asnumpy() for layer, features in network.extract(to_ndarray(image)).items()}


def average_pool(x: np.ndarray) -> np.ndarray:
    """Return the means of the 2x2 windows of (c, H, W), odd last row and column dropped."""
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return (x[:, 0:h:2, 0:w:2] + x[:, 1:h:2, 0:w:2] + x[:, 0:h:2, 1:w:2] + x[:, 1:h:2, 1:w:2]) / 4


def slow_maps(arrays, image: np.ndarray, pool=max_pool, *, edge: bool = False) -> dict[str, np.ndarray]:
    """Return every map of VGG19; `edge`: the first convolution sees the border repeated outwards."""
    maps, x = {}, image.astype(float)
    for conv in CONVOLUTIONS["vgg19"]:
        if conv.endswith("_1") and conv != "conv1_1":
            x = pool(x)
        weight, bias = arrays[f"{conv}.weight"].astype(float), arrays[f"{conv}.bias"].astype(float)
        if edge and conv == "conv1_1":
            x = convolve(np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge"), weight)[:, 1:-1, 1:-1]
        else:
            x = convolve(x, weight)
        maps[conv] = x + bias[:, None, None]
        x = maps[conv.replace("conv", "relu")] = np.maximum(maps[conv], 0)
    return maps


# --- forward ---


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_equals_the_oracle(name):
    layers, image = layer_names(name), random_image()
    found = maps_of(narrow_features(layers, name), image)
    expected = forward(name, narrow_arrays(name), image[0].astype(float), list(layers))
    assert list(found) == list(expected) == list(layers)
    for layer in layers:
        assert found[layer].shape == (1, *expected[layer].shape)
        assert relative(found[layer][0], expected[layer]) < 1e-5, layer


def test_average_pooling():
    image = random_image()
    found = maps_of(narrow_features(SEVERAL, pooling="average"), image)
    expected = slow_maps(narrow_arrays(), image[0], average_pool)
    for layer in SEVERAL:
        assert relative(found[layer][0], expected[layer]) < 1e-5, layer


@pytest.mark.parametrize(("pooling", "pool"), [("max", max_pool), ("average", average_pool)])
def test_replicate_padding_repeats_the_border_of_the_first_layer_only(pooling, pool):
    image = random_image()
    found = maps_of(narrow_features(SEVERAL, pooling=pooling, padding="replicate"), image)
    expected = slow_maps(narrow_arrays(), image[0], pool, edge=True)
    for layer in SEVERAL:
        assert relative(found[layer][0], expected[layer]) < 1e-5, layer


def test_replicate_padding_shows_no_border_in_a_picture_of_one_color():
    image = np.full((1, 3, 20, 24), 0.7, np.float32)
    flat = maps_of(narrow_features(["conv1_1"], padding="replicate"), image)["conv1_1"]
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :, 10:11, 10:11], flat.shape), rtol=1e-5)
    bordered = maps_of(narrow_features(["conv1_1"], padding="zero"), image)["conv1_1"]
    assert np.abs(bordered[:, :, 0, 0] - bordered[:, :, 10, 10]).max() > 0.1


def test_the_network_sees_the_same_picture_in_all_units():
    picture = smooth_picture(24, 30, seed=3)
    maps = {}
    for units in PIXEL_UNITS:
        image = preprocess([picture], PIXEL_UNITS[units], mx.cpu()).asnumpy()
        maps[units] = maps_of(narrow_features(SEVERAL, units=units), image)
    for layer in SEVERAL:
        assert relative(maps["unit"][layer], maps["imagenet"][layer]) < 1e-5
        assert relative(maps["caffe"][layer], maps["imagenet"][layer]) < 1e-5


def test_images_of_a_batch_do_not_mix():
    image, network = random_image(3), narrow_features(SEVERAL)
    together = maps_of(network, image)
    for n in range(3):
        for layer, alone in maps_of(network, image[n : n + 1]).items():
            assert relative(together[layer][n : n + 1], alone) < 1e-6


def test_one_network_serves_many_shapes():
    network, arrays = narrow_features(["relu3_1"]), narrow_arrays()
    for height, width in [(16, 16), (40, 17), (16, 16), (31, 64)]:
        image = random_image(1, height, width)
        expected = forward("vgg19", arrays, image[0].astype(float), ["relu3_1"])["relu3_1"]
        assert relative(maps_of(network, image)["relu3_1"][0], expected) < 1e-5


# --- layers and parameters ---


def test_layers_come_in_network_order_each_once():
    wanted = ["relu4_1", "conv1_2", "relu1_1", "conv4_1", "relu4_1", "relu2_2"]
    network = narrow_features(wanted)
    assert network.names == ("relu1_1", "conv1_2", "relu2_2", "conv4_1", "relu4_1")
    assert tuple(network.extract(to_ndarray(random_image()))) == network.names


@pytest.mark.parametrize(
    ("deepest", "count"), [("conv1_1", 1), ("relu3_1", 5), ("relu4_2", 10), ("relu5_4", 16)]
)
def test_nothing_deeper_than_the_deepest_layer_is_kept(deepest, count):
    network = narrow_features(["relu1_1", deepest])
    expected = {f"{conv}_{part}" for conv in CONVOLUTIONS["vgg19"][:count] for part in ("weight", "bias")}
    names = {name.partition("_")[2] for name in network.collect_params()}
    assert names == expected | {"input_scale", "input_shift"}


def test_deeper_parameters_need_not_be_there():
    arrays = {name: array for name, array in narrow_arrays().items() if name < "conv3_2"}
    assert narrow_features(["relu3_1"], arrays=arrays).names == ("relu3_1",)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_missing_convolution_is_named(part):
    arrays = narrow_arrays()
    del arrays[f"conv2_2.{part}"]
    with pytest.raises(ParametersError, match=rf"conv2_2\.{part}.*vgg19"):
        narrow_features(["relu3_1"], arrays=arrays)


def test_parameters_of_vgg16_do_not_serve_vgg19():
    with pytest.raises(ParametersError, match=r"conv3_4\.weight"):
        narrow_features(["relu4_1"], "vgg19", arrays=narrow_arrays("vgg16"))


def test_a_convolution_of_another_shape_is_refused():
    arrays = narrow_arrays()
    arrays["conv2_1.weight"] = arrays["conv2_1.weight"][:, :-1]
    with pytest.raises(ParametersError, match="conv2_1"):
        narrow_features(["relu2_1"], arrays=arrays).extract(to_ndarray(random_image()))


def test_an_unknown_layer_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match=r"vgg19 has no layer 'relu_4_2'\. Did you mean 'relu4_2'\?"):
        narrow_features(["relu1_1", "relu_4_2"])


def test_layers_of_vgg19_are_unknown_to_vgg16():
    with pytest.raises(RecipeError, match="vgg16 has no layer 'relu3_4'"):
        narrow_features(["relu3_4"], "vgg16")


@pytest.mark.parametrize("shape", [(15, 40), (40, 15), (1, 1)])
def test_an_image_that_is_too_small_is_refused(shape):
    network, image = narrow_features(["relu1_1"]), to_ndarray(random_image(1, *shape))
    for call in (network.extract, network.record):
        with pytest.raises(ImageSizeError, match=f"{shape[1]}x{shape[0]} pixels; no side may be below 16"):
            call(image)


def test_the_smallest_image_reaches_the_deepest_layer():
    deepest = maps_of(narrow_features(["relu5_4"]), random_image(1, 16, 16))["relu5_4"]
    assert deepest.shape == (1, 8, 1, 1)


# --- gradient ---


def gradient_of(network: VGGFeatures, image: np.ndarray, heads: dict[str, np.ndarray]) -> np.ndarray:
    """Return the gradient of ``sum(head * features)`` with respect to the image."""
    variable = to_ndarray(image)
    variable.attach_grad()
    features = dict(zip(network.names, network.record(variable), strict=True))
    autograd.backward([features[layer] for layer in heads], [to_ndarray(head) for head in heads.values()])
    return variable.grad.asnumpy()


def random_heads(network: VGGFeatures, image: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        layer: rng.normal(size=features.shape).astype(np.float32)
        for layer, features in maps_of(network, image).items()
    }


def oracle_gradient(name: str, image: np.ndarray, heads: dict[str, np.ndarray]) -> np.ndarray:
    arrays, gradients = narrow_arrays(name), []
    for n, one in enumerate(image.astype(float)):
        maps = forward(name, arrays, one, list(heads))
        own = {layer: head[n].astype(float) for layer, head in heads.items()}
        gradients.append(backward(name, arrays, maps, own))
    return np.stack(gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_through_max_pooling(name):
    layers, image = ["conv1_1", "relu2_1", "conv3_2", "relu3_2", "relu5_3"], random_image(2)
    network = narrow_features(layers, name)
    heads = random_heads(network, image)
    expected = oracle_gradient(name, image, heads)
    assert relative(gradient_of(network, image, heads), expected) < 1e-5


def test_gradient_is_right_whatever_mode_the_caller_is_in():
    image, network = random_image(), narrow_features(["relu4_1"])
    heads = random_heads(network, image)
    network.extract(to_ndarray(image))  # a pass that is not recorded leaves nothing wrong behind
    with autograd.predict_mode():
        found = gradient_of(network, image, heads)
    assert relative(found, oracle_gradient("vgg19", image, heads)) < 1e-5


def test_the_forward_pass_always_runs_in_train_mode():
    modes = []

    class Watched(VGGFeatures):
        def forward(self, image, *arguments):
            modes.append((autograd.is_training(), autograd.is_recording()))
            return super().forward(image, *arguments)

    network, image = narrow_features(["relu2_1"], kind=Watched), to_ndarray(random_image())
    with autograd.predict_mode():
        network.record(image)
        network.extract(image)
    assert modes == [(True, True), (True, False)]
    assert not autograd.is_training()


def test_no_parameter_has_a_gradient():
    network, image = narrow_features(["relu3_1"]), random_image()
    gradient_of(network, image, random_heads(network, image))
    parameters = network.collect_params()
    assert {parameter.grad_req for parameter in parameters.values()} == {"null"}
    for parameter in parameters.values():
        with pytest.raises(RuntimeError, match="grad_req='null'"):
            parameter.list_grad()


def test_parameters_do_not_change():
    network, image = narrow_features(["relu3_1"]), random_image()
    gradient_of(network, image, random_heads(network, image))
    arrays = narrow_arrays()
    for name, parameter in network.collect_params().items():
        key = name.removeprefix(network.prefix).replace("_weight", ".weight").replace("_bias", ".bias")
        if key in arrays:
            np.testing.assert_array_equal(parameter.data().asnumpy(), arrays[key])
