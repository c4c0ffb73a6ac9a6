"""The access log that the shipped files write, as JSON lines and as OpenTelemetry records, from one source: envoy/access-log."""

from functools import partial

import pytest
import yaml

from harness import shipped
from harness.client import Request
from harness.collector import Collector
from harness.deliveries import HOOKS, SECRETS, deliveries, send
from harness.envoy import Envoy
from harness.gateway import Gateway
from harness.signer import gitlab_token
from harness.upstream import Upstream

JSON = yaml.safe_load((shipped.DIRECTORY / "access-log/json.yaml").read_text())["json_format"]
OTLP = yaml.safe_load((shipped.DIRECTORY / "access-log/otlp.yaml").read_text())
# What only a listener that asks for certificates has to say.
OF_CERTIFICATES = {"client_subject": "%DOWNSTREAM_PEER_SUBJECT%", "client_dns": "%DOWNSTREAM_PEER_DNS_SAN%", "client_uri": "%DOWNSTREAM_PEER_URI_SAN%",
                   "client_sha256": "%DOWNSTREAM_PEER_FINGERPRINT_256%"}
# What the guard says, whichever the form: the names of the JSON lines, and of OpenTelemetry's attributes after `webhook.`.
OURS = {name for name, value in JSON.items() if "wasm.webhook_" in value}
GUARDED = [str(path.relative_to(shipped.DIRECTORY)) for path in shipped.files() if "wasm.webhook_verdict" in path.read_text()]


def formats(node: object):
    """The formats of JSON lines in a file: Envoy's own, Istio's labels, and Envoy Gateway's."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key in {"json_format", "labels", "json"} and "verdict" in value)
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from formats(child)


@pytest.mark.parametrize("name", [name for name in GUARDED if name != "access-log/otlp.yaml"])
def test_every_file_writes_the_same_lines(name):
    found = [one for document in yaml.safe_load_all((shipped.DIRECTORY / name).read_text()) for one in formats(document)]
    assert found
    for one in found:
        assert {key: value for key, value in one.items() if key not in {"route", *OF_CERTIFICATES}} == JSON
        assert one.get("route", "%ROUTE_NAME%") == "%ROUTE_NAME%"
        assert [one[key] for key in OF_CERTIFICATES if key in one] == (list(OF_CERTIFICATES.values()) if "client-certificate/" in name else [])


def test_the_files_are_found():
    assert {"standalone/envoy.yaml", "ecds/envoy.yaml", "flexdeploy/envoy.yaml", "istio/mesh-config.yaml", "envoy-gateway/gateway.yaml",
            "per-route/disabled.yaml", "access-log/json.yaml"} <= set(GUARDED)


def test_both_forms_say_the_same():
    attributes = {one["key"].removeprefix("webhook."): one["value"]["string_value"] for one in OTLP["typed_config"]["attributes"]["values"]}
    assert {name: attributes[name] for name in OURS} == {name: JSON[name] for name in OURS}
    port = "%DOWNSTREAM_REMOTE_ADDRESS%", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"  # OpenTelemetry has the port apart
    assert {value.replace(*port) for key, value in JSON.items() if key != "time"} == set(attributes.values())


@pytest.mark.parametrize("alone, with_it", [("standalone/envoy.yaml", "compose/envoy.yaml"), ("native/envoy.yaml", "compose/envoy-native.yaml")])
def test_a_file_of_compose_is_the_other_one_and_this_log(alone, with_it):
    standalone, compose = (yaml.safe_load((shipped.DIRECTORY / name).read_text()) for name in (alone, with_it))
    (listener,) = compose["static_resources"]["listeners"]
    assert listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"].pop() == OTLP
    assert compose["static_resources"]["clusters"].pop()["name"] == "collector"
    assert compose == standalone


def test_a_collector_gets_every_verdict_with_its_reason():
    sent = deliveries()
    with Collector() as collector, Upstream() as upstream, Envoy(
            shipped.load("compose/envoy.yaml", upstream.port, collector=collector.port), env=SECRETS) as envoy:
        statuses = [send(envoy.port, delivery) for delivery in sent]
        records = collector.wait_for(len(sent))
        lines = envoy.access_log()
    got = {attributes["http.request.header.x-request-id"]: (resource, body, attributes) for resource, body, attributes in records}
    assert len(lines) == len(sent) == len(got)
    for delivery, status, line in zip(sent, statuses, lines, strict=True):
        resource, body, attributes = got[line["request_id"]]
        assert resource["service.name"] == "webhook-guard"
        assert f"{attributes['http.response.status_code']} {attributes['webhook.reason']}" == delivery.expected == f"{status} {line['reason']}"
        assert body == f"{line['verdict']} {line['reason']}"
        assert {name: attributes[f"webhook.{name}"] for name in OURS} == {name: "-" if line[name] is None else line[name] for name in OURS}
        assert (attributes["envoy.response_code_details"], attributes["client.address"]) == (line["details"], delivery.source)
    assert not [secret for secret in SECRETS.values() if secret in str(collector.requests)]


def test_without_a_collector_webhooks_pass_and_are_refused_all_the_same():
    def good() -> Request:
        return Request(f"{HOOKS}/gitlab".encode(), gitlab_token(SECRETS["GITLAB_WEBHOOK_TOKEN"]), b"{}")

    config = partial(shipped.load, "compose/envoy.yaml", collector=1)  # a port on which nobody listens
    with Gateway(config, good=good, env=SECRETS) as gateway:
        gateway.refuses(Request(good().target, gitlab_token("guess"), b"{}"), "token_mismatch")
        gateway.passes(good(), removed=("x-gitlab-token",))


def test_the_collectors_configuration_refers_to_what_it_declares():
    config = yaml.safe_load((shipped.DIRECTORY / "compose/collector.yaml").read_text())
    pipelines = config["service"]["pipelines"]
    assert pipelines.keys() == {"logs"}
    used = {kind: {name for pipeline in pipelines.values() for name in pipeline.get(kind, [])} for kind in ("receivers", "processors", "exporters")}
    assert used == {kind: set(config.get(kind, {})) for kind in used}
    assert set(config) <= {*used, "service"}
    (cluster,) = [one for one in shipped.load("compose/envoy.yaml", 1, collector=4317)["static_resources"]["clusters"] if one["name"] == "collector"]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == f"{address['address']}:{address['port_value']}"
