"""The names of a release's files, in one place: who writes one and who reads it agree here."""

GOLDEN = "golden.npz"
REPRESENTATIVE = "representative.npz"
SAVED_MODEL = "saved_model"
"""Where the export is in a release; every target is made from it."""
CONFIG = "config.json"
REPORT = "report.html"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
"""Of the manifest's bytes; the manifest lists all other files, and so cannot list this one."""
PROVENANCE = "provenance.json"
"""Lists all files but itself, the manifest and its signature."""
KEY = "key.json"
BUILD_LOG = "logs/build.log"
SOURCE = "source"
"""The folder of what other targets are made from, beside the SavedModel: Keras file, calibration inputs."""
DESCRIBED = f"{SOURCE}/source.json"
"""The `Source`, its paths relative to the release."""
USAGE = "USAGE.md"
CARD = "README.md"
"""The model card, where model hubs look for one."""
EXAMPLES = "examples"
"""The folder of programs that use the release's files, and below it, by signature, of what they are given and return."""
REQUEST = "request.json"
RESPONSE = "response.json"
LABELS = f"{EXAMPLES}/labels.json"
EVALUATION = "evaluation.npz"
METRIC = "metric.py"


def check_log(target: str, variant: str) -> str:
    """Where the log of a check is, below a staging directory."""
    return f"check-{target}-{variant}.log"


def log_of(target: str, variant: str, work: str = "convert") -> str:
    """Where the log of a conversion (or, as `work`, of examining its layers) is, in the release."""
    return f"logs/{target}-{variant}-{work}.log"
