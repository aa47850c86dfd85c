"""What the monitor does, whoever asks: store in groups, answer, watch the counts, forget what is old."""
