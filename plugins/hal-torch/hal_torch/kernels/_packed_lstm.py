"""torch's LSTM of constant weights on the CPU, with the weights laid out once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["PackedLstm"]

Tensor = torch.Tensor
_LSTM = 2
"""The mode of `mkldnn_rnn_layer`."""


class PackedLstm:
    """What `torch.lstm` calls, which lays out the weights anew in each call: a third of its time.

    At the first call the weights are laid out for its shape, and let go. oneDNN lays them out
    again where another shape asks for it.
    """

    def __init__(self, weights: tuple[list[Tensor], bool], backward: Sequence[bool]) -> None:
        self.weights: tuple[list[Tensor], bool] | None = weights
        """As `torch.lstm` takes them, until the first call: parameters, and whether with biases."""
        parameters, has_biases = weights
        each = 4 if has_biases else 2
        self._hidden = parameters[1].shape[1]
        self._backward = backward
        none = torch.zeros(4 * self._hidden)
        self._biases = [
            parameters[each * i + 2 : each * i + 4] if has_biases else [none, none]
            for i in range(len(backward))
        ]
        self._layouts: list[Any] = []
        self._lock = threading.Lock()

    @staticmethod
    def takes(weights: tuple[list[Tensor], bool]) -> bool:
        """Whether `torch.lstm` goes this way for such weights."""
        return torch._C._has_mkldnn and all(
            p.dtype == torch.float32 and p.is_cpu for p in weights[0]
        )

    def __call__(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output (steps, directions, batch, hidden) and the last states."""
        if not self._layouts:
            self._pack(x)
        x = x.contiguous()  # oneDNN reads another order of it wrongly, without a word (torch 2.13)
        results = [
            torch.ops.aten.mkldnn_rnn_layer(
                x, *layout, *biases, h[i : i + 1].contiguous(), c[i : i + 1].contiguous(),
                turned, [], _LSTM, self._hidden, 1, True, False, False, False,
            )
            for i, (turned, layout, biases) in enumerate(
                zip(self._backward, self._layouts, self._biases, strict=True)
            )
        ]  # fmt: skip
        ys, hs, cs = ([result[k] for result in results] for k in range(3))
        if len(ys) == 1:
            return ys[0][:, None], hs[0], cs[0]
        return torch.stack(ys, 1), torch.cat(hs), torch.cat(cs)

    def _pack(self, x: Tensor) -> None:
        with self._lock:
            if self.weights is None:
                return
            parameters, has_biases = self.weights
            each = 4 if has_biases else 2
            self._layouts = [
                torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
                    *parameters[each * i : each * i + 2],
                    self._hidden, turned, has_biases, False, list(x.shape),
                )
                for i, turned in enumerate(self._backward)
            ]  # fmt: skip
            self._biases = [[b.clone() for b in pair] for pair in self._biases]
            self.weights = None
