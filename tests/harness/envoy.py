"""Starts one real Envoy per configuration, finds its ports, reads what it tells an operator, and ends it.

It builds the configuration around the guard (connection manager, the guard's filter, upstream cluster) and reports logs,
statistics and access-log records as they are. GUARD=native in the environment takes the dynamic module instead of the
Wasm module, for every test. It knows the guard's filter-state keys, because an access-log format
has to name them, and nothing else of the guard: which verdict is right is for the tests to say.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST = (1, 35)  # the first Envoy with allow_on_headers_stop_iteration
START_SECONDS, RECORD_SECONDS = 20.0, 8.0
GUARD = os.environ.get("GUARD", "wasm")
assert GUARD in ("wasm", "native"), f"GUARD={GUARD} is neither wasm nor native"
# The component of Envoy's log that the guard writes to, what its lines begin with, and the type of its filter.
LOGGER, LINE, FILTER_TYPE = {
    "wasm": ("wasm", "wasm log ", "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"),
    "native": ("dynamic_modules", "] webhook_guard: ",
               "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"),
}[GUARD]
# Envoy puts a prefix before the metrics of dynamic modules unless it is told not to: this is what envoy/native/ says.
PLAIN_METRICS = {"layers": [{"name": "metrics", "static_layer": {
    "envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": True}}]}
FILTER_STATE = ["verdict", "reason", "policy", "provider", "delivery_id", "secret_id", "checks", "duplicate",
                "body", "body_encoding", "body_sha256", "body_bytes", "headers"]


class EnvoyRefused(RuntimeError):
    """Envoy did not start; `log` is all it had to say."""

    def __init__(self, log: str) -> None:
        super().__init__(f"Envoy did not start; its log ends:\n{_end(log)}")
        self.log = log


def find_envoy() -> Path:
    """ENVOY=/path, else a new enough `envoy` on the PATH, else the one of the virtual environment."""
    if chosen := os.environ.get("ENVOY"):
        return Path(chosen)
    if (on_path := shutil.which("envoy")) and version(on_path) >= OLDEST:
        return Path(on_path)
    # The binary itself: bin/envoy is a script in front of it.
    installed = next((ROOT / "target/venv/lib").glob("python3*/site-packages/envoy/_bin/envoy"), None)
    if installed is None:
        raise FileNotFoundError("no Envoy: set ENVOY=/path, or install tests/requirements.txt into target/venv")
    return installed


def find_module() -> Path:
    """WEBHOOK_GUARD_WASM=/path, else the release build."""
    default = ROOT / "target/wasm32-wasip1/release/webhook_guard.wasm"
    return Path(os.environ.get("WEBHOOK_GUARD_WASM", default))


def find_native() -> Path:
    """WEBHOOK_GUARD_NATIVE=/path, else what `make native` builds."""
    return Path(os.environ.get("WEBHOOK_GUARD_NATIVE", ROOT / "target/native/libwebhook_guard.so"))


class Bootstrap(dict):
    """An Envoy configuration, and the variables that its process needs for it."""

    process_env: dict[str, str] = {}

    def __or__(self, more: dict) -> "Bootstrap":
        config = Bootstrap(super().__or__(more))
        config.process_env = self.process_env
        return config


class Envoy:
    """A running Envoy, as a context manager. Entering raises `EnvoyRefused` when the configuration is refused.

    `env` is added to its own environment, and `files` (names and texts) stand in the directory that it runs in.
    """

    def __init__(self, config: dict, *, concurrency: int = 1, env: dict[str, str] | None = None,
                 files: dict[str, str] | None = None) -> None:
        self._config, self._concurrency, self._files = config, concurrency, files or {}
        modules = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(find_native().parent)}
        self._env = modules | getattr(config, "process_env", {}) | (env or {})

    def __enter__(self) -> "Envoy":
        self._dir = tempfile.TemporaryDirectory(prefix="webhook-guard-")
        self._path = Path(self._dir.name)
        for name, text in {"envoy.json": json.dumps(self._config), **self._files}.items():
            self.write(name, text)
        # Envoy would run with the directory as its own, so that the access log's path can stay relative.
        with (self._path / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), cwd=self._path, stdout=log, stderr=log,
                                             env=os.environ | self._env)
        try:
            self._wait_ready()
            self.ports = self._listener_ports()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._dir.cleanup()

    @property
    def port(self) -> int:
        """The port of the first listener, which is most often the only one."""
        return next(iter(self.ports.values()))

    def write(self, name: str, text: str) -> None:
        """Puts a file in place in one step: Envoy takes a watched file up when another is moved over it."""
        (self._path / f"{name}.new").write_text(text)
        (self._path / f"{name}.new").rename(self._path / name)

    def read(self, name: str) -> str:
        """A file that Envoy writes, as far as it has come."""
        path = self._path / name
        return path.read_text(errors="replace") if path.exists() else ""

    def admin(self, path: str, *, post: bool = False) -> str:
        url = f"http://{(self._path / 'admin').read_text().strip()}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST" if post else "GET"), timeout=5) as reply:
            return reply.read().decode()

    def stats(self, regex: str) -> dict[str, int]:
        """Counters and gauges whose full name matches."""
        text = self.admin("/stats?usedonly")
        pairs = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        return {name: int(value) for name, value in pairs if value.isdigit() and re.search(regex, name)}

    def prometheus(self) -> str:
        return self.admin("/stats/prometheus?usedonly")

    def metric(self, name: str, **labels: str) -> float:
        """What Prometheus reads: the samples of that name with (at least) these labels, added up."""
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", self.prometheus(), re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(float(value) for found, value in samples if wanted <= set(found.split(",")))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident_kib(self) -> int:
        """The memory of the process, that of its Wasm VMs included."""
        return self._status("VmRSS")

    @property
    def anonymous_kib(self) -> int:
        """What of it is no part of a file: without the program itself, of which more is read the more of it has run."""
        return self._status("RssAnon")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status).group(1))

    @property
    def linear_memories(self) -> list[int]:
        """The bytes of linear memory of each Wasm VM, the smallest first. V8 reserves the whole address space of a
        32-bit memory, and more, and lets the VM use the start of it: in the process' map a writable range with
        gigabytes behind it that nobody may touch."""
        ranges, before = [], (0, 0, "")
        for line in Path(f"/proc/{self._process.pid}/maps").read_text().splitlines():
            place, access = line.split()[:2]
            start, end = (int(text, 16) for text in place.split("-"))
            if access == "---p" and end - start > 4 << 30 and before[1:] == (start, "rw-p"):
                ranges.append(start - before[0])
            before = (start, end, access)
        return sorted(ranges)

    @property
    def memory(self) -> dict:
        return json.loads(self.admin("/memory"))

    def log_text(self) -> str:
        return self.read("envoy.log")

    def access_log(self) -> list[dict]:
        """All records that are complete so far."""
        # By "\n" alone: what a sender wrote may hold what Python takes for the end of a line.
        return [json.loads(line) for line in self.read("access.log").split("\n")[:-1]]

    def record(self, test_id: str) -> dict:
        """The access-log record of the request with this `x-test-id`; waits, since Envoy writes them in batches."""
        deadline = time.monotonic() + RECORD_SECONDS
        while not (found := [record for record in self.access_log() if record["test_id"] == test_id]):
            self._give_up_after(deadline, f"access-log record of {test_id}")
        return found[0]

    def wait_for_log(self, text: str, name: str = "envoy.log") -> str:
        """The first line of Envoy's log, or of another log, that holds `text`."""
        deadline = time.monotonic() + RECORD_SECONDS
        while not (lines := [line for line in self.read(name).splitlines() if text in line]):
            self._give_up_after(deadline, f"line with {text!r} in {name}")
        return lines[0]

    def wait_for_stat(self, regex: str, value: int) -> None:
        """Until the statistics whose name matches come to `value` or more together."""
        deadline = time.monotonic() + RECORD_SECONDS
        while sum(self.stats(regex).values()) < value:
            self._give_up_after(deadline, f"{value} of {regex}")

    def wait_for_metric(self, name: str, value: float) -> None:
        """Until `metric` has come to `value`, which a histogram does only with the next flush."""
        deadline = time.monotonic() + RECORD_SECONDS
        while self.metric(name) < value:
            self._give_up_after(deadline, f"{value} of {name}")

    def tail(self) -> str:
        return _end(self.log_text())

    def _give_up_after(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {RECORD_SECONDS} s; Envoy's log ends:\n{self.tail()}")
        time.sleep(0.02)

    def _command(self) -> list[str]:
        return [str(find_envoy()), "-c", "envoy.json", "--admin-address-path", "admin", "--use-dynamic-base-id",
                # Almost every test waits for one flush of the access log, which is 10 s by default.
                "--concurrency", str(self._concurrency), "--file-flush-interval-msec", "20",
                "--component-log-level", f"{LOGGER}:info", "--drain-time-s", "1"]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.admin("/ready").startswith("LIVE"):
                    return
            except OSError:
                pass  # the address file is not there yet, or nobody listens there, or 503 while initialising
            time.sleep(0.05)
        raise EnvoyRefused(self.log_text())

    def _listener_ports(self) -> dict[str, int]:
        statuses = json.loads(self.admin("/listeners?format=json")).get("listener_statuses", [])
        return {status["name"]: status["local_address"]["socket_address"]["port_value"] for status in statuses}


def bootstrap(guard_config: dict | str | None, *, upstream_port: int, hold: bool = True, option: bool | None = None,
              buffer_behind: bool | None = None, env: dict[str, str] | None = None, struct: bool = False,
              hcm: dict | None = None, route: dict | None = None, text_logs: dict[str, str | None] | None = None,
              stats_tags: list[dict] | None = None, clusters: list[dict] | None = None) -> dict:
    """An Envoy configuration with the guard in front of one upstream.

    `hold` says how the request head is kept back, and sets what goes with it: the option on the filter when true, the
    buffer filter behind it when false. `option` and `buffer_behind` override those, for the tests of a wrong host.
    `struct` hands the configuration over as a Struct instead of JSON text. `hcm` and `route` are merged into the
    connection manager and the one route. `text_logs` are further access logs, by file name, each with its format or
    with Envoy's default one. `clusters` stand beside the upstream's. No `guard_config` at all leaves the guard out.
    """
    if isinstance(guard_config, dict):
        guard_config = {"hold_request_head": hold, **guard_config}
    filters = [] if guard_config is None else [
        guard_filter(guard_config, option=hold if option is None else option, env=env or {}, struct=struct)]
    if not hold if buffer_behind is None else buffer_behind:
        filters.append(_filter("envoy.filters.http.buffer", "buffer.v3.Buffer", max_request_bytes=2 << 20))
    filters.append(_filter("envoy.filters.http.router", "router.v3.Router"))
    manager = _connection_manager(filters, route or {}) | (hcm or {})
    manager["access_log"] += [_text_log(name, text) for name, text in (text_logs or {}).items()]
    config = Bootstrap({
        "admin": {"address": _address(0)},
        "stats_config": {"stats_tags": stats_tags or []},
        "stats_flush_interval": "0.2s",  # histograms are added up then, every 5 s by default
        "static_resources": {
            "listeners": [{"name": "http", "address": _address(0), "filter_chains": [{"filters": [
                {"name": "hcm", "typed_config": manager}]}]}],
            "clusters": [_cluster(upstream_port), *(clusters or [])],
        },
    })
    if GUARD == "native":
        config.process_env, config["layered_runtime"] = env or {}, PLAIN_METRICS
    return config


def _connection_manager(filters: list[dict], route: dict) -> dict:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}} | route
    connect = {"match": {"connect_matcher": {}}, "route": {"cluster": "upstream"}}
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "use_remote_address": True,
        "max_request_headers_kb": 96,  # Envoy's own limit out of the way: long paths have to reach the guard
        "http_protocol_options": {"enable_trailers": True},
        "http2_protocol_options": {"allow_connect": True},
        # As Istio has it. Without this Envoy refuses upgrades by itself and the guard's refusal is never seen.
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "access_log": [_access_log()],
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [connect, route]}]},
    }


