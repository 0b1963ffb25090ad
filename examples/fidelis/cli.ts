import { AnnalsError } from "@annals/annals";
import { type Client, connect, type Receipt } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { Account, CloseAccount, MakeDeposit, MakeWithdrawal, OpenAccount } from "./account.ts";
import { settleBooks } from "./books.ts";
import fidelis from "./domain.ts";
import { CURRENCY, formatMoney, parseMoney } from "./money.ts";
import { AccountSummary } from "./reactions.ts";
import { simulate } from "./simulate.ts";
import { InitiateTransfer, Transfer, type TransferState } from "./transfer.ts";

/** How long to wait for the end of a transfer, in milliseconds. */
const TRANSFER_PATIENCE = 30_000;

interface Sending {
  readonly wait?: boolean;
  readonly idempotencyKey?: string;
  readonly json?: boolean;
}

function money(text: string): number {
  try {
    return parseMoney(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

function positive(text: string): number {
  const number = whole(text);
  if (number === 0) throw new InvalidArgumentError("Expected a whole number from 1.");
  return number;
}

function time(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError("Expected a time like 2026-01-31T12:00:00Z.");
  }
  return date;
}

/** Thrown when a request cannot be fulfilled. */
class Refusal extends AnnalsError {
  constructor(message: string, override readonly exitCode: 1 | 2) {
    super(message);
  }
}

let exitCode = 0;

function print(json: boolean | undefined, value: unknown, text: string): void {
  console.log(json ? JSON.stringify(value) : text);
}

/** Runs work on the ledger's store. */
async function withClient(program: Command, work: (client: Client) => Promise<void>): Promise<void> {
  await using client = await connect(fidelis, { config: loadConfig({ file: program.opts().config }) });
  await work(client);
}

/** Sends a command and prints its id or outcome. */
async function send(
  program: Command,
  command: Parameters<Client["process"]>[0],
  { wait, idempotencyKey, json }: Sending,
  idOf: (receipt: Receipt) => string = (receipt) => receipt.commandId,
): Promise<void> {
  await withClient(program, async (client) => {
    const receipt = await client.process(command, {
      ...(wait === undefined ? {} : { wait }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
    const { outcome } = receipt;
    if (outcome === null || outcome.status === "accepted") return print(json, receipt, idOf(receipt));
    exitCode = 1;
    if (json) console.log(JSON.stringify(receipt));
    console.error(`${outcome.status}: ${outcome.message}`);
  });
}

/** Sends a transfer; with `wait`, until the money has arrived, or has come back. */
async function transfer(
  program: Command,
  command: Parameters<Client["process"]>[0],
  options: Sending,
): Promise<void> {
  if (!options.wait) return await send(program, command, options, (receipt) => receipt.aggregateId);
  await withClient(program, async (client) => {
    const { idempotencyKey } = options;
    const receipt = await client.process(command, { wait: true, ...(idempotencyKey && { idempotencyKey }) });
    const { outcome, aggregateId } = receipt;
    const refused = outcome?.status === "accepted" ? undefined : outcome;
    const ended = refused ? undefined : await endOf(client, aggregateId);
    const reason = refused ? `${refused.status}: ${refused.message}` : ended?.status === "failed" && ended.reason;
    if (reason) exitCode = 1;
    if (options.json) console.log(JSON.stringify({ ...receipt, ...(ended && { transfer: ended }) }));
    else if (!reason) console.log(aggregateId);
    if (reason) console.error(refused ? reason : `failed: ${reason}`);
  });
}

/** Waits until a transfer has ended. */
async function endOf(client: Client, id: string): Promise<Exclude<TransferState, { status: "none" }>> {
  const until = performance.now() + TRANSFER_PATIENCE;
  while (true) {
    const changed = client.store.changed(500);
    const { state } = await client.load(Transfer, id);
    if (state.status === "completed" || state.status === "failed") return state;
    if (performance.now() > until) {
      throw new Refusal(
        `Transfer ${id} has not ended within ${TRANSFER_PATIENCE / 1000} s; it goes on while a server runs`,
        1,
      );
    }
    await changed;
  }
}

function sending(command: Command): Command {
  return command
    .option("--wait", "wait until the command is decided; exit with 1 if it is refused")
    .option("--idempotency-key <key>", "send the command only once, even if this is run again")
    .option("--json", "print one JSON object");
}

function build(): Command {
  const program = new Command("fidelis")
    .description("The bank ledger: a client of a running server.")
    .option("--config <file>", "the server's configuration (default: domain.toml)")
    .addHelpText("after", "\nExit codes: 0 success, 1 refused or not balanced, 2 wrong usage or configuration.")
    .allowExcessArguments(false)
    .showHelpAfterError("(run with --help for usage)")
    .exitOverride();

  sending(program.command("open").description("open an account; prints its id"))
    .requiredOption("--number <number>", "the account number, unique")
    .requiredOption("--holder <name>", "the name of the account holder")
    .option("--deposit <amount>", "the opening deposit", money, 0)
    .action(({ number, holder, deposit, ...options }) =>
      send(
        program,
        OpenAccount({ accountNumber: number, holderName: holder, openingDeposit: deposit }),
        options,
        (receipt) => receipt.aggregateId,
      )
    );

  sending(program.command("deposit").description("deposit money; prints the command's id"))
    .argument("<account>", "its id")
    .argument("<amount>", "like 500.00", money)
    .option("--reference <text>", "the purpose")
    .option("--source-type <text>", "the source of the money")
    .action((accountId: string, amount: number, { reference, sourceType, ...options }) =>
      send(
        program,
        MakeDeposit({ accountId, amount, ...(reference && { reference }), ...(sourceType && { sourceType }) }),
        options,
      )
    );

  sending(program.command("withdraw").description("withdraw money; prints the command's id"))
    .argument("<account>", "its id")
    .argument("<amount>", "like 500.00", money)
    .option("--reference <text>", "the purpose")
    .action((accountId: string, amount: number, { reference, ...options }) =>
      send(program, MakeWithdrawal({ accountId, amount, ...(reference && { reference }) }), options)
    );

  sending(program.command("close").description("close an account whose balance is 0; prints the command's id"))
    .argument("<account>", "its id")
    .option("--reason <text>", "why")
    .action((accountId: string, { reason, ...options }) =>
      send(program, CloseAccount({ accountId, ...(reason && { reason }) }), options)
    );

  sending(program.command("transfer").description("move money to another account; prints the transfer's id"))
    .argument("<from>", "the id of the account that pays")
    .argument("<to>", "the id of the account that receives")
    .argument("<amount>", "like 300.00", money)
    .action((sourceAccountId: string, destinationAccountId: string, amount: number, options) =>
      transfer(program, InitiateTransfer({ sourceAccountId, destinationAccountId, amount }), options)
    );

  program.command("summary").description("show accounts, from the projection")
    .argument("[account]", "its id")
    .option("--all", "all accounts")
    .option("--json", "print JSON")
    .action(async (accountId: string | undefined, options) => {
      if ((accountId === undefined) === !options.all) {
        throw new Refusal("Name one account, or --all", 2);
      }
      await withClient(program, (client) => summary(client, accountId, options));
    });

  program.command("balance").description("show a balance, from the events")
    .argument("<account>", "its id")
    .option("--at-version <n>", "after this event of the account; the first is 0", whole)
    .option("--as-of <time>", "as of this time", time)
    .option("--json", "print one JSON object")
    .action((accountId: string, options) => withClient(program, (client) => balance(client, accountId, options)));

  program.command("simulate").description("run random operations against the server, then check the books")
    .option("--accounts <n>", "the number of accounts", positive, 100)
    .option("--operations <n>", "the number of deposits, withdrawals and transfers", positive, 10_000)
    .option("--transfers <percent>", "how many of a hundred operations are transfers", whole, 20)
    .option("--concurrency <n>", "the number of concurrent operations", positive, 50)
    .option("--rate <n>", "the maximum number per second", positive)
    .option("--seed <n>", "the seed; the same seed repeats the same operations", whole, 42)
    .option("--json", "print one JSON object")
    .action((options) =>
      withClient(program, async (client) => {
        const result = await simulate(client, { ...options, progress: !options.json });
        if (!result.balanced) exitCode = 1;
        print(options.json, result, report(result));
      })
    );

  program.command("check").description("check the books")
    .option("--json", "print one JSON object")
    .action((options) =>
      withClient(program, async (client) => {
        const books = await settleBooks(client, 10_000);
        if (!books.balanced) exitCode = 1;
        const text = books.balanced
          ? `The books balance: ${books.accounts} accounts, ${formatMoney(books.total)} ${CURRENCY}`
          : `The books do not balance:\n${books.problems.map((problem) => `  ${problem}`).join("\n")}`;
        print(options.json, books, text);
      })
    );
  return program;
}

async function summary(
  client: Client,
  accountId: string | undefined,
  options: { readonly all?: boolean; readonly json?: boolean },
): Promise<void> {
  const found = accountId === undefined
    ? await client.rows(AccountSummary)
    : [await client.row(AccountSummary, accountId)];
  if (accountId !== undefined && found[0] === null) {
    throw Object.assign(new Error(`There is no account ${accountId} in the projection (yet)`), {
      name: "DomainRuleError",
    });
  }
  if (options.json) return console.log(JSON.stringify(options.all ? found : found[0]));
  const rows = found.filter((row) => row !== null);
  const widths = {
    number: Math.max(6, ...rows.map((row) => row.accountNumber.length)),
    holder: Math.max(6, ...rows.map((row) => row.holderName.length)),
  };
  console.log(
    `${"account".padEnd(36)}  ${"number".padEnd(widths.number)}  ${"holder".padEnd(widths.holder)}  ${
      "balance".padStart(14)
    }  count  status`,
  );
  for (const row of rows) {
    console.log(
      `${row.accountId.padEnd(36)}  ${row.accountNumber.padEnd(widths.number)}  ${
        row.holderName.padEnd(widths.holder)
      }  ${formatMoney(row.balance).padStart(14)}  ${String(row.transactionCount).padStart(5)}  ${row.status}`,
    );
  }
}

async function balance(
  client: Client,
  accountId: string,
  { atVersion, asOf, json }: { readonly atVersion?: number; readonly asOf?: Date; readonly json?: boolean },
): Promise<void> {
  const { state, version } = await client.load(Account, accountId, {
    ...(atVersion === undefined ? {} : { atVersion }),
    ...(asOf === undefined ? {} : { asOf }),
  });
  if (version < 0) {
    throw new Refusal(`There is no account ${accountId}${asOf ? " at that time" : ""}`, 1);
  }
  const value = { accountId, balance: formatMoney(state.balance), currency: CURRENCY, status: state.status, version };
  print(json, value, value.balance);
}

function report(result: Awaited<ReturnType<typeof simulate>>): string {
  const { operations, accepted, refused, operationsPerSecond, latencyMs, problems } = result;
  return [
    `${operations} operations (${accepted} accepted, ${refused} refused), ${operationsPerSecond} a second`,
    `from command to projection: p50 ${latencyMs.p50} ms, p99 ${latencyMs.p99} ms`,
    ...(result.balanced
      ? ["The books balance"]
      : ["The books do not balance:", ...problems.map((line) => `  ${line}`)]),
  ].join("\n");
}

if (import.meta.main) {
  try {
    await build().parseAsync();
  } catch (error) {
    // Commander has already reported the usage error.
    if (error instanceof CommanderError) Deno.exit(error.exitCode === 0 ? 0 : 2);
    const isOurs = error instanceof AnnalsError;
    console.error(isOurs ? error.message : error);
    Deno.exit(isOurs ? error.exitCode : 1);
  }
  Deno.exit(exitCode);
}
