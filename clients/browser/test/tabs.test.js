/** Several tabs of one origin: who asks, who takes the answer, and whose token it is. */

import test from "node:test";
import assert from "node:assert/strict";
import { createTokenSource } from "../signet.js";
import { breathe, endpoint, granted, jwt, pass, passUntil, problem, standStill, webLocks } from "./support.js";

/** Each source stands for a tab: it has a lock queue and a channel in common with the others, and nothing else. */
function tabs(t, url, count, options = {}) {
  globalThis.navigator = { locks: options.locks ?? webLocks() };
  t.after(() => delete globalThis.navigator);
  return Array.from({ length: count }, () => {
    const tab = createTokenSource({ url, ...options });
    t.after(() => tab.close());
    return tab;
  });
}

/** Resolves when `milliseconds` of the real clock have ended this one. */
const nextMillisecond = () => new Promise((resolve) => setTimeout(resolve, 2));

test("tabs that are opened together ask once or twice, not each", async (t) => {
  let count = 0;
  const { url, requests } = await endpoint(t, () => granted(`t${(count += 1)}`));
  const opened = tabs(t, url, 8);
  const first = opened[0].token();
  await nextMillisecond();
  const rest = await Promise.all(opened.slice(1).map((tab) => tab.token()));
  assert.equal(await first, "t1");
  assert.deepEqual(new Set(rest), new Set(["t2"]), "asked for after they wanted one");
  assert.equal(requests.length, 2);
});

test("a tab never takes a token that was asked for before it wanted one", async (t) => {
  let answer;
  const adas = new Promise((resolve) => (answer = resolve));
  const { url, asked } = await endpoint(t, adas, granted("grace"));
  const [before, after] = tabs(t, url, 2);
  const first = before.token();
  await asked(1);
  await nextMillisecond(); // the user changes here
  const second = after.token();
  answer(granted("ada"));
  assert.equal(await first, "ada");
  assert.equal(await second, "grace");
});

test("one tab renews for all", async (t) => {
  standStill(t);
  let count = 0;
  const { url, requests } = await endpoint(t, () => granted(`t${(count += 1)}`, { refreshAfter: 3240 + count }));
  const given = [];
  const opened = tabs(t, url, 5, { onToken: (token) => given.push(token) });
  for (const tab of opened) {
    await tab.token();
    await pass(1_000);
  }
  const before = requests.length;
  await pass(3_240_000, 60_000);
  await passUntil(() => requests.length === before + 1);
  const newest = `t${count}`;
  await passUntil(() => given.filter((token) => token === newest).length === 5);
  for (const tab of opened) assert.equal(await tab.token(), newest);
  assert.equal(requests.length, before + 1);
});

test("a Retry-After that one tab met holds for all", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, problem(429, "rate_limited", { "retry-after": "60" }));
  const [one, other] = tabs(t, url, 2);
  await assert.rejects(one.token(), { kind: "unavailable" });
  await breathe(20);
  await assert.rejects(other.token(), { name: "TokenError", kind: "unavailable", retryAfter: 60, requestId: "req_1" });
  assert.equal(requests.length, 1);
});

test("tabs that waited together for a refused request are each told of it", async (t) => {
  const { url, requests } = await endpoint(t, problem(401, "login_required"));
  const told = [];
  const opened = tabs(t, url, 4, { onLoginRequired: (error) => told.push(error.code) });
  const first = assert.rejects(opened[0].token());
  await nextMillisecond();
  await Promise.all([first, ...opened.slice(1).map((tab) => assert.rejects(tab.token(), { kind: "login_required" }))]);
  await breathe();
  assert.equal(told.length, 4);
  assert.equal(requests.length, 2);
});

test("one-time tokens stay with the tab that asked", async (t) => {
  let count = 0;
  const { url, requests } = await endpoint(t, () => ({
    body: { jwt: jwt({ jti: `id${(count += 1)}`, iat: 1, exp: 3601 }) },
  }));
  const channel = new BroadcastChannel(`signet POST ${url}`);
  const heard = [];
  channel.onmessage = ({ data }) => heard.push(data);
  t.after(() => channel.close());
  const all = await Promise.all(tabs(t, url, 4).map((tab) => tab.token()));
  await breathe(20);
  assert.equal(new Set(all).size, 4);
  assert.equal(requests.length, 4);
  assert.deepEqual(heard, []);
});

test("forgetting in one tab is forgetting in all", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"));
  const [one, other] = tabs(t, url, 2);
  await other.token();
  await one.token();
  one.forget();
  await breathe(20);
  await nextMillisecond();
  const before = requests.length;
  await other.token();
  assert.equal(requests.length, before + 1);
});

test("what another tab asked for before a change of user is not taken after it", async (t) => {
  const { url } = await endpoint(t, granted("grace"));
  const [tab] = tabs(t, url, 1);
  const channel = new BroadcastChannel(`signet POST ${url}`);
  t.after(() => channel.close());
  const requestedAt = Date.now();
  await nextMillisecond();
  tab.forget();
  channel.postMessage({ token: "ada", requestedAt, refreshAt: requestedAt + 60_000, expiresAt: requestedAt + 90_000 });
  await breathe(20);
  assert.equal(await tab.token(), "grace");
});

test("a tab that hangs with the lock stops the others no longer than one time-out", async (t) => {
  standStill(t);
  const locks = webLocks();
  const { url } = await endpoint(t, granted("t1"));
  locks.request(`signet POST ${url}`, {}, () => new Promise(() => {}));
  const [tab] = tabs(t, url, 1, { locks, timeout: 4_000, maxWait: 10_000 });
  let token;
  tab.token().then((value) => (token = value));
  await passUntil(() => token !== undefined);
  assert.equal(token, "t1");
});

test("a page whose sandbox forbids locks asks by itself", async (t) => {
  const { url } = await endpoint(t, granted("t1"));
  const locks = { request: () => Promise.reject(new DOMException("denied", "SecurityError")) };
  assert.equal(await tabs(t, url, 1, { locks })[0].token(), "t1");
});

test("what is no message of ours is ignored", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"));
  const [tab] = tabs(t, url, 1);
  const channel = new BroadcastChannel(`signet POST ${url}`);
  t.after(() => channel.close());
  for (const odd of [
    null,
    7,
    "x",
    [],
    {},
    { requestedAt: "soon" },
    { requestedAt: 9e15, token: "" },
    { requestedAt: 9e15, token: "t", refreshAt: 1 },
  ]) {
    channel.postMessage(odd);
  }
  await breathe(20);
  assert.equal(await tab.token(), "t1");
  assert.equal(requests.length, 1);
});

test("a page with headers of its own shares nothing unless told to", async (t) => {
  const { url } = await endpoint(t, granted("t1"));
  const channel = new BroadcastChannel(`signet POST ${url}`);
  const heard = [];
  channel.onmessage = ({ data }) => heard.push(data.token);
  t.after(() => channel.close());
  const headers = { authorization: "Bearer session" };
  await tabs(t, url, 1, { headers })[0].token();
  await breathe(20);
  assert.deepEqual(heard, []);
  await tabs(t, url, 1, { headers, shareAcrossTabs: true })[0].token();
  await breathe(20);
  assert.deepEqual(heard, ["t1"]);
});
