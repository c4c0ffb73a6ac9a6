"""Each folder of envoy/ followed as its README says, to the letter; what one sees is what the README shows.

Where a cluster would have to answer, a kubectl and a helm stand in that write down what they are told, and the Envoy is one
with the configuration that the manifests amount to. The docker-compose folder is followed by tests/compose.
"""

import datetime
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateways import generated
from harness import shipped
from harness.envoy import find_native
from harness.transcript import WAIT, Room, Step, programs, steps

pytestmark = pytest.mark.skipif(not Room.can_open(), reason="namespaces are not to be had here: unshare --mount --net --pid")
# Who types is root in here already.
SUDO = {"sudo": 'exec "$@"'}


@pytest.mark.parametrize("folder", ["standalone", "ecds", "flexdeploy", "per-route", "client-certificate", "native"])
def test_an_envoy_of_ones_own(folder, tmp_path):
    session = steps(shipped.DIRECTORY / folder / "README.md")
    assert any(step.shown for step in session)
    Room.follow(session, shipped.DIRECTORY / folder, programs(tmp_path / "bin", SUDO), tmp_path)


# Writes down its arguments, and the files that it was given; one that is not there it refuses, as the real one does.
CLUSTER = r"""
printf '%s %s\n' "$(basename "$0")" "$*" >>"$ROOM/calls"
[[ " $* " == *" logs "* ]] && { sleep 0.5; exec cat "$ROOM/access.log"; }
while [ $# -gt 0 ]; do
    if [ "$1" = -f ] || [ "$1" = --patch-file ]; then
        [ "$2" = - ] || [ "$2" = /dev/stdin ] || [ -f "$2" ] || { echo "error: the path $2 does not exist" >&2; exit 1; }
        [ "$(basename "$0")" = helm ] || { echo ---; cat "$2"; } | sed 's/^-$//' >>"$ROOM/applied.yaml"
    fi
    shift
done"""
# Writes down its arguments too. What is built has to be there, and to be copied by its name.
DOCKER = r"""
printf '%s %s\n' docker "$*" >>"$ROOM/calls"
if [ "$1" = build ]; then
    while read -r word name _; do [ "$word" != COPY ] || [ -f "${@: -1}/$name" ] || { echo "error: no $name" >&2; exit 1; }; done
fi"""


@dataclass(frozen=True)
class Way:
    """One way to follow a README: the manifests of its row, the Envoy that they amount to, and where its secrets have to be."""

    folder: str
    manifests: set[str]
    config: Callable[[int], dict]
    resource: Callable[[], str] | None = None
    secrets: str = "webhooks"
    is_native: bool = False


WAYS = {
    "istio-wasmplugin": Way("istio", {"wasmplugin.yaml", "buffer-behind.yaml"}, generated.istio_wasmplugin, generated.istio_wasmplugin_resource),
    "istio-envoyfilter": Way("istio", {"envoyfilter-held.yaml"}, generated.istio_held, generated.istio_held_resource),
    "envoy-gateway-buffer": Way("envoy-gateway", {"buffer-behind.yaml"}, generated.gateway_buffer_behind, secrets="envoy-gateway-system"),
    "envoy-gateway-held": Way("envoy-gateway", {"held.yaml"}, generated.gateway_held, secrets="envoy-gateway-system"),
    "istio-native": Way("istio", {"envoyfilter-native.yaml", "native-gateway.yaml", "native-mesh-config.yaml"}, generated.istio_native, is_native=True),
    "envoy-gateway-native": Way("envoy-gateway", {"native.yaml", "native-proxy.yaml"}, generated.gateway_native, secrets="envoy-gateway-system",
                                is_native=True),
}
HOST = "hooks.example.com"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_cluster(way, tmp_path):
    """What is typed, in order and with nothing forgotten; and the requests of the README, over TLS and by name."""
    folder = shipped.DIRECTORY / way.folder
    session = session_of(way)
    gateway_is_there = [step for step in session if "apply -f gateway.yaml" in step.command]
    assert len(gateway_is_there) == 1
    for name, text in certificate().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "envoy.json").write_text(json.dumps(reachable(way.config(8000), tmp_path)))
    (tmp_path / generated.ECDS).write_text(way.resource() if way.resource else "")
    environment = programs(tmp_path / "bin", {"kubectl": CLUSTER, "helm": CLUSTER, "docker": DOCKER})
    environment |= {"ROOM": str(tmp_path), "CURL_CA_BUNDLE": str(tmp_path / "tls.crt")}

    def after(step: Step) -> str:
        return f"""
            (exec envoy -c {shipped.DIRECTORY}/compose/application.yaml --base-id 1) >$ROOM/application.log 2>&1 & log=$ROOM/application.log; {WAIT}
            (cd $ROOM; export ENVOY_DYNAMIC_MODULES_SEARCH_PATH={find_native().parent}; exec envoy -c envoy.json --file-flush-interval-msec 20) >$ROOM/envoy.log 2>&1 & log=$ROOM/envoy.log; {WAIT}
            """ if step in gateway_is_there else ""

    Room.follow(session, folder, environment, tmp_path, before=f"echo 127.0.0.1 {HOST} >>/etc/hosts\n", after=after)
    calls = (tmp_path / "calls").read_text().splitlines()
    text = (tmp_path / "applied.yaml").read_text()
    judge_manifests(way, list(filter(None, yaml.safe_load_all(text))))
    judge_names(way, calls, text)


