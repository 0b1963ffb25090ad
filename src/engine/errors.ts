/** The server cannot start; the message says why and what to do. */
export class EngineStartError extends Error {
  /** Always `EngineStartError`. */
  override readonly name = "EngineStartError";

  /**
   * Makes the error.
   *
   * @param message What was found, what was expected, what to do.
   * @param usage Whether it is a mistake of the command line or the configuration.
   */
  constructor(message: string, readonly usage = false) {
    super(message);
  }
}
