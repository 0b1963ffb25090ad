/** `client.ts` of a new project: sends commands, and shows the rows that follow. */
export const CLIENT_TEXT = `import { connect } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import bank, { Balance, Deposit, OpenAccount, Withdraw } from "./domain.ts";

const USAGE = \`deno task client open ACCOUNT OWNER
deno task client deposit ACCOUNT AMOUNT
deno task client withdraw ACCOUNT AMOUNT
deno task client list\`;

/** What the user wants: a command, or undefined to list all accounts. */
function commandOf([verb, accountId = "", value = ""]: string[]) {
  switch (verb) {
    case "open":
      return OpenAccount({ accountId, owner: value });
    case "deposit":
      return Deposit({ accountId, amount: Number(value) });
    case "withdraw":
      return Withdraw({ accountId, amount: Number(value) });
    case "list":
      return undefined;
    default:
      throw new Error(USAGE);
  }
}

async function main(args: string[]): Promise<void> {
  const command = commandOf(args);
  // The same store as the server's: it and the client read the same settings.
  await using client = await connect(bank, { config: loadConfig() });
  if (command === undefined) {
    for (const row of (await client.rows(Balance)).values()) console.log(row);
    return;
  }
  // Waits until the command is decided and the projection shows it.
  const { outcome } = await client.process(command, { until: [Balance] });
  if (outcome?.status !== "accepted") {
    throw new Error(\`\${outcome?.status}: \${outcome?.message}\`);
  }
  console.log(outcome.events.join(", "));
  console.log(await client.row(Balance, args[1]));
}

try {
  await main(Deno.args);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exitCode = 1;
}
`;
