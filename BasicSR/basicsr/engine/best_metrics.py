"""The best value of every metric on every validation set, and whether the best weights are due to be written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class BestMetrics:
    """Keeps the best values.

    Args:
        opt: Reads ``val.metrics``, ``val.best_metric`` and ``datasets`` when they are needed.

    Attributes:
        results: Set, then metric, to ``{'better', 'val', 'iter'}``.
        improved: Whether the watched metric improved since this was last set to False.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self._opt = opt
        self.results: dict[str, dict[str, dict[str, Any]]] = {}
        self.improved = False

    def _metrics(self) -> Mapping[str, Mapping[str, Any]]:
        return (self._opt.get("val") or {}).get("metrics") or {}

    def begin(self, dataset_name: str) -> None:
        """Have a record for every metric of a set; records that exist stay."""
        record = self.results.setdefault(dataset_name, {})
        for metric, entry in self._metrics().items():
            better = entry.get("better", "higher")
            worst = float("-inf") if better == "higher" else float("inf")
            record.setdefault(metric, {"better": better, "val": worst, "iter": -1})

    def update(self, dataset_name: str, metric: str, value: float, current_iter: Any) -> None:
        """Take a new value; it wins if it is at least as good. NaN never wins."""
        record = self.results[dataset_name][metric]
        better = value >= record["val"] if record["better"] == "higher" else value <= record["val"]
        if math.isnan(value) or not better:
            return
        new = value != record["val"] or record["iter"] == -1
        record["val"], record["iter"] = value, current_iter
        if new and (dataset_name, metric) == self.watched():
            self.improved = True

    def watched(self) -> tuple[str, str] | None:
        """The (set, metric) by which the best weights are kept, as ``val.best_metric`` says; None without metrics."""
        return self.find((self._opt.get("val") or {}).get("best_metric"))

    def iteration(self) -> int | None:
        """When the watched metric was best, or last as good; None before the first validation."""
        watched = self.watched()
        record = self.results.get(watched[0], {}).get(watched[1]) if watched else None
        return None if record is None or record["iter"] == -1 else int(record["iter"])

    def find(self, chosen: str | None) -> tuple[str, str] | None:
        """The (set, metric) that ``label`` or ``set/label`` means.

        Args:
            chosen: None for the first metric of the first set.

        Returns:
            The pair; None without metrics.
        """
        metrics = self._metrics()
        if not metrics:
            return None
        names = [
            str(entry["name"])
            for key, entry in (self._opt.get("datasets") or {}).items()
            if key.split("_")[0] == "val" and entry
        ] or list(self.results)
        first = names[0] if names else ""
        if chosen is None:
            return first, next(iter(metrics))
        for name in names:
            if chosen.startswith(f"{name}/") and chosen[len(name) + 1 :] in metrics:
                return name, chosen[len(name) + 1 :]
        return first, chosen
