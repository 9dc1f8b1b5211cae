"""The relays: how each is started, and what it needs before."""
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

RELAY_CORE = "0"
# The machine may be shared; needs root, and does without otherwise.
PRIORITY = ["nice", "-n", "-19"] if os.geteuid() == 0 else []
NAMES = ["warren-ws", "warren-quic", "forwarder-ws", "forwarder-ws-aws", "forwarder-quic", "naive-ws", "nats", "iroh"]
# Clients of one network: presence and peers are kept per network, whose size is that of a household.
NETWORK_CLIENTS = 10
# A series of Warren's metrics.
DROPPED = re.compile(r'^warren_relay_frames_dropped_total\{reason="(\w+)"\} (\d+)', re.MULTILINE)


class Relay:
    """One relay: the command that starts it, what it speaks, and where."""

    def __init__(self, name, proto, port, command, folder, environment=None, parties=None, telemetry=None):
        self.name, self.proto, self.port, self.command = name, proto, port, command
        self.folder, self.environment, self.parties = folder, environment or {}, parties
        self.needs_parties, self.telemetry = parties is not None, telemetry
        self.process = None

    def is_installed(self):
        return shutil.which(self.command[0]) is not None

    def start(self, more={}):
        with open(self.folder / f"{self.name}.log", "w") as log:
            command = [*PRIORITY, "taskset", "-c", RELAY_CORE, *map(str, self.command)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.environment, **more})
        for _ in range(400):
            time.sleep(0.05)
            if self.process.poll() is not None:
                break
            if self.is_listening():
                time.sleep(0.3)
                return
        sys.exit(f"{self.name} does not listen: {(self.folder / f'{self.name}.log').read_text()[-2000:]}")

    def is_listening(self):
        if self.proto.endswith("quic"):
            # The local address of a bound UDP socket, in hex, as the kernel lists it.
            return f"0100007F:{self.port:04X}" in pathlib.Path("/proc/net/udp").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def dropped(self):
        """Frames that it has dropped so far, by reason; nothing of a relay that does not tell."""
        if not self.telemetry:
            return {}
        with urllib.request.urlopen(f"http://{self.telemetry}/metrics", timeout=10) as answer:
            return {reason: int(count) for reason, count in DROPPED.findall(answer.read().decode())}

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def known(folder, binary, tools):
    """Every relay by its name. All show the same certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "30", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    user = subprocess.run([tools / "load", "nats-key"], capture_output=True, text=True, check=True).stdout.strip()
    nats = folder / "nats.conf"
    nats.write_text(f'listen: 127.0.0.1:7210\nauthorization {{ users = [ {{ nkey: {user} }} ] }}\n'
                    f'tls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 10,\n'
                    '  curve_preferences: [ "X25519" ] }\n')
    iroh = folder / "iroh.toml"
    iroh.write_text('enable_metrics = false\nhttp_bind_addr = "127.0.0.1:7202"\n[tls]\n'
                    'https_bind_addr = "127.0.0.1:7201"\ncert_mode = "Manual"\n'
                    f'manual_cert_path = "{certificate}"\nmanual_key_path = "{key}"\n')
    telemetry = "127.0.0.1:7302"
    warren = {"WARREN__HTTP__LISTEN": "127.0.0.1:7300", "WARREN__RELAY__QUIC_LISTEN": "127.0.0.1:7301",
              "WARREN__TELEMETRY__LISTEN": telemetry, "WARREN__TELEMETRY__LOG_FILTER": "warn",
              "WARREN__TLS__MODE": "files", "WARREN__TLS__CERTIFICATE": str(certificate), "WARREN__TLS__KEY": str(key),
              "WARREN__AUTH__VERIFY": "auto", "WARREN__AUTH__ATTEMPT_LIMITS": "false"}
    warren |= {name: value for name, value in os.environ.items() if name.startswith("WARREN__")}
    serve = [binary, "serve", "--data", folder / "data"]
    pem = ["--cert", certificate, "--key", key]
    at = lambda port: ["--addr", f"127.0.0.1:{port}"]
    forwarder, parties = tools / "forwarder", folder / "parties"
    relays = [
        Relay("warren-ws", "warren-ws", 7300, serve, folder, warren, parties, telemetry),
        Relay("warren-quic", "warren-quic", 7301, serve, folder, warren, parties, telemetry),
        Relay("forwarder-ws", "ws", 7224, [forwarder, "ws", *at(7224), *pem], folder),
        Relay("forwarder-ws-aws", "ws", 7227, [forwarder, "ws", *at(7227), *pem, "--provider", "aws"], folder),
        Relay("forwarder-quic", "quic", 7230, [forwarder, "quic", *at(7230), *pem], folder),
        Relay("naive-ws", "ws", 7226, [forwarder, "ws", *at(7226), *pem, "--naive"], folder),
        Relay("nats", "nats", 7210, [os.environ.get("NATS_SERVER", "nats-server"), "-c", nats], folder),
        Relay("iroh", "iroh", 7201, [os.environ.get("IROH_RELAY", "iroh-relay"), "--config-path", iroh], folder),
    ]
    return {relay.name: relay for relay in relays}


def seed(warren, pairs, contracts):
    """Makes pairs of clients over the public API, the first of them with a contract each, and writes them down for the
    load. Those of an earlier run are used again."""
    wanted, made = (pairs, contracts), warren.folder / "seeded.json"
    if made.exists() and all(have >= want for have, want in zip(json.loads(made.read_text()), wanted)):
        return
    made.unlink(missing_ok=True)
    shutil.rmtree(warren.folder / "data", ignore_errors=True)
    print(f"making {2 * pairs} clients of Warren and {contracts} contracts", flush=True)
    warren.start()
    threads = threading.local()

    def network(at):
        if not hasattr(threads, "api"):
            threads.api = Api(warren.port)
        return threads.api.network(min(per_network, pairs - at), max(0, min(per_network, contracts - at)))

    try:
        per_network = NETWORK_CLIENTS // 2
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            lines = [line for made in pool.map(network, range(0, pairs, per_network)) for line in made]
        warren.parties.write_text("".join(f"{line}\n" for line in lines))
        made.write_text(json.dumps(wanted))
    finally:
        warren.stop()


class Api:
    """Calls of Warren's API over one connection."""

    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)

    def post(self, path, body, token=None):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.connection.request("POST", path, json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {text[:500]}")
        return json.loads(text)

    def control(self, token, message_type, message):
        """One control message: a Pack of one Frame."""
        frame = bytes([0x08, message_type]) + field(2, message)
        answer = self.post("/connect/control", {"pack": base64.b64encode(field(5, frame)).decode()}, token)
        if answer["error"]:
            sys.exit(f"/connect/control: {answer['error']}")
        return base64.b64decode(answer["pack"])

    def client(self, user):
        made = self.post("/network/auth-client", {"description": "", "device_spec": ""}, user)
        return made["client_id"].replace("-", ""), made["by_client_jwt"]

    def network(self, pairs, contracts):
        """A network with pairs of clients, the first of each allowed to send to the second in as many as there are
        contracts; a line per client."""
        user = self.post("/auth/network-create", {"user_name": "", "terms": True})["network"]["by_jwt"]
        lines = []
        for at in range(pairs):
            (sender, sender_token), (receiver, receiver_token) = self.client(user), self.client(user)
            lines += [f"{sender} {sender_token}", f"{receiver} {receiver_token}"]
            if at >= contracts:
                continue
            # Provide (3): the receiver serves its network. CreateContract (10): the sender may send a MiB.
            self.control(receiver_token, 3, field(1, b"\x08\x01" + field(2, b"\x07" * 32)))
            answer = self.control(sender_token, 10, field(1, bytes.fromhex(receiver)) + b"\x10\x80\x80\x40")
            if bytes.fromhex(receiver) not in answer:
                sys.exit("a contract was refused")
        return lines


def field(tag, value):
    """A protobuf field of bytes."""
    length, encoded = len(value), b""
    while length >= 0x80:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([tag << 3 | 2]) + encoded + bytes([length]) + value
