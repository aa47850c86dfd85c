"""What runs on the bare Kubernetes: DNS, Knative with Kourier, KServe, MinIO, Prometheus."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import overlay
from tests.cluster.golang import BY_NAME, binary, folder
from tests.cluster.host import program
from tests.cluster.kube import Kube
from tests.cluster.overlay import Document
from tests.cluster.progress import stage
from tests.cluster.settings import (
    BUCKET,
    DNS_IP,
    MANIFESTS,
    MINIO_IP,
    PROMETHEUS_IP,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    Paths,
)
from tests.cluster.shell import capture, run

NAMESPACES = ("kube-system", "knative-serving", "kourier-system", "kserve", "puzzle-system", "monitoring")
# Networking and caching of Knative are modules of their own.
_KNATIVE_SOURCES = (
    "knative.dev/networking/config",
    "knative.dev/caching/config",
    "knative.dev/serving/config/core",
    "knative.dev/serving/third_party/kourier-latest",
)
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_WEBHOOK_HOST = "kserve-webhook-server-service.kserve.svc"


def load(folder_path: Path) -> list[Document]:
    """All YAML documents below a folder, in order of path; empty documents are dropped."""
    documents: list[Document] = []
    for path in sorted(folder_path.rglob("*.yaml")):
        # a link that the module's zip could not hold arrives as a one-line file with a path in it
        documents += [d for d in yaml.safe_load_all(path.read_text()) if isinstance(d, dict) and d]
    return documents


def ours(name: str, refs: Mapping[str, str]) -> list[Document]:
    """One of our own manifests with addresses, credentials and image references filled in."""
    values = {
        "DNS_IP": DNS_IP,
        "MINIO_IP": MINIO_IP,
        "PROMETHEUS_IP": PROMETHEUS_IP,
        "S3_ACCESS_KEY": S3_ACCESS_KEY,
        "S3_SECRET_KEY": S3_SECRET_KEY,
        **{key.replace("-", "_"): value for key, value in refs.items()},
    }
    text = (MANIFESTS / f"{name}.yaml").read_text()
    # only ${...} is a placeholder: a bare $1 belongs to Prometheus
    text = _PLACEHOLDER.sub(lambda match: values[match[1]], text)
    return [document for document in yaml.safe_load_all(text) if document]


def knative_documents(paths: Paths, refs: Mapping[str, str]) -> list[Document]:
    """Knative Serving and Kourier as they are applied."""
    source = folder(paths, BY_NAME["knative"]) / "src"
    documents = [document for part in _KNATIVE_SOURCES for document in load(source / part)]
    return overlay.knative(documents, refs)


def _certificate(paths: Paths) -> tuple[bytes, bytes]:
    """A self-signed certificate and key for KServe's webhooks."""
    target = paths.cluster / "webhook"
    target.mkdir(parents=True, exist_ok=True)
    certificate, key = target / "tls.crt", target / "tls.key"
    names = f"subjectAltName=DNS:{_WEBHOOK_HOST},DNS:{_WEBHOOK_HOST}.cluster.local"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]
    subject = ["-subj", f"/CN={_WEBHOOK_HOST}", "-addext", names]
    run([*command, *subject, "-keyout", key, "-out", certificate], paths.logs / "addons.log")
    return certificate.read_bytes(), key.read_bytes()


def kserve_documents(paths: Paths, refs: Mapping[str, str], storage_image: str) -> tuple[list[Document], list[Any]]:
    """(custom resource definitions, everything else) of KServe, from its charts."""
    charts = folder(paths, BY_NAME["kserve"]) / "src" / "github.com" / "kserve" / "kserve" / "charts"
    values = paths.cluster / "config" / "kserve-values.yaml"
    values.write_text(yaml.safe_dump(overlay.kserve_values(refs, storage_image)))
    helm = binary(paths, "helm", "helm")
    rendered = []
    for chart in ("kserve-crd", "kserve-resources"):
        command: list[str | Path] = [
            helm,
            "template",
            chart,
            charts / chart,
            "--namespace",
            "kserve",
            "--values",
            values,
        ]
        rendered.append([d for d in yaml.safe_load_all(capture(command)) if d])
    certificate, key = _certificate(paths)
    return rendered[0], overlay.kserve(rendered[1], certificate, key)


def install(paths: Paths, kube: Kube, refs: Mapping[str, str], storage_image: str) -> None:
    """Apply everything in an order that needs the fewest waits, then wait for all of it."""
    with stage("apply DNS, MinIO, Prometheus", 5):
        for name in ("coredns", "minio", "prometheus"):
            kube.apply(ours(name, refs))
        kube.apply([overlay.resize(kube.read_json("-n", "kube-system", "get", "daemonset", "kube-proxy"))])
    with stage("apply Knative, Kourier and KServe", 20):
        knative = overlay.phases(knative_documents(paths, refs))
        crds, kserve = kserve_documents(paths, refs, storage_image)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
        kube.apply([*knative[0], namespace, *crds])
        kube.established()
        # the controllers read their settings when they start, and the webhooks guard only later changes
        bulk = overlay.phases(kserve)
        kube.apply([*knative[1], *bulk[0], *bulk[1]])
        kube.apply([*knative[2], *bulk[2]])
    with stage("wait for every system pod", 40):
        for name in NAMESPACES:
            kube.rolled_out(name)


def bucket_url() -> str:
    """Where the bucket lies, seen from the host."""
    return f"http://{MINIO_IP}:9000/{BUCKET}"
