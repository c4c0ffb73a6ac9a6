"""`make messages`: the page of messages over the demo's gateway, with the demo's webhooks on it, until it is ended.

Responsible for the gateway with a record of every webhook and with the operator beside each sender (`harness.recorded`), for
the receiver of its records, and for sending the webhooks. With `--once` it ends by itself, for a test: it sends the refused
webhook of GitHub again, as the button does, and says what came of it.
"""

import argparse
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from harness import recorded
from harness.deliveries import SECRETS, deliveries, send
from harness.envoy import GUARD, Envoy
from harness.messages import Messages
from harness.upstream import Upstream

FILE = {"wasm": "standalone/envoy.yaml", "native": "native/envoy.yaml"}[GUARD]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8095, help="of the page")
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="webhook-guard-messages-") as folder, Upstream() as upstream:
        key = Path(folder) / "operator.key"
        key.write_text(recorded.KEY["OPERATOR_KEY"] + "\n")
        # The gateway must know where records go, and the page where the gateway is: the page comes first, and is told later.
        otlp = recorded.free_port()
        with Envoy(recorded.load(FILE, upstream.port, otlp), env=SECRETS | recorded.KEY) as envoy, Messages(
                Path(folder), "--gateway", f"http://127.0.0.1:{envoy.port}", "--operator-key-file", str(key), "--name", "you",
                otlp=otlp, port=arguments.port) as messages:
            for delivery in deliveries():
                send(envoy.port, delivery)
            shown = messages.wait_for(len(deliveries()))
            refused = [one for one in shown if one["verdict"] == "deny" and one["policy"] == "github" and one["body_sha256"]][-1]
            print(f"{len(shown)} webhooks were sent; {len(upstream.requests)} reached the application. See them, and why the others were refused:\n\n"
                  f"    {messages.url}\n\n"
                  f"One that was refused, and can be sent again: {messages.url}/?id={refused['id']}", flush=True)
            if arguments.once:
                answer = messages.resubmit(refused["id"])
                print(f"sent again: {answer.body.decode()}")
                page = urllib.request.urlopen(messages.url, timeout=5).read()
                return 0 if answer.json == {"status": 200} and b"Webhook messages" in page else 1
            print("Ctrl-C ends it.", flush=True)
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                return 0


if __name__ == "__main__":
    sys.exit(main())
