import { aggregate, command, commandHandler, DomainRuleError, event } from "@annals/annals";
import { z } from "zod";
import { cents } from "./money.ts";

const accountId = z.string().min(1);
const email = z.email();

export const AccountOpened = event("AccountOpened", {
  schema: z.object({ accountId, accountNumber: z.string(), holderName: z.string(), openingDeposit: cents }),
});
const depositMade = z.object({
  accountId,
  amount: cents,
  reference: z.string().optional(),
  sourceType: z.string(),
});
export const DepositMade = event("DepositMade", {
  version: 2,
  schema: depositMade,
  // Version 1 did not say where the money came from.
  upcast: { 1: (v1: Omit<z.input<typeof depositMade>, "sourceType">) => ({ ...v1, sourceType: "unknown" }) },
});
export const WithdrawalMade = event("WithdrawalMade", {
  schema: z.object({ accountId, amount: cents, reference: z.string().optional() }),
});
export const AccountClosed = event("AccountClosed", { schema: z.object({ accountId, reason: z.string().optional() }) });
export const SignatoryAdded = event("SignatoryAdded", { schema: z.object({ accountId, email, name: z.string() }) });
export const SignatoryRemoved = event("SignatoryRemoved", { schema: z.object({ accountId, email }) });

const target = (payload: { accountId: string }) => payload.accountId;

export const OpenAccount = command("OpenAccount", {
  schema: z.object({ accountNumber: z.string().min(1), holderName: z.string().min(1), openingDeposit: cents }),
});
export const MakeDeposit = command("MakeDeposit", {
  schema: z.object({
    accountId,
    amount: z.int(),
    reference: z.string().optional(),
    sourceType: z.string().optional(),
  }),
  target,
});
export const MakeWithdrawal = command("MakeWithdrawal", {
  schema: z.object({ accountId, amount: z.int(), reference: z.string().optional() }),
  target,
});
/** Gives back what was withdrawn for a transfer that has failed: also to an account that was closed meanwhile. */
export const ReturnWithdrawal = command("ReturnWithdrawal", {
  schema: z.object({ accountId, amount: z.int(), reference: z.string() }),
  target,
});
export const CloseAccount = command("CloseAccount", {
  schema: z.object({ accountId, reason: z.string().optional() }),
  target,
});
export const AddSignatory = command("AddSignatory", {
  schema: z.object({ accountId, email, name: z.string() }),
  target,
});
export const RemoveSignatory = command("RemoveSignatory", { schema: z.object({ accountId, email }), target });

/** What others may know of an account, once for each change. */
export const AccountFact = event("AccountFact", {
  schema: z.object({
    accountId,
    accountNumber: z.string(),
    status: z.enum(["active", "closed"]),
    balance: cents,
    signatories: z.int(),
  }),
});

/** The state of an account. */
export interface AccountState {
  readonly status: "none" | "active" | "closed";
  readonly accountNumber: string;
  readonly balance: number;
  readonly signatories: readonly string[];
}

export const Account = aggregate("Account", {
  events: [AccountOpened, DepositMade, WithdrawalMade, AccountClosed, SignatoryAdded, SignatoryRemoved],
  initial: (): AccountState => ({ status: "none", accountNumber: "", balance: 0, signatories: [] }),
  evolve: {
    AccountOpened: (state, { payload: { accountNumber, openingDeposit } }) => ({
      ...state,
      status: "active",
      accountNumber,
      balance: openingDeposit,
    }),
    DepositMade: (state, { payload }) => ({ ...state, balance: state.balance + payload.amount }),
    WithdrawalMade: (state, { payload }) => ({ ...state, balance: state.balance - payload.amount }),
    AccountClosed: (state) => ({ ...state, status: "closed" }),
    SignatoryAdded: (state, { payload }) => ({ ...state, signatories: [...state.signatories, payload.email] }),
    SignatoryRemoved: (state, { payload }) => ({
      ...state,
      signatories: state.signatories.filter((email) => email !== payload.email),
    }),
  },
  facts: {
    event: AccountFact,
    from: ({ status, accountNumber, balance, signatories }, accountId) =>
      status === "none" ? null : { accountId, accountNumber, status, balance, signatories: signatories.length },
  },
  invariants: { "balance may not fall below zero": (state) => state.balance >= 0 },
});

function requireActive(account: AccountState): void {
  if (account.status !== "active") {
    throw new DomainRuleError(
      "accountId",
      account.status === "none" ? "there is no such account" : "the account is closed",
    );
  }
}

function requirePositive(amount: number): void {
  if (amount <= 0) throw new DomainRuleError("amount", "must be positive");
}

/** Omits undefined fields, which JSON does not have. */
function given<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

export const AccountCommandHandler = commandHandler("AccountCommandHandler", Account, {
  commands: [OpenAccount, MakeDeposit, MakeWithdrawal, ReturnWithdrawal, CloseAccount, AddSignatory, RemoveSignatory],
  handle: {
    OpenAccount: (account, { payload }, context) => {
      if (account.status !== "none") throw new DomainRuleError("accountId", "the account exists already");
      context.reserve("accountNumber", payload.accountNumber);
      return AccountOpened({ accountId: context.aggregateId, ...payload });
    },
    MakeDeposit: (account, { payload }) => {
      requireActive(account);
      requirePositive(payload.amount);
      return DepositMade(given({ ...payload, sourceType: payload.sourceType ?? "unknown" }));
    },
    MakeWithdrawal: (account, { payload }) => {
      requireActive(account);
      requirePositive(payload.amount);
      return WithdrawalMade(given(payload));
    },
    ReturnWithdrawal: (account, { payload }) => {
      if (account.status === "none") throw new DomainRuleError("accountId", "there is no such account");
      requirePositive(payload.amount);
      return DepositMade({ ...payload, sourceType: "returned transfer" });
    },
    CloseAccount: (account, { payload }) => {
      requireActive(account);
      if (account.balance !== 0) throw new DomainRuleError("balance", "must be 0 to close the account");
      return AccountClosed(given(payload));
    },
    AddSignatory: (account, { payload }) => {
      requireActive(account);
      if (account.signatories.includes(payload.email)) throw new DomainRuleError("email", "is a signatory already");
      return SignatoryAdded(payload);
    },
    RemoveSignatory: (account, { payload }) => {
      requireActive(account);
      if (!account.signatories.includes(payload.email)) throw new DomainRuleError("email", "is not a signatory");
      return SignatoryRemoved(payload);
    },
  },
});
