"""What a hundred refreshes of long lists leave in the memory of the VMs: nothing. In a file of its own, since it takes two minutes."""

import time

import pytest

from harness.client import Request
from harness.feed_server import FeedServer, respond
from harness.feeds import errors, feed, guard, many, start, status, to, until
from harness.load import Load


@pytest.mark.only("wasm", "a dynamic module has no memory of its own that could be measured")
def test_the_memory_of_the_vms_is_flat_over_a_hundred_refreshes_of_three_long_lists(tmp_path):
    with FeedServer(tmp_path) as server:
        counts = {"long": 60_000, "middle": 30_000, "short": 10_000}
        bodies = {name: [many(count, first), many(count - 100, first)] for first, (name, count) in enumerate(counts.items(), 20)}

        def answer(name: str):
            turns = [0]

            def in_turn(connection) -> None:
                turns[0] += 1
                respond(bodies[name][turns[0] % 2])(connection)
            return in_turn

        server.answers = {f"/{name}": answer(name) for name in counts}
        feeds = {name: feed(path=f"/{name}") for name in counts}
        with start(server, guard(feeds), concurrency=2) as gateway:
            fetched = lambda: min(sum(f"GET /{name} " in head for head in server.requests) for name in counts)  # noqa: E731
            until(lambda: fetched() >= 5, seconds=60)
            until(lambda: all(status(gateway, f"/{name}") == 200 for name in counts))

            def unhurried() -> Request:
                time.sleep(0.01)  # two minutes of new connections as fast as they come would use up all ports
                return to("/long")

            with Load(gateway.envoy.port, unhurried) as load:
                at_first = gateway.envoy.linear_memories
                until(lambda: fetched() >= 105, seconds=400)
                assert gateway.envoy.linear_memories == at_first
            assert load.statuses.keys() == {200}
            assert all(errors(gateway, name) == 0 for name in counts), gateway.envoy.tail()
            print(f"\nlinear memories of the VMs with three lists of 100,000 prefixes: {[size >> 20 for size in at_first]} MiB")
