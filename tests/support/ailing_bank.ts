import type { Client } from "@annals/annals/client";
import { MakeDeposit } from "../../examples/fidelis/account.ts";
import { InitiateTransfer } from "../../examples/fidelis/transfer.ts";
import broken from "../fixtures/ailing/broken.ts";
import { AILING, OpenNamed } from "../fixtures/ailing/parts.ts";
import { type Server, Site, until } from "./server.ts";
import { freePort } from "./services.ts";

const FIXTURE = (name: string) => new URL(`../fixtures/ailing/${name}.ts`, import.meta.url);
const EXAMPLE = new URL("../../examples/fidelis", import.meta.url).pathname;

/** How many accounts there are, besides the one that its process fails on. */
const ACCOUNTS = 9;

/** A bank whose printer of statements fails on one account, with a dashboard. */
export class AilingBank implements AsyncDisposable {
  readonly site: Site;
  readonly url: string;
  server: Server;
  client!: Client;

  private constructor(site: Site, url: string) {
    this.site = site;
    this.url = url;
    this.server = site.start();
  }

  /** Starts it; `more` is more of `[server.http]`. */
  static async start(more = ""): Promise<AilingBank> {
    const port = freePort();
    const toml = [
      `[server]\nprojection_swap = "manual"`,
      `[server.http]\nlisten = "127.0.0.1:${port}"\n${more}`,
      "[server.stream_subscription]\nmax_retries = 2\nretry_delay_seconds = 0.02",
      `[server.permissions."*"]\nread = [${JSON.stringify(EXAMPLE)}]`,
    ];
    const bank = new AilingBank(Site.make("fidelis", FIXTURE("broken"), toml.join("\n")), `http://127.0.0.1:${port}`);
    await bank.server.running();
    bank.client = await bank.site.connect(broken);
    return bank;
  }

  /** Opens accounts, moves money, and waits until what fails is given up. */
  async fill(): Promise<void> {
    const { client } = this;
    const names = [...Array.from({ length: ACCOUNTS }, (_, i) => `acc-${i + 1}`), "odd-1"];
    const opened = names.map((accountId, i) =>
      client.process(OpenNamed({ accountId, holderName: `Holder ${i + 1}`, openingDeposit: 100_000 }), { wait: true })
    );
    await Promise.all(opened);
    for (let i = 0; i < 4; i++) {
      await client.process(MakeDeposit({ accountId: AILING, amount: 100 + i, reference: `<img src=x> ${i}` }), {
        wait: true,
      });
    }
    await this.depositOfOldVersion();
    await client.process(
      InitiateTransfer({ sourceAccountId: "acc-1", destinationAccountId: "acc-2", amount: 700 }),
      { wait: true },
    );
    await client.process(
      InitiateTransfer({ sourceAccountId: "acc-3", destinationAccountId: "nowhere", amount: 900 }),
      { wait: true },
    );
    await this.givenUp({ StatementPrinter: 5, Onboarding: 1 });
  }

  /** Waits until groups have given up so many. */
  async givenUp(counts: Record<string, number>): Promise<void> {
    let found: Record<string, number> = {};
    await until(
      async () => {
        found = await this.client.store.countDeadLetters();
        return Object.entries(counts).every(([group, n]) => (found[group] ?? 0) === n);
      },
      () => `${JSON.stringify(counts)} dead letters; there are ${JSON.stringify(found)}`,
    );
  }

  /** A deposit as the first version of the code wrote it. */
  async depositOfOldVersion(): Promise<void> {
    const id = crypto.randomUUID();
    await this.client.store.commit({
      appends: [{
        category: "fidelis::account",
        stream: `fidelis::account-${AILING}`,
        expected: "any",
        publish: true,
        messages: [{
          id,
          type: "DepositMade",
          schemaVersion: 1,
          time: Date.now(),
          correlationId: id,
          causationId: null,
          data: JSON.stringify({ accountId: AILING, amount: 4_200, reference: "of old" }),
          metadata: JSON.stringify({ by: "teller 4" }),
        }],
      }],
    });
  }

  /** Takes the server away. */
  async stop(): Promise<void> {
    await this.server.stop();
  }

  /** Starts a server with code that does not fail. */
  async mend(): Promise<void> {
    const toml = Deno.readTextFileSync(this.site.file);
    Deno.writeTextFileSync(this.site.file, toml.replace("ailing/broken.ts", "ailing/mended.ts"));
    this.server = await this.site.start().running();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client?.close();
    await this.site[Symbol.asyncDispose]();
  }
}
