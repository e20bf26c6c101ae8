"""Patches of images: where they lie, drawing, normalising and whitening them, and pooling over regions."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import TaskShape


def patch_positions(shape: TaskShape, *, patch: int, regions: int) -> tuple[int, int, int]:
    """Return channels, and the numbers of rows and columns of patches, if they fill the regions."""
    check_count("patch", patch, at_least=2)
    check_count("regions", regions)
    if len(shape.input_shape) != 3 or shape.time_steps is not None:
        kind = "sequences" if shape.time_steps is not None else f"shape {shape.input_shape}"
        raise BadInput(f"patch features need images (channels, height, width); got {kind}: use RandomFeatures")
    channels, height, width = shape.input_shape
    if min(height, width) < patch + regions - 1:
        raise BadInput(
            f"images must measure at least patch + regions - 1 = {patch + regions - 1} each way; "
            f"got {height} x {width}: make patch smaller, or use RandomFeatures"
        )
    return channels, height - patch + 1, width - patch + 1


def drawn_patches(
    images: Tensor, *, patch: int, samples: int, seed: int
) -> tuple[Float[Tensor, "patch value"], Float[Tensor, " patch"]]:
    """Return patches from random places of random images, in double precision, and the variance within each.

    Raises:
        BadInput: If no patch has any structure.
    """
    draws = generator(seed, "patches")
    images = images.detach().cpu()
    windows = images.unfold(2, patch, 1).unfold(3, patch, 1)
    image = torch.randint(len(images), (samples,), generator=draws)
    row = torch.randint(windows.shape[2], (samples,), generator=draws)
    column = torch.randint(windows.shape[3], (samples,), generator=draws)
    patches = windows[image, :, row, column].flatten(1).double()
    variance = patches.var(1, unbiased=False)
    if not bool((variance > 0).any()):
        raise BadInput("the first task's images show no structure within any patch: patch features need some")
    return patches, variance


def normalised(patches: Float[Tensor, "patch value"], epsilon: Tensor) -> Float[Tensor, "patch value"]:
    """Return patches less their mean, over the root of their variance plus ``epsilon``."""
    centred = patches - patches.mean(1, keepdim=True)
    return centred.mul_((centred.square().mean(1, keepdim=True) + epsilon).rsqrt_())


def whitening_of(centred: Float[Tensor, "patch value"], *, floor: float) -> Float[Tensor, "value value"]:
    """Return the symmetric matrix that whitens ``centred`` rows, ``floor`` added to their spectrum."""
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    return vectors @ torch.diag((values.clamp_min(0) + floor).rsqrt()) @ vectors.T


def region_means(rows: int, columns: int, regions: int) -> Float[Tensor, "region place"]:
    """Return the matrix that averages the patch positions of each region of a square grid."""
    row = torch.arange(rows) * regions // rows
    column = torch.arange(columns) * regions // columns
    region = (row[:, None] * regions + column).flatten()
    member = functional.one_hot(region, regions**2).T.float()
    return member / member.sum(1, keepdim=True)
