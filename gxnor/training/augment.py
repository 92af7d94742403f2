"""Augmentation of a batch of uint8 images, drawn for every image on its own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from gxnor.data import Dataset
from gxnor.errors import GxnorError
from gxnor.training.recipe import Augment

SPACING = 9  # of the points of an elastic distortion, in pixels


def augment(images: torch.Tensor, settings: Augment, generator: torch.Generator) -> torch.Tensor:
    """uint8 [batch, channels, height, width] -> the same shape, on the same device. Series [batch, channels, length] are
    shifted in time alone.

    Rotation, scale, shear and elastic distortion (Simard, Steinkraus, Platt, ICDAR 2003, section 2; noise on a coarse
    grid, interpolated, in place of their blurred noise) are one bilinear resampling; shifts are by whole pixels and fill
    up with black. Cutout (DeVries, Taylor, arXiv 1708.04552, section 3.2) makes a square around a place of the image
    black, as much of it as lies inside. The draws come from a CPU generator, so that they do not depend on the device,
    and a GPU's work does not wait for them.
    """
    if settings.rotate or settings.scale or settings.shear or settings.elastic:
        images = _warp(images, settings, generator)
    if settings.shift:
        images = _shift(images, settings.shift, generator)
    if settings.flip:
        flipped = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(send(flipped, images.device)[:, None, None, None], images.flip(-1), images)
    if settings.cutout:
        images = _cut_out(images, settings.cutout, generator)
    return images


def check_suits(settings: Augment, dataset: Dataset) -> None:
    """Raises GxnorError for series, as of sound, that are to be treated as images."""
    if dataset.train_images.ndim == 3:
        for key, value in settings.model_dump().items():
            if value and key != "shift":
                raise GxnorError(
                    f"augment.{key} is for images, which {dataset.name} does not hold; augment.shift works"
                )


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on another device. The copy to a GPU is from pinned memory, so that neither side waits."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _warp(images: torch.Tensor, settings: Augment, generator: torch.Generator) -> torch.Tensor:
    angle, scale, shear = (torch.rand(3, len(images), generator=generator) * 2 - 1).unbind()
    angle, shear = angle * math.radians(settings.rotate), shear * math.radians(settings.shear)
    cos, sin = torch.cos(angle) * (1 + scale * settings.scale), torch.sin(angle) * (1 + scale * settings.scale)
    zero = torch.zeros_like(cos)
    matrix = torch.stack([cos, torch.tan(shear) - sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(send(matrix, images.device), list(images.shape), align_corners=False)
    if settings.elastic:
        grid = grid + _displacements(images, settings.elastic, generator)
    warped = F.grid_sample(images.float(), grid, align_corners=False)
    return warped.round().to(torch.uint8)


def _displacements(images: torch.Tensor, pixels: float, generator: torch.Generator) -> torch.Tensor:
    """float [batch, height, width, (x, y)] in the units of a grid, half an image each: smooth between points that are
    about SPACING pixels apart, where they are drawn with a standard deviation of `pixels`."""
    batch, _, height, width = images.shape
    rows, columns = (1 + max(1, size // SPACING) for size in (height, width))  # two at the least: one would only shift
    points = torch.randn(batch, 2, rows, columns, generator=generator) * pixels
    x, y = F.interpolate(send(points, images.device), (height, width), mode="bicubic", align_corners=True).unbind(1)
    return torch.stack([x * (2 / width), y * (2 / height)], dim=-1)


def _shift(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    if images.dim() == 3:
        return _shift_in_time(images, most, generator)
    batch, _, height, width = images.shape
    padded = F.pad(images, (most, most, most, most))
    top, left = send(torch.randint(0, 2 * most + 1, (2, batch), generator=generator), images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    image = torch.arange(batch, device=images.device)
    return padded.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cut_out(images: torch.Tensor, side: int, generator: torch.Generator) -> torch.Tensor:
    def inside(size: int) -> torch.Tensor:
        centre = send(torch.randint(size, (len(images), 1), generator=generator), images.device)
        place = torch.arange(size, device=images.device) - (centre - side // 2)
        return (place >= 0) & (place < side)

    rows, columns = inside(images.shape[2]), inside(images.shape[3])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _shift_in_time(series: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    batch, channels, length = series.shape
    first = send(torch.randint(0, 2 * most + 1, (batch,), generator=generator), series.device)
    places = first[:, None] + torch.arange(length, device=series.device)
    return F.pad(series, (most, most)).gather(2, places[:, None].expand(-1, channels, -1))
