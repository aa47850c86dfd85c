"""Builders of Kubernetes objects: a model and a plan in, plain JSON values out. Pure."""
