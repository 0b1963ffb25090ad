import { logOut, read, session } from "./api.js";
import { audit } from "./audit.js";
import { deadLetters } from "./dead_letters.js";
import { brief, number, timeText } from "./format.js";
import { helpView, keysFor } from "./keys.js";
import { html, nothing, render } from "./libraries.js";
import { isKnown, known, listen, live, look, stop } from "./live.js";
import { log } from "./log.js";
import { loginView } from "./login.js";
import { attempt, noticesView } from "./notices.js";
import { overview } from "./overview.js";
import { parked } from "./parked.js";
import { processes } from "./processes.js";
import { projections } from "./projections.js";
import { at, follow, route } from "./router.js";
import { afterPaint, painted, repaint } from "./screen.js";
import { emptyView } from "./parts.js";

const PLACES = {
  "": overview,
  "dead-letters": deadLetters,
  parked,
  processes,
  projections,
  log,
  audit,
};

const lost = {
  title: "Nothing here",
  enter() {},
  view: () =>
    emptyView("There is nothing here", "The address may be of another version.", html`<a href="#/">Overview</a>`),
};

let domain = "";
let current = null;
let isEntered = false;
let heardAt = 0;

/** Shows the place that the address names. What it reads, it reads as somebody who is known. */
function enter() {
  const place = Object.hasOwn(PLACES, route.parts[0]) ? PLACES[route.parts[0]] : lost;
  if (place !== current) {
    if (isEntered) current?.leave?.();
    isEntered = false;
    current = place;
  }
  if (!isKnown()) return;
  isEntered = true;
  place.enter();
  // On a phone the names of the views go beyond the screen.
  afterPaint(() =>
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" })
  );
}

const counts = {
  "dead-letters": () => known()?.groups.reduce((sum, { dead }) => sum + dead, 0) ?? 0,
  parked: () => known()?.groups.reduce((sum, { retrying, pending }) => sum + retrying + pending, 0) ?? 0,
};

function navView() {
  return html`
    <nav aria-label="Views">
      <ul>${Object.entries(PLACES).map(([path, { title }]) => {
        const n = counts[path]?.() ?? 0;
        return html`<li><a href=${at(path)} aria-current=${
          current === PLACES[path] ? "page" : nothing
        }><span>${title}</span>${n > 0 ? html`<b class="count ${path}">${brief(n)}</b>` : nothing}</a></li>`;
      })}</ul>
    </nav>
  `;
}

function connectionView() {
  if (live.state === "gone") return html`<span class="connection bad"><i></i>Disconnected</span>`;
  if (look()?.away) return html`<span class="connection warn"><i></i>Store away</span>`;
  if (live.state === "waiting") return html`<span class="connection"><i></i>Connecting…</span>`;
  return html`<span class="connection good"><i></i>Live</span>`;
}

function bannerView() {
  if (live.state === "gone") {
    return html`
      <p class="banner bad"
        role="alert"><b>The server does not answer.</b> ${live.heardAt === 0 ? nothing : html`
          What is shown is of ${timeText(live.heardAt)}.
        `}It is tried again every two seconds.</p>
    `;
  }
  const away = look()?.away;
  if (!away) return nothing;
  return html`
    <p class="banner warn"
      role="alert"><b>The event store does not answer.</b> ${known()
        ? html`
          What is shown is of ${timeText(known().at)}.
        `
        : nothing}<span class="text">${away}</span></p>
  `;
}

function pageView() {
  const who = session.current?.who;
  return html`<a class="skip" href="#main" @click=${(event) => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  }}>Skip to the content</a>
    <header class="side">
      <a class="brand" href="#/"><svg viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" rx="4"></rect><path d="M4 5h8M4 8h8M4 11h5"></path></svg><span>Annals <b>${domain}</b></span></a>
      ${navView()}
      <div class="foot">${connectionView()}
        <span class="who">${
    who === "local" ? nothing : html`${who} <button class="plain" @click=${() =>
      attempt(async () => {
        await logOut();
        stop();
      })}>Log out</button>`
  }</span>
        <button class="plain keys" @click=${() =>
    keysFor.toggleHelp()} aria-keyshortcuts="?">Keys <kbd>?</kbd></button></div>
    </header>
    <main id="main" tabindex="-1" class=${
    live.state === "gone" ? "gone" : ""
  }>${bannerView()}<div class="content">${current.view()}</div></main>
    ${helpView()}`;
}

function titleOf() {
  const dead = counts["dead-letters"]();
  const name = current.titleNow?.() ?? current.title;
  return [`${dead > 0 ? `(${number(dead)}) ` : ""}${name}`, ...domain ? [domain] : [], "Annals"].join(" · ");
}

async function readNames() {
  try {
    domain = (await read("names")).domain;
    repaint();
  } catch {
    // It is asked for again with the next look.
  }
}

painted(() => {
  if (isKnown() && !isEntered) enter();
  if (live.heardAt !== heardAt) {
    heardAt = live.heardAt;
    if (domain === "") void readNames();
    if (isEntered) current.heard?.();
  }
  document.title = isKnown() ? titleOf() : "Log in · Annals";
  const isOut = session.current?.who === null;
  if (isOut) isEntered = false;
  const page = isOut ? loginView() : isKnown() ? pageView() : startView();
  render(html`${page}${noticesView()}`, document.body);
});

function startView() {
  if (live.state === "gone") {
    return html`<main class="login">${
      emptyView("The server does not answer", "It is tried again every two seconds.")
    }</main>`;
  }
  return html`
    <main class="login">
      <p class="loading" aria-busy="true">Connecting…</p>
    </main>
  `;
}

keysFor.place = () => current;
document.body.replaceChildren();
follow(enter);
repaint();
void listen();
