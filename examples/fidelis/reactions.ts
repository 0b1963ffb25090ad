import { eventHandler, projection, projector } from "@annals/annals";
import { z } from "zod";
import { AccountClosed, AccountFact, AccountOpened, DepositMade, WithdrawalMade } from "./account.ts";
import { formatMoney } from "./money.ts";

export const AccountSummary = projection("AccountSummary", {
  key: "accountId",
  schema: z.object({
    accountId: z.string(),
    accountNumber: z.string(),
    holderName: z.string(),
    balance: z.int(),
    transactionCount: z.int(),
    lastTransactionAt: z.string().nullable(),
    status: z.enum(["active", "closed"]),
  }),
});

function transact<R extends { balance: number; transactionCount: number; lastTransactionAt: string | null }>(
  row: R | null,
  amount: number,
  time: Date,
): R {
  if (row === null) throw new Error("a transaction came before the account was opened");
  return {
    ...row,
    balance: row.balance + amount,
    transactionCount: row.transactionCount + 1,
    lastTransactionAt: time.toISOString(),
  };
}

export const AccountSummaryProjector = projector("AccountSummaryProjector", AccountSummary, {
  events: [AccountOpened, DepositMade, WithdrawalMade, AccountClosed],
  on: {
    AccountOpened: (_row, { payload }) => ({
      accountId: payload.accountId,
      accountNumber: payload.accountNumber,
      holderName: payload.holderName,
      balance: payload.openingDeposit,
      transactionCount: 0,
      lastTransactionAt: null,
      status: "active",
    }),
    DepositMade: (row, { payload, time }) => transact(row, payload.amount, time),
    WithdrawalMade: (row, { payload, time }) => transact(row, -payload.amount, time),
    AccountClosed: (row) => row && { ...row, status: "closed" },
  },
});

export const AccountReport = projection("AccountReport", {
  key: "accountId",
  schema: z.object({
    accountId: z.string(),
    accountNumber: z.string(),
    status: z.enum(["active", "closed"]),
    balance: z.int(),
    signatories: z.int(),
    changedAt: z.string(),
  }),
});

/** Flat rows for reporting, from what accounts tell of themselves: it knows nothing of deposits and withdrawals. */
export const AccountReportProjector = projector("AccountReportProjector", AccountReport, {
  events: [AccountFact],
  on: { AccountFact: (_row, { payload, time }) => ({ ...payload, changedAt: time.toISOString() }) },
});

/** Deposits of 10,000.00 or more are reported. */
const REPORTED_DEPOSIT = 1_000_000;

export const ComplianceAlert = projection("ComplianceAlert", {
  key: "messageId",
  schema: z.object({ messageId: z.string(), accountId: z.string(), amount: z.int(), at: z.string() }),
});

export const ComplianceAlertHandler = eventHandler("ComplianceAlertHandler", {
  events: [DepositMade],
  projections: [ComplianceAlert],
  on: {
    DepositMade: ({ payload, id, time }, context) => {
      if (payload.amount < REPORTED_DEPOSIT) return;
      context.log.info(`[COMPLIANCE] Deposit of ${formatMoney(payload.amount)} to account ${payload.accountId}`);
      // Keyed by message, so that redelivery does not create a second alert.
      const { accountId, amount } = payload;
      context.put(ComplianceAlert, { messageId: id, accountId, amount, at: time.toISOString() });
    },
  },
});

/** Withdrawals of 5,000.00 or more are notified. */
const NOTIFIED_WITHDRAWAL = 500_000;

export const NotificationHandler = eventHandler("NotificationHandler", {
  events: [AccountOpened, WithdrawalMade],
  on: {
    AccountOpened: ({ payload }, context) =>
      context.log.info(`[NOTIFICATION] Welcome ${payload.holderName}, account ${payload.accountNumber} is open`),
    WithdrawalMade: ({ payload }, context) => {
      if (payload.amount < NOTIFIED_WITHDRAWAL) return;
      context.log.info(`[NOTIFICATION] Withdrawal of ${formatMoney(payload.amount)} from account ${payload.accountId}`);
    },
  },
});
