"""One retraining run: data, its checks, training, the gate, the decision. Everything that it decides is on record."""
