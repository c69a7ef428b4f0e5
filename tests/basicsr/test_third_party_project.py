"""A project in the pattern of Real-ESRGAN, HAT and the like: own package, own train.py of five lines."""

import subprocess
import sys
import textwrap

import pytest

from basicsr.engine import checkpoint
from tests.basicsr.tiny_run import environment, make_project, write_options

SCAN = """
import importlib
from os import path as osp
from basicsr.utils import scandir

folder = osp.dirname(osp.abspath(__file__))
names = [osp.splitext(osp.basename(v))[0] for v in scandir(folder) if v.endswith('{ending}.py')]
_modules = [importlib.import_module(f'theirs.{package}.{{name}}') for name in names]
"""

FILES = {
    "theirs/__init__.py": "from .archs import *\nfrom .data import *\nfrom .models import *\n",
    "theirs/archs/__init__.py": SCAN.format(ending="_arch", package="archs"),
    "theirs/data/__init__.py": SCAN.format(ending="_dataset", package="data"),
    "theirs/models/__init__.py": SCAN.format(ending="_model", package="models"),
    "theirs/archs/their_arch.py": """
        from torch import nn
        from basicsr.archs.arch_util import default_init_weights
        from basicsr.utils.registry import ARCH_REGISTRY

        @ARCH_REGISTRY.register()
        class TheirNet(nn.Module):
            def __init__(self, num_feat=4):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(3, num_feat, 3, 1, 1), nn.ReLU(), nn.Conv2d(num_feat, 3, 3, 1, 1))
                default_init_weights(self.body, 0.1)

            def forward(self, x):
                return x + self.body(x)
    """,
    "theirs/data/their_dataset.py": """
        import os
        import cv2
        from torch.utils import data
        from basicsr.data.transforms import augment
        from basicsr.utils import FileClient, imfrombytes, img2tensor, scandir
        from basicsr.utils.registry import DATASET_REGISTRY

        @DATASET_REGISTRY.register()
        class TheirDataset(data.Dataset):
            def __init__(self, opt):
                super().__init__()
                self.opt = opt
                self.file_client = None
                self.io_backend_opt = opt['io_backend']
                self.paths = sorted(scandir(opt['dataroot_gt'], full_path=True))

            def __getitem__(self, index):
                if self.file_client is None:
                    self.file_client = FileClient(self.io_backend_opt.pop('type'), **self.io_backend_opt)
                img = imfrombytes(self.file_client.get(self.paths[index], 'gt'), float32=True)
                img = augment([img], self.opt['use_hflip'], self.opt['use_rot'])
                gt = img2tensor([img], bgr2rgb=True, float32=True)[0][:, :8, :8]
                return {'lq': gt * self.opt['their_factor'], 'gt': gt, 'lq_path': self.paths[index],
                        'gt_path': self.paths[index]}

            def __len__(self):
                return len(self.paths)
    """,
    "theirs/models/their_model.py": """
        from collections import OrderedDict
        from basicsr.models.sr_model import SRModel
        from basicsr.utils import get_root_logger
        from basicsr.utils.registry import MODEL_REGISTRY

        @MODEL_REGISTRY.register()
        class TheirModel(SRModel):
            def __init__(self, opt):
                super().__init__(opt)
                self.steps = 0

            def feed_data(self, data):
                self.lq = data['lq'].to(self.device)
                self.gt = data['gt'].to(self.device)

            def optimize_parameters(self, current_iter):
                self.optimizer_g.zero_grad()
                self.output = self.net_g(self.lq)
                l_total = 0
                loss_dict = OrderedDict()
                if self.cri_pix:
                    l_pix = self.cri_pix(self.output, self.gt)
                    l_total += l_pix
                    loss_dict['l_pix'] = l_pix
                if self.cri_perceptual:
                    raise AssertionError('no perceptual loss was asked for')
                l_total.backward()
                self.optimizer_g.step()
                self.log_dict = self.reduce_loss_dict(loss_dict)
                if self.ema_decay > 0:
                    self.model_ema(decay=self.ema_decay)
                self.steps += 1
                get_root_logger().info(f'their step {self.steps}')
    """,
    "theirs/train.py": """
        import os.path as osp
        import theirs
        from basicsr.train import train_pipeline

        if __name__ == '__main__':
            root_path = osp.abspath(osp.join(__file__, osp.pardir, osp.pardir))
            train_pipeline(root_path)
    """,
}


@pytest.fixture
def project(tmp_path):
    make_project(tmp_path)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


def test_five_line_train_script_with_own_arch_dataset_and_model_trains_and_resumes(project):
    train_set = {
        "name": "Theirs",
        "type": "TheirDataset",
        "dataroot_gt": "data/gt",
        "io_backend": {"type": "disk"},
        "use_hflip": True,
        "use_rot": False,
        "their_factor": 0.5,
        "batch_size_per_gpu": 2,
        "num_worker_per_gpu": 0,
    }
    changes = {"model_type": "TheirModel", "network_g": {"type": "TheirNet"}, "datasets__train": train_set}
    command = [sys.executable, "theirs/train.py", "-opt", "tiny.yml"]
    env = environment()
    env["PYTHONPATH"] = f"{env['PYTHONPATH'].split(':')[0]}:{project}"  # basicsr installed, their project on the path
    for total, flags in ((5, []), (7, ["--auto_resume"])):
        write_options(project / "tiny.yml", train__total_iter=total, logger__save_checkpoint_freq=2, **changes)
        done = subprocess.run(command + flags, cwd=project, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-4000:]
    assert "RESUMING this run after iteration 5" in done.stderr
    assert done.stderr.count("their step") == 2
    run = project / "experiments" / "tiny"
    assert set(checkpoint.states_in(run / "training_states")) == {2, 4, 5, 6, 7}
    assert list(checkpoint.load_weights(run / "models" / "net_g_latest.pth")) == ["params", "params_ema"]
