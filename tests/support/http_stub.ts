import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a stub was asked. */
export interface Asked {
  readonly method: string;
  /** The path with the query. */
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** An answer: JSON with a status, or anything that is done with the response. */
export type Told = readonly [status: number, body: unknown] | ((response: ServerResponse) => unknown);

/** Breaks the connection off without an answer. */
export const HANG_UP: Told = (response) => void response.socket!.destroy();

/** An HTTP server whose answers a test says: also those that no good server gives. */
export class HttpStub {
  /** Everything it was asked so far. */
  readonly asked: Asked[] = [];
  readonly url: string;
  #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Starts one; `answer` says what it tells the nth who asks, from 0. */
  static async start(answer: (asked: Asked, n: number) => Told | Promise<Told>, port = 0): Promise<HttpStub> {
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request.setEncoding("utf8")) body += part;
      const asked = { method: request.method!, path: request.url!, headers: request.headers, body };
      const told = await answer(asked, stub.asked.push(asked) - 1);
      if (typeof told === "function") return told(response);
      const [status, content] = told;
      response.writeHead(status, { "content-type": status < 300 ? "application/json" : "application/problem+json" });
      response.end(JSON.stringify(status < 300 ? content : { status, ...content as object }));
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const stub = new HttpStub(server);
    return stub;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
