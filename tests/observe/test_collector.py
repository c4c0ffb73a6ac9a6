"""Through a real collector: what a gateway records comes out of it as it went in, base64 and all."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from harness import recorded, signer
from harness.client import Request
from harness.gateway import Gateway
from harness.messages import Messages
from harness.recorded import free_port

SECRET = "github-key-of-some-length"
ENV = {"GITHUB_WEBHOOK_SECRET": SECRET, "BITBUCKET_WEBHOOK_SECRET": "bitbucket-key-of-some-length", "SLACK_SIGNING_SECRET": "slack-key-of-some-length",
       "AZURE_WEBHOOK_PASSWORD": "azure-password-of-some-length", "JENKINS_TOKEN": "jenkins-token-of-some-length"} | recorded.KEY
BODIES = [b"{}", b"\xff\0binary", "it's \\ näïve\n".encode(), b"x" * 60_000, b"-"]
FOUND = importlib.util.find_spec("rotel")

pytestmark = pytest.mark.skipif(FOUND is None, reason="no collector: make test-observe installs it")


def push(content: bytes) -> Request:
    return Request(b"/flexdeploy/webhooks/v2/git/push", signer.github(SECRET, content), content)


@pytest.mark.parametrize("protocol, compression", [("grpc", "gzip"), ("http", "gzip"), ("grpc", "none")])
def test_what_a_gateway_records_comes_through(tmp_path, protocol, compression):
    port = free_port()
    with Messages(tmp_path) as messages:
        endpoint = f"http://127.0.0.1:{messages.otlp}"
        command = [Path(FOUND.origin).parent / "rotel-agent", "start", "--otlp-grpc-endpoint", f"127.0.0.1:{port}", "--otlp-http-endpoint", f"127.0.0.1:{free_port()}",
                   "--exporter", "otlp", "--otlp-exporter-endpoint", endpoint, "--otlp-exporter-protocol", protocol,
                   "--otlp-exporter-compression", compression, "--batch-timeout", "100ms"]
        agent = subprocess.Popen(command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with Gateway(lambda upstream: recorded.load("flexdeploy/envoy.yaml", upstream, port), good=lambda: push(b"{}"), env=ENV) as gateway:
                for content in BODIES:
                    gateway.passes(push(content))
                found = messages.wait_for(len(BODIES) + 1)
            assert [messages.body(one["id"]) for one in found][::-1][-len(BODIES):] == BODIES
            assert {(one["verdict"], one["policy"], one["status"]) for one in found} == {("allow", "git-push", 200)}
        finally:
            agent.terminate()
            agent.wait(10)
