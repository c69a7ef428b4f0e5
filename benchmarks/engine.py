"""Training speed of one small NAFNet option file: this engine against ``basicsr==1.4.2``, side by side in one run.

Both engines train the same YAML on the same images, on the same cores, in turn (ours, theirs, ours, theirs ...). Each
is run for a short and for a long number of iterations and only the difference counts: imports and start-up cancel out:

    it/s = (long - short) / (wall time of the long run - wall time of the short run)

The old package does not import on current torch and torchvision. Prepare it a throw-away environment outside this
repository and name its interpreter:

    python -m venv /somewhere/upstream
    /somewhere/upstream/bin/pip install torch torchvision numpy opencv-python lmdb pyyaml scikit-image scipy requests
    /somewhere/upstream/bin/pip install tb-nightly yapf addict future cython wheel "setuptools<80"
    /somewhere/upstream/bin/pip install --no-build-isolation --no-deps basicsr==1.4.2 spandrel safetensors einops
    python benchmarks/engine.py --upstream-python /somewhere/upstream/bin/python

It has no NAFNet. There it is given the network as the field runs it (the ``spandrel`` package's copy of the authors'
code) and, in a second row, this repository's network, which isolates the engine from the network.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]

# The smallest shims with which the old package imports: the two operators that a CPU torch lacks when torchvision was
# linked to CUDA, and a torchvision module that was renamed.
UPSTREAM_RUNNER = """
    import importlib.util, sys, types
    import torch
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        try:
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:
            pass
    import torchvision.transforms.functional as functional
    renamed = types.ModuleType("torchvision.transforms.functional_tensor")
    renamed.rgb_to_grayscale = functional.rgb_to_grayscale
    sys.modules["torchvision.transforms.functional_tensor"] = renamed
    from basicsr.utils.registry import ARCH_REGISTRY
    network = sys.argv.pop(1)
    if network == "spandrel":
        from spandrel.architectures.NAFNet.__arch.NAFNet_arch import NAFNet
        ARCH_REGISTRY.register(NAFNet)
    else:
        class Unregistered:
            def register(self, obj=None, suffix=None):
                return lambda target: target
        import basicsr.utils.registry as registry
        kept, registry.ARCH_REGISTRY = registry.ARCH_REGISTRY, Unregistered()
        for name in ("norm", "local_pool", "nafnet_arch"):
            full = "basicsr.archs." + name
            spec = importlib.util.spec_from_file_location(full, network + "/" + name + ".py")
            module = sys.modules[full] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        registry.ARCH_REGISTRY = kept
        kept.register(module.NAFNet)
    from basicsr.train import train_pipeline
    train_pipeline(sys.argv.pop(1))
"""


def make_images(folder: Path, count: int, side: int) -> None:
    """Write ``count`` smooth-plus-noise PNG pairs of ``side`` x ``side`` pixels."""
    rng = np.random.default_rng(0)
    for sub in ("gt", "lq"):
        (folder / sub).mkdir(parents=True)
    for index in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        noise = rng.normal(0, 6, image.shape)
        for sub, gain in (("gt", 1.0), ("lq", 0.7)):
            pixels = np.clip(image * gain + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / sub / f"{index:04d}.png"), pixels)


def write_options(path: Path, data: Path, name: str, iterations: int, args: argparse.Namespace) -> None:
    options = {
        "name": name,
        "model_type": "SRModel",
        "scale": 1,
        "num_gpu": 0,
        "manual_seed": 0,
        # The old engine ignores keys that it does not know.
        "channels_last": yaml.safe_load(args.channels_last),
        "datasets": {
            "train": {
                "name": "bench",
                "type": "PairedImageDataset",
                "dataroot_gt": str(data / "gt"),
                "dataroot_lq": str(data / "lq"),
                "io_backend": {"type": "disk"},
                "gt_size": args.size,
                "use_hflip": True,
                "use_rot": True,
                "num_worker_per_gpu": 1,
                "batch_size_per_gpu": args.batch,
                "dataset_enlarge_ratio": 1000,
            }
        },
        "network_g": {
            "type": "NAFNet",
            "img_channel": 3,
            "width": args.width,
            "enc_blk_nums": [1, 1, 1],
            "middle_blk_num": 1,
            "dec_blk_nums": [1, 1, 1],
        },
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 0.001, "weight_decay": 0.0, "betas": [0.9, 0.9]},
            "scheduler": {"type": "MultiStepLR", "milestones": [100000], "gamma": 0.5},
            "total_iter": iterations,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "logger": {"print_freq": 10, "save_checkpoint_freq": 100000, "use_tb_logger": False},
    }
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")


def run(command: list[str], log: Path, threads: int) -> tuple[float, float]:
    """Run a command to its end; return its wall seconds and its CPU seconds (with its children's)."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH="")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with log.open("wb") as stream:
        status = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"error: {' '.join(command)} ended with status {status.returncode}:\n{tail}")
    return wall, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def speed(command_for: dict[int, list[str]], log: Path, threads: int) -> tuple[float, float]:
    """Iterations per wall second and CPU seconds per iteration, start-up taken out."""
    (short, command_short), (long, command_long) = sorted(command_for.items())
    wall_short, cpu_short = run(command_short, log, threads)
    wall_long, cpu_long = run(command_long, log, threads)
    count = long - short
    return count / max(wall_long - wall_short, 1e-9), (cpu_long - cpu_short) / count


