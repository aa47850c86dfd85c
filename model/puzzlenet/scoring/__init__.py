"""Batch scoring: folders of any size through the predictor that serves, in shards that can be cut off and go on."""
