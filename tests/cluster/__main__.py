"""Command line of the test cluster."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.cluster import addons, golang, images, lifecycle, namespace
from tests.cluster.external import NEEDED_VARIABLES, external
from tests.cluster.kube import local
from tests.cluster.lock import exclusive
from tests.cluster.progress import say
from tests.cluster.settings import KSERVE_VERSION, KUBERNETES_VERSION, Paths, default_paths
from tests.cluster.shell import ClusterError, tail

DESCRIPTION = f"""\
A real single-node Kubernetes {KUBERNETES_VERSION} on this machine, with Knative Serving, Kourier,
KServe {KSERVE_VERSION}, MinIO and Prometheus, made from package registries alone (Debian packages, Go modules,
PyPI). Needs root on a Debian 12.

It lives in namespaces of its own: its network, mounts and processes end with it. The host keeps three routes while it
runs, and the Debian packages. All state is in one folder, $PUZZLE_STATE (default: puzzlemodel in the user's cache
folder): build/ is a cache, cluster/ the live cluster, logs/ what each stage printed.

When KUBECONFIG names a cluster of your own, that one is checked and used, and nothing is started here.
"""
EPILOG = """\
examples:
  python -m tests.cluster up                         bring it up (20 to 25 minutes the first time, then 1 to 2)
  python -m tests.cluster exec -- kubectl get pods -A
  eval "$(python -m tests.cluster env)"              kubectl, helm and addresses for this shell
  python -m tests.cluster images                     build the project's images, bring them into the cluster
  python -m tests.cluster logs kubelet               the last lines of a node program or of a stage
  python -m tests.cluster enter -- ctr -n k8s.io images ls
  python -m tests.cluster down --all                 also delete images and build caches
