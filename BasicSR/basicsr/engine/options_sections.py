"""Walks an option file's sections and checks each against its schema (see ``options_check``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError
from basicsr.engine.option_types import TypeMismatch, convert, dataclass_in, did_you_mean
from basicsr.engine.options_check import UNKNOWN_HINT, Checker, Report
from basicsr.engine.options_fill import loader_options
from basicsr.engine.options_paths import check_paths
from basicsr.engine.options_rules import check_rules
from basicsr.engine.options_schema import (
    SECTIONS,
    DatasetEntry,
    LossSchedule,
    MetricOptions,
    PathOptions,
    TopOptions,
)
from basicsr.engine.options_yaml import Entry, LoadedFile, Place
from basicsr.engine.plugins import load_plugins
from basicsr.engine.schema import (
    Param,
    Schema,
    options_class,
    schema_of_callable,
    schema_of_dataclass,
    schema_of_options,
)
from basicsr.utils import registry as registries

# Images for a metric of one image; all outputs and labels of a set for a metric of a classifier.
METRIC_INPUTS = ("img", "img2", "outputs", "labels")
OPTIMIZER_INPUTS = ("params",)
SCHEDULER_INPUTS = ("optimizer", "last_epoch")
LOSS_ENDING = "_opt"


def check_options(
    loaded: LoadedFile, root: Path, is_train: bool, paths: bool = True, auto_resume: bool = False
) -> Report:
    """Check a merged option file.

    Plug-ins are imported, so that what they register is known; nothing else is built, no image or weight is read.

    Args:
        loaded: The merged file.
        root: The project's root, to which data and weight paths are relative.
        is_train: Whether it is for training.
        paths: Whether data and weights must exist.
        auto_resume: Whether the run continues from an earlier state if it finds one.

    Returns:
        Converted values, errors and warnings.
    """
    top = loaded.root
    checker = Checker(root, _warns(top))
    checker.report.errors.extend(loaded.problems)
    _load_plugins(checker, top)
    values = _Sections(checker, top, is_train).check()
    checker.report.values = values
    check_rules(checker, top, values, is_train)
    checker.drop_repeated()
    if paths:
        check_paths(checker, top, values, is_train, auto_resume)
    if any("unknown key" in problem.message for problem in checker.report.errors):
        checker.report.hints.append(f"All keys: docs/options.md {UNKNOWN_HINT}.")
    return checker.report


def _warns(top: Entry) -> bool:
    entry = top.value.get("unknown_keys")
    return entry is not None and entry.value == "warn"


def _load_plugins(checker: Checker, top: Entry) -> None:
    entry = top.value.get("plugins")
    names: Sequence[str] | None = None
    if entry is not None and entry.value is not None:
        try:
            names = convert(entry.plain(), list[str])
        except TypeMismatch:
            return  # reported with the other keys
    try:
        load_plugins(names, checker.root)
    except UserError as error:
        checker.error(entry.place if entry else top.place, "plugins", str(error).removeprefix("plugins: "))


class _Sections:
    """One pass over the top level."""

    def __init__(self, checker: Checker, top: Entry, is_train: bool) -> None:
        self.checker = checker
        self.top = top
        self.is_train = is_train
        self.model = self._model()
        self.networks = [
            key[len("network_") :]
            for key, entry in top.value.items()
            if isinstance(key, str) and key.startswith("network_") and entry.value is not None
        ] or ["g"]

    def _model(self) -> Any:
        entry = self.top.value.get("model_type")
        if entry is None or not isinstance(entry.value, str):
            return None
        return self.checker.lookup(entry, "model_type", registries.MODEL_REGISTRY)

    def check(self) -> dict[str, Any]:
        handled = {*SECTIONS, "datasets"}
        names = [f"network_{item}" for item in "gd"]
        schema = dataclasses.replace(schema_of_dataclass(TopOptions), name="the top level").extended(self._own_keys())
        values = self.checker.params(
            self.top,
            schema,
            "",
            skip=lambda name: name in handled or name.startswith("network_"),
            extra_names=names,
        )
        for key, entry in self.top.value.items():
            if isinstance(key, str) and key.startswith("network_") and entry.value is not None:
                values[key] = self._component(entry, key, registries.ARCH_REGISTRY)
        values["datasets"] = self._datasets()
        for section in SECTIONS:
            entry = self.top.value.get(section)
            if entry is None or entry.value is None:
                continue
            if self.checker.mapping(entry, section, "a mapping") is not None:
                values[section] = getattr(self, f"_{section}")(entry)
        return values

    def _own_keys(self, section: str | None = None) -> Schema:
        """Keys that the model declares for itself, on the top level or in a section."""
        nothing = Schema("", {})
        cls = options_class(self.model) if self.model is not None else None
        if cls is None:
            return nothing
        params = schema_of_dataclass(cls).params
        if section is None:
            return Schema("", {name: param for name, param in params.items() if name not in SECTIONS})
        own = dataclass_in(params[section].annotation) if section in params else None
        return nothing if own is None else schema_of_dataclass(own)

    def _section_schema(self, name: str, extra: Iterable[Param] = ()) -> Schema:
        schema = dataclasses.replace(schema_of_dataclass(SECTIONS[name]), name=f"'{name}'")
        schema = dataclasses.replace(schema, params={**schema.params, **{item.name: item for item in extra}})
        return schema.extended(self._own_keys(name))

    def _component(
        self, entry: Entry, key: str, registry: registries.Registry, given: Sequence[str] = (), common: Any = None
    ) -> dict[str, Any] | None:
        shared = schema_of_dataclass(common) if common is not None else None
        return self.checker.component(entry, key, registry, lambda item: schema_of_callable(item, given), shared)

    def _path(self, entry: Entry) -> dict[str, Any]:
        extra = [
            Param(family.prefix + network, family.annotation, family.default, family.doc)
            for family in PathOptions.families
            for network in self.networks
        ]
        prefixes = tuple(family.prefix for family in PathOptions.families)
        removed = {name for name, item in entry.value.items() if str(name).startswith(prefixes) and item.value is None}
        known = {item.name for item in extra}
        return self.checker.params(
            entry, self._section_schema("path", extra), "path", skip=lambda name: name in removed - known
        )

    def _train(self, entry: Entry) -> dict[str, Any]:
        def is_component(name: str) -> bool:
            return name == "scheduler" or name.startswith("optim_") or name.endswith(LOSS_ENDING)

        schema = self._section_schema("train")
        own = self._own_keys("train").params
        names = [f"optim_{item}" for item in self.networks] + ["pixel_opt", "perceptual_opt"]
        if not self.is_train:
            schema = dataclasses.replace(
                schema, params={name: dataclasses.replace(item, default=None) for name, item in schema.params.items()}
            )
        values = self.checker.params(entry, schema, "train", is_component, names)
        for name, member in entry.value.items():
            if not isinstance(name, str) or not is_component(name) or name in own or member.value is None:
                continue
            key = f"train.{name}"
            if name == "scheduler":
                values[name] = self._component(member, key, registries.SCHEDULER_REGISTRY, SCHEDULER_INPUTS)
            elif name.startswith("optim_"):
                values[name] = self._component(member, key, registries.OPTIMIZER_REGISTRY, OPTIMIZER_INPUTS)
            elif self._is_used_loss(name, member.place):
                values[name] = self._component(member, key, registries.LOSS_REGISTRY, common=LossSchedule)
        return values

    def _is_used_loss(self, name: str, place: Place) -> bool:
        accepted = accepted_losses(self.model)
        if accepted is None or name in accepted:
            return True
        model = self.top.value["model_type"].value
        advice = did_you_mean(name, accepted) or f"; it reads: {', '.join(sorted(accepted))}"
        self.checker.error(place, f"train.{name}", f"the model {model} would ignore this loss{advice}")
        return False

    def _val(self, entry: Entry) -> dict[str, Any]:
        values = self.checker.params(entry, self._section_schema("val"), "val", skip=lambda name: name == "metrics")
        metrics = entry.value.get("metrics")
        if metrics is None or metrics.value is None:
            return values
        members = self.checker.mapping(metrics, "val.metrics", "a mapping of labels to metrics")
        values["metrics"] = {}
        for label, metric in (members or {}).items():
            if metric.value is None:
                continue
            values["metrics"][str(label)] = self._component(
                metric, f"val.metrics.{label}", registries.METRIC_REGISTRY, METRIC_INPUTS, MetricOptions
            )
        return values

    def _logger(self, entry: Entry) -> dict[str, Any]:
        return self.checker.params(entry, self._section_schema("logger"), "logger")

    def _dist_params(self, entry: Entry) -> dict[str, Any]:
        return self.checker.params(entry, self._section_schema("dist_params"), "dist_params")

    def _datasets(self) -> dict[str, Any]:
        entry = self.top.value.get("datasets")
        if entry is None or entry.value is None:
            return {}
        members = self.checker.mapping(entry, "datasets", "a mapping of 'train' and 'val' to datasets")
        common = schema_of_dataclass(DatasetEntry)
        loader = loader_options()
        if loader is not None:
            common = common.extended(schema_of_dataclass(loader))
        values: dict[str, Any] = {}
        for name, member in (members or {}).items():
            if member.value is None:
                continue
            key = f"datasets.{name}"
            self._prefix(str(name), member.place, key)
            found = self.checker.component(
                self._with_filled_in(member, str(name)),
                key,
                registries.DATASET_REGISTRY,
                schema_of_options,
                Schema("", {item: param for item, param in common.params.items() if item != "type"}),
            )
            values[str(name)] = found
        return values

    def _with_filled_in(self, entry: Entry, name: str) -> Entry:
        """The dataset's entry with what the engine adds to it, where the dataset's own class asks for it."""
        if not isinstance(entry.value, dict):
            return entry
        scale = self.top.value.get("scale")
        added = {"phase": Entry(name.split("_")[0], entry.place)}
        if scale is not None and isinstance(scale.value, int):
            added["scale"] = scale
        return Entry({**added, **entry.value}, entry.place)

    def _prefix(self, name: str, place: Place, key: str) -> None:
        if not self.is_train:
            return
        if name == "train" or name.split("_")[0] == "val":
            return
        advice = "use 'train' for the training set" if name.startswith("train") else "use 'val', 'val_2', 'val_xyz'"
        self.checker.error(place, key, f"a training run has one 'train' and any number of 'val...' sets; {advice}")
        self.checker.misspelt(key, ["train"])


def accepted_losses(model: Any) -> frozenset[str] | None:
    """The losses that a model reads from ``train``; None if it reads every ``<name>_opt``.

    A model class says it with the attribute ``loss_keys``. A subclass that has its own ``init_training_settings``
    builds losses of its own and no longer has its parent's list; without any list every loss is accepted.
    """
    for klass in getattr(model, "__mro__", ()):
        if "loss_keys" in vars(klass):
            keys = vars(klass)["loss_keys"]
            return None if keys is None else frozenset(keys)
        if "init_training_settings" in vars(klass):
            return None
    return None
