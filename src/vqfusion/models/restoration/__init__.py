"""Restoration: priors over signals, and the answers that they give to measurements."""
