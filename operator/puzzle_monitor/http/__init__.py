"""The HTTP API: who may ask, how much of a body is read, and what an answer or a refusal looks like."""
