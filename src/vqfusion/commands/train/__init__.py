"""The command `train`, for each kind of model."""
