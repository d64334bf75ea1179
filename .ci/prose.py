"""Checks the plain English of the project: line length of prose, and a list of banned turns.

    python .ci/prose.py                    all files: each finding, then a count for each room
    python .ci/prose.py fer_tune/mirror    only the files below these paths

It reads the Markdown pages, and of each Python file the docstrings, comments and other strings.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PLACES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "storage/README.md",
    "fer_tune",
    "benchmarks",
    "tests",
    ".ci",
)

LONGEST = 100
"""Characters that a line of prose may have."""

BANNED = {
    r"\banew\b": "again",
    r"(?<!there )\b(?:is|are|was|were) no (?!(?:longer|more|such|(?:wid|bett|furth|fast|slow|larg|small)er|worse)\b)"
    r"[a-z]+": "is not a ...",
    r"\b(?:lies|lie|lay|lying) (?:in|at|on|below|beside|there|here|outside|elsewhere|between)\b": "is in",
    r"\b(?:stands|stand|stood) (?:in|at|on|below|beside|above|there|here)\b": "is in",
    r"\b(?:goes|go|went|gone|going) on\b(?! (?:strike|sale))": "continues, continue",
    r"\bfor want of\b": "because there is no ...",
    r"\bnever (?:was|were) (?!before)": "did not become ...",
    r"\b(?:bear|bears|bore) with\b": "tolerate, tolerates",
    r"\bwants? (?:a|an|the|to be|no)\b": "needs",
    r"\b(?:know|knows|knew) no\b": "does not know",
    r"\bnothing (?:is|was) heard\b": "the worker sent nothing",
    r"\b(?:comes|came|come) (?:of|about|to that)\b": "say what happened",
    r"\bhow it (?:all )?hangs together\b": "how it works",
    r"\b(?:whence|whither|thereof|therein|wherein|thereby|heed|nought|in vain)\b": "use an everyday word",
    r"\bmakes? up for\b": "say who does what",
    r"\b(?:held|holds|hold) against\b": "compared with",
    r"\bbe (?:it|they|he|the [a-z]+) [a-z]+ or not\b": "whether or not ...",
    r"\b(?:takes|take|took|taken) [a-z]+ for (?:a|an|the) (?!while|moment|time|test|run)": "mistakes ... for",
    r"\bwhat (?:is|was) not told\b": "what is not reported",
    r"\b(?:is|are|was|were|be) told (?:that|what|how|of|a|the|which|now)\b": "hears, receives, is called with",
    r"\b(?:is|are|was|were) to be (?!in\b)[a-z]+(?:ed|n|t)\b": "must be, will be",
}
"""Turns that stop a reader, each with what to write instead. Case does not matter."""

PATTERNS = [(re.compile(pattern, re.IGNORECASE), better) for pattern, better in BANNED.items()]

Finding = tuple[Path, int, str]


def main(arguments: list[str]) -> int:
    """Prints what to change. Returns 1 if there is anything."""
    below = [Path(argument).resolve() for argument in arguments] or [ROOT / place for place in PLACES]
    findings = [finding for path in files(below) for finding in check(path)]
    for path, line, text in findings:
        print(f"{path.relative_to(ROOT)}:{line}: {text}")
    for room, count in sorted(Counter(room_of(path) for path, _, _ in findings).items()):
        print(f"{count:5} {room}")
    return int(bool(findings))


def files(below: list[Path]) -> Iterator[Path]:
    """Yields the Python and Markdown files at or below these paths."""
    for path in below:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.suffix in {".py", ".md"} and file.is_file())


def room_of(path: Path) -> str:
    """Returns the folder that a count is for: `fer_tune/mirror`, `tests/jobs`, `docs`."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2]) if parts[0] in {"fer_tune", "benchmarks", "tests"} else parts[0]


def check(path: Path) -> Iterator[Finding]:
    """Yields what is wrong with one file."""
    text = path.read_text(encoding="utf-8")
    if path.name in {"prose.py", "test_prose.py"}:
        return  # they quote the turns
    for line, prose in sorted(markdown(text) if path.suffix == ".md" else python(text)):
        if len(prose.rstrip()) > LONGEST > 20 + max(map(len, prose.split())):  # a long address cannot be broken
            yield path, line, f"{len(prose)} characters; a line of prose has at most {LONGEST}"
    whole = Turns(sorted(turns(text, path.suffix == ".md")))
    yield from ((path, line, problem) for line, problem in whole.problems())


class Turns:
    """The prose of a file in one text, so that a turn that two lines share is found too."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.text = ""
        self.starts: list[tuple[int, int]] = []
        for number, prose in lines:
            self.starts.append((len(self.text), number))
            self.text += prose.strip(" \t#*") + " "

    def problems(self) -> Iterator[tuple[int, str]]:
        """Yields the line and the advice for each banned turn."""
        found = [(match, better) for pattern, better in PATTERNS for match in pattern.finditer(self.text)]
        for match, better in sorted(found, key=lambda one: one[0].start()):
            line = max(number for start, number in self.starts if start <= match.start())
            yield line, f"“{match[0]}”: {better}"


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines of a page, without code blocks, tables and HTML comments."""
    code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.lstrip().startswith(("|", "<!--", "![", "    ")):
            yield number, line


def python(text: str) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines of docstrings, and those that are comments and nothing else."""
    lines = text.splitlines()
    alone = {number for number in comments(text) if lines[number - 1].lstrip().startswith("#")}
    for number in alone | {number for number, _ in docstrings(text)}:
        yield number, lines[number - 1]


def turns(text: str, is_markdown: bool) -> Iterator[tuple[int, str]]:
    """Yields the prose of a file line by line: of a Python file also its messages."""
    if is_markdown:
        yield from ((number, re.sub(r"`[^`]*`", "``", line)) for number, line in markdown(text))
        return
    yield from comments(text).items()
    documented = dict(docstrings(text))
    yield from documented.items()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in documented:
            yield node.lineno, node.value.replace("\n", " ") + "."


def comments(text: str) -> dict[int, str]:
    """Returns the comments by their line."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines of all strings that are statements: docstrings, and those below an attribute."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                yield number, lines[number - 1].replace('"""', "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
