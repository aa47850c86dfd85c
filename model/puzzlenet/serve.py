"""``puzzlenet serve``: check a version against its digest, then run TorchServe on it, fenced in.

TorchServe gets no security patches upstream any more, so it is given as little as possible: only the verified
archive, no management API beyond loopback and none for models, no URL to load from, no gRPC beyond loopback, no
plugins, bounded bodies, and a working folder of its own so that the root file system can be read-only.
"""

import logging
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from puzzlenet.errors import PuzzleNetError
from puzzlenet.manifest import Version
from puzzlenet.records.settings import from_environment, read_token
from puzzlenet.signing import verify_signed

log = logging.getLogger("puzzlenet")
MAX_BODY = 12 * 1024 * 1024
REFUSED = 65
"""Exit code for a version that is refused (EX_DATAERR of sysexits.h): the operator need not wait for a better try."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """Ports and limits of one server. ``drain`` is how many seconds it goes on answering after SIGTERM."""

    model_dir: Path
    version: str
    workdir: Path
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside it
    port: int = 8080
    metrics_port: int = 8082
    management_port: int = 8081
    grpc_port: int = 7070
    grpc_management_port: int = 7071
    heap_mib: int = 192
    threads: int = 1
    drain: float = 3.0
    queue: int = 200
    timeout: int = 30
    verify_keys: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        ports = (self.port, self.metrics_port, self.management_port, self.grpc_port, self.grpc_management_port)
        for port in ports:
            if not 1 <= port <= 65535:
                raise PuzzleNetError(f"port {port}: choose one between 1 and 65535")
        if len(set(ports)) != len(ports):
            raise PuzzleNetError(
                "two ports are the same: inference, metrics, management and both gRPC ports must differ"
            )
        if not 96 <= self.heap_mib <= 8192:
            raise PuzzleNetError(f"--heap {self.heap_mib}: choose 96 to 8192 MiB")


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute, and with which environment."""

    command: tuple[str, ...]
    environment: dict[str, str]


def prepare(config: ServeConfig, environment: dict[str, str]) -> tuple[Version, Launch]:
    """Verify the version and write the server's files. Raises BadVersionError or PuzzleNetError; starts nothing."""
    version = verify_signed(config.model_dir, config.version, config.verify_keys)
    records = from_environment({**environment, "PUZZLENET_VERSION": version.digest})
    if records and records.token_file:
        try:
            read_token(records.token_file)
        except PuzzleNetError as exc:
            # What is recorded is worth less than what is served; the sender looks for the token again.
            log.warning("nothing is recorded until the monitor's token is there: %s", exc)
    java = _java(environment)
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise PuzzleNetError("TorchServe is not installed: install the project's 'model' extra")
    home = Path(spec.origin).parent.parent
    folders = {name: config.workdir / name for name in ("tmp", "logs", "store")}
    try:
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        # The verified bytes are what is served: a later change of the model folder changes nothing here.
        shutil.copyfile(config.model_dir / "puzzlenet.mar", folders["store"] / "puzzlenet.mar")
        (config.workdir / "config.properties").write_text(properties(config))
        (config.workdir / "metrics.yaml").write_text(METRICS)
        (config.workdir / "log4j2.xml").write_text(_LOGGING)
    except OSError as exc:
        raise PuzzleNetError(
            f"cannot write to {config.workdir}: {exc.strerror}; give --workdir a writable folder"
        ) from exc
    command = _command(config, java, home)
    return version, Launch(command, _environment(config, version.digest, environment))


