/** The `jwt` resolver with sessions of a real identity provider: `oidc-provider` from npm, its log-in page in a real browser. */

import test from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Provider } from "oidc-provider";
import { createServer } from "node:http";
import { once } from "node:events";
import { openBrowser, openTab, parts, passTo, randomSecret, serve, startServe } from "./support.js";

const CLIENT = { client_id: "shop", client_secret: randomSecret() };
const verifier = randomSecret();

async function startProvider(t, redirectUri) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ ...CLIENT, redirect_uris: [redirectUri], id_token_signed_response_alg: "RS256" }],
    claims: { openid: ["sub"], email: ["email"] },
    conformIdTokenClaims: false, // the ID token carries the e-mail address
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
    cookies: { keys: [randomSecret()] },
  });
  provider.on("server_error", (_, error) => t.diagnostic(error.stack));
  server.on("request", provider.callback());
  return issuer;
}

/** A web site whose session is its provider's ID token in a cookie, with signet behind its own origin. */
async function startSite(t) {
  const site = {};
  const url = await serve(t, site);
  const redirect = `${url}/callback`;
  const issuer = await startProvider(t, redirect);
  const signet = await startServe(
    t,
    `
    [apps.acme]
    profile = "support-widget"
    client_id = "ten_acme"
    algorithm = "HS256"
    token_ttl = "5m"
    secret = { env = "ACME_SECRET" }
    [apps.acme.browser]
    path = "/api/support/token"
    origins = ["${url}"]
    [apps.acme.browser.session]
    resolver = "jwt"
    cookie = "session"
    jwks_url = "${issuer}/jwks"
    issuer = "${issuer}"
    audience = "shop"
    algorithms = ["RS256"]
    identity = { user_id = "/sub", email = "/email" }
    `,
    { ACME_SECRET: randomSecret() },
  );
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  const ask = new URLSearchParams({
    client_id: CLIENT.client_id,
    response_type: "code",
    scope: "openid email",
    redirect_uri: redirect,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  Object.assign(site, {
    "GET /": { body: "<!doctype html><title>A shop</title>" },
    "GET /login": { status: 302, headers: { location: `${issuer}/auth?${ask}` } },
    "GET /callback": async ({ request }) => {
      const code = new URL(request.url, url).searchParams.get("code");
      const answer = await fetch(`${issuer}/token`, {
        method: "POST",
        headers: { authorization: `Basic ${btoa(`${CLIENT.client_id}:${CLIENT.client_secret}`)}` },
        body: new URLSearchParams({
          grant_type: "authorization_code",
          code,
          redirect_uri: redirect,
          code_verifier: verifier,
        }),
      });
      const { id_token: session } = await answer.json();
      return { status: 302, headers: { location: "/", "set-cookie": `session=${session}; HttpOnly; Path=/` } };
    },
    "POST /api/support/token": passTo(signet, "/api/support/token"),
  });
  return url;
}

const ask = (tab) =>
  tab.evaluate(async () => {
    const answer = await fetch("/api/support/token", { method: "POST", credentials: "include" });
    return { status: answer.status, body: await answer.json() };
  });

test("a session of a real provider is a token’s identity, and nothing else is", async (t) => {
  const url = await startSite(t);
  const tab = await openTab(t, await openBrowser(t));

  await tab.goto(url);
  assert.equal((await ask(tab)).body.code, "login_required", "before the log-in");

  await tab.goto(`${url}/login`);
  await tab.getByPlaceholder("Enter any login").fill("ada");
  await tab.getByPlaceholder("and password").fill("anything");
  await tab.getByRole("button", { name: "Sign-in" }).click();
  await tab.getByRole("button", { name: "Continue" }).click();
  await tab.waitForURL(`${url}/`);

  const { status, body } = await ask(tab);
  assert.equal(status, 200, JSON.stringify(body));
  const [, { iat, exp, ...claims }] = parts(body.token);
  assert.deepEqual(claims, { tenantId: "ten_acme", userId: "ada", userEmail: "ada@example.com" });
  assert.equal(exp - iat, 300);

  const context = tab.context();
  const [session] = (await context.cookies()).filter((cookie) => cookie.name === "session");
  const [header, payload, signature] = session.value.split(".");
  const told = JSON.parse(Buffer.from(payload, "base64url"));
  const mallory = Buffer.from(JSON.stringify({ ...told, sub: "mallory" })).toString("base64url");
  const none = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT" })).toString("base64url");
  for (const forged of [`${header}.${mallory}.${signature}`, `${none}.${mallory}.`, "garbage"]) {
    await context.addCookies([{ ...session, value: forged }]);
    const refused = await ask(tab);
    assert.deepEqual([refused.status, refused.body.code], [401, "login_required"]);
  }
});
