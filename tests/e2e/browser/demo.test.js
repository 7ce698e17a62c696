/** The demo page of `signet dev` in a real browser, as somebody who has ten minutes would use it. */

import test from "node:test";
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { openBrowser, openTab, startDev, until } from "./support.js";

const SHOTS = process.env.SCREENSHOTS; // a folder for pictures to look at; none are made without it

/** One signet, one browser; each test has a tab of a profile of its own. */
async function demo(t, options) {
  const url = await startDev(t);
  const browser = await openBrowser(t);
  const tab = await openTab(t, browser, options);
  const calls = []; // [method path, status] of what the page asked of signet and of the gateway
  tab.on("response", (answer) => {
    const { pathname } = new URL(answer.url());
    if (pathname === "/api/support/token" || pathname.startsWith("/gateway/"))
      calls.push(`${pathname} ${answer.status()}`);
  });
  await tab.goto(url);
  await tab.locator("body[data-ready]").waitFor();
  return { url, browser, tab, calls };
}

const signIn = (tab, name) => tab.getByRole("button", { name, exact: true }).click();

async function send(tab, text) {
  const replies = tab.locator(".messages .platform");
  const before = await replies.count();
  await tab.getByLabel("Message").fill(text);
  await tab.getByRole("button", { name: "Send" }).click();
  await replies.nth(before).waitFor();
  return replies.nth(before).textContent();
}

async function expiry(tab) {
  await tab.locator('.token[data-state="expired"]').waitFor();
}

/** The status line and the JSON of the answer in view. */
async function answerIn(tab) {
  const answer = tab.getByRole("region", { name: "Request and answer" }).locator(".half").nth(1);
  const body = (await answer.locator("pre").count()) ? await answer.locator("pre").textContent() : "";
  return {
    first: await answer.locator(".first").textContent(),
    headers: await answer.locator("dl").textContent(),
    body,
  };
}

async function press(tab, name) {
  const button = tab.getByRole("button", { name });
  await button.click();
  await until(async () => !(await button.getAttribute("aria-busy")), `${name} is done`);
  return answerIn(tab);
}

test("a token expires, the gateway refuses it, and the widget refreshes and retries once", async (t) => {
  const { tab, calls } = await demo(t);
  await signIn(tab, "Ada");
  assert.match(await send(tab, "Hello"), /usr_ada/);
  assert.deepEqual(calls, ["/api/support/token 200", "/gateway/messages 200"]);
  assert.match(await tab.getByRole("timer").textContent(), /\b1\d s\b/);
  const claims = await tab.locator("#claims").textContent();
  for (const said of ["tenantId", "usr_ada", "ada@example.com", "enterprise", "HS256"])
    assert.ok(claims.includes(said), said);
  const first = await tab.locator("#encoded").textContent();

  await expiry(tab);
  assert.match(await send(tab, "Still there?"), /Still there\?/);
  assert.deepEqual(calls.slice(2), ["/gateway/messages 401", "/api/support/token 200", "/gateway/messages 200"]);
  assert.notEqual(await tab.locator("#encoded").textContent(), first);
  await tab.locator('li[data-step="verdict"][data-state="done"]').waitFor();
});

test("renewed ahead, the widget never meets a 401", async (t) => {
  const { tab, calls } = await demo(t);
  await signIn(tab, "Grace");
  await tab.getByRole("switch", { name: /Renew ahead/ }).check();
  await send(tab, "One");
  const first = await tab.locator("#encoded").textContent();
  await until(async () => (await tab.locator("#encoded").textContent()) !== first, "the token is renewed");
  await send(tab, "Two");
  assert.deepEqual(
    calls.filter((call) => call.endsWith("401")),
    [],
  );
});

test("the story plays from the log-in to the retry", async (t) => {
  const { tab, calls } = await demo(t);
  await tab.getByRole("button", { name: "Play the whole story" }).click();
  await tab.getByText("That is all.").waitFor({ timeout: 60_000 });
  assert.deepEqual(calls, [
    "/api/support/token 200",
    "/gateway/messages 200",
    "/gateway/messages 401",
    "/api/support/token 200",
    "/gateway/messages 200",
  ]);
});

test("everything that goes wrong is shown as it came", async (t) => {
  const { tab } = await demo(t);
  await signIn(tab, "Linus");
  await send(tab, "Hello");

  const noSession = await press(tab, /^No session/);
  assert.equal(noSession.first, "401 Unauthorized");
  assert.equal(JSON.parse(noSession.body).code, "login_required");

  const down = await press(tab, /^Your app is down/);
  assert.equal(down.first, "503 Service Unavailable");
  assert.equal(JSON.parse(down.body).code, "session_unavailable");
  assert.match(down.headers, /retry-after:?\d+/);

  const forged = await press(tab, /^A forged token/);
  assert.equal(forged.first, "401 Unauthorized");
  assert.match(JSON.parse(forged.body).message, /signature is invalid/);

  const partner = await press(tab, /^A listed page asks/);
  assert.equal(partner.first, "200 OK");
  assert.equal(typeof JSON.parse(partner.body).token, "string");
  assert.match(partner.headers, /x-request-id/, "exposed to the other origin");

  const stranger = await press(tab, /^A stranger’s page asks/);
  assert.match(stranger.first, /^TypeError/, "the stranger reads nothing");

  const limited = await press(tab, /^Too many requests/);
  assert.equal(limited.first, "429 Too Many Requests");
  assert.equal(JSON.parse(limited.body).code, "rate_limited");
  for (const header of [/retry-after:?\d+/, /ratelimit:?/, /ratelimit-policy/]) assert.match(limited.headers, header);
});

