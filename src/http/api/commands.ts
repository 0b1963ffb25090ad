import { type Context, Hono } from "hono";
import { commandMessage } from "../../client/command_message.ts";
import { IdempotencyKeyError, Once } from "../../client/once.ts";
import { type Outcome, OutcomeTimeoutError } from "../../client/outcome.ts";
import { encodeToken } from "../../client/token.ts";
import type { Waits } from "../../client/waits.ts";
import type { Inspector } from "../../isolation/inspector.ts";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { messageOf } from "../../lib/annals_error.ts";
import { DomainDefinitionError, PayloadError } from "../../messages/errors.ts";
import { idFault, newId } from "../../messages/ids.ts";
import { DEEPEST, depthOf } from "../../messages/json.ts";
import { storable } from "../../messages/text.ts";
import type { EventStore } from "../../store/port.ts";
import { BodyReader } from "../body_reader.ts";
import type { Guarded } from "../guard.ts";
import { isPassing, problem } from "../problem.ts";
import { largeNumbers } from "./large_numbers.ts";
import { waitOf } from "./prefer.ts";

/** Dependencies of {@linkcode commandRoutes}. */
export interface CommandRoutesOptions {
  /** The store. */
  readonly store: EventStore;
  /** The domain's name. */
  readonly domain: string;
  /** Checks payloads with the domain's code. */
  readonly inspector: Pick<Inspector, "draft">;
  /** Waits for outcomes. */
  readonly waits: Waits;
  /** The longest payload, in bytes of JSON. */
  readonly longest: number;
  /** Whether appends get outbox rows. */
  readonly publish: boolean;
  /** Ends all waiting. */
  readonly signal: AbortSignal;
}

/** The answer to what was sent. */
interface Answer {
  readonly commandId: string;
  readonly aggregateId?: string;
  readonly position?: number;
  readonly repeated?: boolean;
  readonly token?: string;
  readonly outcome: Outcome | null;
}

/**
 * Asks about a command that is stored; `undefined` if a service is away. Whoever was told to try again would store it twice.
 */
async function unlessAway<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (!isPassing(error)) throw error;
  }
}

function answerWith(context: Context<any>, answer: Answer): Response {
  switch (answer.outcome?.status) {
    case undefined:
      return context.json(answer, 202);
    case "accepted":
      return context.json(answer, 200);
    case "refused":
      return problem(context, 409, `Refused: ${answer.outcome.message}`, { ...answer });
    case "failed":
      return problem(
        context,
        500,
        "Its handler kept failing; the command is a dead letter, and an operator can replay it",
        { ...answer },
      );
  }
}

/** `POST /commands/NAME` and `GET /outcomes/COMMAND_ID`. */
export function commandRoutes(options: CommandRoutesOptions): Hono<Guarded> {
  const { store, domain, inspector, waits, longest, publish, signal } = options;
  const app = new Hono<Guarded>();
  const bodies = new BodyReader(longest);

  /** Waits for an outcome; `null` if it is not decided in time, or the server stops. */
  const outcomeWithin = async (commandId: string, seconds: number | null): Promise<Outcome | null> => {
    if (seconds === null) return await waits.outcome(commandId);
    try {
      return await waits.wait(commandId, seconds * 1000, signal);
    } catch (error) {
      if (error instanceof OutcomeTimeoutError) return null;
      throw error;
    }
  };

  app.post("/commands/:name", async (context) => {
    const name = context.req.param("name");
    const mediaType = (context.req.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
    if (mediaType !== "application/json") return problem(context, 415, "Expected the content type application/json");
    if (!["", "identity"].includes(context.req.header("content-encoding") ?? "")) {
      return problem(context, 415, "Compressed bodies are not taken");
    }
    const key = context.req.header("idempotency-key");
    const fault = key === undefined ? null : idFault(key);
    if (fault !== null) return problem(context, 400, `This Idempotency-Key cannot be used: ${fault}`);
    const body = await bodies.read(context.req.raw);
    if (body === "too long") {
      return problem(context, 413, `The payload is longer than max_message_bytes = ${longest}`);
    }
    if (body === "no text") return problem(context, 400, "The body is not UTF-8");
    if (body === "too slow") return problem(context, 408, "The body did not come in time");
    if (body === "busy") {
      context.header("retry-after", "1");
      return problem(context, 503, "Too much is being received; send it again");
    }
    try {
      if (depthOf(body.text) > DEEPEST) return problem(context, 422, `It is nested more than ${DEEPEST} levels deep`);
      JSON.parse(body.text);
    } catch (error) {
      return problem(context, 400, `The body is not JSON: ${storable(messageOf(error), 200)}`);
    }
    const large = largeNumbers(body.text);
    if (large.length > 0) {
      return problem(context, 422, `The payload of "${name}" is refused; nothing was stored`, {
        faults: [{
          path: "",
          message: `${large.join(", ")}: JSON numbers are doubles here, which cannot hold this; send it as a string`,
        }],
      });
    }
    const answer = await inspector.draft(name, body.text);
    if ("known" in answer) {
      return problem(context, 404, `Domain "${domain}" has no command "${name}"${didYouMean(name, answer.known)}`);
    }
    if ("faults" in answer) {
      return problem(context, 422, `The payload of "${name}" is refused; nothing was stored`, {
        faults: answer.faults,
      });
    }
    if ("late" in answer) {
      context.header("retry-after", "5");
      return problem(context, 503, `The payload of "${name}" was not checked: ${answer.late}; nothing was stored`);
    }
    if ("error" in answer) return problem(context, 422, answer.error);
    const { category, stream, payload, ...draft } = answer.draft;
    const command = { kind: "command", ...draft, payload: JSON.parse(payload) } as const;
    const [id, log] = [newId(), await waits.logId()];
    let sent: ReturnType<Once["sent"]>;
    let position: number | undefined;
    try {
      const once = new Once(domain, command, id, key);
      const message = commandMessage(id, command, { longest });
      const append = { category, stream, expected: "any", messages: [message], publish } as const;
      const result = await store.commit({ appends: [append], ...once.commit });
      sent = once.sent(result.repeated);
      // Where one is that was sent before, only a search would tell.
      position = sent.repeated ? undefined : result.lastPosition;
    } catch (error) {
      if (error instanceof IdempotencyKeyError) {
        return problem(context, 409, error.message, { commandId: error.commandId });
      }
      if (error instanceof PayloadError) return problem(context, 422, error.message, { faults: error.faults });
      if (error instanceof DomainDefinitionError) return problem(context, 422, error.message);
      throw error;
    }
    const wait = waitOf(context.req.header("prefer"));
    const outcome = wait === null && !sent.repeated
      ? null
      : await unlessAway(() => outcomeWithin(sent.id, wait)) ?? null;
    return answerWith(context, {
      commandId: sent.id,
      aggregateId: sent.aggregateId,
      ...(position !== undefined && { position }),
      repeated: sent.repeated,
      token: encodeToken({ log, position: position ?? 0, command: sent.id }),
      outcome,
    });
  });

  app.get("/outcomes/:id", async (context) => {
    const commandId = context.req.param("id");
    const outcome = await outcomeWithin(commandId, waitOf(context.req.header("prefer")));
    return context.json({ commandId, outcome });
  });
  return app;
}
