"""What `setaccio submit --dry-run` writes for Kubernetes and AWS Batch, against the schemas that these publish.

    python tests/python/check_manifests.py SETACCIO

SETACCIO is the program. Kubernetes' JSON schemas are those that the package kubernetes-validate carries, AWS Batch's is the model of
botocore. Exits 1 at the first thing that is not as it should be, and if a mistake that is made on purpose passes.
"""

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import botocore.session
import botocore.validate
import kubernetes_validate
import yaml

RECIPE = Path(__file__).resolve().parents[2] / "pipelines" / "dolly.toml"
KUBERNETES = "1.33"


def written(setaccio: str, out: Path, *arguments: str) -> Path:
    command = [setaccio, "submit", str(RECIPE), "--dry-run", "--out", str(out), "--set", "title='Dolly: \"quoted\"'", "--json", *arguments]
    return Path(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["scripts"])


def is_job(manifest: dict) -> bool:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        print(f"  {str(error).splitlines()[0]}")
        return False
    return True


def kubernetes(setaccio: str, out: Path) -> None:
    for slices in [1, 40]:
        arguments = ["--kubernetes", "--image", "registry.example/setaccio:1", "--volume", "data=/", "--tasks", str(slices)]
        folder = written(setaccio, out, *arguments)
        for name in ["slices.yaml", "join.yaml", "finish.yaml"]:
            manifest = yaml.safe_load((folder / name).read_text())
            if not is_job(manifest):
                raise SystemExit(f"{name} is no manifest of Kubernetes {KUBERNETES}")
            command = manifest["spec"]["template"]["spec"]["containers"][0]["command"]
            if "title='Dolly: \"quoted\"'" not in command:
                raise SystemExit(f"{name}: a word of the command is another: {command}")
        wrong = copy.deepcopy(manifest)
        wrong["spec"]["template"]["spec"]["restart"] = "Never"
        if is_job(wrong):
            raise SystemExit("a key that Kubernetes does not know passes")
        subprocess.run(["sh", "-n", folder / "submit.sh"], check=True)


def aws_batch(setaccio: str, out: Path) -> None:
    model = botocore.session.get_session().get_service_model("batch").operation_model("SubmitJob").input_shape
    validator = botocore.validate.ParamValidator()
    for slices in [1, 40]:
        folder = written(setaccio, out, "--aws-batch", "--queue", "spot", "--job-definition", "setaccio:3", "--tasks", str(slices))
        for name in ["slices.json", "join.json", "finish.json"]:
            job = json.loads((folder / name).read_text())
            report = validator.validate(job, model)
            if report.has_errors():
                raise SystemExit(f"{name}: {report.generate_report()}")
        if not validator.validate({**job, "queue": "spot"}, model).has_errors():
            raise SystemExit("a key that AWS Batch does not know passes")
        subprocess.run(["sh", "-n", folder / "submit.sh"], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kubernetes(sys.argv[1], Path(folder) / "a")
        aws_batch(sys.argv[1], Path(folder) / "b")
    print(f"manifests are those of Kubernetes {KUBERNETES} and of AWS Batch")


if __name__ == "__main__":
    main()
