from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from jinavec.errors import InvalidDimension, InvalidInput, InvalidVectors
from jinavec.vectors import (
    as_vectors,
    asymmetric,
    binarize,
    from_base64,
    from_hex,
    from_offset_binary,
    from_signed_bytes,
    hamming,
    narrow,
    normalize,
    to_base64,
    to_hex,
    to_int8,
    to_offset_binary,
    to_signed_bytes,
    unpack,
)

Rows = NDArray[np.float32]
NATIVE = [256, 128, 64, 32]

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
moderate = st.just(0.0) | st.floats(2**-10, 2**10, width=32) | st.floats(-(2**10), -(2**-10), width=32)


def rows_of(width: int, elements: st.SearchStrategy[float] = finite) -> st.SearchStrategy[Rows]:
    def directed(rows: Rows) -> Rows:
        rows = rows.copy()
        rows[~rows[:, :8].any(axis=1), 0] = 1  # no row may be zero, nor may its narrow forms
        return rows

    return arrays(np.float32, st.tuples(st.integers(1, 5), st.just(width)), elements=elements).map(directed)


def gaussian(n: int, width: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def exact_unit(row: Rows, dimension: int) -> list[float]:
    """The reference order in exact-enough arithmetic: slice, then divide by the norm."""
    kept = [float(value) for value in row[:dimension]]
    largest = max(map(abs, kept))
    norm = sum((value / largest) ** 2 for value in kept) ** 0.5
    return [value / largest / norm for value in kept]


# narrow and normalize


@given(rows_of(16), st.integers(8, 16))
def test_narrow_slices_then_renormalises(rows: Rows, dimension: int) -> None:
    narrowed = narrow(rows, dimension)
    assert narrowed.dtype == np.float32
    assert narrowed.shape == (len(rows), dimension)
    expected = [exact_unit(row, dimension) for row in rows]
    np.testing.assert_allclose(narrowed, expected, rtol=1e-6, atol=1e-7)


@given(rows_of(16, moderate), st.integers(8, 16), st.integers(8, 16))
def test_narrowing_twice_is_narrowing_once(rows: Rows, one: int, other: int) -> None:
    wide, small = max(one, other), min(one, other)
    np.testing.assert_allclose(narrow(narrow(rows, wide), small), narrow(rows, small), rtol=1e-6, atol=1e-7)


@given(rows_of(8))
def test_normalised_rows_have_unit_length_and_keep_their_direction(rows: Rows) -> None:
    unit = normalize(rows)
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, atol=1e-6)
    assert ((unit > 0) <= (rows > 0)).all()
    np.testing.assert_allclose(normalize(unit), unit, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-30, 1e-20, 1.0, 1e20, 1e30, 3e38])
def test_magnitude_does_not_matter(scale: float) -> None:
    row = np.full((1, 1024), scale, np.float32)
    np.testing.assert_allclose(normalize(row), 1 / 32, rtol=1e-6)
    np.testing.assert_allclose(narrow(row, 256), 1 / 16, rtol=1e-6)
    assert (to_int8(row) == 127).all()


