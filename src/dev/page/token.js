/** The token taken apart: three parts in three colours, every claim explained, and the time that is left. */

import { element } from "./exchange.js";

const card = document.querySelector(".card.token");
const sub = document.getElementById("token-sub");
const left = document.getElementById("left");
const ring = document.querySelector(".countdown .left");
const encoded = document.getElementById("encoded");
const list = document.getElementById("claims");

const MEANING = {
  alg: "how it is signed; the gateway takes nothing else",
  typ: "what it is",
  tenantId: "which customer of the platform: the ID that came with the secret",
  userId: "who the user is, by your app’s word",
  userEmail: "how to reach them",
  userRoles: "what they may do there",
  plan: "what they pay for",
  iat: "issued at; a few seconds back, for gateways whose clock is behind",
  exp: "good until then, to the second",
};

let shown; // { token, issuedAt, expiresAt } by this machine's clock
let onExpired = () => {};

/** Calls `listener` once per token, when it has expired on screen. */
export function whenExpired(listener) {
  onExpired = listener;
}

/** Puts a token on show, or none. */
export function showToken(token) {
  if (token === shown?.token) return;
  shown = undefined;
  encoded.replaceChildren();
  list.replaceChildren();
  if (!token) {
    sub.textContent = "None. Send a message and the widget will ask for one.";
    tick();
    return;
  }
  const parts = token.split(".");
  const [header, claims] = parts.slice(0, 2).map(decoded);
  shown = { token, since: Date.now() / 1000, expiresAt: claims.exp, expired: false };
  ["header", "payload", "signature"].forEach((name, index) => {
    if (index > 0) encoded.append(".");
    encoded.append(element("span", name, parts[index]));
  });
  group("header", "Header", header);
  group("payload", "Claims", claims);
  group("signature", "Signature", { "HMAC-SHA256": "of the two parts above, with the secret" }, false);
  card.dataset.fresh = "";
  void card.offsetWidth; // starts the animation anew
  card.dataset.fresh = "yes";
  tick();
}

function decoded(part) {
  const base64 = part.replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))));
}

function group(className, title, members, json = true) {
  list.append(element("dt", `title ${className}`, title));
  for (const [name, value] of Object.entries(members)) {
    const row = element("div", className);
    const term = element("dt", "", name);
    const text = element("dd", "value", json ? JSON.stringify(value) : value);
    const meaning = element("dd", "meaning", MEANING[name] ?? "");
    if (name === "iat" || name === "exp")
      meaning.prepend(element("time", "", new Date(value * 1000).toLocaleTimeString()), " · ");
    row.append(term, text, meaning);
    list.append(row);
  }
}

function tick() {
  if (!shown) {
    card.dataset.state = "none";
    left.textContent = "–";
    ring.style.strokeDashoffset = 100;
    return;
  }
  const now = Date.now() / 1000;
  const remaining = Math.max(shown.expiresAt - now, 0);
  const life = Math.max(shown.expiresAt - shown.since, 1);
  left.textContent = remaining > 0 ? `${Math.ceil(remaining)} s` : "0 s";
  ring.style.strokeDashoffset = 100 - (100 * remaining) / life;
  card.dataset.state = remaining === 0 ? "expired" : remaining < 5 ? "ending" : "good";
  sub.textContent =
    remaining === 0
      ? "Expired. The gateway refuses it, and the widget will ask for another."
      : "Held in memory only, by this page.";
  if (remaining === 0 && !shown.expired) {
    shown.expired = true;
    onExpired();
  }
}

setInterval(tick, 200);
