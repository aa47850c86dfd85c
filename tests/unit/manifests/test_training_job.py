"""The Job of a run: what the trainer is told, what it may do, and that it is always the same."""

from __future__ import annotations

from typing import Any

from puzzle_operator.api.retraining import MAX_WORKERS, RetrainingStatus
from puzzle_operator.core.retraining.names import run_name
from puzzle_operator.manifests.trainer_pod import Trainer
from puzzle_operator.manifests.training_job import Store, training_job
from puzzle_operator.manifests.training_team import trainers_service
from tests.builders import T0, V1, ModelBuilder, a_model, after

RUN = RetrainingStatus(run="line-1-drift-3-ab12", counter=3, trigger="drift is confirmed", champion=V1)
TRAINER = Trainer("puzzle-model:1", monitor_url="http://monitor:8090")
HTTP = Store(https=False)


def made(builder: ModelBuilder | None = None, run: RetrainingStatus = RUN, trainer: Trainer = TRAINER) -> Any:
    return training_job((builder or a_model()).build(), run, trainer, HTTP)


def pod(job: Any) -> Any:
    return job["spec"]["template"]["spec"]


def words(job: Any) -> list[str]:
    found: list[str] = pod(job)["containers"][0]["args"]
    return found


def value(job: Any, flag: str) -> str:
    return words(job)[words(job).index(flag) + 1]


def test_it_is_the_models_and_is_found_by_its_labels() -> None:
    meta = made()["metadata"]
    assert (meta["name"], meta["namespace"]) == ("line-1-drift-3-ab12", "lyon")
    assert meta["labels"]["puzzlenet.dev/run"] == "line-1-drift-3-ab12"
    assert meta["labels"]["puzzlenet.dev/run-counter"] == "3"
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("PuzzleModel", "uid-line-1", True)


def test_its_pods_are_not_taken_for_predictors() -> None:
    assert "puzzlenet.dev/model" not in made()["spec"]["template"]["metadata"]["labels"]


def test_the_trainer_is_told_all_of_the_contract() -> None:
    builder = a_model().retraining(
        epochs=7, gate={"maxLatency": "50ms", "perClassRecallFloor": 0.8, "maxSize": "50Mi", "maxCalibrationError": 0.1}
    )
    builder.body["spec"]["dataQuality"] = {"minImages": 500, "size": [128, 96], "brightness": [0.1, 0.9]}
    job = made(builder)
    assert words(job)[0] == "retrain"
    wanted = {
        "--run": "line-1-drift-3-ab12",
        "--namespace": "lyon",
        "--model": "line-1",
        "--line": "line-1",
        "--champion": V1,
        "--endpoint": "minio.puzzle-system:9000",
        "--bucket": "puzzlenet",
        "--monitor": "http://monitor:8090",
        "--monitor-token-file": "/var/run/puzzle/monitor/token",
        "--trigger": "drift is confirmed",
        "--gate-margin": "0.005",
        "--gate-alpha": "0.05",
        "--recall-floor": "0.8",
        "--max-latency": "50ms",
        "--max-bytes": "52428800",
        "--max-calibration-error": "0.1",
        "--epochs": "7",
        "--min-images": "500",
        "--max-lateness": "15m",
        "--size": "128x96",
        "--brightness": "0.1,0.9",
        "--device": "auto",
        "--termination-log": "/dev/termination-log",
    }
    assert {flag: value(job, flag) for flag in wanted} == wanted
    assert words(job)[-1] == "--insecure"
    secure = training_job(a_model().build(), RUN, TRAINER, Store(https=True))
    assert "--insecure" not in words(secure)
    assert "--epochs" not in words(secure)


