/** The picture and its list of steps: each lights up as it happens. */

const PACE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 320;
const ENDS = {
  ask: "signet",
  session: "app",
  identity: "signet",
  token: "widget",
  message: "gateway",
  verdict: "widget",
};

/** Which steps an answer of the token endpoint proves, and the one at which it ended. */
const TOKEN_STEPS = ["ask", "session", "identity", "token"];
const ENDED_AT = { login_required: "identity", session_unavailable: "session" };

let queue = Promise.resolve();
let waiting = 0;

/** Follows one exchange from its start to its answer. */
export function followExchange(exchange) {
  if (exchange.kind === "token") exchange.done ? tokenAnswered(exchange) : begin("ask");
  if (exchange.kind === "gateway") exchange.done ? gatewayAnswered(exchange) : begin("message");
}

function begin(step) {
  enqueue(() => {
    const steps = step === "ask" ? [...TOKEN_STEPS, "message", "verdict"] : ["message", "verdict"];
    for (const each of steps) mark(each, "");
    mark(step, "active");
  });
}

function tokenAnswered({ status, failure, body }) {
  const code = failure ? "the browser kept the answer" : codeOf(body);
  const end = status === 200 ? undefined : (ENDED_AT[code] ?? "ask");
  walk(TOKEN_STEPS, end, end && `${status ?? ""} ${code ?? ""}`.trim());
}

function gatewayAnswered({ status, body }) {
  walk(["message", "verdict"], status === 200 ? undefined : "verdict", `${status} ${messageOf(body)}`);
}

function walk(steps, end, why) {
  for (const step of steps) {
    enqueue(() => mark(step, "active"));
    enqueue(() => (step === end ? mark(step, "failed", why) : mark(step, "done")));
    if (step === end) return;
  }
}

/** One change at a time, slowly enough to be seen; a long queue hurries. */
function enqueue(change) {
  waiting += 1;
  queue = queue.then(async () => {
    change();
    waiting -= 1;
    await new Promise((resolve) => setTimeout(resolve, waiting > 10 ? 0 : PACE / 2));
  });
}

/** Resolves when the picture has caught up with what has happened. */
export function caughtUp() {
  return queue;
}

function mark(step, state, why = "") {
  for (const place of document.querySelectorAll(`[data-step="${step}"]`)) place.dataset.state = state;
  const note = document.querySelector(`li[data-step="${step}"] em`);
  note.textContent = why;
  for (const node of document.querySelectorAll("[data-node]")) node.dataset.state = "";
  if (state) document.querySelector(`[data-node="${ENDS[step]}"]`).dataset.state = state;
}

function codeOf(body) {
  return fieldOf(body, "code");
}

function messageOf(body) {
  return fieldOf(body, "message");
}

function fieldOf(body, name) {
  try {
    return JSON.parse(body)[name] ?? "";
  } catch {
    return "";
  }
}
