"""The manifests fit together, and are what Kubernetes and the command line know.

No cluster: what containers run is proved by test_kubernetes_commands.py.
"""

import importlib
import itertools
import re
from pathlib import Path

import pytest

from gluon_nst.cli import cli
from gluon_nst.launch.certificates import make_certificates
from tests.cluster.manifests import (
    COMPONENT,
    DOCKER,
    KUBERNETES,
    VARIANTS,
    container,
    image_environment,
    of_kind,
    option,
    pods,
    rendered,
    selects,
)

# The newest that validates, and one that was two years old then.
RELEASES = ("1.31", "1.37")
COMPONENTS = ("scheduler", "worker", "batch")

variants = pytest.mark.parametrize("variant", VARIANTS)


@variants
@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_knows_every_field(variant, release):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install '.[manifests]'")
    for each in rendered(variant):
        validator.validate(each, release, strict=True)


@variants
def test_no_object_is_there_twice(variant):
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered(variant)]
    assert len(set(names)) == len(names)
    assert {each["metadata"]["namespace"] for each in rendered(variant)} == {"gluon-nst"}


@variants
def test_selectors_find_their_pods_and_no_others(variant):
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(variant).items()}
    assert set(labels) == set(COMPONENTS)
    for each in of_kind(variant, "Deployment"):
        own = each["spec"]["template"]["metadata"]["labels"][COMPONENT]
        assert [name for name in labels if selects(each["spec"]["selector"], labels[name])] == [own]
    (service,) = of_kind(variant, "Service")
    exact = {"matchLabels": service["spec"]["selector"]}
    assert [name for name in labels if selects(exact, labels[name])] == ["scheduler"]


@variants
def test_everybody_calls_the_scheduler_where_it_listens(variant):
    (service,) = of_kind(variant, "Service")
    (port,) = service["spec"]["ports"]
    scheduler = container(variant, "scheduler")
    (listening,) = scheduler["ports"]
    assert port["targetPort"] == listening["name"]
    assert option(scheduler["args"], "--port") == str(listening["containerPort"])
    address = f"tls://{service['metadata']['name']}:{port['port']}"
    assert address in container(variant, "worker")["args"]
    assert option(container(variant, "batch")["args"], "--scheduler") == address
    probes = [scheduler[f"{name}Probe"]["tcpSocket"]["port"] for name in ("startup", "readiness", "liveness")]
    assert set(probes) == {listening["name"]}


