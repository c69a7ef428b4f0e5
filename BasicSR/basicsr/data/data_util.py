"""Which files belong together, and how frames of a sequence are numbered."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names, read_image, to_float

_META_LINE = re.compile(r"^(?P<name>.+?)\s+\((?P<h>\d+),\s*(?P<w>\d+),\s*(?P<c>\d+)\)(?:\s+(?P<level>\d+))?$")
_SHOWN = 5


def list_images(folder: str | os.PathLike[str], what: str = "") -> list[str]:
    """Names of a folder's image files, sorted; see ``image_names``.

    Raises:
        UserError: The folder does not exist, or holds no image.
    """
    names = image_names(folder)
    if not names:
        raise UserError(f"{os.fspath(folder)}: the folder holds no {what + ' ' if what else ''}images.")
    return names


def paths_from_folder(folder: str | os.PathLike[str]) -> list[str]:
    """Paths of a folder's image files, sorted."""
    return [os.path.join(folder, name) for name in list_images(folder)]


def check_template(filename_tmpl: str) -> str:
    """Check a name template such as ``{}_x4``.

    Raises:
        UserError: It does not hold exactly one ``{}``.
    """
    if not isinstance(filename_tmpl, str) or filename_tmpl.count("{}") != 1:
        raise UserError(f"filename_tmpl is {filename_tmpl!r}; it must hold '{{}}' once, in the place of the gt's name.")
    return filename_tmpl


def paired_paths_from_folder(folders: Sequence[str], keys: Sequence[str], filename_tmpl: str) -> list[dict[str, str]]:
    """Pair the images of two folders by name, in the targets' sorted order.

    The input of ``a.png`` is ``filename_tmpl`` filled with ``a``, with the same ending; where that is missing, with any
    other image ending if there is exactly one such file.

    Args:
        folders: Input (lq) folder and target (gt) folder.
        keys: Their names, such as ``['lq', 'gt']``.
        filename_tmpl: Template of an input's name without ending.

    Returns:
        One ``{'lq_path': ..., 'gt_path': ...}`` for every pair.

    Raises:
        UserError: A folder is missing or empty, or files have no partner; they are named.
    """
    _check_two(folders, keys)
    lq_folder, gt_folder = str(folders[0]), str(folders[1])
    pairs = pair_names(
        list_images(lq_folder, keys[0]), list_images(gt_folder, keys[1]), keys, filename_tmpl, (lq_folder, gt_folder)
    )
    return [
        {f"{keys[0]}_path": os.path.join(lq_folder, lq), f"{keys[1]}_path": os.path.join(gt_folder, gt)}
        for lq, gt in pairs
    ]


def pair_names(
    lq_names: Sequence[str], gt_names: Sequence[str], keys: Sequence[str], filename_tmpl: str, places: Sequence[str]
) -> list[tuple[str, str]]:
    """Pair file names, in time linear in their number; see ``paired_paths_from_folder``."""
    pairs, lonely_gts, lonely_lqs = match_names(lq_names, gt_names, filename_tmpl)
    problems = []
    if lonely_gts:
        problems.append(_lonely(lonely_gts, keys[1], keys[0], places[0]))
    if lonely_lqs:
        problems.append(_lonely(lonely_lqs, keys[0], keys[1], places[1]))
    if problems:
        raise UserError(
            f"{places[0]} has {len(lq_names)} and {places[1]} has {len(gt_names)} images that do not pair up "
            f"(filename_tmpl '{filename_tmpl}'): {'; '.join(problems)}. Add the partners or remove these files."
        )
    return pairs


