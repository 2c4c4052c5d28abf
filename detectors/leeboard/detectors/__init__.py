"""Detectors: numbers in, evidence out. They do not know where the numbers come from, and read no clock."""

from .base import Detector, Uniforms, event_uniforms, hash64
from .core.changetime import ChangeTime
from .core.evidence import Evidence
from .numeric.detector import NumericDetector
from .share.detector import BinaryDetector, CategoricalDetector
from .vector.detector import ConditionalDetector, DirectionDetector, FeaturesDetector

__all__ = [
    "BinaryDetector",
    "CategoricalDetector",
    "ChangeTime",
    "ConditionalDetector",
    "Detector",
    "DirectionDetector",
    "Evidence",
    "FeaturesDetector",
    "NumericDetector",
    "Uniforms",
    "event_uniforms",
    "hash64",
]
