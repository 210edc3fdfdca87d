"""The verb `train`: what it does for each kind of model."""
