import { AnnalsError, type Recovery } from "../../lib/annals_error.ts";

/** Thrown when a server cannot be reached, refuses to answer, or answers what it should not. */
export class HttpError extends AnnalsError {
  /** Always `HttpError`. */
  override readonly name = "HttpError";
  #recovery: Recovery;

  /**
   * Creates the error.
   *
   * @param message What was found, and what to do.
   * @param status The status of the answer; `null` if there was none.
   * @param recovery Whether retrying may help.
   * @param retryAfter How long the server has asked to wait before that, in milliseconds; `null` if it has not.
   */
  constructor(
    message: string,
    readonly status: number | null,
    recovery: Recovery = "none",
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.#recovery = recovery;
  }

  /** Whether retrying may help, and whether it is known that a command was not stored. */
  override get recovery(): Recovery {
    return this.#recovery;
  }
}
