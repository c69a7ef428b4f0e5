"""Photo enhancement: a plain whole-image forward against ``tools/enhance.py``'s way, in one run.

    python benchmarks/enhance.py                  # 3300 x 2200, width 32: minutes, and 10 GB for the whole image
    python benchmarks/enhance.py --width 660 --height 440 --folder-photos 4 --folder-side 500      # to try it

One synthetic photo, one NAFNet of the sizes of ``options/nafnet_fast.yml`` with random weights of a fixed seed. Every
row is a process of its own, so its peak memory (``ru_maxrss``) is its own; differences are taken from the first row's
output. Then a folder: photos a second one after the other against overlapped, and the peak memory of a few photos
against many. Prints markdown. GPU rows appear where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from torch import nn  # noqa: E402

from basicsr.archs.nafnet_arch import NAFNet, NAFNetLocal  # noqa: E402
from plugins.color_fidelity.enhance import Plan, enhance_all  # noqa: E402
from plugins.color_fidelity.enhance_files import Photo, write_photo  # noqa: E402
from plugins.color_fidelity.enhance_plan import plan_jobs  # noqa: E402
from plugins.color_fidelity.enhance_run import Runner  # noqa: E402
from plugins.color_fidelity.enhance_summary import peak_memory  # noqa: E402

ROWS = {
    "plain forward, whole, fp32": {"run": "plain"},
    "enhance (bands), fp32": {"run": "auto"},
    "enhance --tile 512, fp32": {"run": "512"},
    "plain forward, whole, bf16": {"run": "plain", "precision": "bf16"},
    "enhance (bands), bf16": {"run": "auto", "precision": "bf16"},
}
LOCAL_ROWS = {
    "NAFNetLocal, plain forward, whole, fp32": {"run": "plain", "local": True},
    "NAFNetLocal, enhance (bands), fp32": {"run": "auto", "local": True},
}


def make_network(local: bool = False, small: bool = False) -> nn.Module:
    """The network of ``options/nafnet_fast.yml`` (or one that is nearly free) with weights of a fixed seed."""
    sizes = yaml.safe_load((ROOT / "options" / "nafnet_fast.yml").read_text(encoding="utf-8"))["network_g"]
    sizes.pop("type")
    if small:
        sizes.update(width=4, middle_blk_num=0, enc_blk_nums=[], dec_blk_nums=[])
    torch.manual_seed(0)
    net = (NAFNetLocal if local else NAFNet)(**sizes).eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        if name.endswith(("beta", "gamma")):  # zero in a new network, which would be the identity
            parameter.normal_(0, 0.1)
    return net


def make_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: ramps, stripes and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    planes = [rows * columns, 0.5 + 0.5 * np.sin(9 * rows + 20 * columns), np.broadcast_to(1 - rows, (height, width))]
    noisy = np.stack(planes, axis=2) + rng.normal(0, 0.02, (height, width, 3))
    return (noisy.clip(0, 1) * 255).astype(np.uint8)


def run_row(task: dict[str, Any]) -> dict[str, Any]:
    """One network over one photo; in a process of its own."""
    device = torch.device(task.get("device", "cpu"))
    net = make_network(task.get("local", False)).to(device)
    precision = task.get("precision", "fp32")
    pixels = make_pixels(task["height"], task["width"])
    image = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0).contiguous()
    start_memory = peak_memory() or 0
    if task["run"] == "plain":
        run = Runner(net, tile=0, precision=precision)  # pads, moves, calls the network once
    else:
        run = Runner(net, tile="auto" if task["run"] == "auto" else int(task["run"]), precision=precision)
    if device.type == "cuda":
        run(image[..., :256, :256])  # not the start of CUDA and cuDNN
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    cpu = time.process_time()
    output = run(image)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    np.save(task["output"], output.numpy())
    gpu = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    return {"seconds": seconds, "cpu": cpu, "peak": peak_memory(), "start": start_memory, "gpu": gpu}


def run_folder(task: dict[str, Any]) -> dict[str, Any]:
    """Some photos of a folder; in a process of its own."""
    jobs = plan_jobs(Path(task["source"]), Path(task["target"]))[: task["count"]]
    run = Runner(make_network(small=task["small"]).to(torch.device(task.get("device", "cpu"))))
    start = time.perf_counter()
    outcomes = list(enhance_all(jobs, run, Plan(overwrite=True, overlap=task["overlap"])))
    seconds = time.perf_counter() - start
    if any(outcome.status != "done" for outcome in outcomes):
        raise SystemExit(f"a photo failed: {[outcome.message for outcome in outcomes]}")
    stages = {stage: sum(each.seconds[stage] for each in outcomes) for stage in ("read", "compute", "write")}
    return {"seconds": seconds, "peak": peak_memory(), **stages, "mpx": sum(each.megapixels for each in outcomes)}


def in_process(kind: str, task: dict[str, Any]) -> dict[str, Any] | str:
    """The result of ``run_row`` or ``run_folder`` in a new process, or why it ended."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", kind, json.dumps(task)]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if shown.returncode != 0:
        return f"ended with status {shown.returncode}" + (" (killed: memory?)" if shown.returncode == -9 else "")
    result: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return result


def gigabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e9:.2f}"


def one_photo(args: argparse.Namespace, folder: Path) -> None:
    megapixels = args.width * args.height / 1e6
    print(f"\n{args.width} x {args.height} ({megapixels:.1f} megapixels), {args.threads} threads\n")
    print("| | device | seconds | CPU seconds | peak memory, GB | above start | GPU, GB | from the first row, of 255 |")
    print("|---|---|---|---|---|---|---|---|")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() and not args.no_gpu else [])]
    for group in (ROWS, LOCAL_ROWS) if args.local else (ROWS,):
        reference: Path | None = None
        for device in devices:
            for label, settings in group.items():
                output = folder / "output.npy" if reference else folder / "reference.npy"
                task = {**settings, "device": device, "height": args.height, "width": args.width, "output": str(output)}
                result = in_process("row", task)
                if isinstance(result, str):
                    print(f"| {label} | {device} | {result} | | | | | |", flush=True)
                    continue
                reference = reference or output
                difference = np.abs(np.load(output) - np.load(reference)).max() * 255
                above = gigabytes(result["peak"] - result["start"])
                print(
                    f"| {label} | {device} | {result['seconds']:.1f} | {result['cpu']:.1f} | "
                    f"{gigabytes(result['peak'])} | {above} | {gigabytes(result['gpu'])} | {difference:.5f} |",
                    flush=True,
                )


def one_folder(args: argparse.Namespace, folder: Path) -> None:
    height = args.folder_side * 2 // 3
    source = folder / "photos"
    for index in range(args.folder_photos):
        photo = Photo(make_pixels(height, args.folder_side, index))
        write_photo(source / f"{index:03}.jpg", photo)
    print(f"\nA folder of {args.folder_photos} JPEGs of {args.folder_side} x {height}\n")
    print("| network | photos | stages | seconds | Mpx/s | read | compute | write | peak memory, GB |")
    print("|---|---|---|---|---|---|---|---|---|")
    device = "cuda" if torch.cuda.is_available() and not args.no_gpu else "cpu"
    few = max(1, args.folder_photos // 4)
    for small, count, overlap in (
        (False, few, False),
        (False, few, True),
        (True, args.folder_photos, False),
        (True, args.folder_photos, True),
        (True, few, True),
    ):
        task = {"source": str(source), "target": str(folder / "done"), "count": count, "small": small}
        result = in_process("folder", {**task, "overlap": overlap, "device": device})
        name = "nearly free" if small else "width 32"
        way = "overlapped" if overlap else "one by one"
        if isinstance(result, str):
            print(f"| {name} | {count} | {way} | {result} | | | | | |")
            continue
        spent = " | ".join(f"{result[stage]:.1f}" for stage in ("read", "compute", "write"))
        speed = result["mpx"] / result["seconds"]
        print(
            f"| {name} | {count} | {way} | {result['seconds']:.1f} | {speed:.2f} | {spent} | "
            f"{gigabytes(result['peak'])} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=3300)
    parser.add_argument("--height", type=int, default=2200)
    parser.add_argument("--folder-photos", type=int, default=12, help="0 leaves the folder out")
    parser.add_argument("--folder-side", type=int, default=3300, help="width of the folder's photos")
    parser.add_argument("--local", action="store_true", help="also NAFNetLocal")
    parser.add_argument("--no-gpu", action="store_true")
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        run = run_row if args.task[0] == "row" else run_folder
        print(json.dumps(run(json.loads(args.task[1]))))
        return
    args.threads = os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {device}, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as temporary:
        one_photo(args, Path(temporary))
        if args.folder_photos:
            one_folder(args, Path(temporary))


if __name__ == "__main__":
    main()