def test_a_gpu_of_the_pool_is_asked_for_and_let_go_without_one() -> None:
    builder = a_model().retraining(
        job={"gpus": 2, "nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    )
    job = made(builder)
    assert pod(job)["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod(job)["nodeSelector"] == {"pool": "gpu"}
    assert pod(job)["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    without = made(builder, RUN.but(cpu=True))
    assert without["metadata"]["name"] == "line-1-drift-3-ab12-cpu"
    assert "nvidia.com/gpu" not in pod(without)["containers"][0]["resources"]["limits"]
    assert "nodeSelector" not in pod(without)
    assert value(without, "--device") == "cpu"


def test_how_a_run_may_fail() -> None:
    spec = made(a_model().retraining(job={"deadline": "90m", "backoffLimit": 5}))["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (5400, 5)
    ignored, wrong = spec["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert (wrong["action"], wrong["onExitCodes"]["values"]) == ("FailJob", [2])
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


TEAM = {"workers": 4, "gpus": 1, "backoffLimit": 5}


def test_several_workers_are_an_indexed_job_that_ends_with_its_first() -> None:
    spec = made(a_model().retraining(job=TEAM))["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
    # Each worker has its own limit, and one that is used up ends all: the rest would wait for it.
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (5, 0)
    assert "backoffLimit" not in spec
    evicted, wrong, gone = spec["podFailurePolicy"]["rules"]
    assert (evicted["action"], wrong["action"], gone["action"]) == ("Ignore", "FailJob", "Ignore")
    assert gone["onExitCodes"]["values"] == [3, 134]


def test_workers_find_the_first_one_by_name() -> None:
    builder = a_model().retraining(job=TEAM)
    job, service = made(builder), trainers_service(builder.build())
    env = {item["name"]: item.get("value") for item in pod(job)["containers"][0]["env"]}
    assert env["JOB_COMPLETIONS"] == "4"
    # Kubernetes names the pods of an Indexed Job after it, below the subdomain that a headless Service is.
    assert env["MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod(job)["subdomain"] == service["metadata"]["name"] == "line-1-trainers"
    assert env["MASTER_PORT"] == str(service["spec"]["ports"][0]["port"])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["metadata"]["ownerReferences"] == job["metadata"]["ownerReferences"]
    without = made(builder, RUN.but(cpu=True))
    found = {item["name"]: item.get("value") for item in pod(without)["containers"][0]["env"]}
    assert found["MASTER_ADDR"] == f"{without['metadata']['name']}-0.line-1-trainers"


def test_one_worker_needs_none_of_it() -> None:
    job = made()
    assert not {"completionMode", "successPolicy", "backoffLimitPerIndex"} & set(job["spec"])
    assert "subdomain" not in pod(job)
    assert "MASTER_ADDR" not in {item["name"] for item in pod(job)["containers"][0]["env"]}


def test_it_runs_under_the_restricted_standard() -> None:
    spec = pod(made())
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/work", "/dev/shm", "/var/run/puzzle/monitor"} == mounted


def test_secrets_are_named_and_never_copied() -> None:
    spec = pod(made(trainer=Trainer("i", monitor_url="http://m", signing_secret="keys")))
    env = {item["name"]: item.get("valueFrom") for item in spec["containers"][0]["env"]}
    assert env["AWS_SECRET_ACCESS_KEY"] == {"secretKeyRef": {"name": "puzzle-s3", "key": "AWS_SECRET_ACCESS_KEY"}}
    sources = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
    assert sources["monitor"]["secretName"] == "puzzle-monitor-ingest"
    assert sources["monitor"]["items"] == [{"key": "trainer", "path": "token"}]
    assert sources["signing"]["secretName"] == "keys"
    assert all(source["optional"] for source in sources.values() if source)


def test_without_a_monitor_nothing_is_said_of_it() -> None:
    job = made(trainer=Trainer("i"))
    assert "--monitor" not in words(job)
    assert {volume["name"] for volume in pod(job)["volumes"]} == {"tmp", "work", "shm"}


def test_the_same_run_is_the_same_job() -> None:
    assert made() == made()


def test_a_runs_name_is_its_own_and_fits_a_label() -> None:
    name = run_name("a" * 40, "u", 12, "accuracy", 12345, T0)
    assert len(f"{name}-cpu-{MAX_WORKERS - 1}") <= 63, "the host name of its last worker"
    others = {
        run_name("a" * 40, "u", 12, "accuracy", 12346, T0),
        run_name("a" * 40, "other", 12, "accuracy", 12345, T0),
        run_name("a" * 40, "u", 12, "accuracy", 12345, after(1)),
        run_name("a" * 40, "u", 12, "drift", 12345, T0),
        name,
    }
    assert len(others) == 5
    assert name == run_name("a" * 40, "u", 12, "accuracy", 12345, T0)
