/** `domain.ts` of a new project: accounts, who decides about them, and what is shown of them. */
export const domainText = (name: string): string =>
  `import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainRuleError,
  event,
  eventHandler,
  projection,
  projector,
} from "@annals/annals";
import { z } from "zod";

// Events: what has happened. They are kept for ever. Amounts are whole numbers, like cents.

const opening = z.object({ accountId: z.string(), owner: z.string().min(1) });
const move = z.object({ accountId: z.string(), amount: z.int().positive() });

export const AccountOpened = event("AccountOpened", { schema: opening });
export const MoneyDeposited = event("MoneyDeposited", { schema: move });
export const MoneyWithdrawn = event("MoneyWithdrawn", { schema: move });

// An aggregate: what has to be known of one account to decide about it, folded from its events.

export const Account = aggregate("Account", {
  events: [AccountOpened, MoneyDeposited, MoneyWithdrawn],
  initial: () => ({ isOpen: false, balance: 0 }),
  evolve: {
    AccountOpened: (account) => ({ ...account, isOpen: true }),
    MoneyDeposited: (account, { payload }) => ({
      ...account,
      balance: account.balance + payload.amount,
    }),
    MoneyWithdrawn: (account, { payload }) => ({
      ...account,
      balance: account.balance - payload.amount,
    }),
  },
  // A command whose events would break one of them is refused, and nothing is written.
  invariants: {
    "the balance may not fall below zero": ({ balance }) => balance >= 0,
  },
});

// Commands: what somebody wants. \`target\` is the id of the aggregate that decides.

const target = ({ accountId }: { accountId: string }) => accountId;

export const OpenAccount = command("OpenAccount", { schema: opening, target });
export const Deposit = command("Deposit", { schema: move, target });
export const Withdraw = command("Withdraw", { schema: move, target });

function mustBeOpen({ isOpen }: { isOpen: boolean }): void {
  if (!isOpen) throw new DomainRuleError("accountId", "is not open");
}

// A command handler takes the account as it is and a command, and returns the events that follow.

const Teller = commandHandler("Teller", Account, {
  commands: [OpenAccount, Deposit, Withdraw],
  handle: {
    OpenAccount: ({ isOpen }, { payload }) => {
      if (isOpen) throw new DomainRuleError("accountId", "is open already");
      return AccountOpened(payload);
    },
    Deposit: (account, { payload }) => {
      mustBeOpen(account);
      return MoneyDeposited(payload);
    },
    Withdraw: (account, { payload }) => {
      mustBeOpen(account);
      return MoneyWithdrawn(payload);
    },
  },
});

// A projection: rows to read. Its projector takes a row (null if there is none) and an event, and returns the new row.

export const Balance = projection("Balance", {
  key: "accountId",
  schema: z.object({
    accountId: z.string(),
    owner: z.string(),
    balance: z.int(),
  }),
});

const BalanceProjector = projector("BalanceProjector", Balance, {
  events: [AccountOpened, MoneyDeposited, MoneyWithdrawn],
  on: {
    AccountOpened: (_row, { payload }) => ({ ...payload, balance: 0 }),
    MoneyDeposited: (row, { payload }) =>
      row && { ...row, balance: row.balance + payload.amount },
    MoneyWithdrawn: (row, { payload }) =>
      row && { ...row, balance: row.balance - payload.amount },
  },
});

// An event handler: the place for effects outside, like mail. This one writes a line to the server's log.

export const Watchman = eventHandler("Watchman", {
  events: [MoneyWithdrawn],
  on: {
    MoneyWithdrawn: ({ payload }, context) => {
      if (payload.amount < 1_000) return;
      context.log.warn("A large withdrawal", payload);
    },
  },
});

export default domain("${name}", {
  aggregates: [Account],
  handlers: [Teller, BalanceProjector, Watchman],
});
`;
