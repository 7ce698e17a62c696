// A token endpoint on Fastify with fast-jwt, with schemas for what comes in and goes out, as Fastify wants them.
import { createHash, timingSafeEqual } from "node:crypto";
import { createSigner } from "fast-jwt";
import Fastify from "fastify";

const { API_KEY, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const LIFETIME = 3600;

const digest = (text) => createHash("sha256").update(text).digest();
const expected = digest(`Bearer ${API_KEY}`);
const sign = createSigner({ key: CLIENT_SECRET, algorithm: "HS256", expiresIn: LIFETIME * 1000 });

const string = { type: "string" };
const integer = { type: "integer" };
const schema = {
  body: {
    type: "object",
    required: ["userId"],
    properties: { userId: string, userEmail: string, userRoles: { type: "array", items: string }, plan: string },
  },
  response: {
    200: {
      type: "object",
      properties: { token: string, tokenType: string, expiresIn: integer, expiresAt: integer, refreshAfter: integer },
    },
  },
};

const app = Fastify();

app.post("/token", { schema }, async (request, reply) => {
  if (!timingSafeEqual(digest(request.headers.authorization ?? ""), expected)) {
    return reply.code(401).send({ error: "invalid_client" });
  }
  const { userId, userEmail, userRoles, plan } = request.body;
  return {
    token: sign({ tenantId: CLIENT_ID, userId, userEmail, userRoles, plan }),
    tokenType: "Bearer",
    expiresIn: LIFETIME,
    expiresAt: Math.floor(Date.now() / 1000) + LIFETIME,
    refreshAfter: LIFETIME * 0.9,
  };
});

await app.listen({ port: Number(PORT), host: "127.0.0.1" });
