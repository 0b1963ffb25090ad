import { Notifier } from "../../lib/notifier.ts";

/** A connection that can listen; the driver reconnects and listens again by itself. */
export interface Listening {
  /** Listens; `heard` is called each time that listening is (re-)established. */
  listen(channel: string, told: (payload: string) => void, heard: () => void): PromiseLike<unknown>;
  /** Closes the connection. */
  end(options: { timeout: number }): Promise<void>;
}

/** Dependencies of a listener. */
export interface ListenerOptions {
  /** The channel. */
  readonly channel: string;
  /** Opens a connection. */
  readonly connect: () => Listening;
  /** Notifies the channel through another connection. */
  readonly notify: (payload: string) => Promise<unknown>;
  /** Called with each notification, and with `null` if some may have been missed. */
  readonly told: (payload: string | null) => void;
}

const PROBE = "probe:";

/**
 * Receives notifications of writes. A pooler in transaction mode accepts `LISTEN` but never delivers anything, so the
 * listener first sends a notification to itself and counts as connected once it has received it.
 */
export class Listener {
  #options: ListenerOptions;
  #connection: Listening | undefined;
  #probe = "";
  #hears = false;
  #proven = new Notifier();

  /** Creates a listener that does not listen yet. */
  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Whether notifications are being received. */
  get hears(): boolean {
    return this.#hears;
  }

  /** Starts listening, unless already started. */
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
      // Unreachable: until the next attempt, waiters poll.
      if (this.#connection === connection) this.#connection = undefined;
      void connection.end({ timeout: 0 });
    });
  }

  /** Starts listening and waits until notifications are received, or for a timeout in milliseconds. */
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
