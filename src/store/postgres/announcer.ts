/** Tells others that something was written: one notification at a time, and one for all that happens meanwhile. */
export class Announcer {
  #send: () => Promise<unknown>;
  #isWanted = false;
  #sending: Promise<void> | undefined;

  /** @param send Sends a notification; if it fails, others find out by looking. */
  constructor(send: () => Promise<unknown>) {
    this.#send = send;
  }

  /** Sends a notification soon. */
  announce(): void {
    this.#isWanted = true;
    this.#sending ??= this.#run();
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#send().catch(() => {});
    }
    this.#sending = undefined;
  }

  /** Resolves when nothing is left to send, or after so many milliseconds. */
  async idle(patience: number): Promise<void> {
    if (!this.#sending) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, patience);
    await Promise.race([this.#sending, promise]);
    clearTimeout(timer);
  }
}
