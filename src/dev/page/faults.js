/** What goes wrong, each as a real request: no session, a stranger's page, a limit, an upstream that is down, a forged token. */

import { element, reported, watched } from "./exchange.js";

const TOKEN_URL = "/api/support/token";
const FRAME_PATIENCE = 4_000;

/** Makes the buttons. `page` gives the signed-in user's token, the configuration and the narration. */
export function offerFaults(page) {
  const place = document.getElementById("faults");
  for (const fault of faults(page)) {
    const button = element("button", `fault ${fault.tone ?? ""}`);
    button.type = "button";
    button.dataset.fault = fault.name;
    button.append(element("b", "", fault.title), " ", element("small", "", fault.outcome));
    button.addEventListener("click", async () => {
      button.setAttribute("aria-busy", "true");
      try {
        await fault.run();
      } catch (error) {
        page.narrate(error.message);
      } finally {
        button.removeAttribute("aria-busy");
      }
    });
    place.append(button);
  }
}

function faults(page) {
  return [
    { name: "no-session", title: "No session", outcome: "401 login_required", run: () => noSession(page) },
    {
      name: "stranger",
      title: "A stranger’s page asks",
      outcome: "403 origin_not_allowed",
      run: () => fromOrigin(page, "stranger"),
    },
    { name: "limit", title: "Too many requests", outcome: "429 rate_limited", run: () => untilLimited(page) },
    { name: "upstream", title: "Your app is down", outcome: "503 session_unavailable", run: () => upstreamDown(page) },
    { name: "tampered", title: "A forged token", outcome: "401 from the gateway", run: () => tampered(page) },
    {
      name: "partner",
      title: "A listed page asks",
      outcome: "200, from another origin",
      tone: "fine",
      run: () => fromOrigin(page, "partner"),
    },
  ];
}

const askWith = (label, explanation) => watched({ kind: "token", label, explanation });

async function noSession(page) {
  page.narrate("A request without the session cookie.");
  const ask = askWith(
    "A token request without a session",
    "Your app was asked and knew of no session. A 401 is final: @signet/browser retries nothing and calls onLoginRequired.",
  );
  await ask(TOKEN_URL, { method: "POST", credentials: "omit" });
}

async function untilLimited(page) {
  page.needUser();
  page.narrate("The same user asks again and again, until signet has had enough.");
  const ask = askWith(
    "One token after another",
    "The limit is per user, so nobody else notices. Retry-After says when to come back, and @signet/browser waits that long, in all tabs. Send a message and see.",
  );
  for (let turn = 0; turn < 25; turn += 1) {
    const { status } = await ask(TOKEN_URL, { method: "POST", credentials: "include" });
    if (status !== 200) return;
  }
}

async function upstreamDown(page) {
  page.needUser();
  page.narrate("Your app answers signet with an error.");
  const ask = askWith(
    "A token request while your app is down",
    "Nobody knows whether the session is good, so this is no 401: the user stays signed in, and the widget comes back after Retry-After.",
  );
  await page.setFault("upstream-down");
  try {
    await ask(TOKEN_URL, { method: "POST", credentials: "include" });
  } finally {
    await page.setFault("none");
  }
}

async function tampered(page) {
  page.needUser();
  const [header, payload, signature] = (await page.token()).split(".");
  const claims = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
  const forged = btoa(JSON.stringify({ ...claims, userRoles: ["admin"], exp: claims.exp + 86_400 }));
  const token = [header, forged.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""), signature].join(".");
  page.narrate("The claims now say “admin, good until tomorrow”, under the old signature.");
  const send = watched({
    kind: "gateway",
    label: "A message with a forged token",
    explanation:
      "The signature belongs to other bytes. Without the secret nobody can make one that fits, and the secret never leaves signet and the platform.",
  });
  await send("/gateway/messages", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    credentials: "omit",
    body: JSON.stringify({ text: "let me in" }),
  });
}

/** Lets a page of another origin, in a frame of no size, ask for a token with the user's cookies. */
async function fromOrigin(page, name) {
  const origin = page.config.origins[name];
  page.narrate(`A page from ${origin} asks for a token with this browser's cookies.`);
  const frame = await openFrame(name, origin);
  const answer = new Promise((resolve) => {
    const listen = (event) => {
      if (event.origin !== origin || event.source !== frame.contentWindow || !event.data.exchange) return;
      removeEventListener("message", listen);
      resolve(event.data.exchange);
    };
    addEventListener("message", listen);
  });
  frame.contentWindow.postMessage({ ask: new URL(TOKEN_URL, location.href).href }, origin);
  const exchange = await answer;
  const explanation =
    name === "stranger"
      ? "Its origin isn’t listed, so signet refused before it looked at the session, and without CORS headers the browser shows that page nothing at all. " +
        `To see the 403: curl -sk -X POST -H 'Origin: ${origin}' ${location.origin}${TOKEN_URL}`
      : "Its origin is listed, so the answer names it in Access-Control-Allow-Origin, and that page may read it.";
  reported({ kind: "token", label: `A token request from ${new URL(origin).host}`, explanation, ...exchange });
}

function openFrame(name, origin) {
  const open = document.getElementById(`frame-${name}`);
  if (open) return Promise.resolve(open);
  const frame = element("iframe", "unseen");
  frame.id = `frame-${name}`;
  frame.title = `A page of ${origin}`;
  frame.tabIndex = -1;
  frame.src = `${origin}/partner.html`;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      frame.remove();
      reject(
        new Error(
          `This browser doesn't trust ${origin} yet: open it once in a tab, accept its certificate, and press again.`,
        ),
      );
    }, FRAME_PATIENCE);
    addEventListener("message", function ready(event) {
      if (event.origin !== origin || event.source !== frame.contentWindow || !event.data.ready) return;
      removeEventListener("message", ready);
      clearTimeout(timer);
      resolve(frame);
    });
    document.body.append(frame);
  });
}
