import pytest
import torch

from basicsr.engine.device import cpu_threads, resolve_device
from basicsr.engine.errors import UserError


def test_cpu_is_chosen_by_device_or_by_num_gpu():
    assert resolve_device({"device": "cpu", "num_gpu": "auto"}) == torch.device("cpu")
    assert resolve_device({"device": "auto", "num_gpu": 0}) == torch.device("cpu")
    assert resolve_device({"device": "cpu", "num_gpu": 0}) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_is_said_clearly():
    with pytest.raises(UserError, match=r"device: cuda.*device: auto or cpu"):
        resolve_device({"device": "cuda", "num_gpu": "auto"})
    with pytest.raises(UserError, match="num_gpu"):
        resolve_device({"device": "cuda", "num_gpu": 0})


def test_unknown_device_is_refused():
    with pytest.raises(UserError, match="tpu"):
        resolve_device({"device": "tpu", "num_gpu": "auto"})


def test_threads_default_leaves_cores_to_the_data_workers(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert cpu_threads({"cpu_threads": "auto"}) == 8
    assert cpu_threads({"cpu_threads": "auto", "datasets": {"train": {"num_worker_per_gpu": 3}}}) == 5
    assert cpu_threads({"cpu_threads": "auto", "datasets": {"train": {"num_worker_per_gpu": 30}}}) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cpu_threads({"cpu_threads": "auto"}) == 2
    assert cpu_threads({"cpu_threads": 3}) == 3


@pytest.mark.parametrize("value", [0, -1, "many", 1.5])
def test_bad_thread_count_is_refused(value):
    with pytest.raises(UserError, match="cpu_threads"):
        cpu_threads({"cpu_threads": value})
