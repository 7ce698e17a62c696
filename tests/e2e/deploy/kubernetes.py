"""The Kubernetes manifests against the API's own schemas, and what must not be forgotten in them."""

import pathlib
import sys

import kubernetes_validate
import yaml

VERSIONS = ("1.30", "1.37")
BASE = pathlib.Path(__file__).parents[3] / "deploy/kubernetes/base"
# Not the API's own, so that no schema of it is at hand here.
FOREIGN = {"ServiceMonitor"}


def main():
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    listed = set(kustomization["resources"])
    present = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert listed == present, f"kustomization.yaml lists {listed}, there is {present}"
    objects = [it for name in sorted(listed) for it in yaml.safe_load_all((BASE / name).read_text())]
    unchecked = 0
    for it in objects:
        if it["kind"] in FOREIGN:
            unchecked += 1
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(it, version, strict=True)
    kinds = {it["kind"]: it for it in objects}
    assert "Secret" not in kinds, "secrets are referred to, and never here"
    hardened(kinds["Deployment"]["spec"]["template"]["spec"])
    chosen = kinds["Deployment"]["spec"]["selector"]["matchLabels"]
    assert kinds["Deployment"]["spec"]["template"]["metadata"]["labels"] == chosen
    for service in (it for it in objects if it["kind"] == "Service"):
        assert service["spec"]["selector"] == chosen, service["metadata"]["name"]
    for kind in ("NetworkPolicy", "PodDisruptionBudget"):
        spec = kinds[kind]["spec"]
        assert spec.get("podSelector", spec.get("selector"))["matchLabels"] == chosen, kind
    monitor = kinds["ServiceMonitor"]["spec"]
    watched = [it for it in objects if it["kind"] == "Service"
               and monitor["selector"]["matchLabels"].items() <= it["metadata"].get("labels", {}).items()]
    assert [port["name"] for it in watched for port in it["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]
    print(f"{len(objects) - unchecked} objects fit Kubernetes {' and '.join(VERSIONS)}; "
          f"NOT CHECKED against a schema: {', '.join(sorted(FOREIGN))}")


def hardened(pod):
    """What the Pod Security Standard `restricted` wants, and what the manifests promise beyond it."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == "admin", probe
        assert "value" not in {key for it in container["env"] for key in it if "SECRET" in it["name"]}
        assert all("subPath" not in mount for mount in container["volumeMounts"])


if __name__ == "__main__":
    sys.exit(main())
