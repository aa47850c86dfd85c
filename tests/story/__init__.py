"""`make story`: a line that retrains its own model, on a real cluster, with no hand in it."""
