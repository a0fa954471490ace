"""A plan as a picture: Graphviz text, or SVG drawn here. Each device has a colour and a name.

Nodes are drawn one by one up to a number that can be read, and counted by operator beyond.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from hal.split._plan import Part, Plan

__all__ = ["to_dot", "to_svg"]

_COLOURS = ("#56b4e9", "#e69f00", "#79c9a3", "#cc99bb", "#f0e442", "#d9a58b", "#b0b0b0", "#9fb4d8")
"""After Okabe and Ito: told apart with any eyesight, and dark text reads on each."""
_MOST = 120
_HEIGHT, _GAP, _LEVEL, _MARGIN, _SIDE, _LETTER = 26, 18, 54, 24, 40, 7.0


@dataclasses.dataclass(frozen=True)
class _Box:
    text: str
    part: int
    title: str


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """Boxes in topological order, and the edges between them: from, to, and what goes along."""

    boxes: tuple[_Box, ...]
    edges: tuple[tuple[int, int, str], ...]


def to_dot(plan: Plan) -> str:
    """The plan in Graphviz's language: a cluster for each part, labelled with its device."""
    colours = _colours(plan)
    drawing = _drawing(plan)
    lines = [
        "digraph split {",
        "  rankdir=TB;",
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11];',
        '  edge [fontname="sans-serif", fontsize=9, color="#555555"];',
    ]
    for index, part in enumerate(plan.parts):
        device = part.candidate.device.id
        lines += [
            f"  subgraph cluster_{index} {{",
            f"    label={_quoted(f'part {index + 1}: ' + ', '.join(_heading(part)))};",
            f'    style="rounded"; color="{colours[device]}"; penwidth=2;',
        ]
        for at, box in enumerate(drawing.boxes):
            if box.part == index:
                lines.append(
                    f"    n{at} [label={_quoted(box.text)}, tooltip={_quoted(box.title)}, "
                    f'fillcolor="{colours[device]}"];'
                )
        lines.append("  }")
    for start, end, name in drawing.edges:
        crossing = drawing.boxes[start].part != drawing.boxes[end].part
        style = f" [label={_quoted(name)}, penwidth=2]" if crossing else ""
        lines.append(f"  n{start} -> n{end}{style};")
    return "\n".join([*lines, "}", ""])


def to_svg(plan: Plan) -> str:
    """The plan as a picture: parts from top to bottom, in the order in which they run."""
    colours = _colours(plan)
    drawing = _drawing(plan)
    levels = _levels(drawing, len(plan.parts))
    left = max((_LETTER * len(line) for p in plan.parts for line in _heading(p)), default=0) + 20
    width = max((_row_width(drawing, row) for rows in levels for row in rows), default=0)
    full = left + width + 4 * _MARGIN + _SIDE
    spots: dict[int, tuple[float, float]] = {}
    frames: list[str] = []
    top = float(_MARGIN + 22 * (len(colours) + 1))
    for index, (part, rows) in enumerate(zip(plan.parts, levels, strict=True)):
        height = max(14 + _LEVEL * len(rows), 58)
        colour = colours[part.candidate.device.id]
        frames.append(
            f'<rect x="{_MARGIN}" y="{top:.0f}" width="{full - 2 * _MARGIN:.0f}" '
            f'height="{height}" rx="8" fill="{colour}" fill-opacity="0.12" stroke="{colour}" '
            f'stroke-width="2"/>'
            f'<text x="{_MARGIN + 10}" y="{top + 20:.0f}" font-weight="bold">'
            f"part {index + 1}</text>"
        )
        frames += [
            f'<text x="{_MARGIN + 10}" y="{top + 36 + 15 * row:.0f}">{escape(line)}</text>'
            for row, line in enumerate(_heading(part))
        ]
        for depth, row in enumerate(rows):
            at = left + 2 * _MARGIN + (width - _row_width(drawing, row)) / 2
            for number in row:
                wide = _box_width(drawing.boxes[number])
                spots[number] = (at + wide / 2, top + 20 + _LEVEL * depth)
                at += wide + _GAP
        top += height + 30
    shapes = [*frames, *_lines(drawing, spots)]
    for index, box in enumerate(drawing.boxes):
        x, y = spots[index]
        wide = _box_width(box)
        colour = colours[plan.parts[box.part].candidate.device.id]
        shapes.append(
            f"<g><title>{escape(box.title)}</title>"
            f'<rect x="{x - wide / 2:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{_HEIGHT}" '
            f'rx="4" fill="{colour}" stroke="#333"/>'
            f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{escape(box.text)}</text></g>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{full:.0f}" height="{top:.0f}" '
        f'viewBox="0 0 {full:.0f} {top:.0f}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([*_key(plan, colours), *shapes])
        + "\n</svg>\n"
    )


def _colours(plan: Plan) -> dict[str, str]:
    devices = dict.fromkeys(part.candidate.device.id for part in plan.parts)
    return {device: _COLOURS[i % len(_COLOURS)] for i, device in enumerate(devices)}


