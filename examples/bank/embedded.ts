import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { Engine, logTo } from "@annals/annals/engine";
import { Hono } from "hono";
import bank, { Balance, Deposit } from "./bank.ts";

const config = loadConfig();
const engine = new Engine({
  module: import.meta.resolve("./bank.ts"),
  config,
  report: logTo((group, level, text) => console.error(level, group, text)),
});
await engine.start();
// It shares the engine's store: there is one connection pool, and what the engine writes is seen at once.
const client = new Client(bank, engine.store, config);

const app = new Hono();

app.post("/accounts/:id/deposits/:cents{[1-9][0-9]*}", async (context) => {
  const { id, cents } = context.req.param();
  const { outcome } = await client.process(Deposit({ accountId: id, amount: Number(cents) }), { until: [Balance] });
  return context.json(outcome, outcome?.status === "accepted" ? 201 : 409);
});

app.get("/accounts/:id", async (context) => {
  const row = await client.row(Balance, context.req.param("id"));
  return row ? context.json(row) : context.notFound();
});

app.get("/health", (context) => {
  const groups = engine.health();
  return context.json(groups, groups.every(({ state }) => state === "running" || state === "standby") ? 200 : 503);
});

const server = Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000) }, app.fetch);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    // First no more requests, then no more handling: whoever waits for an outcome gets it.
    await server.shutdown();
    await engine.stop();
    Deno.exit(0);
  });
}
