"""State indices to bytes and back, flat and in C order.

Two codes, both with the first state lowest in its byte and the last byte filled up with zeros:

* bits: every state takes `storage_bits(states)` bits; the form in memory, addressed without arithmetic;
* radix: floor(8 / log2(states)) states are the digits of one byte in base `states`; the form on disk (ternary: five
  states per byte, 1.6 bits each).

Where states fill their bits (binary) or a state takes a whole byte, both codes give the same bytes. A weight goes from a
layer to a file and back as those bytes, or by `bits_to_radix` and `radix_to_bits`, which never hold its states one
by one.
"""

from __future__ import annotations

import functools

import numpy as np

from gxnor import native

PIECE = 1 << 16  # bytes converted at a time, a multiple of 4: keeps temporary arrays out of the memory bill


def storage_bits(states: int) -> int:
    """1, 2, 4 or 8: the smallest power of two of bits that holds a state index of `states` states.

    Raises ValueError unless 2 <= states <= 256."""
    if not 2 <= states <= 256:
        raise ValueError(f"expected 2 to 256 states, got {states}")
    return next(bits for bits in (1, 2, 4, 8) if states <= 2**bits)


def radix_digits(states: int) -> int:
    """How many states share a byte on disk: the largest k with states^k <= 256."""
    storage_bits(states)  # checks the range
    return next(k for k in range(8, 0, -1) if states**k <= 256)


def is_one_code(states: int) -> bool:
    """Whether `pack_bits` and `pack_radix` give the same bytes."""
    bits = storage_bits(states)
    return states == 2**bits or bits == 8


