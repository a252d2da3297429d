"""Manifests by which a cluster serves a release."""

import re

from converters.contract.layout import EXAMPLES
from converters.release.explain import quoting

PATH = f"{EXAMPLES}/kubernetes.yaml"


def manifest(model: str, tag: str) -> str:
    """A Deployment of TF Serving of that tag and a Service, whose volume holds what is in serving/."""
    name = (re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:50].strip("-") or "model") + "-serving"
    ports = {"grpc": 8500, "rest": 8501}
    container = {
        "name": "serving",
        "image": f"tensorflow/serving:{tag}",
        "env": [{"name": "MODEL_NAME", "value": model}],
        "ports": [{"name": each, "containerPort": number} for each, number in ports.items()],
        "readinessProbe": {"httpGet": {"path": f"/v1/models/{model}", "port": "rest"}},
        "volumeMounts": [{"name": "model", "mountPath": f"/models/{model}", "readOnly": True}],
    }
    labels = {"app": name}
    pod = {
        "containers": [container],
        "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": name, "readOnly": True}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": each, "port": number} for each, number in ports.items()]},
    }
    head = f"# kubectl apply -f {PATH}; the volume claim {name} must hold what is in serving/ here.\n"
    return head + "---\n".join(f"{quoting.as_yaml(each)}\n" for each in (deployment, service))
