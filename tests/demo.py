"""`make demo`: webhooks, good and bad, through a real Envoy that runs envoy/standalone/envoy.yaml; with GUARD=native
envoy/native/envoy.yaml, which has the same policies.

Responsible for the gateway, and for what only it can tell: the reasons in the access log, and every byte that the
application was sent. The deliveries are the command line's own (`webhook-guard sign` and `try`), the file is the one that
a user copies (`harness.shipped`). It exits 0 only if each delivery met the verdict that it should, for the right reason.
"""

import re
import shlex
import sys
import time

from harness import program, shipped
from harness.deliveries import SECRETS
from harness.envoy import GUARD, Envoy
from harness.upstream import Upstream

# One for each way of keeping others out: a signature, a signature with a time, and an address with a token in the URL.
POLICIES = ["github", "slack", "build-server"]
FILE = {"wasm": "standalone/envoy.yaml", "native": "native/envoy.yaml"}[GUARD]


def run(*arguments: str) -> tuple[bool, list[str]]:
    """Whether the program is content, and the verdicts that it expected, in order: `ok`, or the reason of a refusal."""
    print(f"$ webhook-guard {shlex.join(arguments)}", flush=True)
    result = program.run(*arguments, env=SECRETS)
    print(result.stdout + result.stderr)
    sent = [line for line in result.stdout.splitlines() if line.endswith(("as expected", "WRONG"))]
    reasons = [re.search(r"  (?:[45]\d\d ([a-z_]+)|forwarded)  ", line) for line in sent]
    return result.returncode == 0, [found[1] or "ok" if found else "ok" for found in reasons]


def records(envoy: Envoy, count: int) -> list[dict]:
    deadline = time.monotonic() + 10
    while len(found := envoy.access_log()) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"the access log is not complete; Envoy's log ends:\n{envoy.tail()}")
        time.sleep(0.05)
    return found


def main() -> int:
    with Upstream() as upstream, Envoy(shipped.load(FILE, upstream.port, once=True), env=SECRETS) as envoy:
        url = f"http://127.0.0.1:{envoy.port}"
        signed = run("sign", "--provider", "github", "--secret-env", "GITHUB_WEBHOOK_SECRET",
                     "--url", f"{url}/flexdeploy/webhooks/v1/github", "--send")
        tried = run("try", "--config", f"envoy/{FILE}", "--url", url,
                    *(word for name in POLICIES for word in ("--policy", name)))
        expected = signed[1] + tried[1]
        log = records(envoy, len(expected))
    reasons = [record["reason"] for record in log]
    right = sum(one == other for one, other in zip(reasons, expected, strict=True))
    stray = upstream.bytes_received - sum(len(request.head) + len(request.body) for request in upstream.requests)
    seen = [request.target.decode() for request in upstream.requests] + [record["path"] for record in log]
    tokens = sum("token=" in target for target in seen)
    print(f"{len(log)} webhooks sent, {len(upstream.requests)} reached the application; {expected.count('ok')} should have.\n"
          f"Reasons in the access log: {right} of {len(log)} as expected. "
          f"Bytes of refused webhooks that reached the application: {stray}.\n"
          f"URL tokens that reached the application or the access log: {tokens}.")
    print("Each of them, with its checks: `make messages` shows them on a page, where a refused one can be sent again.")
    is_right = signed[0] and tried[0] and len(upstream.requests) == expected.count("ok")
    return 0 if is_right and right == len(log) and not stray and not tokens else 1


if __name__ == "__main__":
    sys.exit(main())
