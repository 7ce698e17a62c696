/** One page: what a source gives, when it asks, and how it fails. */

import test from "node:test";
import assert from "node:assert/strict";
import { createTokenSource, koreJwtAssertion, TokenError } from "../signet.js";
import { breathe, endpoint, granted, jwt, pass, passUntil, problem, standStill } from "./support.js";

function source(t, url, options = {}) {
  const made = createTokenSource({ url, ...options });
  t.after(() => made.close());
  return made;
}

async function failure(promise) {
  const error = await promise.then(
    (value) => assert.fail(`resolved to ${value}`),
    (reason) => reason,
  );
  assert.ok(error instanceof TokenError, `${error}`);
  return error;
}

/** The promise's outcome, while the clock goes on. */
async function whilePassing(promise, step) {
  let settled = false;
  const watched = promise.finally(() => (settled = true));
  watched.catch(() => {});
  await passUntil(() => settled, step);
  return watched;
}

test("asks with the cookies and without anything that costs a preflight", async (t) => {
  let init;
  const { url, requests } = await endpoint(t, granted("t1"));
  const spy = (address, given) => fetch(address, (init = given));
  assert.equal(await source(t, url, { fetch: spy }).token(), "t1");
  assert.equal(requests[0].method, "POST");
  assert.equal(requests[0].headers["content-type"], undefined);
  assert.equal(init.credentials, "include");
  assert.equal(init.cache, "no-store");
  assert.deepEqual(Object.keys(init.headers), ["accept"]);
});

test("asks by GET and with headers of the page when told to", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"));
  const headers = async () => ({ authorization: "Bearer session" });
  await source(t, url, { method: "GET", headers }).token();
  assert.equal(requests[0].method, "GET");
  assert.equal(requests[0].headers.authorization, "Bearer session");
});

for (const member of ["token", "jwt", "access_token"]) {
  test(`takes the token from an answer's ${member}`, async (t) => {
    const { url } = await endpoint(t, { body: { [member]: "t1", expires_in: 60 } });
    assert.equal(await source(t, url).token(), "t1");
  });
}

test("takes the token from the member that the page names, and from no other", async (t) => {
  const { url } = await endpoint(t, { body: { pass: "t1", token: "other" } }, granted("t1"));
  const named = source(t, url, { member: "pass" });
  assert.equal(await named.token(), "t1");
  assert.equal((await failure(named.onTokenRefresh())).kind, "bad_answer");
});

test("keeps a token until its refresh and then renews it ahead", async (t) => {
  standStill(t);
  const { url, requests, asked } = await endpoint(t, granted("t1"), granted("t2"));
  const given = [];
  const tokens = source(t, url, { onToken: (token) => given.push(token) });
  assert.equal(await tokens.token(), "t1");
  await pass(3_239_000, 60_000);
  assert.equal(await tokens.token(), "t1");
  assert.equal(requests.length, 1);
  await pass(1_000);
  await asked(2);
  await passUntil(() => given.length === 2);
  assert.deepEqual(given, ["t1", "t2"]);
  assert.equal(await tokens.token(), "t2");
  assert.equal(requests.length, 2);
});

test("gives a widget the token that was renewed ahead, without asking again", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, granted("t1"), granted("t2"), granted("t3"));
  const given = [];
  const tokens = source(t, url, { onToken: (token) => given.push(token) });
  await tokens.token();
  await pass(3_240_000, 60_000);
  await passUntil(() => given.length === 2);
  assert.equal(await tokens.onTokenRefresh(), "t2");
  assert.equal(requests.length, 2);
  await pass(3_000);
  assert.equal(await tokens.onTokenRefresh(), "t3", "t2 was refused too");
});

test("does not renew ahead when told not to, and asks again at the end", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, granted("t1"), granted("t2"));
  const tokens = source(t, url, { renewAhead: false });
  await tokens.token();
  await pass(3_590_000, 60_000);
  assert.equal(await tokens.token(), "t1");
  await breathe();
  assert.equal(requests.length, 1);
  await pass(6_000);
  assert.equal(await tokens.token(), "t2");
  assert.equal(requests.length, 2);
});

