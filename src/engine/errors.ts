import { AnnalsError } from "../lib/annals_error.ts";
/** Thrown when the server cannot start; the message says why and what to do. */
export class EngineStartError extends AnnalsError {
  /** Always `EngineStartError`. */
  override readonly name = "EngineStartError";

  /**
   * Creates the error.
   *
   * @param message What was found, what was expected, and what to do.
   * @param exitCode 2 for a mistake in the command line or the configuration.
   */
  constructor(message: string, override readonly exitCode: 1 | 2 = 1) {
    super(message);
  }
}
