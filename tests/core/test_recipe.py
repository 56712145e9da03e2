"""Recipes: files, round trips, digests, settings by hand, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import pickle
import sys

import pytest

from gluon_nst.errors import RecipeError, UsageError
from gluon_nst.recipe import CHOICES, field_names, make_recipe, recipe_digest, recipe_mapping
from gluon_nst.recipe_files import load_recipe, override, recipe_names, recipe_text, tailor, to_toml
from tests.reference import SYSTEMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = recipe_names()

OTHER_VALUES = {
    "description": "another",
    "name": "another",
    "network": "vgg16",
    "pooling": "average",
    "padding": "replicate",
    "activations": "caffe",
    "content_weight": 0.2,
    "content_layers": {"relu3_1": 1.0},
    "content_loss": "sum",
    "style_weight": 2.0,
    "style_layers": {"relu3_1": 1.0},
    "gram": "hw",
    "style_loss": "relative",
    "tv_weight": 0.5,
    "tv_loss": "power",
    "pixel_units": "caffe",
    "init": "image",
    "init_range": [0.25, 0.75],
    "seed": 7,
    "optimizer": "lbfgs",
    "learning_rate": 0.03,
    "beta1": 0.8,
    "beta2": 0.99,
    "epsilon": 1e-7,
    "schedule": "cosine",
    "decay_every": 9,
    "coarse_decay_every": 9,
    "decay_factor": 0.5,
    "clip": True,
    "average": 0.5,
    "lbfgs_round": 9,
    "lbfgs_history": 9,
    "size": 300,
    "shape": [100, 200],
    "scales": 3,
    "min_size": 99,
    "scale_factor": 1.5,
    "steps": 9,
    "coarse_steps": 9,
    "stop_below": 0.25,
    "stop_window": 9,
    "carry_moments": True,
    "restore_detail": True,
    "match_colors": True,
    "style_fit": "aspect",
    "style_scale": 0.5,
    "content_colors": "style",
    "original_colors": True,
}
"""A value for every field that is not the one in d2l, which no tuning will touch."""


def refusal(**changes: object) -> str:
    """Return the message with which the default recipe refuses the changes."""
    with pytest.raises(RecipeError) as caught:
        load_recipe("default", **changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- the recipes of the package ---


def test_default_comes_first_and_the_systems_are_there():
    assert NAMES[0] == "default"
    assert set(NAMES[1:]) >= set(SYSTEMS)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_under_its_name(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_whole_and_in_the_order_of_the_fields(name):
    assert tuple(tomllib.loads(recipe_text(name))) == field_names()


@pytest.mark.parametrize("name", NAMES)
def test_toml_brings_the_same_recipe_back(name, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(to_toml(load_recipe(name)), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name)


@pytest.mark.parametrize("name", NAMES)
def test_plain_values_bring_the_same_recipe_back(name):
    recipe = load_recipe(name)
    assert make_recipe(recipe_mapping(recipe)) == recipe


def test_the_default_is_the_default():
    assert load_recipe() == load_recipe("default")


def test_a_recipe_can_travel_and_cannot_change():
    recipe = load_recipe("d2l")
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert hash(recipe) == hash(load_recipe("d2l"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 1


@pytest.mark.parametrize(
    "text",
    [
        'quotes " and \\ backslashes',
        "two\nlines",
        "Größe, 大きさ",
        "",
        "a tab\tand\r\n",
        "\x00\x1b\x7f",
    ],
    ids=["quotes", "lines", "letters", "empty", "carriage return", "control"],
)
def test_any_description_survives_toml(text, tmp_path):
    recipe = load_recipe("default", description=text)
    (tmp_path / "own.toml").write_bytes(to_toml(recipe).encode())
    assert load_recipe(tmp_path / "own.toml").description == text


@pytest.mark.parametrize("number", [1e-12, 1e16, 1 / 3, 123456789.123])
def test_any_weight_survives_toml(number, tmp_path):
    (tmp_path / "own.toml").write_text(to_toml(load_recipe("default", tv_weight=number)))
    assert load_recipe(tmp_path / "own.toml").tv_weight == number


# --- the digest ---


def test_there_is_another_value_for_every_field():
    assert set(OTHER_VALUES) == set(field_names())


@pytest.mark.parametrize("field", field_names())
def test_the_digest_changes_with_every_field_but_the_name(field):
    before = load_recipe("d2l", content_layers={"conv4_2": 1.0})  # a layer that both networks have
    after = before.replace(**{field: OTHER_VALUES[field]})
    assert getattr(after, field) != getattr(before, field)
    same = recipe_digest(after) == recipe_digest(before)
    assert same == (field in ("name", "description"))


def test_the_digest_is_a_sha256_and_stays():
    digest = recipe_digest(load_recipe("d2l"))
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")
    assert digest == recipe_digest(load_recipe("d2l"))


def test_the_digest_does_not_tell_one_from_one_point_zero():
    assert recipe_digest(load_recipe("default", style_weight=2)) == recipe_digest(
        load_recipe("default", style_weight=2.0)
    )


def test_recipes_differ_in_their_digests():
    assert len({recipe_digest(load_recipe(name)) for name in NAMES}) == len(NAMES)


# --- a person's own file ---


def own_file(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_may_leave_out_what_is_as_in_the_default(tmp_path):
    recipe = load_recipe(own_file(tmp_path, "style_weight = 3\n"))
    assert recipe == load_recipe("default", style_weight=3, name="mine", description="")


def test_a_file_may_build_on_another_recipe(tmp_path):
    recipe = load_recipe(own_file(tmp_path, 'base = "d2l"\nsteps = 7\ndescription = "Short."\n'))
    assert recipe == load_recipe("d2l", steps=7, name="mine", description="Short.")


def test_a_file_replaces_layers_as_a_whole(tmp_path):
    recipe = load_recipe(own_file(tmp_path, "[style_layers]\nrelu1_1 = 2\nrelu2_1 = 1\n"))
    assert recipe.style_layers == (("relu1_1", 2.0), ("relu2_1", 1.0))


def test_a_file_may_give_itself_a_name(tmp_path):
    assert load_recipe(own_file(tmp_path, 'name = "night"')).name == "night"


def test_the_path_may_be_text(tmp_path):
    path = own_file(tmp_path, "steps = 3")
    assert load_recipe(str(path)) == load_recipe(path)


def test_changes_come_on_top_of_a_file(tmp_path):
    assert load_recipe(own_file(tmp_path, "steps = 3"), steps=4, seed=1).steps == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = = 3", r"the recipe '.*mine\.toml' is no valid TOML"),
        ("steps = 3\nsteps = 4", r"the recipe '.*mine\.toml' is no valid TOML"),
        ('base = "d3l"', r"no recipe 'd3l'\. Did you mean 'd2l'\?"),
        ("stile_weight = 3", r"no field 'stile_weight'\. Did you mean 'style_weight'\?"),
        ("steps = 0", "steps is 0; it takes a whole number from 1 to 1e"),
        ("[style_layers]\nrelu9_1 = 2", "vgg19 has no layer 'relu9_1'"),
    ],
)
def test_a_wrong_file_is_refused(text, words, tmp_path):
    with pytest.raises(RecipeError, match=words):
        load_recipe(own_file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read the recipe '.*gone\.toml': No such file"):
        load_recipe(tmp_path / "gone.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RecipeError, match=r"cannot read the recipe '.*folder\.toml': Is a directory"):
        load_recipe(tmp_path / "folder.toml")
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match=r"cannot read the recipe '.*picture\.toml': 'utf-8'"):
        load_recipe(tmp_path / "picture.toml")


@pytest.mark.parametrize("given", ["d3l", "keras", ""])
def test_an_unknown_name_is_refused_with_all_there_are(given):
    with pytest.raises(RecipeError) as caught:
        load_recipe(given)
    message = str(caught.value)
    assert repr(given) in message
    assert ", ".join(NAMES) in message
    assert ".toml" in message
    assert ("Did you mean 'd2l'?" in message) == (given == "d3l")


# --- settings by hand ---


@pytest.mark.parametrize(
    ("setting", "field", "expected"),
    [
        ("style_weight=2", "style_weight", 2.0),
        (" style_weight = 2.5 ", "style_weight", 2.5),
        ("steps=7", "steps", 7),
        ("size=1_000", "size", 1000),
        ("clip=false", "clip", False),
        ("init=content", "init", "content"),
        ('content_loss="mean"', "content_loss", "mean"),
        ("shape=[300, 450]", "shape", (300, 450)),
        ("shape=[]", "shape", ()),
        ("init_range=[0, 1]", "init_range", (0.0, 1.0)),
        ("content_layers=relu3_1", "content_layers", (("relu3_1", 1.0),)),
        ("content_layers=relu3_1, conv4_2", "content_layers", (("relu3_1", 1.0), ("conv4_2", 1.0))),
        ("content_layers={relu3_1 = 2}", "content_layers", (("relu3_1", 2.0),)),
        ("content_layers={}", "content_layers", ()),
        ("content_layers.relu4_2=3", "content_layers", (("relu4_2", 3.0),)),
        ("content_layers.relu5_1=3", "content_layers", (("relu4_2", 1.0), ("relu5_1", 3.0))),
        ("description=a = b", "description", "a = b"),
    ],
)
def test_a_setting(setting, field, expected):
    before = load_recipe("default", content_layers={"relu4_2": 1.0})
    after = override(before, [setting])
    assert getattr(after, field) == expected
    assert after == before.replace(**{field: getattr(after, field)})


def test_one_weight_leaves_those_of_other_layers():
    before = load_recipe("default")
    after = override(before, ["style_layers.relu3_1=9"])
    assert dict(after.style_layers) == {**dict(before.style_layers), "relu3_1": 9.0}


def test_settings_apply_in_turn():
    after = override(
        load_recipe("default"), ["steps=3", "style_layers=relu1_1", "style_layers.relu2_1=2", "steps=4"]
    )
    assert after.steps == 4
    assert after.style_layers == (("relu1_1", 1.0), ("relu2_1", 2.0))


def test_settings_are_judged_together_at_the_end():
    # Either one alone would be refused.
    after = override(load_recipe("default"), ["gram=raw", "style_fit=stretch"])
    assert (after.gram, after.style_fit) == ("raw", "stretch")


def test_no_settings_change_nothing():
    assert override(load_recipe("d2l"), []) == load_recipe("d2l")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("steps", r"'steps' is no setting; write KEY=VALUE, such as style_weight=2\."),
        ("stpes=3", r"no field 'stpes'\. Did you mean 'steps'\?"),
        ("=3", "no field ''"),
        ("steps=", "steps is ''; it takes a whole number"),
        ("steps=many", "steps is 'many'; it takes a whole number"),
        ("clip=maybe", "clip is 'maybe'; it takes true or false"),
        ("optimizer=adm", r"optimizer is 'adm'; it takes adam, lbfgs, normalized-gd\. Did you mean 'adam'\?"),
        ("steps.more=3", r"steps has no parts, so steps\.more cannot be set\. Write steps=VALUE\."),
        ("shape.height=3", "shape has no parts"),
        ("style_layers.relu_1_1=3", r"vgg19 has no layer 'relu_1_1'\. Did you mean 'relu1_1'\?"),
        ("style_layers.relu1_1=much", r"style_layers\.relu1_1 is .*; it takes a number"),
        ("style_layers=relu1_1,,relu2_1", "vgg19 has no layer ''"),
        ("style_layers=3", "style_layers is 3; it takes layers with weights"),
        ("seed=2024-01-01", "seed is .*; it takes a whole number"),
    ],
)
def test_a_wrong_setting_is_refused(setting, words):
    with pytest.raises(RecipeError, match=words):
        override(load_recipe("default"), [setting])


def test_tailoring_changes_what_was_given():
    before = load_recipe("default", steps=60, coarse_steps=100, average=0.95)
    after = tailor(before, size=300, steps=30, seed=3, padding=None)
    assert after == before.replace(size=300, shape=[], steps=30, coarse_steps=50, average=0.9, seed=3)
    assert tailor(before) == tailor(before, steps=60) == before


@pytest.mark.parametrize(
    ("average", "steps", "expected"),
    [(0.97, 120, 0.97), (0.97, 480, 0.97), (0.97, 30, 0.88), (0.97, 3, 0), (0.9, 60, 0.8), (0, 30, 0)],
)
def test_fewer_steps_average_fewer_iterates(average, steps, expected):
    before = load_recipe("default", steps=120, average=average)
    assert tailor(before, steps=steps).average == expected


def test_what_goes_along_with_steps_can_be_set_with_them():
    after = tailor(load_recipe("default"), steps=30, coarse_steps=7, average=0.5)
    assert (after.steps, after.coarse_steps, after.average) == (30, 7, 0.5)


def test_tailoring_the_size_frees_a_fixed_shape():
    after = tailor(load_recipe("d2l"), size="200")
    assert (after.size, after.shape) == (200, ())
    assert tailor(load_recipe("d2l"), size="original").size == 0


@pytest.mark.parametrize("size", ["big", "-3", "0", 0, "3.5", -1])
def test_tailoring_refuses_other_sizes(size):
    with pytest.raises(
        RecipeError, match=r"it takes the longer side in pixels, such as 512, or the word original"
    ):
        tailor(load_recipe("default"), size=size)


# --- what is refused ---


def test_recipe_errors_are_errors_of_use():
    assert issubclass(RecipeError, UsageError)


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_an_unknown_word_is_refused_with_all_there_are(field):
    words = CHOICES[field]
    message = refusal(**{field: words[0] + "x"})
    assert message.startswith(f"{field} is {words[0] + 'x'!r}; it takes {', '.join(words)}.")
    assert f"Did you mean {words[0]!r}?" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 0}, "steps is 0; it takes a whole number from 1 to 1e+06."),
        ({"steps": 2.5}, "steps is 2.5; it takes a whole number."),
        ({"steps": "9"}, "steps is '9'; it takes a whole number."),
        ({"steps": True}, "steps is True; it takes a whole number."),
        ({"content_weight": -1}, "content_weight is -1; it takes a number of 0 or more."),
        ({"content_weight": None}, "content_weight is None; it takes a number."),
        ({"beta1": 1}, "beta1 is 1; it takes a number from 0 to 0.999999."),
        ({"learning_rate": 0}, "learning_rate is 0; it takes a number of 1e-12 or more."),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it takes a number of 1e-12 or more."),
        ({"learning_rate": float("inf")}, "learning_rate is inf; it takes a number of 1e-12 or more."),
        ({"seed": -1}, "seed is -1; it takes a whole number from 0 to 4.29497e+09."),
        ({"size": 65_501}, "size is 65501; it takes a whole number from 0 to 65500."),
        ({"min_size": 15}, "min_size is 15; it takes a whole number from 16 to 65500."),
        ({"scale_factor": 1}, "scale_factor is 1; it takes a number from 1.05 to 16."),
        ({"clip": 1}, "clip is 1; it takes true or false."),
        ({"name": 3}, "name is 3; it takes text."),
        ({"padding": 3}, "padding is 3; it takes text."),
        (
            {"shape": 300},
            "shape is 300; it takes a list of numbers, such as [300, 450], or [] for none.",
        ),
        ({"shape": [300.5, 450]}, "shape is 300.5; it takes a whole number."),
        ({"shape": [300]}, "shape is [300]; it takes [height, width] of 16 or more, or []."),
        ({"shape": [15, 450]}, "shape is [15, 450]; it takes [height, width] of 16 or more, or []."),
        (
            {"content_layers": "relu4_2"},
            "content_layers is 'relu4_2'; it takes layers with weights, such as {relu4_2 = 1.0}.",
        ),
        ({"content_layers": {"relu4_2": "1"}}, "content_layers.relu4_2 is '1'; it takes a number."),
        (
            {"content_layers": {"relu4_2": -1}},
            "the weight of layer relu4_2 is -1; it takes a number of 0 or more.",
        ),
        (
            {"content_layers": {}, "style_layers": {}},
            "content_layers and style_layers are both empty; name at least one layer.",
        ),
        (
            {"init": "normal", "init_range": [0]},
            "init_range is [0.0]; init = 'normal' takes two numbers.",
        ),
        (
            {"gram": "raw", "style_fit": "aspect"},
            'gram = "raw" sums over pixels, so the style image must have the content\'s shape: '
            'set style_fit = "stretch", or gram = "hw".',
        ),
    ],
)
def test_a_wrong_value_is_refused_in_these_words(changes, expected):
    assert refusal(**changes) == expected


def test_a_layer_of_the_other_network_is_refused():
    assert "vgg16 has no layer 'relu3_4'" in refusal(network="vgg16", style_layers={"relu3_4": 1})


def test_an_unknown_field_is_refused():
    assert "no field 'learning_rat'. Did you mean 'learning_rate'?" in refusal(learning_rat=1)


def test_missing_fields_are_named():
    values = recipe_mapping(load_recipe("default"))
    del values["steps"], values["gram"]
    with pytest.raises(RecipeError, match=r"the recipe lacks gram, steps\. `gluon-nst recipes default`"):
        make_recipe(values)


@pytest.mark.parametrize("field", ["steps", "decay_every", "seed", "shape"])
@pytest.mark.parametrize("text", ["inf", "-inf", "nan"])
def test_numbers_that_are_none_are_refused_where_a_whole_one_is_due(field, text):
    with pytest.raises(RecipeError, match="whole number"):
        override(load_recipe("default"), [f"{field}=[{text}, 16]" if field == "shape" else f"{field}={text}"])


def test_a_whole_number_beyond_all_bounds_is_refused():
    with pytest.raises(RecipeError, match="content_weight"):
        load_recipe("default", content_weight=10**400)


def test_a_negative_deviation_is_refused():
    assert "init_range" in refusal(init="normal", init_range=[0.0, -1.0])
