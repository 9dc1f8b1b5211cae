#!/usr/bin/env python3
"""Fuzzes every operation of the JSON API as its own document describes it: as a stranger, as a user, as a client, as an app.

    python3 tests/fuzz/run.py [--max-examples N] [--seed N]

Starts `warren serve` on free ports of loopback with a data folder of its own and lets schemathesis make requests, right
ones and wrong ones. Broken rules are an answer 5xx, a status, content type or body that the document does not declare
(hooks.py closes its objects), wrong input that is taken, a request that hangs, an error in the server's log, and a
server that is gone. Each is printed with the request that shows it. Reports stay in target/fuzz/.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = TARGET / "fuzz"

# Seconds: for the server to start or stop; for one request (the server itself gives up after 15); for one pass.
PATIENCE = 60
REQUEST_TIMEOUT = 30
PASS_TIMEOUT = 600

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]

# They end the token that they are called with, so each gets a pass and an account of its own.
DESTRUCTIVE = ["/network/remove-client", "/network/remove-clients", "/auth/network-delete"]

# The API of apps has tokens of its own. Its logout ends the one it is called with.
APPS, LOGOUT = "/api/", "/api/logout"

# They answer 503 as long as no store is configured, so that phones keep their receipts, and as there is no subnet: the two
# 5xx that are meant.
RECEIPTS = ["/subscription/verify-play-purchase", "/subscription/verify-apple-transaction"]
SUBNET = ["/sn/epoch", "/sn/artifact", "/sn/artifacts", "/sn/evidence", "/sn/evidence/history"]
UNAVAILABLE = RECEIPTS + SUBNET

SETTINGS = {
    "HTTP__LISTEN": "127.0.0.1:0",
    "RELAY__QUIC_LISTEN": "127.0.0.1:0",
    "TELEMETRY__LISTEN": "127.0.0.1:0",
    "TELEMETRY__LOG_FILTER": "warn",
    "AUTH__VERIFY": "auto",
    "AUTH__ATTEMPT_LIMITS": "false",
    "AUTH__ARGON2_MEMORY": "8KiB",
    "AUTH__ARGON2_PASSES": "1",
    "STORE__CACHE": "16MiB",
}


def install():
    """The folder of the fuzzer's programs; made again when the requirements have changed."""
    wanted = (HERE / "requirements.txt").read_text()
    folder, mark = WORK / "venv", WORK / "venv" / "requirements.txt"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
        mark.write_text(wanted)
    return folder / "bin"


