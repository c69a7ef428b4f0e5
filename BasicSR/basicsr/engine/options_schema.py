"""The engine's own sections of an option file: every key, its type, its default, its meaning.

These classes are the schema. What a network, dataset, loss, metric, optimizer, scheduler or model takes is not listed
here: it is read from that component's own constructor (see ``basicsr.engine.schema``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class Family:
    """Keys of which only a part of the name is fixed, such as ``network_g``.

    Attributes:
        prefix: Fixed beginning of the key.
        suffix: Fixed end of the key.
        annotation: Type of the value.
        default: Value where the key is missing.
        doc: Meaning.
    """

    prefix: str
    suffix: str
    annotation: Any
    default: Any
    doc: str


@dataclass(frozen=True)
class DistOptions:
    """How the processes of a distributed run talk (``dist_params``).

    Attributes:
        backend: ``auto`` is nccl where every process has a CUDA device of its own, else gloo.
        port: Port of the first process; used with ``--launcher slurm``.
    """

    backend: Literal["auto", "nccl", "gloo", "mpi"] = "auto"
    port: int | None = None


@dataclass(frozen=True)
class PathOptions:
    """Weights to start from and folders to write to (``path``). Relative paths are relative to the project's root.

    Attributes:
        param_key: NAFNet's name of ``param_key_<x>`` for all networks at once.
        resume_state: Training state (``.state``) to continue from; ``--auto_resume`` finds the newest one itself.
        ignore_resume_networks: Networks whose weights are not taken from the resumed run, e.g. ``[network_d]``.
        experiments_root: Folder of all experiments; ``<root>/experiments`` by default.
        results_root: Folder of all test results; ``<root>/results`` by default.
        root: The project's root; filled in.
        models: Folder of the weights; filled in.
        training_states: Folder of the training states; filled in.
        log: Folder of the log file; filled in.
        visualization: Folder of the images; filled in.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family("pretrain_network_", "", str | None, None, "Weights the network starts from (.pth or .safetensors)."),
        Family("param_key_", "", str | None, "params", "Entry of the file: params, params_ema, or ~ for a bare one."),
        Family("strict_load_", "", bool, True, "Whether every tensor of the weights file must fit the network."),
    )
    param_key: str | None = None
    resume_state: str | None = None
    ignore_resume_networks: list[str] | None = None
    experiments_root: str | None = None
    results_root: str | None = None
    root: str | None = None
    models: str | None = None
    training_states: str | None = None
    log: str | None = None
    visualization: str | None = None


@dataclass(frozen=True)
class LossSchedule:
    """What every loss accepts beside its own parameters (``train.<name>_opt``).

    Attributes:
        start_iter: First iteration in which the loss counts.
        end_iter: Iteration from which it no longer counts; ``~`` for never.
        ramp_iter: Iterations over which its weight grows linearly from 0 to 1 after ``start_iter``.
    """

    start_iter: int = 0
    end_iter: int | None = None
    ramp_iter: int = 0


