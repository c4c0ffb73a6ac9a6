"""What `make bench` tells of webhook-guard alone: its host calls, its core in two engines, its memory under slow senders.

Responsible for these readings, each off the real thing: Envoy's trace, Envoy's V8, the process' map of memory.
"""

import re
import socket
import urllib.request
from collections import Counter
from pathlib import Path

import contenders
from harness.envoy import Envoy
from harness.rig import Load, Rig


# dudect's: of that |t| and more the two classes of values take different times.
TELLS = 4.5


def table(head: list[str], rows: list[list[str]]) -> None:
    """Prints a table in Markdown."""
    print("| " + " | ".join(head) + " |\n| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def calls(envoy: Envoy, load: Load, request: Path) -> list[list[str]]:
    """Entries into the VM and calls out of it, by name, for one request. At the level `trace` the guard writes lines that
    it otherwise would not: these are left out."""
    envoy.admin("/logging?wasm=trace", post=True)
    before = len(envoy.log_text())
    load.send(envoy.port, request, 1, connections=1)
    envoy.wait_for_log("proxy_on_delete")
    envoy.admin("/logging?wasm=info", post=True)
    found = re.findall(r"\[(host->vm|vm->host)\] (?:env\.)?(proxy_(?!log\b)\w+)\(", envoy.log_text()[before:])
    return [[f"`{name}`" + " (entry)" * (way == "host->vm"), str(number)] for (way, name), number in Counter(found).items()]


def core(module: Path) -> list[list[str]]:
    """The rows of the micro benchmark: natively, and in the V8 of this Envoy."""
    with Rig("core") as native:
        lines = native.process.stdout.read().splitlines()
    in_v8 = {}
    with Envoy(contenders.bootstrap([contenders.wasm(module, "", name="core")], {"upstream": 1})) as envoy:
        for group, name, nanoseconds in re.findall(r"core\t([^\t]+)\t([^\t]+)\t(\S+)", envoy.log_text()):
            in_v8[group, name] = float(nanoseconds)
    rows, last = [], None
    for group, name, nanoseconds in (line.split("\t") for line in lines):
        rows.append([group if group != last else "", name, f"{float(nanoseconds):.0f}", f"{in_v8[group, name]:.0f}"])
        last = group
    return rows


def timing(module: Path) -> tuple[list[list[str]], bool]:
    """|t| of each comparison, natively and in the V8 of this Envoy; and whether just those tell something that should."""
    with Rig("timing") as native:
        texts = [native.process.stdout.read()]
    with Envoy(contenders.bootstrap([contenders.wasm(module, "", name="timing")], {"upstream": 1})) as envoy:
        with urllib.request.urlopen(f"http://127.0.0.1:{envoy.port}/", timeout=600) as reply:
            texts.append(reply.read().decode())
    rows: dict[str, list[str]] = {}
    is_right = True
    for what, should, t in (line.split("\t") for text in texts for line in text.splitlines()):
        rows.setdefault(what, []).append(t)
        is_right &= (float(t) >= TELLS) == bool(should)
    return [[what, *ts] for what, ts in rows.items()], is_right


def held() -> list[list[str]]:
    """The memory with so many requests of which half the body has come and the rest does not."""
    head = (f"POST {contenders.PATH}?token={contenders.TOKEN} HTTP/1.1\r\nhost: {contenders.HOST}\r\n"
            f"content-length: {128 << 10}\r\nx-hub-signature-256: sha256={'0' * 64}\r\n\r\n").encode()
    rows, held = [], []
    with Rig("upstream") as upstream:
        clusters = {"upstream": int(upstream.line())}
        with Envoy(contenders.bootstrap(contenders.guard(contenders.policy(addresses=1)), clusters)) as envoy:
            for number in (0, 10, 100, 1000):
                while len(held) < number:
                    held.append(socket.create_connection(("127.0.0.1", envoy.port)))
                    held[-1].sendall(head + b"x" * (64 << 10))
                envoy.wait_for_stat(r"downstream_rq_active$", number)
                rows.append([str(number), str(max(envoy.linear_memories) >> 10), str(envoy.resident_kib >> 10)])
            for connection in held:
                connection.close()
    return rows
