"""The demo: every task on data that training never used."""
