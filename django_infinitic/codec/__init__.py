"""Values to payloads and back, directed by annotations. A payload is compact JSON text."""

from __future__ import annotations

from django_infinitic.codec.limits import Limits, limits, set_limits
from django_infinitic.codec.places import MISSING, Missing, Place
from django_infinitic.codec.properties import property_codecs
from django_infinitic.codec.raised import (
    decode_exception_args,
    encode_exception_args,
    rebuild_exception,
)
from django_infinitic.codec.rows import pack, unpack
from django_infinitic.codec.sameness import same
from django_infinitic.codec.signatures import Signature
from django_infinitic.codec.values import Payload, ValueCodec, codec_for
from django_infinitic.codec.words import render, shape, type_name

__all__ = [
    "MISSING",
    "Limits",
    "Missing",
    "Payload",
    "Place",
    "Signature",
    "ValueCodec",
    "codec_for",
    "decode_exception_args",
    "encode_exception_args",
    "limits",
    "pack",
    "property_codecs",
    "rebuild_exception",
    "render",
    "same",
    "set_limits",
    "shape",
    "type_name",
    "unpack",
]
