"""The real API server takes good manifests, fills in what they leave out, and refuses bad ones with a sentence."""

from __future__ import annotations

import copy
import re
import uuid
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from puzzle_operator.api.base import JsonObject
from tests.builders import V1
from tests.harness.models import GROUP, PLURAL, VERSION, Namespace

GOOD: JsonObject = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "PuzzleModel",
    "metadata": {"name": "line-9"},
    "spec": {"line": "line-9", "model": {"version": V1}},
}
METRIC = {"name": "errors", "type": "ErrorRate"}


def submit(space: Namespace, manifest: JsonObject) -> JsonObject:
    """A dry run on the server: everything but storing it. Under a name of its own, if the manifest's is a good one: a
    model of that name may be there."""
    meta = manifest["metadata"]
    if re.fullmatch("[a-z][a-z0-9-]{0,30}", meta["name"]):
        manifest = {**manifest, "metadata": {**meta, "name": f"{meta['name']}-{uuid.uuid4().hex[:8]}"}}
    found: Any = space.custom.create_namespaced_custom_object(
        GROUP, VERSION, space.name, PLURAL, manifest, dry_run="All", field_validation="Strict"
    )
    return dict(found)


def with_spec(**spec: Any) -> JsonObject:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"].update(spec)
    return manifest


def with_canary(**canary: Any) -> JsonObject:
    return with_spec(canary=canary)


def with_metric(**metric: Any) -> JsonObject:
    return with_canary(analysis={"metrics": [{**METRIC, **metric}]})


def named(name: str) -> JsonObject:
    return {**copy.deepcopy(GOOD), "metadata": {"name": name}}


