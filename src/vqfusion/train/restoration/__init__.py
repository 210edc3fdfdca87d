"""Training of restoration priors."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    data="check open_data",
    recipe="RECIPES training_of",
    trainer="beginning run_folder train",
)
