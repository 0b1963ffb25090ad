import { Notifier } from "../../lib/notifier.ts";

/** A connection that can listen; the driver listens again by itself when it was lost. */
export interface Listening {
  /** Listens; `heard` is called each time that it listens (again). */
  listen(channel: string, told: (payload: string) => void, heard: () => void): PromiseLike<unknown>;
  /** Closes the connection. */
  end(options: { timeout: number }): Promise<void>;
}

/** What a listener works with. */
export interface ListenerOptions {
  /** The channel. */
  readonly channel: string;
  /** Opens a connection. */
  readonly connect: () => Listening;
  /** Notifies the channel by way of another connection. */
  readonly notify: (payload: string) => Promise<unknown>;
  /** Called with what others notify; and with `null` when something may have been missed. */
  readonly told: (payload: string | null) => void;
}

const PROBE = "probe:";

/**
 * Hears of what others write. A pooler in transaction mode takes a `LISTEN` and never delivers anything: so who listens
 * first calls himself, and counts as hearing when he has heard that.
 */
export class Listener {
  #options: ListenerOptions;
  #connection: Listening | undefined;
  #probe = "";
  #hears = false;
  #proven = new Notifier();

  /** Makes a listener that does not listen yet. */
  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Whether notifications come through. */
  get hears(): boolean {
    return this.#hears;
  }

  /** Begins to listen, unless it does. */
  start(): void {
    if (this.#connection) return;
    const { channel, connect, told } = this.#options;
    const connection = this.#connection = connect();
    const listening = connection.listen(
      channel,
      (payload) => {
        if (!payload.startsWith(PROBE)) return told(payload);
        if (payload !== this.#probe) return;
        this.#hears = true;
        this.#proven.notify();
        told(null);
      },
      () => {
        this.#hears = false;
        this.#probe = `${PROBE}${crypto.randomUUID()}`;
        this.#options.notify(this.#probe).catch(() => {});
        told(null);
      },
    );
    Promise.resolve(listening).catch(() => {
      // Not reachable now: until the next try, whoever waits looks for himself.
      if (this.#connection === connection) this.#connection = undefined;
      void connection.end({ timeout: 0 });
    });
  }

  /** Listens, and waits until it is known to hear, so many milliseconds at most. */
  async proves(patience: number): Promise<boolean> {
    this.start();
    if (!this.#hears) await this.#proven.wait(patience);
    return this.#hears;
  }

  /** Stops listening. */
  async close(): Promise<void> {
    await this.#connection?.end({ timeout: 5 });
  }
}
