"""Rules of this project that no linter knows: who runs what, and what may reach it. Each yields what breaks it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

USER = 10001
"""The user of the image that is no Beam worker."""
_BOOT = 'ENTRYPOINT ["/opt/apache/beam/boot"]'
_DEFAULT_ACCOUNTS = ("compute@developer.gserviceaccount.com", "@cloudbuild.gserviceaccount.com")


def users(dockerfile: str) -> Iterator[str]:
    """The stage `command` runs as a user that is not root; Beam's boot, which needs root, is the last stage."""
    stages = _stages(dockerfile)
    command = stages.get("command", [])
    users = [step.split()[1] for step in command if step.startswith("USER ")]
    if not users or users[-1] != f"{USER}:{USER}":
        # By number: Kubernetes cannot tell by a name that it is not root.
        yield f"Dockerfile: the stage command must end as USER {USER}:{USER}, not as {users[-1:] or 'root'}"
    if 'ENTRYPOINT ["bert-batch"]' not in command:
        yield "Dockerfile: the stage command must start bert-batch"
    last = [*stages][-1]
    for name, steps in stages.items():
        if _BOOT in steps and name != last:
            yield f"Dockerfile: the stage {name} starts Beam's boot; let it be the last one, built without --target"
    if _BOOT not in stages[last] or any(step.startswith("USER ") for step in stages[last]):
        yield f"Dockerfile: {last}, the last stage, must start Beam's boot as root: it writes to folders of the machine"


def _stages(dockerfile: str) -> dict[str, list[str]]:
    """Name (or number) of each stage -> its steps."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE))
    stages: dict[str, list[str]] = {}
    for step in text.splitlines():
        if step.startswith("FROM "):
            name = step.split(" AS ")[1] if " AS " in step else str(len(stages))
            stages[name] = []
        elif stages:
            stages[[*stages][-1]].append(step)
    return stages


def locked_installs(dockerfile: str) -> Iterator[str]:
    """Whatever pip installs is held to a hash, or is the wheel that was built here."""
    for step in re.sub(r"\\\n", " ", dockerfile).splitlines():
        for command in re.findall(r"pip3? install[^&|;]*", step) if step.startswith("RUN ") else []:
            if "--require-hashes" not in command and not command.rstrip().endswith("--no-deps /wheels/*.whl"):
                yield f"Dockerfile: {command.strip()} holds nothing to a hash; lock it and give --require-hashes"


def build_account(build: Mapping[str, Any]) -> Iterator[str]:
    """Cloud Build runs as an account of its own, with no more rights than it needs, and says where its log goes."""
    account = str(build.get("serviceAccount", ""))
    for name, value in build.get("substitutions", {}).items():
        account = account.replace(f"${{{name}}}", str(value))
    if not re.fullmatch(r"projects/\S+/serviceAccounts/[^@\s]+@\S+\.iam\.gserviceaccount\.com", account):
        yield f"cloudbuild.yaml: serviceAccount is {account or 'not said'}; name an account made for this build"
    if any(account.endswith(default) for default in _DEFAULT_ACCOUNTS):
        yield f"cloudbuild.yaml: {account} is a default account, which may do far more than build"
    if build.get("options", {}).get("logging") != "CLOUD_LOGGING_ONLY":
        yield "cloudbuild.yaml: options.logging must be CLOUD_LOGGING_ONLY: an own account has no bucket for logs"


def network(
    policies: Sequence[Mapping[str, Any]], workload: Mapping[str, Any], resources: Sequence[str]
) -> Iterator[str]:
    """Nothing reaches a pod of `workload`, and it reaches names, HTTPS and the account's metadata only."""
    labels = workload["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    for policy in policies:
        spec, name = policy["spec"], policy["metadata"]["name"]
        chosen = spec.get("podSelector", {}).get("matchLabels", {})
        if not chosen or not chosen.items() <= labels.items():
            yield f"networkpolicy.yaml: {name} does not choose the pods of the CronJob, {labels}"
        if sorted(spec.get("policyTypes", [])) != ["Egress", "Ingress"]:
            yield f"networkpolicy.yaml: {name} must have both policyTypes: what is not named there stays open"
        if spec.get("ingress"):
            yield f"networkpolicy.yaml: {name} lets connections in; no pod of ours listens for any"
        for rule in spec.get("egress") or [{}]:
            yield from _egress(name, rule)
    if not policies or "networkpolicy.yaml" not in resources:
        yield "kustomization.yaml: networkpolicy.yaml is no resource, so every pod of the cluster may reach ours"


def _egress(name: str, rule: Mapping[str, Any]) -> Iterator[str]:
    ports = {port.get("port") for port in rule.get("ports", [])}
    if not ports or not ports <= {53, 80, 443, 988}:
        yield f"networkpolicy.yaml: {name} lets out to the ports {sorted(map(str, ports)) or 'of any number'}"
    for peer in rule.get("to") or [{}]:
        block = peer.get("ipBlock", {})
        if not peer or (block.get("cidr") == "0.0.0.0/0" and "169.254.0.0/16" not in block.get("except", [])):
            yield f"networkpolicy.yaml: {name} lets out everywhere, other people's pods and metadata included"


def pods(cronjob: Mapping[str, Any]) -> Iterator[str]:
    """No pod runs as root, can become root, or writes to its image."""
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != USER:
        yield f"cronjob.yaml: pods must run as the user of the image, {USER}, with runAsNonRoot"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if broken := sorted(key for key, value in wanted.items() if own.get(key) != value):
            yield f"cronjob.yaml: {container['name']} has no {', '.join(broken)} as {wanted[broken[0]]}"
        if own.get("runAsUser", USER) != USER or own.get("runAsNonRoot") is False:
            yield f"cronjob.yaml: {container['name']} runs as another user than its pod"


def lock(name: str, text: str) -> Iterator[str]:
    """Every requirement of a lock has one version and a hash, and none comes from an address."""
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        if not re.fullmatch(r"[\w.-]+==[^\s;\\]+( ;[^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry):
            yield f"{name}: {entry.splitlines()[0] if entry else 'nothing'} is not one version with hashes"


def makefile_installs(makefile: str) -> Iterator[str]:
    """Whatever `make` installs is held to a hash, or is this project itself."""
    text = makefile.replace("\\\n", " ").replace("$(PIP)", f"{_variable(makefile, 'PIP')}")
    for command in re.findall(r'pip"? install[^;&|\n]*', text):
        words = command.split()
        own = "--no-deps" in words and (words[-1] == "." or words[-1].endswith("/*.whl"))
        if not own and "--require-hashes" not in words:
            yield f"Makefile: {' '.join(words)} holds nothing to a hash; lock it and give --require-hashes"


def _variable(makefile: str, name: str) -> str:
    found = re.search(rf"^{name} := (.*)$", makefile, re.MULTILINE)
    return found.group(1) if found else ""