"""


def _own_only(paths: Paths, verb: str) -> None:
    if external(paths) is not None:
        raise ClusterError(f"KUBECONFIG names a cluster of your own: `{verb}` works on the local one only; unset it")


def _up(paths: Paths, _arguments: argparse.Namespace) -> int:
    theirs = external(paths)
    if theirs is None:
        with exclusive(paths.lock, "tests.cluster up"):
            lifecycle.up(paths)
        print(f"Ready. KUBECONFIG={paths.kubeconfig}")
        return 0
    missing = theirs.check(paths)
    for problem in missing:
        say(f"FAIL  missing: {problem}")
    if missing:
        raise ClusterError(f"the cluster of KUBECONFIG={theirs.kubeconfig} is reachable, but see above what it lacks")
    print(f"Ready. KUBECONFIG={theirs.kubeconfig} (your own cluster; nothing was changed in it)")
    return 0


def _down(paths: Paths, arguments: argparse.Namespace) -> int:
    if external(paths) is not None:
        say("ok    KUBECONFIG names a cluster of your own: it is left alone")
        return 0
    with exclusive(paths.lock, "tests.cluster down"):
        lifecycle.down(paths, everything=arguments.all)
    return 0


def _status(paths: Paths, _arguments: argparse.Namespace) -> int:
    theirs = external(paths)
    if theirs is not None:
        missing = theirs.check(paths)
        print(f"cluster of your own: {theirs.kubeconfig}: " + ("; ".join(missing) or "has all that is needed"))
        return 1 if missing else 0
    if namespace.init_pid(paths) is None:
        print("down: `python -m tests.cluster up` brings it up")
        return 1
    kube = local(paths)
    if not kube.reachable():
        print("not answering: its processes run, the API server does not; `up` makes it anew, `logs kubelet` says why")
        return 1
    kube.pipe("get", "nodes,pods", "-A", "-o", "wide")
    waiting = kube.unavailable(addons.NAMESPACES)
    complete = paths.ready_file.exists()
    print("ready" if complete and not waiting else f"not ready: {', '.join(waiting) or '`up` has not finished'}")
    print(f"KUBECONFIG={paths.kubeconfig}")
    return 0 if complete and not waiting else 1


def _logs(paths: Paths, arguments: argparse.Namespace) -> int:
    folders = (paths.node_logs, paths.logs)
    if arguments.name is None:
        for path in sorted(path for folder in folders if folder.exists() for path in folder.glob("*.log")):
            print(f"{path.stem:28} {path.stat().st_size:>10} bytes  {path}")
        return 0
    for path in (folder / f"{arguments.name}.log" for folder in folders):
        if path.exists():
            print(tail(path, arguments.lines))
            return 0
    raise ClusterError(f"no log {arguments.name}; `python -m tests.cluster logs` lists them")


def _environment(paths: Paths) -> dict[str, str]:
    theirs = external(paths)
    if theirs is not None:
        given = {name: os.environ[name] for name in NEEDED_VARIABLES if os.environ.get(name)}
        return {"KUBECONFIG": str(theirs.kubeconfig), **given}
    return lifecycle.environment(paths)


def _env(paths: Paths, _arguments: argparse.Namespace) -> int:
    for name, value in _environment(paths).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _exec(paths: Paths, arguments: argparse.Namespace) -> int:
    words = _words(arguments.command)
    if not words:
        raise ClusterError("exec needs a command: python -m tests.cluster exec -- kubectl get pods")
    if external(paths) is None and namespace.init_pid(paths) is None:
        raise ClusterError("the cluster is not running; `python -m tests.cluster up` starts it")
    env = {**os.environ, **_environment(paths)}
    try:
        os.execvpe(words[0], words, env)  # noqa: S606 - this is what exec is for
    except FileNotFoundError as missing:
        raise ClusterError(f"not found: {words[0]}") from missing


def _enter(paths: Paths, arguments: argparse.Namespace) -> int:
    _own_only(paths, "enter")
    return subprocess.run(namespace.enter(paths, *(_words(arguments.command) or ["bash"])), check=False).returncode


def _images(paths: Paths, arguments: argparse.Namespace) -> int:
    _own_only(paths, "images")
    with exclusive(paths.lock, "tests.cluster images"):
        if namespace.init_pid(paths) is None:
            raise ClusterError("the cluster is not running; `python -m tests.cluster up` starts it")
        refs = images.ensure_all(paths, arguments.names or images.PROJECT_IMAGES)
    if arguments.json:
        print(json.dumps(refs, sort_keys=True))
    else:
        print("\n".join(refs.values()))
    return 0


def _tool(paths: Paths, arguments: argparse.Namespace) -> int:
    group = "helm" if arguments.name == "helm" else "kubernetes"
    with exclusive(paths.lock, "tests.cluster tool"):
        folder = golang.build_group(paths, golang.BY_NAME[group])
    print(folder / arguments.name)
    return 0


def _words(command: Sequence[str]) -> list[str]:
    return list(command[1:] if command[:1] == ["--"] else command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: Callable[[Paths, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    verb("up", _up, "bring the cluster up, or check that it is; repairs what an earlier run left half done")
    down = verb("down", _down, "end the cluster at once and clear its links, control groups and state")
    down.add_argument("--all", action="store_true", help="also delete imported images and the build cache")
    verb("status", _status, "nodes, pods and a verdict; exit status 0 when everything is ready")
    logs = verb("logs", _logs, "list the logs, or show the end of one (kubelet, containerd, build-kserve, ...)")
    logs.add_argument("name", nargs="?")
    logs.add_argument("--lines", type=int, default=60, help="how many lines (default 60)")
    run = verb("exec", _exec, "run a command on the host with KUBECONFIG, PATH and the cluster's addresses set")
    run.add_argument("command", nargs=argparse.REMAINDER)
    enter = verb("enter", _enter, "run a command (default: a shell) inside the cluster's namespaces")
    enter.add_argument("command", nargs=argparse.REMAINDER)
    built = verb("images", _images, "build the project's images and bring them into the cluster; prints their names")
    built.add_argument("names", nargs="*", choices=[*images.PROJECT_IMAGES, []], help="which (default: all)")
    built.add_argument("--json", action="store_true", help="one line of JSON: {stage: reference}")
    verb("env", _env, "shell exports: KUBECONFIG, PATH, PUZZLE_* addresses, S3 credentials")
    tool = verb("tool", _tool, "print the path of kubectl or helm, building it first if need be")
    tool.add_argument("name", choices=["kubectl", "helm"])
    return parser


def main() -> int:
    """Run one verb. Returns its exit status: 0 done, 1 failed, 2 wrong call."""
    arguments = _parser().parse_args()
    try:
        status: int = arguments.function(default_paths(), arguments)
    except ClusterError as failure:
        say(f"FAIL  {failure}")
        return 1
    except KeyboardInterrupt:
        say("FAIL  interrupted; running the same command again goes on from here")
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
