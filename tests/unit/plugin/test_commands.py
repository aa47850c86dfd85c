"""The verbs against an API server on loopback that answers as Kubernetes does: real HTTP, kubeconfig and client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from typer.testing import CliRunner, Result

from puzzle_operator.api.conditions import Phase
from puzzle_operator.plugin.cli import cli
from puzzle_operator.plugin.completion import FLAGS, VERBS, candidates, model_names, quarantined
from puzzle_operator.plugin.completion import main as complete
from tests.builders import V1, V2
from tests.unit.core.world import World, a_canary, a_stable_world
from tests.unit.plugin.moments import a_waiting_world, an_open_canary

GROUP = "/apis/puzzlenet.dev/v1alpha1"


@dataclass
class Api:
    """What the server holds, and how it misbehaves."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By namespace/name."""
    installed: bool = True
    refuses: int = 0
    """Answer everything with this code."""
    conflicts: int = 0
    """So many writes find that the object has moved on."""
    writes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reads: int = 0
    asked: list[str] = field(default_factory=list)
    on_read: Callable[[int], None] = lambda _: None

    def hold(self, world: World) -> None:
        model = json.loads(json.dumps(world.model.body))
        model["status"] = json.loads(world.stored)
        model["metadata"] |= {"resourceVersion": "7", "creationTimestamp": "2026-11-23T13:00:00Z"}
        self.models[f"{model['metadata']['namespace']}/{model['metadata']['name']}"] = model

    def answer(self, verb: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.asked.append(f"{verb} {path}")
        if self.refuses:
            message = 'puzzlemodels.puzzlenet.dev is forbidden: User "ada" cannot get resource'
            return self.refuses, {"kind": "Status", "message": message}
        if not path.startswith(GROUP):
            return 404, {"kind": "Status", "details": {"name": "line-1"}, "message": "not found"}
        if not self.installed:
            return 404, "404 page not found"
        words = path.removeprefix(GROUP).strip("/").split("/")
        if words == ["puzzlemodels"]:
            return 200, {"items": list(self.models.values())}
        if len(words) == 3:
            items = [m for key, m in self.models.items() if key.startswith(words[1] + "/")]
            return 200, {"items": items}
        found = self.models.get(f"{words[1]}/{words[3]}")
        if found is None:
            return 404, {"kind": "Status", "details": {"name": words[3]}, "message": "not found"}
        return self._read(found) if verb == "GET" else self._write(found, query, body)

    def _read(self, found: dict[str, Any]) -> tuple[int, Any]:
        self.reads += 1
        self.on_read(self.reads)
        return 200, found

    def _write(self, found: dict[str, Any], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        named = body.get("metadata", {}).get("resourceVersion")
        if self.conflicts:
            self.conflicts -= 1
            found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        if named is not None and named != found["metadata"]["resourceVersion"]:
            return 409, {"kind": "Status", "message": "the object has been modified"}
        self.writes.append((query.get("dryRun", [""])[0], body))
        return 200, found


@pytest.fixture
def api() -> Iterator[Api]:
    held = Api()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            at = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            code, answer = held.answer(self.command, at.path, parse_qs(at.query), body)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = _serve  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.port = server.server_port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def kubeconfig(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_kubeconfig(tmp_path / "config", api.port, monkeypatch)  # type: ignore[attr-defined]


def write_kubeconfig(path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [
            {"name": "line", "context": {"cluster": "c", "user": "u", "namespace": "lyon"}},
            {"name": "bare", "context": {"cluster": "c", "user": "u"}},
        ],
        "current-context": "line",
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return path


def puzzle(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), env={"NO_COLOR": "1"})


def a_failure() -> World:
    world = a_stable_world(error_rates={V2: 0.5})
    world.model.version(V2)
    return world.until(Phase.ROLLED_BACK)


def test_get_lists_the_contexts_namespace_and_shows_one_as_a_tree(api: Api, kubeconfig: Path) -> None:
    api.hold(a_canary(V2))
    listed, shown = puzzle("get"), puzzle("get", "line-1")
    assert listed.exit_code == 0
    assert listed.stdout.splitlines()[1].split()[:4] == ["line-1", "Canary", "1/2", "10"]
    assert shown.stdout.splitlines()[0] == "lyon/line-1  Canary 1/2  verdict Hold"
    assert "there is no InferenceService yet" in shown.stdout
    assert "\x1b[" not in listed.stdout + shown.stdout


def test_namespaces_contexts_and_kubeconfigs_are_chosen_as_with_kubectl(api: Api, kubeconfig: Path) -> None:
    api.hold(a_stable_world())
    assert "there is no PuzzleModel in namespace metz" in puzzle("get", "-n", "metz").stdout
    assert "there is no PuzzleModel in namespace default" in puzzle("get", "--context", "bare").stdout
    assert puzzle("get", "-A").stdout.splitlines()[1].split()[:3] == ["lyon", "line-1", "Stable"]
    elsewhere = kubeconfig.rename(kubeconfig.with_name("other"))
    assert "line-1" in puzzle("get", "--kubeconfig", str(elsewhere)).stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (403, 'not allowed: puzzlemodels.puzzlenet.dev is forbidden: User "ada"'),
        (401, "not allowed"),
        (500, "the Kubernetes API answers 500"),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(api: Api, kubeconfig: Path, code: int, said: str) -> None:
    api.refuses = code
    for words in (["get"], ["status", "line-1"], ["pause", "line-1"]):
        found = puzzle(*words)
        assert found.exit_code == 2
        assert said in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_a_model_that_is_not_there_and_a_cluster_without_models_are_told_apart(api: Api, kubeconfig: Path) -> None:
    absent = puzzle("explain", "line-9")
    assert absent.exit_code == 2
    assert "there is no PuzzleModel line-9 in namespace lyon" in absent.stderr
    api.installed = False
    for words in (["get"], ["get", "line-1"]):
        found = puzzle(*words)
        assert found.exit_code == 2
        assert "knows no PuzzleModels (puzzlemodels.puzzlenet.dev): install the chart" in found.stderr


def test_no_kubeconfig_a_broken_one_and_a_dead_server_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("]", encoding="utf-8")
    for path in (tmp_path / "none", broken):
        found = puzzle("get", "--kubeconfig", str(path))
        assert found.exit_code == 2
        assert "no usable kubeconfig" in found.stderr
    dead = write_kubeconfig(tmp_path / "config", 1, monkeypatch)
    found = puzzle("get", "--kubeconfig", str(dead))
    assert found.exit_code == 2
    assert "does not answer" in found.stderr
    assert "127.0.0.1:1" in found.stderr
    unknown = puzzle("get", "--kubeconfig", str(dead), "--context", "nowhere")
    assert unknown.exit_code == 2
    assert "`kubectl config get-contexts` lists what --context nowhere may be" in unknown.stderr


def test_status_says_by_exit_code_where_the_version_stands(api: Api, kubeconfig: Path) -> None:
    for world, code in ((a_stable_world(), 0), (a_failure(), 1), (a_canary(V2), 4)):
        api.hold(world)
        assert puzzle("status", "line-1").exit_code == code
    assert puzzle("status", "line-9").exit_code == 2
    assert puzzle("status", "line-1", "--timeout", "soon").exit_code == 2
    assert puzzle("status").exit_code == 2


def test_status_asks_for_the_model_alone(api: Api, kubeconfig: Path) -> None:
    api.hold(a_canary(V2))
    assert puzzle("status", "line-1").exit_code == 4
    assert api.asked == [f"GET {GROUP}/namespaces/lyon/puzzlemodels/line-1"]


def test_waiting_ends_with_the_rollout_or_with_the_time(
    api: Api, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puzzle_operator.plugin.cli._LOOK_EVERY", 0.01)
    world = a_stable_world()
    world.model.version(V2)
    world.tick()
    api.hold(world)
    late = puzzle("status", "line-1", "--wait", "--timeout", "100ms")
    assert late.exit_code == 3
    assert "line-1: still open after the time allowed: challenger 222222222222" in late.stdout

    def play(_: int) -> None:
        world.tick()
        api.hold(world)

    api.on_read = play
    done = puzzle("status", "line-1", "--wait")
    assert done.exit_code == 0
    assert done.stdout == "line-1: version 222222222222 is the champion and has all traffic\n"
    assert "gets 10 %" in done.stderr or "at 10 %" in done.stderr


def test_waiting_ends_with_1_when_somebody_goes_back_to_the_champion(
    api: Api, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puzzle_operator.plugin.cli._LOOK_EVERY", 0.01)
    world = a_canary(V2)
    api.hold(world)

    def play(reads: int) -> None:
        if reads == 3:
            world.model.version(V1)
            world.until(Phase.STABLE)
            api.hold(world)

    api.on_read = play
    found = puzzle("status", "line-1", "--wait")
    assert found.exit_code == 1
    assert "the spec names 111111111111 now instead of 222222222222" in found.stdout


def test_abort_writes_the_champions_version_only_for_the_object_that_was_read(api: Api, kubeconfig: Path) -> None:
    api.hold(a_canary(V2))
    api.conflicts = 2
    found = puzzle("abort", "line-1")
    assert found.exit_code == 0
    assert "lyon/line-1: spec.model.version: 222222222222 becomes 111111111111" in found.stdout
    wanted = {"spec": {"model": {"version": V1}}, "metadata": {"resourceVersion": "9"}}
    assert api.writes == [("", wanted)]


def test_promote_writes_consent_to_the_move_that_was_read(api: Api, kubeconfig: Path) -> None:
    api.hold(a_waiting_world())
    api.conflicts = 1
    tried = puzzle("promote", "line-1", "--dry-run")
    assert "consent to promotion of challenger 222222222222 (dry run, nothing was changed)" in tried.stdout
    done = puzzle("promote", "line-1", "-n", "lyon")
    assert done.exit_code == 0
    assert done.stdout == (
        "puzzlemodel lyon/line-1: consent to promotion of challenger 222222222222\n"
        "  nothing else is missing: the operator goes on at its next look\n"
    )
    written = {"annotations": {"puzzlenet.dev/promote": f"{V2}@promotion"}, "resourceVersion": "8"}
    assert api.writes == [("All", {"metadata": written}), ("", {"metadata": written})]


def test_promote_without_evidence_is_asked_for_by_a_flag(api: Api, kubeconfig: Path) -> None:
    api.hold(an_open_canary())
    refused = puzzle("promote", "line-1")
    assert refused.exit_code == 2
    assert "nothing waits for a person: step 2 (50 %) comes once there is enough evidence" in refused.stderr
    assert api.writes == []
    assert puzzle("promote", "line-1", "--without-evidence").exit_code == 0
    (written,) = [body["metadata"]["annotations"] for _, body in api.writes]
    assert written == {"puzzlenet.dev/promote": f"{V2}@weight-50,without-evidence"}


def test_waiting_ends_with_5_where_a_person_has_to_decide(api: Api, kubeconfig: Path) -> None:
    api.hold(a_waiting_world())
    found = puzzle("status", "line-1", "--wait")
    assert found.exit_code == 5
    assert "promotion waits for a person" in found.stdout
    assert "`kubectl puzzle promote line-1 -n lyon` consents" in found.stdout


def test_an_object_that_never_rests_is_given_up(api: Api, kubeconfig: Path) -> None:
    api.hold(a_canary(V2))
    api.conflicts = 99
    found = puzzle("abort", "line-1")
    assert found.exit_code == 2
    assert "changes faster than it can be edited" in found.stderr
    assert api.writes == []


def test_a_dry_run_asks_the_server_and_changes_nothing(api: Api, kubeconfig: Path) -> None:
    api.hold(a_failure())
    for words in (["retry", "line-1"], ["pause", "line-1"], ["abort", "line-1"]):
        found = puzzle(*words, "--dry-run")
        assert found.exit_code == 0
        assert "(dry run, nothing was changed)" in found.stdout.splitlines()[0]
    assert [kind for kind, _ in api.writes] == ["All"] * 3


def test_retry_pause_and_resume_write_what_the_operator_reads(api: Api, kubeconfig: Path) -> None:
    api.hold(a_failure())
    assert puzzle("retry", "line-1", "2222").exit_code == 0
    assert puzzle("pause", "line-1").exit_code == 0
    resumed = puzzle("resume", "line-1")
    assert resumed.stdout == "puzzlemodel lyon/line-1: spec.paused is false already\n"
    annotated = {"annotations": {"puzzlenet.dev/retry": V2}, "resourceVersion": "7"}
    assert api.writes == [("", {"metadata": annotated}), ("", {"spec": {"paused": True}})]
    wrong = puzzle("retry", "line-1", "9999")
    assert wrong.exit_code == 2
    assert "no quarantined version of lyon/line-1 begins with 9999" in wrong.stderr


def test_watch_writes_a_line_for_each_change_into_a_pipe(
    api: Api, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_canary(V2, requests_per_tick=40)
    api.hold(world)
    naps = 0

    def play(_: int) -> None:
        api.hold(world.run(1))

    def sleep(_: float) -> None:
        nonlocal naps
        naps += 1
        api.refuses = 500 if naps == 3 else 0
        if naps == 5:
            raise KeyboardInterrupt

    api.on_read = play
    monkeypatch.setattr("puzzle_operator.plugin.screen.time.sleep", sleep)
    found = puzzle("watch", "line-1")
    assert found.exit_code == 130
    lines = [line.split(" ", 1)[1] for line in found.stdout.splitlines()]
    assert len(lines) == len(set(lines)) == 5
    assert "the Kubernetes API answers 500" in lines.pop(3)
    assert all(line.startswith("lyon/line-1 Canary 1/2 10 % Hold") for line in lines)


def test_a_wrong_name_is_an_error_and_nothing_to_watch(api: Api, kubeconfig: Path) -> None:
    assert puzzle("watch", "line-9").exit_code == 2
    assert puzzle("watch", "line-1", "-A").exit_code == 2
    assert puzzle("watch", "--interval", "0s").exit_code == 2


def test_help_shows_every_verb_and_the_exit_codes() -> None:
    shown = puzzle("--help").stdout
    assert all(f"\n  {verb} " in shown for verb in VERBS)
    codes = puzzle("status", "--help").stdout
    assert [line.split()[0] for line in codes.splitlines() if line[:3].strip().isdigit()] == list("012345")


def test_every_verb_and_flag_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kubectl-puzzle.md").read_text(encoding="utf-8")
    table = page.split("## Install")[0]
    assert [verb for verb in VERBS if f"`{verb} " not in table] == []
    assert [
        flag for flags in VERBS.values() for flag in flags if flag not in page.replace("`-A`", "--all-namespaces")
    ] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_kubectls_flags_and_a_help_of_80_columns(verb: str) -> None:
    shown = puzzle(verb, "--help").stdout
    assert all(flag in shown for flag in (*FLAGS, *VERBS[verb], "-n,"))
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_every_verb_is_completed_and_nothing_else() -> None:
    registered = {command.name or getattr(command.callback, "__name__", "") for command in cli.registered_commands}
    assert registered == set(VERBS)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["st"], ["status"]),
        (["get", ""], ["line-1"]),
        (["get", "x"], []),
        (["get", "-n", ""], []),
        (["get", "-n", "metz", ""], []),
        (["get", "--namespace=lyon", "li"], ["line-1"]),
        (["get", "line-1", ""], []),
        (["retry", "line-1", ""], ["222222222222"]),
        (["status", "line-1", "--wa"], ["--wait"]),
        (["pro"], ["promote"]),
        (["promote", ""], ["line-1"]),
        (["promote", "line-1", "--w"], ["--without-evidence"]),
        (["promote", "line-1", ""], []),
        (["frobnicate", ""], []),
    ],
)
def test_words_complete(api: Api, kubeconfig: Path, words: list[str], wanted: list[str]) -> None:
    api.hold(a_failure())
    assert candidates(words, model_names, quarantined) == wanted


def test_kubectls_completion_gets_candidates_and_a_directive_even_when_nothing_can_be_read(
    api: Api, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.hold(a_stable_world())
    monkeypatch.setattr("sys.argv", ["kubectl_complete-puzzle", "watch", ""])
    complete()
    assert capsys.readouterr().out == "line-1\n:4\n"
    api.refuses = 403
    complete()
    assert capsys.readouterr() == (":4\n", "")


def test_typer_completes_names_too(api: Api, kubeconfig: Path) -> None:
    api.hold(a_stable_world())
    asked = {"_KUBECTL_PUZZLE_COMPLETE": "complete_bash", "COMP_WORDS": "kubectl-puzzle get li", "COMP_CWORD": "2"}
    found = CliRunner().invoke(cli, [], prog_name="kubectl-puzzle", env=asked)
    assert found.stdout.split() == ["line-1"]
