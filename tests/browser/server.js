// A running `warren serve` with a data folder of its own, on free ports of loopback.

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const TARGET = path.resolve(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'));

/** Where screenshots and logs go. */
export const OUTPUT = path.join(TARGET, 'browser');

// Milliseconds to start or stop.
const PATIENCE = 60_000;

const SETTINGS = {
  HTTP__LISTEN: '127.0.0.1:0',
  RELAY__QUIC_LISTEN: '127.0.0.1:0',
  TELEMETRY__LISTEN: '127.0.0.1:0',
  AUTH__ARGON2_MEMORY: '8KiB',
  AUTH__ARGON2_PASSES: '1',
  STORE__CACHE: '16MiB',
};

export class Server {
  /** Starts one; `settings` as in the environment, without their prefix. */
  static async start(name, settings = {}) {
    await mkdir(OUTPUT, { recursive: true });
    const server = new Server();
    server.folder = await mkdtemp(path.join(tmpdir(), 'warren-browser-'));
    server.log = path.join(OUTPUT, `${name}.log`);
    const environment = Object.entries(process.env).filter(([key]) => !key.startsWith('WARREN__'));
    const own = Object.entries({ ...SETTINGS, ...settings }).map(([key, value]) => [`WARREN__${key}`, value]);
    const ready = path.join(server.folder, 'ready.json');
    const log = createWriteStream(server.log);
    server.process = spawn(
      path.join(TARGET, 'debug', 'warren'),
      ['serve', '--data', path.join(server.folder, 'store'), '--ready-file', ready],
      { env: Object.fromEntries([...environment, ...own]), cwd: server.folder, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    server.process.stdout.pipe(log);
    server.process.stderr.pipe(log);
    server.ended = new Promise((resolve) => server.process.once('exit', resolve));
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const addresses = await readFile(ready, 'utf8').then(JSON.parse).catch(() => null);
      if (addresses) {
        server.url = `http://${addresses.http}`;
        return server;
      }
      if (server.process.exitCode !== null || Date.now() > deadline) {
        await server.stop();
        throw new Error(`the server did not start: ${await readFile(server.log, 'utf8')}`);
      }
      await sleep(50);
    }
  }

  /** Runs an operator's command on this server and returns what it prints as JSON. */
  async admin(...args) {
    const store = path.join(this.folder, 'store');
    const command = spawn(path.join(TARGET, 'debug', 'warren'), ['admin', '--data', store, ...args, '--json']);
    let [output, complaint] = ['', ''];
    command.stdout.on('data', (text) => (output += text));
    command.stderr.on('data', (text) => (complaint += text));
    const code = await new Promise((resolve) => command.once('close', resolve));
    if (code !== 0) throw new Error(`warren admin ${args.join(' ')}: ${complaint}`);
    return JSON.parse(output);
  }

  async stop() {
    const killer = setTimeout(() => this.process.kill('SIGKILL'), PATIENCE);
    this.process.kill('SIGTERM');
    const code = await this.ended;
    clearTimeout(killer);
    await rm(this.folder, { recursive: true, force: true });
    return code;
  }
}
