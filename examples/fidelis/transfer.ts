import { aggregate, command, commandHandler, DomainRuleError, event, processManager } from "@annals/annals";
import { z } from "zod";
import { DepositMade, MakeDeposit, MakeWithdrawal, ReturnWithdrawal, WithdrawalMade } from "./account.ts";
import { cents } from "./money.ts";

const transferId = z.string().min(1);
const terms = { sourceAccountId: z.string().min(1), destinationAccountId: z.string().min(1), amount: cents };

export const TransferInitiated = event("TransferInitiated", { schema: z.object({ transferId, ...terms }) });
export const TransferCompleted = event("TransferCompleted", { schema: z.object({ transferId }) });
export const TransferFailed = event("TransferFailed", { schema: z.object({ transferId, reason: z.string() }) });

export const InitiateTransfer = command("InitiateTransfer", {
  schema: z.object({ ...terms, amount: z.int() }),
});
export const CompleteTransfer = command("CompleteTransfer", {
  schema: z.object({ transferId }),
  target: (payload) => payload.transferId,
});
export const FailTransfer = command("FailTransfer", {
  schema: z.object({ transferId, reason: z.string() }),
  target: (payload) => payload.transferId,
});

/** The state of a transfer. */
export type TransferState =
  | { readonly status: "none" }
  | { readonly status: "pending" | "completed"; readonly amount: number }
  | { readonly status: "failed"; readonly amount: number; readonly reason: string };

export const Transfer = aggregate("Transfer", {
  events: [TransferInitiated, TransferCompleted, TransferFailed],
  initial: (): TransferState => ({ status: "none" }),
  evolve: {
    TransferInitiated: (_state, { payload }) => ({ status: "pending", amount: payload.amount }),
    TransferCompleted: (state) => state.status === "none" ? state : { status: "completed", amount: state.amount },
    TransferFailed: (state, { payload: { reason } }) =>
      state.status === "none" ? state : { status: "failed", amount: state.amount, reason },
  },
});

function requirePending({ status }: TransferState): void {
  if (status !== "pending") {
    throw new DomainRuleError("transferId", status === "none" ? "there is no such transfer" : `it has ${status}`);
  }
}

export const TransferCommandHandler = commandHandler("TransferCommandHandler", Transfer, {
  commands: [InitiateTransfer, CompleteTransfer, FailTransfer],
  handle: {
    InitiateTransfer: (transfer, { payload }, context) => {
      if (transfer.status !== "none") throw new DomainRuleError("transferId", "the transfer exists already");
      if (payload.amount <= 0) throw new DomainRuleError("amount", "must be positive");
      if (payload.sourceAccountId === payload.destinationAccountId) {
        throw new DomainRuleError("destinationAccountId", "must be another account than the source");
      }
      return TransferInitiated({ transferId: context.aggregateId, ...payload });
    },
    CompleteTransfer: (transfer, { payload }) => {
      requirePending(transfer);
      return TransferCompleted(payload);
    },
    FailTransfer: (transfer, { payload }) => {
      requirePending(transfer);
      return TransferFailed(payload);
    },
  },
});

/** What the references of money start with that is moved for a transfer. */
export const REFERENCE = "transfer ";

/** The transfer that money is moved for, by its reference: an account can be in many at once. */
function transferOf({ payload: { reference } }: { readonly payload: { readonly reference?: string | undefined } }) {
  return reference?.startsWith(REFERENCE) ? reference.slice(REFERENCE.length) : null;
}

/** Moves the money of a transfer: out of the source, into the destination, and back if that is refused. */
export const FundsTransfer = processManager("FundsTransfer", {
  events: [TransferInitiated, WithdrawalMade, DepositMade],
  commands: [MakeWithdrawal, MakeDeposit, ReturnWithdrawal, CompleteTransfer, FailTransfer],
  starts: ["TransferInitiated"],
  correlate: {
    TransferInitiated: ({ payload }) => payload.transferId,
    WithdrawalMade: transferOf,
    DepositMade: transferOf,
  },
  initial: () => ({ source: "", destination: "", amount: 0 }),
  evolve: {
    TransferInitiated: (
      _state,
      { payload: { sourceAccountId: source, destinationAccountId: destination, amount } },
    ) => ({
      source,
      destination,
      amount,
    }),
  },
  react: {
    TransferInitiated: ({ source, amount }, _event, step) =>
      MakeWithdrawal({ accountId: source, amount, reference: REFERENCE + step.id }),
    WithdrawalMade: ({ source, destination, amount }, { payload }, step) => {
      if (payload.accountId !== source) return [];
      const reference = REFERENCE + step.id;
      return [
        step.undoWith(ReturnWithdrawal({ accountId: source, amount, reference })),
        MakeDeposit({ accountId: destination, amount, reference, sourceType: "transfer" }),
      ];
    },
    // Money that comes back to the source is no arrival.
    DepositMade: ({ destination }, { payload }, step) =>
      payload.accountId === destination ? [CompleteTransfer({ transferId: step.id }), step.done()] : [],
  },
  refused: {
    MakeWithdrawal: (_state, { rule }, step) => [FailTransfer({ transferId: step.id, reason: rule }), step.done()],
    MakeDeposit: (_state, { rule }, step) => [
      step.undo(FailTransfer({ transferId: step.id, reason: rule })),
      step.done(),
    ],
    ReturnWithdrawal: () => [],
    CompleteTransfer: () => [],
    FailTransfer: () => [],
  },
  // Whoever writes a reference like ours is not one of ours.
  absent: "ignore",
});
