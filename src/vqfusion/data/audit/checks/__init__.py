"""The checks, each a small class; importing this package fills the registry."""

from vqfusion.data.audit.check import CHECKS
from vqfusion.data.audit.checks import alike, classes, files, outliers, pictures, records, sizes, sounds, texts

__all__ = ["CHECKS", "alike", "classes", "files", "outliers", "pictures", "records", "sizes", "sounds", "texts"]