test("a stranger’s origin is refused before its session is looked at", async (t) => {
  const { url, tab } = await demo(t);
  const config = await tab.evaluate(() => fetch("/demo/config").then((answer) => answer.json()));
  const answer = await tab.request.post(`${url}api/support/token`, { headers: { origin: config.origins.stranger } });
  assert.equal(answer.status(), 403);
  assert.equal((await answer.json()).code, "origin_not_allowed");
  assert.equal(answer.headers()["access-control-allow-origin"], undefined);
});

test("another user’s token is another user’s", async (t) => {
  const { tab } = await demo(t);
  await signIn(tab, "Ada");
  assert.match(await send(tab, "Who am I?"), /usr_ada/);
  await signIn(tab, "Grace");
  assert.match(await send(tab, "And now?"), /usr_grace/);
  await tab.getByRole("button", { name: "Sign out" }).click();
  await tab.getByLabel("Message").fill("And now?");
  await tab.getByRole("button", { name: "Send" }).click();
  await tab.getByText("Your session is over: sign in.").waitFor();
});

test("the page loads nothing from elsewhere, keeps no token, and breaks none of its own rules", async (t) => {
  const { url, tab, browser } = await demo(t);
  const fresh = await openTab(t, browser);
  const hosts = new Set();
  const complaints = [];
  fresh.on("request", (request) => hosts.add(new URL(request.url()).hostname));
  fresh.on("pageerror", (error) => complaints.push(error.message));
  fresh.on("console", (message) => {
    if (/Content Security Policy|eyJ/.test(message.text())) complaints.push(message.text());
  });
  await fresh.goto(url);
  await fresh.locator("body[data-ready]").waitFor();
  await signIn(fresh, "Ada");
  await send(fresh, "Hello");
  await press(fresh, /^A listed page asks/);
  assert.deepEqual([...hosts], [new URL(url).hostname]);
  assert.deepEqual(complaints, []);
  const stored = await fresh.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
  );
  assert.doesNotMatch(stored, /eyJ|demo_session/);
  assert.equal(await tab.evaluate(() => indexedDB.databases().then((all) => all.length)), 0);
});

test("the keyboard reaches everything, and what it reaches has a name", async (t) => {
  const { url, tab } = await demo(t);
  await signIn(tab, "Ada");
  await tab.goto(url); // the focus starts at the top again
  await tab.locator("body[data-ready]").waitFor();
  const names = [];
  for (let step = 0; step < 60; step += 1) {
    await tab.keyboard.press("Tab");
    const reached = await tab.evaluate(() => {
      const { activeElement: at } = document;
      if (at === document.body) return null;
      const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent;
      const { outlineStyle, outlineWidth } = getComputedStyle(at);
      return { name: name.trim(), visible: outlineStyle !== "none" && outlineWidth !== "0px" };
    });
    if (!reached) break;
    assert.ok(reached.name, "has a name");
    assert.ok(reached.visible, `${reached.name} shows that it has the focus`);
    names.push(reached.name);
  }
  const all = names.join("\n");
  for (const wanted of [
    /^Skip to/m,
    /^Ada$/m,
    /^Sign out$/m,
    /theme$/m,
    /^Play the whole story$/m,
    /^Message$/m,
    /^Send$/m,
    /^Renew ahead/m,
    /^No session/m,
    /^A listed page/m,
  ]) {
    assert.match(all, wanted);
  }
  for (const landmark of ["banner", "main", "contentinfo", "navigation"])
    await tab.getByRole(landmark).first().waitFor();
});

for (const theme of ["light", "dark"]) {
  test(`every text stands out from its ground in the ${theme} theme`, async (t) => {
    const { tab } = await demo(t, { colorScheme: theme, reducedMotion: "reduce" });
    if (SHOTS) await mkdir(SHOTS, { recursive: true });
    const look = async (name) => {
      if (SHOTS) await tab.screenshot({ path: `${SHOTS}/${name}-${theme}.png`, fullPage: true });
      assert.deepEqual(await tab.evaluate(faintTexts), [], name);
    };
    await look("first");
    await signIn(tab, "Ada");
    await send(tab, "Hello");
    await tab.locator('li[data-step="verdict"][data-state="done"]').waitFor();
    await look("sent");
    await press(tab, /^Your app is down/);
    await tab.locator('li[data-step="session"][data-state="failed"]').waitFor();
    await look("down");
    await tab.setViewportSize({ width: 390, height: 844 });
    await look("phone");
    assert.ok(
      await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      "nothing is cut off on a phone",
    );
  });
}

test("the theme can be switched, and stays switched", async (t) => {
  const { tab } = await demo(t, { colorScheme: "light" });
  await tab.getByRole("button", { name: "Switch to the dark theme" }).click();
  await tab.reload();
  await tab.getByRole("button", { name: "Switch to the light theme" }).waitFor();
});

/** Texts with less contrast than WCAG 2.2 asks for (1.4.3, level AA). Runs in the page. */
function faintTexts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    const style = getComputedStyle(element);
    const off =
      !text ||
      element.closest('svg, script, noscript, :disabled, [data-state="expired"] .encoded') ||
      !element.checkVisibility();
    if (off) continue;
    const [one, other] = [luminance(rgba(style.color)), luminance(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) faint.add(`${text.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return [...faint];
}
