import { html, nothing, repeat } from "./libraries.js";
import { afterPaint, repaint } from "./screen.js";

/** How long a result is shown, in milliseconds. */
const SHOWN = 8_000;

let notices = [];
let last = 0;
let question = null;

function dismiss(id) {
  notices = notices.filter((one) => one.id !== id);
  repaint();
}

/** Says what came of something; `more` is a link that leads on. Errors stay until somebody has seen them. */
export function announce(text, { isError = false, more = null } = {}) {
  const id = ++last;
  notices = [...notices.slice(-3), { id, text, isError, more }];
  if (!isError) setTimeout(() => dismiss(id), SHOWN);
  repaint();
}

/** Does something, and says what came of it; returns whether it was done. */
export async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    announce(error.message, { isError: true });
    return false;
  }
}

/**
 * Asks before something is done that cannot be undone.
 *
 * @returns What was entered in the field, or `true`; `null` if it is not to be done.
 */
export function ask({ title, text, action, isDangerous = false, field = null }) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    const answer = (value) => {
      if (question === null) return;
      question = null;
      document.getElementById("question")?.close();
      afterPaint(() => before?.isConnected && before.focus());
      resolve(value);
    };
    question = { title, text, action, isDangerous, field, answer };
    afterPaint(() => {
      const dialog = document.getElementById("question");
      if (!dialog?.open) dialog?.showModal();
    });
  });
}

/** Whether something is asked. */
export const isAsking = () => question !== null;

/** What was said and is asked. */
export function noticesView() {
  return html`
    <div class="notices">
      <div role="status" aria-live="polite">${repeat(
        notices.filter((one) => !one.isError),
        ({ id }) => id,
        noticeView,
      )}</div>
      <div role="alert" aria-live="assertive">${repeat(
        notices.filter((one) => one.isError),
        ({ id }) => id,
        noticeView,
      )}</div>
    </div>
    ${question ? questionView(question) : nothing}
  `;
}

function noticeView({ id, text, isError, more }) {
  return html`
    <div class="notice ${isError ? "bad" : "good"}">
      <p>${text}${more
        ? html`
          <a href=${more.href} @click=${() => dismiss(id)}>${more.text}</a>
        `
        : nothing}</p>
      <button class="plain" aria-label="Dismiss" @click=${() => dismiss(id)}>✕</button>
    </div>
  `;
}

function questionView({ title, text, action, isDangerous, field, answer }) {
  const done = (event) => {
    event.preventDefault();
    answer(field ? new FormData(event.currentTarget).get("value") : true);
  };
  return html`
    <dialog id="question" aria-labelledby="question-title" @close=${() => answer(null)}>
      <form @submit=${done}>
          <h2 id="question-title">${title}</h2>
          <p>${text}</p>
          ${field
            ? html`<label>${field.label}<input name="value" type=${field.type} step="1" .value=${field.value} required></label>`
            : nothing}
          <div class="buttons">
            <button type="button" ?autofocus=${isDangerous} @click=${() => answer(null)}>Cancel</button>
            <button class=${isDangerous ? "danger" : "primary"} ?autofocus=${!isDangerous && !field}>${action}</button>
          </div>
        </form>
    </dialog>
  `;
}
