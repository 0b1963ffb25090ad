import { logIn, session } from "./api.js";
import { html, nothing } from "./libraries.js";
import { listen } from "./live.js";
import { repaint } from "./screen.js";

let fault = null;
let isTrying = false;

async function submit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  [isTrying, fault] = [true, null];
  repaint();
  try {
    await logIn(Object.fromEntries(new FormData(form)));
    await listen();
  } catch (error) {
    fault = error.message;
  }
  isTrying = false;
  repaint();
}

/** Asks who somebody is. */
export function loginView() {
  const isToken = session.current.by === "token";
  return html`
    <main class="login" id="main">
      <form @submit=${submit}>
        <h1>Annals</h1>
        <p class="muted">${isToken
          ? "This server asks for the token of [server.http]."
          : "Log in with a name of [server.http.users]."}</p>
        ${isToken
          ? html`<label>Token<input name="token" type="password" autocomplete="current-password" required autofocus></label>`
          : html`
            <label>Name<input name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus></label>
            <label>Password<input name="password" type="password" autocomplete="current-password" required></label>
          `}
        ${fault ? html`<p class="note bad" role="alert">${fault}</p>` : nothing}
        <button class="primary" ?disabled=${isTrying}>Log in</button>
      </form>
    </main>
  `;
}
