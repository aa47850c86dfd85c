"""One external system to a file: the Kubernetes API, Prometheus, the registry."""
