"""What is applied: stable to the byte, owned by the model, and understood by KServe."""

from __future__ import annotations

from puzzle_operator.core.traffic import Plan
from puzzle_operator.manifests.inference_service import (
    Recording,
    fingerprint,
    inference_service,
    objects_for,
    predictor_identity,
)
from tests.builders import V1, V2, a_model


def test_the_percentage_is_left_out_when_the_plan_has_none() -> None:
    model = a_model().build()
    assert "canaryTrafficPercent" not in inference_service(model, Plan(V1, None))["spec"]["predictor"]
    assert inference_service(model, Plan(V1, 0))["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_a_share_changes_nothing_that_would_make_a_revision() -> None:
    model = a_model().build()
    one, other = (inference_service(model, Plan(V2, percent))["spec"]["predictor"] for percent in (10, 50))
    one.pop("canaryTrafficPercent"), other.pop("canaryTrafficPercent")
    assert one == other


def test_a_new_generation_of_the_model_changes_nothing_that_would_make_a_revision() -> None:
    before = a_model()
    after = a_model().steps(1, 2, 3).paused()
    after.body["metadata"]["generation"] = 9
    plan = Plan(V1, None)
    assert fingerprint(objects_for(before.build(), plan)) == fingerprint(objects_for(after.build(), plan))


def test_the_version_reaches_the_container_the_storage_initializer_and_the_revision() -> None:
    predictor = inference_service(a_model().build(), Plan(V2, 0))["spec"]["predictor"]
    assert predictor["annotations"] == {"puzzlenet.dev/version": V2}
    assert predictor["labels"] == {"puzzlenet.dev/model": "line-1"}
    assert predictor["model"]["storageUri"] == f"s3://puzzlenet/versions/sha256-{'2' * 64}"
    assert {"name": "PUZZLENET_VERSION", "value": V2} in predictor["model"]["env"]
    assert predictor["model"]["runtime"] == "puzzlenet-torchserve"


def test_durations_and_amounts_are_as_kserve_takes_them() -> None:
    model = a_model().serving(timeout="1500ms", resources={"requests": {"cpu": 1}, "limits": {"cpu": "2"}}).build()
    predictor = inference_service(model, Plan(V1, None))["spec"]["predictor"]
    assert predictor["timeout"] == 2
    assert predictor["model"]["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}


def test_everything_goes_with_the_model() -> None:
    model = a_model().build()
    for obj in objects_for(model, Plan(V1, None)):
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("PuzzleModel", "uid-line-1", True)


def test_the_predictors_identity_names_the_registrys_secret_and_has_no_token() -> None:
    identity = predictor_identity(a_model().build())
    assert identity["metadata"]["name"] == "line-1-serving"
    assert identity["secrets"] == [{"name": "puzzle-s3"}]
    assert identity["automountServiceAccountToken"] is False


MONITOR = Recording("http://puzzle-monitor.puzzle-system:8090", "puzzle-monitor-ingest")


def test_predictors_tell_the_monitor_under_their_models_name_and_start_without_its_secret() -> None:
    model = a_model()
    model.body["spec"]["records"] = {"imageShare": 0.25, "imageBelow": 1}
    predictor = inference_service(model.build(), Plan(V1, None), MONITOR)["spec"]["predictor"]
    env = {entry["name"]: entry["value"] for entry in predictor["model"]["env"]}
    assert env == {
        "PUZZLENET_VERSION": V1,
        "PUZZLENET_LINE": "line-1",
        "PUZZLENET_NAMESPACE": "lyon",
        "PUZZLENET_MODEL": "line-1",
        "PUZZLE_MONITOR_URL": MONITOR.url,
        "PUZZLE_MONITOR_TOKEN_FILE": "/var/run/puzzle/monitor/token",
        "PUZZLE_MONITOR_IMAGE_SHARE": "0.25",
        "PUZZLE_MONITOR_IMAGE_BELOW": "1",
    }
    (volume,), (mount,) = predictor["volumes"], predictor["model"]["volumeMounts"]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == (MONITOR.secret, True)
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/var/run/puzzle/monitor")


def test_the_recorders_own_settings_read_what_is_set() -> None:
    from puzzlenet.records.settings import from_environment

    predictor = inference_service(a_model().build(), Plan(V1, None), MONITOR)["spec"]["predictor"]
    settings = from_environment({entry["name"]: entry["value"] for entry in predictor["model"]["env"]})
    assert settings is not None
    assert (settings.origin.namespace, settings.origin.model, settings.origin.line) == ("lyon", "line-1", "line-1")
    assert (settings.url, settings.image_share, settings.image_below) == (MONITOR.url, 0.01, 0.6)


def test_without_a_monitor_or_without_records_nothing_of_it_is_in_the_template() -> None:
    plain = inference_service(a_model().build(), Plan(V1, None))
    silent = a_model()
    silent.body["spec"]["records"] = {"enabled": False}
    assert inference_service(silent.build(), Plan(V1, None), MONITOR) == plain
    assert "volumes" not in plain["spec"]["predictor"]


def test_what_the_monitor_says_and_what_is_watched_makes_no_revision() -> None:
    before, after = a_model(), a_model()
    after.body["spec"] |= {"drift": {"detector": "KS"}, "dataQuality": {"maxLateness": "1m"}}
    after.with_status({"drift": {"shown": "Confirmed"}})
    one, other = (inference_service(model.build(), Plan(V1, None), MONITOR) for model in (before, after))
    assert one == other
