// Tokens verified by `jsonwebtoken` and `jose`, and compared with what the widget's published Node sample signs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as jose from "jose";
import jwt from "jsonwebtoken";

const { SIGNET_URL, SIGNET_CLIENT_ID, SIGNET_CLIENT_SECRET, SIGNET_API_KEY } = process.env;
const key = new TextEncoder().encode(SIGNET_CLIENT_SECRET);
const users = JSON.parse(readFileSync(new URL("users.json", import.meta.url)));

async function tokenFor(user) {
  const response = await fetch(`${SIGNET_URL}/token`, {
    method: "POST",
    headers: { authorization: `Bearer ${SIGNET_API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify(user),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text).token;
}

// The sample of the support widget's documentation, for one of its users.
function sampleFor(user) {
  const payload = { tenantId: SIGNET_CLIENT_ID, ...user };
  return jwt.sign(payload, SIGNET_CLIENT_SECRET, { algorithm: "HS256", expiresIn: "1h" });
}

const withoutTimes = ({ iat, exp, ...claims }) => claims;

for (const { what, ...user } of users) {
  test(`jsonwebtoken and jose accept ${what}, as the sample signs it`, async () => {
    const token = await tokenFor(user);
    const sample = jwt.decode(sampleFor(user), { complete: true });

    const seen = jwt.verify(token, SIGNET_CLIENT_SECRET, {
      algorithms: ["HS256"],
      clockTolerance: 0,
      complete: true,
    });
    assert.deepEqual(seen.header, sample.header);
    assert.deepEqual(withoutTimes(seen.payload), withoutTimes(sample.payload));
    const { iat, exp } = seen.payload;
    assert.ok(Number.isInteger(iat) && Number.isInteger(exp), "times are whole seconds");
    assert.equal(exp - iat, sample.payload.exp - sample.payload.iat);
    assert.ok(iat <= Math.floor(Date.now() / 1000), "a verifier without leeway finds iat in the past");

    const again = await jose.jwtVerify(token, key, {
      algorithms: ["HS256"],
      typ: "JWT",
      clockTolerance: 0,
      maxTokenAge: "1h",
      requiredClaims: ["tenantId", "userId", "iat", "exp"],
    });
    assert.deepEqual({ ...again.protectedHeader }, sample.header);
    assert.deepEqual(withoutTimes(again.payload), withoutTimes(sample.payload));
  });
}

test("neither library accepts a token under another secret, another algorithm, or with a changed claim", async () => {
  const token = await tokenFor({ userId: "usr_5" });
  const other = `${SIGNET_CLIENT_SECRET.slice(1)}x`;
  const [header, , signature] = token.split(".");
  const claims = { ...jwt.decode(token), userId: "usr_6" };
  const changed = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.${signature}`;

  const pinned = { algorithms: ["HS256"] };
  assert.throws(() => jwt.verify(token, other, pinned), /invalid signature/);
  assert.throws(() => jwt.verify(changed, SIGNET_CLIENT_SECRET, pinned), /invalid signature/);
  assert.throws(() => jwt.verify(token, SIGNET_CLIENT_SECRET, { algorithms: ["HS512"] }), /invalid algorithm/);
  const refused = { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" };
  await assert.rejects(jose.jwtVerify(token, new TextEncoder().encode(other), pinned), refused);
  await assert.rejects(jose.jwtVerify(changed, key, pinned), refused);
  await assert.rejects(jose.jwtVerify(token, key, { algorithms: ["HS512"] }), { code: "ERR_JOSE_ALG_NOT_ALLOWED" });
});
