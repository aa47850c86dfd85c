"""Brings the images to the cluster and installs or upgrades the chart, as a user would with helm.

In the local cluster the images are built from the Dockerfile and imported into its containerd. For a cluster
of your own, push them to a registry that it can pull from and name them in OPERATOR_IMAGE and MODEL_IMAGE
(repository:tag).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.harness.settings import RELEASE, REPOSITORY, SYSTEM_NAMESPACE


def images() -> dict[str, str]:
    """References of the operator's and the model's image, built and imported where they are not given."""
    given = {"operator": os.environ.get("OPERATOR_IMAGE", ""), "model": os.environ.get("MODEL_IMAGE", "")}
    if all(given.values()):
        return given
    command = [sys.executable, "-m", "tests.cluster", "images", "--json"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    built: dict[str, str] = json.loads(printed.stdout.splitlines()[-1])
    return {name: given[name] or built[name] for name in given}


def helm_upgrade(refs: dict[str, str]) -> None:
    """`helm upgrade --install`, until the operator runs; raises CalledProcessError on failure."""
    operator, model = refs["operator"].rsplit(":", 1), refs["model"].rsplit(":", 1)
    chart = REPOSITORY / "charts" / "puzzle-operator"
    command = ["helm", "upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE]
    # Whoever applied the resource definition by hand before must not stop an upgrade.
    command += ["--create-namespace", "--force-conflicts", "--wait", "--timeout", "3m"]
    command += ["--set", f"operator.image.repository={operator[0]},operator.image.tag={operator[1]}"]
    command += ["--set", f"runtime.image.repository={model[0]},runtime.image.tag={model[1]}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"helm: release {RELEASE} in namespace {SYSTEM_NAMESPACE}: {refs['operator']}, {refs['model']}")


def main() -> None:
    try:
        helm_upgrade(images())
    except subprocess.CalledProcessError as exc:
        print(f"{' '.join(map(str, exc.cmd[:4]))} … failed with exit code {exc.returncode}", file=sys.stderr)
        if not (os.environ.get("OPERATOR_IMAGE") and os.environ.get("MODEL_IMAGE")):
            print("For a cluster of your own name its images in OPERATOR_IMAGE and MODEL_IMAGE.", file=sys.stderr)
        raise SystemExit(1) from exc


if __name__ == "__main__":
    main()
