"""Gaussian diffusion: paths, schedules, samplers, guidance and likelihood of continuous data."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    denoiser="NetworkDenoiser denoising_loss",
    flow="FlowPath make_path",
    guidance="classifier_free_guidance autoguidance",
    likelihood="flow_log_likelihood variational_bound bits_per_dim",
    noise_level="estimate_noise",
    path="GaussianPath",
    samplers="ddim euler heun dpmpp_2m unipc sample_signal SampledSignal",
    schedules="CosineSchedule EDMSchedule LinearSchedule SigmoidSchedule StraightSchedule",
)