test("gives the same fresh token to requests that were refused together", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"), granted("t2"), granted("t3"));
  const tokens = source(t, url);
  assert.equal(await tokens.token(), "t1");
  const together = await Promise.all([tokens.onTokenRefresh(), tokens.onTokenRefresh(), tokens.onTokenRefresh()]);
  assert.deepEqual(together, ["t2", "t2", "t2"]);
  assert.equal(await tokens.onTokenRefresh(), "t2", "the straggler");
  assert.equal(requests.length, 2);
});

test("asks once for many callers", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"));
  const tokens = source(t, url);
  const all = await Promise.all(Array.from({ length: 100 }, () => tokens.token()));
  assert.deepEqual(new Set(all), new Set(["t1"]));
  assert.equal(requests.length, 1);
});

test("gives every caller a token of its own when tokens are one-time", async (t) => {
  let count = 0;
  const answer = () => ({
    body: { jwt: jwt({ sub: "usr_1", jti: `id${(count += 1)}`, iat: 100, exp: 3700 }), expiresIn: 3600 },
  });
  const { url, requests } = await endpoint(t, answer);
  const given = [];
  const tokens = source(t, url, { onToken: (token) => given.push(token) });
  const all = await Promise.all([tokens.token(), tokens.token(), tokens.onTokenRefresh(), tokens.token()]);
  all.push(await tokens.token(), await tokens.onTokenRefresh());
  assert.equal(new Set(all).size, 6);
  assert.equal(requests.length, 6);
  assert.deepEqual(given, []);
});

test("takes an OAuth access token with a jti for reusable, and what the page says before that", async (t) => {
  const token = jwt({ sub: "usr_1", jti: "id1", iat: 100, exp: 3700 });
  const { url, requests } = await endpoint(t, { body: { access_token: token, expires_in: 3600 } });
  const tokens = source(t, url);
  await tokens.token();
  await tokens.token();
  assert.equal(requests.length, 1);
  const once = source(t, url, { oneTime: true });
  await once.token();
  await once.token();
  assert.equal(requests.length, 3);
});

test("reads a lifetime from the token when the answer has none", async (t) => {
  standStill(t);
  const token = jwt({ userId: "usr_1", iat: 1_000_000, exp: 1_000_060 }); // a clock far from the browser's
  const { url, requests } = await endpoint(t, { body: { token } });
  const tokens = source(t, url, { renewAhead: false });
  await tokens.token();
  await pass(50_000);
  await tokens.token();
  assert.equal(requests.length, 1);
  await pass(6_000);
  await tokens.token();
  assert.equal(requests.length, 2);
});

test("keeps no token that says nothing of its end", async (t) => {
  const { url, requests } = await endpoint(t, { body: { token: "opaque" } });
  const tokens = source(t, url);
  assert.equal(await tokens.token(), "opaque");
  assert.equal(await tokens.token(), "opaque");
  assert.equal(requests.length, 2);
});

test("stops at 401 and says that a log-in is needed", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, granted("t1"), problem(401, "login_required"));
  const told = [];
  const tokens = source(t, url, { onLoginRequired: (error) => told.push(error) });
  await tokens.token();
  await pass(3_240_000, 60_000);
  await passUntil(() => told.length > 0);
  await pass(7_200_000, 60_000);
  assert.equal(requests.length, 2);
  assert.equal(told.length, 1);
  const { kind, status, code, detail, requestId, transient } = told[0];
  assert.deepEqual(
    { kind, status, code, detail, requestId, transient },
    {
      kind: "login_required",
      status: 401,
      code: "login_required",
      detail: "because of login_required",
      requestId: "req_1",
      transient: false,
    },
  );
});

test("drops a token that is still good with the session that it came from", async (t) => {
  const { url } = await endpoint(t, granted("t1"), problem(401, "login_required"));
  const tokens = source(t, url);
  await tokens.token();
  await failure(tokens.onTokenRefresh());
  assert.equal((await failure(tokens.token())).kind, "login_required");
});

