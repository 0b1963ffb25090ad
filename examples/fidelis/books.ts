import type { Client } from "@annals/annals/client";
import { Account } from "./account.ts";
import { formatMoney } from "./money.ts";
import { AccountReport, AccountSummary } from "./reactions.ts";
import { REFERENCE, Transfer } from "./transfer.ts";

/** The result of checking the books. */
export interface Books {
  /** Whether there are no problems. */
  readonly balanced: boolean;
  /** The number of accounts. */
  readonly accounts: number;
  /** The sum of all balances, in cents. */
  readonly total: number;
  /** The number of events not in the projection yet, and of transfers that have not ended. */
  readonly pending: number;
  /** The number of dead letters. */
  readonly deadLetters: number;
  /** The problems found. */
  readonly problems: readonly string[];
}

interface Entry {
  readonly position: number;
  readonly amount: number;
  readonly counts: boolean;
  /** The transfer that it belongs to. */
  readonly transfer: string | undefined;
}

/** Returns the change that an event makes to the balance. */
function amountOf(type: string, payload: { openingDeposit?: number; amount?: number }): Entry["amount"] {
  switch (type) {
    case "AccountOpened":
      return payload.openingDeposit ?? 0;
    case "DepositMade":
      return payload.amount ?? 0;
    case "WithdrawalMade":
      return -(payload.amount ?? 0);
    default:
      return 0;
  }
}

/** Reads the whole log and computes every balance independently of the ledger's code. */
async function ledger({ store, domain }: Client): Promise<Map<string, Entry[]>> {
  const category = domain.categoryOf(Account);
  const accounts = new Map<string, Entry[]>();
  for (let after = 0;;) {
    const records = await store.readLog({ category, after, limit: 5_000 });
    if (records.length === 0) return accounts;
    for (const { stream, type, data, position } of records) {
      const id = stream.slice(category.length + 1);
      const entries = accounts.get(id) ?? [];
      const counts = type === "DepositMade" || type === "WithdrawalMade";
      const payload = JSON.parse(data);
      const isMoved = counts && payload.reference?.startsWith(REFERENCE);
      const transfer = isMoved ? payload.reference.slice(REFERENCE.length) : undefined;
      entries.push({ position, amount: amountOf(type, payload), counts, transfer });
      accounts.set(id, entries);
    }
    after = records[records.length - 1].position;
  }
}

/** A transfer as its events tell. */
interface Moved {
  readonly amount: number;
  readonly source: string;
  readonly destination: string;
  readonly end: string | undefined;
}

/** Reads all transfers. */
async function transfers({ store, domain }: Client): Promise<Map<string, Moved>> {
  const category = domain.categoryOf(Transfer);
  const found = new Map<string, Moved>();
  for (let after = 0;;) {
    const records = await store.readLog({ category, after, limit: 5_000 });
    if (records.length === 0) return found;
    for (const { type, data } of records) {
      const { transferId, amount, sourceAccountId: source, destinationAccountId: destination } = JSON.parse(data);
      const known = found.get(transferId) ?? { amount, source, destination, end: undefined };
      found.set(transferId, type === "TransferInitiated" ? known : { ...known, end: type });
    }
    after = records[records.length - 1].position;
  }
}

/** What is wrong with a transfer that has ended: each moves its money once, or not at all. */
function faultOf({ amount, source, destination, end }: Moved, moves: ReadonlyMap<string, readonly number[]>) {
  const of = (account: string) => JSON.stringify(moves.get(account) ?? []);
  const [out, into] = [of(source), of(destination)];
  const isRight = end === "TransferCompleted"
    ? out === `[${-amount}]` && into === `[${amount}]`
    : (out === "[]" || out === `[${-amount},${amount}]`) && into === "[]";
  if (isRight) return undefined;
  return `is ${end}, and moved ${formatMoney(amount)}: of its source ${out}, of its destination ${into} (in cents)`;
}

/**
 * Checks the books: every balance recomputed from events equals the projection's row, the balances add up to deposits
 * minus withdrawals, no transfer is half done, and there are no dead letters.
 *
 * @param client Connected to the ledger.
 * @returns The result.
 */