def test_many_rows_are_each_normalised_on_their_own() -> None:
    rows = gaussian(1000, 24) * np.logspace(-30, 30, 1000, dtype=np.float64)[:, None]
    expected = rows[:, :16] / np.linalg.norm(rows[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(narrow(rows, 16), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dimension", [0, -1, 257, True, 32.0, "32", None])
def test_widths_that_cannot_be_cut_are_refused(dimension: Any) -> None:
    with pytest.raises(InvalidDimension, match="256"):
        narrow(gaussian(2, 256), dimension)


@pytest.mark.parametrize("dimension", [1, 31, 33, 96, 255])
def test_only_matryoshka_widths_are_offered_and_listed(dimension: int) -> None:
    with pytest.raises(InvalidDimension, match=rf"{dimension}.*32, 64, 128, 256"):
        narrow(gaussian(2, 256), dimension, allowed=NATIVE)
    for allowed in NATIVE:
        assert narrow(gaussian(2, 256), allowed, allowed=NATIVE).shape == (2, allowed)


# every door takes rows of any kind, and refuses what is no vector

FLOAT_DOORS: dict[str, Callable[[Any], Any]] = {
    "normalize": normalize,
    "narrow": lambda x: narrow(x, 8),
    "binarize": binarize,
    "to_int8": to_int8,
}
ROW_DOORS: dict[str, Callable[[Any], Any]] = {**FLOAT_DOORS, "as_vectors": as_vectors}
DIRECTION_DOORS = {name: door for name, door in ROW_DOORS.items() if name != "binarize"}


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f4"),
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple((*row,) for row in x.tolist()),
    "rows": lambda x: list(x),
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
}


@pytest.mark.parametrize("door", FLOAT_DOORS.values(), ids=FLOAT_DOORS.keys())
def test_one_vector_gives_one_vector(door: Callable[[Any], Any]) -> None:
    rows = gaussian(3, 16)
    for row, expected in zip(rows, door(rows), strict=True):
        np.testing.assert_array_equal(door(row), expected)


@pytest.mark.parametrize("door", FLOAT_DOORS.values(), ids=FLOAT_DOORS.keys())
@pytest.mark.parametrize("same", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_gives_the_same(door: Callable[[Any], Any], same: Callable[[Rows], Any]) -> None:
    rows = gaussian(5, 16).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(door(same(rows)), door(rows))


@pytest.mark.parametrize("door", FLOAT_DOORS.values(), ids=FLOAT_DOORS.keys())
def test_no_rows_give_no_rows(door: Callable[[Any], Any]) -> None:
    assert len(door(np.empty((0, 16), np.float32))) == 0


@pytest.mark.parametrize("door", ROW_DOORS.values(), ids=ROW_DOORS.keys())
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("row", [0, 1, 299])
def test_numbers_that_are_not_finite_are_refused_by_row(door: Callable[[Any], Any], bad: float, row: int) -> None:
    rows = gaussian(300, 16).astype(np.float64)
    rows[row, -1] = bad
    with pytest.raises(InvalidVectors, match=rf"\b{row}\b.*NaN or infinity"):
        door(rows)


@pytest.mark.parametrize("door", DIRECTION_DOORS.values(), ids=DIRECTION_DOORS.keys())
@pytest.mark.parametrize("row", [0, 1, 299])
def test_zero_vectors_are_refused_by_row(door: Callable[[Any], Any], row: int) -> None:
    rows = gaussian(300, 16)
    rows[row] = -0.0
    with pytest.raises(InvalidVectors, match=rf"\b{row}\b.*zero"):
        door(rows)


def test_a_vector_whose_kept_part_is_zero_is_refused() -> None:
    rows = gaussian(3, 16)
    rows[1, :8] = 0
    assert narrow(rows, 16).shape == (3, 16)
    with pytest.raises(InvalidVectors, match=r"\b1\b.*zero"):
        narrow(rows, 8)


@pytest.mark.parametrize("door", FLOAT_DOORS.values(), ids=FLOAT_DOORS.keys())
@pytest.mark.parametrize(
    "bad",
    [None, 3.0, "1.0", ["1"] * 8, [None] * 8, [[1.0] * 8, [1.0] * 7], [1j] * 8, [object()] * 8, [b"1"] * 8, {"a": 1}],
)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(door: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(InvalidVectors) as refusal:
        door(bad)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("door", DIRECTION_DOORS.values(), ids=DIRECTION_DOORS.keys())
def test_a_cube_is_no_rows(door: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidVectors, match="shape"):
        door(np.ones((2, 2, 8), np.float32))


def test_as_vectors_checks_the_width_and_copies_nothing() -> None:
    rows = gaussian(3, 16)
    assert as_vectors(rows, 16) is rows or np.shares_memory(as_vectors(rows, 16), rows)
    assert as_vectors(rows[:, ::2]).flags.c_contiguous
    for shape in ((3, 16), (16,), (1, 1, 8)):
        with pytest.raises(InvalidVectors, match=r"\(n, 8\)"):
            as_vectors(np.ones(shape, np.float32), 8)


@pytest.mark.parametrize("door", FLOAT_DOORS.values(), ids=FLOAT_DOORS.keys())
def test_results_share_nothing_with_what_was_given(door: Callable[[Any], Any]) -> None:
    rows = normalize(gaussian(4, 8))
    before = rows.copy()
    door(rows)[:] = 3
    np.testing.assert_array_equal(rows, before)


# bits

PLUS_MINUS = [-1, -1, 1, 1, -1, -1, 1, -1, 1, 1, -1, -1, -1, -1, -1, 1, 1, *[-1] * 7, *[1] * 8]


def test_bits_are_those_of_the_reference() -> None:
    bits = binarize(PLUS_MINUS)
    assert bits.tolist() == [50, 193, 128, 255]
    assert bits.dtype == np.uint8
    assert to_offset_binary(bits).tolist() == [-78, 65, 0, 127]
    assert from_offset_binary([-78, 65, 0, 127]).tolist() == [50, 193, 128, 255]
    assert unpack(bits).tolist() == PLUS_MINUS
    assert binarize([0.0] * 8).tolist() == [0]


@given(rows_of(24))
def test_bits_are_signs_most_significant_first(rows: Rows) -> None:
    expected = [[sum((row[8 * byte + bit] > 0) << (7 - bit) for bit in range(8)) for byte in range(3)] for row in rows]
    assert binarize(rows).tolist() == expected


@given(rows_of(24, moderate))
def test_normalising_never_changes_a_bit(rows: Rows) -> None:
    np.testing.assert_array_equal(binarize(normalize(rows)), binarize(rows))


@pytest.mark.parametrize("value", [-1e-45, -0.0, 0.0, 1e-45, 1.0])
def test_a_bit_is_one_above_zero_only(value: float) -> None:
    assert binarize([value, *[0.0] * 7]).tolist() == [128 if value > 0 else 0]


@pytest.mark.parametrize("dimension", [8, 16, 24])
def test_slicing_bytes_is_packing_narrow_vectors(dimension: int) -> None:
    rows = gaussian(50, 32)
    np.testing.assert_array_equal(binarize(rows)[:, : dimension // 8], binarize(narrow(rows, dimension)))


@pytest.mark.parametrize("width", [1, 7, 9, 31])
def test_widths_that_are_no_whole_bytes_are_refused(width: int) -> None:
    with pytest.raises(InvalidDimension, match=rf"{width} is not a multiple of 8"):
        binarize(gaussian(2, width))


# the encodings of servers


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9))))
def test_encodings_of_bytes_round_trip(bits: NDArray[np.uint8]) -> None:
    assert to_offset_binary(bits).tolist() == [[byte - 128 for byte in row] for row in bits.tolist()]
    assert to_signed_bytes(bits).tolist() == [[byte - 256 * (byte > 127) for byte in row] for row in bits.tolist()]
    np.testing.assert_array_equal(from_offset_binary(to_offset_binary(bits)), bits)
    np.testing.assert_array_equal(from_signed_bytes(to_signed_bytes(bits)), bits)
    np.testing.assert_array_equal(from_hex(to_hex(bits[0])), bits[0])
    assert to_hex(bits[0]) == "".join(f"{byte:02x}" for byte in bits[0])


@given(arrays(np.int8, st.integers(1, 9)))
def test_jina_binary_becomes_elasticsearch_bytes_by_flipping_the_sign_bit(offset: NDArray[np.int8]) -> None:
    flipped = (offset.view(np.uint8) ^ 0x80).view(np.int8)
    np.testing.assert_array_equal(to_signed_bytes(from_offset_binary(offset)), flipped)


def test_hex_is_that_of_elasticsearch() -> None:
    values = [-127, 0, 1, 42, 127]
    assert from_hex("8100012a7f").view(np.int8).tolist() == values
    assert to_hex(np.array(values, np.int8)) == "8100012a7f"
    assert to_hex(from_signed_bytes(values)) == "8100012a7f"
    assert from_hex("8100012A7F").view(np.int8).tolist() == values


@pytest.mark.parametrize(
    ("values", "byteorder", "text"),
    [
        ([1.0], "big", "P4AAAA=="),
        ([1.0, 2.0], "big", "P4AAAEAAAAA="),
        ([1.0], "little", "AACAPw=="),
        ([0.25, -0.5, 1.0], "little", base64.b64encode(struct.pack("<3f", 0.25, -0.5, 1.0)).decode()),
        ([0.25, -0.5, 1.0], "big", base64.b64encode(struct.pack(">3f", 0.25, -0.5, 1.0)).decode()),
    ],
)
def test_base64_is_that_of_the_servers(values: list[float], byteorder: Any, text: str) -> None:
    assert to_base64(values, byteorder) == text
    decoded = from_base64(text, byteorder)
    assert decoded.tolist() == values
    assert decoded.dtype == np.dtype(np.float32)


@given(arrays(np.float32, st.integers(1, 9), elements=finite), st.sampled_from(["little", "big"]))
def test_base64_round_trips_exactly(vector: Rows, byteorder: Any) -> None:
    assert from_base64(to_base64(vector, byteorder), byteorder).tobytes() == vector.tobytes()


def test_base64_is_little_endian_unless_asked() -> None:
    assert to_base64([1.0]) == "AACAPw=="
    assert from_base64("AACAPw==").tolist() == [1.0]


def test_decoded_vectors_can_be_written_to() -> None:
    for decoded in (from_hex("00ff"), from_base64("AACAPw=="), from_base64("P4AAAA==", "big")):
        decoded += 1


@pytest.mark.parametrize("decode", [from_offset_binary, from_signed_bytes])
def test_bytes_may_arrive_as_whole_floats(decode: Callable[[Any], Any]) -> None:
    assert decode([-78.0, 65.0, 0.0, 127.0]).tolist() == decode([-78, 65, 0, 127]).tolist()


@pytest.mark.parametrize("decode", [from_offset_binary, from_signed_bytes])
@pytest.mark.parametrize(
    "bad", [[128], [-129], [0.5], [float("nan")], [float("inf")], ["1"], [None], "abc", [[1], [1, 2]], [2**80]], ids=str
)
def test_bad_bytes_are_refused(decode: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(InvalidVectors) as refusal:
        decode(bad)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("bad", ["8", "8g", "0x81", "81 00", "é1", None, 81, "zz" * 100])
def test_bad_hex_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidVectors, match="hex") as refusal:
        from_hex(bad)
    assert len(str(refusal.value)) < 150


NAN = base64.b64encode(struct.pack("<f", float("nan"))).decode()
INFINITY = base64.b64encode(struct.pack("<f", float("inf"))).decode()


@pytest.mark.parametrize("bad", ["A", "AAAA", "AACAPw", "AACAPw=!", "AACA\nPw==", "ééé=", None, 3, NAN, INFINITY])
def test_bad_base64_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidVectors):
        from_base64(bad)


@pytest.mark.parametrize("order", ["native", "", "LITTLE", None])
def test_a_byte_order_is_little_or_big(order: Any) -> None:
    with pytest.raises(InvalidInput, match="'little' nor 'big'"):
        to_base64([1.0], order)
    with pytest.raises(InvalidInput, match="'little' nor 'big'"):
        from_base64("AACAPw==", order)


def test_encoders_of_one_vector_take_one_vector() -> None:
    with pytest.raises(InvalidVectors, match=r"\(2, 8\)"):
        to_base64(gaussian(2, 8))
    with pytest.raises(InvalidVectors, match=r"\(2, 1\)"):
        to_hex(binarize(gaussian(2, 8)))
    with pytest.raises(InvalidVectors, match="float32"):
        to_hex(np.ones(8, np.float32))  # pyright: ignore[reportArgumentType]


def test_vectors_that_are_not_finite_are_not_encoded() -> None:
    with pytest.raises(InvalidVectors, match="NaN"):
        to_base64([float("nan")])


PACKED_DOORS: dict[str, Callable[[Any], Any]] = {
    "unpack": unpack,
    "to_offset_binary": to_offset_binary,
    "to_signed_bytes": to_signed_bytes,
    "hamming query": lambda bits: hamming(bits, np.zeros((2, 1), np.uint8)),
    "hamming documents": lambda bits: hamming(np.zeros(1, np.uint8), bits),
    "asymmetric": lambda bits: asymmetric(np.ones(8), bits),
}


@pytest.mark.parametrize("door", PACKED_DOORS.values(), ids=PACKED_DOORS.keys())
@pytest.mark.parametrize("bad", [np.zeros((2, 1), np.int8), np.zeros((2, 8), np.float32), [[1], [2]], b"a", None])
def test_only_packed_bits_are_packed_bits(door: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(InvalidVectors, match="uint8"):
        door(bad)


# scores


@given(arrays(np.uint8, st.just(5)), arrays(np.uint8, st.tuples(st.integers(0, 6), st.just(5))))
def test_hamming_counts_differing_bits(query: NDArray[np.uint8], documents: NDArray[np.uint8]) -> None:
    naive = [sum(bin(a ^ b).count("1") for a, b in zip(query.tolist(), row, strict=True)) for row in documents.tolist()]
    assert hamming(query, documents).tolist() == naive


@given(rows_of(16, st.floats(-10, 10, width=32)), rows_of(16, st.floats(-10, 10, width=32)))
def test_asymmetric_is_the_cosine_to_the_signs(queries: Rows, documents: Rows) -> None:
    signs = np.where(documents > 0, 1.0, -1.0)
    for query in queries.astype(np.float64):
        expected = signs @ query / (np.linalg.norm(query) * 4)
        np.testing.assert_allclose(asymmetric(query, binarize(documents)), expected, atol=1e-6)


def test_hamming_orders_as_the_cosine_of_the_signs_does() -> None:
    rows = gaussian(200, 64)
    bits = binarize(rows)
    cosine = unpack(bits) @ unpack(bits[:1])[0] / 64
    np.testing.assert_allclose(1 - 2 * hamming(bits[0], bits) / 64, cosine, atol=1e-6)


def test_scores_refuse_other_widths() -> None:
    with pytest.raises(InvalidVectors, match="4 and 2 bytes"):
        hamming(np.zeros(4, np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(InvalidVectors, match="32 and 16 components"):
        asymmetric(np.ones(32), np.zeros((3, 2), np.uint8))
    with pytest.raises(InvalidVectors, match="one vector"):
        asymmetric(np.ones((2, 16)), np.zeros((3, 2), np.uint8))
    with pytest.raises(InvalidVectors, match="zero"):
        asymmetric(np.zeros(16), np.zeros((3, 2), np.uint8))


# int8


@settings(max_examples=200)
@given(rows_of(32))
def test_int8_keeps_the_direction(rows: Rows) -> None:
    small = to_int8(rows)
    assert small.dtype == np.int8
    assert (np.abs(small.astype(np.int16)).max(axis=1) == 127).all()
    largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    np.testing.assert_allclose(small, rows / largest * 127, atol=0.501)


def test_int8_of_real_widths_is_nearly_parallel() -> None:
    rows = gaussian(500, 256)
    cosine = np.einsum("ij,ij->i", normalize(rows), normalize(to_int8(rows)))
    assert cosine.min() > 0.9998
