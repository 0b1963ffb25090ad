/** A handler did not come back in time: whoever runs the subscription has to replace the worker. */
export class HandlerStuckError extends Error {
  /** Always `HandlerStuckError`. */
  override readonly name = "HandlerStuckError";
}

/** There are messages of a type that this code does not know, and another process that takes part does. */
export class UnknownTypeError extends Error {
  /** Always `UnknownTypeError`. */
  override readonly name = "UnknownTypeError";

  /**
   * Makes the error.
   *
   * @param message Who leaves what to whom.
   * @param type The type.
   */
  constructor(message: string, readonly type: string) {
    super(message);
  }
}
