import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { connectSocket, type LocalSocket } from "../lib/platform.ts";
import { StoreUnavailableError } from "../store/errors.ts";
import type { EventStore } from "../store/port.ts";
import { type Channel, remote } from "./rpc.ts";

/** The longest socket path that the kernel accepts, in bytes. */
const LONGEST_PATH = 100;

/**
 * Returns the socket path where a server with an in-memory store listens for local clients of the same user.
 *
 * @param folder The folder of the configuration.
 * @param domain The domain's name.
 * @returns A path in the data folder; in the temporary folder if that would be too long.
 */
export function socketPath(folder: string, domain: string): string {
  const path = resolve(folder, ".annals", `${domain}.sock`);
  if (new TextEncoder().encode(path).length <= LONGEST_PATH) return path;
  return resolve(tmpdir(), `annals-${createHash("sha256").update(path).digest("hex").slice(0, 16)}.sock`);
}

/** The longest message, in characters: a commit has at most a few payloads of 16 Mi. */
const LONGEST_LINE = 256 << 20;

/** One line of JSON per message, in both directions. */
export class SocketChannel implements Channel {
  onmessage: ((event: { readonly data: any }) => void) | null = null;
  onclose: (() => void) | null = null;
  #socket: LocalSocket;
  #encoder = new TextEncoder();
  #unsent: string[] = [];
  #sending = false;
  #closed = false;

  /** @param socket The connection. */
  constructor(socket: LocalSocket) {
    this.#socket = socket;
    void this.#read();
  }

  async #read(): Promise<void> {
    // Of the line that has not ended yet; joined once, because a long one comes in many parts.
    let parts: string[] = [];
    let length = 0;
    try {
      for await (const text of this.#socket.readable.pipeThrough(new TextDecoderStream())) {
        const lines = text.split("\n");
        const last = lines.pop()!;
        for (const line of lines) {
          this.onmessage?.({ data: JSON.parse(parts.join("") + line) });
          [parts, length] = [[], 0];
        }
        parts.push(last);
        length += last.length;
        if (length > LONGEST_LINE) break;
      }
    } catch {
      // The peer is gone, or has sent what is no JSON.
    }
    this.close();
  }

  postMessage(message: unknown): void {
    this.#unsent.push(JSON.stringify(message));
    if (!this.#sending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#sending = true;
    try {
      while (this.#unsent.length > 0 && !this.#closed) {
        const bytes = this.#encoder.encode(this.#unsent.splice(0).join("\n") + "\n");
        for (let sent = 0; sent < bytes.length;) sent += await this.#socket.write(bytes.subarray(sent));
      }
    } catch {
      this.close();
    }
    this.#sending = false;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#socket.close();
    } catch {
      // Already closed by the peer.
    }
    this.onclose?.();
  }
}

/**
 * Connects to the in-memory store of a local server.
 *
 * @param path Where the server listens.
 * @param domain The domain's name.
 * @returns The store.
 * @throws {StoreUnavailableError} If no server listens there; the message says what to do.
 */
export async function dial(path: string, domain: string): Promise<EventStore> {
  let socket: LocalSocket;
  try {
    socket = await connectSocket(path);
  } catch {
    throw new StoreUnavailableError(
      `event_store is "memory": the store of "${domain}" is in the server's memory, and no server is listening at ${path}; start one with the same configuration: deno task start, or in the clone deno run -A server.ts --domain=${domain}`,
      "missing",
      false,
    );
  }
  const gone = () =>
    new StoreUnavailableError(
      `The server with the in-memory store of "${domain}" has exited, and its log is lost`,
      "closed",
      false,
    );
  return remote<EventStore>(new SocketChannel(socket), { kind: "memory", location: path }, gone);
}