def _access_log() -> dict:
    fields = {
        "test_id": "%REQ(X-TEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "protocol": "%PROTOCOL%",
    } | {name: f"%FILTER_STATE(wasm.webhook_{name}:PLAIN)%" for name in FILTER_STATE}
    return _extension("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog",
                      path="access.log", log_format={"json_format": fields})


def _text_log(name: str, text: str | None) -> dict:
    log_format = {} if text is None else {"log_format": {"text_format_source": {"inline_string": text}}}
    return _extension("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path=name, **log_format)


def guard_filter(guard_config: dict | str, *, option: bool, env: dict[str, str], struct: bool) -> dict:
    """The guard as a filter of the chain, in the form that GUARD asks for. `env` is the environment of its VM; as a dynamic
    module it has that of the process, and lists what it reads of it."""
    if GUARD == "native" and isinstance(guard_config, dict) and (variables := sorted(_variables(guard_config))):
        guard_config = {"environment": variables, **guard_config}
    if struct:
        configuration = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": guard_config}
    else:
        text = guard_config if isinstance(guard_config, str) else json.dumps(guard_config)
        configuration = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
    if GUARD == "native":
        return {"name": "envoy.filters.http.dynamic_modules", "typed_config": native(configuration)}
    plugin = {
        "name": "webhook-guard",
        "root_id": "webhook_guard",
        # Not FAIL_RELOAD, which production wants: a trap has to stay visible to the request after it.
        "failure_policy": "FAIL_CLOSED",
        "configuration": configuration,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(find_module())}},
            "environment_variables": {"key_values": env},
        },
    }
    if option:
        plugin["allow_on_headers_stop_iteration"] = True
    return _filter("envoy.filters.http.wasm", "wasm.v3.Wasm", config=plugin)


def _variables(node: object) -> set[str]:
    """The environment variables that secrets of a configuration name."""
    children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = {node["env"]} if isinstance(node, dict) and isinstance(node.get("env"), str) else set()
    return own.union(*map(_variables, children))


def native(configuration: dict) -> dict:
    """The filter of the dynamic module with that configuration."""
    return {"@type": FILTER_TYPE, "dynamic_module_config": {"name": "webhook_guard", "do_not_close": True},
            "filter_name": "webhook_guard", "filter_config": configuration}


def _cluster(port: int) -> dict:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {"name": "upstream", "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": "upstream", "endpoints": [endpoint]}}


def _filter(name: str, kind: str, **config: object) -> dict:
    return _extension(name, f"filters.http.{kind}", **config)


def _extension(name: str, kind: str, **config: object) -> dict:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


def _address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _end(log: str) -> str:
    return "\n".join(log.splitlines()[-15:])


def version(envoy: str | Path) -> tuple[int, ...]:
    """Its number, in three parts."""
    text = subprocess.run([envoy, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0, 0, 0)
