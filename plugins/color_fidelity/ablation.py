"""A sheet of trainings that differ in one thing each: its rows, what an overlay makes of them, and their runs.

A sheet is a folder of option files. Each file is a row and runs with ``train.py`` as it stands; files that begin with
an underscore are none. ``_common.yml`` and an overlay may hold a section ``ablation`` for the sheet as a whole, see
:class:`~plugins.color_fidelity.ablation_options.Settings`. ``tools/run_ablation.py`` trains and judges the rows;
docs/color_ablation.md shows how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError
from basicsr.engine.options_fill import absolute
from basicsr.engine.options_merge import load_options, merge
from basicsr.engine.options_sections import check_options
from basicsr.engine.options_yaml import Entry, LoadedFile, Place, entry_of
from plugins.color_fidelity.ablation_options import (
    CHECKSUM_LINE,
    SECTION,
    Settings,
    as_yaml,
    option_changes,
    read_settings,
)

COMMON = "_common.yml"
BASELINE_ROW, INPUT_ROW = "baseline", "input"
WEIGHTS_KEY = "pretrain_network_g"
_DISK = {"type": "disk"}


@dataclass(frozen=True)
class Row:
    """A line of the sheet.

    Attributes:
        name: Name of its file, without ending.
        label: What tables and plots call it.
        group: Heading it belongs to, may be empty.
        tree: Its options with everything inherited and laid over, with the places they were written at.
        problems: Met while reading.
    """

    name: str
    label: str
    group: str
    tree: Entry
    problems: tuple[Any, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The options as plain values."""
        return dict(self.tree.plain())


@dataclass(frozen=True)
class Run:
    """One training: a row with a seed.

    Attributes:
        row: Name of the row.
        seed: Its ``manual_seed``.
        name: Name of the experiment.
        tree: The options, with name and seed.
        problems: Met while reading.
        folder: Folder of the experiment.
        file: The resolved option file, written before training.
    """

    row: str
    seed: int
    name: str
    tree: Entry
    problems: tuple[Any, ...]
    folder: Path
    file: Path

    @property
    def options(self) -> dict[str, Any]:
        """The options as plain values."""
        return dict(self.tree.plain())

    @property
    def weights(self) -> Path:
        """What the end of the training writes."""
        return self.folder / "models" / "net_g_latest.pth"

    @property
    def total_iter(self) -> int:
        """Number of optimizer steps."""
        return int(self.options["train"]["total_iter"])

    @property
    def title(self) -> str:
        """Row and seed for messages."""
        return f"{self.row}, seed {self.seed}"


@dataclass(frozen=True)
class Sheet:
    """Everything that is to be done.

    Attributes:
        folder: Folder of the option files.
        overlay: The overlay's file, if any.
        root: The project's root.
        out: Folder of the results.
        settings: The sheet's section.
        rows: In the order of the tables.
        runs: Rows times seeds, one seed of all rows after the other.
        same: Rows left out, with the row whose options they have.
        start: Weights that all rows start from, absolute; None: random ones.
        sets: Set name to the options of its dataset.
        photos: Set name to the regular expression of its photographs.
    """

    folder: Path
    overlay: Path | None
    root: Path
    out: Path
    settings: Settings
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    same: Mapping[str, str]
    start: Path | None
    sets: Mapping[str, Mapping[str, Any]]
    photos: Mapping[str, str]

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


def load_sheet(
    folder: Path,
    root: Path,
    out: Path,
    *,
    overlay: Path | None = None,
    seeds: Sequence[int] = (0,),
    rows: Sequence[str] | None = None,
    smoke: bool = False,
) -> Sheet:
    """Read a sheet, with all that its rows inherit, and plan its runs. Nothing is written.

    Args:
        folder: Folder of the option files.
        root: The project's root, which relative paths start from.
        out: Folder of the results.
        overlay: Option file laid over every row.
        seeds: Seeds to train each row with.
        rows: Rows to keep; all by default.
        smoke: Lay the settings' ``smoke`` over everything and name the experiments ``..._smoke``.

    Raises:
        UserError: Folder, file, row or setting does not exist or is wrong; or rows start from different weights.
    """
    top = None if overlay is None else _read(overlay)
    section, over = _settings_tree(folder, top)
    settings = read_settings(section, str(overlay or folder / COMMON))
    names = _row_names(folder, settings, rows)
    trees = [_row(folder / f"{name}.yml", over, settings, smoke) for name in names]
    for row in trees:
        _check_form(row)
    kept, same = _without_repetitions(trees)
    start = _common_start(kept, root)
    runs = [_run(row, seed, root, out, smoke) for seed in seeds for row in kept]
    sets, photos = _sets(settings, kept, root)
    return Sheet(folder, overlay, root, out, settings, tuple(kept), tuple(runs), same, start, sets, photos)