export async function checkBooks(client: Client): Promise<Books> {
  const { store, domain } = client;
  const category = domain.categoryOf(Account);
  const problems: string[] = [];
  // Read the checkpoint first: rows read afterwards must include everything it covers.
  const done = await client.progress(AccountSummary);
  const shown = (await store.generations()).find((one) => one.isActive && one.projection === AccountSummary.name);
  const deferred = new Set(
    (await store.deferred(shown?.group ?? "AccountSummaryProjector")).map(({ stream }) => stream),
  );
  const rows = new Map((await store.listRows(AccountSummary.name)).map((row) => [row.key, row]));
  const reports = new Map((await store.listRows(AccountReport.name)).map((row) => [row.key, row]));
  const moved = await transfers(client);
  const accounts = await ledger(client);
  const moves = new Map<string, Map<string, number[]>>();
  let total = 0;
  let pending = 0;
  let fromRows = 0;
  for (const [id, entries] of accounts) {
    for (const { transfer, amount } of entries) {
      if (transfer === undefined) continue;
      const its = moves.get(transfer) ?? new Map<string, number[]>();
      moves.set(transfer, its.set(id, [...its.get(id) ?? [], amount]));
    }
    const row = rows.get(id);
    const upTo = row?.position ?? 0;
    const seen = entries.filter((entry) => entry.position <= upTo);
    const missed = entries.filter((entry) => entry.position > upTo && entry.position <= done && entry.amount !== 0);
    pending += entries.length - seen.length;
    total += entries.reduce((sum, entry) => sum + entry.amount, 0);
    const balance = seen.reduce((sum, entry) => sum + entry.amount, 0);
    if (missed.length > 0 && !deferred.has(`${category}-${id}`)) {
      problems.push(`account ${id}: the projection has passed ${missed.length} events that it does not show`);
    }
    if (!row) continue;
    const shown = JSON.parse(row.row!) as { balance: number; transactionCount: number };
    fromRows += shown.balance;
    if (shown.balance !== balance) {
      problems.push(
        `account ${id}: the projection shows ${formatMoney(shown.balance)}, its events come to ${formatMoney(balance)}`,
      );
    }
    const count = seen.filter((entry) => entry.counts).length;
    if (shown.transactionCount !== count) {
      problems.push(`account ${id}: the projection counts ${shown.transactionCount} transactions, there are ${count}`);
    }
    if (balance < 0) problems.push(`account ${id}: its balance is ${formatMoney(balance)}`);
    const report = reports.get(id);
    if (!report) continue;
    // A fact stands behind the events that it tells of.
    const told = entries.filter((entry) => entry.position <= report.position).reduce((sum, one) => sum + one.amount, 0);
    const reported = (JSON.parse(report.row!) as { balance: number }).balance;
    if (reported !== told) {
      problems.push(
        `account ${id}: the report shows ${formatMoney(reported)}, its events come to ${formatMoney(told)}`,
      );
    }
  }
  for (const [id, transfer] of moved) {
    if (transfer.end === undefined) pending++;
    else {
      const fault = faultOf(transfer, moves.get(id) ?? new Map());
      if (fault) problems.push(`transfer ${id} ${fault}`);
    }
  }
  for (const id of rows.keys()) {
    if (!accounts.has(id)) problems.push(`account ${id}: the projection has a row, but there are no events`);
  }
  if (pending === 0 && fromRows !== total) {
    problems.push(`all balances come to ${formatMoney(fromRows)}, deposits minus withdrawals to ${formatMoney(total)}`);
  }
  const deadLetters = Object.values(await store.countDeadLetters()).reduce((sum, count) => sum + count, 0);
  if (deadLetters > 0) problems.push(`${deadLetters} dead letters; see: deno task annals dlq list`);
  return { balanced: problems.length === 0, accounts: accounts.size, total, pending, deadLetters, problems };
}

/**
 * Waits until the projection shows every event and every transfer has ended, then checks the books.
 *
 * @param client Connected to the ledger.
 * @param patience How long to wait without progress, in milliseconds.
 * @returns The result; events still pending after that are a problem.
 */
export async function settleBooks(client: Client, patience: number): Promise<Books> {
  let books = await checkBooks(client);
  let best = books.pending;
  let since = performance.now();
  while (books.pending > 0) {
    if (performance.now() - since > patience) {
      const problem =
        `${books.pending} events have not reached the projection, or transfers have not ended; is the server running?`;
      return { ...books, balanced: false, problems: [...books.problems, problem] };
    }
    await client.store.changed(200);
    books = await checkBooks(client);
    if (books.pending < best) since = performance.now();
    best = books.pending;
  }
  return books;
}
