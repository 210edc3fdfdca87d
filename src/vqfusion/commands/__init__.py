"""Implementation of the command line; each file imports its heavy parts when it is called."""
