"""The rooms of the package and who may import whom, held against the code."""

import ast
import sys
from pathlib import Path

import pytest

import gluon_nst

PACKAGE = Path(gluon_nst.__file__).parent

LEVELS = {
    0: "_version errors paths recipe recipe_files safer vgg_layers schedule pyramid jobs progress machine "
    "tiles memory_limit memory_model "
    "cuda_build cuda_libraries fusion mxnet_builds allocator bfloat16 primitives "
    "doctor.diagnosis doctor.gpu_diagnosis doctor.cluster_diagnosis gpu_driver probe versions "
    "launch.tls launch.settings launch.signals launch.scheduler_file launch.telling launch.terms launch.endings "
    "launch.exposure launch.topology launch.slots launch.discovery "
    "batch.settings batch.tally batch.roster batch.backlog batch.dispatch batch.feeding batch.limits "
    "batch.orders batch.outcomes batch.peers batch.standing bench.flops bench.peak",
    1: "images storage listing inputs checkpoint chunk course batch loss_plot feature_sheet "
    "parameters.ndarray_file parameters.names parameters.record parameters.files parameters.torch_file",
    2: "backend parameters activations segment features gram losses generated_image preprocessing",
    3: "convergence descent readings lbfgs optimize objective settling_objective striped_network striped_objective "
    "tiled_objective turns_objective starts targets memory precision precision_check",
    4: "stylizer result feature_grid",
    5: "api worker doctor bench batch.attendant batch.runner batch.dask_runner batch.local_cluster batch.drive "
    "batch.run batch.api launch",
    6: "cli __main__",
}
LEVEL = {name: level for level, names in LEVELS.items() for name in names.split()}


def modules():
    """Map dotted names below the package (without its own) to files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def level_of(name):
    while name not in LEVEL and "." in name:
        name = name.rpartition(".")[0]
    return LEVEL.get(name)


def imports(path, *, top_only=False):
    """Yield the dotted names that a file imports; top_only leaves out those inside functions and for types."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path):
    names = modules()
    return {name.removeprefix("gluon_nst.") for name in imports(path)} & set(names)


def test_every_module_has_a_level():
    homeless = [name for name in modules() if level_of(name) is None]
    assert homeless == []


@pytest.mark.parametrize("name", modules())
def test_imports_never_point_upwards(name):
    above = {other for other in own_imports(modules()[name]) if level_of(other) is not None}
    assert {other for other in above if level_of(other) > level_of(name)} == set()


def test_imports_run_in_no_circle():
    graph = {name: own_imports(path) - {name} for name, path in modules().items()}
    while graph:
        leaves = {name for name, wanted in graph.items() if not wanted & set(graph)}
        assert leaves, f"these import each other: {sorted(graph)}"
        graph = {name: wanted for name, wanted in graph.items() if name not in leaves}


@pytest.mark.parametrize("name", [name for name in modules() if level_of(name) == 0])
def test_level_0_needs_the_standard_library_only(name):
    roots = {each.partition(".")[0] for each in imports(modules()[name])}
    assert roots - set(sys.stdlib_module_names) <= {"gluon_nst", "tomli", "tomllib"}  # tomli before 3.11


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("mxnet", {"backend"}),
        (
            "distributed",
            {f"batch.{name}" for name in ("dask_runner", "local_cluster")}
            | {f"launch.{name}" for name in ("joining", "nanny", "scheduler", "security")}
            | {"doctor.cluster"},
        ),
    ],
)
def test_few_modules_import_each_engine(library, homes):
    users = {
        name for name, path in modules().items()
        if any(each.partition(".")[0] == library for each in imports(path))
    }  # fmt: skip
    assert users == homes


@pytest.mark.parametrize("name", [name for name in modules() if level_of(name) == 6])
def test_the_command_line_imports_only_level_0_at_its_top(name):
    names = modules()
    tops = {each.removeprefix("gluon_nst.") for each in imports(names[name], top_only=True)} & set(names)
    heavy = {each for each in tops if level_of(each) not in (0, 6)}
    assert heavy <= {
        "images.write"
    }  # rooms without MXNet and Dask that `observing` needs; it is loaded late itself


def test_public_names_exist_and_are_all_listed():
    for name in gluon_nst.__all__:
        assert getattr(gluon_nst, name) is not None
    assert set(gluon_nst.__all__) <= set(dir(gluon_nst))
    with pytest.raises(AttributeError, match="stylise"):
        _ = gluon_nst.stylise


def public_definitions(tree):
    """Yield the public functions and classes of a module, and the public methods of those classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in (each for each in tree.body if isinstance(each, kinds) and not each.name.startswith("_")):
        yield node
        if isinstance(node, ast.ClassDef):
            yield from (
                each for each in node.body if isinstance(each, kinds) and not each.name.startswith("_")
            )


def test_every_public_function_is_documented():
    silent = [
        f"{name}.{node.name}"
        for name, path in modules().items()
        for node in public_definitions(ast.parse(path.read_text()))
        if not ast.get_docstring(node)
    ]
    assert silent == []
