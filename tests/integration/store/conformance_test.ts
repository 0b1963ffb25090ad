import { eventStoreSuite } from "../../../src/testing/store_suite.ts";
import { STORES } from "../../support/stores.ts";

for (const [kind, open] of Object.entries(STORES)) {
  eventStoreSuite((name, run) => Deno.test(`${kind} store: ${name}`, run), open);
}
