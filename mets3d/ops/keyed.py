"""Draws random numbers from keys instead of a generator: equal on every device and in every batch.

The number at position i of a sample is a hash of (key, stream, i), by integer arithmetic. So what a sample draws does
not depend on what lies beside it in a batch, on the process or on the device, and the host waits for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from zlib import crc32

import torch
from jaxtyping import Bool, Float32, Int32, Int64
from torch import Tensor

WORD = 2**32
# Multipliers of lowbias32 and of another 32-bit hash, both found by C. Wellons' search for little bias.
FIRST, SECOND = 0x7FEB352D, 0x2C1B3C6D


def stream_of(name: str) -> int:
    """Returns the number of a stream from its name, by CRC-32, the same in every process."""
    return crc32(name.encode())


def random_keys(count: int, device: torch.device) -> Int64[Tensor, " B"]:
    """Draws keys from torch's global generator, for samples that have none of their own."""
    return torch.randint(2**62, (count,), device=device)


def keyed_keep(keys: Int64[Tensor, " B"], stream: int, shape: Sequence[int], drop: float) -> Bool[Tensor, "B *shape"]:
    """Draws for each sample a mask of `shape` that is False with probability `drop`, to the nearest 1 / 2^32."""
    threshold = min(round(drop * WORD), WORD - 1) - WORD // 2
    return (_bits(keys, stream, math.prod(shape)) >= threshold).view(len(keys), *shape)


def keyed_uniform(keys: Int64[Tensor, " B"], stream: int, shape: Sequence[int]) -> Float32[Tensor, "B *shape"]:
    """Draws for each sample numbers of `shape`, uniform in [0, 1): multiples of 2^-24, which fp32 holds exactly."""
    return (_shifted(_bits(keys, stream, math.prod(shape)), 8) * 2.0**-24).view(len(keys), *shape)


def _bits(keys: Int64[Tensor, " B"], stream: int, count: int) -> Int32[Tensor, "B count"]:
    """Hashes (key, stream, position) to 32 bits, as signed integers, whose products wrap at 2^32 on every device.

    A multiplication carries low bits up, a shift brings high ones down. The second word of the key enters in between,
    so that two samples have the same numbers only if both words agree. The highest bits are the best ones.
    """
    first, second = _words(keys, stream)
    bits = torch.arange(count, dtype=torch.int32, device=keys.device) ^ first[:, None]
    # In place: new memory for each step would cost as much as the arithmetic.
    bits.bitwise_xor_(_shifted(bits, 16)).mul_(FIRST)
    return bits.bitwise_xor_(_shifted(bits, 15)).bitwise_xor_(second[:, None]).mul_(SECOND)


def _words(keys: Int64[Tensor, " B"], stream: int) -> tuple[Int32[Tensor, " B"], Int32[Tensor, " B"]]:
    """Returns two words for each key, each a hash of the whole key and the stream."""
    low = (((keys & (WORD - 1)) ^ (WORD // 2)) - WORD // 2).to(torch.int32)
    high = (keys >> 32).to(torch.int32)
    one, two = _signed(stream), _signed(~stream * FIRST)
    return _mixed(_mixed(low ^ one) + high), _mixed(_mixed(high ^ two) + low)


def _mixed(words: Int32[Tensor, " B"]) -> Int32[Tensor, " B"]:
    words = (words ^ _shifted(words, 16)) * FIRST
    words = (words ^ _shifted(words, 15)) * SECOND
    return words ^ _shifted(words, 16)


def _shifted(words: Int32[Tensor, "..."], places: int) -> Int32[Tensor, "..."]:
    """Shifts to the right and fills with zeros; the shift of a signed integer alone would repeat its sign."""
    ones: int = 2 ** (32 - places) - 1
    return (words >> places).bitwise_and_(ones)


def _signed(word: int) -> int:
    return (word + WORD // 2) % WORD - WORD // 2
