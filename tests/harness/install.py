"""Brings the images to the cluster and installs or upgrades the chart, as a user would with helm.

In the local cluster the images are built from the Dockerfile and imported into its containerd. For a cluster
of your own, push them to a registry that it can pull from and name them in OPERATOR_IMAGE, MODEL_IMAGE, MONITOR_IMAGE
and DRIFT_IMAGE (repository:tag).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.harness.settings import RELEASE, REPOSITORY, SYSTEM_NAMESPACE, state_folder
from tests.harness.signing import SECRET as SIGNING
from tests.harness.signing import put_secret, signing_secret

PARTS = {"operator": "operator", "model": "runtime", "monitor": "monitor", "drift": "drift"}
"""Images, by their stage in the Dockerfile, and the parts of the chart's values that name them."""


def images() -> dict[str, str]:
    """References of the images by stage, built and imported where they are not given."""
    given = {name: os.environ.get(f"{name.upper()}_IMAGE", "") for name in PARTS}
    if all(given.values()):
        return given
    wanted = [name for name, reference in given.items() if not reference]
    command = [sys.executable, "-m", "tests.cluster", "images", "--json", *wanted]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    built: dict[str, str] = json.loads(printed.stdout.splitlines()[-1])
    return {name: given[name] or built[name] for name in given}


def keys() -> None:
    """The Secret that the namespaces of models get their copies of."""
    config.load_kube_config()  # type: ignore[no-untyped-call]
    core = client.CoreV1Api()
    try:
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=SYSTEM_NAMESPACE)))
    except ApiException as exc:
        if exc.status != 409:
            raise
    put_secret(core, SYSTEM_NAMESPACE, SIGNING, signing_secret(state_folder()))


def helm_upgrade(refs: dict[str, str]) -> None:
    """`helm upgrade --install`, until everything runs; raises CalledProcessError on failure."""
    chart = REPOSITORY / "charts" / "puzzle-operator"
    command = ["helm", "upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE]
    # Whoever applied the resource definition by hand before must not stop an upgrade.
    command += ["--create-namespace", "--force-conflicts", "--wait", "--timeout", "8m"]
    for name, part in PARTS.items():
        repository, tag = refs[name].rsplit(":", 1)
        command += ["--set", f"{part}.image.repository={repository},{part}.image.tag={tag}"]
    # What is not signed is not served, and not compared with.
    command += ["--set", f"runtime.verifySecret={SIGNING},retraining.signingSecret={SIGNING}"]
    # The local cluster has no storage class: what is recorded goes with the monitor's pod.
    command += ["--set", "monitor.persistence.enabled=false"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"helm: release {RELEASE} in namespace {SYSTEM_NAMESPACE}: {', '.join(refs[name] for name in PARTS)}")


def main() -> None:
    try:
        refs = images()
        keys()
        helm_upgrade(refs)
    except subprocess.CalledProcessError as exc:
        print(f"{' '.join(map(str, exc.cmd[:4]))} … failed with exit code {exc.returncode}", file=sys.stderr)
        names = [f"{name.upper()}_IMAGE" for name in PARTS]
        if not all(os.environ.get(name) for name in names):
            print(f"For a cluster of your own name its images in {', '.join(names)}.", file=sys.stderr)
        raise SystemExit(1) from exc


if __name__ == "__main__":
    main()
