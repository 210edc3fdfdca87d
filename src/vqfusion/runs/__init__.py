"""What the folder of a training tells: its state, its curves, and the page on which it is watched."""
