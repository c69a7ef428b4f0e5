import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from basicsr.engine import checkpoint
from basicsr.engine.errors import UserError

WEIGHTS = {"params": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(3)}}
STATE = {"iter": 7, "epoch": 1, "optimizers": [], "schedulers": []}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back(tmp_path, suffix):
    sections = {**WEIGHTS, "params_ema": {key: value + 1 for key, value in WEIGHTS["params"].items()}}
    checkpoint.save_weights(tmp_path / f"net_g_7{suffix}", sections)
    loaded = checkpoint.load_weights(tmp_path / f"net_g_7{suffix}")
    assert list(loaded) == ["params", "params_ema"]
    for name, state in sections.items():
        assert set(loaded[name]) == set(state)
        assert all(torch.equal(loaded[name][key], state[key]) for key in state)


def test_tied_and_strided_weights_can_be_written_as_safetensors(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    checkpoint.save_weights(tmp_path / "w.safetensors", {"params": {"a": shared, "b": shared, "c": shared.t()}})
    loaded = checkpoint.load_weights(tmp_path / "w.safetensors")["params"]
    assert torch.equal(loaded["a"], loaded["b"]) and torch.equal(loaded["c"], shared.t())


def test_bare_safetensors_is_a_bare_state_dict(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.ones(2)}, tmp_path / "w.safetensors")
    assert list(checkpoint.load_weights(tmp_path / "w.safetensors")) == ["x"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_weights_are_named(tmp_path, content, suffix):
    path = tmp_path / f"net_g_7{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="net_g_7"):
        checkpoint.load_weights(path)


def test_weights_file_is_never_unpickled_into_foreign_objects(tmp_path):
    torch.save({"params": os.system}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth.*could run any code"):
        checkpoint.load_weights(tmp_path / "evil.pth")


def test_failed_write_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "net_g_7.pth"
    checkpoint.save_weights(path, WEIGHTS)
    before = path.read_bytes()

    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"net_g_7\.pth.*No space left.*choose another folder to write to\.$"):
        checkpoint.write_atomic(path, fails)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net_g_7.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_disk_that_refuses_in_the_middle_of_torch_save_is_a_user_error_with_the_reason(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    weights = {"params": {"a": torch.zeros(100_000)}}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UserError, match=r"net_g_7\.pth.*File too large"):
            checkpoint.save_weights(tmp_path / "net_g_7.pth", weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_error_that_is_not_the_disks_keeps_its_own_words(tmp_path):
    def fails(file):
        raise RuntimeError("a data worker died")

    with pytest.raises(RuntimeError, match="a data worker died"):
        checkpoint.write_atomic(tmp_path / "x", fails)
    assert list(tmp_path.iterdir()) == []


def test_write_killed_half_way_leaves_the_old_file_and_its_leftover_is_removed(tmp_path):
    path = tmp_path / "5.state"
    checkpoint.save_state(path, STATE)
    before = path.read_bytes()
    code = (
        "import sys, time\nfrom basicsr.engine.checkpoint import write_atomic\n"
        "def slow(file):\n    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
        "write_atomic(sys.argv[1], slow)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=_env())
    assert process.stdout.readline() == b"writing\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert path.read_bytes() == before
    leftovers = checkpoint.remove_leftovers(tmp_path)
    assert len(leftovers) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["5.state"]


def _env():
    root = Path(__file__).resolve().parents[3]
    return {**os.environ, "PYTHONPATH": f"{root / 'BasicSR'}{os.pathsep}{root}"}


def _checkpoint(folder, iteration, label="g"):
    checkpoint.save_weights(folder / "models" / f"net_{label}_{iteration}.pth", WEIGHTS)
    checkpoint.save_state(folder / "training_states" / f"{iteration}.state", {**STATE, "iter": iteration})


def _newest(folder, **more):
    return checkpoint.newest_state(folder / "training_states", folder / "models", **more)


def test_newest_state_counts_numbers_not_letters(tmp_path):
    for iteration in (9, 12, 100):
        _checkpoint(tmp_path, iteration)
    assert _newest(tmp_path).name == "100.state"
    assert _newest(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("victim", ["training_states/12.state", "models/net_g_12.pth"])
@pytest.mark.parametrize("damage", ["cut", "missing", "flipped"])
def test_damaged_checkpoint_is_named_and_the_previous_one_used(tmp_path, victim, damage):
    for iteration in (9, 12):
        _checkpoint(tmp_path, iteration)
    path = tmp_path / victim
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    else:
        # one bit inside the stored pickle
        position = content.index(b"optimizers" if victim.endswith("state") else b"a.weight") + 2
        content[position] ^= 1
        path.write_bytes(content)
    said = []
    assert _newest(tmp_path, report=said.append).name == "9.state"
    if not (damage == "missing" and victim.endswith("state")):
        assert len(said) == 1 and Path(victim).name in said[0]


def test_networks_of_a_gan_are_all_needed(tmp_path):
    _checkpoint(tmp_path, 9)
    _checkpoint(tmp_path, 9, label="d")
    _checkpoint(tmp_path, 12)
    assert _newest(tmp_path, labels=["g", "d"]).name == "9.state"


def test_nothing_usable_is_an_error_not_a_new_start(tmp_path):
    _checkpoint(tmp_path, 9)
    (tmp_path / "models" / "net_g_9.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"net_g_9\.pth"):
        _newest(tmp_path)


def test_upstream_state_is_refused_with_the_way_out(tmp_path):
    torch.save({"epoch": 1, "iter": 5, "optimizers": [], "schedulers": []}, tmp_path / "5.state")
    with pytest.raises(UserError, match=r"pretrain_network_g.*net_g_5\.pth"):
        checkpoint.load_state(tmp_path / "5.state")


def test_state_of_a_newer_engine_is_refused(tmp_path):
    checkpoint.save_state(tmp_path / "5.state", {**STATE, "version": 99})
    with pytest.raises(UserError, match="version 99"):
        checkpoint.load_state(tmp_path / "5.state")


def test_prune_keeps_the_newest_latest_and_best(tmp_path):
    for iteration in (3, 6, 9, 12):
        _checkpoint(tmp_path, iteration)
    for name in ("latest", "best"):
        checkpoint.save_weights(tmp_path / "models" / f"net_g_{name}.pth", WEIGHTS)
    removed = checkpoint.prune(tmp_path / "models", tmp_path / "training_states", keep_last=2, keep={3})
    assert sorted(path.name for path in removed) == ["6.state", "net_g_6.pth"]
    assert {path.name for path in (tmp_path / "models").iterdir()} == {
        *(f"net_g_{name}.pth" for name in ("3", "9", "12", "latest", "best"))
    }
    assert checkpoint.prune(tmp_path / "models", tmp_path / "training_states", keep_last=None) == []


def test_prune_of_a_run_resumed_from_an_old_state_spares_what_it_just_wrote(tmp_path):
    for iteration in (3, 6, 12):
        _checkpoint(tmp_path, iteration)
    checkpoint.prune(tmp_path / "models", tmp_path / "training_states", keep_last=1, upto=6)
    assert set(checkpoint.states_in(tmp_path / "training_states")) == {6, 12}


def test_the_longest_name_can_be_written_and_a_file_as_folder_is_a_user_error(tmp_path):
    longest = tmp_path / ("é" * 125 + ".pth")
    checkpoint.write_atomic(longest, lambda file: file.write(b"x"))
    assert [path.name for path in tmp_path.iterdir()] == [longest.name]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write .*file/sub/x"):
        checkpoint.write_atomic(tmp_path / "file" / "sub" / "x", lambda file: file.write(b"x"))


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_record_of_plain_data_travels_with_the_weights(tmp_path: Path, name: str) -> None:
    record = {"encoding": "srgb", "names": ["a", "b"], "nested": {"rgb": [[0.25, 0.5, 0.25]], "size": 224}}
    checkpoint.save_weights(tmp_path / name, {"params": {"w": torch.ones(2)}}, record)
    content = checkpoint.load_weights(tmp_path / name)
    assert content["record"] == record
    assert torch.equal(content["params"]["w"], torch.ones(2))
