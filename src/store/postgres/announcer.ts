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

  /** Resolves when nothing is left to send. */
  async idle(): Promise<void> {
    await this.#sending;
  }
}