def _legend(plan: Plan) -> list[str]:
    counts: dict[str, int] = {}
    for part in plan.parts:
        device = part.candidate.device.id
        counts[device] = counts.get(device, 0) + len(part.nodes)
    return [
        f"{device}: {count} node" + ("s" if count != 1 else "") for device, count in counts.items()
    ]


def _key(plan: Plan, colours: dict[str, str]) -> list[str]:
    found = []
    for row, (line, colour) in enumerate(zip(_legend(plan), colours.values(), strict=True)):
        y = _MARGIN + 22 * row
        found.append(
            f'<rect x="{_MARGIN}" y="{y}" width="14" height="14" rx="3" fill="{colour}" '
            f'stroke="#333"/><text x="{_MARGIN + 22}" y="{y + 12}">{escape(line)}</text>'
        )
    return found


def _drawing(plan: Plan) -> _Drawing:
    """Every node, or where they are too many an operator's nodes of a part as one box."""
    source = plan.source
    single = len(source.nodes) <= _MOST
    boxes: list[_Box] = []
    box_of: dict[int, int] = {}
    for index, part in enumerate(plan.parts):
        groups: dict[str, list[int]] = {}
        for node in part.indices if single else ():
            groups[str(node)] = [node]
        if not single:
            groups[""] = list(part.indices)
        for members in groups.values():
            box_of.update(dict.fromkeys(members, len(boxes)))
            first = source.nodes[members[0]]
            text, title = first.operator, first.name
            if not single:
                counts = list(part.operators.items())
                text = ", ".join(f"{n} {op}" for op, n in counts[:4])
                text += ", ..." if len(counts) > 4 else ""
                title = f"{len(members)} nodes"
            boxes.append(_Box(text, index, title))
    edges: dict[tuple[int, int], list[str]] = {}
    for node, reads in enumerate(source.reads):
        for name in reads:
            giver = source.giver.get(name)
            if giver is not None and box_of[giver] != box_of[node]:
                edges.setdefault((box_of[giver], box_of[node]), []).append(name)
    return _Drawing(
        tuple(boxes),
        tuple(
            (start, end, names[0] if len(set(names)) == 1 else f"{len(set(names))} values")
            for (start, end), names in edges.items()
        ),
    )


def _levels(drawing: _Drawing, parts: int) -> list[list[list[int]]]:
    """The rows of boxes of each part: each box below those of its part that it reads from, and in
    a row by where these stand."""
    before: dict[int, list[int]] = {}
    for start, end, _ in drawing.edges:
        before.setdefault(end, []).append(start)
    depth: dict[int, int] = {}
    rows: list[list[list[int]]] = [[] for _ in range(parts)]
    for index, box in enumerate(drawing.boxes):
        own = [depth[b] for b in before.get(index, ()) if drawing.boxes[b].part == box.part]
        depth[index] = max(own, default=-1) + 1
        while len(rows[box.part]) <= depth[index]:
            rows[box.part].append([])
        rows[box.part][depth[index]].append(index)
    place: dict[int, float] = {}
    for part in rows:
        for row in part:
            row.sort(
                key=lambda b: (
                    sum(place.get(g, 0.0) for g in before.get(b, ()))
                    / max(len(before.get(b, ())), 1)
                )
            )
            for at, box_index in enumerate(row):
                place[box_index] = at - (len(row) - 1) / 2
    return rows


def _lines(drawing: _Drawing, spots: dict[int, tuple[float, float]]) -> list[str]:
    found = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>'
    ]
    for start, end, name in drawing.edges:
        (x, y), (u, v) = spots[start], spots[end]
        y += _HEIGHT
        crossing = drawing.boxes[start].part != drawing.boxes[end].part
        bend = max((v - y) / 2, 8)
        # What goes past other boxes goes around them, to the right.
        side = min(_SIDE + 20.0, 40 + (v - y) / 8) if _hides(x, u, y, v, spots) else 0.0
        found.append(
            f'<path d="M{x:.1f} {y:.1f} C{x + side:.1f} {y + bend:.1f} '
            f"{u + side:.1f} {v - bend:.1f} "
            f'{u:.1f} {v:.1f}" fill="none" stroke="#555" stroke-width="{2 if crossing else 1}" '
            f'marker-end="url(#tip)"><title>{escape(name)}</title></path>'
        )
    return found


def _hides(x: float, u: float, y: float, v: float, spots: dict[int, tuple[float, float]]) -> bool:
    """Whether a line between these points would go behind a box."""
    return any(
        y < top < v - _HEIGHT and abs(x + (u - x) * (top - y) / (v - y) - middle) < 30
        for middle, top in spots.values()
    )


def _box_width(box: _Box) -> float:
    return max(40.0, _LETTER * len(box.text) + 16)


def _row_width(drawing: _Drawing, row: Sequence[int]) -> float:
    return sum(_box_width(drawing.boxes[b]) for b in row) + _GAP * (len(row) - 1)


def _heading(part: Part) -> tuple[str, str]:
    count = len(part.nodes)
    return part.candidate.label, f"{count} node" + ("s" if count != 1 else "")


def _quoted(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{safe}"'
