"""Gaussian diffusion: paths, schedules, samplers, guidance and likelihood of continuous data."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    denoiser="NetworkDenoiser denoising_loss",
    flow="FlowPath make_path",
    guidance="classifier_free_guidance autoguidance",
    likelihood="flow_log_likelihood variational_bound bits_per_dim",
    noise_level="estimate_noise",
    multistep="dpmpp_2m unipc",
    path="GaussianPath",
    samplers="ddim ddpm euler heun sample_signal",
    schedules="CosineSchedule EDMSchedule LinearSchedule SigmoidSchedule StraightSchedule",
    walk="SampledSignal Sampler",
)
