"""The program as a process: statuses, streams that close, signals, ``--help``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from importlib.metadata import entry_points

import blocklmm as bl
import numpy as np
import pytest
from blocklmm.cli import main

from .conftest import SLOPES
from .test_fit import KEYS

PROGRAM = [sys.executable, "-m", "blocklmm"]
SOURCES = os.path.dirname(os.path.dirname(bl.__file__))
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCES}


def process(*arguments, **options):
    options = {"env": ENVIRONMENT, "capture_output": True, "text": True, **options}
    return subprocess.run([*PROGRAM, *arguments], timeout=120, **options)


def test_a_fit_and_an_error(sleep_csv, sleep):
    ended = process("fit", sleep_csv, SLOPES)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == bl.lmer(SLOPES, sleep).summary() + "\n"
    ended = process("fit", "no.csv", SLOPES)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "blocklmm: 'no.csv': No such file or directory\n"


def test_standard_input_and_a_narrow_encoding(sleep):
    text = sleep.rename(columns={"Days": "Tage_ü"}).to_csv(index=False)
    env = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    formula = "Reaction ~ Tage_ü + (1 | Subject)"
    ended = process("fit", "-", formula, input=text.encode(), env=env, text=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rb"Tage_\xfc" in ended.stdout


def test_a_reader_that_has_enough(folder, sleep_csv):
    command = [*PROGRAM, "predict", sleep_csv, SLOPES, sleep_csv]
    big = "Reaction,Days,Subject\n" + "250,1,308\n" * 20_000
    (folder / "big.csv").write_text(big)
    command[-1] = "big.csv"
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=ENVIRONMENT) as ended:
        assert ended.stdout.readline() == b"Reaction,Days,Subject,.mean\n"
        ended.stdout.close()
        assert ended.wait(60) == 141
        assert ended.stderr.read() == b""


def test_a_full_disk(folder, sleep_csv):
    with open("/dev/full", "w") as full:
        ended = process(
            "fit",
            sleep_csv,
            SLOPES,
            "--out",
            "fit.json",
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert ended.returncode == 1
    assert ended.stderr == "blocklmm: No space left on device\n"
    assert (folder / "fit.json").exists()


def opened_for_writing(path, process):
    """Wait until a process reads a pipe."""
    while process.poll() is None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    return pytest.fail(process.stderr.read())


def test_ctrl_c(folder):
    """While it waits for rows, after which it would write files."""
    os.mkfifo("rows.csv")
    command = [*PROGRAM, "fit", "rows.csv", SLOPES, "--out", "fit.json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=ENVIRONMENT) as ended:
        writing = opened_for_writing("rows.csv", ended)
        ended.send_signal(signal.SIGINT)
        assert ended.wait(60) == 130
        os.close(writing)
        assert ended.stderr.read() == b"blocklmm: interrupted\n"
    assert [p.name for p in folder.iterdir()] == ["rows.csv"]


def test_the_entry_point_is_this_one():
    (script,) = entry_points(group="console_scripts", name="blocklmm")
    assert script.load() is main


def test_demo(run):
    ended = run("demo")
    assert (ended.status, ended.err) == (0, "")
    assert "BLUPs of the subjects" in ended.out
    assert "Does each subject need its own slope?" in ended.out


def test_version(run):
    assert run("--version").out == f"blocklmm {bl.__version__}\n"


def test_help(run):
    ended = run("--help")
    assert ended.status == 0
    for text in ("fit", "compare", "predict", "demo", "exit status:", "not certified", "130"):
        assert text in ended.out


@pytest.mark.parametrize("command", ["fit", "compare", "predict"])
def test_help_of_a_command_teaches(run, command):
    ended = run(command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert f"  blocklmm {command} " in ended.out  # an example
    for text in ("formulas:", "(1 | g)", "data:", "rows/*.parquet", "files:", "--out", "--sep"):
        assert text in ended.out
    assert "exit status:" in ended.out
    lines = ended.out[ended.out.index("formulas:") :].splitlines()
    assert max(map(len, lines)) <= 100
    assert ended.out.isascii()


def test_help_lists_the_keys_of_json(run):
    text = run("fit", "--help").out
    for key in KEYS:
        assert key in text
    for key in ("by_column", "conf_low", "sdcor", "min_eigenvalue"):
        assert key in text
    for name in ("cAIC", "akaike_weight", "p_boundary", "tests_notes"):
        assert name in run("compare", "--help").out


def test_wrong_commands(run):
    for arguments in ([], ["ft"], ["--nothing"], ["demo", "more"]):
        ended = run(*arguments)
        assert (ended.status, ended.out, len(ended.lines)) == (2, "", 1)
        assert ended.err.endswith("--help)\n")


def test_a_defect_is_not_hidden(monkeypatch, sleep_csv):
    def defective(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("blocklmm.cli.fitting.lmer", defective)
    with pytest.raises(ZeroDivisionError):
        main(["fit", sleep_csv, SLOPES])


def test_memory_that_is_not_enough(monkeypatch, run, sleep_csv):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr("blocklmm.cli.fitting.lmer", greedy)
    ended = run("fit", sleep_csv, SLOPES)
    assert (ended.status, ended.lines) == (1, ["blocklmm: there is not enough memory"])


def test_warnings_of_others_are_lines_too(monkeypatch, run, sleep_csv):
    def warned(*arguments, **options):
        with np.errstate(all="ignore"):
            for _ in range(2):
                warnings.warn("something\nodd", UserWarning, stacklevel=1)
        return bl.lmer(*arguments, **options)

    monkeypatch.setattr("blocklmm.cli.fitting.lmer", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        ended = run("fit", sleep_csv, SLOPES)
    assert ended.lines == ["blocklmm: warning: UserWarning: something", "blocklmm: warning: odd"]


def test_without_standard_streams(monkeypatch, folder, sleep_csv):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert main(["fit", sleep_csv, SLOPES, "--out", "fit.json"]) == 0
    assert (folder / "fit.json").exists()
    assert main(["fit", "no.csv", SLOPES]) == 1


def test_main_takes_the_process_s_arguments(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["blocklmm", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("blocklmm ")
