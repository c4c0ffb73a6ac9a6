"""Each folder of envoy/ followed as its README says, to the letter; what one sees is what the README shows."""

import pytest

from harness import shipped
from harness.transcript import Room, programs, steps

ALONE = pytest.mark.parametrize("folder", ["standalone", "ecds", "flexdeploy", "per-route"])
pytestmark = pytest.mark.skipif(not Room.can_open(), reason="namespaces are not to be had here: unshare --mount --net --pid")
# Who types is root in here already.
SUDO = {"sudo": 'exec "$@"'}


@ALONE
def test_an_envoy_of_ones_own(folder, tmp_path):
    session = steps(shipped.DIRECTORY / folder / "README.md")
    assert any(step.shown for step in session)
    Room.follow(session, shipped.DIRECTORY / folder, programs(tmp_path / "bin", SUDO), tmp_path)
