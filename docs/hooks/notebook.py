"""Puts a notebook with its outputs into a page, when the site is built."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = re.compile(r"<!-- notebook: ([\w.-]+\.ipynb) -->")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Returns the page's text with the cells of a notebook in the place of `MARK`."""
    folder = Path(config["docs_dir"])
    return MARK.sub(lambda mark: "\n\n".join(cells(folder / mark[1])), markdown)


def cells(notebook: Path) -> Iterator[str]:
    """Yields the cells and their outputs as Markdown."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", ()):
            yield _output(output)


def _output(output: Any) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text'])}```"
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div style="overflow-x:auto">\n{_one_block("".join(data["text/html"]))}\n</div>'
    return f'<pre style="overflow-x:auto">{html.escape("".join(data.get("text/plain", "")))}</pre>'


def _one_block(text: str) -> str:
    """Returns HTML without empty lines, which would end it in Markdown."""
    return re.sub(r"\n\s*\n", "\n", text)
