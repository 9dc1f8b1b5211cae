// Headless Chromium, and what every page must hold.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { OUTPUT } from './server.js';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A phone and a desktop. */
export const WIDTHS = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };

/** Starts the browser: without a sandbox of its own, and without its own traffic to the network. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** One visitor at one width, who notes what goes wrong on the pages. */
export class Visitor {
  #seen = new Set();

  static async arrive(browser, url, width, options = {}) {
    const visitor = new Visitor();
    visitor.url = url;
    visitor.width = width;
    visitor.problems = [];
    visitor.context = await browser.newContext({ viewport: WIDTHS[width], bypassCSP: false, locale: 'en-US', ...options });
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(20_000);
    visitor.page.on('pageerror', (error) => visitor.problems.push(`script: ${error}`));
    visitor.page.on('console', (message) => {
      // Chromium logs each answer of 400 and above; those are looked at where they are expected.
      const isStatus = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !isStatus) visitor.problems.push(message.text());
    });
    visitor.page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
        visitor.problems.push(`outside request: ${request.url()}`);
      }
    });
    return visitor;
  }

  async open(target) {
    return this.page.goto(new URL(target, this.url).href);
  }

  /** Path and query of the page that is shown. */
  get at() {
    const { pathname, search } = new URL(this.page.url());
    return pathname + search;
  }

  /** Fills fields by their labels, as a person does, and presses a button. */
  async submit(fields, button) {
    for (const [label, value] of Object.entries(fields)) {
      await this.page.getByLabel(label, { exact: true }).fill(value);
    }
    await Promise.all([this.page.waitForLoadState('load'), this.page.getByRole('button', { name: button }).click()]);
    await this.page.waitForLoadState('networkidle');
  }

  /** Takes a picture of the page and checks it: accessible, no wider than the screen, and nothing went wrong. */
  async check(name) {
    const folder = path.join(OUTPUT, this.width);
    await mkdir(folder, { recursive: true });
    await this.page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
    if (!this.#seen.has(name)) {
      this.#seen.add(name);
      const overflow = await this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px wider than a screen of ${this.width}`);
      await this.#accessible(name);
    }
    assert.deepEqual(this.problems, [], `${name} at ${this.width}`);
  }

  async #accessible(name) {
    // Run in a world of its own, where the page's content security policy, which forbids scripts, does not reach.
    const session = await this.context.newCDPSession(this.page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
    await session.send('Runtime.evaluate', { expression: AXE, contextId: executionContextId });
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
      expression: `axe.run(document).then(({ violations, passes }) => JSON.stringify({ violations, passed: passes.length }))`,
      contextId: executionContextId,
      awaitPromise: true,
      returnByValue: true,
    });
    await session.detach();
    assert.equal(exceptionDetails, undefined, `the accessibility checker failed on ${name}`);
    const { violations, passed } = JSON.parse(result.value);
    assert.ok(passed > 5, `the accessibility checker looked at nothing on ${name}`);
    const bad = violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' | ')}`);
    assert.deepEqual(bad, [], `${name} at ${this.width}`);
  }

  async leave() {
    await this.context.close();
  }
}
