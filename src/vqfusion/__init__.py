"""vqfusion: compress any signal to codes, model the codes with diffusion, and ask for any task.

    import vqfusion
    system = vqfusion.load("emoji")
    made = system.generate({"text:en": vqfusion.Sample("text", "red apple")}, "image")

Names are loaded when first used, so that the import stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vqfusion.deprecated import MovedModules, old_name

if TYPE_CHECKING:
    from vqfusion.data import as_sample as as_sample
    from vqfusion.data import open_dataset as open_dataset
    from vqfusion.data import read as read
    from vqfusion.diffusion.gaussian.denoiser import NetworkDenoiser as NetworkDenoiser
    from vqfusion.diffusion.gaussian.flow import FlowPath as FlowPath
    from vqfusion.diffusion.gaussian.path import GaussianPath as GaussianPath
    from vqfusion.diffusion.gaussian.samplers import sample_signal as sample_signal
    from vqfusion.diffusion.masked.path import MaskedPath as MaskedPath
    from vqfusion.diffusion.masked.samplers import sample_masked as sample_masked
    from vqfusion.diffusion.operators import OPERATORS as OPERATORS
    from vqfusion.errors import UserError as UserError
    from vqfusion.fitting import fit as fit
    from vqfusion.hub import load as load
    from vqfusion.inspect.attribution.explaining import explain as explain
    from vqfusion.models.fusion.likelihood import Likelihood as Likelihood
    from vqfusion.models.fusion.system import System as System
    from vqfusion.models.latent.diffusion_model import DiffusionModel as DiffusionModel
    from vqfusion.models.latent.latent_diffusion import LatentDiffusion as LatentDiffusion
    from vqfusion.models.restoration.any_size import AnySizePrior as AnySizePrior
    from vqfusion.models.restoration.mirrored import MirroredPrior as MirroredPrior
    from vqfusion.models.restoration.prior import Prior as Prior
    from vqfusion.models.restoration.restored import Restored as Restored
    from vqfusion.models.restoration.restoring import restore as restore
    from vqfusion.models.sampling import Generated as Generated
    from vqfusion.models.sampling import Sampling as Sampling
    from vqfusion.nn.conv import VQVAEDecoder as VQVAEDecoder
    from vqfusion.nn.conv import VQVAEEncoder as VQVAEEncoder
    from vqfusion.nn.denoising_transformer import DenoisingTransformer as DenoisingTransformer
    from vqfusion.nn.unet import UNet as UNet
    from vqfusion.tasks import TASKS as TASKS
    from vqfusion.tasks.check import check_task as check_task
    from vqfusion.tokenizers.audio import AudioTokenizer as AudioTokenizer
    from vqfusion.tokenizers.conformance.check import check_quantizer as check_quantizer
    from vqfusion.tokenizers.conformance.check import check_tokenizer as check_tokenizer
    from vqfusion.tokenizers.gaussian_vqvae import GaussianVQVAE as GaussianVQVAE
    from vqfusion.tokenizers.gaussian_vqvae import bits_per_dim as bits_per_dim
    from vqfusion.tokenizers.image import ImageTokenizer as ImageTokenizer
    from vqfusion.tokenizers.quantizers import QUANTIZERS as QUANTIZERS
    from vqfusion.tokenizers.quantizers import FiniteScalarQuantizer as FiniteScalarQuantizer
    from vqfusion.tokenizers.quantizers import VectorQuantizer as VectorQuantizer
    from vqfusion.tokenizers.quantizers import make_quantizer as make_quantizer
    from vqfusion.tokenizers.search import search_codes as search_codes
    from vqfusion.tokenizers.series import SeriesTokenizer as SeriesTokenizer
    from vqfusion.tokenizers.text import TextTokenizer as TextTokenizer
    from vqfusion.tokenizers.text_vqvae import TextVQVAETokenizer as TextVQVAETokenizer
    from vqfusion.tokenizers.volume import VolumeTokenizer as VolumeTokenizer
    from vqfusion.tokenizers.vqvae import VQVAE as VQVAE
    from vqfusion.types import Prediction as Prediction
    from vqfusion.types import Quantized as Quantized
    from vqfusion.types import Sample as Sample
    from vqfusion.types import Tokens as Tokens

PUBLIC = {
    "load": "hub",
    "fit": "fitting",
    "explain": "inspect.attribution.explaining",
    "UserError": "errors",
    "Sample": "types",
    "Tokens": "types",
    "Quantized": "types",
    "Prediction": "types",
    "System": "models.fusion.system",
    "Sampling": "models.sampling",
    "Generated": "models.sampling",
    "Likelihood": "models.fusion.likelihood",
    "TASKS": "tasks",
    "check_task": "tasks.check",
    "open_dataset": "data",
    "as_sample": "data",
    "read": "data",
    "AudioTokenizer": "tokenizers.audio",
    "ImageTokenizer": "tokenizers.image",
    "search_codes": "tokenizers.search",
    "TextTokenizer": "tokenizers.text",
    "TextVQVAETokenizer": "tokenizers.text_vqvae",
    "SeriesTokenizer": "tokenizers.series",
    "VolumeTokenizer": "tokenizers.volume",
    "VQVAE": "tokenizers.vqvae",
    "GaussianVQVAE": "tokenizers.gaussian_vqvae",
    "bits_per_dim": "tokenizers.gaussian_vqvae",
    "DiffusionModel": "models.latent.diffusion_model",
    "LatentDiffusion": "models.latent.latent_diffusion",
    "UNet": "nn.unet",
    "DenoisingTransformer": "nn.denoising_transformer",
    "Prior": "models.restoration.prior",
    "AnySizePrior": "models.restoration.any_size",
    "MirroredPrior": "models.restoration.mirrored",
    "restore": "models.restoration.restoring",
    "Restored": "models.restoration.restored",
    "OPERATORS": "diffusion.operators",
    "GaussianPath": "diffusion.gaussian.path",
    "FlowPath": "diffusion.gaussian.flow",
    "NetworkDenoiser": "diffusion.gaussian.denoiser",
    "sample_signal": "diffusion.gaussian.samplers",
    "MaskedPath": "diffusion.masked.path",
    "sample_masked": "diffusion.masked.samplers",
    "VQVAEEncoder": "nn.conv",
    "VQVAEDecoder": "nn.conv",
    "VectorQuantizer": "tokenizers.quantizers",
    "FiniteScalarQuantizer": "tokenizers.quantizers",
    "QUANTIZERS": "tokenizers.quantizers",
    "make_quantizer": "tokenizers.quantizers",
    "check_quantizer": "tokenizers.conformance.check",
    "check_tokenizer": "tokenizers.conformance.check",
}

__all__ = ["__version__", *PUBLIC]

MovedModules.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("vqfusion")
    if name in PUBLIC:
        return getattr(import_module(f"vqfusion.{PUBLIC[name]}"), name)
    try:
        return old_name(__name__, name)
    except AttributeError:
        raise AttributeError(f"vqfusion has no {name!r}; it has {', '.join(__all__)}") from None


def __dir__() -> list[str]:
    return __all__
