"""What the demo and the end-to-end tests share: cameras, trained versions, a view of the cluster."""
