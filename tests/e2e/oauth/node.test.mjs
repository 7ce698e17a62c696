// Token exchange by `openid-client` and `oauth4webapi`, and what they get verified by `jose` with signet's JWKS.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";

const { SIGNET_URL, SESSION_SECRET, SHOP_KEY } = process.env;
const ISSUER = "https://tokens.example.com";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const ALGORITHMS = { rsa: "RS256", ec: "ES256", ed: "EdDSA" };

// What a proxy in front of signet does: the public name leads to the port under test.
const throughProxy = (url, options) => fetch(String(url).replace(ISSUER, SIGNET_URL), options);

function subject(claims = {}) {
  return new jose.SignJWT({ email: "zoe@example.com", roles: ["user"], ...claims })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuer("https://login.example.com")
    .setAudience("https://app.example.com")
    .setSubject("usr_1")
    .setExpirationTime("5m")
    .sign(new TextEncoder().encode(SESSION_SECRET));
}

const keys = jose.createRemoteJWKSet(new URL("/.well-known/jwks.json", SIGNET_URL));

async function verify(token, app) {
  const { payload, protectedHeader } = await jose.jwtVerify(token, keys, {
    issuer: ISSUER,
    audience: `https://${app}.example.com`,
    algorithms: [ALGORITHMS[app]],
    typ: "at+jwt",
    requiredClaims: ["sub", "client_id", "iat", "exp", "jti"],
  });
  assert.equal(payload.sub, "usr_1");
  assert.deepEqual(payload.roles, ["user"]);
  assert.ok(protectedHeader.kid);
}

for (const [how, authentication] of [
  ["Basic", client.ClientSecretBasic],
  ["the form", client.ClientSecretPost],
]) {
  test(`openid-client exchanges a token, authenticated by ${how}`, async () => {
    const config = await client.discovery(new URL(ISSUER), "shop", undefined, authentication(SHOP_KEY), {
      algorithm: "oauth2",
      [client.customFetch]: throughProxy,
    });
    for (const app of Object.keys(ALGORITHMS)) {
      const answer = await client.genericGrantRequest(config, GRANT, {
        subject_token: await subject(),
        subject_token_type: JWT,
        audience: app,
      });
      assert.equal(answer.issued_token_type, "urn:ietf:params:oauth:token-type:access_token");
      assert.equal(answer.expiresIn(), 3595);
      await verify(answer.access_token, app);
    }
    await assert.rejects(
      client.genericGrantRequest(config, GRANT, { subject_token: "x", subject_token_type: JWT, audience: "rsa" }),
      { error: "invalid_request", status: 400 },
    );
  });
}

test("oauth4webapi exchanges a token and reads the errors", async () => {
  const options = { [oauth.customFetch]: throughProxy };
  const found = await oauth.discoveryRequest(new URL(ISSUER), { algorithm: "oauth2", ...options });
  const server = await oauth.processDiscoveryResponse(new URL(ISSUER), found);
  const shop = { client_id: "shop" };
  const exchange = async (key, parameters) => {
    const answer = await oauth.genericTokenEndpointRequest(
      server, shop, oauth.ClientSecretBasic(key), GRANT, new URLSearchParams(parameters), options,
    );
    return oauth.processGenericTokenEndpointResponse(server, shop, answer);
  };
  const good = { subject_token: await subject(), subject_token_type: JWT, audience: "cs-ec" };
  await verify((await exchange(SHOP_KEY, good)).access_token, "ec");
  const admin = await subject({ roles: ["admin"] });
  for (const [parameters, error] of [
    [{ ...good, audience: "default" }, "invalid_target"],
    [{ ...good, subject_token: admin }, "unauthorized_client"],
    [{ ...good, scope: "read" }, "invalid_scope"],
    [{ ...good, subject_token_type: "x" }, "invalid_request"],
  ]) {
    await assert.rejects(exchange(SHOP_KEY, parameters), { error });
  }
  await assert.rejects(exchange(`${SHOP_KEY}x`, good), oauth.WWWAuthenticateChallengeError);
});
