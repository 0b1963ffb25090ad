import assert from "node:assert/strict";
import { MakeDeposit } from "../../../examples/fidelis/account.ts";
import { InitiateTransfer } from "../../../examples/fidelis/transfer.ts";
import { AILING, Statement } from "../../fixtures/ailing/parts.ts";
import { AilingBank } from "../../support/ailing_bank.ts";
import { Dashboard, startBrowser } from "../../support/browser.ts";
import { until } from "../../support/server.ts";
import { programs } from "../../support/services.ts";

const chromium = programs().chromium;

Deno.test({
  name: "the dashboard: what somebody does with it, by clicks in a browser",
  ignore: chromium === null,
  async fn(t) {
    await using bank = await AilingBank.start();
    await bank.fill();
    await using browser = await startBrowser(chromium!);
    await using dashboard = await Dashboard.open(browser, bank.url);
    const { page, panel, question } = dashboard;
    const { client } = bank;

    await t.step("the overview moves by itself and says what to do", async () => {
      await dashboard.sees("2 groups have given up 6 messages: Onboarding and StatementPrinter");
      await dashboard.sees("Look at the error, mend what causes it, then replay them.");
      assert.equal(await dashboard.count("annals-chart canvas"), 3);
      const written = page.locator(".figure", { hasText: "Written" });
      const before = await written.textContent();
      await client.process(MakeDeposit({ accountId: "acc-1", amount: 1 }), { wait: true });
      await until(async () => await written.textContent() !== before, () => "the figure to move");
      await page.locator("annals-chart[aria-label^='Lag']").waitFor();
      await dashboard.sees("holds 13 workers");
      const worker = page.getByRole("region", { name: "Workers" }).locator("tr", { hasText: "StatementPrinter" });
      await worker.getByText(/[\d.]+ MiB/).waitFor();
      await dashboard.sees("answers", page.locator(".cards li", { hasText: "event store" }));
      assert.equal(await page.title(), "(6) Overview · fidelis · Annals");
      await dashboard.row("Greeter").click();
      await dashboard.sees("the broker", panel);
      await page.keyboard.press("Escape");
      await dashboard.seesNo(panel);
    });

    await t.step("a dead letter is found, inspected and replayed by three clicks; it fails again", async () => {
      await dashboard.row("StatementPrinter").getByRole("link", { name: "5 dead letters of StatementPrinter" }).click();
      await dashboard.row("DepositMade").last().click();
      await dashboard.sees("Cannot destructure property 'columns'", panel);
      await dashboard.sees("3 attempts", panel);
      await panel.getByText("Stack").click();
      await dashboard.sees(/ailing\/parts\.ts/, panel);
      await panel.getByRole("button", { name: "Replay" }).click();
      await dashboard.told("Replayed 1 dead letter.");
      await dashboard.seesNo(panel);
      await bank.givenUp({ StatementPrinter: 5 });
    });

    await t.step("a payload of an older version is shown upcast, beside what is stored", async () => {
      await dashboard.row("DepositMade").nth(1).waitFor();
      await page.getByLabel("Filter by type").fill("cannot destructure");
      await dashboard.hasRows(5);
      // It was the last to fail the first time.
      for (const i of [0, 1]) {
        await dashboard.row("DepositMade").nth(i).click();
        await panel.getByLabel("Payload", { exact: true }).waitFor();
        if (await panel.getByText("as the code reads it now").count() > 0) break;
      }
      const [now, stored] = [panel.getByLabel("Payload", { exact: true }), panel.getByLabel("Stored payload")];
      assert.match((await now.textContent())!, /"reference": "of old",\s+"sourceType": "unknown"/);
      assert.doesNotMatch((await stored.textContent())!, /sourceType/);
      assert.match((await panel.locator(".differs").textContent())!, /sourceType/);
      await panel.getByText("Metadata").click();
      await dashboard.sees(/teller 4/, panel);
      await page.keyboard.press("Escape");
    });

    await t.step("some are replayed, and all of a group; what is to be purged is asked first", async () => {
      await page.getByLabel("Filter by type").fill("");
      await page.waitForURL((url) => !url.hash.includes("text="));
      for (const i of [0, 1]) await dashboard.row("DepositMade").nth(i).getByLabel("Select").check();
      await dashboard.sees("2 selected");
      await dashboard.button("Replay 2").click();
      await dashboard.told("Replayed 2 dead letters.");
      await bank.givenUp({ StatementPrinter: 5 });
      await dashboard.button("Replay all…").click();
      await dashboard.sees("Replay all of StatementPrinter?", question);
      await question.getByRole("button", { name: "Replay all" }).click();
      await dashboard.told(/Replayed [345] dead letters?\./);
      await bank.givenUp({ StatementPrinter: 5 });
      await dashboard.hasRows(5);
      await dashboard.row("DepositMade").first().click();
      await panel.getByRole("button", { name: "Purge…" }).click();
      await question.getByRole("button", { name: "Cancel" }).click();
      await dashboard.seesNo(question);
      await bank.givenUp({ StatementPrinter: 5 });
      await panel.getByRole("button", { name: "Purge…" }).click();
      await question.getByRole("button", { name: "Purge it" }).click();
      await dashboard.told("Purged 1 dead letter.");
      await bank.givenUp({ StatementPrinter: 4 });
    });

    await t.step("what is in messages is shown as text", async () => {
      await dashboard.go("dead-letters?group=StatementPrinter");
      await dashboard.hasRows(4);
      await dashboard.row("DepositMade").last().click();
      await dashboard.sees(/<img src=x>/, panel);
      assert.equal(await dashboard.count("img"), 0);
    });

    await t.step("parked messages say what they wait for", async () => {
      await page.getByRole("link", { name: /^Parked/ }).click();
      await dashboard.row("a replay").click();
      await dashboard.sees("the replay of its dead letter", panel);
      await panel.getByRole("link", { name: "Dead letters of its stream" }).click();
      await dashboard.row("No letterhead for this branch").waitFor();
    });

    await t.step("an instance is inspected, retried and abandoned; a timer is moved and cancelled", async () => {
      await page.getByRole("link", { name: /^Processes/ }).click();
      await dashboard.row("set aside").click();
      await dashboard.sees("No letterhead for this branch", panel);
      await panel.getByRole("button", { name: "Retry" }).click();
      await dashboard.told("“odd-1” tries again.");
      await bank.givenUp({ Onboarding: 1 });
      await panel.getByRole("button", { name: "Abandon…" }).click();
      await question.getByRole("button", { name: "Abandon it" }).click();
      await dashboard.told("Abandoned “odd-1”.");
      await dashboard.sees("ended", panel);
      await page.keyboard.press("Escape");
      await dashboard.row("acc-2").first().click();
      await dashboard.sees("remind", panel);
      await dashboard.sees("AccountOpened", panel);
      await page.getByRole("link", { name: "Timers and scheduled commands" }).click();
      await dashboard.row("remind:acc-2").getByRole("button", { name: "Move" }).click();
      await question.getByLabel("To").fill("2031-05-06T07:08:09");
      await question.getByRole("button", { name: "Move it" }).click();
      await dashboard.told("Moved “timer:Onboarding:remind:acc-2”");
      await dashboard.row(/remind:acc-2.*May 6, 2031 07:08:09/).waitFor();
      await dashboard.row("remind:acc-3").getByRole("button", { name: "Cancel" }).click();
      await question.getByRole("button", { name: "Cancel it" }).click();
      await dashboard.told("Cancelled “timer:Onboarding:remind:acc-3”.");
      await dashboard.seesNo(dashboard.row("remind:acc-3"));
      const left = await client.store.scheduled({});
      assert.ok(!left.some(({ key }) => key.includes("acc-3")));
      assert.equal(new Date(left.find(({ key }) => key.includes("acc-2"))!.dueAt).getFullYear(), 2031);
    });

    await t.step("a projection is rebuilt, compared, swapped, rolled back and dropped", async () => {
      await page.getByRole("link", { name: /^Projections/ }).click();
      await dashboard.row("AccountSummary").click();
      await panel.getByRole("button", { name: "Rebuild…" }).click();
      await question.getByRole("button", { name: "Rebuild" }).click();
      await dashboard.told("Builds generation 1.1 of AccountSummary.");
      await dashboard.sees("waits for a swap", panel);
      await panel.getByRole("link", { name: "Compare" }).click();
      await dashboard.sees(/No row differs/);
      await page.goBack();
      await panel.getByRole("button", { name: "Swap in" }).click();
      await dashboard.told("Readers of AccountSummary see generation 1.1 now.");
      await panel.getByRole("button", { name: "Roll back" }).click();
      await dashboard.told("Readers of AccountSummary see generation 1 now.");
      await panel.locator(".generations li", { hasText: "1.1" }).getByRole("button", { name: "Drop…" }).click();
      await question.getByRole("button", { name: "Drop it" }).click();
      await dashboard.told("Dropped generation 1.1 of AccountSummary.");
    });

    await t.step("why a row is so: its events, and the command behind each", async () => {
      await panel.getByRole("link", { name: "Rows" }).click();
      await dashboard.row("acc-2").click();
      await dashboard.sees("Why is this row so?");
      await dashboard.sees('"balance"');
      const events = page.locator(".history li");
      await events.first().waitFor();
      assert.deepEqual(await events.locator("header b").allTextContents(), ["DepositMade", "AccountOpened"]);
      await events.last().getByRole("link", { name: "its trace" }).click();
      await page.getByText("Caused by").getByRole("link", { name: "OpenNamed" }).click();
      await dashboard.row("AccountOpened").waitFor();
      await dashboard.row("$Timer").getByText("scheduled").waitFor();
    });

    await t.step("the log is searched, a stream shows its states, and a trace what it led to", async () => {
      await page.getByRole("link", { name: /^Log/ }).click();
      await page.getByRole("searchbox", { name: "Type" }).or(page.getByRole("combobox", { name: "Type" })).fill(
        "TransferFailed",
      );
      await dashboard.hasRows(1);
      await dashboard.row("TransferFailed").click();
      await panel.getByRole("link", { name: "everything with its correlation" }).click();
      for (
        const type of ["InitiateTransfer", "TransferInitiated", "MakeWithdrawal", "ReturnWithdrawal", "TransferFailed"]
      ) {
        await dashboard.row(type).first().waitFor();
      }
      await dashboard.row("MakeDeposit").getByText("refused").waitFor();
      await dashboard.row("MakeDeposit").click();
      await dashboard.sees("there is no such account", panel);
      assert.match((await dashboard.row("MakeDeposit").textContent())!, /\+[\d.,<]+ m?s/);
      await panel.getByRole("link", { name: "fidelis::account:command-nowhere" }).waitFor();
      await dashboard.go(`log/stream/${encodeURIComponent(`fidelis::account-${AILING}`)}`);
      const states = page.getByLabel(/State after version/);
      await states.first().waitFor();
      assert.match((await states.first().textContent())!, /"balance": 104606/);
      assert.match((await states.first().locator(".differs").textContent())!, /balance/);
      assert.match((await states.last().textContent())!, /"balance": 100000/);
      await dashboard.go("log?stream=fidelis%3A%3Aaccount-ac-7");
      await page.getByRole("link", { name: "fidelis::account-acc-7" }).click();
      await dashboard.row("AccountOpened").waitFor();
      await dashboard.go("log?since=2100-01-01T00:00");
      await dashboard.sees("Nothing matches");
    });

    await t.step("a server that is gone is said, and found again; then the code is mended", async () => {
      await dashboard.go("");
      await dashboard.row("StatementPrinter").waitFor();
      await bank.stop();
      await dashboard.sees("The server does not answer.");
      await page.locator("main.gone").waitFor();
      await bank.mend();
      await dashboard.sees("Live");
      await dashboard.seesNo(page.locator("main.gone"));
    });

    await t.step("mended, all are replayed by three clicks, succeed, and the audit says who did it", async () => {
      await page.locator(".figure", { hasText: "Dead letters" }).click();
      await dashboard.row("StatementPrinter").first().click();
      await panel.getByRole("button", { name: "Replay" }).click();
      await dashboard.told("Replayed 1 dead letter.");
      await page.getByRole("link", { name: "See what came of it" }).click();
      await dashboard.row("StatementPrinter").waitFor();
      await bank.givenUp({ StatementPrinter: 3 });
      await dashboard.go("dead-letters?group=StatementPrinter");
      await dashboard.button("Replay all…").click();
      await question.getByRole("button", { name: "Replay all" }).click();
      await dashboard.told("Replayed 3 dead letters.");
      await dashboard.sees("StatementPrinter has given up nothing.");
      const lines = async () => JSON.parse((await client.store.readRow(Statement.name, AILING))?.row ?? "{}").lines;
      await until(async () => await lines() === 4, () => "four lines of the statement");
      await page.getByRole("link", { name: "Audit" }).click();
      await dashboard.row("dlq replay").first().click();
      await dashboard.sees("local", panel);
      await dashboard.sees(/"group": "StatementPrinter"/, panel);
      for (const action of ["dlq purge", "processes retry", "processes abandon", "schedule move", "schedule cancel"]) {
        await dashboard.row(action).waitFor();
      }
      for (const action of ["rebuild", "swap", "rollback", "drop"]) {
        await dashboard.row(`projections ${action}`).waitFor();
      }
      await client.process(InitiateTransfer({ sourceAccountId: "acc-1", destinationAccountId: AILING, amount: 5 }));
    });
  },
});