BAD: dict[str, tuple[JsonObject, str]] = {
    "no spec": ({k: v for k, v in GOOD.items() if k != "spec"}, "spec: Required value"),
    "no version": (with_spec(model={}), "spec.model.version: Required value"),
    "no line": ({**copy.deepcopy(GOOD), "spec": {"model": {"version": V1}}}, "spec.line: Required value"),
    "a tag in place of a digest": (
        with_spec(model={"version": "latest"}),
        "spec.model.version must be a digest: sha256: and 64 hexadecimal digits in lower case",
    ),
    "a digest in capitals": (
        with_spec(model={"version": "sha256:" + "A" * 64}),
        "must be a digest: sha256: and 64 hexadecimal digits in lower case",
    ),
    "a line with a blank": (with_spec(line="line 9"), "spec.line must be the name of a production line"),
    "a misspelt field": (with_spec(pausd=True), 'unknown field "spec.pausd"'),
    "paused as a text": (with_spec(paused="yes"), "spec.paused in body must be of type boolean"),
    "too many workers": (
        with_spec(retraining={"job": {"workers": 17}}),
        "spec.retraining.job.workers must be from 1 to 16; each is a pod with spec.retraining.job.gpus GPUs",
    ),
    "a schedule in words": (
        with_spec(retraining={"schedule": "every sunday"}),
        "spec.retraining.schedule must be five fields of a crontab in UTC",
    ),
    "an accuracy in per cent": (
        with_spec(retraining={"triggers": {"accuracyBelow": 97}}),
        "spec.retraining.triggers.accuracyBelow must be a fraction above 0 and below 1, such as 0.97",
    ),
    "new data without a unit that exists": (
        with_spec(retraining={"triggers": {"newData": "5 boxes"}}),
        "spec.retraining.triggers.newData must be a quantity of bytes above 0, such as 5Gi",
    ),
    "a GPU among the resources": (
        with_spec(retraining={"job": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}),
        "leave nvidia.com/gpu out and set spec.retraining.job.gpus",
    ),
    "a cooldown in days": (
        with_spec(retraining={"cooldown": "2d"}),
        "spec.retraining.cooldown must be a duration between 0s and 8760h, such as 12h",
    ),
    "an operator of tolerations": (
        with_spec(retraining={"job": {"tolerations": [{"operator": "Is"}]}}),
        "spec.retraining.job.tolerations: operator must be Exists or Equal",
    ),
    "falling weights": (
        with_canary(steps=[{"weight": 50}, {"weight": 10}]),
        "spec.canary.steps: weights must rise from step to step, for example 5, 25, 50",
    ),
    "the same weight twice": (
        with_canary(steps=[{"weight": 10}, {"weight": 10}]),
        "weights must rise from step to step",
    ),
    "a weight of 100": (
        with_canary(steps=[{"weight": 100}]),
        "a weight must be between 1 and 99 per cent; promotion to 100 follows the last step by itself",
    ),
    "a weight of 0": (with_canary(steps=[{"weight": 0}]), "a weight must be between 1 and 99 per cent"),
    "no steps": (with_canary(steps=[]), "at least one step is needed; leave steps out for 10, 25 and 50"),
    "a step without a weight": (with_canary(steps=[{"minDuration": "1m"}]), "weight: Required value"),
    "a duration in words": (
        with_canary(steps=[{"weight": 5, "minDuration": "ten minutes"}]),
        "minDuration must be a duration between 0s and 168h, such as 10m",
    ),
    "a bake of a year": (
        with_canary(bake="8760h"),
        "spec.canary.bake must be a duration between 0s and 168h, such as 10m",
    ),
    "a deadline of a second": (
        with_canary(progressDeadline="1s"),
        "spec.canary.progressDeadline must be a duration between 10s and 24h",
    ),
    "an interval of nothing": (
        with_canary(analysis={"interval": "0s"}),
        "spec.canary.analysis.interval must be a duration between 1s and 10m, such as 15s",
    ),
    "an alpha of one half": (
        with_canary(analysis={"alpha": 0.5}),
        "spec.canary.analysis.alpha must be above 0 and at most 0.2",
    ),
    "an alpha of zero": (with_canary(analysis={"alpha": 0}), "alpha must be above 0 and at most 0.2"),
    "a promotion alpha of one half": (
        with_canary(analysis={"promotionAlpha": 0.5}),
        "spec.canary.analysis.promotionAlpha must be above 0 and at most 0.2: it is the chance that",
    ),
    "nothing negligible": (
        with_metric(negligible=0),
        "negligible must be a fraction of requests above 0 and at most 0.5, such as 0.002",
    ),
    "a negligible in per cent": (with_metric(negligible=5), "negligible must be a fraction of requests"),
    "a deadline without end": (
        with_canary(inconclusive={"deadline": "9000h"}),
        "spec.canary.inconclusive.deadline must be a duration between 10s and 720h, such as 24h",
    ),
    "an unknown way out": (
        with_canary(inconclusive={"action": "Abort"}),
        'Unsupported value: "Abort": supported values: "Hold", "Rollback", "Promote"',
    ),
    "an unknown automation": (
        with_spec(automation="Auto"),
        'Unsupported value: "Auto": supported values: "Manual", "Assisted", "Full"',
    ),
    "labels with an slo": (with_metric(type="LabelledErrors", slo="1s"), "slo belongs to Latency metrics only"),
    "a guard above 1": (
        with_canary(analysis={"guards": {"maxErrorRate": 20}}),
        "guards.maxErrorRate must be a fraction above 0 and at most 1, such as 0.2",
    ),
    "a risk ratio that tolerates nothing": (
        with_metric(maxRiskRatio=1),
        "maxRiskRatio must be above 1 and at most 100; 1.5 tolerates one and a half times",
    ),
    "a latency metric without slo": (
        with_metric(type="Latency"),
        "a Latency metric needs slo, the time above which a request counts as bad, such as 250ms",
    ),
    "an slo on an error rate": (
        with_metric(slo="250ms"),
        "slo belongs to Latency metrics only; leave it out or set type: Latency",
    ),
    "counters without total": (
        with_metric(type="Counters", bad="x_total"),
        "a Counters metric needs bad and total, PromQL that returns one series for each revision",
    ),
    "PromQL on an error rate": (
        with_metric(bad="x", total="y"),
        "bad and total belong to Counters metrics only; leave them out or set type: Counters",
    ),
    "an unknown type of metric": (
        with_metric(type="Accuracy"),
        'supported values: "ErrorRate", "Latency", "LabelledErrors", "Confidence", "Counters"',
    ),
    "confidence without a bound": (
        with_metric(type="Confidence"),
        "a Confidence metric needs below, the confidence under which a prediction counts as bad, such as 0.6",
    ),
    "confidence between two bounds": (
        with_metric(type="Confidence", below=0.65),
        "below must be one of the bounds by which the monitor counts confidence: 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99",
    ),
    "a bound of confidence on an error rate": (
        with_metric(below=0.6),
        "below belongs to Confidence metrics only; leave it out or set type: Confidence",
    ),
    "a hold on anything": (
        with_canary(analysis={"holdOn": ["ChampionDrift"]}),
        'Unsupported value: "ChampionDrift": supported values: "InputUnhealthy", "ChallengerDrift"',
    ),
    "the same hold twice": (
        with_canary(analysis={"holdOn": ["InputUnhealthy", "InputUnhealthy"]}),
        "Duplicate value",
    ),
    "a metric's name in capitals": (with_metric(name="Errors"), "a name is up to 31 lower case letters, digits"),
    "two metrics of one name": (with_canary(analysis={"metrics": [METRIC, METRIC]}), "Duplicate value"),
    "no metrics": (with_canary(analysis={"metrics": []}), "spec.canary.analysis.metrics"),
    "more pieces than a replay takes": (
        with_canary(replay={"pieces": 5000}),
        "spec.canary.replay.pieces must be between 0 and 1000",
    ),
    "a replay without time": (
        with_canary(replay={"deadline": "1s"}),
        "spec.canary.replay.deadline must be a duration between 30s and 1h",
    ),
    "more replicas at least than at most": (
        with_spec(serving={"minReplicas": 5, "maxReplicas": 2}),
        "spec.serving: minReplicas must not be above maxReplicas",
    ),
    "a mode that splits no traffic": (with_spec(serving={"mode": "Standard"}), 'supported values: "Knative"'),
    "a runtime that is not there": (with_spec(serving={"runtime": "triton"}), 'supported values: "torchserve"'),
    "an amount that is none": (
        with_spec(serving={"resources": {"limits": {"memory": "much"}}}),
        "spec.serving.resources: amounts are quantities such as 500m or 2Gi",
    ),
    "a request above its limit": (
        with_spec(serving={"resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "2Gi"}}}),
        "spec.serving.resources: no request may be above its limit",
    ),
    "records of more than all pictures": (
        with_spec(records={"imageShare": 2}),
        "spec.records.imageShare must be a fraction between 0 and 1: the share of pictures kept at random",
    ),
    "a confidence in per cent": (
        with_spec(records={"imageBelow": 60}),
        "spec.records.imageBelow must be a fraction between 0 and 1: pictures with less confidence are kept",
    ),
    "an unknown backend": (
        with_spec(drift={"backend": "evidently"}),
        'Unsupported value: "evidently": supported values: "alibi-detect", "builtin"',
    ),
    "an unknown detector": (
        with_spec(drift={"detector": "PSI"}),
        'supported values: "MMDOnline", "LSDDOnline", "CVMOnline", "FETOnline", "KS"',
    ),
    "a detector that the built-in backend lacks": (
        with_spec(drift={"backend": "builtin", "detector": "KS"}),
        "spec.drift: the backend builtin has the detector MMDOnline only; leave detector out",
    ),
    "false alarms every second": (
        with_spec(drift={"expectedRunTime": "1s"}),
        "spec.drift.expectedRunTime must be a duration between 1m and 8760h, such as 24h",
    ),
    "false alarms in days": (with_spec(drift={"expectedRunTime": "1d"}), "spec.drift.expectedRunTime must be a"),
    "false alarms every ten pictures": (
        with_spec(drift={"expectedRunImages": 10}),
        "spec.drift.expectedRunImages must be between 100 and 10000000: pictures between two false alarms",
    ),
    "an alarm that nothing confirms": (
        with_spec(drift={"confirm": {"windows": 0}}),
        "spec.drift.confirm.windows must be between 1 and 20: so many windows in a row must show the drift",
    ),
    "lateness without a unit": (
        with_spec(dataQuality={"maxLateness": "15"}),
        "spec.dataQuality.maxLateness must be a duration between 1s and 168h, such as 15m",
    ),
    "a training on nothing": (
        with_spec(dataQuality={"minImages": 0}),
        "spec.dataQuality.minImages must be between 1 and 10000000: pictures that a training needs",
    ),
    "a size of one side": (
        with_spec(dataQuality={"size": [128]}),
        "spec.dataQuality.size must be width and height in pixels, such as [128, 128]",
    ),
    "a size of three sides": (with_spec(dataQuality={"size": [1, 2, 3]}), "must be width and height in pixels"),
    "a size of no pixels": (with_spec(dataQuality={"size": [128, 0]}), "must be width and height in pixels"),
    "brightness the wrong way round": (
        with_spec(dataQuality={"brightness": [0.9, 0.1]}),
        "spec.dataQuality.brightness must be the darkest and the brightest mean allowed, two rising fractions",
    ),
    "brightness of eight bits": (
        with_spec(dataQuality={"brightness": [10, 250]}),
        "fractions between 0 and 1, such as [0.1, 0.9]",
    ),
    "an endpoint with a scheme": (
        with_spec(storage={"endpoint": "http://minio:9000"}),
        "spec.storage.endpoint must be host or host:port without a scheme",
    ),
    "a bucket in capitals": (
        with_spec(storage={"bucket": "Puzzles"}),
        "spec.storage.bucket must be a bucket's name: 3 to 63 lower case letters",
    ),
    "a name that KServe cannot use": (
        named("l" * 41),
        "metadata.name must be at most 40 lower case letters, digits and dashes, beginning with a letter",
    ),
    "a name that begins with a digit": (named("1-line"), "metadata.name must be at most 40 lower case letters"),
}


@pytest.mark.parametrize(("manifest", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_refused_with_a_sentence_that_helps(
    space: Namespace, manifest: JsonObject, sentence: str
) -> None:
    with pytest.raises(ApiException) as refusal:
        submit(space, manifest)
    assert refusal.value.status in {400, 422}
    assert sentence.replace('"', '\\"') in str(refusal.value.body)


def test_a_minimal_manifest_is_taken_and_its_defaults_are_filled_in(space: Namespace) -> None:
    spec = submit(space, copy.deepcopy(GOOD))["spec"]
    assert [step["weight"] for step in spec["canary"]["steps"]] == [10, 25, 50]
    assert spec["canary"]["analysis"]["guards"] == {"maxErrorRate": 0.2, "minGuardRequests": 20, "maxRestarts": 3}
    assert spec["canary"]["analysis"]["holdOn"] == ["InputUnhealthy", "ChallengerDrift"]
    assert spec["storage"]["secretRef"] == {"name": "puzzle-s3"}
    assert spec["serving"]["mode"] == "Knative"
    assert spec["records"] == {"enabled": True, "imageShare": 0.01, "imageBelow": 0.6}
    assert spec["drift"] == {
        "enabled": True,
        "backend": "alibi-detect",
        "detector": "MMDOnline",
        "expectedRunTime": "24h",
        "confirm": {"windows": 3},
    }
    assert spec["dataQuality"] == {"maxLateness": "15m"}
    assert spec["paused"] is False


def test_defaults_fill_what_a_part_leaves_out(space: Namespace) -> None:
    spec = submit(space, with_canary(analysis={"metrics": [METRIC]}, steps=[{"weight": 7}]))["spec"]
    assert spec["canary"]["steps"] == [{"weight": 7, "minDuration": "2m"}]
    assert spec["canary"]["analysis"]["metrics"] == [{**METRIC, "maxRiskRatio": 1.5, "negligible": 0.002}]
    assert spec["canary"]["bake"] == "10m"


def test_the_ends_of_what_is_allowed_are_taken(space: Namespace) -> None:
    bounds = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    metrics = [{"name": f"unsure-{n}", "type": "Confidence", "below": below} for n, below in enumerate(bounds)]
    analysis = submit(space, with_canary(analysis={"metrics": metrics, "holdOn": []}))["spec"]["canary"]["analysis"]
    assert ([metric["below"] for metric in analysis["metrics"]], analysis["holdOn"]) == (bounds, [])
    quality = {"size": [1, 16384], "brightness": [0, 1], "minImages": 1, "maxLateness": "1s"}
    spec = submit(space, with_spec(dataQuality=quality, drift={"backend": "builtin"}, records={"imageShare": 1}))[
        "spec"
    ]
    assert spec["dataQuality"] == quality
    assert spec["records"] == {"enabled": True, "imageShare": 1, "imageBelow": 0.6}


def test_every_example_is_taken(space: Namespace, examples: list[tuple[str, JsonObject]]) -> None:
    assert examples, "there are no examples"
    for name, manifest in examples:
        assert submit(space, manifest)["spec"], name


def test_kubectl_shows_the_columns_that_people_look_for(space: Namespace) -> None:
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{space.name}/{PLURAL}"
    api = space.custom.api_client
    request = api.param_serialize(
        "GET",
        path,
        query_params=[],
        header_params={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
        auth_settings=["BearerToken"],
    )
    import json

    table = json.loads(api.call_api(*request).read())
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 1]
    assert shown == ["Name", "Phase", "Step", "Weight", "Verdict", "Evidence", "Samples", "Drift", "Age"]
    assert wide == ["Input", "Champion", "Challenger", "Reason", "Retraining", "Next"]
