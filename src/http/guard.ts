import { isIP } from "node:net";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import type { HttpConfig } from "../config/config.ts";
import { isOpen } from "../config/http.ts";
import { BodyReader } from "./body_reader.ts";
import { isPassword } from "./passwords.ts";
import { problem } from "./problem.ts";
import { isEqual, type Session, SESSION_LIFE, Sessions } from "./sessions.ts";

/** What the guard tells the routes behind it. */
export interface Guarded {
  readonly Variables: {
    /** Who asks: a user, `token`, or `local`. */
    readonly who: string;
  };
}

/** The cookie of a session. */
const COOKIE = "annals_session";

/** The header that repeats what only pages of this server know. */
const CSRF_HEADER = "x-csrf-token";

/** Who asks where nobody has to say who they are. */
const LOCAL = "local";

/** The longest body of a login, in bytes. */
const LONGEST_LOGIN = 4_096;

/**
 * How many wrong passwords may be tried within a minute: by an address for a user, and for all users, as all come from the
 * same one behind a proxy; and of how many that is known.
 */
const MOST_TRIES = 10;
const MOST_TRIES_OF_ALL = 100;
const TRIES_KNOWN = 60_000;
const MOST_KNOWN = 10_000;

/** What pages may do: nothing that does not come from this server. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** The headers of every answer. */
const HEADERS = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

const SAFE = ["GET", "HEAD"];

/** The name in a `Host` header or an origin, without its port, in lower case. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

/**
 * Decides who may ask for what, before anything else looks at a request. A page of another site can make a browser send
 * requests here, in three ways that are all refused: by another origin, by a name that its owner points to this address
 * (DNS rebinding), and with the cookie that the browser has.
 */
export class Guard {
  #config: HttpConfig;
  #sessions: Sessions;
  /** Whoever sends half of one must not keep others out. */
  #bodies = new BodyReader(LONGEST_LOGIN, 1_000);
  #tries = new Map<string, { count: number; since: number }>();

  /**
   * @param config Who may ask.
   * @param log The log's id: sessions are for one deployment.
   */
  constructor(config: HttpConfig, log: string) {
    this.#config = config;
    const secrets = [...config.token === null ? [] : [config.token], ...[...config.users].flat()];
    this.#sessions = new Sessions(secrets.length === 0 ? [] : [log, ...secrets]);
  }

  /** Whether everybody who reaches the address may do everything. */
  get #isOpen(): boolean {
    return isOpen(this.#config);
  }

