"""What is installed, what a command loads, and what may be carried: the supply chain as it is here."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

from tests.packaging.repository import ROOT, script

# Client libraries of hosted models, stores and trackers. None has a place in an appliance that nothing leaves.
CLOUD = (
    *("anthropic", "boto3", "botocore", "cohere", "dashscope", "fireworks-ai", "google-genai", "groq", "mistralai"),
    *("openai", "replicate", "together", "voyageai", "zhipuai", "ollama", "litellm"),
    *(
        "llama-cloud",
        "llama-cloud-services",
        "llama-index",
        "llama-index-cli",
        "llama-parse",
        "llama-index-llms-openai",
    ),
    *("llama-index-embeddings-openai", "llama-index-indices-managed-llama-cloud", "langsmith"),
    *("azure-core", "azure-identity", "azure-storage-blob", "google-api-core", "google-auth", "google-cloud-storage"),
    *("pinecone", "pinecone-client", "weaviate-client", "supabase"),
    *("sentry-sdk", "posthog", "mixpanel", "wandb", "mlflow", "comet-ml", "neptune", "scarf-sdk", "analytics-python"),
)
HEAVY = ("torch", "llama_index", "streamlit", "openvino", "unstructured", "sentence_transformers", "transformers")
HEAVY_TOO = ("llama_cpp", "qdrant_client", "qdrant_edge", "onnxruntime", "cv2", "sqlalchemy", "fastapi", "pandas")


def test_no_cloud_sdk_is_installed() -> None:
    canonical = script("lock").canonical
    installed = {canonical(distribution.metadata["Name"]) for distribution in importlib.metadata.distributions()}
    assert installed & set(CLOUD) == set()
    hosted = {name for name in installed if name.startswith(("azure-", "google-cloud-", "boto", "aws-"))}
    assert hosted == set()


def test_the_one_cloud_client_that_comes_along_cannot_be_imported() -> None:
    """`unstructured` requires its vendor's client; the guard keeps it from ever being loaded."""
    code = (
        "from strongroom import airgap; airgap.prepare_environment()\n"
        "import unstructured.partition.docx, unstructured.partition.md, unstructured.partition.text\n"
        "try:\n    import unstructured_client\nexcept ImportError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("refused")


@pytest.mark.parametrize("command", [["--help"], ["ask", "--help"], ["ingest", "--help"], ["models", "--help"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from strongroom.__main__ import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as exc:\n    code = exc.code or 0\n"
        "print(json.dumps([code, sorted({name.split('.')[0] for name in sys.modules if sys.modules[name]})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    exit_code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert exit_code == 0
    assert "Usage" in done.stdout
    assert set(loaded) & {*HEAVY, *HEAVY_TOO} == set()


def test_every_licence_is_allowed() -> None:
    findings = script("licences").examine(importlib.metadata.distributions())
    assert len(findings) > 100
    assert [(finding.name, finding.problem) for finding in findings if finding.problem] == []


@pytest.mark.parametrize(
    ("licence", "problem"),
    [
        ("MIT", ""),
        ("Apache-2.0 OR BSD-3-Clause", ""),
        ("MIT AND (Apache-2.0)", ""),
        ("GPL-3.0-only OR MIT", ""),
        ("AGPL-3.0-or-later", "refused"),
        ("GNU Affero General Public License v3", "refused"),
        ("MIT AND GPL-2.0-only", "refused"),
        ("BUSL-1.1", "refused"),
        ("Somebody's own licence", "not on the list"),
        ("", "name no licence"),
    ],
)
def test_licence_verdicts(licence: str, problem: str) -> None:
    verdict = script("licences").judge(licence)
    assert (problem in verdict) if problem else (verdict == "")
