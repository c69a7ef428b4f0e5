"""What each process of the two-process test runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from basicsr.engine import distributed
from basicsr.models import build_model
from plugins.color_fidelity import image_restoration_model  # noqa: F401
from tests.basicsr.models.model_kit import KitSet, batch, loader, options


def work(folder: Path, world: int) -> dict[str, Any]:
    """Train and validate; returns what must not depend on the number of processes."""
    rank = distributed.get_rank()
    torch.manual_seed(0)
    opt = options(
        folder,
        model_type="ImageRestorationModel",
        dist=world > 1,
        train__accum_iter=2,
        train__ema_decay=0.5,
        train__non_finite="skip",
        network_g={"type": "KitNet", "unused": True},
    )
    opt["train"]["color_opt"] = {"type": "KitPartsLoss"}
    model: Any = build_model(opt)
    logs = []
    for current_iter in range(1, 4):
        model.update_learning_rate(current_iter)
        whole = batch(8, seed=current_iter)
        model.feed_data({key: value[rank::world] for key, value in whole.items()})
        model.optimize_parameters(current_iter)
        logs.append(dict(model.get_current_log()))
    whole = batch(8, seed=4)
    whole["lq"][3] = float("nan")  # of two processes, the second one's share
    model.feed_data({key: value[rank::world] for key, value in whole.items()})
    model.optimize_parameters(4)
    model.validation(loader(KitSet(5)), 3, None, True)
    net = model.get_bare_model(model.net_g)
    return {
        "logs": logs,
        "weights": {key: value.clone() for key, value in net.state_dict().items()},
        "spare": net.spare.grad is not None,
        "psnr": model.metric_results["psnr"],
        "images": sorted(path.name for path in folder.rglob("*.png")),
        "due": model.best_checkpoint_due,
        "skipped": model.tb_scalars()["skipped_steps"],
    }


def main() -> None:
    """Join the others, work, and write what came out of it."""
    folder, world = Path(sys.argv[1]), int(sys.argv[2])
    distributed.init("pytorch" if world > 1 else "none", backend="gloo", device="cpu", num_gpu=0)
    result = work(folder, world)
    distributed.barrier()
    torch.save(result, folder / f"result_{distributed.get_rank()}.pt")
    distributed.shutdown()


if __name__ == "__main__":
    main()
