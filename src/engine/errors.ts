import { AnnalsError } from "../lib/annals_error.ts";
/** The server cannot start; the message says why and what to do. */
export class EngineStartError extends AnnalsError {
  /** Always `EngineStartError`. */
  override readonly name = "EngineStartError";

  /**
   * Makes the error.
   *
   * @param message What was found, what was expected, what to do.
   * @param exitCode 2 when it is a mistake of the command line or the configuration.
   */
  constructor(message: string, override readonly exitCode: 1 | 2 = 1) {
    super(message);
  }
}
