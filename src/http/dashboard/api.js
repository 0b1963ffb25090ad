import { repaint } from "./screen.js";

/** What the server refuses, in its words. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.title ?? `The server answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** The server cannot be reached. */
export class Away extends Error {
  constructor() {
    super("The server does not answer");
  }
}

/** Who uses the page: `undefined` until that is known; `who` is `null` for somebody who has to log in. */
export const session = { current: undefined };

async function ask(method, path, { params, body, signal } = {}) {
  const given = Object.entries(params ?? {}).filter(([, value]) =>
    value !== undefined && value !== null && value !== ""
  );
  const query = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
  const headers = { accept: "application/json" };
  if (method !== "GET") {
    headers["content-type"] = "application/json";
    headers["x-csrf-token"] = session.current?.csrf ?? "";
  }
  let answer;
  try {
    answer = await fetch(path + query, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Away();
  }
  const text = await answer.text();
  let document = null;
  try {
    document = text === "" ? null : JSON.parse(text);
  } catch {
    // Something in between answered.
  }
  if (!answer.ok) throw new Refused(answer.status, document);
  return document;
}

/** Asks who is logged in. */
export async function readSession() {
  session.current = await ask("GET", "/session");
  repaint();
  return session.current;
}

async function askAsUser(method, path, options) {
  try {
    return await ask(method, path, options);
  } catch (error) {
    const isOver = error.status === 401 || (error.status === 403 && method !== "GET");
    if (!isOver) throw error;
    // A server that was restarted has forgotten who this is, and may not need to know.
    const { who } = await readSession();
    if (who === null) throw error;
    return await ask(method, path, options);
  }
}

/** Reads something of `/operator`. */
export const read = (path, params, signal) => askAsUser("GET", `/operator/${path}`, { params, signal });

/** Changes something. */
export const change = (path, body = {}) => askAsUser("POST", `/operator/${path}`, { body });

/** Logs in. */
export async function logIn(fields) {
  session.current = await ask("POST", "/session", { body: fields });
  repaint();
}

/** Logs out. */
export async function logOut() {
  await ask("DELETE", "/session");
  await readSession();
}

/** A part of an address. */
export const part = encodeURIComponent;
