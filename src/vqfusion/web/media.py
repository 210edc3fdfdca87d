"""Media types of the files that functions give."""

from pathlib import Path

from vqfusion.data.io.file import suffix_of

TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".bmp": "image/bmp", ".avif": "image/avif", ".jp2": "image/jp2", ".ppm": "image/x-portable-pixmap",
    ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".mp3": "audio/mpeg",
    ".aiff": "audio/aiff", ".aif": "audio/aiff", ".au": "audio/basic", ".caf": "audio/x-caf",
    ".csv": "text/csv; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".json": "application/json",
    ".nii.gz": "application/gzip", ".tif": "image/tiff", ".tiff": "image/tiff", ".npz": "application/zip",
}  # fmt: skip


def media_type(path: str | Path) -> str:
    """Media type by the suffix of a name."""
    return TYPES.get(suffix_of(path), "application/octet-stream")
