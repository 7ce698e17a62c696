/** `@signet/browser` with a real browser's Web Locks, BroadcastChannel and timers, against a real signet. */

import test from "node:test";
import assert from "node:assert/strict";
import { openBrowser, startDev, until } from "./support.js";

const TABS = 6;

/** Tabs of one profile, logged in, each with a source of its own in `window.tokens`; counts the token requests of all. */
async function openTabs(t) {
  const url = await startDev(t);
  const browser = await openBrowser(t);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  t.after(() => context.close());
  const asked = [];
  context.on("response", (answer) => {
    if (answer.url().endsWith("/api/support/token")) asked.push(answer.status());
  });
  const login = (user) => context.request.post(`${url}demo/login`, { data: { user } });
  await login("ada");
  const tabs = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));
  for (const tab of tabs) {
    await tab.goto(`${url}demo/icon.svg`); // a page of this origin with no scripts of its own
    await tab.evaluate(async () => {
      const { createTokenSource } = await import("/demo/signet.js");
      window.tokens = createTokenSource({ url: "/api/support/token" });
      window.user = (token) => JSON.parse(atob(token.split(".")[1])).userId;
    });
  }
  return { tabs, asked, login };
}

const token = (tab) => tab.evaluate(() => window.tokens.token());
const user = (tab) => tab.evaluate(async () => window.user(await window.tokens.token()));

test("tabs that want a token together ask for one or two, not each for its own", async (t) => {
  const { tabs, asked } = await openTabs(t);
  const tokens = await Promise.all(tabs.map(token));
  assert.ok(asked.length < TABS, `${asked.length} requests for ${TABS} tabs`);
  assert.ok(new Set(tokens).size <= asked.length);
});

test("one tab renews ahead for all", async (t) => {
  const { tabs, asked } = await openTabs(t);
  const first = await Promise.all(tabs.map(token));
  const before = asked.length;
  await until(() => asked.length > before, "a tab renews");
  await until(
    async () => (await Promise.all(tabs.map(token))).every((now) => !first.includes(now)),
    "every tab has the new token",
  );
  assert.ok(asked.length - before < TABS, `${asked.length - before} requests for ${TABS} tabs`);
});

test("a change of user in one tab is one in all, once it forgets", async (t) => {
  const { tabs, login } = await openTabs(t);
  const [one, other] = tabs;
  assert.deepEqual([await user(one), await user(other)], ["usr_ada", "usr_ada"]);
  await login("grace");
  await one.evaluate(() => window.tokens.forget());
  assert.equal(await user(one), "usr_grace");
  await until(async () => (await user(other)) === "usr_grace", "the other tab follows");
});
