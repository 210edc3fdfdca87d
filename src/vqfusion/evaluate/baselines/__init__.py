"""What a model must beat."""
