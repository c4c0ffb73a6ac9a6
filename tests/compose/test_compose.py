"""The docker-compose setup, as written, around an image that is built here from the wheel's Envoy binary.

Responsible for what compose adds: the mounts, the environment, the two containers. Verdicts are for tests/envoy. No
registry is asked for anything.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from harness.deliveries import SECRETS, Delivery, deliveries, send
from harness.envoy import ROOT, find_envoy
from harness.transcript import follow, programs, steps

IMAGE = "webhook-guard-envoy:test"
FOLDER = ROOT / "envoy/compose"
GUARDS = ["wasm", "native"]
EACH = pytest.mark.parametrize("guard", GUARDS)
# What is in the container of Envoy besides its configuration, by the words of that guard's own file.
MODULES = {
    "wasm": ("envoy.yaml", "target/wasm32-wasip1/release/webhook_guard.wasm", []),
    "native": ("envoy-native.yaml", "target/native/libwebhook_guard.so", ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH=/etc/envoy"]),
}


def compose(*arguments: str, environment: dict[str, str] | None = None, whole: dict[str, str] | None = None) -> str:
    """`environment` is added to the own one, `whole` stands in its place."""
    program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    done = subprocess.run([*program, "-p", "webhook-guard-test", *arguments], cwd=FOLDER, text=True,
                          env=whole or os.environ | (environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Envoy binary with the shared libraries it asks for, and nothing else."""
    envoy = find_envoy().resolve()
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", envoy], capture_output=True, text=True).stdout)
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        tar.add(envoy, "usr/local/bin/envoy")
        for library in libraries:
            tar.add(library, library.lstrip("/"))
        for folder in ("tmp", "etc/envoy"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    path = "ENV PATH=/usr/local/bin"
    subprocess.run(["docker", "import", "--change", path, str(archive), IMAGE], check=True, stdout=subprocess.DEVNULL)
    return IMAGE


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module", params=GUARDS)
def running(image: str, request: pytest.FixtureRequest):
    """The port that compose publishes, and a function that gives a service's JSON log lines."""
    port = free_port()
    environment = SECRETS | {"GUARD": request.param, "ENVOY_IMAGE": image, "WEBHOOK_GUARD_PORT": str(port)}

    def log(service: str) -> list[dict]:
        lines = compose("logs", "--no-color", service, environment=environment).splitlines()
        return [json.loads(line[line.index("{"):]) for line in lines if "{\"" in line]

    compose("up", "-d", environment=environment)
    try:
        wait_until_served(port)
        yield port, log
    finally:
        compose("down", "-t", "1", environment=environment)


def wait_until_served(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            send(port, Delivery("", "", "/"))
            return
        except OSError:
            assert time.monotonic() < deadline, "nothing listens on the published port"
            time.sleep(0.2)


def test_webhooks_pass_and_everything_else_is_refused(running) -> None:
    port, log = running
    sent = [delivery for delivery in deliveries() if "build" not in delivery.target]  # that one is bound to an address
    wanted = [delivery.expected.replace("200 ok", "202 ok") for delivery in sent]
    before = len(log("envoy"))
    statuses = [send(port, delivery) for delivery in sent]
    deadline = time.monotonic() + 20
    while len(records := log("envoy")[before:]) < len(sent):
        assert time.monotonic() < deadline, f"the access log is not complete: {records}"
        time.sleep(0.5)
    got = [f"{status} {record['reason']}" for status, record in zip(statuses, records, strict=True)]
    assert dict(zip([delivery.webhook for delivery in sent], got, strict=True)) == dict(
        zip([delivery.webhook for delivery in sent], wanted, strict=True))
    arrived = [(record["policy"], record["verdict"]) for record in log("application")]
    assert arrived == [(name, "verified") for name in ("github", "slack", "stripe", "bitbucket", "gitlab")]


@EACH
def test_the_readme_can_be_followed(image: str, guard: str, tmp_path: Path) -> None:
    """To the letter, but for the image, which is built here, and the port, which may be taken; both by the README's own variables."""
    port = free_port()
    scripts = {} if shutil.which("docker-compose") else {"docker-compose": 'exec docker compose "$@"'}
    environment = programs(tmp_path / "bin", scripts)
    environment |= {"GUARD": guard, "ENVOY_IMAGE": image, "WEBHOOK_GUARD_PORT": str(port), "COMPOSE_PROJECT_NAME": "webhook-guard-readme"}
    until_served = "for _ in $(seq 150); do docker-compose logs 2>&1 | grep -c 'starting workers' | grep -q 2 && break; sleep 0.2; done"
    session = steps(FOLDER / "README.md")
    try:
        follow(session, FOLDER, environment, tmp_path, after=lambda step: until_served if " up -d" in step.command else "")
    finally:
        subprocess.run(["docker-compose", "down", "-t", "0"], cwd=FOLDER, env=environment, capture_output=True)


@EACH
def test_without_a_secret_envoy_does_not_start_and_says_which(image: str, guard: str) -> None:
    config, module, variables = MODULES[guard]
    files = [(FOLDER / config, "envoy.yaml"), (ROOT / module, Path(module).name)]
    mounts = [part for path, name in files for part in ("-v", f"{path}:/etc/envoy/{name}:ro")]
    mounts += [part for variable in variables for part in ("-e", variable)]
    done = subprocess.run(["docker", "run", "--rm", *mounts, image, "envoy", "-c", "/etc/envoy/envoy.yaml"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert 'policies[0].require.signature.secrets[0].env: the environment variable "GITHUB_WEBHOOK_SECRET"' in done.stderr


def test_compose_mounts_one_guard_and_its_configuration() -> None:
    """The Wasm module where nothing is said, and no other file than the two."""
    for chosen, guard in ({}, "wasm"), *(({"GUARD": guard}, guard) for guard in GUARDS):
        environment = {name: value for name, value in os.environ.items() if name != "GUARD"} | chosen
        service = yaml.safe_load(compose("config", whole=environment))["services"]["envoy"]
        config, module, variables = MODULES[guard]
        volumes = [one if isinstance(one, str) else f"{one['source']}:{one['target']}:{'ro' if one['read_only'] else 'rw'}" for one in service["volumes"]]
        assert sorted(volumes) == sorted([f"{FOLDER / config}:/etc/envoy/envoy.yaml:ro", f"{ROOT / module}:/etc/envoy/{Path(module).name}:ro"])
        fixed = [f"{name}={value}" for name, value in service["environment"].items() if value is not None and name not in SECRETS]
        assert fixed == variables
        assert SECRETS.keys() <= service["environment"].keys()


def test_the_collector_comes_with_its_profile_only_and_has_a_version() -> None:
    """Its image is not to be had here; that Envoy's records reach a collector is shown by tests/envoy/test_access_log.py."""
    config = yaml.safe_load(compose("--profile", "observe", "config"))
    collector = config["services"]["collector"]
    assert [name for name, service in config["services"].items() if service.get("profiles")] == ["collector"]
    assert collector["profiles"] == ["observe"]
    assert re.fullmatch(r"otel/opentelemetry-collector:\d+\.\d+\.\d+", collector["image"])
    assert collector["network_mode"] == "service:envoy"
    assert not collector.get("ports")
    (mount,) = collector["volumes"]
    source, target = mount.split(":")[:2] if isinstance(mount, str) else (mount["source"], mount["target"])
    assert os.path.samefile(source, FOLDER / "collector.yaml")
    assert collector["command"] == [f"--config={target}"]
