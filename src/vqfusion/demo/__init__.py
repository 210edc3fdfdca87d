"""The demo: every verb on data that training never saw."""
