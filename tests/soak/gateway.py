"""A guarded Envoy with all that it can have beside it (an etcd, a provider of addresses, a configuration that is reloaded), and what becomes of them.

Responsible for what happens to a gateway in an hour, and for knowing when: while something is changed, and until all workers have seen it, an answer
may be that of before or that of after. It sends nothing but what finds that out.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

from harness import client, shipped
from harness.envoy import FILTER_TYPE, GUARD, LOGGER, Envoy, bootstrap
from harness.etcd import Etcd
from harness.feed_server import FeedServer, respond
from harness.feeds import feed, hooks
from harness.streams import Streams

from fuzz.envoy.judge import Application
from fuzz.envoy.traffic import Traffic, guard_config

WORKERS, HELD = 2, 1 << 20
# So many answers in a row on new connections, that both workers have given some.
AGREED, AGREE_SECONDS = 24, 60.0
TAGS = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]


class Spans:
    """When something was so: from when to when, the last of them maybe still."""

    def __init__(self) -> None:
        self._spans: list[list[float]] = []

    @contextmanager
    def span(self) -> Iterator[None]:
        self._spans.append([time.monotonic(), float("inf")])
        try:
            yield
        finally:
            self._spans[-1][1] = time.monotonic()

    def overlap(self, since: float) -> bool:
        """Whether it was so at any time since then."""
        return any(end >= since for _, end in self._spans[-3:])

    def holds(self, at: float) -> bool:
        """Whether it was so at that time."""
        return any(begin <= at <= end for begin, end in self._spans)


class Gateway:
    """As a context manager. `is_open` says whether the provider's list has the address from which everything is sent."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._version = folder, 0
        self.etcd_away, self.crowded, self.list_changes = Spans(), Spans(), Spans()
        self.is_open = True
        self.counts = {"reloads": 0, "refused configurations": 0, "etcd restarts": 0, "list changes": 0, "times crowded": 0}

    def __enter__(self) -> "Gateway":
        with ExitStack() as stack:
            self.application = stack.enter_context(Application())
            self.etcd = stack.enter_context(Etcd())
            self._provider = stack.enter_context(FeedServer(self._folder))
            self._provider.answer = respond(self._list())
            envoy = Envoy(self._envoy_config(), concurrency=WORKERS, files={"guard.json": self._guard()})
            self.envoy = stack.enter_context(envoy)
            # A line for each refusal would be the better part of a gigabyte.
            self.envoy.admin(f"/logging?{LOGGER}=warning", post=True)
            self._probes = Traffic(random.Random(), f"probe-{GUARD}")
            self._until_agreed(lambda: self._probe("once") == 200 and self._probe("addressed") == 200)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # What happens to it

    def reload(self) -> None:
        """Another configuration, or every third time one that has to be refused."""
        self._version += 1
        refused = (r"\.(update_rejected|config_fail)$", "refused configurations")
        counter, key = refused if self._is_wrong else (r"\.config_reload$", "reloads")
        before = sum(self.envoy.stats(counter).values())
        self.envoy.write("guard.json", self._guard())
        self.envoy.wait_for_stat(counter, before + 1)
        self.counts[key] += 1

    def restart_etcd(self, stop: Event) -> None:
        with self.etcd_away.span():
            self.etcd.kill()
            stop.wait(random.uniform(0.5, 6))
            self.etcd.start()
            self._until_agreed(lambda: self._probe("once") == 200)
        self.counts["etcd restarts"] += 1

    def change_list(self) -> None:
        with self.list_changes.span():
            self.is_open = not self.is_open
            self._provider.answer = respond(self._list())
            self._until_agreed(lambda: self._probe("addressed") == (200 if self.is_open else 403))
        self.counts["list changes"] += 1

    def crowd(self, stop: Event) -> None:
        """As many unfinished deliveries as the guard's limit admits, and more, on as many connections as meet all workers."""
        with self.crowded.span():
            with ExitStack() as stack:
                for _ in range(4 * WORKERS):
                    held = stack.enter_context(Streams(self.envoy.port))
                    while not any(answer.status == 503 for answer in held.answers.values()):
                        for _ in range(50):
                            held.open(self._probes.good("github").request)
                        held.settle()
                stop.wait(2)
            # Envoy hears in its own time that they are gone.
            self._until_agreed(lambda: self._probe("github") == 200)
        self.counts["times crowded"] += 1

    # What it is

    def _probe(self, policy: str) -> int:
        delivery = self._probes.good(policy)
        self.application.expect(delivery)
        status = client.h1_length(self.envoy.port, delivery.request).status
        self.application.forget(delivery)
        return status

    @staticmethod
    def _until_agreed(holds: Callable[[], bool]) -> None:
        deadline, agreed = time.monotonic() + AGREE_SECONDS, 0
        while agreed < AGREED:
            agreed = agreed + 1 if holds() else 0
            if time.monotonic() > deadline:
                raise AssertionError("what was changed has not taken effect")
            time.sleep(0 if agreed else 0.05)

    def _list(self) -> bytes:
        return hooks(*(["127.0.0.0/8"] if self.is_open else ["192.0.2.0/24"]), *(f"198.51.100.{n}" for n in range(0, 200, 2)))

    def _guard_config(self) -> dict:
        memory = {"etcd": {"cluster": "etcd", "timeout_ms": 5000}}
        config = guard_config({"feed": "hooks"}, feeds={"hooks": feed()}, memory=memory, held_bytes=HELD)
        token = {"bearer": True, "secrets": [{"value": "a-token-of-nobody"}]}
        more = {"name": f"more-{self._version}", "match": {"path": "/more"}, "requires" if self._is_wrong else "require": {"token": token}}
        config["policies"].insert(self._version % len(config["policies"]), more)
        return config

    @property
    def _is_wrong(self) -> bool:
        """Whether this version of the configuration is one that has to be refused."""
        return self._version % 3 == 2

    def _guard(self) -> str:
        """The filter as Envoy's file of a discovered extension has it."""
        whole = bootstrap(self._guard_config(), upstream_port=1)
        resource = {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": "guard"}
        return json.dumps({"resources": [resource | {"typed_config": _manager(whole)["http_filters"][0]["typed_config"]}]})

    def _envoy_config(self) -> dict:
        clusters = [self.etcd.cluster(), self._provider.cluster("feeds")]
        config = bootstrap(self._guard_config(), upstream_port=self.application.port, stats_tags=TAGS, clusters=clusters)
        config |= {"node": {"id": "gateway", "cluster": "gateway"}}
        manager, source = _manager(config), {"path_config_source": {"path": "./guard.json"}}
        manager["http_filters"][0] = {"name": "guard", "config_discovery": {"config_source": source, "type_urls": [FILTER_TYPE]}}
        # Every record is made, with all that it says, and none is kept.
        manager["access_log"][0]["typed_config"]["path"] = os.devnull
        return config


def _manager(config: dict) -> dict:
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
