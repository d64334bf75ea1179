"""`fer-tune export`: a model or an ensemble for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.display import terminal

EXAMPLES = ("fer-tune export models/resnet --onnx resnet.onnx",)


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that retrain or ensemble left.")],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="The ONNX file to write.")],
) -> None:
    """Write a model as an ONNX file, and check that it computes what torch computes."""
    difference = api.export(folder, onnx)
    out = terminal.console()
    terminal.line(out, "input: images, uint8 [N, channels, side, side]; output: probabilities, float32 [N, classes]")
    terminal.line(out, f"largest difference from torch, on 500 images: {difference:.1e}")
    terminal.line(out, "written: ", (str(onnx), "bold"))
