"""A real browser: Chromium without a window, driven by WebDriver.

Responsible for finding it (on the PATH, or what `.ci/browser` has unpacked) and for starting it so that it runs without being
installed. It knows nothing of the page.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from harness.envoy import ROOT

UNPACKED = ROOT / "target/tools/browser"
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


def find_browser() -> tuple[Path, Path] | None:
    """The browser and its driver; nothing where there are none."""
    installed = shutil.which("chromium"), shutil.which("chromedriver")
    if all(installed):
        return Path(installed[0]), Path(installed[1])
    unpacked = UNPACKED / "usr/lib/chromium/chromium", UNPACKED / "usr/bin/chromedriver"
    return unpacked if all(path.exists() for path in unpacked) else None


@contextmanager
def browser(folder: Path, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser that keeps what it keeps in `folder`."""
    program, driver = find_browser()
    (folder / "fonts.conf").write_text(FONTS.format(fonts=UNPACKED / "usr/share/fonts", cache=folder / "fonts"))
    libraries = ":".join(sorted({str(path.parent) for path in UNPACKED.rglob("*.so*")}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": str(folder / "fonts.conf"), "TZ": "UTC"}
    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    # Inside a container there is neither a sandbox nor much shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1440,900",
                     f"--user-data-dir={folder / 'profile'}", "--force-prefers-reduced-motion", "--no-proxy-server",
                     *(["--blink-settings=preferredColorScheme=0"] if dark else [])):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(str(driver), env=environment))
    try:
        yield running
    finally:
        running.quit()