def match_names(
    lq_names: Sequence[str], gt_names: Sequence[str], filename_tmpl: str = "{}"
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Match inputs with targets by name.

    Returns:
        The (lq, gt) pairs in the order of ``gt_names``; targets without an input; inputs without a target.
    """
    check_template(filename_tmpl)
    available = set(lq_names)
    by_stem: dict[str, list[str]] = {}
    for name in lq_names:
        by_stem.setdefault(os.path.splitext(name)[0], []).append(name)
    pairs, lonely_gts, used = [], [], set()
    for gt in gt_names:
        stem, ending = os.path.splitext(gt)
        wanted = filename_tmpl.format(stem)
        others = by_stem.get(wanted, [])
        lq = wanted + ending if wanted + ending in available else others[0] if len(others) == 1 else None
        if lq is None or lq in used:
            lonely_gts.append(gt)
            continue
        used.add(lq)
        pairs.append((lq, gt))
    return pairs, lonely_gts, [name for name in lq_names if name not in used]


def _lonely(names: Sequence[str], key: str, other: str, other_place: str) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} {key} image{'s' * (len(names) > 1)} without {other} partner in {other_place}: {shown}"


def _check_two(folders: Sequence[str], keys: Sequence[str]) -> None:
    if len(folders) != 2 or len(keys) != 2:
        raise UserError(f"expected two folders and two keys (input, target), got {list(folders)} and {list(keys)}.")


def read_lines(path: str | os.PathLike[str], what: str) -> list[str]:
    """Non-empty lines of a text file, stripped; ``UserError`` if it cannot be read or holds none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{os.fspath(path)}: the {what} cannot be read: {error.strerror or error}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{os.fspath(path)}: the {what} is empty.")
    return lines


def meta_name(line: str) -> str:
    """The file name of a meta file's line: ``sub/a b.png (480,480,3)`` -> ``sub/a b.png``; else its first column."""
    match = _META_LINE.match(line)
    return match["name"] if match else line.split(" ")[0]


def paired_paths_from_meta_info_file(
    folders: Sequence[str], keys: Sequence[str], meta_info_file: str, filename_tmpl: str
) -> list[dict[str, str]]:
    """Pair the files that a meta file lists, in its order; a name may be there several times (oversampling).

    Args:
        folders: Input (lq) folder and target (gt) folder.
        keys: Their names.
        meta_info_file: Text file; first column of a line is a path relative to the target folder.
        filename_tmpl: Template of an input's name. The input lies in the same sub-folder as the target, or at the top.

    Returns:
        One ``{'lq_path': ..., 'gt_path': ...}`` for every line.
    """
    _check_two(folders, keys)
    check_template(filename_tmpl)
    lq_folder, gt_folder = str(folders[0]), str(folders[1])
    paths = []
    for line in read_lines(meta_info_file, "meta_info_file"):
        gt_name = meta_name(line)
        stem, ending = os.path.splitext(os.path.basename(gt_name))
        lq_name = filename_tmpl.format(stem) + ending
        beside = os.path.join(lq_folder, os.path.dirname(gt_name), lq_name)
        lq_path = beside if os.path.exists(beside) else os.path.join(lq_folder, lq_name)
        paths.append({f"{keys[0]}_path": lq_path, f"{keys[1]}_path": os.path.join(gt_folder, gt_name)})
    return paths


def check_files_exist(paths: Sequence[Mapping[str, str]], where: str) -> None:
    """Raise ``UserError`` naming listed files that do not exist."""
    missing = sorted({path for pair in paths for path in pair.values() if not os.path.isfile(path)})
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise UserError(f"{where}: {len(missing)} listed file{'s' * (len(missing) > 1)} missing: {shown}.")


def lmdb_keys(folder: str | os.PathLike[str]) -> list[str]:
    """Keys of an LMDB in the order of its ``meta_info.txt``: the listed names without their last ending.

    Raises:
        UserError: It is no ``.lmdb`` folder, or has no ``meta_info.txt``.
    """
    name = str(folder).rstrip("/")
    if not name.endswith(".lmdb"):
        raise UserError(f"{name}: the folder of an LMDB must end in .lmdb.")
    lines = read_lines(os.path.join(name, "meta_info.txt"), "list of keys of the LMDB")
    return [os.path.splitext(meta_name(line))[0] for line in lines]


def paths_from_lmdb(folder: str | os.PathLike[str]) -> list[str]:
    """Keys of an LMDB; see ``lmdb_keys``."""
    return lmdb_keys(folder)


def paired_paths_from_lmdb(folders: Sequence[str], keys: Sequence[str]) -> list[dict[str, str]]:
    """Pair two LMDBs, whose sets of keys must be equal; sorted.

    Args:
        folders: Input (lq) LMDB and target (gt) LMDB.
        keys: Their names.

    Returns:
        One ``{'lq_path': key, 'gt_path': key}`` for every key.
    """
    _check_two(folders, keys)
    lq_keys, gt_keys = lmdb_keys(folders[0]), lmdb_keys(folders[1])
    both = set(lq_keys) & set(gt_keys)
    problems = []
    for names, key, other, place in ((lq_keys, keys[0], keys[1], folders[1]), (gt_keys, keys[1], keys[0], folders[0])):
        lonely = sorted(set(names) - both)
        if lonely:
            problems.append(_lonely(lonely, key, other, str(place)))
    if problems:
        raise UserError(f"Keys in {folders[0]} and {folders[1]} are different: {'; '.join(problems)}.")
    return [{f"{keys[0]}_path": key, f"{keys[1]}_path": key} for key in sorted(both)]


def read_img_seq(
    path: str | Sequence[str], require_mod_crop: bool = False, scale: int = 1, return_imgname: bool = False
) -> torch.Tensor | tuple[torch.Tensor, list[str]]:
    """Read a folder or list of images of equal size.

    Args:
        path: Folder, or image paths.
        require_mod_crop: Cut the edges to multiples of ``scale``.
        scale: Used with ``require_mod_crop``.
        return_imgname: Also return the names without folder and ending.

    Returns:
        ``(T, 3, H, W)`` float32 RGB in [0, 1], and the names if wanted.
    """
    from basicsr.data.transforms import mod_crop

    paths = [str(p) for p in path] if isinstance(path, (list, tuple)) else paths_from_folder(str(path))
    images = [to_float(read_image(p)) for p in paths]
    if require_mod_crop:
        images = [mod_crop(image, scale) for image in images]
    frames = torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))
    if not return_imgname:
        return frames
    return frames, [os.path.splitext(os.path.basename(p))[0] for p in paths]


