/** The worker that ran a handler has ended, or its host has: nothing of the batch in its hands was written. */
export class WorkerEndedError extends Error {
  /** Always `WorkerEndedError`. */
  override readonly name = "WorkerEndedError";

  /**
   * Makes the error.
   *
   * @param message Why it ended.
   * @param isSuspect Whether what it had in hand may be the reason; `false` when somebody else's was.
   */
  constructor(message: string, readonly isSuspect: boolean) {
    super(message);
  }
}

/** The domain's module cannot be loaded, or contains no domain. */
export class ModuleLoadError extends Error {
  /** Always `ModuleLoadError`. */
  override readonly name = "ModuleLoadError";
}
