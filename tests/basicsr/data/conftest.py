import importlib.util
import sys
from pathlib import Path

# The helpers beside the tests are imported by name, whatever import mode pytest runs in.
if "image_files" not in sys.modules:
    spec = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["image_files"] = module
    spec.loader.exec_module(module)