def properties(config: ServeConfig) -> str:
    """``config.properties`` of TorchServe 0.12 (docs/configuration.md of that release)."""
    work = config.workdir
    lines = {
        "inference_address": f"http://{config.host}:{config.port}",
        "metrics_address": f"http://{config.host}:{config.metrics_port}",
        "management_address": f"http://127.0.0.1:{config.management_port}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_inference_port": str(config.grpc_port),
        "grpc_management_address": "127.0.0.1",
        "grpc_management_port": str(config.grpc_management_port),
        "model_store": str(work / "store"),
        "load_models": "puzzlenet=puzzlenet.mar",
        "allowed_urls": "nothing://",  # a pattern that no URL matches
        "use_env_allowed_urls": "false",
        "enable_envvars_config": "false",
        "enable_model_api": "false",
        "disable_token_authorization": "true",  # its tokens go to a file; nothing that needs one can be reached
        "install_py_dep_per_model": "false",
        "metrics_mode": "prometheus",
        "metrics_config": str(work / "metrics.yaml"),
        "disable_system_metrics": "true",
        "decode_input_request": "false",  # the handler reads JSON itself, so that bad JSON is a 400
        "default_workers_per_model": "1",
        "default_response_timeout": str(config.timeout),
        "default_startup_timeout": "120",
        "unregister_model_timeout": str(config.timeout),
        "job_queue_size": str(config.queue),
        "number_of_netty_threads": "2",
        "netty_client_threads": "1",
        "max_request_size": str(MAX_BODY),
        "max_response_size": str(MAX_BODY),
        "number_of_gpu": os.environ.get("PUZZLENET_GPUS", "0"),
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _command(config: ServeConfig, java: str, home: Path) -> tuple[str, ...]:
    supervisor = (sys.executable, "-I", str(Path(__file__).with_name("supervisor.py")))
    return (
        *supervisor,
        str(config.drain),
        str(config.timeout),
        str(config.port),
        java,
        f"-Xmx{config.heap_mib}m",
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:MaxMetaspaceSize=128m",
        "-XX:MaxDirectMemorySize=96m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Dlog4j2.formatMsgNoLookups=true",
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={config.workdir / 'tmp'}",
        f"-Dlog4j.configurationFile=file://{config.workdir / 'log4j2.xml'}",
        "-cp",
        str(home / "ts" / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(config.workdir / "config.properties"),
        "-s",
        str(config.workdir / "store"),
        "-ncs",
    )


def _environment(config: ServeConfig, digest: str, environment: dict[str, str]) -> dict[str, str]:
    """The caller's environment without what would change TorchServe behind our back."""
    kept = {key: value for key, value in environment.items() if not key.startswith("TS_")}
    for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        kept.pop(secret, None)
    threads = str(config.threads)
    return kept | {
        "PUZZLENET_VERSION": digest,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads would eat the CPU limit of the pod
        "TS_DECODE_INPUT_REQUEST": "false",
        "LOG_LOCATION": str(config.workdir / "logs"),
        "METRICS_LOCATION": str(config.workdir / "logs"),
        "TMPDIR": str(config.workdir / "tmp"),
        "HOME": str(config.workdir),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _java(environment: dict[str, str]) -> str:
    home = environment.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    if java is None:
        raise PuzzleNetError("java is not found: install a Java 17 runtime, or set JAVA_HOME to one")
    return java


# Label values are added to each line by the front end: ModelName and Level only where listed, Hostname always.
METRICS = """\
ts_metrics:
  counter:
    - {name: Requests2XX, unit: Count, dimensions: [Level, Hostname]}
    - {name: Requests4XX, unit: Count, dimensions: [Level, Hostname]}
    - {name: Requests5XX, unit: Count, dimensions: [Level, Hostname]}
    - {name: ts_inference_requests_total, unit: Count, dimensions: [model_name, model_version, hostname]}
    - {name: ts_inference_latency_microseconds, unit: Microseconds, dimensions: [model_name, model_version, hostname]}
    - {name: ts_queue_latency_microseconds, unit: Microseconds, dimensions: [model_name, model_version, hostname]}
  gauge:
    - {name: QueueTime, unit: Milliseconds, dimensions: [Level, Hostname]}
    - {name: WorkerThreadTime, unit: Milliseconds, dimensions: [Level, Hostname]}
    - {name: WorkerLoadTime, unit: Milliseconds, dimensions: [WorkerName, Level, Hostname]}
model_metrics:
  counter:
    - {name: puzzlenet_predictions_total, unit: Count, dimensions: [label]}
    - {name: puzzlenet_low_confidence_total, unit: Count, dimensions: []}
    - {name: puzzlenet_bad_input_total, unit: Count, dimensions: []}
    - {name: puzzlenet_records_sent_total, unit: Count, dimensions: []}
    - {name: puzzlenet_records_dropped_total, unit: Count, dimensions: []}
    - {name: puzzlenet_records_failed_total, unit: Count, dimensions: []}
    - {name: puzzlenet_records_refused_total, unit: Count, dimensions: [reason]}
    - {name: puzzlenet_record_images_total, unit: Count, dimensions: [outcome]}
    - {name: puzzlenet_records_sends_total, unit: Count, dimensions: []}
    - {name: puzzlenet_records_send_seconds_total, unit: Seconds, dimensions: []}
  gauge:
    - {name: puzzlenet_records_queue, unit: Count, dimensions: []}
    - {name: HandlerTime, unit: ms, dimensions: [ModelName, Level]}
    - {name: PredictionTime, unit: ms, dimensions: [ModelName, Level]}
"""

# Everything to the console, where a container's logs belong; no line for each request.
_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="STDOUT" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="warn"/>
    <Logger name="MODELMETRICS" level="off"/>
    <Logger name="TSMETRICS" level="off"/>
    <Logger name="MODEL_LOG" level="info"/>
    <Logger name="io.netty" level="error"/>
    <Logger name="org.apache" level="off"/>
    <Logger name="org.pytorch.serve.wlm" level="warn"/>
    <Root level="info"><AppenderRef ref="STDOUT"/></Root>
  </Loggers>
</Configuration>
"""
