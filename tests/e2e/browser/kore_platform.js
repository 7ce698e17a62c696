/** A stand-in for the Kore platform: its two HTTP calls, its socket, and its documented rules for a JWT. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { WebSocketServer } from "ws";
import { parts, serve } from "./support.js";

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers": "content-type, authorization",
  "access-control-allow-methods": "GET, POST",
};
const LONGEST_WITH_JTI = 3_600;

/** What the platform saw: `grants` (verified claims), `refusals`, `sockets`. `expireOnce()` lets the next `rtm/start` say that
 * the platform's own token has expired. */
export async function startPlatform(t, { clientId, clientSecret }) {
  const platform = { grants: [], refusals: [], sockets: 0, expireOnce: () => (expired = true) };
  let expired = false;
  const seen = new Set();
  const sockets = new WebSocketServer({ noServer: true });
  t.after(() => sockets.close());

  const grant = ({ body }) => {
    const { assertion } = JSON.parse(body);
    try {
      const claims = verified(assertion, { clientId, clientSecret, seen });
      platform.grants.push(claims);
      const authorization = { accessToken: `platform-token-${platform.grants.length}`, token_type: "bearer" };
      return { headers: CORS, body: { authorization, userInfo: { id: "u-1", userId: "u-1", identity: claims.sub } } };
    } catch (error) {
      platform.refusals.push(error.message);
      return { status: 401, headers: CORS, body: { errors: [{ msg: error.message, code: 401 }] } };
    }
  };
  const startSession = ({ request }) => {
    if (expired) {
      expired = false;
      return { headers: CORS, body: { errors: [{ msg: "token expired", code: "TOKEN_EXPIRED" }] } };
    }
    if (!/^bearer platform-token-\d+$/.test(request.headers.authorization ?? ""))
      return { status: 401, headers: CORS, body: {} };
    return { headers: CORS, body: { url: `${platform.url.replace("http", "ws")}/rtm?sid=1` } };
  };
  platform.url = await serve(
    t,
    {
      "POST /api/oAuth/token/jwtgrant": grant,
      "POST /api/rtm/start": startSession,
      "*": ({ request }) => ({ status: request.method === "OPTIONS" ? 204 : 404, headers: CORS }),
    },
    (request, socket, head) => sockets.handleUpgrade(request, socket, head, () => (platform.sockets += 1)),
  );
  return platform;
}

/** The claims, if they keep to the rules of docs.kore.ai's page on the SDK's security; throws the platform's words otherwise. */
function verified(assertion, { clientId, clientSecret, seen }) {
  const refuse = (why) => {
    throw new Error(`error verifying the jwt: ${why}`);
  };
  if (typeof assertion !== "string" || assertion.split(".").length !== 3) refuse("jwt malformed");
  const [header, claims] = parts(assertion);
  const [head, payload, signature] = assertion.split(".");
  const algorithm = { HS256: "sha256", HS512: "sha512" }[header.alg] ?? refuse("invalid algorithm");
  const expected = createHmac(algorithm, clientSecret).update(`${head}.${payload}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) refuse("invalid signature");
  const now = Date.now() / 1000;
  if (header.typ !== "JWT") refuse("typ must be JWT");
  if (claims.iss !== clientId) refuse("unknown issuer");
  if (typeof claims.sub !== "string" || claims.sub === "") refuse("sub is required");
  if (claims.aud !== "https://idproxy.kore.com/authorize") refuse("invalid audience");
  if (!Number.isInteger(claims.iat) || claims.iat > now) refuse("invalid iat");
  if (!Number.isInteger(claims.exp) || claims.exp <= now) refuse("jwt expired");
  if (typeof claims.isAnonymous !== "boolean") refuse("isAnonymous must be a boolean");
  if (claims.jti !== undefined) {
    if (claims.exp - now > LONGEST_WITH_JTI) refuse('if "jti" claim "exp" must be <= 1 hour(s)');
    if (seen.has(claims.jti)) refuse("possibly a replay");
    seen.add(claims.jti);
  }
  return claims;
}
