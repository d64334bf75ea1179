"""Tests of docs/deploy/slurm.sh, with programs that only pretend to be Slurm, Ray and fer-tune."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app

SCRIPT = Path(__file__).parent.parent / "docs" / "deploy" / "slurm.sh"

PROGRAMS = {
    "scontrol": 'echo "scontrol $*" >> calls; if [ "$1" = show ]; then echo node1; echo node2; fi',
    "srun": """
while [[ "$1" == --* ]]; do
    [[ "$1" == --nodelist=* ]] && echo "on ${1#*=}" >> calls
    shift
done
exec "$@"
""",
    "hostname": "echo 10.0.0.1 fe80::1",
    "ray": 'echo "ray $*" >> calls; if [ "$1" = start ]; then exec sleep 60; fi',
    "fer-tune": """
until [ "$(grep -c 'ray start' calls)" = 2 ]; do sleep 0.02; done
echo "fer-tune $* at $RAY_ADDRESS in $FER_TUNE_DIR" >> calls
if [ "$2" = waits ]; then
    trap 'echo "asked to end" >> calls; sleep 0.2; echo "left checkpoints" >> calls; exit 130' TERM
    touch running
    while true; do sleep 0.02; done
fi
exit "${CODE:-0}"
""",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Returns a folder in whose `bin` the programs are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return tmp_path


def started(place: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_SUBMIT_DIR": str(place), "SLURM_CPUS_PER_TASK": "8", "SLURM_GPUS_ON_NODE": "4", **variables,
    }  # fmt: skip
    command = [shutil.which("bash") or "bash", str(SCRIPT), *words]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def calls(place: Path) -> list[str]:
    return (place / "calls").read_text().splitlines()


def test_it_starts_ray_on_each_node_and_runs_the_sweep(place: Path) -> None:
    process = started(place, "resnet", "--hours", "7")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    made = calls(place)
    head = "ray start --head --node-ip-address=10.0.0.1 --port=20041 --include-dashboard=false"
    assert f"{head} --num-cpus=8 --num-gpus=4 --block" in made
    assert "ray start --address=10.0.0.1:20041 --num-cpus=8 --num-gpus=4 --block" in made
    assert {"on node1", "on node2"} <= set(made)
    [run] = [call for call in made if call.startswith("fer-tune")]
    assert run == (
        "fer-tune run resnet --hours 7 --engine ray --ray-address auto --workers auto "
        f"at 10.0.0.1:20041 in {place}/storage"
    )
    assert not [call for call in made if "requeue" in call]


def test_it_ends_as_the_run_ends(place: Path) -> None:
    process = started(place, "resnet", CODE="3", FER_TUNE_DIR="/elsewhere")
    process.communicate(timeout=20)
    assert process.returncode == 3
    assert any(call.endswith("in /elsewhere") for call in calls(place))


def test_before_a_preemption_it_waits_for_checkpoints_and_queues_itself_again(place: Path) -> None:
    process = started(place, "waits")
    deadline = time.monotonic() + 20
    while not (place / "running").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    made = calls(place)
    assert made[-3:] == ["asked to end", "left checkpoints", "scontrol requeue 41"]
    assert "running trials leave checkpoints" in output


def test_without_a_sweep_it_says_how_to_call_it(place: Path) -> None:
    process = started(place)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output.split(":")[0]) == (2, "usage")


def test_slurm_is_told_to_warn_the_script_before_the_end() -> None:
    text = SCRIPT.read_text()
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert given["signal"] == "B:TERM@120"
    assert given["ntasks-per-node"] == "1"
    assert "#SBATCH --requeue\n" in text
    options = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    used = re.search(r"fer-tune run .*", text.split("usage:")[1].split("\n", 1)[1])
    assert used is not None
    assert set(re.findall(r"--[a-z-]+", used.group())) <= set(re.findall(r"--[a-z-]+", options))
