/** Thrown when a handler's worker or host ended; nothing of the in-flight batch was written. */
export class WorkerEndedError extends Error {
  /** Always `WorkerEndedError`. */
  override readonly name = "WorkerEndedError";

  /**
   * Creates the error.
   *
   * @param message Why it ended.
   * @param isSuspect Whether the in-flight messages may have caused it; `false` if another worker did.
   */
  constructor(message: string, readonly isSuspect: boolean) {
    super(message);
  }
}

/** Thrown for what will be as wrong the next time: only other code, or nothing, will help. */
export class HopelessInputError extends Error {
  /** Always `HopelessInputError`. */
  override readonly name = "HopelessInputError";
}

/** Thrown for an input that an instance of a process does not expect. It is none of those that have to come before others. */
export class UnexpectedInputError extends Error {
  /** Always `UnexpectedInputError`. */
  override readonly name = "UnexpectedInputError";
}
