import { CommandReaction } from "./command_reaction.ts";
import type { Domain } from "./domain.ts";
import { EventReaction, type ReadRows } from "./event_reaction.ts";
import type { Handler } from "./handlers.ts";
import { ProjectorReaction } from "./projector_reaction.ts";
import type { Reaction } from "./reaction.ts";
import type { ReadStream, StateCache, UnitOfWorkOptions } from "./unit_of_work.ts";

/** What handlers read, and how their pure functions are run. */
export interface ReactOptions {
  /** Reads streams. */
  readonly readStream: ReadStream;
  /** Reads rows of projections. */
  readonly readRows: ReadRows;
  /** States that earlier batches left behind. */
  readonly cache?: StateCache;
  /** Runs pure domain code outside of a handler: the folding of events into state. @default {run directly} */
  readonly guard?: UnitOfWorkOptions["guard"];
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
}

/**
 * Starts the handling of a batch by whichever kind of handler it is.
 *
 * @param domain The domain.
 * @param handler One of its handlers.
 * @param options What it reads.
 * @returns An empty batch.
 */
export function react(domain: Domain, handler: Handler, options: ReactOptions): Reaction {
  switch (handler.kind) {
    case "command handler":
      return new CommandReaction(domain, handler, options);
    case "event handler":
      return new EventReaction(domain, handler, options);
    case "projector":
      return new ProjectorReaction(handler, options);
  }
}
