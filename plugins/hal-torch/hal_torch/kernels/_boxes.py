"""Greedy suppression of overlapping boxes, every batch and class at once."""

from __future__ import annotations

import torch

__all__ = ["select_boxes"]

Tensor = torch.Tensor
LOOK_EVERY = 16
"""Selections between two looks at whether boxes are left, each of which waits for the device."""


def select_boxes(
    boxes: Tensor,
    scores: Tensor,
    most: int,
    overlap: float,
    least_score: float | None,
    centred: bool,
) -> Tensor:
    """Boxes (batch, n, 4) by scores (batch, classes, n), best first, none of which overlaps a
    better one of its class by more than `overlap` (intersection over union): rows of (batch, class,
    box), int64. Boxes without an area overlap nothing."""
    classes, count = scores.shape[1:]
    most = min(most, count)
    if most <= 0 or not scores.numel():
        return torch.zeros((0, 3), dtype=torch.int64, device=scores.device)
    ranked, order = scores.sort(dim=2, descending=True, stable=True)
    alive = torch.ones_like(ranked, dtype=torch.bool)
    if least_score is not None:
        alive = ranked > least_score
        # Ranked, so that those above the threshold stand in front: the rest is never looked at.
        count = int(alive.sum(dim=2).max())
        most = min(most, count)
        if not count:
            return torch.zeros((0, 3), dtype=torch.int64, device=scores.device)
        alive, order = alive[:, :, :count].contiguous(), order[:, :, :count]
    corners = _corners(boxes, centred)[:, None].expand(-1, classes, -1, -1)
    corners = corners.gather(2, order[..., None].expand(-1, -1, -1, 4))
    y1, x1, y2, x2 = corners.unbind(-1)
    areas = (y2 - y1) * (x2 - x1)
    rank = torch.arange(count, device=scores.device)
    picks: list[Tensor] = []
    for turn in range(most):
        if turn % LOOK_EVERY == 0 and turn and not bool(alive.any()):
            break
        first = torch.where(alive, rank, count).amin(dim=2, keepdim=True)
        picks.append(first)
        at = first.clamp(max=count - 1)
        height = torch.minimum(y2, y2.gather(2, at)) - torch.maximum(y1, y1.gather(2, at))
        width = torch.minimum(x2, x2.gather(2, at)) - torch.maximum(x1, x1.gather(2, at))
        area = areas.gather(2, at)
        shared = height.clamp(min=0) * width.clamp(min=0)
        union = areas + area - shared
        valid = (shared > 0) & (areas > 0) & (area > 0) & (union > 0)
        alive = alive & ~(valid & (shared / union > overlap)) & (rank != first)
    chosen = torch.cat(picks, dim=2)
    order = torch.cat([order, order[:, :, :1]], dim=2)  # for `count`, which says none
    places = (chosen < count).nonzero()
    box = order.gather(2, chosen)[places[:, 0], places[:, 1], places[:, 2]]
    return torch.stack([places[:, 0], places[:, 1], box], dim=1)


def _corners(boxes: Tensor, centred: bool) -> Tensor:
    """(y1, x1, y2, x2) with y1 <= y2 and x1 <= x2."""
    if centred:
        x, y, width, height = boxes.unbind(-1)
        return torch.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], dim=-1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)