class Server:
    """A running `warren serve`."""

    def __init__(self, data):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WARREN__")}
        environment |= {f"WARREN__{name}": value for name, value in SETTINGS.items()}
        self.log = WORK / "server.log"
        ready = data / "ready.json"
        command = [TARGET / "debug" / "warren", "serve", "--data", data / "store", "--ready-file", ready]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data
            )
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"fuzz: the server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.url = "http://" + json.loads(ready.read_text())["http"]

    def stop(self):
        """Ends it; whether it had run until then and ended by itself when asked."""
        if self.process.poll() is not None:
            return False
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False

    def call(self, path, token=None, body=None):
        """A request that must succeed."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT) as answer:
            return json.load(answer)

    def account(self, name):
        """A new network: the tokens of its user and of a client."""
        body = {
            "user_name": "Fuzz",
            "user_auth": f"{name}@fuzz.example",
            "password": "as good as any",
            "network_name": name,
            "terms": True,
        }
        user = self.call("/auth/network-create", body=body)["network"]["by_jwt"]
        client = self.call("/network/auth-client", user, {"description": name, "device_spec": "none"})
        return {"user": user, "client": client["by_client_jwt"]}

    def app(self, name):
        """The token of a device of a new network."""
        self.account(name)
        body = {"email": f"{name}@fuzz.example", "password": "as good as any", "device_id": "fuzz"}
        return self.call("/api/login", body=body)["token"]


def fuzz(server, programs, name, token, paths, examples, seed, checks):
    """One pass of schemathesis; whether no rule was broken."""
    print(f"-- fuzzing {name}", flush=True)
    command = [programs / "schemathesis", "run", f"{server.url}/openapi.json", "--no-color", "--warnings=off"]
    command += [f"--seed={seed}", f"--max-examples={examples}", "--generation-database=none"]
    command += ["--phases=coverage,fuzzing", f"--checks={','.join(checks)}", "--continue-on-failure"]
    command += [f"--request-timeout={REQUEST_TIMEOUT}", "--report=junit"]
    command += [f"--report-junit-path={report(name)}", *paths]
    if token:
        command += ["--header", f"Authorization: Bearer {token}"]
    environment = os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, cwd=WORK, timeout=PASS_TIMEOUT).returncode == 0


def report(name):
    return WORK / f"{name}.xml"


def tested(name):
    """The names of the operations a pass tested, by its report."""
    if not report(name).exists():
        return set()
    return {case.get("name") for case in xml.etree.ElementTree.parse(report(name)).iter("testcase")}


def is_good(server, token, path="/subscription/balance"):
    """Whether a token still opens doors; if not, the pass with it has tested little."""
    try:
        server.call(path, token)
        return True
    except urllib.error.HTTPError:
        return False


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--max-examples", type=int, default=40)
    arguments.add_argument("--seed", type=int, default=20240229)
    arguments = arguments.parse_args()
    # Whoever ends this must not leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("fuzz: told to end"))
    start = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.glob("*.xml"):
        old.unlink()
    # What an earlier run found would be tried first.
    shutil.rmtree(WORK / ".schemathesis", ignore_errors=True)
    programs = install()
    subprocess.run(["cargo", "build", "--locked", "--bin", "warren"], cwd=ROOT, check=True)
    failures, operations, total = [], {}, 0
    with tempfile.TemporaryDirectory(prefix="warren-fuzz-") as data:
        server = Server(pathlib.Path(data))
        try:
            document = server.call("/openapi.json")
            total = sum(len(item) for item in document["paths"].values())

            def run(name, token, paths, examples, expected, checks=CHECKS):
                if not fuzz(server, programs, name, token, paths, examples, arguments.seed, checks):
                    failures.append(name)
                operations[name] = tested(name)
                if len(operations[name]) != expected:
                    failures.append(f"{name}: {len(operations[name])} operations tested, {expected} expected")

            def count(paths):
                return sum(len(document["paths"][path]) for path in paths)

            def only(paths):
                return [f"--include-path={path}" for path in paths]

            others = [f"--exclude-path={path}" for path in SUBNET]
            run("stranger", None, others, arguments.max_examples, total - count(SUBNET))
            run("stranger-subnet", None, only(SUBNET), arguments.max_examples, count(SUBNET), CHECKS[1:])
            gentle = [f"--exclude-path={path}" for path in DESTRUCTIVE + UNAVAILABLE]
            for role in ["user", "client"]:
                token = server.account(f"fuzz-{role}")[role]
                run(role, token, gentle, arguments.max_examples, total - count(DESTRUCTIVE + UNAVAILABLE))
                run(f"{role}-off", token, only(UNAVAILABLE), arguments.max_examples, count(UNAVAILABLE), CHECKS[1:])
                if not is_good(server, token):
                    failures.append(f"{role}: its token was lost on the way")
                for number, path in enumerate(DESTRUCTIVE):
                    token = server.account(f"fuzz-{role}-{number}")[role]
                    name = f"{role}{path.replace('/', '-')}"
                    run(name, token, only([path]), arguments.max_examples, 1)
            apps = sum(len(item) for path, item in document["paths"].items() if path.startswith(APPS))
            token = server.app("fuzz-app")
            paths = [f"--include-path-regex=^{APPS}", f"--exclude-path={LOGOUT}"]
            run("app", token, paths, arguments.max_examples, apps - 1)
            if not is_good(server, token, "/api/user"):
                failures.append("app: its token was lost on the way")
            run("app-logout", server.app("fuzz-logout"), [f"--include-path={LOGOUT}"], arguments.max_examples, 1)
        except subprocess.TimeoutExpired:
            failures.append(f"the last pass hung, the rest was left out: no end after {PASS_TIMEOUT} s")
        except (OSError, ValueError) as error:
            failures.append(f"a request that must succeed failed: {error}")
        finally:
            if not server.stop():
                failures.append("the server ended early, or not when it was asked to")
    log = server.log.read_text(errors="replace")
    if "ERROR" in log or "panicked" in log:
        failures.append(f"errors in the server's log:\n{log[:20_000]}")
    reached = len(set().union(*operations.values()))
    print(f"-- fuzzing: {reached} of {total} operations in {len(operations)} passes,", end=" ")
    print(f"{len(failures)} failures, {time.monotonic() - start:.0f} s")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
