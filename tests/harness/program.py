"""Runs the command line `webhook-guard` against a gateway, as an operator would."""

import os
import subprocess
from pathlib import Path

from harness.envoy import ROOT


def find_program() -> Path:
    """WEBHOOK_GUARD=/path, else what `make cli` builds."""
    return Path(os.environ.get("WEBHOOK_GUARD", ROOT / "target/cli/webhook-guard"))


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """In the project's root, with no environment but `env`, so that no secret of this machine is taken for one."""
    return subprocess.run([find_program(), *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
