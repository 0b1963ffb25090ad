import { domain } from "@annals/annals";
import { Account, AccountCommandHandler } from "./account.ts";
import {
  AccountReportProjector,
  AccountSummaryProjector,
  ComplianceAlertHandler,
  NotificationHandler,
} from "./reactions.ts";
import { FundsTransfer, Transfer, TransferCommandHandler } from "./transfer.ts";

/** The bank ledger: accounts, transfers between them, summaries, and notifications. */
export default domain("fidelis", {
  aggregates: [Account, Transfer],
  handlers: [
    AccountCommandHandler,
    TransferCommandHandler,
    FundsTransfer,
    AccountSummaryProjector,
    AccountReportProjector,
    ComplianceAlertHandler,
    NotificationHandler,
  ],
});
