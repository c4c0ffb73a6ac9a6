"""The messages of a fleet in ClickHouse: the shipped schema and every shipped query, on ClickHouse's own engine, over the records
of a real Envoy."""

import base64
import json
import os
import re
import time

import pytest
import yaml

from harness import recorded, shipped, signer
from harness.client import Request
from harness.collector import Collector
from harness.gateway import Gateway

chdb = pytest.importorskip("chdb", reason="no ClickHouse engine: make test-observe installs it")
from chdb import session  # noqa: E402  (only where it is there)

SECRET = "github-key-of-some-length"
ENV = {"GITHUB_WEBHOOK_SECRET": SECRET, "BITBUCKET_WEBHOOK_SECRET": "bitbucket-key-of-some-length", "SLACK_SIGNING_SECRET": "slack-key-of-some-length",
       "AZURE_WEBHOOK_PASSWORD": "azure-password-of-some-length", "JENKINS_TOKEN": "jenkins-token-of-some-length"} | recorded.KEY
BODIES = [b'{"ref": "refs/heads/main", "title": "Deploy it"}', b"-", b"", b"\xff\0binary", "it's \\ näïve\n".encode()]
# The columns of the exporter's own table that a view may rely on.
OTEL_LOGS = """CREATE TABLE otel_logs (Timestamp DateTime64(9), ServiceName LowCardinality(String), Body String,
    ResourceAttributes Map(LowCardinality(String), String), LogAttributes Map(LowCardinality(String), String)) ENGINE = MergeTree ORDER BY Timestamp"""


def push(content: bytes, secret: str = SECRET) -> Request:
    return Request(b"/flexdeploy/webhooks/v2/git/push?projectId=7", signer.github(secret, content), content)


@pytest.fixture(scope="module")
def records():
    """What a collector gets of a real Envoy, in the form in which its exporter writes it."""
    with Collector() as collector, Gateway(lambda port: recorded.load("flexdeploy/envoy.yaml", port, collector.port), good=lambda: push(b"{}"), env=ENV) as gateway:
        for content in BODIES:
            gateway.passes(push(content))
        gateway.refuses(push(b'{"refused": "yes"}', "another secret"), "no_alternative_held")
        gateway.refuses(Request(b"/elsewhere", []), "no_policy")
        collector.wait_for(len(BODIES) + 5)
        return [{"Timestamp": record.time_unix_nano / 1e9, "ServiceName": "webhook-guard", "Body": record.body.string_value,
                 "LogAttributes": {one.key: one.value.string_value for one in record.attributes}}
                for request in collector.requests for group in request.resource_logs for scope in group.scope_logs for record in scope.log_records]


@pytest.fixture(scope="module")
def clickhouse(records, tmp_path_factory):
    engine = session.Session(str(tmp_path_factory.mktemp("clickhouse")))
    engine.query("CREATE DATABASE webhooks ENGINE = Atomic")
    engine.query("USE webhooks")
    engine.query(OTEL_LOGS)
    for statement in statements("clickhouse.sql"):
        engine.query(statement)
    for record in records:
        engine.query(f"INSERT INTO otel_logs FORMAT JSONEachRow {json.dumps(record)}")
    yield engine
    engine.close()


def statements(name: str) -> list[str]:
    text = re.sub(r"^--.*\n", "", (shipped.DIRECTORY / "observe" / name).read_text(), flags=re.MULTILINE)
    return [one.strip() for one in text.split(";\n") if one.strip()]


def queries() -> dict[str, str]:
    text = (shipped.DIRECTORY / "observe/queries.sql").read_text()
    return dict(re.findall(r"^-- name: (\w+)\n(.*?);$", text, re.MULTILINE | re.DOTALL))


def ask(engine, query: str, **parameters: str) -> list[dict]:
    for name, value in parameters.items():
        query = query.replace(f"{{{name}:String}}", "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'")
    answer = engine.query(f"{query} FORMAT JSONEachRow").bytes().decode()
    return [json.loads(line) for line in answer.splitlines()]


def test_every_record_is_a_message_and_nothing_is_lost_of_it(clickhouse, records):
    found = ask(clickhouse, "SELECT verdict, reason, policy, status, base64Encode(body) AS body, body_encoding, body_bytes FROM webhook_messages ORDER BY time, request_id")
    assert len(found) == len(records)
    accepted = [one for one in found if one["verdict"] == "allow" and one["policy"] == "git-push"]
    bodies = [base64.b64decode(base64.b64decode(one["body"])) if one["body_encoding"] == "base64" else base64.b64decode(one["body"]) for one in accepted]
    assert sorted(bodies) == sorted([*BODIES, b"{}", b"{}", b"{}"])
    (nowhere,) = [one for one in found if one["reason"] == "no_policy"]
    assert (nowhere["policy"], nowhere["body_encoding"], nowhere["body_bytes"], nowhere["status"]) == ("", "", None, 404)


def test_every_query_answers_what_the_page_shows(clickhouse, records):
    wanted = queries()
    assert set(wanted) == {"newest", "refused", "one", "search", "payload", "week", "reasons", "failed"}
    newest = ask(clickhouse, wanted["newest"])
    assert len(newest) == len(records) and newest[0]["time"] >= newest[-1]["time"]
    (refused,) = ask(clickhouse, wanted["refused"], policy="git-push")
    assert refused["reason"] == "no_alternative_held"
    (one,) = ask(clickhouse, wanted["one"], id=refused["request_id"])
    assert one["body"] == '{"refused": "yes"}' and one["path"] == "/flexdeploy/webhooks/v2/git/push?projectId=7"
    (found,) = ask(clickhouse, wanted["search"], word="DEPLOY")
    assert ask(clickhouse, wanted["payload"], id=found["request_id"]) == [{"payload": BODIES[0].decode(), "is_truncated": 0}]
    assert sum(int(hour["messages"]) for hour in ask(clickhouse, wanted["week"])) == len(records)
    reasons = {(one["policy"], one["reason"]): int(one["messages"]) for one in ask(clickhouse, wanted["reasons"])}
    assert reasons == {("git-push", "no_alternative_held"): 1, ("", "no_policy"): 1}
    assert ask(clickhouse, wanted["failed"]) == []


def test_messages_are_gone_after_seven_days(clickhouse):
    at = time.time() - 8 * 86_400
    old = {"Timestamp": at, "LogAttributes": {"webhook.verdict": "allow", "webhook.reason": "ok", "http.request.header.x-request-id": "old"}}
    clickhouse.query(f"INSERT INTO otel_logs FORMAT JSONEachRow {json.dumps(old)}")
    clickhouse.query("ALTER TABLE webhook_messages MATERIALIZE TTL SETTINGS mutations_sync = 2")
    clickhouse.query("OPTIMIZE TABLE webhook_messages FINAL")
    assert ask(clickhouse, "SELECT count() AS n FROM webhook_messages WHERE request_id = 'old'") in ([{"n": 0}], [{"n": "0"}])
    assert ask(clickhouse, "SELECT count() AS n FROM webhook_messages") not in ([{"n": 0}], [{"n": "0"}])


def test_the_collector_refers_to_what_it_declares():
    config = yaml.safe_load((shipped.DIRECTORY / "observe/collector.yaml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) == set(config[kind]), kind
    assert config["exporters"]["clickhouse"]["logs_table_name"] in (shipped.DIRECTORY / "observe/clickhouse.sql").read_text()
    assert os.path.exists(shipped.DIRECTORY / "observe/queries.sql")
