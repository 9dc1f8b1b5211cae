// A mail server that keeps what it is sent, so that tests follow the links that people get.

import net from 'node:net';

// Milliseconds until a mail that should come counts as lost.
const PATIENCE = 30_000;
const MAX_BYTES = 1 << 20;

export class MailServer {
  #server;
  #sockets = new Set();
  #letters = [];
  #waiting = [];

  /** Listens on a free port of loopback. */
  static async start() {
    const mail = new MailServer();
    mail.#server = net.createServer((socket) => mail.#serve(socket));
    await new Promise((resolve) => mail.#server.listen(0, '127.0.0.1', resolve));
    mail.port = mail.#server.address().port;
    return mail;
  }

  /** The settings that send a server's mail here. */
  get settings() {
    return { MAIL__MODE: 'smtp', MAIL__SMTP_HOST: '127.0.0.1', MAIL__SMTP_PORT: String(this.port), MAIL__SMTP_TLS: 'none' };
  }

  /** The oldest letter to an address that nobody took yet: `{ to, subject, headers, text }`. */
  async next(to) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const at = this.#letters.findIndex((letter) => letter.to.includes(to));
      if (at >= 0) return this.#letters.splice(at, 1)[0];
      const rest = deadline - Date.now();
      if (rest <= 0) throw new Error(`no mail to ${to} came`);
      await new Promise((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, rest).unref();
      });
    }
  }

  /** How many letters to an address nobody took. */
  count(to) {
    return this.#letters.filter((letter) => letter.to.includes(to)).length;
  }

  async stop() {
    this.#sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => this.#server.close(resolve));
  }

  // RFC 5321, as far as a client without extensions needs it.
  #serve(socket) {
    let [rest, data, to] = ['', null, []];
    const say = (line) => socket.write(`${line}\r\n`);
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    say('220 mail');
    socket.on('data', (text) => {
      rest += text;
      if (rest.length + (data?.length ?? 0) > MAX_BYTES) return socket.destroy();
      for (let end; (end = rest.indexOf('\r\n')) >= 0; ) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (data !== null) {
          if (line === '.') {
            this.#take(to, data);
            [data, to] = [null, []];
            say('250 taken');
          } else {
            data += `${line.startsWith('..') ? line.slice(1) : line}\r\n`;
          }
          continue;
        }
        const verb = line.slice(0, 4).toUpperCase();
        if (verb === 'RCPT') to.push(/<(.*)>/.exec(line)?.[1] ?? '');
        if (verb === 'RSET') to = [];
        if (verb === 'DATA') {
          data = '';
          say('354 go on');
        } else if (verb === 'QUIT') {
          say('221 bye');
          socket.end();
        } else {
          say('250 mail');
        }
      }
    });
  }

  #take(to, raw) {
    const end = raw.indexOf('\r\n\r\n');
    const headers = raw.slice(0, end).replace(/\r\n[ \t]+/g, ' ');
    const header = (name) => new RegExp(`^${name}: *(.*)$`, 'im').exec(headers)?.[1].trim();
    let text = raw.slice(end + 4);
    const coding = header('Content-Transfer-Encoding')?.toLowerCase();
    if (coding === 'base64') text = Buffer.from(text, 'base64').toString('utf8');
    if (coding === 'quoted-printable') text = unquote(text);
    this.#letters.push({ to, headers, subject: header('Subject'), text });
    this.#waiting.splice(0).forEach((wake) => wake());
  }
}

function unquote(text) {
  const bytes = text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The first link in a letter whose path is this one. */
export function link(letter, path) {
  const found = letter.text.match(/https?:\/\/[^\s<>"]+/g)?.map((text) => new URL(text)) ?? [];
  const url = found.find((url) => url.pathname === path);
  if (!url) throw new Error(`no link to ${path} in: ${letter.text}`);
  return url;
}
