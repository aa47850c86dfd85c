"""Changes to upstream manifests, as pure functions over parsed YAML documents.

Upstream's manifests stay as they are in their Go modules; what differs here is listed in this file: images of our own
build, requests that fit two cores, and settings that suit tests. Every change names what it expects to find and
raises KeyError when an upgrade has moved it, instead of silently doing nothing.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tests.cluster.settings import DOMAIN, INGRESS_IP

Document = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """CPU request, memory request and memory limit of one container. No CPU limit: it would slow start-up."""

    cpu: str
    memory: str
    limit: str

    def resources(self) -> Document:
        return {"requests": {"cpu": self.cpu, "memory": self.memory}, "limits": {"memory": self.limit}}


# As shipped these request 1.1 cores; two cores have to carry two predictors as well.
SIZES: Mapping[str, Size] = {
    "activator": Size("20m", "60Mi", "600Mi"),
    "autoscaler": Size("20m", "60Mi", "512Mi"),
    "controller": Size("20m", "80Mi", "512Mi"),
    "webhook": Size("20m", "60Mi", "512Mi"),
    "net-kourier-controller": Size("20m", "60Mi", "512Mi"),
    "3scale-kourier-gateway": Size("50m", "80Mi", "800Mi"),
    "kserve-controller-manager": Size("25m", "80Mi", "512Mi"),
    "kube-proxy": Size("10m", "30Mi", "256Mi"),
}

KNATIVE_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "config-network": {"ingress-class": "kourier.ingress.networking.knative.dev"},
    "config-domain": {DOMAIN: ""},
    # without this the queue-proxies export no request metrics at all
    "config-observability": {"request-metrics-protocol": "prometheus"},
    # a revision that lost its traffic goes away soon, so that its memory is free for the next rollout
    "config-autoscaler": {"stable-window": "20s", "scale-to-zero-grace-period": "10s"},
    "config-deployment": {
        "queue-sidecar-cpu-request": "10m",
        "queue-sidecar-memory-request": "30Mi",
        "queue-sidecar-memory-limit": "200Mi",
    },
    "config-features": {
        "kubernetes.podspec-affinity": "enabled",
        "kubernetes.podspec-fieldref": "enabled",
        "kubernetes.podspec-nodeselector": "enabled",
        "kubernetes.podspec-persistent-volume-claim": "enabled",
        "kubernetes.podspec-securitycontext": "enabled",
        "kubernetes.podspec-tolerations": "enabled",
        "kubernetes.podspec-volumes-emptydir": "enabled",
    },
}

_KNATIVE_IMAGE = re.compile(r"(?:knative\.dev/serving|knative\.dev/net-kourier)/cmd/([a-z-]+)(?:@sha256:[0-9a-f]+)?$")
_ENVOY_IMAGE = re.compile(r"/envoyproxy/envoy:\S+$")


def image_for(reference: str, refs: Mapping[str, str]) -> str:
    """Our own image for an upstream reference; raises KeyError for one that we do not build."""
    if match := _KNATIVE_IMAGE.search(reference):
        return refs[f"knative-{match[1]}"]
    if _ENVOY_IMAGE.search(reference):
        return refs["kourier-envoy"]
    raise KeyError(f"no image of ours for {reference}")


def pod_spec(document: Document) -> Document | None:
    """The pod spec inside a workload, None for other kinds."""
    if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job"):
        spec: Document = document["spec"]["template"]["spec"]
        return spec
    return None


def resize(document: Document) -> Document:
    """The document with our requests and limits, if its name is in SIZES."""
    result = deepcopy(document)
    spec, size = pod_spec(result), SIZES.get(result["metadata"]["name"])
    if spec is not None and size is not None:
        for container in spec["containers"]:
            container["resources"] = size.resources()
    return result


def with_images(document: Document, refs: Mapping[str, str]) -> Document:
    """The document with our images in its containers, in Knative's settings and in its image cache resource."""
    result = deepcopy(document)
    spec = pod_spec(result)
    for container in spec["containers"] if spec else ():
        container["image"] = image_for(container["image"], refs)
        container.pop("imagePullPolicy", None)
    if result["kind"] == "ConfigMap" and "queue-sidecar-image" in result.get("data", {}):
        result["data"]["queue-sidecar-image"] = image_for(result["data"]["queue-sidecar-image"], refs)
    if result["kind"] == "Image":
        result["spec"]["image"] = image_for(result["spec"]["image"], refs)
    return result


def with_settings(document: Document, settings: Mapping[str, Mapping[str, str]]) -> Document:
    """A ConfigMap with our settings merged in and the commented example (and its checksum) dropped."""
    if document["kind"] != "ConfigMap" or document["metadata"]["name"] not in settings:
        return document
    result = deepcopy(document)
    data = dict(result.get("data") or {})
    data.pop("_example", None)
    result["metadata"].get("annotations", {}).pop("knative.dev/example-checksum", None)
    result["data"] = {**data, **settings[result["metadata"]["name"]]}
    return result