def generate_frame_indices(crt_idx: int, max_frame_num: int, num_frames: int, padding: str = "reflection") -> list[int]:
    """Indices of ``num_frames`` frames around one, with the ends of the sequence padded.

    Args:
        crt_idx: The middle frame.
        max_frame_num: Frames in the sequence.
        num_frames: How many indices, an odd number.
        padding: ``replicate`` (0 0 0 1 2), ``reflection`` (2 1 0 1 2), ``reflection_circle`` (4 3 0 1 2) or ``circle``
            (3 4 0 1 2), each for frame 0 of 5.

    Returns:
        The indices, from 0.

    Raises:
        UserError: ``num_frames`` is even, or ``padding`` unknown.
    """
    if num_frames % 2 == 0:
        raise UserError(f"num_frames must be odd, got {num_frames}.")
    last, radius = max_frame_num - 1, num_frames // 2
    below = {
        "replicate": lambda i: 0,
        "reflection": lambda i: -i,
        "reflection_circle": lambda i: crt_idx + radius - i,
        "circle": lambda i: num_frames + i,
    }
    above = {
        "replicate": lambda i: last,
        "reflection": lambda i: 2 * last - i,
        "reflection_circle": lambda i: crt_idx - radius - (i - last),
        "circle": lambda i: i - num_frames,
    }
    if padding not in below:
        raise UserError(f"padding {padding!r} is unknown; one of {', '.join(below)} is right.")
    return [
        below[padding](i) if i < 0 else above[padding](i) if i > last else i
        for i in range(crt_idx - radius, crt_idx + radius + 1)
    ]


def generate_gaussian_kernel(kernel_size: int = 13, sigma: float = 1.6) -> np.ndarray:
    """A normalised Gaussian of ``(kernel_size, kernel_size)``, float64; ``kernel_size`` is odd."""
    distance = np.arange(kernel_size) - kernel_size // 2
    line = np.exp(-0.5 * (distance / sigma) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def duf_downsample(x: torch.Tensor, kernel_size: int = 13, scale: int = 4) -> torch.Tensor:
    """Blur with a Gaussian of sigma 0.4 * scale and take every ``scale``-th pixel, as in DUF (Jo et al., CVPR 2018).

    Args:
        x: Frames, ``(..., C, H, W)`` with H and W multiples of ``scale``.
        kernel_size: Edge of the kernel, odd.
        scale: 2, 3 or 4.

    Returns:
        ``(..., C, H / scale, W / scale)``.

    Raises:
        UserError: ``scale`` is none of these.
    """
    if scale not in (2, 3, 4):
        raise UserError(f"scale must be 2, 3 or 4, got {scale}.")
    planes = x.reshape(-1, 1, *x.shape[-2:])
    margin = kernel_size // 2 + scale * 2
    padded = torch.nn.functional.pad(planes, [margin] * 4, mode="reflect")
    kernel = torch.from_numpy(generate_gaussian_kernel(kernel_size, 0.4 * scale)).to(x)
    small = torch.nn.functional.conv2d(padded, kernel[None, None], stride=scale)[:, :, 2:-2, 2:-2]
    return small.reshape(*x.shape[:-2], *small.shape[-2:])
