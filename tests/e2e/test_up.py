"""`strongroom up` as `make run` starts it: samples read, one question answered, UI up, nothing tried to get out."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.egress import refused_connections

pytestmark = pytest.mark.models

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "documents"
COMMAND = str(Path(sys.executable).with_name("strongroom"))
QUESTION = "How much notice must the Authority give to end the crane agreement without a reason?"
LOOPBACK_ONLY = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def prefix() -> list[str]:
    """A network namespace with loopback and nothing else, where this machine lets an ordinary user make one."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        return []
    possible = subprocess.run([*LOOPBACK_ONLY, "true"], capture_output=True, check=False).returncode == 0
    return LOOPBACK_ONLY if possible else []


def start(data_dir: Path, output: Path) -> subprocess.Popen[bytes]:
    arguments = ["up", "--samples", str(SAMPLES), "--question", QUESTION, "--data-dir", str(data_dir)]
    arguments += ["--port", "18600", "--ui-port", "18601"]
    with output.open("wb") as sink:
        return subprocess.Popen([*prefix(), COMMAND, *arguments], stdout=sink, stderr=subprocess.STDOUT)


def wait_for(text: str, output: Path, process: subprocess.Popen[bytes], seconds: float = 180) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = output.read_text(encoding="utf-8", errors="replace")
        if text in said:
            return said
        assert process.poll() is None, said
        time.sleep(0.2)
    pytest.fail(f"{text!r} did not appear:\n{output.read_text(errors='replace')}")


def test_up_answers_a_sample_question_and_serves_with_loopback_alone(tmp_path: Path) -> None:
    # GIVEN a first start
    data_dir, output = tmp_path / "data", tmp_path / "first.txt"
    process = start(data_dir, output)
    try:
        said = wait_for("press Ctrl-C", output, process)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=30)
    # THEN it read the samples, quoted the answer with its page, and printed a sign-in address
    assert code == 0
    assert "180 days' written notice" in said
    assert "crane-maintenance-agreement.pdf, page 6" in said
    assert "http://127.0.0.1:18601/login?token=" in said
    # WHEN it is started again, with a certificate
    tls = make_certificate(tmp_path / "tls")
    settings = f'tls_certificate = "{tls.certificate}"\ntls_key = "{tls.key}"\n'
    (data_dir / "strongroom.toml").write_text(settings, encoding="utf-8")
    output = tmp_path / "second.txt"
    process = start(data_dir, output)
    try:
        said = wait_for("press Ctrl-C", output, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    # THEN it repeats no work, speaks TLS on both ports, and its own client knows its certificate
    assert "12 unchanged" in said
    assert "server at https://127.0.0.1:18600" in said
    assert "https://127.0.0.1:18601/login?token=" in said
    # AND in neither run did anything try to leave
    assert refused_connections(data_dir) == []
