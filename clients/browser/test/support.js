/** A token endpoint on a real socket whose answers a test lines up, and a clock that the test moves. */

import { createServer } from "node:http";
import { once } from "node:events";

/** An unsigned JWT with these claims, for what the client reads of them. */
export function jwt(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}.c2lnbmF0dXJl`;
}

/** signet's answer with `token`, good for an hour. */
export function granted(token, more = {}) {
  return { body: { token, tokenType: "Bearer", expiresIn: 3600, refreshAfter: 3240, ...more } };
}

/** signet's problem document. */
export function problem(status, code, headers = {}, more = {}) {
  const body = {
    type: "about:blank",
    title: code,
    status,
    code,
    detail: `because of ${code}`,
    requestId: "req_1",
    ...more,
  };
  return { status, headers: { "content-type": "application/problem+json", ...headers }, body };
}

/** Serves `answers` in turn, the last one for ever; a function is called with the request, and a promise holds it open. */
export async function endpoint(t, ...answers) {
  const requests = [];
  const arrivals = [];
  const server = createServer(async (request, response) => {
    requests.push({ method: request.method, url: request.url, headers: request.headers });
    for (const arrival of arrivals.splice(0)) arrival();
    let answer = answers.length > 1 ? answers.shift() : answers[0];
    if (typeof answer === "function") answer = answer(request);
    const { status = 200, headers = {}, body } = await answer;
    const text = typeof body === "string" ? body : JSON.stringify(body);
    response.writeHead(status, { "content-type": "application/json", connection: "close", ...headers }).end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/api/support/token`,
    requests,
    /** Resolves at once when `count` requests have come, or else when they have. */
    async asked(count) {
      while (requests.length < count) await new Promise((resolve) => arrivals.push(resolve));
    },
  };
}

const realImmediate = setImmediate;
/** How long a request may keep the clock waiting before it counts as one that hangs. */
const HANGS = 40;
/** The clock that stands still, and the requests under way: of the newest test that asked for one. */
let still = { timers: new Set(), requests: 0 };

/** Time stands still until `pass` moves it. Sockets go on: they don't use these timers. */
export function standStill(t, now = 1_763_650_000_000) {
  const { fetch, setTimeout, clearTimeout } = globalThis;
  const { now: systemTime } = Date;
  const mine = (still = { now, timers: new Set(), requests: 0 });
  Date.now = () => mine.now;
  globalThis.setTimeout = (work, milliseconds = 0) => {
    const timer = { work, at: mine.now + milliseconds, unref() {}, refresh() {} }; // fetch calls those two
    mine.timers.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => mine.timers.delete(timer);
  globalThis.fetch = async (...request) => {
    mine.requests += 1;
    try {
      const response = await fetch(...request);
      const body = await response.text();
      response.text = async () => body;
      return response;
    } finally {
      mine.requests -= 1;
    }
  };
  t.after(() => {
    Object.assign(globalThis, { fetch, setTimeout, clearTimeout });
    Date.now = systemTime;
  });
}

function tick(milliseconds) {
  still.now += milliseconds;
  const due = [...still.timers].filter((timer) => timer.at <= still.now).sort((one, other) => one.at - other.at);
  for (const timer of due) {
    if (still.timers.delete(timer)) timer.work();
  }
}

/** Moves the clock in small steps until `condition` holds. */
export async function passUntil(condition, step = 50) {
  while (!condition()) {
    tick(step);
    await breathe();
  }
}

/** Moves the clock by `milliseconds`, in steps, so that what each timer starts can go on. */
export async function pass(milliseconds, step = 1000) {
  for (let left = milliseconds; left > 0; left -= step) {
    tick(Math.min(step, left));
    await breathe();
  }
}

/** Lets sockets and channels deliver, and requests under way end, unless they hang. */
export async function breathe(rounds = 5) {
  const start = performance.now();
  for (let round = 0; round < rounds || (still.requests > 0 && performance.now() - start < HANGS); round += 1) {
    await new Promise((resolve) => realImmediate(resolve));
  }
}

/** Web Locks as the specification says, for exclusive locks, which node 20 lacks. */
export function webLocks() {
  const queues = new Map();
  return {
    async request(name, options, work) {
      if (work === undefined) return this.request(name, {}, options);
      const queue = queues.get(name) ?? [];
      queues.set(name, queue);
      if (options.ifAvailable && queue.length > 0) return work(null);
      let grant;
      const turn = new Promise((resolve, reject) => {
        grant = resolve;
        options.signal?.addEventListener("abort", () => {
          const place = queue.indexOf(grant);
          if (place > 0) queue.splice(place, 1);
          reject(options.signal.reason);
        });
      });
      queue.push(grant);
      if (queue.length === 1) grant();
      await turn;
      try {
        return await work({ name, mode: "exclusive" });
      } finally {
        queue.shift();
        queue[0]?.();
      }
    },
  };
}
