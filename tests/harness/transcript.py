"""The shell sessions of the READMEs under envoy/: what they say to type and what they say one sees, run as they stand.

Responsible for reading a session, typing it into one bash, and comparing. In `Room` that happens on a machine of its own as far
as ports and /etc go: so the commands run to the letter, and leave nothing behind.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.envoy import find_envoy

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MARK = "\x1e"
# What a person does without being told: wait until Envoy is up before typing on.
WAIT = """for _ in $(seq 200); do grep -q 'starting workers' "$log" && break; kill -0 $! || { cat "$log" >&2; exit 9; }; sleep 0.05; done"""
LOOPBACK = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
# The folder that is mounted over /etc keeps what is there, and takes what is written.
ENTER = f"""set -e
mount -t tmpfs tmpfs /dev/shm
mkdir /dev/shm/upper /dev/shm/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/dev/shm/upper,workdir=/dev/shm/work /etc
{sys.executable} -c "{LOOPBACK}"
set +e
"""
UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@dataclass(frozen=True)
class Step:
    """One command, and the lines that the README shows under it, if any."""

    where: str
    command: str
    shown: list[str] = field(default_factory=list)

    def check(self, output: str) -> None:
        """`…` stands for anything, a UUID for any UUID; what follows two blanks and a # is the README's own remark."""
        if self.shown:
            lines = output.splitlines()
            wanted = [re.sub(r"\s{2,}#.*", "", line) for line in self.shown]
            assert len(lines) == len(wanted) and all(map(re.fullmatch, map(_pattern, wanted), lines)), (
                f"{self.where}: $ {self.command}\nthe README shows\n" + "\n".join(wanted) + f"\nand there came\n{output}")


def _pattern(line: str) -> str:
    parts = re.split(f"(…|{UUID})", line)
    return "".join(".*" if part == "…" else UUID if re.fullmatch(UUID, part) else re.escape(part) for part in parts)


def steps(readme: Path) -> list[Step]:
    """All commands of a README's console blocks, in order."""
    found: list[Step] = []
    inside = False
    for number, line in enumerate(readme.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Step(f"{readme.parent.name}/{readme.name}:{number}", line.removeprefix("$ ")))
        elif inside:
            found[-1].shown.append(line)
    return found


def programs(folder: Path, scripts: dict[str, str]) -> dict[str, str]:
    """An environment in which `scripts` and the Envoy under test are on the PATH."""
    folder.mkdir()
    (folder / "envoy").symlink_to(find_envoy().resolve())
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    # Without what `make` leaves for a make that it calls itself: here nobody shares its jobs.
    kept = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return kept | {"PATH": f"{folder}:{os.environ['PATH']}"}


def follow(session: list[Step], folder: Path, environment: dict[str, str], logs: Path, *, before: str = "", shell: tuple[str, ...] = ("bash",),
           after: Callable[[Step], str] = lambda _: "") -> None:
    """Types the commands into one bash in `folder`, and checks each one's output; all must succeed.

    `before` is run first, and what `after` returns follows a command. What runs in the background writes to `logs`.
    """
    script = [before]
    for number, step in enumerate(session):
        background = re.fullmatch(r"(.*[^&])&\s*(#.*)?", step.command)
        command = f'log={logs}/{number}; ( {background[1]}) >"$log" 2>&1 &\n{WAIT}' if background else step.command
        script += [f"printf '{MARK}'", command, f"printf '{MARK}%s' $?", after(step)]
    done = subprocess.run([*shell, "-c", "\n".join(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    _, *said = done.stdout.split(MARK)
    for step, output, status in zip(session, said[::2], [*said[1::2], None, None], strict=False):
        assert status is not None and status.split("\n")[0] == "0", f"{step.where}: $ {step.command}\nstatus {status}\n{output}\n{done.stderr}"
        step.check(output)
    assert len(said) == 2 * len(session), done.stderr


class Room:
    """A machine of its own, as far as ports, processes and /etc go. `can_open` says whether this one allows it."""

    shell = (*UNSHARE, "bash")

    @staticmethod
    def can_open() -> bool:
        return shutil.which("unshare") is not None and subprocess.run([*Room.shell, "-c", ENTER + "test -d /etc"], capture_output=True).returncode == 0

    @staticmethod
    def follow(session: list[Step], folder: Path, environment: dict[str, str], logs: Path, *, before: str = "", **options: object) -> None:
        follow(session, folder, environment, logs, before=ENTER + before, shell=Room.shell, **options)
