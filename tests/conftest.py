"""What all tests share: the module must be there, a failure shows what Envoy had to say, and what only one of the two
forms of the guard has is tested with that one alone."""

import pytest

pytest.register_assert_rewrite("harness.gateway")

# The files that take longest, which are begun first: else the last of them runs alone while the others' work is done.
LONGEST = ["test_feeds_memory", "test_memory", "test_feeds", "test_duplicates", "test_exhaustion", "test_etcd"]

from harness.envoy import GUARD, find_module, find_native  # noqa: E402  (the line above has to come first)
from harness.gateway import Gateway  # noqa: E402


def pytest_sessionstart() -> None:
    if not find_module().exists():
        pytest.exit(f"no module at {find_module()}: run `make wasm` first, or set WEBHOOK_GUARD_WASM", returncode=2)
    if GUARD == "native" and not find_native().exists():
        pytest.exit(f"no module at {find_native()}: run `make native` first, or set WEBHOOK_GUARD_NATIVE", returncode=2)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only(guard, why): what this tests has no counterpart in the other form of the guard")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        for only in item.iter_markers("only"):
            if only.args[0] != GUARD:
                item.add_marker(pytest.mark.skip(reason=f"only {only.args[0]}: {only.args[1]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Gateway):
                report.sections.append((f"Envoy's log of `{name}` ends", value.envoy.tail()))
    return report
