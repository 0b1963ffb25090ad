import { domain } from "@annals/annals";
import { Account, AccountCommandHandler } from "./account.ts";
import { AccountSummaryProjector, ComplianceAlertHandler, NotificationHandler } from "./reactions.ts";

/** The bank ledger: accounts, their summaries, and notifications. */
export default domain("fidelis", {
  aggregates: [Account],
  handlers: [AccountCommandHandler, AccountSummaryProjector, ComplianceAlertHandler, NotificationHandler],
});
