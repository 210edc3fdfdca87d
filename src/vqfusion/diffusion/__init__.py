"""DATA <-> NOISE: Gaussian and masked diffusion, measurement operators and posterior sampling."""

from vqfusion.diffusion import gaussian, masked, posterior
from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    gaussian=" ".join(gaussian.__all__),
    masked=" ".join(masked.__all__),
    operators="OPERATORS Operator Noise GaussianNoise PoissonGaussian Rician SaltPepper Denoise LowDose Downsample "
    "Mask Gaps Blur ValidBlur BandLimit JPEG STFTMask random_operator",
    posterior=" ".join(posterior.__all__),
)