test("says once that a log-in is needed, however many wait", async (t) => {
  const { url } = await endpoint(t, problem(401, "login_required"));
  const told = [];
  const tokens = source(t, url, { onLoginRequired: (error) => told.push(error) });
  const all = await Promise.all([1, 2, 3].map(() => failure(tokens.onTokenRefresh())));
  assert.deepEqual(
    all.map((error) => error.kind),
    ["login_required", "login_required", "login_required"],
  );
  await breathe();
  assert.equal(told.length, 1);
});

for (const status of [400, 403, 404, 405, 413, 415]) {
  test(`does not retry a ${status}`, async (t) => {
    const { url, requests } = await endpoint(
      t,
      problem(status, "some_code", {}, { errors: [{ detail: "d", msg: "m", code: status }] }),
    );
    const error = await failure(source(t, url).token());
    assert.equal(error.kind, "refused");
    assert.equal(error.code, "some_code");
    assert.equal(error.errors[0].msg, "m");
    assert.equal(requests.length, 1);
  });
}

for (const [name, answer] of [
  ["an empty answer", { body: "" }],
  ["an HTML page", { headers: { "content-type": "text/html" }, body: "<html>log in</html>" }],
  ["an object without a token", { body: { ok: true } }],
  ["an empty token", { body: { token: "" } }],
  ["a token that is no string", { body: { token: 7 } }],
  ["a bare string", { body: '"t1"' }],
  ["null", { body: "null" }],
  ["a redirect", { status: 302, headers: { location: "/login" }, body: "" }],
]) {
  test(`rejects for ${name}, never resolving to undefined`, async (t) => {
    const { url, requests } = await endpoint(t, answer);
    assert.equal((await failure(source(t, url).token())).kind, "bad_answer");
    assert.equal(requests.length, 1);
  });
}

test("backs off with jitter from failures that pass", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(
    t,
    { status: 500, body: "oops" },
    problem(503, "overloaded"),
    { status: 502, body: "" },
    granted("t1"),
  );
  assert.equal(await whilePassing(source(t, url).token()), "t1");
  assert.equal(requests.length, 4);
});

for (const [form, value] of [
  ["seconds", () => "7"],
  ["a date", () => new Date(Date.now() + 7_000).toUTCString()],
]) {
  test(`honours a Retry-After in ${form}`, async (t) => {
    standStill(t);
    let retryAt;
    const refusal = () => {
      retryAt = Date.now() + 7_000;
      return problem(429, "rate_limited", { "retry-after": value(), date: new Date(Date.now()).toUTCString() });
    };
    let secondAt;
    const { url } = await endpoint(t, refusal, () => ((secondAt = Date.now()), granted("t1")));
    assert.equal(await whilePassing(source(t, url).token()), "t1");
    assert.ok(secondAt >= retryAt, `${retryAt - secondAt} ms early`);
    assert.ok(secondAt < retryAt + 1_500, `${secondAt - retryAt} ms late`);
  });
}

test("reads a Retry-After date by the server's clock", async (t) => {
  standStill(t);
  const servers = Date.now() + 86_400_000;
  const date = new Date(servers).toUTCString();
  const later = new Date(servers + 120_000).toUTCString();
  const { url } = await endpoint(t, problem(503, "shutting_down", { date, "retry-after": later }));
  assert.equal((await failure(source(t, url).token())).retryAfter, 120);
});

test("gives up at once when Retry-After leaves no room, and asks nobody before it has passed", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, problem(429, "rate_limited", { "retry-after": "60" }), granted("t1"));
  const tokens = source(t, url);
  const first = await failure(tokens.token());
  assert.deepEqual([first.kind, first.retryAfter], ["unavailable", 60]);
  await pass(30_000);
  const second = await failure(tokens.token());
  assert.deepEqual([second.code, second.retryAfter], ["rate_limited", 30]);
  assert.equal(requests.length, 1);
  await pass(29_000);
  assert.equal(await whilePassing(tokens.token()), "t1", "waits for the last second");
  assert.equal(requests.length, 2);
});

