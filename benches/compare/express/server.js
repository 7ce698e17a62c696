// A token endpoint on Express, signing as the support widget's page shows it: the secret goes in as a string.
import { createHash, timingSafeEqual } from "node:crypto";
import express from "express";
import jwt from "jsonwebtoken";

const { API_KEY, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const LIFETIME = 3600;

const digest = (text) => createHash("sha256").update(text).digest();
const expected = digest(`Bearer ${API_KEY}`);

const app = express();
app.use(express.json());

app.post("/token", (request, response) => {
  if (!timingSafeEqual(digest(request.get("authorization") ?? ""), expected)) {
    return response.status(401).json({ error: "invalid_client" });
  }
  const { userId, userEmail, userRoles, plan } = request.body;
  if (typeof userId !== "string") {
    return response.status(400).json({ error: "invalid_request" });
  }
  const token = jwt.sign({ tenantId: CLIENT_ID, userId, userEmail, userRoles, plan }, CLIENT_SECRET, {
    algorithm: "HS256",
    expiresIn: LIFETIME,
  });
  response.json({
    token,
    tokenType: "Bearer",
    expiresIn: LIFETIME,
    expiresAt: Math.floor(Date.now() / 1000) + LIFETIME,
    refreshAfter: LIFETIME * 0.9,
  });
});

app.listen(Number(PORT), "127.0.0.1");