  /** Headers that every answer has. */
  static headers: MiddlewareHandler = async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
    if (!context.res.headers.has("cache-control")) context.header("cache-control", "no-store");
  };

  /** Refuses requests of other sites. */
  ownSite: MiddlewareHandler = async (context, next) => {
    // No store can keep it in a name.
    if (/%00/i.test(context.req.url)) return problem(context, 400, "The address contains U+0000");
    const host = context.req.header("host") ?? "";
    if (!this.#isOwn(nameOf(host))) {
      return problem(
        context,
        421,
        `This server is not known as "${
          nameOf(host).slice(0, 200)
        }"; if it should be, add the name to [server.http] hosts`,
      );
    }
    const origin = context.req.header("origin");
    const isOther = origin !== undefined && !this.#isOwnOrigin(origin, host);
    const site = context.req.header("sec-fetch-site");
    const isFromOther = site === "cross-site" || site === "same-site";
    // Whoever follows a link from elsewhere sees a page.
    const isVisit = SAFE.includes(context.req.method) && context.req.header("sec-fetch-mode") === "navigate" &&
      context.req.header("sec-fetch-dest") === "document";
    if (isOther || (isFromOther && !isVisit)) return problem(context, 403, "Requests from other sites are refused");
    await next();
  };

  /** Names that nobody else can point to this address; what is an address is not resolved at all. */
  #isOwn(name: string): boolean {
    return name === "localhost" || isIP(name) !== 0 || name === this.#config.address?.hostname.toLowerCase() ||
      this.#config.hosts.includes(name);
  }

  #isOwnOrigin(origin: string, host: string): boolean {
    const of = /^https?:\/\/([^/]+)$/i.exec(origin)?.[1];
    // Behind a proxy, the port may be another.
    return of !== undefined &&
      (of.toLowerCase() === host.toLowerCase() || this.#config.hosts.includes(nameOf(of)));
  }

  /** Lets pass who has said who they are. */
  known: MiddlewareHandler<Guarded> = async (context, next) => {
    const bearer = /^Bearer (.+)$/i.exec(context.req.header("authorization") ?? "")?.[1];
    if (context.req.header("authorization") !== undefined) {
      // A wrong one is never taken for none.
      if (bearer === undefined || this.#config.token === null || !isEqual(bearer, this.#config.token)) {
        return this.#unknown(
          context,
          bearer === undefined
            ? 'Expected "Authorization: Bearer" and the token of [server.http]'
            : "The bearer is not the token of [server.http]",
        );
      }
      context.set("who", "token");
      return await next();
    }
    const session = this.#session(context);
    if (session === null && !(this.#isOpen && SAFE.includes(context.req.method))) {
      return this.#unknown(
        context,
        this.#isOpen
          ? "Requests that change something need a session: GET /session, and send its cookie and csrf back"
          : "Log in, or send Authorization: Bearer with the token of [server.http]",
      );
    }
    const repeated = context.req.header(CSRF_HEADER) ?? "";
    if (!SAFE.includes(context.req.method) && !isEqual(repeated, session!.csrf)) {
      return problem(context, 403, `The header ${CSRF_HEADER} is missing or wrong; reload the page`);
    }
    context.set("who", session?.who ?? LOCAL);
    await next();
  };

  #unknown(context: Context, title: string): Response {
    context.header("www-authenticate", 'Bearer realm="annals"');
    return problem(context, 401, title);
  }

  #session(context: Context): Session | null {
    return this.#sessions.read(getCookie(context, COOKIE));
  }

  #begin(context: Context, who: string): Session {
    const cookie = this.#sessions.begin(who);
    const isSecure = context.req.header("x-forwarded-proto") === "https";
    setCookie(context, COOKIE, cookie, {
      httpOnly: true,
      sameSite: "Strict",
      path: "/",
      maxAge: SESSION_LIFE / 1000,
      secure: isSecure,
    });
    return this.#sessions.read(cookie)!;
  }

  /** The routes for logging in and out: `GET`, `POST` and `DELETE /session`. */
  routes(): Hono {
    const app = new Hono();
    app.get("/session", (context) => {
      const session = this.#session(context) ?? (this.#isOpen ? this.#begin(context, LOCAL) : null);
      if (session === null) return context.json({ who: null, by: this.#config.users.size > 0 ? "password" : "token" });
      return context.json(session);
    });
    app.post("/session", (context) => this.#logIn(context));
    app.delete("/session", (context) => {
      deleteCookie(context, COOKIE, { path: "/" });
      return context.body(null, 204);
    });
    return app;
  }

  async #logIn(context: Context): Promise<Response> {
    const { remoteAddr } = (context.env ?? {}) as Partial<Deno.ServeHandlerInfo<Deno.NetAddr>>;
    const from = remoteAddr?.hostname ?? "";
    const body = await this.#bodies.read(context.req.raw);
    if (typeof body === "string") return problem(context, body === "too long" ? 413 : 503, "It cannot be read");
    let given: { user?: unknown; password?: unknown; token?: unknown } | null = null;
    try {
      given = JSON.parse(body.text);
    } catch {
      // It is refused.
    }
    const key = `${from} ${typeof given?.user === "string" ? given.user.slice(0, 100) : ""}`;
    if (!this.#mayTry(key, MOST_TRIES) || !this.#mayTry(from, MOST_TRIES_OF_ALL)) {
      context.header("retry-after", "60");
      return problem(context, 429, "Too many wrong passwords; try again in a minute");
    }
    // Before it is checked: many may try at the same time.
    for (const one of [key, from]) this.#count(one);
    const who = await this.#whoIs(given ?? {});
    if (who !== null) {
      this.#tries.delete(key);
      const tries = this.#tries.get(from);
      if (tries) this.#tries.set(from, { ...tries, count: tries.count - 1 });
      return context.json(this.#begin(context, who));
    }
    return problem(context, 401, "The name, the password or the token is wrong");
  }

  async #whoIs({ user, password, token }: { user?: unknown; password?: unknown; token?: unknown }) {
    const { users, token: own } = this.#config;
    if (typeof token === "string") return own !== null && isEqual(token, own) ? "token" : null;
    if (typeof user !== "string" || typeof password !== "string" || users.size === 0) return null;
    return await isPassword(password, users.get(user)) ? user : null;
  }

  #mayTry(key: string, most: number): boolean {
    const tries = this.#tries.get(key);
    return tries === undefined || tries.count < most || performance.now() - tries.since > TRIES_KNOWN;
  }

  #count(key: string): void {
    const now = performance.now();
    for (const [one, { since }] of this.#tries) {
      if (now - since > TRIES_KNOWN || this.#tries.size > MOST_KNOWN) this.#tries.delete(one);
    }
    const tries = this.#tries.get(key) ?? { count: 0, since: now };
    this.#tries.set(key, { ...tries, count: tries.count + 1 });
  }
}
