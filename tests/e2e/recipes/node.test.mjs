// The platforms' own libraries with the tokens of the recipes.
import assert from "node:assert/strict";
import { test } from "node:test";
import Ably from "ably";
import jwt from "jsonwebtoken";
import { TokenVerifier } from "livekit-server-sdk";
import { StreamChat } from "stream-chat";
import twilio from "twilio";

const env = process.env;

async function issued(request) {
  const response = await fetch(`${env.SIGNET_URL}/token`, {
    method: "POST",
    headers: { authorization: `Bearer ${env.SHOP_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ userId: "usr_1", ...request }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

test("LiveKit's server library verifies the token, with its grants", async () => {
  const { participant_token, server_url } = await issued({ app: "livekit", attributes: { room: "standup", name: "Zoë" } });
  assert.match(server_url, /^wss:/);
  const claims = await new TokenVerifier("APIabc123", env.LIVEKIT_SECRET).verify(participant_token);
  assert.equal(claims.sub, "usr_1");
  assert.equal(claims.name, "Zoë");
  assert.equal(claims.video.room, "standup");
  assert.equal(claims.video.roomJoin, true);
});

test("Stream's library signs the same token and takes ours for its user", async () => {
  const { token } = await issued({ app: "stream" });
  const claims = jwt.verify(token, env.STREAM_SECRET, { algorithms: ["HS256"] });
  const own = new StreamChat("abcd1234efgh", env.STREAM_SECRET).createToken("usr_1", claims.exp, claims.iat);
  assert.deepEqual(jwt.decode(own), claims);
  const page = new StreamChat("abcd1234efgh");
  await page.tokenManager.setTokenOrProvider(token, { id: "usr_1" });
  assert.equal(page.tokenManager.getToken(), token);
  await assert.rejects(page.tokenManager.setTokenOrProvider(token, { id: "usr_2" }), /not matching/);
});

test("Twilio's library signs a token with the same header and claims", async () => {
  const { token } = await issued({ app: "twilio" });
  const { header, payload } = jwt.verify(token, env.TWILIO_SECRET, { algorithms: ["HS256"], complete: true });
  const { AccessToken } = twilio.jwt;
  const own = new AccessToken(payload.sub, payload.iss, env.TWILIO_SECRET, {
    identity: "usr_1",
    ttl: payload.exp - payload.iat,
    nbf: payload.nbf,
  });
  own.addGrant(new AccessToken.ChatGrant({ serviceSid: payload.grants.chat.service_sid }));
  const sample = jwt.decode(own.toJwt(), { complete: true });
  assert.deepEqual(header, sample.header);
  const without = ({ iat, exp, jti, ...claims }) => claims;
  assert.deepEqual(without(payload), without(sample.payload));
  assert.ok(payload.jti.startsWith(`${payload.iss}-`));
});

test("Ably's client fetches the token by `authUrl` and reads it", async () => {
  const session = jwt.sign({}, env.SESSION_SECRET, {
    algorithm: "HS256",
    issuer: "https://login.example.com",
    audience: "https://app.example.com",
    subject: "usr_1",
    expiresIn: "5m",
  });
  const client = new Ably.Rest({
    authUrl: `${env.SIGNET_URL}/apps/ably/token`,
    authHeaders: { accept: "application/jwt", authorization: `Bearer ${session}` },
  });
  const { token } = await client.auth.requestToken();
  const { header, payload } = jwt.verify(token, env.ABLY_SECRET, { algorithms: ["HS256"], complete: true });
  assert.equal(header.kid, "xVLyHw.Ab12cD");
  assert.equal(payload["x-ably-clientId"], "usr_1");
  assert.deepEqual(JSON.parse(payload["x-ably-capability"]).announcements, ["subscribe"]);
});
