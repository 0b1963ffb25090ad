import assert from "node:assert/strict";
import { withNews } from "../../src/http/dashboard/looks.js";

/** A session of the dashboard, as a program. */
export class OperatorSession {
  #base: string;
  #cookie: string;
  #csrf: string;

  private constructor(base: string, cookie: string, csrf: string) {
    this.#base = base;
    this.#cookie = cookie;
    this.#csrf = csrf;
  }

  /** Begins one; without anything to log in with, as whoever reaches the server may. */
  static async begin(port: number): Promise<OperatorSession> {
    const base = `http://127.0.0.1:${port}`;
    const response = await fetch(`${base}/session`);
    const [cookie] = response.headers.get("set-cookie")!.split(";");
    return new OperatorSession(base, cookie, (await response.json()).csrf);
  }

  /** Asks for something, or changes it; returns status and document. */
  async ask(path: string, change?: unknown): Promise<{ status: number; body: any }> {
    const response = await fetch(`${this.#base}/operator/${path}`, {
      headers: { cookie: this.#cookie, "x-csrf-token": this.#csrf },
      ...(change !== undefined && { method: "POST", body: JSON.stringify(change) }),
    });
    return { status: response.status, body: await response.json() };
  }

  /** The same for what has to succeed. */
  async get(path: string, change?: unknown): Promise<any> {
    const { status, body } = await this.ask(path, change);
    assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`);
    return body;
  }

  /** Follows what is told live until something is seen. */
  async seen(isSeen: (look: any) => boolean): Promise<any> {
    const response = await fetch(`${this.#base}/operator/live`, { headers: { cookie: this.#cookie } });
    let text = "";
    let look: any;
    for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
      text += part;
      const blocks = text.split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        const { isWhole, ...told } = JSON.parse(block.replace(/^data: /, ""));
        look = isWhole ? told : withNews(look, told);
        if (isSeen(look)) return look;
      }
    }
    throw new Error("It ended before it was seen");
  }
}
