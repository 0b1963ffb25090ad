import { AnnalsError, type Recovery } from "../lib/annals_error.ts";

/** Thrown when a handler timed out, so that the worker must be replaced. */
export class HandlerStuckError extends Error {
  /** Always `HandlerStuckError`. */
  override readonly name = "HandlerStuckError";
}

/** Thrown in place of work that is not begun any more, because its group ends. */
export class StoppedError extends AnnalsError {
  /** Always `StoppedError`. */
  override readonly name = "StoppedError";

  /** Nothing was done. */
  override get recovery(): Recovery {
    return "wait";
  }
}

/** Thrown when this code does not know a message's type but another member does. */
export class UnknownTypeError extends Error {
  /** Always `UnknownTypeError`. */
  override readonly name = "UnknownTypeError";

  /**
   * Creates the error.
   *
   * @param message What was found.
   * @param type The unknown type.
   */
  constructor(message: string, readonly type: string) {
    super(message);
  }
}
