#!/usr/bin/env python
"""The LEGO demo: render a dozen parts, train a small network, measure it, export ONNX, ask it about a picture.

    python tools/run_lego_demo.py                                    # parts that are computed here, nothing else needed
    python tools/run_lego_demo.py --ldraw complete.zip --parts 3001,3003,3004,3020 --tag mine
    python tools/run_lego_demo.py --ldraw complete.zip --parts parts.txt --real captures --tag real

The held-out pictures are renders with other settings (poses, photographs as backgrounds, shadows, a camera that errs
more), not photographs: the table says that everything works together, not how well real bricks are recognised. With
--real DIR your own captures (part/colour/<piece>_<view>.jpg, LDraw's colour codes) train, validate and test, by piece.
Trained by BasicSR/basicsr/train.py with options/demo/lego_classifier.yml. A stage that is complete is not run again.
Needs the extras 'lego' (numba) and 'onnx'. Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from plugins.classification.class_onnx import need_onnx  # noqa: E402
from plugins.lego import lego_eval_files as files  # noqa: E402
from plugins.lego.demo import DemoOptions, example, export, judge, make_data, train  # noqa: E402
from plugins.lego.inference import ClassifierLoader, Prediction  # noqa: E402
from plugins.lego.lego_eval_report import write_page  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ldraw", type=Path, help="LDraw folder or archive (default: a dozen computed parts)")
    parser.add_argument("--parts", default="", help="ids with commas, or a file of ids (default: a dozen common ones)")
    parser.add_argument("--real", type=Path, metavar="DIR", help="your own captures: part/colour/<piece>_<view>.jpg")
    parser.add_argument("--tag", default="", help="ending of the folders' names, to keep several demos")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demo wrote and start again")
    parser.add_argument("--force_yml", nargs="+", default=[], metavar="a:b=v", help="settings for the training")
    return parser.parse_args()


def show_answer(picture: Path, answer: Prediction) -> None:
    """Print what the exported file says of a picture."""
    print(f"\n{picture}: the exported file answers")
    for word, candidates in (("part", answer.parts), ("colour", answer.colors)):
        listed = ", ".join(f"{one.name} {one.confidence:.0%}" for one in candidates[:3])
        print(f"  {word:7} {listed}")


def main() -> int:
    args = parse_args()
    options = DemoOptions(ROOT, args.ldraw, args.parts, args.real, args.tag, args.fresh, tuple(args.force_yml))
    need_onnx()
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    make_data(options, say)
    train(options, say)
    say("measuring")
    result = judge(options)
    files.write_files(result, options.results)
    write_page(result, options.results / files.PAGE)
    say("exporting")
    export(options, result, say)
    kind = "real captures" if options.real else "held-out renders with other settings (no photographs)"
    print(f"\n{len(result.answers.records)} {kind}\n\n{files.text_table(result)}\n")
    for line in files.calibration_lines(result):
        print(line)
    for note in result.notes:
        print(f"note: {note}")
    picture = example(result)
    show_answer(picture, ClassifierLoader(options.model).predict(picture.read_bytes()))
    say("done")
    print(f"page       {options.results / files.PAGE}\nconfusion  {options.results / files.matrix_file('part')}")
    print(f"model      {options.model}\nweights    {options.weights}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
