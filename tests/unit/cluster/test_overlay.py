"""What the cluster changes in upstream manifests, and that it notices when upstream has moved."""

from typing import Any

import pytest

from tests.cluster import overlay

REFS = {
    "knative-activator": "dev.local/knative-activator:1",
    "knative-queue": "dev.local/knative-queue:1",
    "knative-kourier": "dev.local/knative-kourier:1",
    "kourier-envoy": "dev.local/kourier-envoy:1",
    "kserve-agent": "dev.local/kserve-agent:1",
    "kserve-controller": "dev.local/kserve-controller:1",
}


def _deployment(name: str, *images: str) -> dict[str, Any]:
    containers = [
        {"name": f"c{i}", "image": image, "imagePullPolicy": "Always", "readinessProbe": {}}
        for i, image in enumerate(images)
    ]
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def _config(name: str, **data: str) -> dict[str, Any]:
    annotations = {"knative.dev/example-checksum": "12345678"}
    return {"kind": "ConfigMap", "metadata": {"name": name, "annotations": annotations}, "data": data}


@pytest.mark.parametrize(
    ("upstream", "own"),
    [
        ("ko://knative.dev/serving/cmd/activator", "dev.local/knative-activator:1"),
        ("host.example/x/knative.dev/net-kourier/cmd/kourier@sha256:12ab", "dev.local/knative-kourier:1"),
        ("host.example/envoyproxy/envoy:v1.36-latest", "dev.local/kourier-envoy:1"),
    ],
)
def test_image_for(upstream: str, own: str) -> None:
    assert overlay.image_for(upstream, REFS) == own


def test_an_image_that_nobody_builds_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"host\.example/new/sidecar"):
        overlay.image_for("host.example/new/sidecar:1", REFS)


def test_knative_overlay() -> None:
    configs = [_config(name, _example="long text") for name in overlay.KNATIVE_SETTINGS]
    next(c for c in configs if c["metadata"]["name"] == "config-deployment")["data"]["queue-sidecar-image"] = (
        "ko://knative.dev/serving/cmd/queue"
    )
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "activator"}}
    source = [_deployment("activator", "ko://knative.dev/serving/cmd/activator"), scaler, *configs]
    result = {d["metadata"]["name"]: d for d in overlay.knative(source, REFS)}
    (container,) = result["activator"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dev.local/knative-activator:1"
    assert "imagePullPolicy" not in container
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"] == "20m"
    deployment = result["config-deployment"]
    assert deployment["data"]["queue-sidecar-image"] == "dev.local/knative-queue:1"
    assert "_example" not in deployment["data"]
    assert deployment["metadata"]["annotations"] == {}
    assert result["config-observability"]["data"] == {"request-metrics-protocol": "prometheus"}
    assert source[0]["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always", "input changed"


def test_a_setting_without_its_config_map_is_an_error() -> None:
    with pytest.raises(KeyError, match="config-observability"):
        overlay.knative([_config(n) for n in overlay.KNATIVE_SETTINGS if n != "config-observability"], REFS)


def test_kserve_overlay_replaces_cert_manager_and_the_metrics_proxy() -> None:
    controller = _deployment("kserve-controller-manager", "a", "b")
    controller["spec"]["template"]["spec"]["containers"][1]["name"] = "kube-rbac-proxy"
    webhook = {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "w", "annotations": {"cert-manager.io/inject-ca-from": "kserve/serving-cert"}},
        "webhooks": [{"clientConfig": {}}],
    }
    certificate = {"kind": "Certificate", "metadata": {"name": "serving-cert"}}
    result = overlay.kserve([certificate, controller, webhook], b"CERT", b"KEY")
    assert [d["kind"] for d in result] == ["Secret", "Deployment", "MutatingWebhookConfiguration"]
    assert result[0]["data"] == {"tls.crt": "Q0VSVA==", "tls.key": "S0VZ"}
    assert [c["name"] for c in result[1]["spec"]["template"]["spec"]["containers"]] == ["c0"]
    assert result[2]["webhooks"][0]["clientConfig"]["caBundle"] == "Q0VSVA=="
    assert result[2]["metadata"]["annotations"] == {}


def test_kserve_values_split_references() -> None:
    values = overlay.kserve_values(REFS, "dev.local/kserve-storage-initializer:0.20.0-abc")["kserve"]
    assert (values["storage"]["image"], values["storage"]["tag"]) == (
        "dev.local/kserve-storage-initializer",
        "0.20.0-abc",
    )
    assert values["controller"]["gateway"]["ingressGateway"]["className"] == "kourier"


def test_phases_put_definitions_first_and_webhooks_last() -> None:
    kinds = ["ValidatingWebhookConfiguration", "Deployment", "Namespace", "CustomResourceDefinition"]
    first, bulk, last = overlay.phases([{"kind": kind} for kind in kinds])
    assert [d["kind"] for d in first] == ["Namespace", "CustomResourceDefinition"]
    assert [d["kind"] for d in bulk] == ["Deployment"]
    assert [d["kind"] for d in last] == ["ValidatingWebhookConfiguration"]
