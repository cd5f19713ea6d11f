"""What the platforms' own files say: the lines of the Procfile, and variables that exist."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from config.environment import EnvironmentSchema
from tests.running import ROOT

PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
OF_THE_FILE = set(re.findall(r"\$\{(\w+)\}", (ROOT / "config" / "flatwire.toml").read_text()))
"""What config/flatwire.toml names, what it only shows included."""
KNOWN = {str(field.data_key) for field in EnvironmentSchema().fields.values()} | OF_THE_FILE
BUILD = "pip install --require-hashes -r requirements.txt"


def needed() -> set[str]:
    """What the configuration file needs as it stands."""
    document = tomllib.loads((ROOT / "config" / "flatwire.toml").read_text())
    return set(re.findall(r"\$\{(\w+)\}", json.dumps(document)))


def yaml_of(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_herokus_button_sets_what_is_needed_and_nothing_else() -> None:
    app = json.loads((ROOT / "app.json").read_text())
    given = app["env"].keys() - {"FLATWIRE_CONFIG_TOML"}

    assert set(app["formation"]) == PROCFILE.keys() - {"release"}
    assert given <= KNOWN
    assert given >= needed() | {"SECRET_KEY", "DASHBOARD_USERS", "TRUSTED_PROXIES"}
    assert {it.partition(":")[0] for it in app["addons"]} == {"heroku-postgresql", "heroku-redis"}
    assert len(app["description"]) <= 140


def test_renders_blueprint_runs_the_procfile() -> None:
    blueprint = yaml_of("render.yaml")
    services = {it["type"]: it for it in blueprint["services"]}
    group = {it["key"] for it in blueprint["envVarGroups"][0]["envVars"]}

    assert services["web"]["preDeployCommand"] == PROCFILE["release"]
    for name in ("web", "worker"):
        assert services[name]["startCommand"] == PROCFILE[name]
        assert services[name]["buildCommand"] == BUILD
        given = {it["key"] for it in services[name]["envVars"] if "key" in it} | group
        assert given <= KNOWN
        assert given >= {"DATABASE_URL", "REDIS_URL"}
        assert services[name]["maxShutdownDelaySeconds"] > 40
    assert services["keyvalue"]["maxmemoryPolicy"] == "noeviction"


def test_docker_runs_the_procfile() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    command = re.search(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    services = yaml_of("compose.yaml")["services"]

    assert command
    assert " ".join(json.loads(command[1])) == PROCFILE["web"].replace('"', "")
    assert BUILD.removeprefix("pip install ") in dockerfile
    assert "USER flatwire" in dockerfile
    assert (services["release"]["command"], services["worker"]["command"]) == (
        PROCFILE["release"],
        PROCFILE["worker"],
    )
    for name in ("release", "web", "worker"):
        assert services[name]["environment"].keys() - {"FLATWIRE_CONFIG"} <= KNOWN
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"]  # a proxy with TLS stands before it


@pytest.mark.parametrize("folder", ["app", "workers", "config", "requirements.txt"])
def test_an_image_holds_what_it_needs(folder: str) -> None:
    assert f"!{folder}" in (ROOT / ".dockerignore").read_text().splitlines()