def _read(path: Path) -> LoadedFile:
    if not path.is_file():
        raise UserError(f"{path}: no such option file")
    loaded = load_options(path)
    if loaded.problems:
        raise UserError("\n".join(map(str, loaded.problems)))
    return loaded


def _settings_tree(folder: Path, overlay: LoadedFile | None) -> tuple[dict[str, Any], Entry | None]:
    """The sheet's section, merged, and the overlay without it."""
    section = Entry({}, Place(str(folder)))
    common = folder / COMMON
    if common.is_file():
        section = merge(section, _read(common).root.value.get(SECTION, section))
    if overlay is None:
        return _plain_section(section), None
    members = dict(overlay.root.value)
    section = merge(section, members.pop(SECTION, Entry({}, overlay.root.place)))
    return _plain_section(section), Entry(members, overlay.root.place)


def _plain_section(section: Entry) -> dict[str, Any]:
    value = section.plain() or {}
    if not isinstance(value, dict):
        raise UserError(f"{section.place}: {SECTION}: must hold keys, got {value!r}")
    return value


def _row_names(folder: Path, settings: Settings, wanted: Sequence[str] | None) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of option files")
    found = sorted(path.stem for path in folder.glob("*.yml") if not path.name.startswith("_"))
    if not found:
        raise UserError(f"{folder}: there is no option file (*.yml) in it")
    unknown = [name for name in [*(wanted or ()), *settings.rows] if name not in found]
    if unknown:
        raise UserError(f"{folder}: there is no row '{unknown[0]}'; there are: {', '.join(found)}")
    reserved = {BASELINE_ROW, INPUT_ROW} & set(found)
    if reserved:
        raise UserError(f"{folder}: '{min(reserved)}' is the name of a row that is always there; rename the file")
    ordered = list(dict.fromkeys([*settings.rows, *found]))
    return [name for name in ordered if wanted is None or name in wanted]


def _row(path: Path, overlay: Entry | None, settings: Settings, smoke: bool) -> Row:
    loaded = load_options(path)
    members = dict(loaded.root.value)
    own = members.pop(SECTION, None)
    about = {**((own.plain() or {}) if own is not None else {}), **(settings.rows.get(path.stem) or {})}
    tree = Entry(members, loaded.root.place)
    if overlay is not None:
        tree = merge(tree, overlay)
    where = Place(f"{SECTION}.rows.{path.stem}.options")
    tree = merge(tree, entry_of(about.get("options") or {}, where))
    if smoke:
        tree = merge(tree, entry_of(dict(settings.smoke), Place(f"{SECTION}.smoke")))
    label, group = str(about.get("label") or path.stem), str(about.get("group") or "")
    return Row(path.stem, label, group, tree, tuple(loaded.problems))


def _check_form(row: Row) -> None:
    """Check the little that planning reads; the rest is checked as ``train.py`` does it, once there is a plan."""
    options: Any = row.tree.plain()
    if not isinstance(options, Mapping):
        raise UserError(f"row {row.name}: options must be keys with values, got {options!r}")
    places = [*[f"datasets.{key}" for key in _members(options, "datasets", row)], "datasets", "path", "train"]
    for place in places:
        section, _, key = place.rpartition(".")
        _members(options[section] if section else options, key, row, place)
    total, scale = _members(options, "train", row).get("total_iter"), options.get("scale")
    if isinstance(total, bool) or not isinstance(total, (int, float)):
        raise UserError(f"row {row.name}: train.total_iter: must be a number of iterations, got {total!r}")
    if scale is not None and not isinstance(scale, int):
        raise UserError(f"row {row.name}: scale: must be a whole number, got {scale!r}")


