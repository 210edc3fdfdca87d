"""HOW WEIGHTS ARE MADE: recipes, cost estimates and trainers of every kind of model, and the training loop."""
