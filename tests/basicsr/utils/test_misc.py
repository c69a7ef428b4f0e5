import re

import pytest

from basicsr.utils.misc import check_resume, get_time_str, make_exp_dirs, mkdir_and_rename, scandir, sizeof_fmt


def test_time_string_has_upstreams_form():
    assert re.fullmatch(r"\d{8}_\d{6}", get_time_str())


def test_existing_folder_is_archived_never_lost(tmp_path):
    folder = tmp_path / "run"
    for content in ("first", "second"):
        mkdir_and_rename(str(folder))
        (folder / "note").write_text(content)
    mkdir_and_rename(str(folder))
    archived = sorted(path for path in tmp_path.iterdir() if path.name.startswith("run_archived_"))
    assert sorted((path / "note").read_text() for path in archived) == ["first", "second"]
    assert list(folder.iterdir()) == []


def test_folders_of_a_training_run(tmp_path):
    run = tmp_path / "experiments" / "x"
    path = {"experiments_root": str(run), "pretrain_network_g": None, "log": str(run)}
    path.update({key: str(run / key) for key in ("models", "training_states", "visualization")})
    make_exp_dirs({"is_train": True, "path": path})
    assert {entry.name for entry in run.iterdir()} == {"models", "training_states", "visualization"}


def test_scandir_is_sorted_and_leaves_hidden_files_out(tmp_path):
    for name in ("b.png", "a.png", "c.txt", ".DS_Store", "sub/d.png", ".git/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert list(scandir(str(tmp_path))) == ["a.png", "b.png", "c.txt"]
    assert list(scandir(str(tmp_path), suffix=".png", recursive=True)) == ["a.png", "b.png", "sub/d.png"]
    assert list(scandir(str(tmp_path), suffix=(".txt",), full_path=True)) == [str(tmp_path / "c.txt")]
    with pytest.raises(TypeError):
        scandir(str(tmp_path), suffix=3)


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 B"), (1536, "1.5 KB"), (3 * 1024**3, "3.0 GB")])
def test_sizes_for_people(size, text):
    assert sizeof_fmt(size) == text


def _options(tmp_path, **path):
    return {
        "network_g": {"type": "A"},
        "network_d": {"type": "B"},
        "path": {"models": str(tmp_path / "models"), **path},
    }


def test_resume_points_every_network_at_its_weights(tmp_path):
    opt = _options(
        tmp_path,
        resume_state=str(tmp_path / "training_states" / "9.state"),
        pretrain_network_g="elsewhere.pth",
        param_key_g="params_ema",
        strict_load_g=False,
        ignore_resume_networks=["network_d"],
    )
    check_resume(opt, 9)
    assert opt["path"]["pretrain_network_g"] == str(tmp_path / "models" / "net_g_9.pth")
    assert opt["path"]["param_key_g"] == "params" and opt["path"]["strict_load_g"] is True
    assert "pretrain_network_d" not in opt["path"]


def test_state_of_another_run_brings_that_runs_weights(tmp_path):
    other = tmp_path / "other"
    (other / "models").mkdir(parents=True)
    (other / "models" / "net_g_9.pth").write_bytes(b"")
    opt = _options(tmp_path, resume_state=str(other / "training_states" / "9.state"))
    check_resume(opt, 9)
    assert opt["path"]["pretrain_network_g"] == str(other / "models" / "net_g_9.pth")


def test_without_a_state_nothing_is_changed(tmp_path):
    opt = _options(tmp_path, resume_state=None, pretrain_network_g="elsewhere.pth")
    check_resume(opt, 9)
    assert opt["path"]["pretrain_network_g"] == "elsewhere.pth"
