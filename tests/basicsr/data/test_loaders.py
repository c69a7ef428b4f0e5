"""Upstream's loaders, samplers, prefetchers, transforms and LMDB writer under their names."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import image_files as files
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from basicsr.data import build_dataloader, worker_init_fn
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher, PrefetchDataLoader, PrefetchGenerator
from basicsr.data.transforms import augment, img_rotate, mod_crop, paired_random_crop
from basicsr.engine.errors import UserError
from basicsr.utils.file_client import FileClient
from basicsr.utils.lmdb_util import LmdbMaker, make_lmdb_from_imgs


class Numbers(Dataset):
    def __init__(self, size: int = 6, broken: int | None = None) -> None:
        self.size, self.broken = size, broken

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.broken:
            raise UserError(f"photo{index}.png: the image is damaged.")
        return {"x": torch.tensor(index), "noise": random.random()}


# ---- samplers and loaders


def test_enlarged_sampler_shares_an_epoch() -> None:
    samplers = [EnlargedSampler(Numbers(5), 2, rank, 2.5) for rank in range(2)]
    assert [len(s) for s in samplers] == [7, 7]  # ceil(5 * 2.5 / 2)
    seen = [index for s in samplers for index in s]
    assert len(seen) == 14 and set(seen) == set(range(5))


def test_enlarged_sampler_follows_seed_and_epoch() -> None:
    """Upstream: the order is the same for every manual_seed."""

    def order(seed: int, epoch: int) -> list[int]:
        sampler = EnlargedSampler(Numbers(50), 1, 0, 1, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0) and order(1, 0) != order(2, 0) and order(1, 0) != order(1, 1)


def test_build_dataloader_in_training() -> None:
    opt = {"phase": "train", "batch_size_per_gpu": 2, "num_worker_per_gpu": 0}
    loader = build_dataloader(Numbers(5), opt, num_gpu=0, sampler=EnlargedSampler(Numbers(5), 1, 0), seed=0)
    assert len(list(loader)) == 2 and loader.batch_size == 2
    assert build_dataloader(Numbers(), opt, num_gpu=2).batch_size == 4
    assert build_dataloader(Numbers(), opt, num_gpu=2, dist=True).batch_size == 2
    prefetching = build_dataloader(Numbers(), {**opt, "prefetch_mode": "cpu", "num_prefetch_queue": 2}, num_gpu=0)
    assert isinstance(prefetching, PrefetchDataLoader) and len(list(prefetching)) == 3


def test_build_dataloader_in_validation() -> None:
    loader = build_dataloader(Numbers(3), {"phase": "val", "num_worker_per_gpu": 0, "persistent_workers": True})
    assert [int(b["x"]) for b in loader] == [0, 1, 2]
    assert build_dataloader(Numbers(3), {"phase": "test", "num_worker_per_gpu": 1}).num_workers == 1
    with pytest.raises(UserError, match="phase"):
        build_dataloader(Numbers(3), {"phase": "holiday"})
    with pytest.raises(UserError, match="batch_size_per_gpu"):
        build_dataloader(Numbers(3), {"phase": "train"})


def test_loader_processes_do_not_replay_their_random_stream_each_epoch() -> None:
    torch.manual_seed(0)
    opt = {"phase": "train", "batch_size_per_gpu": 1, "num_worker_per_gpu": 2}
    loader = build_dataloader(Numbers(4), opt, num_gpu=1, sampler=EnlargedSampler(Numbers(4), 1, 0), seed=5)
    epochs = [[float(b["noise"]) for b in loader] for _ in range(2)]
    assert not set(epochs[0]) & set(epochs[1])


def test_worker_init_fn_seeds_python_and_numpy() -> None:
    draws = []
    for worker, rank in ((0, 0), (1, 0), (0, 1), (0, 0)):
        worker_init_fn(worker, num_workers=2, rank=rank, seed=3)
        draws.append((random.random(), float(np.random.rand())))
    assert draws[0] == draws[3] and len(set(draws)) == 3


# ---- prefetchers


def within(seconds: float, function: Any) -> Any:
    """Call in a thread; fails instead of waiting for ever."""
    result: list[Any] = []

    def call() -> None:
        try:
            result.append((True, function()))
        except Exception as error:  # noqa: BLE001 - raised again below
            result.append((False, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert result, "still waiting"
    done, value = result[0]
    if not done:
        raise value
    return value


@pytest.mark.parametrize("wrap", [CPUPrefetcher, CUDAPrefetcher])
def test_prefetchers_return_none_at_the_end_and_begin_again(wrap: Any) -> None:
    prefetcher = wrap(DataLoader(Numbers(2)))
    for _ in range(2):
        prefetcher.reset()
        assert [int(prefetcher.next()["x"]) for _ in range(2)] == [0, 1]
        assert prefetcher.next() is None


def test_cpu_prefetcher_starts_the_loader_once() -> None:
    """Upstream: when it is made, and again when it is reset before the first epoch."""
    starts = []

    class Loader:
        def __iter__(self) -> Any:
            starts.append(1)
            return iter([1, 2])

    prefetcher = CPUPrefetcher(Loader())
    prefetcher.reset()
    assert prefetcher.next() == 1 and starts == [1]


def test_corrupt_image_does_not_block_prefetching() -> None:
    """Upstream: prefetch_mode cpu with a corrupt image blocks for ever."""
    prefetcher = CPUPrefetcher(PrefetchDataLoader(1, dataset=Numbers(4, broken=1)))
    assert int(within(20, prefetcher.next)["x"]) == 0
    with pytest.raises(UserError, match="photo1.png"):
        within(20, prefetcher.next)
    assert within(20, prefetcher.next) is None


def test_cuda_prefetcher_works_without_cuda() -> None:
    prefetcher = CUDAPrefetcher(DataLoader(Numbers(1)), {"num_gpu": 0})
    assert int(prefetcher.next()["x"]) == 0


def test_prefetch_generator_can_be_closed_early() -> None:
    generator = PrefetchGenerator(iter(range(10**9)), 2)
    assert next(generator) == 0
    generator.close()
    start = time.monotonic()
    while generator.is_alive() and time.monotonic() - start < 5:
        time.sleep(0.01)
    assert not generator.is_alive()


# ---- transforms


def test_mod_crop() -> None:
    assert mod_crop(np.zeros((11, 14, 3)), 4).shape == (8, 12, 3)
    assert mod_crop(np.zeros((8, 12)), 4).shape == (8, 12)
    with pytest.raises(ValueError):
        mod_crop(np.zeros((1, 2, 3, 4)), 2)


def test_paired_random_crop_of_arrays_lists_and_tensors() -> None:
    lq = np.arange(20 * 30 * 3).reshape(20, 30, 3)
    gt = lq.repeat(2, axis=0).repeat(2, axis=1)
    cut_gt, cut_lq = paired_random_crop(gt, lq, 8, 2)
    np.testing.assert_array_equal(cut_gt[::2, ::2], cut_lq)
    gts, lqs = paired_random_crop([gt, gt], [lq, lq], 8, 2)
    assert len(gts) == len(lqs) == 2
    as_tensor = [torch.from_numpy(a).permute(2, 0, 1)[None] for a in (gt, lq)]
    cut_gt, cut_lq = paired_random_crop(as_tensor[0], as_tensor[1], 8, 2)
    assert cut_gt.shape == (1, 3, 8, 8) and torch.equal(cut_gt[..., ::2, ::2], cut_lq)
    with pytest.raises(ValueError, match="Scale mismatches"):
        paired_random_crop(gt, lq, 8, 4)
    with pytest.raises(ValueError, match="smaller than patch size.*a.png"):
        paired_random_crop(gt, lq, 64, 2, "a.png")


def test_augment_turns_all_images_alike() -> None:
    image = np.arange(12).reshape(3, 4)
    seen = set()
    for seed in range(40):
        random.seed(seed)
        (a, b), (hflip, vflip, transpose) = augment([image, image * 2], return_status=True)
        np.testing.assert_array_equal(a * 2, b)
        expected = image[:, ::-1] if hflip else image
        expected = expected[::-1] if vflip else expected
        np.testing.assert_array_equal(a, expected.T if transpose else expected)
        seen.add((hflip, vflip, transpose))
    assert len(seen) == 8
    np.testing.assert_array_equal(image, np.arange(12).reshape(3, 4))  # the input is not changed
    np.testing.assert_array_equal(augment(image, hflip=False, rotation=False), image)


def test_augment_flows_keep_their_meaning() -> None:
    flow = np.zeros((2, 3, 2))
    flow[..., 0], flow[..., 1] = 5, 7
    for seed in range(20):
        random.seed(seed)
        _, turned, (hflip, vflip, transpose) = augment(np.zeros((2, 3)), flows=flow, return_status=True)
        x, y = (-5 if hflip else 5), (-7 if vflip else 7)
        assert tuple(turned[0, 0]) == ((y, x) if transpose else (x, y))


def test_img_rotate() -> None:
    image = np.zeros((21, 21), np.uint8)
    image[10, 15] = 200
    assert img_rotate(image, 90)[5, 10] == 200


# ---- LMDB writer and file client


def test_lmdb_maker_and_file_client(tmp_path: Path) -> None:
    maker = LmdbMaker(str(tmp_path / "a.lmdb"), map_size=2**20, batch=2)
    for i in range(3):
        maker.put(b"%d" % i * 10, f"key{i}", (1, 2, 3))
    maker.close()
    assert (tmp_path / "a.lmdb" / "meta_info.txt").read_text().splitlines()[0] == "key0.png (1,2,3) 1"
    client = FileClient("lmdb", db_paths=str(tmp_path / "a.lmdb"))
    assert client.get("key2") == b"2" * 10 and client.get_text("key1") == "1" * 10
    with pytest.raises(UserError, match="nothing"):
        client.get("nothing")
    (tmp_path / "b.txt").write_text("hi")
    assert FileClient("disk").get_text(str(tmp_path / "b.txt")) == "hi"
    with pytest.raises(UserError, match="unknown"):
        FileClient("floppy")


def test_lmdb_grows_instead_of_failing(tmp_path: Path) -> None:
    maker = LmdbMaker(str(tmp_path / "a.lmdb"), map_size=2**16)
    for i in range(20):
        maker.put(bytes(20000), f"k{i}", (1, 1, 1))
    maker.close()
    assert len(FileClient("lmdb", db_paths=str(tmp_path / "a.lmdb")).get("k19")) == 20000


def test_lmdb_of_16_bit_images_keeps_their_depth(tmp_path: Path) -> None:
    from basicsr.engine.image_io import decode_image

    deep = np.random.default_rng(0).integers(0, 65536, (9, 8, 3)).astype(np.uint16)
    files.write(tmp_path / "a.png", deep)
    make_lmdb_from_imgs(
        str(tmp_path), str(tmp_path / "x.lmdb"), ["a.png"], ["a"], multiprocessing_read=True, n_thread=2
    )
    content = FileClient("lmdb", db_paths=str(tmp_path / "x.lmdb")).get("a")
    np.testing.assert_array_equal(decode_image(content, "a"), deep)
    assert (tmp_path / "x.lmdb" / "meta_info.txt").read_text() == "a.png (9,8,3) 1\n"


def test_lmdb_writer_refuses_and_never_exits(tmp_path: Path) -> None:
    files.write(tmp_path / "a.png", files.photo())
    arguments = (str(tmp_path), str(tmp_path / "x.lmdb"))
    with pytest.raises(UserError, match="more than once"):
        make_lmdb_from_imgs(*arguments, ["a.png", "a.png"], ["a", "a"])
    with pytest.raises(UserError, match="one key for each"):
        make_lmdb_from_imgs(*arguments, ["a.png"], [])
    make_lmdb_from_imgs(*arguments, ["a.png"], ["a"])
    with pytest.raises(UserError, match="exists already"):
        make_lmdb_from_imgs(*arguments, ["a.png"], ["a"])
    with pytest.raises(UserError, match="must end in .lmdb"):
        LmdbMaker(str(tmp_path / "x"))
