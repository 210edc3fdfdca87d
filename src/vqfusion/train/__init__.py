"""HOW WEIGHTS ARE MADE: recipes, cost estimates and trainers of every kind of model, and the training loop."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    recipes="recipe",
)
