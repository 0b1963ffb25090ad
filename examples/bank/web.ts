import { connect, IdempotencyKeyError, OutcomeTimeoutError, ProjectionBehindError } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { Hono } from "hono";
import { z } from "zod";
import bank, { Balance, Deposit } from "./bank.ts";

const client = await connect(bank, { config: loadConfig() });
const deposit = z.object({ amount: z.int().positive() });

/** The bank over HTTP. */
export const app = new Hono();

app.post("/accounts/:id/deposits", async (context) => {
  const body = deposit.safeParse(await context.req.json().catch(() => null));
  if (!body.success) return context.json({ faults: body.error.issues }, 422);
  const idempotencyKey = context.req.header("Idempotency-Key");
  if (!idempotencyKey) return context.json({ fault: "an Idempotency-Key is needed" }, 400);
  const accountId = context.req.param("id");
  const { outcome, token, reached } = await client.process(
    Deposit({ accountId, amount: body.data.amount }),
    { idempotencyKey, until: [Balance], timeout: 2_000 },
  );
  if (outcome?.status !== "accepted") return context.json(outcome, 409);
  // Whoever reads with this token sees the deposit, whatever server answers.
  context.header("Read-After", token);
  return context.json(await client.row(Balance, accountId), reached ? 201 : 202);
});

app.get("/accounts/:id", async (context) => {
  const after = context.req.header("Read-After");
  const row = await client.row(Balance, context.req.param("id"), after === undefined ? {} : { after });
  return row ? context.json(row) : context.notFound();
});

app.onError((error, context) => {
  // The key of another deposit.
  if (error instanceof IdempotencyKeyError) return context.json({ fault: error.message }, 409);
  // It is stored, and not decided or not shown yet; sent again with the same key, it is not sent twice.
  if (error instanceof OutcomeTimeoutError || error instanceof ProjectionBehindError) {
    return context.json({ fault: error.message }, 503);
  }
  throw error;
});

if (import.meta.main) Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000) }, app.fetch);
