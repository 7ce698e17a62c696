/** Starts what the tests drive: the real signet, a real browser, and small servers around them. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { createServer as createSocket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const SIGNET = resolve(import.meta.dirname, process.env.SIGNET_BIN ?? "../../../target/debug/signet");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = 20_000;

/** Runs `signet dev` until the test ends; resolves to the URL of its page. */
export async function startDev(t) {
  const signet = start(t, ["dev", "--listen", "127.0.0.1:0"]);
  return until(() => signet.output.match(/^page\s+(https?:\S+)$/m)?.[1], "signet dev prints its page", signet);
}

/** Runs `signet serve` with this configuration until the test ends; resolves to its URL. The text's first lines are the
 * configuration's own: sockets are added here. */
export async function startServe(t, configuration, environment = {}) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "signet-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "signet.toml");
  const sockets = `
    [server]
    listen = "127.0.0.1:${port}"
    require_https = false
    [admin]
    listen = "127.0.0.1:${adminPort}"
  `;
  await writeFile(file, sockets + configuration);
  const signet = start(t, ["serve", "--config", file], environment);
  const url = `http://127.0.0.1:${port}`;
  await until(
    () =>
      fetch(`${url}/healthz`)
        .then((answer) => answer.ok)
        .catch(() => false),
    "signet serve answers",
    signet,
  );
  return url;
}

function start(t, args, environment = {}) {
  const child = spawn(SIGNET, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  const signet = { output: "", exited: false };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (signet.output += text));
  const exit = new Promise((done) => {
    child.on("error", (error) => done(`${error}`));
    child.on("exit", (code) => done(code));
  }).then((code) => ((signet.exited = true), code));
  t.after(async () => {
    child.kill("SIGTERM");
    assert.equal(await exit, 0, `signet leaves well:\n${signet.output}`);
    assert.doesNotMatch(signet.output, /eyJ[\w-]+\.eyJ/, "no token stands in its output");
  });
  return signet;
}

/** The first truthy value of `probe`; fails with `what` and the process's output when it takes too long. */
export async function until(probe, what, { output = "", exited = false } = {}) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await probe();
    if (value) return value;
    assert.ok(Date.now() < end && !exited, `waited in vain: ${what}\n${output}`);
    await new Promise((next) => setTimeout(next, 25));
  }
}

async function freePort() {
  const socket = createSocket().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  return port;
}

/** 256 random bits as text. */
export function randomSecret() {
  return randomBytes(32).toString("base64url");
}

/** Chromium, for as long as the tests of a file run. */
export async function openBrowser(t) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  t.after(() => browser.close());
  return browser;
}

/** A tab of its own profile, which trusts any certificate: signet dev makes one that nobody knows. */
export async function openTab(t, browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  t.after(() => context.close());
  return context.newPage();
}

/** A small web server: `routes` maps `METHOD /path` to an answer, or to a function of the request that gives one. */
export async function serve(t, routes, onUpgrade) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://host");
    let body = "";
    for await (const chunk of request) body += chunk;
    const route = routes[`${request.method} ${pathname}`] ?? routes["*"] ?? { status: 404, body: {} };
    try {
      const answer = typeof route === "function" ? await route({ request, body, pathname }) : route;
      const { status = 200, headers = {}, body: content = "" } = answer;
      const isText = typeof content === "string" || Buffer.isBuffer(content);
      const type = isText ? "text/html; charset=utf-8" : "application/json";
      response.writeHead(status, { "content-type": type, ...headers }).end(isText ? content : JSON.stringify(content));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  if (onUpgrade) server.on("upgrade", onUpgrade);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Hands a request on, unchanged but for its Host, as a web server's reverse proxy does. */
export function passTo(base, path) {
  return ({ request, body }) =>
    new Promise((done, fail) => {
      const { host } = new URL(base);
      const onward = httpRequest(
        base + path,
        { method: request.method, headers: { ...request.headers, host } },
        async (answer) => {
          const chunks = [];
          for await (const chunk of answer) chunks.push(chunk);
          done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) });
        },
      );
      onward.on("error", fail);
      onward.end(body);
    });
}

/** The value of one cookie of a request. */
export function cookieOf(request, name) {
  return new RegExp(`(?:^|; )${name}=([^;]+)`).exec(request.headers.cookie ?? "")?.[1];
}

/** Header and claims of a compact JWT, unverified. */
export function parts(token) {
  return token
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, "base64url")));
}