def bits_size(count: int, bits: int) -> int:
    """Bytes that `count` states of `bits` bits take."""
    return -(-count * bits // 8)


def radix_size(count: int, states: int) -> int:
    """Bytes that `count` states take in the radix code."""
    return -(-count // radix_digits(states))


def pack_bits(indices, bits: int) -> np.ndarray:
    """uint8 [ceil(n bits / 8)]: element i in byte i * bits // 8, low bits first.

    Raises ValueError for bits other than 1, 2, 4, 8 and for an index that needs more bits."""
    if bits not in (1, 2, 4, 8):
        raise ValueError(f"expected 1, 2, 4 or 8 bits, got {bits}")
    columns = _columns(indices, 2**bits, 8 // bits)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(columns << shifts, axis=1, dtype=np.uint8)


def unpack_bits(packed, bits: int, count: int) -> np.ndarray:
    """uint8 [count]: what `pack_bits` packed. Raises ValueError for a wrong length."""
    packed = _bytes(packed, bits_size(count, bits), f"{count} states of {bits} bits")
    return _table(2**bits, bits)[packed].reshape(-1)[:count]


def pack_radix(indices, states: int) -> np.ndarray:
    """uint8 [ceil(n / k)] with k = floor(8 / log2(states)) states per byte:

        byte = sum over j < k of  index_j * states^j

    Raises ValueError for an index that is not a state."""
    digits = radix_digits(states)
    weights = np.array([states**j for j in range(digits)], dtype=np.uint8)
    return (_columns(indices, states, digits) * weights).sum(axis=1, dtype=np.uint8)


def unpack_radix(packed, states: int, count: int) -> np.ndarray:
    """uint8 [count]: what `pack_radix` packed. Raises ValueError for a wrong length and for bytes it never writes."""
    packed = _check_radix(packed, states, count)
    return _table(states, None)[packed].reshape(-1)[:count]


def bits_to_radix(packed, states: int, count: int) -> np.ndarray:
    """`pack_radix(unpack_bits(packed, storage_bits(states), count), states)` without holding all states at once; the
    bytes themselves where both codes are one.

    Raises ValueError for a wrong length and for an index that is not a state."""
    check_bits(packed, states, count)
    packed = np.asarray(packed)
    if is_one_code(states):
        return packed
    bits, digits = storage_bits(states), radix_digits(states)
    piece = PIECE * digits  # states; its bytes are whole in both codes
    out = np.empty(radix_size(count, states), dtype=np.uint8)
    for start in range(0, count, piece):
        states_here = min(piece, count - start)
        here = packed[start * bits // 8 :][: bits_size(states_here, bits)]
        out[start // digits :][: radix_size(states_here, states)] = pack_radix(
            unpack_bits(here, bits, states_here), states
        )
    return out


def radix_to_bits(packed, states: int, count: int) -> np.ndarray:
    """`pack_bits(unpack_radix(packed, states, count), storage_bits(states))` without holding the states one by one, on
    the native library where there is one; the bytes themselves where both codes are one.

    Raises ValueError as `unpack_radix` does."""
    packed = np.ascontiguousarray(_check_radix(packed, states, count))
    if is_one_code(states):
        return packed
    library = native.library()
    if library is None:
        return _radix_to_bits(packed, states, count)
    table, wide = _repacked(states)
    out = np.empty(bits_size(count, storage_bits(states)), dtype=np.uint8)
    library.gxnor_repack(packed.ctypes.data, packed.size, table.ctypes.data, wide, out.ctypes.data, out.size)
    return out


def _radix_to_bits(packed: np.ndarray, states: int, count: int) -> np.ndarray:
    """The reference: a pair of bytes becomes its bits by table, two pairs become whole bytes."""
    one, wide = _repacked(states)
    pair = (one | one[:, None].astype(np.uint32) << np.uint32(wide)).reshape(-1)
    out = np.empty((-(-len(packed) // 4), wide // 2), dtype=np.uint8)  # a row is what four bytes become
    for start in range(0, len(packed), PIECE):
        piece = packed[start : start + PIECE]
        piece = np.concatenate([piece, np.zeros(-len(piece) % 4, dtype=np.uint8)])
        pairs = pair[piece.view("<u2")]
        fours = (pairs[0::2] | pairs[1::2].astype(np.uint64) << np.uint64(2 * wide)).astype("<u8")
        rows = out[start // 4 : start // 4 + len(fours)]
        for column in range(wide // 2):  # one by one: NumPy is slow where the last axis is short
            rows[:, column] = fours.view(np.uint8)[column::8]
    return out.reshape(-1)[: bits_size(count, storage_bits(states))]


def check_bits(packed, states: int, count: int) -> None:
    """Raises ValueError unless `pack_bits` could have packed these bytes from `count` indices below `states`: right
    length, no index beyond the last state, spare bits zero."""
    bits = storage_bits(states)
    packed = _bytes(packed, bits_size(count, bits), f"{count} states of {bits} bits")
    valid = np.flatnonzero((_table(2**bits, bits) < states).all(axis=1)).astype(np.uint8).tobytes()
    for start in range(0, len(packed), PIECE):
        if packed[start : start + PIECE].tobytes().translate(None, delete=valid):
            raise ValueError(f"packed states hold an index beyond the last of {states} states")
    if count * bits % 8 and packed[-1] >> (count * bits % 8):
        raise ValueError("packed states end in spare bits that are not zero")


@functools.cache
def _repacked(states: int) -> tuple[np.ndarray, int]:
    """uint16 [256], the bits that every byte of the radix code becomes, and how many: 8, 10 or 12."""
    bits, digits = storage_bits(states), radix_digits(states)
    shifted = _table(states, None).astype(np.uint16) << np.arange(0, bits * digits, bits, dtype=np.uint16)
    return shifted.sum(axis=1, dtype=np.uint16), bits * digits


@functools.cache
def _table(states: int, bits: int | None) -> np.ndarray:
    """uint8 [256, digits]: the states in every byte, in the radix code or (bits given) in the bit code."""
    byte = np.arange(256)[:, None]
    digits = 8 // bits if bits else radix_digits(states)
    return (byte // states ** np.arange(digits) % states).astype(np.uint8)


def _columns(indices, states: int, width: int) -> np.ndarray:
    """uint8 [ceil(n / width), width]: the indices, checked and zero padded."""
    indices = np.asarray(indices)
    if indices.dtype != np.uint8:
        raise ValueError(f"expected state indices as uint8, got {indices.dtype}")
    flat = indices.reshape(-1)
    if flat.size and flat.max() >= states:
        raise ValueError(f"expected state indices below {states}, got {flat.max()}")
    return np.concatenate([flat, np.zeros(-flat.size % width, dtype=np.uint8)]).reshape(-1, width)


def _bytes(packed, size: int, what: str) -> np.ndarray:
    packed = np.asarray(packed)
    if packed.dtype != np.uint8 or packed.shape != (size,):
        raise ValueError(f"{what} take {size} bytes as uint8, got {packed.dtype} of shape {packed.shape}")
    return packed


def _check_radix(packed, states: int, count: int) -> np.ndarray:
    digits = radix_digits(states)
    packed = _bytes(packed, radix_size(count, states), f"{count} of {states} states in base {states}")
    if not packed.size:
        return packed
    if packed.max() >= states**digits:
        raise ValueError(f"byte {packed.max()} is not a group of {digits} states in base {states}")
    if count % digits and packed[-1] >= states ** (count % digits):
        raise ValueError("packed states end in spare digits that are not zero")
    return packed
