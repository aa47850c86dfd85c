"""A real single-node Kubernetes with Knative, KServe, MinIO and Prometheus, for the demo and the end-to-end tests.

Built from package registries alone (Debian packages, Go modules, PyPI): no container registry, no Docker engine.
`python -m tests.cluster --help` is the way in; `docs/cluster.md` explains how it works.
"""
