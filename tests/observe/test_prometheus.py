"""The shipped rules and the dashboard: checked by promtool, and evaluated by a real Prometheus that scrapes a real Envoy."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from harness import client, shipped, signer
from harness.client import Request
from harness.deliveries import SECRETS, deliveries, send
from harness.envoy import ROOT, Envoy
from harness.upstream import Upstream

OBSERVE = shipped.DIRECTORY / "observe"


def find(name: str) -> str | None:
    unpacked = ROOT / "target/tools/prometheus/usr/bin" / name
    return shutil.which(name) or (str(unpacked) if unpacked.exists() else None)


pytestmark = pytest.mark.skipif(not (find("prometheus") and find("promtool")), reason="no Prometheus: .ci/prometheus could not fetch it")


def test_promtool_takes_the_files(tmp_path):
    for command in (["check", "config", "--syntax-only", OBSERVE / "prometheus.yaml"], ["check", "rules", OBSERVE / "rules.yaml"]):
        done = subprocess.run([find("promtool"), *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


SERIES = 'webhook_guard_requests_total{policy="github", verdict="%s", reason="%s"}'
# What happens to a counter each minute, when it is looked at, and which alerts there are then.
ALERTS = {
    "all is well": ([(SERIES % ("allow", "ok"), "0+10x60"), (SERIES % ("deny", "signature_mismatch"), "0+1x60")], []),
    "a secret was rotated at one end": ([(SERIES % ("allow", "ok"), "100x60"), (SERIES % ("deny", "signature_mismatch"), "0+2x60")],
                                        ["WebhookGuardSecretDoesNotMatch", "WebhookGuardRefusesMost"]),
    "most are refused": ([(SERIES % ("allow", "ok"), "0+1x60"), (SERIES % ("deny", "token_mismatch"), "0+9x60")], ["WebhookGuardRefusesMost"]),
    "strangers find no policy": ([('webhook_guard_requests_total{policy="none", verdict="deny", reason="no_policy"}', "0+50x60"), (SERIES % ("allow", "ok"), "0+1x60")], []),
    "the host fails": ([(SERIES % ("allow", "ok"), "0+10x60"), (SERIES % ("deny", "host_fault"), "_x55 1x5")], ["WebhookGuardFault"]),
    "there is no room": ([(SERIES % ("allow", "ok"), "0+100x60"), (SERIES % ("deny", "overloaded"), "0+3x60")], ["WebhookGuardOverloaded"]),
    "the clock is wrong": ([(SERIES % ("allow", "ok"), "0+100x60"), (SERIES % ("deny", "timestamp_future"), "0+1x60")], ["WebhookGuardClock"]),
    "a configuration was refused": ([(SERIES % ("allow", "ok"), "0+10x60"), ("webhook_guard_config_rejected_total", "_x55 1x5")], ["WebhookGuardConfigurationRejected"]),
    "the memory is too small": ([("webhook_guard_memory_forgotten_total", "0+5x60")], ["WebhookGuardForgetsDeliveries"]),
}


@pytest.mark.parametrize("series, alerts", ALERTS.values(), ids=ALERTS)
def test_an_alert_is_there_when_it_should_be_and_no_other(tmp_path, series, alerts):
    shutil.copy(OBSERVE / "rules.yaml", tmp_path)
    names = [rule["alert"] for group in yaml.safe_load((OBSERVE / "rules.yaml").read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    assert set(alerts) <= set(names)
    # That there is one is asked of the series of all alerts: annotations and values are none of it.
    tests = [{"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series], "promql_expr_test": [
        {"expr": f'count by (alertname) (ALERTS{{alertstate="firing", alertname="{name}"}})', "eval_time": "58m",
         "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name in alerts else []} for name in names]}]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([find("promtool"), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A running Prometheus with the shipped files, scraping that Envoy every second, as a context manager."""

    def __init__(self, folder: Path, target: str) -> None:
        config = yaml.safe_load((OBSERVE / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        shutil.copy(OBSERVE / "rules.yaml", folder)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self._folder = folder

    def __enter__(self) -> "Prometheus":
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen([find("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
                                          f"--web.listen-address=127.0.0.1:{self._port}"], cwd=self._folder, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def ask(self, path: str, **query: str) -> dict:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
                    return json.loads(answer.read())["data"]
            except urllib.error.HTTPError as error:
                if error.code == 503 and time.monotonic() < deadline:  # it is still starting
                    time.sleep(0.1)
                    continue
                raise AssertionError(f"{query}: {error.read().decode()}") from error
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.1)

    def values(self, expression: str) -> list[dict]:
        return self.ask("query", query=expression)["result"]

    def wait_for(self, expression: str) -> list[dict]:
        deadline = time.monotonic() + 25
        while not (found := self.values(expression)):
            assert time.monotonic() < deadline, f"nothing for {expression}"
            time.sleep(0.2)
        return found


def panels() -> dict[str, str]:
    """The expressions of the dashboard, with its variables filled in as Grafana would."""
    found = {}
    for panel in json.loads((OBSERVE / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"].replace("$policy", ".*").replace("$__rate_interval", "30s")
    return found


def with_ids(config: dict) -> dict:
    """The file's secrets with ids, which are counted by them."""
    for guard in (one for key in ("configuration", "filter_config") for one in shipped.find(config, key)):
        guard["value"] = guard["value"].replace('"GITHUB_WEBHOOK_SECRET"}', '"GITHUB_WEBHOOK_SECRET", "id": "2026"}')
    return config


def test_every_rule_and_panel_has_its_numbers_over_a_real_envoy(tmp_path):
    with Upstream() as upstream, Envoy(with_ids(shipped.load("standalone/envoy.yaml", upstream.port, once=True)), env=SECRETS) as envoy:
        admin = (envoy._path / "admin").read_text().strip()
        with Prometheus(tmp_path, admin) as prometheus:
            def traffic() -> None:
                for delivery in deliveries():
                    send(envoy.port, delivery)
                again = Request(b"/flexdeploy/webhooks/v1/github", signer.github(SECRETS["GITHUB_WEBHOOK_SECRET"], b"{}"), b"{}")
                for _ in range(2):
                    client.h1_length(envoy.port, again.again())

            traffic()
            prometheus.wait_for("webhook_guard_requests_total")
            for _ in range(3):
                time.sleep(1.2)
                traffic()
            prometheus.wait_for('rate(webhook_guard_requests_total{verdict="allow"}[30s]) > 0')
            empty = {name for name, expression in panels().items() if not prometheus.values(expression)}
            assert empty == set()
            assert prometheus.wait_for('webhook_guard:requests:rate5m{policy="slack",verdict="allow"} > 0')
            assert prometheus.wait_for('webhook_guard:refused:ratio15m{policy="github"} > 0')
            rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
            shipped_rules = [rule for group in yaml.safe_load((OBSERVE / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
            assert len(rules) == len(shipped_rules) and {rule["health"] for rule in rules} == {"ok"}, rules
            labels = {json.dumps(one["metric"], sort_keys=True) for one in prometheus.values("sum by (policy, verdict, reason) (webhook_guard_requests_total)")}
            assert '{"policy": "github", "reason": "signature_mismatch", "verdict": "deny"}' in labels