test("gives up after maxWait with the last failure", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, problem(503, "session_unavailable"));
  const start = Date.now();
  const error = await failure(whilePassing(source(t, url, { maxWait: 5_000 }).token()));
  assert.equal(error.code, "session_unavailable");
  assert.ok(Date.now() - start <= 5_100);
  assert.ok(requests.length > 2 && requests.length < 12, `${requests.length} requests`);
});

test("ends a request that hangs, and retries it", async (t) => {
  standStill(t);
  const { url, asked, requests } = await endpoint(t, new Promise(() => {}), granted("t1"));
  const token = source(t, url, { timeout: 3_000 }).token();
  await asked(1);
  assert.equal(await whilePassing(token, 500), "t1");
  assert.equal(requests.length, 2);
});

test("says that nobody answered", async (t) => {
  standStill(t);
  const gone = source(t, "http://127.0.0.1:1/token", { maxWait: 0 });
  const error = await failure(whilePassing(gone.token()));
  assert.equal(error.kind, "unreachable");
  assert.equal(error.transient, true);
  const { url } = await endpoint(t, new Promise(() => {}));
  const hanging = source(t, url, { timeout: 1_000, maxWait: 0 });
  assert.equal((await failure(whilePassing(hanging.token(), 500))).kind, "timeout");
});

test("keeps the old token while a renewal fails, and goes on trying until it ends", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(
    t,
    granted("t1", { expiresIn: 600, refreshAfter: 300 }),
    problem(503, "overloaded"),
  );
  const told = [];
  const tokens = source(t, url, { onError: (error) => told.push(error.code) });
  await tokens.token();
  await pass(400_000, 500);
  assert.equal(await tokens.token(), "t1");
  assert.ok(told.length > 0);
  const before = requests.length;
  assert.ok(before > 2 && before < 20, `${before} requests`);
  await pass(300_000, 500);
  const atTheEnd = requests.length;
  await pass(3_600_000, 60_000);
  assert.equal(requests.length, atTheEnd, "nobody asks any more");
});

test("lets one caller leave and the others have their token", async (t) => {
  let answer;
  const { url, asked } = await endpoint(t, new Promise((resolve) => (answer = resolve)));
  const tokens = source(t, url);
  const leaver = new AbortController();
  const leaving = tokens.token({ signal: leaver.signal });
  const staying = tokens.token();
  await asked(1);
  leaver.abort("navigated away");
  const error = await failure(leaving);
  assert.deepEqual([error.kind, error.cause], ["aborted", "navigated away"]);
  answer(granted("t1"));
  assert.equal(await staying, "t1");
});

test("ends the request when its last caller has left", async (t) => {
  let closed;
  const gone = new Promise((resolve) => (closed = resolve));
  const { url, asked } = await endpoint(t, (request) => {
    request.socket.on("close", closed);
    return new Promise(() => {});
  });
  const leaver = new AbortController();
  const leaving = source(t, url).token({ signal: leaver.signal });
  await asked(1);
  leaver.abort();
  assert.equal((await failure(leaving)).kind, "aborted");
  await gone;
});

test("asks for nothing with a signal that is already aborted", async (t) => {
  const { url, requests } = await endpoint(t, granted("t1"));
  assert.equal((await failure(source(t, url).token({ signal: AbortSignal.abort() }))).kind, "aborted");
  assert.equal(requests.length, 0);
});

test("forgets the token, and the one under way, at a change of user", async (t) => {
  let answer;
  const held = new Promise((resolve) => (answer = resolve));
  const { url, asked } = await endpoint(t, granted("ada1"), held, granted("grace1"));
  const tokens = source(t, url);
  assert.equal(await tokens.token(), "ada1");
  const ada = tokens.onTokenRefresh();
  await asked(2);
  tokens.forget();
  answer(granted("ada2"));
  assert.equal((await failure(ada)).kind, "aborted");
  assert.equal(await tokens.token(), "grace1");
});

