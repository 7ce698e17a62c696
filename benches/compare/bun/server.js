// A token endpoint on Bun alone: its own server, its own HMAC.
import { timingSafeEqual } from "node:crypto";

const { API_KEY, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const LIFETIME = 3600;

const digest = (text) => new Bun.CryptoHasher("sha256").update(text).digest();
const expected = digest(`Bearer ${API_KEY}`);
const header = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString("base64url");

const sign = (claims) => {
  const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
  return `${signed}.${new Bun.CryptoHasher("sha256", CLIENT_SECRET).update(signed).digest("base64url")}`;
};

const token = async (request) => {
  if (!timingSafeEqual(digest(request.headers.get("authorization") ?? ""), expected)) {
    return Response.json({ error: "invalid_client" }, { status: 401 });
  }
  const { userId, userEmail, userRoles, plan } = await request.json();
  if (typeof userId !== "string") {
    return Response.json({ error: "invalid_request" }, { status: 400 });
  }
  const iat = Math.floor(Date.now() / 1000);
  const exp = iat + LIFETIME;
  return Response.json({
    token: sign({ tenantId: CLIENT_ID, userId, userEmail, userRoles, plan, iat, exp }),
    tokenType: "Bearer",
    expiresIn: LIFETIME,
    expiresAt: exp,
    refreshAfter: LIFETIME * 0.9,
  });
};

Bun.serve({ port: Number(PORT), hostname: "127.0.0.1", routes: { "/token": { POST: token } } });
