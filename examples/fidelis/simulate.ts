import type { EventStore } from "@annals/annals/store";
import type { Client, Receipt } from "@annals/annals/client";
import { SingleBar } from "cli-progress";
import type { MessageRecord } from "@annals/annals";
import { Account, CloseAccount, MakeDeposit, MakeWithdrawal, OpenAccount } from "./account.ts";
import { settleBooks } from "./books.ts";
import { AccountSummary } from "./reactions.ts";
import { InitiateTransfer, Transfer, TransferCompleted, TransferInitiated } from "./transfer.ts";

/** Settings of {@linkcode simulate}. */
export interface SimulateOptions {
  /** The number of accounts to open first. */
  readonly accounts: number;
  /** The number of deposits, withdrawals and transfers. */
  readonly operations: number;
  /** How many of a hundred operations are transfers. @default {20} */
  readonly transfers?: number;
  /** The number of concurrent operations. */
  readonly concurrency: number;
  /** The same seed repeats the same operations. */
  readonly seed: number;
  /** The maximum number of operations per second; unlimited by default. */
  readonly rate?: number;
  /** Whether to show a progress bar on a terminal. */
  readonly progress: boolean;
}

/** The result of a simulation. */
export interface SimulationResult {
  /** Whether the books balance. */
  readonly balanced: boolean;
  /** The number of decided operations. */
  readonly operations: number;
  /** The number of accepted operations. */
  readonly accepted: number;
  /** The number of operations refused by a rule, and of transfers that failed. */
  readonly refused: number;
  /** Operations per second, from the first command to the last row of the projection. */
  readonly operationsPerSecond: number;
  /** From sending a command to its effect in the projection, in milliseconds; transfers are not among them. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** The number of dead letters. */
  readonly deadLetters: number;
  /** The seed. */
  readonly seed: number;
  /** The problems found. */
  readonly problems: readonly string[];
}