@variants
@pytest.mark.parametrize("component", COMPONENTS)
def test_what_is_mounted_is_there_and_what_is_there_is_mounted(variant, component):
    spec = pods(variant)[component]["spec"]
    mounts = {each["name"]: each["mountPath"] for each in container(variant, component)["volumeMounts"]}
    assert set(mounts) == {each["name"] for each in spec["volumes"]}
    claims = {each["metadata"]["name"] for each in of_kind(variant, "PersistentVolumeClaim")}
    wanted = {
        each["persistentVolumeClaim"]["claimName"]
        for each in spec["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert wanted <= claims


@variants
@pytest.mark.parametrize("component", COMPONENTS)
def test_every_path_of_a_command_is_on_a_volume(variant, component):
    one = container(variant, component)
    mounts = [each["mountPath"] for each in one["volumeMounts"]]
    paths = [word for word in one["args"] if word.startswith("/")]
    environment = image_environment("Dockerfile.cpu")
    for path in [*paths, environment["HOME"], environment["TMPDIR"]]:
        assert any(Path(path).is_relative_to(mount) for mount in mounts), path
    assert option(one["args"], "--tls-dir") in mounts


@variants
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_command_line_takes_every_argument(variant, component):
    name, *arguments = container(variant, component)["args"]
    context = cli.commands[name].make_context(name, list(arguments))
    assert context.params


@variants
@pytest.mark.parametrize("component", ["worker", "batch"])
def test_a_pod_that_must_go_has_time_for_its_grace_and_its_end(variant, component):
    grace = float(option(container(variant, component)["args"], "--grace"))
    assert pods(variant)[component]["spec"]["terminationGracePeriodSeconds"] >= grace + 20


@variants
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_container_may_do_no_more_than_it_must(variant, component):
    pod, one = pods(variant)[component]["spec"], container(variant, component)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert {"cpu", "memory"} <= set(one["resources"]["requests"]) and "memory" in one["resources"]["limits"]


def test_gpus_are_asked_for_where_there_are_some():
    for variant, gpus in (("volume", 1), ("s3", 1), ("cpu", None)):
        one = container(variant, "worker")
        assert one["resources"]["limits"].get("nvidia.com/gpu") == gpus
        assert one["image"].rpartition(":")[2] == ("cpu" if gpus is None else "gpu")


@variants
def test_the_job_is_tried_again_where_that_helps(variant):
    batch_cli = importlib.import_module("gluon_nst.cli.batch")
    (job,) = of_kind(variant, "Job")
    first, *rules = job["spec"]["podFailurePolicy"]["rules"]
    assert first["action"] == "Ignore" and first["onPodConditions"][0]["type"] == "DisruptionTarget"
    actions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
    last = [batch_cli.EXIT_SOME_FAILED, batch_cli.EXIT_UNREADABLE, batch_cli.EXIT_FAILURES]
    again = [batch_cli.EXIT_USAGE, batch_cli.EXIT_STRANDED, batch_cli.EXIT_STOPPED]
    assert actions == {**dict.fromkeys(last, "FailJob"), **dict.fromkeys(again, "Count")}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container(variant, "batch")["name"]}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@variants
def test_pods_reach_those_whom_they_must_and_no_others(variant):
    reaching = {
        (one, other) for one in COMPONENTS for other in COMPONENTS if let_through(variant, one, other, 8786)
    }
    assert reaching == {("worker", "scheduler"), ("batch", "scheduler"), ("scheduler", "worker")}
    assert let_through(variant, "scheduler", "worker", 40000)  # Dask's workers choose their ports
    assert not let_through(variant, "worker", "scheduler", 22)
    stores = [each for each in of_kind(variant, "NetworkPolicy") if opens(each, 443)]
    assert len(stores) == (variant == "s3")


def let_through(variant, one, other, port):
    """Return whether the policies let a pod connect to another: whoever selects a pod allows what any of them says."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(variant).items()}
    names = {each["name"]: each["containerPort"] for each in container(variant, "scheduler")["ports"]}
    policies = of_kind(variant, "NetworkPolicy")

    def allowed(direction, side, peer, me, them):
        chosen = [
            each["spec"] for each in policies
            if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], labels[me])
        ]  # fmt: skip
        rules = [rule for spec in chosen for rule in spec.get(side, ())]
        return not chosen or any(
            any(
                selects(who["podSelector"], labels[them])
                for who in rule.get(peer, ())
                if "podSelector" in who
            )
            and (
                "ports" not in rule
                or port in [names.get(each["port"], each["port"]) for each in rule["ports"]]
            )
            for rule in rules
        )

    return allowed("Egress", "egress", "to", one, other) and allowed("Ingress", "ingress", "from", other, one)


def opens(policy, port):
    return any(
        "to" not in rule and port in [each["port"] for each in rule.get("ports", ())]
        for rule in policy["spec"].get("egress", ())
    )


def test_the_secrets_are_those_that_the_page_makes(tmp_path):
    page = (KUBERNETES / "README.md").read_text()
    made = set(re.findall(r"create secret generic (\S+)", page))
    wanted = set()
    for variant, component in itertools.product(VARIANTS, COMPONENTS):
        volumes = pods(variant)[component]["spec"]["volumes"]
        wanted |= {each["secret"]["secretName"] for each in volumes if "secret" in each}
        wanted |= {each["secretRef"]["name"] for each in container(variant, component).get("envFrom", ())}
    assert made == wanted
    make_certificates(tmp_path / "tls", days=1)
    files = {path.name for path in (tmp_path / "tls").iterdir()}
    (line,) = re.findall(r"create secret generic gluon-nst-tls (.*)", page)
    assert set(re.findall(r"--from-file=tls/(\S+)", line)) == files


@pytest.mark.parametrize(
    "path", [*KUBERNETES.glob("*/*.yaml"), *DOCKER.glob("Dockerfile.*")], ids=lambda path: path.name
)
def test_what_could_not_be_run_says_so_at_once(path):
    assert "Not run " in path.read_text().splitlines()[0]


def test_the_commands_of_the_page_are_known():
    commands = re.findall(
        r"(?:^|-- )gluon-nst ([a-z].*?)(?:`| \||$)", (KUBERNETES / "README.md").read_text(), re.MULTILINE
    )
    assert {each.split()[0] for each in commands} == {"certificates", "doctor"}
    for each in commands:
        name, *arguments = each.split()
        assert cli.commands[name].make_context(name, arguments).params
