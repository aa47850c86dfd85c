"""`make demo`: the whole story on a real cluster, told from what the cluster says."""
