"""What all tests share: the module must be there, and a failure shows what Envoy had to say."""

import pytest

pytest.register_assert_rewrite("harness.gateway")

from harness.envoy import find_module  # noqa: E402  (the line above has to come first)
from harness.gateway import Gateway  # noqa: E402


def pytest_sessionstart() -> None:
    if not find_module().exists():
        pytest.exit(f"no module at {find_module()}: run `make wasm` first, or set WEBHOOK_GUARD_WASM", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Gateway):
                report.sections.append((f"Envoy's log of `{name}` ends", value.envoy.tail()))
    return report
