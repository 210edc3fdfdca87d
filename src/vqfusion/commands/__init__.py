"""What the command line does behind its verbs; each file imports its heavy parts when it is called."""
