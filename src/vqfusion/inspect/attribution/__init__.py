"""Attribution: which part of what is given changes the answer of a model, checked by deletion and insertion."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    curves="Curves",
    estimators="attribute exact_shapley sampled_shapley",
    explaining="Attribution Explanation explain",
    gradients="gradient_times_input integrated_gradients",
    scoring="AskedAnswer Scorer",
    units="GivenUnits",
)
