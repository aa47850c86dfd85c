"""The data quality gate: what new pictures must be like before anything is trained on them."""