test("refuses every call once closed, and leaves no timer behind", async (t) => {
  standStill(t);
  const { url, requests } = await endpoint(t, granted("t1"));
  const tokens = source(t, url);
  await tokens.token();
  tokens.close();
  assert.equal((await failure(tokens.token())).kind, "closed");
  assert.equal((await failure(tokens.onTokenRefresh())).kind, "closed");
  tokens.forget();
  await pass(7_200_000, 60_000);
  assert.equal(requests.length, 1);
});

test("waits with a renewal while nobody looks at the page", async (t) => {
  standStill(t);
  const page = new EventTarget();
  page.visibilityState = "hidden";
  globalThis.document = page;
  t.after(() => delete globalThis.document);
  const { url, requests, asked } = await endpoint(t, granted("t1"));
  const tokens = source(t, url);
  await tokens.token();
  await pass(3_500_000, 60_000);
  assert.equal(requests.length, 1);
  page.visibilityState = "visible";
  page.dispatchEvent(new Event("visibilitychange"));
  await asked(2);
});

test("renews in the background for a hidden page that uses its token", async (t) => {
  standStill(t);
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  t.after(() => delete globalThis.document);
  const { url, asked } = await endpoint(t, granted("t1"));
  const tokens = source(t, url);
  await tokens.token();
  await pass(3_300_000, 60_000);
  assert.equal(await tokens.token(), "t1");
  await asked(2);
});

test("goes on with a renewal whose only waiting caller leaves", async (t) => {
  standStill(t);
  let answer;
  const { url, asked } = await endpoint(t, granted("t1"), new Promise((resolve) => (answer = resolve)));
  const given = [];
  const tokens = source(t, url, { onToken: (token) => given.push(token) });
  await tokens.token();
  await pass(3_240_000, 60_000);
  await asked(2);
  const leaver = new AbortController();
  const leaving = tokens.onTokenRefresh({ signal: leaver.signal });
  await breathe();
  leaver.abort();
  assert.equal((await failure(leaving)).kind, "aborted");
  answer(granted("t2"));
  await passUntil(() => given.length === 2, 0);
  assert.deepEqual(given, ["t1", "t2"]);
});

test("hands KoreBot its assertion as the SDK asks for it", async (t) => {
  const { url } = await endpoint(t, { body: { jwt: "j1" } }, problem(403, "identity_mismatch"));
  const tokens = source(t, url);
  const options = { clientId: "cs-1" };
  const given = await new Promise((resolve) => tokens.assertionFn(options, (...all) => resolve(all)));
  assert.deepEqual(given, [null, options]);
  assert.equal(options.assertion, "j1");
  const [error] = await new Promise((resolve) => tokens.assertionFn({}, (...all) => resolve(all)));
  assert.equal(error.code, "identity_mismatch");
});

test("sets the JWT of the Kore chat window before it commits, and never commits without one", async (t) => {
  const { url } = await endpoint(t, { body: { jwt: "j1" } }, problem(401, "login_required"));
  const calls = [];
  let told;
  const refused = new Promise((resolve) => (told = resolve));
  const assertion = koreJwtAssertion(source(t, url, { onLoginRequired: told }), () => ({
    setJWT: (token) => calls.push(token),
  }));
  await new Promise((resolve) => assertion(() => resolve(calls.push("commit"))));
  assertion(() => calls.push("commit"));
  await refused;
  assert.deepEqual(calls, ["j1", "commit"]);
});

test("writes nothing to the console and quotes no answer in an error", async (t) => {
  const said = [];
  for (const method of ["log", "info", "warn", "error", "debug"])
    t.mock.method(console, method, (...all) => said.push(all));
  const { url } = await endpoint(t, { body: '{"token":"eyJhbGciOi' }, { body: { id_token: "eyJhbGciOi" } });
  const tokens = source(t, url);
  for (let turn = 0; turn < 2; turn += 1) {
    const error = await failure(tokens.token());
    assert.doesNotMatch(`${error.stack} ${error.cause} ${JSON.stringify(error)}`, /eyJ/);
  }
  assert.deepEqual(said, []);
});

test("refuses options that cannot work", () => {
  assert.throws(() => createTokenSource({}), TypeError);
  assert.throws(() => createTokenSource({ url: "http://127.0.0.1/", method: "PUT" }), TypeError);
});
