"""The monitor, the registry, the machine's memory, alibi-detect: one system to a file."""
