// Centrifugo's own client with the recipe's token: it asks for one, connects with it, and renews it ahead of time.
//
// The server is a stand-in that speaks the JSON protocol of the client and verifies the token as Centrifugo's
// documentation says (HS256 by `hmac_secret_key`, `exp` for a client that is to refresh): Centrifugo's own
// program is neither in Debian nor on npm or PyPI. So the client is tried here, and the claims as they are
// documented; the real server isn't.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Centrifuge, UnauthorizedError } from "centrifuge";
import jwt from "jsonwebtoken";
import { WebSocket, WebSocketServer } from "ws";

const env = process.env;
const TOKEN_EXPIRED = { code: 109, message: "token expired", temporary: true };
const INVALID_TOKEN = 3500;

const session = () =>
  jwt.sign({}, env.SESSION_SECRET, {
    algorithm: "HS256",
    issuer: "https://login.example.com",
    audience: "https://app.example.com",
    subject: "usr_1",
    expiresIn: "5m",
  });

// The page of docs/integrations/centrifugo.md, with a bearer session in place of a cookie.
const pageOf = (url, session) =>
  new Centrifuge(url, {
    websocket: WebSocket,
    getToken: async () => {
      const response = await fetch(`${env.SIGNET_URL}/apps/centrifugo/token`, {
        method: "POST",
        headers: session ? { authorization: `Bearer ${session}` } : {},
      });
      if (response.status === 401 || response.status === 403) throw new UnauthorizedError();
      if (!response.ok) throw new Error(`no token: ${response.status}`);
      return (await response.json()).token;
    },
  });

// `secret` is what the server verifies with; `refuse` says which tokens, counted from 1, have expired.
async function standIn({ secret = env.CENTRIFUGO_SECRET, refuse = () => false } = {}) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const seen = [];
  server.on("connection", (socket) => {
    const verify = (id, command, token) => {
      let claims;
      try {
        claims = jwt.verify(token, secret, { algorithms: ["HS256"] });
        assert.equal(typeof claims.sub, "string");
        assert.equal(typeof claims.exp, "number");
      } catch {
        socket.close(INVALID_TOKEN, "invalid token");
        return;
      }
      seen.push({ command, token, claims });
      const reply = refuse(seen.length)
        ? { id, error: TOKEN_EXPIRED }
        // It lets the client renew after a second, where Centrifugo would name the seconds to `exp`.
        : { id, [command]: { client: "c-1", version: "0.0.0", expires: true, ttl: 1 } };
      socket.send(JSON.stringify(reply));
    };
    socket.on("message", (frame) => {
      for (const line of frame.toString().split("\n").filter(Boolean)) {
        const { id, connect, refresh } = JSON.parse(line);
        if (connect) verify(id, "connect", connect.token);
        if (refresh) verify(id, "refresh", refresh.token);
      }
    });
  });
  return { seen, server, url: `ws://127.0.0.1:${server.address().port}` };
}

async function until(condition) {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, "it never came to that");
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

async function withPage(options, session, body) {
  const { seen, server, url } = await standIn(options);
  const page = pageOf(url, session);
  try {
    await body(page, seen);
  } finally {
    page.disconnect();
    server.clients.forEach((socket) => socket.terminate());
    server.close();
  }
}

test("Centrifugo's client connects with the token and renews it ahead of time", async () => {
  await withPage({}, session(), async (page, seen) => {
    page.connect();
    await page.ready(10_000);
    await until(() => seen.length === 3);
    assert.deepEqual(seen.map(({ command }) => command), ["connect", "refresh", "refresh"]);
    for (const { claims } of seen) {
      assert.deepEqual(Object.keys(claims).sort(), ["exp", "iat", "info", "sub"]);
      assert.equal(claims.sub, "usr_1");
    }
    assert.notEqual(seen[0].token, seen[2].token);
    assert.equal(page.state, "connected");
  });
});

test("Centrifugo's client asks for another token when the server calls one expired", async () => {
  await withPage({ refuse: (count) => count === 1 }, session(), async (page, seen) => {
    page.connect();
    await page.ready(10_000);
    assert.deepEqual(seen.slice(0, 2).map(({ command }) => command), ["connect", "connect"]);
  });
});

test("Centrifugo's client stops for good without a session", async () => {
  await withPage({}, null, async (page, seen) => {
    const stopped = new Promise((resolve) => page.on("disconnected", resolve));
    page.connect();
    assert.equal((await stopped).reason, "unauthorized");
    assert.deepEqual(seen, []);
  });
});

test("the stand-in refuses what another secret signed", async () => {
  await withPage({ secret: "x".repeat(43) }, session(), async (page, seen) => {
    const stopped = new Promise((resolve) => page.on("disconnected", resolve));
    page.connect();
    assert.equal((await stopped).code, INVALID_TOKEN);
    assert.deepEqual(seen, []);
  });
});