def session_of(way: Way) -> list[Step]:
    """What a README says to type; for the native module with the lines of its section in place of those that it names."""
    readme = shipped.DIRECTORY / way.folder / "README.md"
    section = readme.read_text().splitlines().index("## Native code")
    session, native = [], []
    for step in steps(readme):
        (session if int(step.where.rpartition(":")[2]) <= section else native).append(step)
    if not way.is_native:
        return session
    (first,) = [number for number, step in enumerate(session) if {"istio": "helm upgrade", "envoy-gateway": "buffer-behind.yaml"}[way.folder] in step.command]
    (last,) = [number for number, step in enumerate(session) if "apply -f gateway.yaml" in step.command]
    return [*session[:first], *native, *session[last + 1:]]


def judge_manifests(way: Way, applied: list[dict]) -> None:
    """Every file of the folder is named, one row's are applied, whole, and the guard stands before the gateway is reachable."""
    readme = (shipped.DIRECTORY / way.folder / "README.md").read_text()
    files = {path.name for path in (shipped.DIRECTORY / way.folder).glob("*.yaml")}
    assert not [name for name in files if name not in readme]
    assert way.manifests <= files
    kinds = [one["kind"] for one in applied]
    guard, behind = {
        ("istio", False): (["EnvoyFilter", "Telemetry", "WasmPlugin"], []),
        ("istio", True): (["EnvoyFilter", "Telemetry"], ["ConfigMap"]),
        ("envoy-gateway", False): (["EnvoyExtensionPolicy", "BackendTrafficPolicy"], []),
        ("envoy-gateway", True): (["EnvoyExtensionPolicy"], ["EnvoyProxy"]),
    }[way.folder, way.is_native]
    assert kinds[:len(guard)] == guard
    assert "Gateway" in kinds[len(guard):]
    gateway = [one["kind"] for one in yaml.safe_load_all((shipped.DIRECTORY / way.folder / "gateway.yaml").read_text())]
    # What changes the gateway comes after it, and not in its place.
    assert kinds[len(guard):] == gateway + behind
    assert {one["metadata"].get("namespace") for one in applied if one["kind"] != "GatewayClass"} == {"webhooks"}


def judge_names(way: Way, calls: list[str], applied: str) -> None:
    """What the commands call things is what the manifests call them."""
    assert "REGISTRY/" not in applied
    assert calls[0] == "kubectl create namespace webhooks"
    (secret,) = [call for call in calls if " create secret generic " in call]
    assert secret.startswith(f"kubectl -n {way.secrets} create secret generic webhook-guard ")
    # What the gateway's container takes out of that Secret is what was put in.
    keys = re.findall(r"secretKeyRef: \{name: webhook-guard, key: (\w+)\}", applied)
    assert keys == re.findall(r"--from-literal=(\w+)=\S", secret) * (2 if way.is_native and way.folder == "istio" else 1)
    if way.is_native:
        (built,) = [re.fullmatch(r"docker build -t (\S+) -f - \S+", call)[1] for call in calls if call.startswith("docker build ")]
        assert re.findall(r"image: (\S+)", applied) == [built]
        assert calls.index(f"docker push {built}") < min(number for number, call in enumerate(calls) if " apply " in call)
    (certificate,) = re.findall(r"certificateRefs:\n *- name: (\S+)", applied)
    assert f"kubectl -n webhooks create secret tls {certificate} --cert=tls.crt --key=tls.key" in calls
    gateway = generated.manifest(f"{way.folder}/gateway.yaml", "Gateway")
    pods = {"istio": f"deploy/webhooks-{gateway['gatewayClassName']}", "envoy-gateway": "-c envoy -l gateway.envoyproxy.io/owning-gateway-name=webhooks"}
    assert calls[-1] == f"kubectl -n {way.secrets} logs {pods[way.folder]}"


def reachable(config: dict, folder: Path) -> dict:
    """The same Envoy on port 443 with a certificate, as a gateway has it, and without the field that other tests need."""
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = 443
    pair = {"certificate_chain": {"filename": str(folder / "tls.crt")}, "private_key": {"filename": str(folder / "tls.key")}}
    listener["filter_chains"][0]["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [pair]}}}
    (log,) = generated.manager(config)["access_log"]
    del log["typed_config"]["log_format"]["json_format"]["test_id"]
    return config


def certificate() -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
              .serial_number(1).not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
              .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False).sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"tls.crt": signed.public_bytes(pem).decode(), "tls.key": private.decode()}
