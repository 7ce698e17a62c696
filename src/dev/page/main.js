/** The page's own story: who is signed in, the widget at work, and the tour through it all. */

import { createTokenSource } from "./signet.js";
import { clearConversation, say, SupportWidget } from "./chat.js";
import { onExchange, watched } from "./exchange.js";
import { offerFaults } from "./faults.js";
import { caughtUp, followExchange } from "./flow.js";
import { showToken, whenExpired } from "./token.js";

const USERS = [
  { id: "ada", name: "Ada" },
  { id: "grace", name: "Grace" },
  { id: "linus", name: "Linus" },
];

/** How long the tour lets an expired token be looked at, in milliseconds. */
const LOOK = 2_000;

const narration = document.getElementById("narration");
const composer = document.getElementById("composer");
const ahead = document.getElementById("ahead");
const tour = document.getElementById("tour");
const users = document.getElementById("users");
const logout = document.getElementById("logout");

const config = await (await fetch("/demo/config")).json();
document.getElementById("tenant").textContent = config.tenantId;

let user;
let widget;
let tokens;

function narrate(text) {
  narration.textContent = text;
}

// ---- tokens: this is all that a page has to do -------------------------------------------------

function openTokens() {
  tokens?.close();
  tokens = createTokenSource({
    url: "/api/support/token",
    renewAhead: ahead.checked,
    onToken: (token) => {
      if (ahead.checked) {
        widget?.updateJwt(token);
        narrate("Renewed ahead of the end. The widget has the new token before it needs it.");
      }
      showToken(token);
    },
    onLoginRequired: () => {
      showToken();
      setUser();
      narrate("There is no session. A page would show its log-in now.");
    },
    fetch: watched({ kind: "token", label: "A token, please" }),
  });
}

async function send(text) {
  say("user", text);
  try {
    widget ??= new SupportWidget({ jwt: await tokens.token(), onTokenRefresh: refresh });
    say("platform", await widget.send(text));
    return true;
  } catch (error) {
    say("note", error.kind === "login_required" ? "Your session is over: sign in." : error.message);
    return false;
  }
}

async function refresh() {
  say("note", "The gateway said 401. Asking for a new token…");
  narrate("401: the token has expired. The widget calls onTokenRefresh, once.");
  const token = await tokens.onTokenRefresh();
  say("note", "Got one. Sending the same message again.");
  return token;
}

// ---- who is signed in ---------------------------------------------------------------------------

function needUser() {
  if (!user) throw new Error("Sign in first: the session says who the token is for.");
}

function setUser(next) {
  user = next;
  for (const button of users.children) button.setAttribute("aria-pressed", String(button.dataset.user === user));
  logout.disabled = !user;
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
}

function startAnew() {
  tokens.forget(); // another user's token must not be used under this session
  widget = undefined;
  showToken();
}

async function signIn(id) {
  if (id === user) return;
  await post("/demo/login", { user: id });
  if (user !== id) clearConversation();
  startAnew();
  setUser(id);
  narrate(`Signed in as ${nameOf(id)}. The session is a cookie that no script can read. Send a message.`);
}

async function signOut() {
  await post("/demo/logout", {});
  startAnew();
  setUser();
  narrate("Signed out. A message now ends at step 3: your app knows of no session.");
}

const nameOf = (id) => USERS.find((each) => each.id === id)?.name ?? id;

for (const { id, name } of USERS) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.user = id;
  button.textContent = name;
  button.addEventListener("click", () => attempt(() => signIn(id)));
  users.append(button);
}
logout.addEventListener("click", () => attempt(signOut));

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    narrate(error.message);
  }
}

// ---- the tour -----------------------------------------------------------------------------------

let playing = false;

async function playTour() {
  if (playing) return;
  playing = true;
  tour.disabled = true;
  try {
    if (ahead.checked) ahead.click();
    if (!user) await signIn("ada");
    startAnew();
    narrate("First message: the widget has no token, so it asks signet for one.");
    await send("Hello! Is anybody there?");
    await caughtUp();
    narrate(
      `The message went through. Now watch the token run out: it lives about ${config.ttl} seconds here, an hour at most in production.`,
    );
    await new Promise((resolve) => (expired = resolve));
    narrate("It has expired. The next message meets a 401…");
    await new Promise((resolve) => setTimeout(resolve, LOOK));
    await send("And now, with an expired token?");
    await caughtUp();
    narrate(
      "…the widget asked for a new token once, sent the message once more, and the user saw nothing of it. That is all.",
    );
  } finally {
    playing = false;
    tour.disabled = false;
  }
}

let expired = () => {};
whenExpired(() => {
  expired();
  if (!playing)
    narrate(
      "The token has expired. Send a message: the gateway will refuse it, and the widget will ask for a new one.",
    );
});

// ---- wiring -------------------------------------------------------------------------------------

tour.addEventListener("click", () => attempt(playTour));
ahead.addEventListener("change", () => {
  openTokens();
  widget = undefined;
  showToken();
  narrate(
    ahead.checked
      ? "From now on the token is renewed at nine tenths of its life. Send a message to start."
      : "Nothing is renewed ahead. Send a message, wait for the end, and send another.",
  );
});
composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = composer.message.value.trim();
  if (!text) return;
  composer.message.value = "";
  attempt(() => send(text));
});

onExchange(followExchange);
onExchange(({ done, status, explanation }) => {
  if (done && explanation && status !== 200) narrate(explanation);
});
openTokens();
offerFaults({
  config,
  narrate,
  needUser,
  token: () => tokens.token(),
  setFault: (fault) => post("/demo/fault", { fault }),
});

const session = await fetch("/demo/session");
setUser(session.ok ? (await session.json()).user.login : undefined);
if (user) narrate(`Still signed in as ${nameOf(user)}. Send a message, or play the story.`);
document.body.dataset.ready = "yes"; // for tests: the page listens
