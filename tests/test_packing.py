import numpy as np
import pytest

from gxnor.packing import (
    bits_to_radix,
    check_bits,
    pack_bits,
    pack_radix,
    radix_digits,
    radix_to_bits,
    storage_bits,
    unpack_bits,
    unpack_radix,
)

STATES = [2, 3, 4, 5, 6, 7, 9, 15, 16, 17, 33, 65, 129, 256]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 19, 20, 21, 1000, 330_001]


@pytest.fixture
def repack(implementation):
    """`radix_to_bits` on the native library, and where there is none."""
    return radix_to_bits


def random_indices(states, count):
    return np.random.default_rng(states + count).integers(states, size=count, dtype=np.uint8)


def test_storage_bits_of_every_space():
    assert [storage_bits(s) for s in (2, 3, 5, 9, 17, 33, 65, 129)] == [1, 2, 4, 4, 8, 8, 8, 8]


def test_radix_digits_fill_a_byte():
    assert [radix_digits(s) for s in (2, 3, 5, 9, 17, 129)] == [8, 5, 3, 2, 1, 1]


@pytest.mark.parametrize("states", [-1, 0, 1, 257])
def test_numbers_of_states_that_no_byte_holds(states):
    with pytest.raises(ValueError, match="2 to 256 states"):
        storage_bits(states)
    with pytest.raises(ValueError, match="2 to 256 states"):
        radix_digits(states)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_bit_positions(bits):
    """Element i lies in byte i * bits // 8, low bits first."""
    indices = random_indices(2**bits, 37)
    packed = pack_bits(indices, bits)
    assert len(packed) == -(-37 * bits // 8)
    for i, index in enumerate(indices.tolist()):
        assert (int(packed[i * bits // 8]) >> (i * bits % 8)) % 2**bits == index


def test_ternary_byte_by_hand():
    assert pack_radix(np.array([2, 0, 1, 0, 2, 1], dtype=np.uint8), 3).tolist() == [2 + 9 + 2 * 81, 1]
    assert pack_bits(np.array([2, 0, 1, 0, 2], dtype=np.uint8), 2).tolist() == [2 + 16, 2]


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("count", COUNTS)
def test_round_trips(states, count):
    indices, bits = random_indices(states, count), storage_bits(states)
    packed, radix = pack_bits(indices, bits), pack_radix(indices, states)
    assert len(packed) == -(-count * bits // 8)
    assert len(radix) == -(-count // radix_digits(states))
    np.testing.assert_array_equal(unpack_bits(packed, bits, count), indices)
    np.testing.assert_array_equal(unpack_radix(radix, states, count), indices)
    check_bits(packed, states, count)


@pytest.mark.parametrize("states", STATES)
def test_radix_becomes_bits(repack, states):
    """Every length up to some groups of bytes, and one of several pieces; equal and all-zero states among them."""
    for count in (*range(90), 700_001):
        for indices in (random_indices(states, count), np.full(count, states - 1, np.uint8), np.zeros(count, np.uint8)):
            bits = repack(pack_radix(indices, states), states, count)
            assert bits.dtype == np.uint8
            np.testing.assert_array_equal(bits, pack_bits(indices, storage_bits(states)))


@pytest.mark.parametrize("states", STATES)
def test_bits_become_radix(states):
    """As `test_radix_becomes_bits`."""
    for count in (*range(90), 700_001):
        for indices in (random_indices(states, count), np.full(count, states - 1, np.uint8), np.zeros(count, np.uint8)):
            radix = bits_to_radix(pack_bits(indices, storage_bits(states)), states, count)
            assert radix.dtype == np.uint8
            np.testing.assert_array_equal(radix, pack_radix(indices, states))


def test_bits_that_are_no_states_do_not_become_radix():
    with pytest.raises(ValueError, match="beyond the last of 3 states"):
        bits_to_radix(np.array([0b11], dtype=np.uint8), 3, 4)
    with pytest.raises(ValueError, match="take 1 bytes"):
        bits_to_radix(np.zeros(2, dtype=np.uint8), 3, 4)


def test_radix_becomes_bits_of_bytes_that_are_not_side_by_side(repack):
    packed = pack_radix(random_indices(3, 100), 3)
    np.testing.assert_array_equal(repack(np.repeat(packed, 2)[::2], 3, 100), repack(packed, 3, 100))


@pytest.mark.parametrize("states", STATES)
def test_every_radix_byte_is_a_group_of_states_or_refused(repack, states):
    digits = radix_digits(states)
    for byte in range(256):
        packed = np.array([byte], dtype=np.uint8)
        if byte < states**digits:
            np.testing.assert_array_equal(pack_radix(unpack_radix(packed, states, digits), states), packed)
        else:
            for reader in (unpack_radix, repack):
                with pytest.raises(ValueError, match=f"not a group of {digits} states"):
                    reader(packed, states, digits)


def test_radix_refuses_wrong_bytes(repack):
    for reader in (unpack_radix, repack):
        with pytest.raises(ValueError, match="6 of 3 states in base 3 take 2 bytes"):
            reader(np.zeros(3, dtype=np.uint8), 3, 6)
        with pytest.raises(ValueError, match="got int32"):
            reader(np.zeros(2, dtype=np.int32), 3, 6)
        with pytest.raises(ValueError, match="spare digits"):
            reader(np.array([0, 3], dtype=np.uint8), 3, 6)


def test_check_bits_refuses_what_pack_bits_never_makes():
    with pytest.raises(ValueError, match="beyond the last of 3 states"):
        check_bits(np.array([0b1100], dtype=np.uint8), 3, 4)
    with pytest.raises(ValueError, match="beyond the last of 5 states"):
        check_bits(np.array([0x51], dtype=np.uint8), 5, 2)
    with pytest.raises(ValueError, match="spare bits"):
        check_bits(np.array([0b0100], dtype=np.uint8), 3, 1)
    with pytest.raises(ValueError, match="take 1 bytes"):
        check_bits(np.array([0, 0], dtype=np.uint8), 3, 4)
    far = np.zeros(100_000, dtype=np.uint8)
    far[-1] = 0b11
    with pytest.raises(ValueError, match="beyond"):
        check_bits(far, 3, 400_000)


def test_packing_refuses_what_is_no_state():
    with pytest.raises(ValueError, match="below 3, got 3"):
        pack_radix(np.array([0, 3], dtype=np.uint8), 3)
    with pytest.raises(ValueError, match="below 4, got 5"):
        pack_bits(np.array([5], dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="as uint8, got int64"):
        pack_bits(np.array([-1]), 2)
    with pytest.raises(ValueError, match="1, 2, 4 or 8 bits"):
        pack_bits(np.array([1], dtype=np.uint8), 3)