def commands(folder: Path, args: argparse.Namespace) -> dict[str, dict[int, list[str]]]:
    """The engines to compare: label -> {number of iterations: command}."""
    runner = folder / "upstream_runner.py"
    runner.write_text(textwrap.dedent(UPSTREAM_RUNNER), encoding="utf-8")
    ours_network = ROOT / "BasicSR" / "basicsr" / "archs"
    result: dict[str, dict[int, list[str]]] = {"ours": {}}
    for count in (args.short, args.long):
        path = folder / f"ours_{count}.yml"
        write_options(path, folder / "data", f"ours_{count}", count, args)
        trainer = str(ROOT / "BasicSR" / "basicsr" / "train.py")
        extra = ["--force_yml", f"path:experiments_root={folder}/ours_experiments"]
        result["ours"][count] = [sys.executable, trainer, "-opt", str(path), *extra]
        if args.upstream_python:
            networks = {"upstream + authors' NAFNet": "spandrel", "upstream + our NAFNet": str(ours_network)}
            for label, network in networks.items():
                name = f"upstream_{'own' if network == 'spandrel' else 'ours'}_{count}"
                path = folder / f"{name}.yml"
                write_options(path, folder / "data", name, count, args)
                command = [args.upstream_python, str(runner), network, str(folder), "-opt", str(path)]
                result.setdefault(label, {})[count] = command
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream-python", help="interpreter of an environment with basicsr==1.4.2 and spandrel")
    parser.add_argument("--short", type=int, default=10, help="iterations of the short run (default 10)")
    parser.add_argument("--long", type=int, default=60, help="iterations of the long run (default 60)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each engine (default 3)")
    parser.add_argument("--batch", type=int, default=4, help="batch size (default 4)")
    parser.add_argument("--size", type=int, default=128, help="crop edge in pixels (default 128)")
    parser.add_argument("--width", type=int, default=16, help="width of the NAFNet (default 16)")
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS of both engines (default 1)")
    parser.add_argument(
        "--channels-last", default="auto", choices=["auto", "true", "false"], help="ours (default auto)"
    )
    args = parser.parse_args()
    if args.long <= args.short:
        parser.error("--long must be larger than --short")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_images(folder / "data", 16, 480)
        table = commands(folder, args)
        figures: dict[str, list[tuple[float, float]]] = {label: [] for label in table}
        for repeat in range(args.repeats):
            for label, command_for in table.items():
                figures[label].append(speed(command_for, folder / "run.log", args.threads))
                print(f"run {repeat + 1}/{args.repeats}  {label}: {figures[label][-1][0]:.2f} it/s", file=sys.stderr)
    print(
        f"\nbatch {args.batch} x {args.size}^2, width {args.width}, {args.threads} OpenMP thread(s), 1 worker, fp32\n"
    )
    print("| engine | it/s (median) | min | max | CPU s/it | ours / it, wall | ours / it, CPU |")
    print("|---|---|---|---|---|---|---|")
    ours_wall = [rate for rate, _ in figures["ours"]]
    ours_cpu = [cpu for _, cpu in figures["ours"]]
    for label, values in figures.items():
        rates, cpus = [rate for rate, _ in values], [cpu for _, cpu in values]
        wall_ratio = statistics.median(a / b for a, b in zip(ours_wall, rates, strict=True))
        cpu_ratio = statistics.median(b / a for a, b in zip(ours_cpu, cpus, strict=True))
        print(
            f"| {label} | {statistics.median(rates):.2f} | {min(rates):.2f} | {max(rates):.2f} "
            f"| {statistics.median(cpus):.3f} | {wall_ratio:.2f}x | {cpu_ratio:.2f}x |"
        )


if __name__ == "__main__":
    main()
