import { domain } from "@annals/annals";
import { Account, AccountCommandHandler } from "./account.ts";
import { AccountSummaryProjector, ComplianceAlertHandler, NotificationHandler } from "./reactions.ts";

/** The bank ledger: accounts, what they add up to, and who is told. */
export default domain("fidelis", {
  aggregates: [Account],
  handlers: [AccountCommandHandler, AccountSummaryProjector, ComplianceAlertHandler, NotificationHandler],
});
