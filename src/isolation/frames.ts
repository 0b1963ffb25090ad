/** Size of the length prefix, in bytes. */
const HEADER = 4;

/** The longest accepted frame, in bytes. Batches are far smaller, but a single message may exceed 20 MB. */
export const LONGEST_FRAME: number = 72 << 20;

/** The most things of a kind that one answer may have: more would take the engine too long to check. */
export const MOST_ELEMENTS = 50_000;

/** The part of a socket that frames need. */
export type ByteStream = Pick<Deno.Conn, "read" | "write" | "close">;

/** Thrown when received data is not a valid frame. */
export class FrameError extends Error {
  /** Always `FrameError`. */
  override readonly name = "FrameError";
}

/** Sends and receives frames on a socket. All frames sent in one turn of the event loop are written in one call. */
export class FrameSocket {
  #stream: ByteStream;
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #writing = false;
  #closed = false;

  /** @param stream The socket. */
  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** The number of bytes not yet written. */
  get waiting(): number {
    return this.#unsentBytes;
  }

  /** Sends a frame; the caller must not modify the bytes afterwards. */
  send(payload: Uint8Array): void {
    if (this.#closed) return;
    const header = new Uint8Array(HEADER);
    new DataView(header.buffer).setUint32(0, payload.length);
    this.#unsent.push(header, payload);
    this.#unsentBytes += HEADER + payload.length;
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#unsent.length > 0 && !this.#closed) {
        await Promise.resolve();
        const bytes = this.#gather();
        for (let sent = 0; sent < bytes.length;) sent += await this.#stream.write(bytes.subarray(sent));
        this.#unsentBytes -= bytes.length;
      }
    } catch {
      // The peer is gone; the reader will notice.
      this.#unsent = [];
    }
    this.#writing = false;
  }

  #gather(): Uint8Array {
    const parts = this.#unsent;
    this.#unsent = [];
    let length = 0;
    for (const part of parts) length += part.length;
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /**
   * Reads frames until the peer closes the connection.
   *
   * @param take Called with each frame; it may keep the bytes.
   * @throws {FrameError} If the data is not a valid frame.
   */
  async read(take: (payload: Uint8Array<ArrayBuffer>) => void): Promise<void> {
    const chunk = new Uint8Array(1 << 16);
    const header = new Uint8Array(HEADER);
    const view = new DataView(header.buffer);
    let filled = 0;
    let payload: Uint8Array<ArrayBuffer> | undefined;
    while (!this.#closed) {
      let got: number | null;
      try {
        got = await this.#stream.read(chunk);
      } catch {
        return;
      }
      if (got === null) return;
      for (let at = 0; at < got;) {
        const part = payload ?? header;
        const length_ = Math.min(part.length - filled, got - at);
        part.set(chunk.subarray(at, at + length_), filled);
        filled += length_;
        at += length_;
        if (filled < part.length) continue;
        filled = 0;
        if (payload === undefined) {
          const length = view.getUint32(0);
          if (length > LONGEST_FRAME) throw new FrameError(`a frame of ${length} bytes`);
          payload = new Uint8Array(length);
          if (length > 0) continue;
        }
        const whole = payload;
        payload = undefined;
        take(whole);
      }
    }
  }

  /** Closes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#stream.close();
    } catch {
      // Already closed by the peer.
    }
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const { parse, stringify } = JSON;

/** Encodes a value as a frame. */
export function encodeFrame(value: unknown): Uint8Array<ArrayBuffer> {
  return encoder.encode(stringify(value)) as Uint8Array<ArrayBuffer>;
}

/**
 * Decodes a frame's value.
 *
 * @throws {SyntaxError} If the bytes are not JSON.
 */
export function decodeFrame(bytes: Uint8Array): unknown {
  return parse(decoder.decode(bytes));
}
