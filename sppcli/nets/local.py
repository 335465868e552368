"""Runs conv layers and what follows them in strips that fit the cache: for inference on the CPU, and LRN in training.

`for_inference` gives a trunk whose conv -> ReLU -> normalisation -> max-pooling are one block each. A block computes
some rows of the conv layer and pools them at once, so that the largest maps of a network (183 MB for ZF-5's first at
1,200 pixels) are never whole in memory. On a GPU, in training and in exports the layers run as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn

from sppcli.nets.folding import folded

# Bytes of a conv layer's output at a time: they fit the cache, and malloc does not take them from the system each time.
STRIP_BYTES = 8 << 20
# Columns of the pooled map at a time, so that the rows of a neighbourhood stay in the level-2 cache.
STRIP_COLUMNS = 16
KINDS = {"": 0, "within": 1, "across": 2}


def compiled_fits(maps: torch.Tensor) -> bool:
    """Whether the compiled kernels can take ``maps``: they are in the CPU's memory, float32 (without gradients also
    bfloat16), and no tracer records the operations."""
    return (
        type(maps) is torch.Tensor
        and maps.device.type == "cpu"
        and (maps.dtype == torch.float32 or (maps.dtype == torch.bfloat16 and not maps.requires_grad))
        and maps.ndim == 4
        and maps.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def normalise(maps: torch.Tensor, kind: str, size: int, alpha: float) -> torch.Tensor:
    """Local response normalisation, beta = 0.75, of (N, C, H, W) that `compiled_fits`; ``kind``: within or across.

    The result is channels last. Gradients are exact; there are no second derivatives.
    """
    result = _Normalise.apply(maps, kind, size, alpha)
    assert isinstance(result, torch.Tensor)
    return result


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, kind: str, size: int, alpha: float) -> torch.Tensor:
        ctx.save_for_backward(maps)
        ctx.settings = kind, size, alpha
        out = torch.empty_like(maps, memory_format=torch.channels_last)
        with _Workers() as run:
            _pool_rows(maps.detach(), 0, maps.shape[2], False, (kind, size, alpha), (1, 1, 0), 0, out, run)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        from sppcli.nets.local_kernels import across_backward, within_backward

        (maps,) = ctx.saved_tensors
        kind, size, alpha = ctx.settings
        out = torch.empty_like(maps, memory_format=torch.channels_last)
        x, g, dx = (_last(value).numpy() for value in (maps.detach(), slopes.detach(), out))
        jobs: list[tuple[Any, ...]] = []
        for i in range(len(x)):
            for first, last in _shares(0, x.shape[1]):
                if kind == "within":
                    jobs.append((within_backward, x[i], g[i], size, alpha, first, last, dx[i]))
                else:
                    rows = [value[i, first:last].reshape(-1, value.shape[3]) for value in (x, g, dx)]
                    jobs.append((across_backward, rows[0], rows[1], size, alpha, rows[2]))
        with _Workers() as run:
            run(jobs)
        return out, None, None, None


class Block(nn.Module):
    """A conv layer and a ReLU, then normalisation, max-pooling or both, as one layer; it holds the modules given.

    ``norm``: (kind, size, alpha, beta 0.75) and the module of it; ``pool``: a `torch.nn.MaxPool2d`.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None, pool: nn.MaxPool2d | None) -> None:
        super().__init__()
        self.conv, self.norm, self.pool = conv, norm, pool
        self._norm = (_norm_settings(norm) if norm is not None else None) or ("", 1, 0.0)
        self._window = (_one(pool.kernel_size), _one(pool.stride), _one(pool.padding)) if pool else (1, 1, 0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or not compiled_fits(images):
            return self._plain(images)
        conv = self.conv
        shape = _conv_shape(conv, images)
        strips = -(-shape[1] * shape[2] * shape[3] * shape[0] * 4 // STRIP_BYTES)
        if strips == 1 and self.norm is None:
            return self._plain(images)
        if strips > 1 and len(images) > 1:
            # Different images share no rows that strips would compute twice.
            return torch.cat([self(part) for part in torch.split(images, max(len(images) // strips, 1))])
        height = shape[2]
        kernel, stride, padding = self._window
        rows, columns = (self._pooled_side(side) for side in shape[2:])
        around = self._norm[1] // 2 if self._norm[0] == "within" else 0
        step = max(-(-rows // strips), 1)
        out: torch.Tensor | None = None
        with _Workers() as run:
            for first in range(0, rows, step):
                last = min(first + step, rows)
                top = max(first * stride - padding - around, 0)
                bottom = min((last - 1) * stride - padding + kernel + around, height)
                maps = conv(images) if strips == 1 else _conv_rows(conv, images, top, bottom)
                if out is None:
                    size = (shape[0], shape[1], rows, columns)
                    out = torch.empty(size, dtype=maps.dtype, memory_format=torch.channels_last)
                top = 0 if strips == 1 else top
                _pool_rows(maps, top, height, True, self._norm, self._window, first, out, run, last)
        assert out is not None
        return out

    def _pooled_side(self, side: int) -> int:
        if self.pool is None:
            return side
        kernel, stride, padding = self._window
        room = side + 2 * padding - kernel
        if room < 0 and not self.pool.ceil_mode:
            raise RuntimeError(f"a map of {side} cells is too small for pooling {kernel} of them")
        count = (-(-room // stride) if self.pool.ceil_mode else room // stride) + 1
        # As in torch and Caffe: the last window starts inside the map or the padding before it.
        return count - 1 if (count - 1) * stride >= side + padding else count

    def _plain(self, images: torch.Tensor) -> torch.Tensor:
        maps = nn.functional.relu(self.conv(images))
        for layer in (self.norm, self.pool):
            if layer is not None:
                maps = layer(maps)
        return maps


def for_inference(trunk: nn.Module) -> nn.Module:
    """Return ``trunk`` with successive layers joined to `Block`s, batch normalisation and uneven padding `folded`.

    The output is the same to rounding. A trunk that has branches, and nothing to fold, comes back as it is.
    """
    if isinstance(trunk, fx.GraphModule) and not trunk.training:
        trunk = folded(trunk)
    layers = _chain(trunk)
    if layers is None:
        return trunk
    joined: list[nn.Module] = []
    i = 0
    while i < len(layers):
        conv = layers[i]
        j = i + 1
        if _is_plain_conv(conv) and j < len(layers) and isinstance(layers[j], nn.ReLU):
            j += 1
            norm = layers[j] if j < len(layers) and _norm_settings(layers[j]) else None
            j += norm is not None
            pool = layers[j] if j < len(layers) and _is_plain_pool(layers[j]) else None
            j += pool is not None
            if norm is not None or pool is not None:
                assert isinstance(conv, nn.Conv2d)
                assert pool is None or isinstance(pool, nn.MaxPool2d)
                joined.append(Block(conv, norm, pool))
                i = j
                continue
        joined.append(conv)
        i += 1
    return nn.Sequential(*joined).train(trunk.training)


def _chain(trunk: nn.Module) -> list[nn.Module] | None:
    """List the layers of a trunk without branches, first to last; None of one with branches."""
    if isinstance(trunk, nn.Sequential):
        return list(trunk)
    if not isinstance(trunk, fx.GraphModule):
        return None
    layers: list[nn.Module] = []
    before: fx.Node | None = None
    for node in trunk.graph.nodes:
        if node.op == "call_module" and node.args == (before,) and not node.kwargs:
            layers.append(trunk.get_submodule(str(node.target)))
        elif node.op not in ("placeholder", "output") or (node.op == "output" and node.all_input_nodes != [before]):
            return None
        before = node
    return layers


def _norm_settings(layer: nn.Module) -> tuple[str, int, float] | None:
    kind = getattr(layer, "compiled_kind", "")
    if not kind or layer.beta != 0.75:
        return None
    return kind, int(layer.size), float(layer.alpha)  # type: ignore[arg-type]


def _is_plain_conv(layer: nn.Module) -> bool:
    return type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _is_plain_pool(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.MaxPool2d) or layer.return_indices or _one(layer.dilation) != 1:
        return False
    return min(_one(layer.kernel_size), _one(layer.stride), _one(layer.padding) + 1) > 0


def _one(value: int | tuple[int, ...]) -> int:
    """Return a side that is given once or for both axes; -1 where the axes differ."""
    if isinstance(value, int):
        return value
    return value[0] if len(set(value)) == 1 else -1


def _conv_shape(conv: nn.Conv2d, images: torch.Tensor) -> tuple[int, int, int, int]:
    sides = [
        (images.shape[2 + a] + 2 * int(conv.padding[a]) - conv.dilation[a] * (conv.kernel_size[a] - 1) - 1)
        // conv.stride[a]
        + 1
        for a in range(2)
    ]
    if min(sides) < 1:
        conv(images)  # raises torch's own error
    return images.shape[0], conv.out_channels, sides[0], sides[1]


def _conv_rows(conv: nn.Conv2d, images: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Rows ``first`` to ``last`` of ``conv(images)``."""
    reach = conv.dilation[0] * (conv.kernel_size[0] - 1) + 1
    begin = first * conv.stride[0] - int(conv.padding[0])
    end = (last - 1) * conv.stride[0] - int(conv.padding[0]) + reach
    part = images[:, :, max(begin, 0) : min(end, images.shape[2])]
    missing = (max(-begin, 0), max(end - images.shape[2], 0))
    if any(missing):
        part = nn.functional.pad(part, (0, 0, *missing))
    padding = (0, int(conv.padding[1]))
    return nn.functional.conv2d(part, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)


class _Workers:
    """Runs jobs (function, arguments …) on as many threads as torch has; the kernels release the interpreter's lock.

    The thread that asks is one of them.
    """

    def __enter__(self) -> Callable[[Sequence[tuple[Any, ...]]], None]:
        self._others = torch.get_num_threads() - 1
        self._pool = ThreadPoolExecutor(self._others) if self._others else None
        return self._run

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown()

    def _run(self, jobs: Sequence[tuple[Any, ...]]) -> None:
        mine = -(-len(jobs) // (self._others + 1))
        waiting = [self._pool.submit(*job) for job in jobs[mine:]] if self._pool else []
        for function, *arguments in jobs[:mine]:
            function(*arguments)
        for future in waiting:
            future.result()


def _shares(first: int, last: int) -> list[tuple[int, int]]:
    """Divide the rows from ``first`` to ``last`` among the threads."""
    count = max(min(torch.get_num_threads(), (last - first) // 4), 1)
    edges = [first + (last - first) * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def _last(maps: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) as (N, H, W, C), contiguous."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _pool_rows(
    maps: torch.Tensor,
    top: int,
    height: int,
    relu: bool,
    norm: tuple[str, int, float],
    window: tuple[int, int, int],
    first: int,
    out: torch.Tensor,
    run: Callable[[Sequence[tuple[Any, ...]]], None],
    last: int | None = None,
) -> None:
    from sppcli.nets.local_kernels import pooled

    kind = torch.uint32 if maps.dtype == torch.float32 else torch.uint16
    shift = 0 if maps.dtype == torch.float32 else 16
    source, target = _last(maps).view(kind).numpy(), out.permute(0, 2, 3, 1).view(kind).numpy()
    settings = (shift, relu, KINDS[norm[0]], norm[1], norm[2], *window, STRIP_COLUMNS, height, top)
    run(
        [
            (pooled, source[i], *settings, begin, end, target[i])
            for i in range(len(source))
            for begin, end in _shares(first, out.shape[2] if last is None else last)
        ]
    )