/** mulberry32: a small seeded generator (public domain, Tommy Ettinger). */
export function seededRandom(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A command that was sent. */
interface Sent {
  readonly receipt: Receipt;
  readonly at: number;
  readonly decided: () => void;
  event?: number;
}

/** A transfer that was sent, and who is told when it has ended. */
type Ended = (status: "accepted" | "refused") => void;

/** The number of events per read. */
const MOST_READ = 5_000;

/** Follows the log and determines the outcome of all pending commands with few reads. */
class Follower {
  readonly latencies: number[] = [];
  accepted = 0;
  refused = 0;
  readonly failures: string[] = [];
  /** The time of the last progress. */
  moved = performance.now();
  #client: Client;
  #waiting = new Map<string, Sent>();
  #projecting = new Map<string, Sent>();
  #early = new Map<string, number>();
  #transfers = new Map<string, Ended>();
  #endedEarly = new Map<string, "accepted" | "refused">();
  #after: number;
  #transfersAfter: number;
  #stop = new AbortController();

  constructor(client: Client, after: number) {
    this.#client = client;
    this.#after = this.#transfersAfter = after;
  }

  /** The number of commands sent but not in the projection yet. */
  get open(): number {
    return this.#waiting.size + this.#projecting.size + this.#transfers.size;
  }

  /** Follows a command; resolves when it is decided. */
  follow(receipt: Receipt, at: number): Promise<void> {
    if (receipt.outcome) {
      this.#count(receipt.outcome.status, receipt);
      this.latencies.push(performance.now() - at);
      return Promise.resolve();
    }
    const early = this.#early.get(receipt.commandId);
    if (early !== undefined) {
      this.#early.delete(receipt.commandId);
      this.#projecting.set(receipt.commandId, { receipt, at, decided: () => {}, event: early });
      this.#count("accepted", receipt);
      return Promise.resolve();
    }
    return new Promise((decided) => this.#waiting.set(receipt.commandId, { receipt, at, decided }));
  }

  /** Follows a transfer; resolves when it has ended. */
  followTransfer(receipt: Receipt): Promise<void> {
    const early = this.#endedEarly.get(receipt.aggregateId);
    this.#endedEarly.delete(receipt.aggregateId);
    return new Promise((resolve) => {
      const ended: Ended = (status) => {
        this.#count(status, receipt);
        resolve();
      };
      if (early) ended(early);
      else this.#transfers.set(receipt.aggregateId, ended);
    });
  }

  /** Transfers that have ended. */
  #end(records: readonly MessageRecord[]): void {
    for (const { type, stream, category, position } of records) {
      this.#transfersAfter = position;
      if (type === TransferInitiated.type) continue;
      const id = stream.slice(category.length + 1);
      const status = type === TransferCompleted.type ? "accepted" : "refused";
      const ended = this.#transfers.get(id);
      this.#transfers.delete(id);
      if (ended) ended(status);
      // It has ended before the sender knew that it was stored.
      else this.#endedEarly.set(id, status);
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async run(): Promise<void> {
    const { store, domain } = this.#client;
    const category = domain.categoryOf(Account);
    const ofTransfers = domain.categoryOf(Transfer);
    while (!this.#stop.signal.aborted) {
      const changed = store.changed(100, this.#stop.signal);
      const [progress, checkpoints, records, transfers] = await Promise.all([
        this.#client.progress(AccountSummary),
        store.checkpoints("AccountCommandHandler"),
        store.readLog({ category, after: this.#after, limit: MOST_READ }),
        store.readLog({ category: ofTransfers, after: this.#transfersAfter, limit: MOST_READ }),
      ]);
      this.#end(transfers);
      const decided = progressOf(checkpoints, `${category}:command`);
      for (const { causationId, position } of records) {
        const sent = causationId === null ? undefined : this.#waiting.get(causationId);
        this.#after = position;
        if (!sent) {
          // Decided before the sender knew that it was stored.
          if (causationId !== null) this.#early.set(causationId, position);
          continue;
        }
        this.#waiting.delete(causationId!);
        this.#projecting.set(causationId!, Object.assign(sent, { event: position }));
        this.#count("accepted", sent.receipt);
        sent.decided();
      }
      await this.#refusals(decided);
      const now = performance.now();
      for (const [id, { event, at }] of this.#projecting) {
        if (event! > progress) continue;
        this.#projecting.delete(id);
        this.latencies.push(now - at);
        this.moved = now;
      }
      // A write since the last read has already been signalled.
      if (records.length < MOST_READ) await changed;
    }
  }

  /** Commands that the handler has passed without an event. */
  async #refusals(decided: number): Promise<void> {
    for (const [id, { receipt, decided: tell }] of this.#waiting) {
      if (receipt.position > decided) continue;
      const outcome = await this.#client.outcome(id);
      // Accepted: its event comes later in the log. No outcome yet: it is deferred and will be retried.
      if (outcome === null || outcome.status === "accepted") continue;
      this.#waiting.delete(id);
      this.#count(outcome.status, receipt, outcome.message);
      tell();
    }
  }

  #count(status: string, { commandId }: Receipt, message = ""): void {
    this.moved = performance.now();
    if (status === "accepted") this.accepted++;
    else if (status === "refused") this.refused++;
    else this.failures.push(`command ${commandId} failed: ${message}`);
  }
}

function progressOf(
  checkpoints: Awaited<ReturnType<EventStore["checkpoints"]>>,
  category: string,
): number {
  const found = checkpoints.filter((c) => c.category === category);
  return found.length === 0 ? 0 : Math.min(...found.map((c) => c.position));
}

/** How many accounts transfer money to each other. */
const FEW_ACCOUNTS = 10;

/** How long a simulation waits without progress before it gives up, in milliseconds. */
const PATIENCE = 60_000;

function percentile(sorted: readonly number[], p: number): number {
  if (sorted.length === 0) return 0;
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] * 100) / 100;
}

/**
 * Opens accounts, then deposits, withdraws and transfers at random, waits until everything has settled, and checks the books.
 *
 * @param client Connected to the ledger of a running server.
 * @param options Its size and pace.
 * @returns The result.
 */
export async function simulate(client: Client, options: SimulateOptions): Promise<SimulationResult> {
  const { accounts, operations, concurrency, seed, rate, transfers = 20 } = options;
  const random = seededRandom(seed);
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const follower = new Follower(client, await client.store.lastPosition());
  const following = follower.run();
  const bar = new SingleBar({
    format: "{bar} {percentage}% | {value}/{total} | {rate} operations/s",
    clearOnComplete: true,
  });
  const shown = options.progress && Deno.stderr.isTerminal();
  const watch = { stalled: false };
  const guard = setInterval(() => {
    if (performance.now() - follower.moved > PATIENCE) watch.stalled = true;
  }, 1_000);
  let sent = 0;
  /** Sends commands with limited concurrency. */
  const drive = async (
    count: number,
    make: () => Parameters<Client["process"]>[0],
    pace?: number,
  ): Promise<string[]> => {
    const ids: string[] = [];
    const began = performance.now();
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < count && !watch.stalled) {
        const n = next++;
        const command = make();
        if (pace !== undefined) {
          const pause = began + n * 1000 / pace - performance.now();
          if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        }
        const at = performance.now();
        const receipt = await client.process(command);
        ids[n] = receipt.aggregateId;
        const isTransfer = command.type === InitiateTransfer.type;
        const decided = isTransfer ? follower.followTransfer(receipt) : follower.follow(receipt, at);
        await Promise.race([decided, stalled(watch)]);
        if (shown && ++sent % 20 === 0) bar.update(n, { rate: Math.round(n / (performance.now() - began) * 1000) });
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, count) }, lane));
    return ids;
  };
  if (shown) bar.start(operations, 0, { rate: 0 });
  const run = crypto.randomUUID().slice(0, 8);
  let opened = 0;
  const ids = await drive(accounts, () =>
    OpenAccount({
      accountNumber: `SIM-${run}-${opened}`,
      holderName: `Holder ${opened++}`,
      openingDeposit: between(0, 200_000),
    }));
  while (follower.open > 0 && !watch.stalled) await client.store.changed(50);
  // Among few accounts, so that some cannot pay; and one is closed, so that money has to come back.
  const few = transfers > 0 && ids.length > 1 ? ids.slice(0, FEW_ACCOUNTS) : [];
  if (few.length > 0) {
    const [closed] = await drive(
      1,
      () => OpenAccount({ accountNumber: `SIM-${run}-closed`, holderName: "Closed", openingDeposit: 0 }),
    );
    await drive(1, () => CloseAccount({ accountId: closed }));
    few.push(closed);
  }
  const before = { latencies: follower.latencies.length, accepted: follower.accepted, refused: follower.refused };
  const began = performance.now();
  await drive(operations, () => {
    if (few.length > 0 && random() * 100 < transfers) {
      const [from, to] = [between(0, few.length - 2), between(1, few.length - 1)];
      return InitiateTransfer({
        sourceAccountId: few[from],
        destinationAccountId: few[(from + to) % few.length],
        amount: between(1, 120_000),
      });
    }
    const accountId = ids[between(0, ids.length - 1)];
    return random() < 0.6
      ? MakeDeposit({ accountId, amount: between(1, 150_000), reference: "simulation", sourceType: "cash" })
      : MakeWithdrawal({ accountId, amount: between(1, 120_000), reference: "simulation" });
  }, rate);
  while (follower.open > 0 && !watch.stalled) await client.store.changed(50);
  const seconds = (performance.now() - began) / 1000;
  clearInterval(guard);
  follower.stop();
  await following;
  if (shown) bar.stop();
  const books = await settleBooks(client, 10_000);
  const problems = [...books.problems, ...follower.failures];
  if (watch.stalled) {
    problems.push(
      `no progress for ${PATIENCE / 1000} s with ${follower.open} operations open; is the server running?`,
    );
  }
  const latencies = follower.latencies.slice(before.latencies).sort((a, b) => a - b);
  const accepted = follower.accepted - before.accepted;
  const refused = follower.refused - before.refused;
  return {
    balanced: problems.length === 0,
    operations: accepted + refused,
    accepted,
    refused,
    operationsPerSecond: Math.round(operations / seconds * 10) / 10,
    latencyMs: { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) },
    deadLetters: books.deadLetters,
    seed,
    problems,
  };
}

function stalled(watch: { stalled: boolean }): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!watch.stalled) return;
      clearInterval(timer);
      resolve();
    }, 1_000);
    Deno.unrefTimer(timer);
  });
}
