"""From what Kubernetes tells to passes: who is woken when, and the pass itself."""