def _members(options: Mapping[str, Any], key: str, row: Row, place: str = "") -> Mapping[str, Any]:
    """A section of a row's options; an empty one where there is none."""
    value = options.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"row {row.name}: {place or key}: must hold keys with values, got {value!r}")
    return value or {}


def _without_repetitions(rows: Sequence[Row]) -> tuple[list[Row], dict[str, str]]:
    """Rows of which an earlier one would be the very same training, under this overlay."""
    kept: list[Row] = []
    same: dict[str, str] = {}
    for row in rows:
        twin = next((other for other in kept if not option_changes(other.options, row.options)), None)
        if twin is None:
            kept.append(row)
        else:
            same[row.name] = twin.name
    return kept, same


def _common_start(rows: Sequence[Row], root: Path) -> Path | None:
    starts: dict[str | None, str] = {}
    for row in rows:
        value = (row.options.get("path") or {}).get(WEIGHTS_KEY)
        starts.setdefault(None if value is None else absolute(str(value), root), row.name)
    if len(starts) > 1:
        listed = "; ".join(f"{name}: {value or 'random weights'}" for value, name in starts.items())
        raise UserError(f"rows start from different weights (path.{WEIGHTS_KEY}), so they cannot be compared: {listed}")
    value = next(iter(starts))
    return None if value is None else Path(value)


def _run(row: Row, seed: int, root: Path, out: Path, smoke: bool) -> Run:
    options = row.options
    stem = str(options.get("name") or "Ablation")
    stem = stem if stem.endswith(f"_{row.name}") else f"{stem}_{row.name}"
    name = f"{stem}_s{seed}{'_smoke' if smoke else ''}"
    tree = merge(row.tree, entry_of({"name": name, "manual_seed": seed}, Place(f"seed {seed} of {row.name}")))
    experiments = absolute(str((options.get("path") or {}).get("experiments_root") or "experiments"), root)
    return Run(row.name, seed, name, tree, row.problems, Path(experiments) / name, out / "options" / f"{name}.yml")


def _sets(settings: Settings, rows: Sequence[Row], root: Path) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Dataset options of every set, with absolute paths, and their photo patterns."""
    found: dict[str, dict[str, Any]] = {}
    photos: dict[str, str] = {}
    for name, item in settings.sets.items():
        rest = {key: value for key, value in item.items() if key not in ("lq", "gt", "photo")}
        found[name] = {"type": "PairedImageDataset", "io_backend": _DISK, **rest, "name": name}
        found[name] |= {"dataroot_lq": item["lq"], "dataroot_gt": item["gt"]}
        if item.get("photo"):
            photos[name] = str(item["photo"])
    if not settings.sets:
        datasets = rows[0].options.get("datasets") or {}
        held = {key: value for key, value in datasets.items() if key.startswith("val") and value}
        found = {str(value.get("name") or key): dict(value) for key, value in held.items()}
    for options in found.values():
        options["phase"], options["scale"] = "val", int(rows[0].options.get("scale") or 1)
        for key in ("dataroot_lq", "dataroot_gt", "meta_info_file"):
            if options.get(key):
                options[key] = absolute(str(options[key]), root)
    if not found:
        raise UserError(f"there is nothing to judge on: name sets in {SECTION}.sets, or validation sets in the rows")
    return {name: options for name, options in found.items()}, photos


def check_run(run: Run, root: Path, paths: bool = True) -> dict[str, Any]:
    """Check a run's options as ``train.py`` does.

    Returns:
        The options with every value converted to its type.

    Raises:
        UserError: It lists everything that is wrong, with file and line.
    """
    report = check_options(LoadedFile(run.tree, list(run.problems)), root, True, paths=paths)
    if report.errors:
        raise UserError(f"row {run.row}: {report.text()}")
    return report.values


def resolved_text(run: Run, start_checksum: str | None) -> str:
    """The run's option file: complete, so that ``train.py -opt`` repeats it."""
    lines = [f"# Row {run.row}, seed {run.seed}: everything inherited and laid over, written by tools/run_ablation.py."]
    if start_checksum is not None:
        lines.append(f"{CHECKSUM_LINE}{start_checksum}")
    return "\n".join(lines) + "\n\n" + as_yaml(run.options)