@dataclass(frozen=True)
class TrainOptions:
    """The training run (``train``).

    Attributes:
        total_iter: Number of iterations; one iteration is one step of the optimizer.
        total_epoch: The same in epochs of the training set; write one of the two.
        warmup_iter: Iterations over which the learning rate grows linearly from 0; -1 for none.
        warmup_epoch: The same in epochs.
        scheduler: Learning rate over time: ``type`` and the scheduler's parameters.
        ema_decay: Decay per iteration of the moving average of the weights; 0 for none.
        accum_iter: Batches whose gradients are added up for one step: the effective batch is this times larger.
        grad_clip: Largest norm of the gradient; 0 or false turns clipping off; ``~`` is the model's documented default.
        use_grad_clip: NAFNet's name: false turns clipping off, true is the model's documented default.
        non_finite: What a NaN or infinite loss or gradient does: ``stop`` the run, or ``skip`` the step and count it.
        net_d_iters: Steps of the generator for one of the discriminator (models with one).
        net_d_init_iters: Iterations in which only the discriminator learns (models with one).
        mixup: Not available; only false is accepted.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family("optim_", "", dict, None, "Optimizer of that network: `type`, `lr` and the optimizer's parameters."),
        Family("", "_opt", dict, None, "A loss: `type` and the loss's parameters, and the keys of every loss."),
    )
    scheduler: dict[str, Any]
    total_iter: int | None = None
    total_epoch: float | None = None
    warmup_iter: int = -1
    warmup_epoch: float | None = None
    ema_decay: float = 0.0
    accum_iter: int = 1
    grad_clip: float | Literal[False] | None = None
    use_grad_clip: bool | None = None
    non_finite: Literal["stop", "skip"] = "stop"
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    mixup: Literal[False] = False


@dataclass(frozen=True)
class ValOptions:
    """Validation and testing (``val``).

    Attributes:
        val_freq: Validate every so many iterations. Needed when training with a validation set.
        val_epoch: The same in epochs; write one of the two.
        save_img: Whether the outputs are written as images.
        suffix: Ending of the written images' names; the experiment's name by default. Testing only.
        pbar: Whether a progress bar is shown.
        metrics: One entry per metric, ``label: {type: ..., better: higher|lower}`` and the metric's parameters.
        best_metric: Metric by which the best weights are kept: ``label`` or ``set/label``; the first metric of the
            first set by default.
        early_stop: End the run after so many validations in a row without a ``best_metric`` as good as the best one.
        best_file: Name of the file with the best weights, among the run's models; ``net_g_best.pth`` by default.
        save_gt: Whether the targets are written beside the outputs; ``~`` is the model's default.
        grids: Whether large images are processed in overlapping tiles.
        crop_size_h: Height of a tile in pixels.
        crop_size_w: Width of a tile in pixels.
        crop_size_h_ratio: Height of a tile as a share of the image's.
        crop_size_w_ratio: Width of a tile as a share of the image's.
        max_minibatch: Tiles processed at once; all by default.
        use_image: Whether metrics see 8-bit images; false gives them the unrounded output:
            float32 images (BGR with ``rgb2bgr``), still in [0, 255].
        rgb2bgr: Whether written images change from RGB to BGR; false for networks that put out BGR.
        self_ensemble: Whether outputs are averaged over flips and rotations of the input.
        num_worker: Worker processes that read validation images.
        tb_images: Validation images shown in TensorBoard per set.
    """

    val_freq: int | None = None
    val_epoch: float | None = None
    save_img: bool = False
    suffix: str | None = None
    pbar: bool = False
    metrics: dict[str, Any] | None = None
    best_metric: str | None = None
    early_stop: int | None = None
    best_file: str | None = None
    save_gt: bool | None = None
    grids: bool = False
    crop_size_h: int | None = None
    crop_size_w: int | None = None
    crop_size_h_ratio: float | None = None
    crop_size_w_ratio: float | None = None
    max_minibatch: int | None = None
    use_image: bool = True
    rgb2bgr: bool = True
    self_ensemble: bool = False
    num_worker: int = 0
    tb_images: int = 4


@dataclass(frozen=True)
class MetricOptions:
    """What every metric accepts beside its own parameters (``val.metrics.<label>``).

    Attributes:
        better: Whether higher or lower values are better.
    """

    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True)
class WandbOptions:
    """Weights & Biases (``logger.wandb``); it copies what TensorBoard gets.

    Attributes:
        project: Project's name; ``~`` turns it off.
        resume_id: Run to continue.
    """

    project: str | None = None
    resume_id: str | None = None


@dataclass(frozen=True)
class LoggerOptions:
    """What is logged and kept, and how often (``logger``).

    Attributes:
        print_freq: Log every so many iterations.
        save_checkpoint_freq: Save weights and training state every so many iterations.
        save_checkpoint_epoch: The same in epochs.
        keep_last: Number of saved iterations to keep; all by default. The best and the latest are always kept.
        use_tb_logger: Whether TensorBoard files are written.
        progress: ``bar`` on a terminal, ``plain`` lines, or ``auto``.
        wandb: Weights & Biases.
    """

    print_freq: int = 100
    save_checkpoint_freq: int = 5000
    save_checkpoint_epoch: float | None = None
    keep_last: int | None = None
    use_tb_logger: bool = True
    progress: Literal["auto", "bar", "plain"] = "auto"
    wandb: WandbOptions = field(default_factory=WandbOptions)


@dataclass(frozen=True)
class DatasetEntry:
    """What every entry of ``datasets`` accepts beside the loader's and the dataset's own parameters.

    Attributes:
        name: Name in the logs, metrics and folders.
        type: The dataset's registered name.
        phase: Filled in from the entry's key (train, val, test).
        scale: Filled in from the top level.
        use_shuffle: Accepted for NAFNet's files; training data is always shuffled, validation data never.
    """

    name: str
    type: str
    phase: str | None = None
    scale: int | None = None
    use_shuffle: bool | None = None


@dataclass(frozen=True)
class TopOptions:
    """The top level of an option file.

    Attributes:
        name: The experiment's name and folder. With ``debug`` in it, everything is logged, saved and validated often.
        model_type: The model's registered name.
        base: An option file to inherit from, relative to this file. What this file says wins, ``~`` removes, a changed
            ``type`` replaces its whole section.
        plugins: Plug-ins to load, as module names; all installed ones by default.
        scale: Size of the target relative to the input.
        num_gpu: GPUs per process group, 0 for the CPU, or ``auto``.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``auto``: cuda, mps or cpu, the first that is there.
        manual_seed: Seed of all random numbers; drawn and logged when missing.
        precision: Number format of the forward and backward pass.
        channels_last: Memory layout of images; ``auto`` measures both at the start and logs its choice.
        compile: Whether networks are compiled.
        cpu_threads: Threads of a process on the CPU, or ``auto``.
        find_unused_parameters: For distributed runs of networks that do not use all parameters in every step.
        unknown_keys: What a key that nothing reads does: ``error`` stops, ``warn`` warns.
        print_network: Accepted for NAFNet's files; networks are always described in the log.
        datasets: ``train`` and any number of ``val...`` entries; for testing any names.
        path: Weights and folders.
        train: The training run.
        val: Validation and testing.
        logger: What is logged and kept.
        dist_params: Communication of a distributed run.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family("network_", "", dict, None, "A network: `type` and the parameters of its constructor."),
    )
    name: str
    model_type: str
    base: str | None = None
    plugins: list[str] | None = None
    scale: int = 1
    num_gpu: int | Literal["auto"] = "auto"
    device: str = "auto"
    manual_seed: int | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool | Literal["auto"] = False
    compile: bool = False
    cpu_threads: int | Literal["auto"] = "auto"
    find_unused_parameters: bool = False
    unknown_keys: Literal["error", "warn"] = "error"
    print_network: bool | None = None
    datasets: dict[str, Any] = field(default_factory=dict)
    path: PathOptions = field(default_factory=PathOptions)
    train: TrainOptions | None = None
    val: ValOptions = field(default_factory=ValOptions)
    logger: LoggerOptions = field(default_factory=LoggerOptions)
    dist_params: DistOptions = field(default_factory=DistOptions)


SECTIONS: Mapping[str, type] = {
    "path": PathOptions,
    "train": TrainOptions,
    "val": ValOptions,
    "logger": LoggerOptions,
    "dist_params": DistOptions,
}
