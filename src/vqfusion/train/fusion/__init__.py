"""Training of Fusion."""
