/** The page's requests under a lens: what was sent, what came back, and the list of them all. */

const WORTH_SEEING = [
  "content-type",
  "retry-after",
  "ratelimit",
  "ratelimit-policy",
  "www-authenticate",
  "cache-control",
  "vary",
  "access-control-allow-origin",
  "x-request-id",
];
const KEPT = 40;

const list = document.getElementById("history");
const panel = document.getElementById("exchange");
const exchanges = new Map();
const listeners = [];
let count = 0;

/** Calls `listener(exchange)` when a request starts, and again when its answer has come. */
export function onExchange(listener) {
  listeners.push(listener);
}

/** `fetch`, watched. `about` says what the request is for: its `kind`, a `label`, an `explanation` of the answer. */
export function watched(about) {
  return async (url, init = {}) => {
    const exchange = {
      ...about,
      id: (count += 1),
      method: init.method ?? "GET",
      url: new URL(url, location.href),
      sent: sentHeaders(init),
      sentBody: typeof init.body === "string" ? init.body : undefined,
      start: performance.now(),
    };
    note(exchange);
    try {
      const response = await fetch(url, init);
      const { status, headers } = response;
      const body = await response.clone().text();
      finish(exchange, {
        status,
        received: WORTH_SEEING.flatMap((name) => (headers.has(name) ? [[name, headers.get(name)]] : [])),
        body,
      });
      return response;
    } catch (error) {
      finish(exchange, { failure: String(error) });
      throw error;
    }
  };
}

/** An exchange that another origin's page made, as it told of it. */
export function reported(exchange) {
  const complete = { ...exchange, id: (count += 1), url: new URL(exchange.url), ms: Math.round(exchange.ms) };
  note(complete);
  finish(complete, {});
}

function sentHeaders({ headers = {}, credentials, method = "GET" }) {
  const sent = Object.entries(headers).map(([name, value]) => [
    name,
    name === "authorization" ? shortened(value) : value,
  ]);
  if (method !== "GET") sent.push(["origin", location.origin]);
  if (credentials !== "omit")
    sent.push(["cookie", "demo_session=… (if signed in; HttpOnly, so no script can read it)"]);
  return sent;
}

function shortened(value) {
  return value.length > 48 ? `${value.slice(0, 24)}…${value.slice(-12)}` : value;
}

function note(exchange) {
  exchanges.set(exchange.id, exchange);
  const item = document.createElement("li");
  const button = item.appendChild(document.createElement("button"));
  button.type = "button";
  button.dataset.id = exchange.id;
  button.addEventListener("click", () => show(exchange));
  list.prepend(item);
  while (list.children.length > KEPT) {
    exchanges.delete(Number(list.lastChild.firstChild.dataset.id));
    list.lastChild.remove();
  }
  fillButton(exchange);
  for (const listener of listeners) listener(exchange);
}

function finish(exchange, facts) {
  Object.assign(exchange, { ms: exchange.ms ?? Math.round(performance.now() - exchange.start) }, facts, { done: true });
  fillButton(exchange);
  for (const listener of listeners) listener(exchange);
  show(exchange);
}

function buttonOf(exchange) {
  return list.querySelector(`button[data-id="${exchange.id}"]`);
}

function fillButton(exchange) {
  const { method, url, label } = exchange;
  const outcome = element("span", `status ${family(exchange)}`, outcomeOf(exchange));
  buttonOf(exchange)?.replaceChildren(
    outcome,
    " ",
    element("span", "line", `${method} ${url.pathname}`),
    " ",
    element("small", "", label),
  );
}

function outcomeOf({ done, status, failure }) {
  if (!done) return "…";
  return failure ? "blocked" : String(status);
}

function family({ done, status, failure }) {
  if (!done) return "";
  return failure ? "bad" : status < 400 ? "good" : status < 500 ? "bad" : "down";
}

function show(exchange) {
  for (const button of list.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
  buttonOf(exchange)?.setAttribute("aria-current", "true");
  const { method, url, sent, sentBody, status, received = [], body, failure, ms, label, explanation } = exchange;
  const request = element("div", "half");
  request.append(element("h3", "", "Request"), head(`${method} ${url.pathname}`, [["host", url.host], ...sent]));
  if (sentBody) request.append(pretty(sentBody));
  const answer = element("div", "half");
  answer.append(element("h3", "", "Answer"));
  if (failure) {
    answer.append(head(failure, []));
  } else {
    answer.append(head(`${status} ${REASONS[status] ?? ""}`, received, family(exchange)), pretty(body));
  }
  const title = element("p", "exchange-title", label);
  title.append(element("small", "", `${ms} ms`));
  panel.replaceChildren(title, request, answer);
  if (explanation) panel.append(element("p", "explanation", explanation));
}

function head(line, headers, tone = "") {
  const block = element("div", "head");
  block.append(element("p", `first ${tone}`, line));
  const pairs = element("dl", "");
  for (const [name, value] of headers) {
    const pair = element("div", "");
    pair.append(element("dt", "", name), element("dd", "", value));
    pairs.append(pair);
  }
  block.append(pairs);
  return block;
}

function pretty(body) {
  const block = element("pre", "body");
  block.tabIndex = 0;
  block.setAttribute("aria-label", "Body");
  let text = body;
  try {
    text = JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    // not JSON: shown as it came
  }
  // Keys and values in two colours: a key is a string that a colon follows.
  for (const piece of text.split(/("(?:[^"\\]|\\.)*"(?=\s*:))/)) {
    block.append(/^".*"$/s.test(piece) ? element("span", "key", piece) : piece);
  }
  return block;
}

/** An element with a class and a text, neither of which is ever markup. */
export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const REASONS = {
  200: "OK",
  204: "No Content",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  413: "Content Too Large",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};
