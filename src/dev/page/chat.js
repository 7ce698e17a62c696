/** A stand-in for the platform's chat widget, which treats a 401 as the real one does. */

import { element, watched } from "./exchange.js";

const messages = document.getElementById("messages");

/** The widget's own code: it knows a token, the gateway, and whom to ask for a new token. */
export class SupportWidget {
  #jwt;
  #onTokenRefresh;
  #fetch = watched({ kind: "gateway", label: "A message to the platform" });
  #again = watched({ kind: "gateway", label: "The same message, with the new token" });

  constructor({ jwt, onTokenRefresh }) {
    this.#jwt = jwt;
    this.#onTokenRefresh = onTokenRefresh;
  }

  updateJwt(jwt) {
    this.#jwt = jwt;
  }

  get jwt() {
    return this.#jwt;
  }

  async send(text) {
    let response = await this.#post(text, this.#fetch);
    if (response.status === 401) {
      this.#jwt = await this.#onTokenRefresh();
      response = await this.#post(text, this.#again); // once; a second 401 is an error
    }
    if (!response.ok) throw new Error("Failed to send message. Please try again.");
    return (await response.json()).reply;
  }

  #post(text, send) {
    return send("/gateway/messages", {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${this.#jwt}` },
      credentials: "omit",
      body: JSON.stringify({ text }),
    });
  }
}

/** Adds a line to the conversation: of the `user`, the `platform`, or a `note` between them. */
export function say(who, text) {
  const line = element("p", who);
  if (who !== "note") line.append(element("span", "unseen", who === "user" ? "You: " : "Platform: "));
  line.append(text);
  messages.append(line);
  while (messages.children.length > 60) messages.firstChild.remove();
  messages.scrollTop = messages.scrollHeight;
}

/** Empties the conversation: it was another user's. */
export function clearConversation() {
  messages.replaceChildren();
}
