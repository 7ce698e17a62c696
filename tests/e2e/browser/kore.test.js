/** The Kore Web SDK from npm, unmodified, with its `JWTUrl` at signet. */

import test from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { cookieOf, openBrowser, openTab, passTo, randomSecret, serve, startServe, until } from "./support.js";
import { startPlatform } from "./kore_platform.js";

const CLIENT_ID = "cs-5250bdc9-6bfe-5ece-92c9-ab54aa2d4285";
const USER = "ada@example.com";
const SDK = await readFile(new URL("node_modules/kore-web-sdk/dist/umd/kore-web-sdk-umd-chat.min.js", import.meta.url));
const MODULE = await readFile(new URL("../../../clients/browser/signet.js", import.meta.url));

/** A customer's web site: a log-in, the session's URL for signet, the page with the SDK, and signet behind its own origin. */
async function startSite(t) {
  const clientSecret = randomSecret();
  const platform = await startPlatform(t, { clientId: CLIENT_ID, clientSecret });
  const asked = []; // what came to JWTUrl, and what signet answered: { form, status, body }
  const site = {
    "GET /": ({ request }) => ({ body: page(platform.url, new URL(request.url, "http://host").searchParams) }),
    "GET /sdk.js": { headers: { "content-type": "text/javascript" }, body: SDK },
    "GET /signet.js": { headers: { "content-type": "text/javascript" }, body: MODULE },
    "GET /session": ({ request }) =>
      cookieOf(request, "session") === "of-ada" ? { body: { user: { email: USER } } } : { status: 401, body: {} },
  };
  const url = await serve(t, site);
  const signet = await startServe(
    t,
    `
    [apps.bot]
    profile = "kore"
    client_id = "${CLIENT_ID}"
    algorithm = "HS256"
    token_ttl = "5m"
    secret = { env = "KORE_CLIENT_SECRET" }
    [apps.bot.browser]
    path = "/api/users/sts"
    origins = ["${url}"]
    [apps.bot.browser.session]
    resolver = "introspect"
    url = "${url}/session"
    identity = { user_id = "/user/email" }
    `,
    { KORE_CLIENT_SECRET: clientSecret },
  );
  const pass = passTo(signet, "/api/users/sts");
  site["POST /api/users/sts"] = async (exchange) => {
    const answer = await pass(exchange);
    const form = Object.fromEntries(new URLSearchParams(exchange.body));
    asked.push({ form, status: answer.status, body: JSON.parse(answer.body) });
    return answer;
  };
  return { url, platform, asked };
}

function page(platform, query) {
  const identity = query.get("identity") ?? USER;
  return `<!doctype html><title>A customer's page</title><script src="/sdk.js"></script><script type="module">
    const { chatConfig, chatWindow } = KoreChatSDK;
    Object.assign(chatConfig.botOptions, {
      koreAPIUrl: ${JSON.stringify(`${platform}/api/`)},
      JWTUrl: '/api/users/sts',
      userIdentity: ${JSON.stringify(identity)},
      botInfo: { name: 'Helper', _id: 'st-1' },
      clientId: '${CLIENT_ID}',
      clientSecret: '',
    });
    chatConfig.enableThemes = false;
    let instance;
    if (${query.has("module")}) {
      const { createTokenSource, koreJwtAssertion } = await import('/signet.js');
      const source = createTokenSource({ url: '/api/users/sts', onLoginRequired: (error) => (window.loginRequired = error.code) });
      chatConfig.JWTAsertion = koreJwtAssertion(source, () => instance);
    }
    instance = new chatWindow(chatConfig);
    instance.show(chatConfig);
  </script>`;
}

/** The SDK connects when its user opens the window. */
async function openWindow(tab) {
  await tab.locator(".kore-chat-window .minimized").click();
}

async function visit(t, site, { session = "of-ada", path = "/" } = {}) {
  const browser = await openBrowser(t);
  const tab = await openTab(t, browser);
  await tab.context().addCookies([{ name: "session", value: session, url: site.url }]);
  await tab.goto(site.url + path);
  return tab;
}

for (const [way, path] of [
  ["JWTUrl", "/"],
  ["JWTAsertion and @signet/browser", "/?module"],
]) {
  test(`the SDK connects with a JWT of signet's, by ${way}, and asks again when the platform's token expires`, async (t) => {
    const site = await startSite(t);
    site.platform.expireOnce();
    await openWindow(await visit(t, site, { path }));
    await until(() => site.platform.sockets === 1, "the socket opens");
    assert.deepEqual(site.platform.refusals, []);
    const { grants } = site.platform;
    assert.ok(grants.length >= 2, "a fresh JWT after TOKEN_EXPIRED");
    for (const { iss, sub, isAnonymous } of grants) {
      assert.deepEqual({ iss, sub, isAnonymous }, { iss: CLIENT_ID, sub: USER, isAnonymous: false });
    }
    assert.equal(new Set(grants.map((claims) => claims.jti)).size, grants.length, "no JWT is used twice");
  });
}

test("the SDK sends the form that signet expects", async (t) => {
  const site = await startSite(t);
  await openWindow(await visit(t, site));
  await until(() => site.platform.sockets === 1, "the socket opens");
  assert.deepEqual(site.asked[0].form, {
    clientId: CLIENT_ID,
    clientSecret: "",
    identity: USER,
    aud: "",
    isAnonymous: "false",
  });
});

test("a page that claims to be somebody else gets no JWT", async (t) => {
  const site = await startSite(t);
  await visit(t, site, { path: "/?identity=mallory@example.com" });
  const { status, body } = await until(() => site.asked[0], "the SDK asks");
  assert.equal(status, 403);
  assert.equal(body.code, "identity_mismatch");
  assert.equal(body.errors[0].code, 403);
  assert.equal(typeof body.errors[0].msg, "string", "the text that the SDK shows");
  assert.equal(site.platform.grants.length, 0);
});

test("a page without a session gets no JWT, and the page hears that a log-in is needed", async (t) => {
  const site = await startSite(t);
  const tab = await visit(t, site, { session: "of-nobody", path: "/?module" });
  await openWindow(tab);
  await until(() => tab.evaluate(() => window.loginRequired), "onLoginRequired is called");
  assert.equal(await tab.evaluate(() => window.loginRequired), "login_required");
  assert.equal(site.platform.grants.length, 0);
});
