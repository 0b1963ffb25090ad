/** Stands between servers and a service, and cuts connections when told. */
export class Proxy implements AsyncDisposable {
  readonly port: number;
  #listener: Deno.TcpListener;
  #target: number;
  #pairs = new Set<[Deno.TcpConn, Deno.TcpConn]>();
  #mute = 0;
  #silent = new WeakSet<[Deno.TcpConn, Deno.TcpConn]>();
  /** Connections of a time when nothing got through. */
  #held: Deno.TcpConn[] | undefined;
  /** How long everything takes longer, in milliseconds. */
  delay = 0;
  /** How likely each piece of data is to break its connection. */
  tears = 0;

  constructor(target: number) {
    this.#target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    void this.#accept();
  }

  async #accept(): Promise<void> {
    for await (const near of this.#listener) {
      if (this.#held) {
        this.#held.push(near);
        continue;
      }
      try {
        const far = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
        const pair: [Deno.TcpConn, Deno.TcpConn] = [near, far];
        this.#pairs.add(pair);
        void this.#pump(near, far, pair, false);
        void this.#pump(far, near, pair, true);
      } catch {
        close(near);
      }
    }
  }

  async #pump(
    from: Deno.TcpConn,
    to: Deno.TcpConn,
    pair: [Deno.TcpConn, Deno.TcpConn],
    isAnswer: boolean,
  ): Promise<void> {
    const bytes = new Uint8Array(65_536);
    try {
      while (true) {
        const read = await from.read(bytes);
        if (read === null) break;
        if (this.#silent.has(pair)) continue;
        if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay));
        if (this.tears > 0 && Math.random() < this.tears) break;
        if (isAnswer && this.#mute > 0) {
          // What was asked is done; that it is done is never heard.
          this.#mute--;
          break;
        }
        for (let sent = 0; sent < read;) sent += await to.write(bytes.subarray(sent, read));
      }
    } catch {
      // Cut.
    }
    this.#cut(pair);
  }

  #cut(pair: [Deno.TcpConn, Deno.TcpConn]): void {
    this.#pairs.delete(pair);
    for (const side of pair) close(side);
  }

  /** Cuts the connection instead of handing on the next answers, so many times. */
  swallow(answers = 1): void {
    this.#mute += answers;
  }

  /** Leads to another service from now on, as when it has failed over. */
  turnTo(port: number): void {
    this.#target = port;
    this.cut();
  }

  /** Cuts the connections that there are. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair);
  }

  /** From now on the connections that there are hand on nothing, and stay open: as when a host has vanished. */
  silence(): void {
    for (const pair of this.#pairs) this.#silent.add(pair);
  }

  /** From now on nothing gets through, old connections or new, and none of them is closed: a cable was pulled. */
  block(): void {
    this.#held ??= [];
    this.silence();
  }

  /** Lets everything through again; connections that were blocked stay silent, as behind a firewall that forgot them. */
  heal(): void {
    for (const near of this.#held ?? []) close(near);
    this.#held = undefined;
    this.delay = this.tears = 0;
  }

  /** How many answers are still to be swallowed. */
  get left(): number {
    return this.#mute;
  }

  [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#listener.close();
    } catch {
      // Closed in the middle of a test.
    }
    this.heal();
    this.cut();
    return Promise.resolve();
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed already.
  }
}
