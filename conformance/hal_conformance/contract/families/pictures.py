"""Encoded images, and the weights of bands of the mel scale."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.numbers import Array, is_float, narrow
from hal_conformance.contract.tolerance import EXACT, composed

_F = ElementType.FLOAT


@generates("ImageDecoder")
def image_decoder(ask: Ask) -> Iterator[Draft]:
    """PNG and BMP, which lose nothing, of several extents, in each order of the channels."""
    if not ask.first:
        return
    for slug, encode, shape, layout in (
        ("png-rgb", _png, (5, 7), "RGB"),
        ("png-bgr", _png, (3, 4), "BGR"),
        ("png-default", _png, (6, 2), None),
        ("bmp-rgb", _bmp, (4, 5), "RGB"),
        ("bmp-bgr", _bmp, (2, 3), "BGR"),
        ("bmp-whole", _bmp, (3, 4), "RGB"),  # its last byte is a number, and no filling
    ):
        pixels = ask.draw(slug).integers((*shape, 3), 0, 255).astype(np.uint8)
        stream = np.frombuffer(encode(pixels), np.uint8)
        yield ask.draft(
            slug,
            [narrow(stream, ElementType.UINT8)],
            [pixels[..., ::-1] if layout == "BGR" else pixels],
            attributes={} if layout is None else {"pixel_format": layout},
            tolerance=EXACT,
            oracle="none",
            reason="onnx's evaluator needs Pillow; the formats lose nothing",
            dynamic_outputs=True,
        )


@generates("ImageDecoder")
def other_pictures(ask: Ask) -> Iterator[Draft]:
    """One model on a picture, on one as large with black places, and on a larger one."""
    if not ask.first:
        return
    runs = []
    for i, size in enumerate(((3, 5), (3, 5), (4, 7), (3, 5))):
        pixels = ask.draw(f"others{i % 3}").integers((*size, 3), 1, 255).astype(np.uint8)
        if i == 1:
            pixels[1:] = 0
        stream = np.frombuffer(_png(pixels), np.uint8)
        runs.append(Run((narrow(stream, ElementType.UINT8),), (pixels,)))
    yield Draft(
        slug="others",
        runs=tuple(runs),
        outputs=("tensor(uint8)",),
        tolerance=EXACT,
        oracle="none",
        reason="onnx's evaluator needs Pillow; the formats lose nothing",
        dynamic_outputs=True,
    )


def _png(pixels: Array) -> bytes:
    """A PNG of eight bits a channel, rows unfiltered (ISO/IEC 15948)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _bmp(pixels: Array) -> bytes:
    """A BMP of 24 bits a pixel: rows from the bottom, blue first, each a multiple of four bytes."""
    height, width = pixels.shape[:2]
    rows = b"".join(
        row[:, ::-1].tobytes().ljust((3 * width + 3) // 4 * 4, b"\0") for row in pixels[::-1]
    )
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows


@generates("MelWeightMatrix")
def mel_weights(ask: Ask) -> Iterator[Draft]:
    """Bands of several numbers, rates and edges, each an input: one model called again."""
    rows = [
        (5, 32, 8000, 0.0, 4000.0),
        (5, 32, 8000, 900.0, 2500.0),
        (8, 64, 16000, 125.0, 7500.0),
        (3, 17, 8192, 50.0, 3000.0),
    ]
    kinds = {"T1": ElementType.INT64, "T2": ElementType.FLOAT, "T3": ElementType.FLOAT}
    kinds[ask.constraint] = ask.element
    runs = []
    for bins, length, rate, low, high in (*rows, rows[0]) if ask.full else rows[:1]:
        whole = [narrow(np.array(v), kinds["T1"]) for v in (bins, length, rate)]
        edges = [narrow(np.array(v), kinds["T2"]) for v in (low, high)]
        runs.append(Run((*whole, *edges)))
    yield Draft(
        slug="bands",
        runs=tuple(runs),
        outputs=(f"tensor({kinds['T3'].onnx_name})",),
        attributes={} if kinds["T3"] is _F else {"output_datatype": int(kinds["T3"])},
        tolerance=composed(kinds["T3"], magnitude=4.0) if is_float(kinds["T3"]) else EXACT,
        oracle="native" if not is_float(kinds["T3"]) else "widened",
        dynamic_outputs=True,
    )