def _kourier_gateway(document: Document) -> Document:
    """The gateway's drain without a shell: our image holds Envoy alone. Reachable at a fixed address."""
    result = deepcopy(document)
    name, kind = result["metadata"]["name"], result["kind"]
    if kind == "Deployment" and name == "3scale-kourier-gateway":
        (container,) = pod_spec(result)["containers"]  # type: ignore[index]
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 15}}}
        container["readinessProbe"]["initialDelaySeconds"] = 1
        container["readinessProbe"]["periodSeconds"] = 2
    if kind == "Service" and name == "kourier":
        result["spec"]["type"] = "ClusterIP"
        result["spec"]["clusterIP"] = INGRESS_IP
    return result


def knative(documents: Iterable[Document], refs: Mapping[str, str]) -> list[Document]:
    """Knative Serving and Kourier for two cores: no autoscaling of the system itself, our images and settings.

    Raises KeyError when a setting of ours finds no ConfigMap.
    """
    # HorizontalPodAutoscalers need a metrics server; disruption budgets mean nothing on one node
    kept = [d for d in documents if d["kind"] not in ("HorizontalPodAutoscaler", "PodDisruptionBudget")]
    present = {d["metadata"]["name"] for d in kept if d["kind"] == "ConfigMap"}
    if absent := set(KNATIVE_SETTINGS) - present:
        raise KeyError(f"Knative has no ConfigMap {', '.join(sorted(absent))}")
    steps: tuple[Callable[[Document], Document], ...] = (
        lambda d: with_images(d, refs),
        lambda d: with_settings(d, KNATIVE_SETTINGS),
        resize,
        _kourier_gateway,
    )
    return [reduce(lambda document, step: step(document), steps, document) for document in kept]


def kserve_values(refs: Mapping[str, str], storage_image: str) -> Document:
    """Values for KServe's chart: Kourier as ingress, our images, requests that fit two cores."""

    def split(reference: str, *path: str) -> Document:
        repository, _, tag = reference.rpartition(":")
        value: Document = {"image": repository, "tag": tag}
        for key in reversed(path):
            value = {key: value}
        return value

    small = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    return {
        "kserve": {
            "agent": split(refs["kserve-agent"]),
            "storage": {
                **split(storage_image),
                "resources": small,
                "s3": {"region": "us-east-1", "useHttps": "0", "verifySSL": "0"},
            },
            "inferenceservice": {
                "resources": {
                    "requests": {"cpu": "100m", "memory": "256Mi"},
                    "limits": {"cpu": "2", "memory": "2Gi"},
                }
            },
            "controller": {
                **split(refs["kserve-controller"]),
                "imagePullPolicy": "IfNotPresent",
                "gateway": {
                    "domain": DOMAIN,
                    "disableIstioVirtualHost": True,
                    "localGateway": {
                        "gatewayService": "kourier-internal.kourier-system.svc.cluster.local",
                    },
                    "ingressGateway": {"className": "kourier"},
                },
            },
        }
    }


def kserve(documents: Iterable[Document], certificate_pem: bytes, key_pem: bytes) -> list[Document]:
    """KServe's rendered chart without cert-manager and without the metrics proxy in front of the controller.

    `certificate_pem` is self-signed: the webhooks trust it as their own CA.
    """
    bundle = base64.b64encode(certificate_pem).decode()
    result = []
    for document in map(resize, documents):
        if document["kind"] in ("Certificate", "Issuer"):
            continue
        document["metadata"].get("annotations", {}).pop("cert-manager.io/inject-ca-from", None)
        for webhook in document.get("webhooks", ()):
            webhook["clientConfig"]["caBundle"] = bundle
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            spec["containers"] = [c for c in spec["containers"] if c["name"] != "kube-rbac-proxy"]
            for container in spec["containers"]:
                container["readinessProbe"]["initialDelaySeconds"] = 1
        result.append(document)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": "kserve"},
        "data": {"tls.crt": bundle, "tls.key": base64.b64encode(key_pem).decode()},
    }
    return [secret, *result]


_FIRST = ("Namespace", "CustomResourceDefinition")
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def phases(documents: Iterable[Document]) -> tuple[list[Document], list[Document], list[Document]]:
    """What has to be there first, the bulk, and the webhooks that would refuse objects until their pods run."""
    everything = list(documents)
    first = [d for d in everything if d["kind"] in _FIRST]
    last = [d for d in everything if d["kind"] in _LAST]
    return first, [d for d in everything if d["kind"] not in (*_FIRST, *_LAST)], last
