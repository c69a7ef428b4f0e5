"""A run of two processes is the run of one: losses, weights, validation figures."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


def launch(folder: Path, world: int) -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    processes = []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {
            **os.environ,
            **({key: str(value) for key, value in place.items()} if world > 1 else {}),
            "PYTHONPATH": f"{ROOT / 'BasicSR'}{os.pathsep}{ROOT}",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "tests.basicsr.models.process_kit", str(folder), str(world)]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors[-2000:]
    return [torch.load(folder / f"result_{rank}.pt", weights_only=False) for rank in range(world)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("processes")
    return launch(folder / "one", 1)[0], launch(folder / "two", 2)


def test_losses_and_weights_are_the_same(results: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    one, two = results
    for mine, whole in zip(two[0]["logs"], one["logs"], strict=True):
        assert mine == pytest.approx(whole, rel=1e-4)
    assert two[0]["logs"] == two[1]["logs"]
    for key, value in one["weights"].items():
        torch.testing.assert_close(two[0]["weights"][key], value, rtol=1e-4, atol=1e-6)
        assert torch.equal(two[0]["weights"][key], two[1]["weights"][key])


def test_a_parameter_that_is_not_used_gets_a_gradient_in_distributed_runs(
    results: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    assert all(result["spare"] for result in results[1])


def test_validation_is_shared_out_and_gathered(results: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    one, two = results
    assert two[0]["psnr"] == two[1]["psnr"] == pytest.approx(one["psnr"], rel=1e-5)
    assert two[0]["images"] == one["images"] and len(one["images"]) == 10
    assert two[0]["due"] and two[1]["due"]


def test_a_bad_batch_in_one_process_is_skipped_by_both(results: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    assert results[0]["skipped"] == results[1][0]["skipped"] == results[1][1]["skipped"] == 1
